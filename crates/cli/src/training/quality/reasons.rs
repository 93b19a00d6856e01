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

/// Share of the errors of the better of network and constant that a cause leaves when it is mended, at most, to be told.
const MOST_LEFT: f64 = 0.5;

/// A cause that was tried: what the network reaches without it, and the sentence that says so and what to do.
struct Cause {
    /// Accuracy or R² without it.
    mended: f64,
    sentence: String,
}

/// Whether a cause is convincing: without it the network makes at most half of the errors that it or the best constant
/// makes. Accuracy or R²; what a network reaches by chance, or keeps on inputs that it half understands, is no evidence.
fn is_convincing(mended: f64, own: f64, constant: f64) -> bool {
    1.0 - mended <= MOST_LEFT * (1.0 - own.max(constant))
}

/// Likely reasons why a network is no better than a constant on these examples, one sentence each.
///
/// Tried are another order of the classes (fitted on every other example, judged on the rest), a linear map of each
/// predicted value, and other inputs: divided by 255 or times 255, in \[−1, 1\], standardized, inverted, and images with
/// rows and columns or colors exchanged. A cause is told where mending it leaves at most half of the errors of the better
/// of network and constant; such causes stand alone, the best first, each with its remedy. Where there is none, what else
/// it may be is listed. `run` evaluates the network on inputs of the shape of `x`.
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
    let mut causes = other_inputs(targets, x, run)?;
    match targets {
        Targets::Classes { .. } => {
            let logits = class_logits(outputs)?;
            let labels = labels(targets, &logits)?;
            let classes = Predictions::new(&logits)?.classes();
            let n_classes = logits.dims2()?.1;
            causes.extend(order_of_classes(&classes, &labels, n_classes, class_names));
            reasons.extend(constant_class(&classes, &labels, n_classes, class_names));
        }
        Targets::Values(y) => causes.extend(linear_map(&numbers, &rows_of(y, k, m)?.0, k)),
    }
    if !causes.is_empty() {
        causes.sort_by(|a, b| b.mended.total_cmp(&a.mended));
        return Ok(causes.into_iter().map(|cause| cause.sentence).collect());
    }
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
) -> Option<Cause> {
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
    let of_constant = share(constant.iter().filter(|right| **right).count());
    let is_told = after > before + WORTH_TELLING
        && is_convincing(after, before, of_constant)
        && stats::is_more_often_right_p(only, other) < 1e-3;
    let moved: Vec<usize> =
        (0..n_classes).filter(|&label| order[label] != label && of_each[label] > 0).collect();
    let listed: Vec<String> = moved
        .iter()
        .take(LISTED)
        .map(|&label| format!("{} is class {} of the network", class(names, label), order[label]))
        .collect();
    let more = if moved.len() > LISTED { ", …" } else { "" };
    // Names in the order of the network's outputs.
    let mut ordered = vec![String::new(); n_classes];
    (0..n_classes).for_each(|label| ordered[order[label]] = class(names, label));
    is_told.then(|| Cause {
        mended: after,
        sentence: format!(
            "The classes are numbered in another order: with label {}{more}, its accuracy is {} instead of {}: give --classes \
             {}.",
            listed.join(", label "),
            metric::ACCURACY.text(after),
            metric::ACCURACY.text(before),
            option(&ordered.join(",")),
        ),
    })
}

