//! What a map writes into its folder, all of it or nothing, and what is said of it.

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use clap::ValueEnum;
use clap::builder::PossibleValue;
use core_tensors::Rng;

use super::contact::{contact_sheet, intensities_of, stretched};
use super::examples::Source;
use super::judge::Measured;
use super::{After, Arguments, Built};
use crate::files::{Content, write_tensors, write_together};
use crate::report::contact_sheet::grid_png;

/// Names in the folder.
pub(super) const WRITTEN: [&str; 4] = [MAPPED, SHEET, TRANSLATOR, IMAGES];
const MAPPED: &str = "mapped.safetensors";
const SHEET: &str = "contact-sheet.png";
const TRANSLATOR: &str = "translator.safetensors";
const IMAGES: &str = "images";

pub(super) fn write(
    arguments: &Arguments,
    source: &Source,
    built: &Built,
    after: &After,
    mapped: &Tensor,
    rng: &Rng,
) -> Result<()> {
    let at = |name: &str| arguments.out.join(name);
    let tensors = tensors(source, mapped)?;
    // Each is made as it is written: all of them beside one another would take much memory.
    let array: Content = Box::new(|to| write_tensors(&tensors, to).context("φ(x)"));
    let mut files = vec![(at(MAPPED), array)];
    if let Some(translator) = built.translator.as_ref().filter(|_| arguments.trains()) {
        let write: Content = Box::new(|to| {
            let blocks = translator.parameters.blocks().iter().enumerate();
            let named: Vec<(String, Tensor)> =
                blocks.map(|(t, block)| (format!("block.{t}"), block.clone())).collect();
            write_tensors(&named, to).context("the translator")
        });
        files.push((at(TRANSLATOR), write));
    }
    let (Some(before), Some(after)) = (source.shape, after.shape) else {
        return write_together(files);
    };
    let contact: Content = Box::new(move |to| {
        Ok(to.write_all(&contact_sheet([&source.x, mapped], [before, after], rng)?)?)
    });
    files.push((at(SHEET), contact));
    let n_images = if arguments.images { mapped.dim(0)? } else { 0 };
    let images = (0..n_images).map(|i| {
        let image: Content = Box::new(move |to| {
            let intensities = intensities_of(mapped, i)?.into_iter().map(f64::from);
            let image = stretched(intensities.collect());
            Ok(to.write_all(&grid_png(&[&image], after)?)?)
        });
        (at(IMAGES).join(format!("{i:06}.png")), image)
    });
    write_together(files.into_iter().chain(images))
}

/// The answer, of so many examples of so many numbers before and after the map.
pub(super) fn told(
    arguments: &Arguments,
    data: &str,
    (n_examples, [before, after]): (usize, [usize; 2]),
    judged: &[Measured],
) -> String {
    let out = &arguments.out;
    if arguments.json {
        let kind = arguments.kind.to_possible_value();
        let measures: serde_json::Map<String, serde_json::Value> =
            judged.iter().map(|found| (found.name.to_owned(), found.value.into())).collect();
        let told = serde_json::json!({
            "kind": kind.as_ref().map(PossibleValue::get_name),
            "data": data,
            "out": out,
            "n_examples": n_examples,
            "n_numbers_before": before,
            "n_numbers_after": after,
            "measures": measures,
        });
        return format!("{told}\n");
    }
    let first = format!(
        "{data}: {n_examples} objects, {before} -> {after} numbers each, in {}\n",
        out.display()
    );
    judged.iter().fold(first, |text, found| text + &found.line + "\n")
}

/// φ(x) as `x`, and classes or values as `y`, where there are some.
fn tensors(source: &Source, mapped: &Tensor) -> Result<Vec<(&'static str, Tensor)>> {
    let mut tensors = vec![("x", mapped.clone())];
    if let Some(labels) = &source.labels {
        tensors.push(("y", Tensor::from_slice(labels, labels.len(), &Device::Cpu)?));
    } else if let Some(values) = &source.values {
        tensors.push(("y", values.contiguous()?));
    }
    Ok(tensors)
}
