//! Targets as the outputs of a network take them: classes or values.

use anyhow::{Result, bail};
use bayes_posterior::Task;
use candle_core::{Device, Tensor};
use core_tensors::Targets as Checked;

use super::names::{Named, listed};
use super::place::Place;
use super::{Targets, labels};

/// Classes that a network of so many outputs tells apart: one logit tells two.
pub(super) fn n_classes(n_outputs: usize) -> usize {
    n_outputs.max(2)
}

/// Refuses names of other classes than the network has: which of its outputs is missing, nobody knows.
pub(super) fn check_names(named: &Named, n_outputs: usize) -> Result<()> {
    let (wanted, found) = (n_classes(n_outputs), named.names.len());
    if wanted == found {
        return Ok(());
    }
    let names = listed(&named.names);
    if n_outputs == 1 {
        bail!(
            "the network has 1 output, so that it predicts a value or tells two classes apart, but found {found} classes, \
             {names}; --target names a column of numbers, or of two classes"
        );
    }
    bail!(
        "expected {wanted} classes, as the network has {n_outputs} outputs, found {found}, {names}; --classes lists all in \
         the order of the outputs"
    )
}

/// Classes of shape (m,), or f32 values (m, k), and what was assumed.
pub(super) fn targets(
    targets: Targets,
    n_outputs: usize,
    task: Option<Task>,
    place: &Place,
) -> Result<(Checked, Vec<String>)> {
    let n_classes = n_classes(n_outputs);
    let (classes, assumed) = match (targets, task) {
        (Targets::Classes(_) | Targets::Named(_), Some(Task::Regression)) => {
            bail!("its targets are classes, expected --task classification")
        }
        (Targets::Named(named), _) => {
            check_names(&named, n_outputs)?;
            (named.classes, None)
        }
        (Targets::Classes(values), _) => (labels::classes(&values, n_classes, place)?, None),
        (Targets::Numbers { values, k }, told) => {
            let (task, assumed) = match told {
                Some(task) => (task, None),
                None => guess(&values, k, n_outputs),
            };
            match task {
                Task::Regression => return self::values(&values, k, n_outputs, assumed),
                Task::Classification if k == 1 => {
                    (labels::classes(&values, n_classes, place)?, assumed)
                }
                Task::Classification => {
                    let rows =
                        "one-hot rows are taken as the classes whose numbers are 1".to_owned();
                    let assumed = assumed.unwrap_or(rows);
                    (one_hot(&values, k, n_classes, place)?, Some(assumed))
                }
            }
        }
    };
    let mut notices: Vec<String> = assumed.into_iter().collect();
    notices.extend(labels::notices(&classes, n_classes));
    let m = classes.len();
    let labels = Tensor::from_vec(classes, m, &Device::Cpu)?;
    Ok((Checked::Classes { labels, n_classes }, notices))
}

/// Whether (m, k) numbers are classes or values where no option tells, with a notice where they could be the other.
fn guess(values: &[f64], k: usize, n_outputs: usize) -> (Task, Option<String>) {
    let has = |wanted: f64| values.contains(&wanted);
    let is_binary = || values.iter().all(|&v| v == 0.0 || v == 1.0) && has(0.0) && has(1.0);
    match (k, n_outputs) {
        // One number cannot be the values of several outputs.
        (1, 2..) => (Task::Classification, None),
        (1, _) if is_binary() => {
            let told = "the targets, 0 and 1, are taken as the classes of one logit; --task regression takes them as values";
            (Task::Classification, Some(told.to_owned()))
        }
        _ if k == n_classes(n_outputs) && not_one_hot(values, k).is_none() => {
            let told = "one-hot rows are taken as the classes whose numbers are 1; --task regression takes them as values";
            (Task::Classification, Some(told.to_owned()))
        }
        _ => (Task::Regression, None),
    }
}

/// f32 values (m, k).
fn values(
    values: &[f64],
    k: usize,
    n_outputs: usize,
    assumed: Option<String>,
) -> Result<(Checked, Vec<String>)> {
    if k != n_outputs {
        bail!(
            "expected {n_outputs} targets an example, as the network gives, found {k} (--target a,b names several columns \
             of a table; an array `y` has shape (m, {n_outputs}))"
        );
    }
    let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    let values = Tensor::from_vec(narrow, (values.len() / k, k), &Device::Cpu)?;
    Ok((Checked::Values(values), assumed.into_iter().collect()))
}

/// The classes of rows with a 1 and zeros.
fn one_hot(values: &[f64], k: usize, n_classes: usize, place: &Place) -> Result<Vec<u32>> {
    if k != n_classes {
        bail!(
            "expected one class an example, or one-hot rows of {n_classes} numbers, found {k} targets"
        );
    }
    if let Some(row) = not_one_hot(values, k) {
        let found = &values[row * k..][..k];
        bail!(
            "{}: expected one class an example, or rows with a 1 and zeros, found {found:?}",
            place.target(row, 0)
        );
    }
    let class = |row: &[f64]| row.iter().position(|&value| value == 1.0).unwrap_or_default() as u32;
    Ok(values.chunks_exact(k).map(class).collect())
}

/// The first row that does not hold a 1 and zeros.
fn not_one_hot(values: &[f64], k: usize) -> Option<usize> {
    let is_fine = |row: &[f64]| {
        let n_ones = row.iter().filter(|&&value| value == 1.0).count();
        n_ones == 1 && row.iter().filter(|&&value| value == 0.0).count() + 1 == k
    };
    values.chunks_exact(k).position(|row| !is_fine(row))
}