/// A value of an option as it is typed in a shell.
fn option(value: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "_-.,+/:@".contains(c);
    if value.chars().all(is_plain) { value.to_owned() } else { format!("\"{value}\"") }
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
fn linear_map(f: &[f64], y: &[f64], k: usize) -> Option<Cause> {
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
    let is_told = is_convincing(total, own, 0.0) && total * m > 20.0;
    let more = if k > LISTED { ", …" } else { "" };
    maps.truncate(LISTED);
    is_told.then(|| Cause {
        mended: total,
        sentence: format!(
            "After a linear map of its outputs f ({}{more}) R² is {}: the targets were scaled in training; give them in the \
             network's unit.",
            maps.join(", "),
            metric::R_SQUARED.text(total)
        ),
    })
}

/// Accuracy or R² of a check.
fn main_score(check: &FitCheck) -> Option<FitMeasure> {
    let score = |metric: Metric| check.measures.iter().find(|measure| measure.metric == metric);
    score(metric::ACCURACY).or_else(|| score(metric::R_SQUARED)).copied()
}

/// The other inputs on which the network fits much better.
fn other_inputs(
    targets: &Targets,
    x: &Tensor,
    run: &mut dyn FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Vec<Cause>> {
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
    let mut found = Vec::new();
    let own = main_score(&fit_check(&run(&x)?, &targets)?).map_or(0.0, |measure| measure.network);
    for Change { words, remedy, x } in changes(&x)? {
        let check = fit_check(&run(&x)?, &targets)?;
        if let (true, Some(measure)) = (check.is_better, main_score(&check))
            && is_convincing(measure.network, own, measure.constant)
        {
            let (mended, label) = (measure.network, measure.metric.label);
            let text = measure.metric.text(mended);
            let sentence = format!(
                "With {words}, the network's {label} is {text}: it was probably trained on such inputs; {remedy}."
            );
            found.push(Cause { mended, sentence });
        }
    }
    Ok(found)
}

/// Inputs as another program prepares them.
struct Change {
    words: &'static str,
    /// How the user gives such inputs.
    remedy: &'static str,
    x: Tensor,
}

/// Inputs as other programs prepare them, in words and in numbers; only what can be, by the range and the shape.
fn changes(x: &Tensor) -> Result<Vec<Change>> {
    let (low, high) = range(x)?;
    let is_unit = low >= 0.0 && high <= 1.0;
    let is_image = x.dims().len() == 4;
    let mut changes = Vec::new();
    let mut add = |words, remedy, x| changes.push(Change { words, remedy, x });
    if high > 1.5 {
        let remedy = match is_image {
            true => "divide them by 255, or give bytes (uint8), which are divided here",
            false => "divide them by 255, or give bytes (uint8) with --bytes intensities",
        };
        add("inputs divided by 255", remedy, (x / 255.0)?);
    }
    if is_unit {
        let remedy = "multiply them by 255, or, where the file has bytes, give --bytes numbers";
        add("inputs times 255", remedy, (x * 255.0)?);
        let remedy = match is_image {
            true => "give --image-mean 0.5 --image-std 0.5",
            false => "give 2 x − 1",
        };
        add("inputs moved from [0, 1] to [-1, 1]", remedy, x.affine(2.0, -1.0)?);
        add("inputs inverted, 1 − x", "give 1 − x", x.affine(-1.0, 1.0)?);
    }
    if high > 1.5 && low >= 0.0 && high <= 255.0 {
        let x = x.affine(2.0 / 255.0, -1.0)?;
        add("inputs moved from [0, 255] to [-1, 1]", "give x / 127.5 − 1", x);
    }
    let remedy = "standardize them as in training; --standardize of distill shrink does it, and \
                  builds it into the student";
    match x.dims().len() {
        2 => {
            let words = "each feature standardized (less its mean, over its standard deviation)";
            add(words, remedy, standardized(x, vec![0])?);
        }
        4 => {
            let words = "each channel standardized (less its mean, over its standard deviation)";
            add(words, remedy, standardized(x, vec![0, 2, 3])?);
        }
        _ => {}
    }
    if let [_, channels, height, width] = *x.dims() {
        if height == width && height > 1 {
            let remedy = "the images are transposed: exchange their last two axes";
            let x = x.transpose(2, 3)?.contiguous()?;
            add("rows and columns of the images exchanged", remedy, x);
        }
        if channels == 3 {
            let [blue, green, red] = [2, 1, 0].map(|channel| x.narrow(1, channel, 1));
            let reversed = Tensor::cat(&[&blue?, &green?, &red?], 1)?;
            let remedy = "the images have RGB where the network takes BGR, or BGR where it takes RGB: reverse their channels";
            add("the color channels in reverse order", remedy, reversed);
        }
    }
    Ok(changes)
}

fn range(x: &Tensor) -> Result<(f64, f64)> {
    let x = x.to_dtype(DType::F64)?.flatten_all()?;
    Ok((x.min(0)?.to_scalar::<f64>()?, x.max(0)?.to_scalar::<f64>()?))
}

/// x less its mean, over its standard deviation, both over these axes.
fn standardized(x: &Tensor, over: Vec<usize>) -> Result<Tensor> {
    let mean = x.mean_keepdim(over.clone())?;
    let centered = x.broadcast_sub(&mean)?;
    let std = centered.sqr()?.mean_keepdim(over)?.sqrt()?;
    // A constant feature stays 0.
    let is_constant = std.eq(0.0)?.to_dtype(std.dtype())?;
    Ok(centered.broadcast_div(&(std + is_constant)?)?)
}
