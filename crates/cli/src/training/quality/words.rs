//! Examples and predictions in words and images, for readers.

use anyhow::{Result, ensure};
use candle_core::{DType, Tensor};
use losses::Predictions;

use super::TestPart;
use crate::ledger::quality::{Disagreement, Thumbnail};

/// Outputs that a prediction of values lists.
const LISTED: usize = 4;

/// Name of a class, or its number where it has none.
pub(super) fn class(names: &[String], class: usize) -> String {
    names.get(class).cloned().unwrap_or_else(|| class.to_string())
}

/// The examples whose predicted probabilities are farthest apart.
pub(super) fn classes(
    both: &[Predictions; 2],
    classes: &[Vec<u32>; 2],
    labels: Option<&[u32]>,
    distances: &[f64],
    part: &TestPart,
) -> Result<Vec<Disagreement>> {
    let prediction = |of: usize, row: usize| {
        let class = classes[of][row] as usize;
        let p = both[of].probabilities(row).and_then(|g| g.get(class)).copied();
        let p = p.unwrap_or(f64::NAN);
        format!("{} ({})", self::class(part.class_names, class), probability(p))
    };
    let of = |row: usize| Disagreement {
        label: labels.map(|labels| class(part.class_names, labels[row] as usize)),
        first: prediction(0, row),
        second: prediction(1, row),
        ..unnamed(row, distances[row], part)
    };
    farthest(distances, part).into_iter().map(|row| with_image(of(row), row, part)).collect()
}

/// The examples whose predicted values are farthest apart; `y` are the targets, where there are some.
pub(super) fn values(
    both: [&[f64]; 2],
    y: Option<&[f64]>,
    k: usize,
    distances: &[f64],
    part: &TestPart,
) -> Result<Vec<Disagreement>> {
    let row_of = |values: &[f64], row: usize| listed(&values[row * k..(row + 1) * k]);
    let of = |row: usize| Disagreement {
        label: y.map(|y| row_of(y, row)),
        first: row_of(both[0], row),
        second: row_of(both[1], row),
        ..unnamed(row, distances[row], part)
    };
    farthest(distances, part).into_iter().map(|row| with_image(of(row), row, part)).collect()
}

fn unnamed(row: usize, distance: f64, part: &TestPart) -> Disagreement {
    let example = part.indices.get(row).copied().unwrap_or(row);
    let (first, second) = (String::new(), String::new());
    Disagreement { example, label: None, first, second, distance, image: None }
}

fn with_image(of: Disagreement, row: usize, part: &TestPart) -> Result<Disagreement> {
    let image = part.image.map(|image| image(row)).transpose()?;
    Ok(Disagreement { image, ..of })
}

/// Rows by distance, the largest first and of equals the first; what does not differ is not listed.
fn farthest(distances: &[f64], part: &TestPart) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..distances.len()).filter(|&row| distances[row] > 0.0).collect();
    rows.sort_by(|&i, &j| distances[j].total_cmp(&distances[i]));
    rows.truncate(part.n_disagreements);
    rows
}

/// Two decimals without the zero before the point, as in ".93".
fn probability(p: f64) -> String {
    let text = format!("{p:.2}");
    text.strip_prefix('0').map_or(text.clone(), str::to_owned)
}

/// Numbers of four significant digits.
fn listed(values: &[f64]) -> String {
    let number = |value: &f64| {
        let n_whole = value.abs().max(1e-6).log10().floor() as i32 + 1;
        let n_decimals = usize::try_from(4 - n_whole).unwrap_or(0).min(6);
        format!("{value:.n_decimals$}")
    };
    let mut words: Vec<String> = values.iter().take(LISTED).map(number).collect();
    if values.len() > LISTED {
        words.push("…".into());
    }
    words.join(", ")
}

/// An example as an image, from x (m, …) whose rows are of `image` = \[channels, height, width\].
///
/// Intensities outside \[0, 1\], as of normalized images, are moved and scaled to it. Two channels, or more than three,
/// show the first alone.
pub fn thumbnail(x: &Tensor, image: [usize; 3], row: usize) -> Result<Thumbnail> {
    let [channels, height, width] = image;
    let values = x.narrow(0, row, 1)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
    let n = channels * height * width;
    ensure!(values.len() == n, "expected {n} intensities an image, found {}", values.len());
    let shown = if channels == 3 { 3 } else { 1 };
    let values = &values[..shown * height * width];
    let ends = (f64::INFINITY, f64::NEG_INFINITY);
    let (low, high) = values.iter().fold(ends, |(low, high), v| (low.min(*v), high.max(*v)));
    let (low, scale) = match (low, high) {
        (low, high) if low >= 0.0 && high <= 1.0 => (0.0, 1.0),
        (low, high) if high > low => (low, 1.0 / (high - low)),
        _ => (low, 0.0),
    };
    let intensities = values.iter().map(|v| ((v - low) * scale).clamp(0.0, 1.0)).collect();
    Ok(Thumbnail { channels: shown, height, width, intensities })
}
