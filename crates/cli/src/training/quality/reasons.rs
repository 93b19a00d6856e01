//! Why a network does not fit examples: what can be tried is tried, and the likely reasons are told.

use anyhow::Result;
use candle_core::{DType, Tensor};
use core_tensors::Targets;
use losses::Predictions;
use pathfinding::prelude::{Matrix, kuhn_munkres};

use super::fit::fit_check;
use super::outputs::{class_logits, labels, rows, rows_of};
use super::words::class;
use crate::ledger::metric::{self, Metric};
use crate::ledger::quality::{FitCheck, FitMeasure};
use crate::ledger::stats;

/// Examples that other inputs are tried on.
const MOST_TRIED: usize = 2000;
/// Below so many examples no measure says much.
const FEWEST: usize = 20;
/// Classes whose order is searched: the search takes k³ steps.
const MOST_CLASSES: usize = 256;
/// Share of the predictions that makes them constant.
const CONSTANT: f64 = 0.99;
/// Accuracy that another order of the classes must add to be told.
const WORTH_TELLING: f64 = 0.05;
/// Classes or outputs that a sentence lists.
const LISTED: usize = 4;

/// Likely reasons why a network is no better than a constant on these examples, one sentence each, the measured ones first.
///
/// Tried are another order of the classes (fitted on every other example, judged on the rest), a linear map of each
/// predicted value, and other inputs: divided by 255 or times 255, in \[−1, 1\], standardized, inverted, and images with
/// rows and columns or colors exchanged. `run` evaluates the network on inputs of the shape of `x`.
pub fn fit_reasons(
    outputs: &Tensor,
    targets: &Targets,
    class_names: &[String],
    x: &Tensor,
    run: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Vec<String>> {
    let mut reasons = Vec::new();
    let m = outputs.dims2()?.0;
    if m < FEWEST {
        reasons.push(format!("There are only {m} examples, too few to tell."));
    }
    let (numbers, k) = rows(outputs)?;
    let n_bad = numbers.chunks_exact(k).filter(|row| row.iter().any(|v| !v.is_finite())).count();
    if n_bad > 0 {
        reasons.push(format!(
            "The network's outputs are not finite on {n_bad} of {m} examples; inputs may be far larger than in training."
        ));
        return Ok(reasons);
    }
    match targets {
        Targets::Classes { .. } => {
            let logits = class_logits(outputs)?;
            let labels = labels(targets, &logits)?;
            let classes = Predictions::new(&logits)?.classes();
            let n_classes = logits.dims2()?.1;
            reasons.extend(order_of_classes(&classes, &labels, n_classes, class_names));
            reasons.extend(constant_class(&classes, &labels, n_classes, class_names));
        }
        Targets::Values(y) => reasons.extend(linear_map(&numbers, &rows_of(y, k, m)?.0, k)),
    }
    reasons.extend(other_inputs(targets, x, run)?);
    let columns = match targets {
        Targets::Classes { .. } => "The labels may be of another column or other examples",
        Targets::Values(_) => "The targets may be of another column or in another unit",
    };
    reasons.push(format!(
        "{columns}, the features in another order than in training, or weights transposed in the network's file."
    ));
    Ok(reasons)
}

/// Says where another numbering of the classes fits much better.
fn order_of_classes(
    found: &[u32],
    labels: &[u32],
    n_classes: usize,
    names: &[String],
) -> Option<String> {
    if n_classes > MOST_CLASSES {
        return None;
    }
    let mut counts = vec![vec![0_i64; n_classes]; n_classes];
    let pairs =
        || labels.iter().zip(found).map(|(&label, &found)| (label as usize, found as usize));
    pairs().step_by(2).for_each(|(label, found)| counts[label][found] += 1);
    let (_, order) = kuhn_munkres(&Matrix::from_rows(counts).ok()?);
    let rest = || pairs().skip(1).step_by(2);
    let n = rest().count();
    let mut of_each = vec![0_usize; n_classes];
    rest().for_each(|(label, _)| of_each[label] += 1);
    let most = (0..n_classes).rev().max_by_key(|&class| of_each[class])?;
    let reordered: Vec<bool> = rest().map(|(label, found)| order[label] == found).collect();
    let constant: Vec<bool> = rest().map(|(label, _)| label == most).collect();
    let (only, other) = stats::discordant(&reordered, &constant);
    let share = |n_right: usize| n_right as f64 / n as f64;
    let after = share(reordered.iter().filter(|right| **right).count());
    let before = share(rest().filter(|(label, found)| label == found).count());
    let is_told =
        after > before + WORTH_TELLING && stats::is_more_often_right_p(only, other) < 1e-3;
    let moved: Vec<usize> =
        (0..n_classes).filter(|&label| order[label] != label && of_each[label] > 0).collect();
    let listed: Vec<String> = moved
        .iter()
        .take(LISTED)
        .map(|&label| format!("{} is class {} of the network", class(names, label), order[label]))
        .collect();
    let more = if moved.len() > LISTED { ", …" } else { "" };
    is_told.then(|| {
        format!(
            "The classes are numbered in another order: with label {}{more}, its accuracy is {} instead of {}.",
            listed.join(", label "),
            metric::ACCURACY.text(after),
            metric::ACCURACY.text(before),
        )
    })
}

/// Says where nearly all examples are taken for one class.
fn constant_class(
    found: &[u32],
    labels: &[u32],
    n_classes: usize,
    names: &[String],
) -> Option<String> {
    let counted = |of: &[u32]| {
        let mut counts = vec![0_usize; n_classes];
        of.iter().for_each(|&class| counts[class as usize] += 1);
        (0..n_classes).rev().max_by_key(|&class| counts[class]).map(|class| (class, counts[class]))
    };
    let ((most, n), (_, n_labels)) = (counted(found)?, counted(labels)?);
    let m = found.len();
    let is_told = n as f64 >= CONSTANT * m as f64 && n_labels < n;
    is_told.then(|| {
        format!(
            "The network predicts class {} for {n} of {m} examples: inputs are often scaled in another way than in training.",
            class(names, most)
        )
    })
}

/// Says where a linear map of each output fits much better.
fn linear_map(f: &[f64], y: &[f64], k: usize) -> Option<String> {
    let m = (f.len() / k) as f64;
    let column = |of: &[f64], j: usize| of.iter().skip(j).step_by(k).copied().collect::<Vec<f64>>();
    let (mut maps, mut total) = (Vec::new(), 0.0);
    let (mut squared, mut spreads): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for j in 0..k {
        let (f, y) = (column(f, j), column(y, j));
        let (mean_f, mean_y) = (stats::mean(&f), stats::mean(&y));
        let product = |a: &[f64], b: &[f64], at: (f64, f64)| -> f64 {
            a.iter().zip(b).map(|(a, b)| (a - at.0) * (b - at.1)).sum()
        };
        let of_f = product(&f, &f, (mean_f, mean_f));
        let (of_y, both) = (product(&y, &y, (mean_y, mean_y)), product(&f, &y, (mean_f, mean_y)));
        if of_f <= 0.0 || of_y <= 0.0 {
            return None;
        }
        let slope = both / of_f;
        squared.push(f.iter().zip(&y).map(|(f, y)| (f - y).powi(2)).sum::<f64>());
        spreads.push(of_y);
        maps.push(format!("{slope:.4} f + {:.4}", mean_y - slope * mean_f));
        total += both * both / (of_f * of_y) / k as f64;
    }
    // Without any use the share is 1/m on average, with a tail that is exponential at most.
    let own: f64 = squared.iter().zip(&spreads).map(|(e, s)| 1.0 - e / s).sum::<f64>() / k as f64;
    let is_told = total > own.max(0.0) + WORTH_TELLING && total * m > 20.0;
    let more = if k > LISTED { ", …" } else { "" };
    maps.truncate(LISTED);
    is_told.then(|| {
        format!(
            "After a linear map of its outputs f ({}{more}) R² is {}: the targets were scaled in training; give them in the \
             network's unit.",
            maps.join(", "),
            metric::R_SQUARED.text(total)
        )
    })
}

/// Accuracy or R² of a check.
fn main_score(check: &FitCheck) -> Option<FitMeasure> {
    let score = |metric: Metric| check.measures.iter().find(|measure| measure.metric == metric);
    score(metric::ACCURACY).or_else(|| score(metric::R_SQUARED)).copied()
}

/// Says on which other inputs the network fits much better, the best first.
fn other_inputs(
    targets: &Targets,
    x: &Tensor,
    run: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Vec<String>> {
    let m = x.dim(0)?;
    let n = m.min(MOST_TRIED);
    // Spread over the file, which may be sorted.
    let chosen: Vec<u32> = (0..n).map(|i| (i * m / n) as u32).collect();
    let chosen = Tensor::new(chosen, x.device())?;
    let pick = |of: &Tensor| of.contiguous()?.index_select(&chosen, 0);
    let targets = match targets {
        Targets::Classes { labels, n_classes } => {
            Targets::Classes { labels: pick(labels)?, n_classes: *n_classes }
        }
        Targets::Values(y) => Targets::Values(pick(y)?),
    };
    let x = pick(x)?;
    let mut found: Vec<(f64, String)> = Vec::new();
    let own = main_score(&fit_check(&run(&x)?, &targets)?).map_or(0.0, |measure| measure.network);
    for (words, changed) in changes(&x)? {
        let outputs = run(&changed)?;
        let check = fit_check(&outputs, &targets)?;
        if let (true, Some(measure)) = (check.is_better, main_score(&check))
            && measure.network > measure.constant.max(own + WORTH_TELLING)
        {
            let (metric, value) = (measure.metric, measure.network);
            let text = metric.text(value);
            let label = metric.label;
            found.push((
                value,
                format!("With {words}, its {label} is {text}: it was trained on such inputs."),
            ));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    Ok(found.into_iter().map(|(_, sentence)| sentence).collect())
}

/// Inputs as other programs prepare them, in words and in numbers; only what can be, by the range and the shape.
fn changes(x: &Tensor) -> Result<Vec<(&'static str, Tensor)>> {
    let (low, high) = range(x)?;
    let is_unit = low >= 0.0 && high <= 1.0;
    let mut changes = Vec::new();
    if high > 1.5 {
        changes.push(("inputs divided by 255", (x / 255.0)?));
    }
    if is_unit {
        changes.push(("inputs times 255", (x * 255.0)?));
        changes.push(("inputs moved from [0, 1] to [-1, 1]", x.affine(2.0, -1.0)?));
        changes.push(("inputs inverted, 1 − x", x.affine(-1.0, 1.0)?));
    }
    if high > 1.5 && low >= 0.0 && high <= 255.0 {
        changes.push(("inputs moved from [0, 255] to [-1, 1]", x.affine(2.0 / 255.0, -1.0)?));
    }
    changes.extend(standardized(x)?);
    if let [_, channels, height, width] = *x.dims() {
        if height == width && height > 1 {
            changes.push((
                "rows and columns of the images exchanged",
                x.transpose(2, 3)?.contiguous()?,
            ));
        }
        if channels == 3 {
            let parts = [2, 1, 0].map(|channel| x.narrow(1, channel, 1));
            let [blue, green, red] = parts;
            let reversed = Tensor::cat(&[&blue?, &green?, &red?], 1)?;
            changes.push(("the color channels in reverse order (BGR)", reversed));
        }
    }
    Ok(changes)
}

fn range(x: &Tensor) -> Result<(f64, f64)> {
    let x = x.to_dtype(DType::F64)?.flatten_all()?;
    Ok((x.min(0)?.to_scalar::<f64>()?, x.max(0)?.to_scalar::<f64>()?))
}

/// x less its mean, over its standard deviation: by feature, or by channel of images.
fn standardized(x: &Tensor) -> Result<Option<(&'static str, Tensor)>> {
    let (words, over) = match x.dims() {
        [_, _] => {
            ("each feature standardized (less its mean, over its standard deviation)", vec![0])
        }
        [_, _, _, _] => (
            "each channel standardized (less its mean, over its standard deviation)",
            vec![0, 2, 3],
        ),
        _ => return Ok(None),
    };
    let mean = x.mean_keepdim(over.clone())?;
    let centered = x.broadcast_sub(&mean)?;
    let std = centered.sqr()?.mean_keepdim(over)?.sqrt()?;
    // A constant feature stays 0.
    let is_constant = std.eq(0.0)?.to_dtype(std.dtype())?;
    Ok(Some((words, centered.broadcast_div(&(std + is_constant)?)?)))
}
