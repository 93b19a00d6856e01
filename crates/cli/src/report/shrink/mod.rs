//! The report of `distill shrink`: report.html, report.json and front.csv from the plain values of a run.

mod chart;
mod comparison;
mod csv;
mod explanations;
mod json;
mod parts;
mod plots;
mod words;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;

use anyhow::{Context, Result};

use self::words::{count_of, list, sentence};
use crate::ledger::metric;
use crate::ledger::quality::{PairedMeasure, PairedQuality};
use crate::ledger::shrink::{Shrunk, Size, Student};
use crate::report::blocks::{Block, Document};
use crate::report::render::html;

/// What the count of parameters is called in [`Size::what`].
const PARAMETERS: &str = "parameters";

/// Names and texts of the files of the report.
///
/// Fails where no student is marked as the chosen one, where an example's image has a wrong number of intensities, and
/// where a point of the front has another number of widths than there are layers.
pub fn pages(shrunk: &Shrunk) -> Result<Vec<(String, String)>> {
    let pages = [
        ("report.html", html::render(&document(shrunk)?)),
        ("report.json", json::render(shrunk)?),
        ("front.csv", csv::render(shrunk)?),
    ];
    Ok(pages.map(|(name, text)| (name.to_owned(), text)).into())
}

/// The report, section by section; what a run does not have is left out.
fn document(shrunk: &Shrunk) -> Result<Document> {
    let chosen = chosen(shrunk)?;
    let quality = &chosen.quality;
    let main = quality.main_measure();
    let mut blocks = vec![Block::Paragraph(outcome(shrunk, chosen, main))];
    blocks.push(Block::Paragraph(how(chosen)));
    blocks.extend(shrunk.warnings.iter().map(|text| Block::Warning(sentence(text))));
    let sections = [
        ("Before and after", comparison::before_and_after(quality, main)),
        ("Size and speed", comparison::sizes(shrunk)),
        ("Other ways to train the student", comparison::students(shrunk, main)),
        (
            "Can the probabilities be trusted?",
            plots::reliability(&quality.reliability).map(Block::Figure).into_iter().collect(),
        ),
        ("Smaller and larger students", parts::front(shrunk, main)),
        ("Widths by layer", parts::layers(shrunk)),
        ("Accuracy by class", parts::classes(quality)),
        ("Where the two differ most", parts::disagreements(quality)?),
        (
            "What was not narrowed, and why",
            bullets(shrunk.untouched.iter().map(|text| sentence(text))),
        ),
        ("Other seeds", parts::repetitions(shrunk, main)),
        ("What was understood", understood(shrunk)),
        ("How to get this student again", provenance(shrunk)),
    ];
    for (title, section) in sections {
        if !section.is_empty() {
            blocks.push(Block::Heading(2, title.to_owned()));
            blocks.extend(section);
        }
    }
    Ok(Document {
        title: words::unbroken(&format!("{}, shrunk to {}", shrunk.model, shrunk.budget)),
        blocks,
    })
}

/// The student of `student.onnx`.
fn chosen(shrunk: &Shrunk) -> Result<&Student> {
    shrunk
        .students
        .iter()
        .find(|student| student.is_chosen)
        .context("no student is marked as the chosen one")
}

/// The size of this name.
fn size<'a>(shrunk: &'a Shrunk, what: &str) -> Option<&'a Size> {
    shrunk.sizes.iter().find(|size| size.what == what)
}

/// One sentence: how large the student is, and what it keeps.
fn outcome(shrunk: &Shrunk, chosen: &Student, main: Option<&PairedMeasure>) -> String {
    let size = size(shrunk, PARAMETERS).or_else(|| shrunk.sizes.first()).map(|size| {
        let share = size.after / size.before;
        let share = if share.is_finite() {
            format!(" ({})", words::percent(share, 1))
        } else {
            String::new()
        };
        let (after, before) = (words::count(size.after), words::count(size.before));
        format!("The student has {after} of {before} {}{share}", size.what)
    });
    let kept = main.map(|measure| kept(&chosen.quality, measure));
    let parts: Vec<String> = [size, kept].into_iter().flatten().collect();
    sentence(&parts.join(" and "))
}

/// What the student keeps of a measure: both values, the change and its interval.
fn kept(quality: &PairedQuality, measure: &PairedMeasure) -> String {
    let n = count_of(quality.n_examples, "test example", "test examples");
    let change = words::short_change(measure.metric, measure.difference);
    let [before, after] = words::short_pair(measure);
    let label = words::label(measure.metric);
    let interval = words::level(measure);
    if measure.metric == metric::AGREEMENT {
        return format!(
            "predicts the same class as the network on {after} of {n} (95 % interval {interval})"
        );
    }
    if measure.metric.name == metric::TEACHER_DISTANCE.name {
        return format!(
            "predicts at a mean squared distance of {after} from the network on {n} (95 % interval {interval})"
        );
    }
    let change = format!("on {n} (change {}, 95 % interval {})", change.value, change.interval);
    match words::is_share(measure.metric) {
        true => format!("keeps {after} {label} of {before} {change}"),
        false => format!("has {label} {after} instead of {before} {change}"),
    }
}

/// How the student was made.
fn how(chosen: &Student) -> String {
    let mut text = sentence(&format!("Made by {}", chosen.how));
    if !chosen.training.is_empty() {
        text += &format!(" {}", sentence(&chosen.training));
    }
    text
}

fn bullets(items: impl Iterator<Item = String>) -> Vec<Block> {
    let items: Vec<String> = items.collect();
    if items.is_empty() { Vec::new() } else { vec![Block::Bullets(items)] }
}

/// What was understood of the network and its data, and how the data were split.
fn understood(shrunk: &Shrunk) -> Vec<Block> {
    let parts = shrunk.parts;
    let test = match parts.has_own_test {
        true => "the test examples are from a file of their own",
        false => {
            "the test examples are a part of the data; if the network was trained on them, “before” flatters it"
        }
    };
    let counts = [
        (parts.calibration, "for surgery and training"),
        (parts.validation, "for choices"),
        (parts.test, "for the measures above"),
    ];
    let counts = counts.map(|(n, what)| format!("{} {what}", count_of(n, "example", "examples")));
    let split = format!("{}, no example twice; {test}", list(&counts));
    bullets(shrunk.understood.iter().map(String::as_str).chain([split.as_str()]).map(sentence))
}

/// Files with their sums, version and command.
fn provenance(shrunk: &Shrunk) -> Vec<Block> {
    let file = |name: &str, sum: Option<&str>| match sum {
        Some(sum) => format!("{name}: SHA-256 `{sum}`"),
        None => name.to_owned(),
    };
    let mut items = vec![format!("Network {}", file(&shrunk.model, Some(&shrunk.model_sha256)))];
    items.extend(
        shrunk.data.iter().map(|(name, sum)| format!("Data {}", file(name, sum.as_deref()))),
    );
    items.push(format!("Made by distill {}", shrunk.version));
    vec![
        Block::Code(shrunk.command.clone()),
        Block::Bullets(items),
        Block::Paragraph("All numbers of this page are in `report.json`, all sizes that were tried in `front.csv`.".into()),
    ]
}
