//! What a map writes into its folder: all of it, or nothing.

use std::path::PathBuf;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use core_tensors::Rng;

use super::contact::{contact_sheet, levels_of, stretched};
use super::objects::Source;
use super::{After, Arguments, Built};
use crate::files::{tensor_bytes, write_together};
use crate::sheet::sheet;

/// Names in the folder.
pub(super) const WRITTEN: [&str; 4] = [MAPPED, SHEET, TRANSLATOR, PICTURES];
const MAPPED: &str = "mapped.safetensors";
const SHEET: &str = "contact-sheet.png";
const TRANSLATOR: &str = "translator.safetensors";
const PICTURES: &str = "pictures";

pub(super) fn write(
    arguments: &Arguments,
    source: &Source,
    built: &Built,
    after: &After,
    mapped: &Tensor,
    rng: &Rng,
) -> Result<()> {
    let at = |name: &str| arguments.out.join(name);
    let mut tensors = vec![("x", mapped.clone())];
    if let Some(labels) = &source.labels {
        tensors.push(("y", Tensor::from_slice(labels, labels.len(), &Device::Cpu)?));
    } else if let Some(values) = &source.values {
        tensors.push(("y", values.contiguous()?));
    }
    let bytes = tensor_bytes(&tensors).context("φ(x)")?;
    let mut first: Vec<Result<(PathBuf, Vec<u8>)>> = vec![Ok((at(MAPPED), bytes))];
    if let (Some(translator), true) = (&built.translator, arguments.trains()) {
        let blocks = translator.parameters.blocks().iter().enumerate();
        let named: Vec<(String, Tensor)> =
            blocks.map(|(t, block)| (format!("block.{t}"), block.clone())).collect();
        first.push(Ok((at(TRANSLATOR), tensor_bytes(&named).context("the translator")?)));
    }
    let (Some(before), Some(after)) = (source.shape, after.shape) else {
        return write_together(first);
    };
    let contact = contact_sheet([&source.x, mapped], [before, after], rng)?;
    first.push(Ok((at(SHEET), contact)));
    let n_pictures = if arguments.pictures { mapped.dim(0)? } else { 0 };
    let pictures = (0..n_pictures).map(|i| {
        let picture = stretched(levels_of(mapped, i)?);
        Ok((at(PICTURES).join(format!("{i:06}.png")), sheet(&[&picture], after)?))
    });
    write_together(first.into_iter().chain(pictures))
}
