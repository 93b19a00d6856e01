//! Choosing λ and T by cross-validation on the training examples: the test set never chooses.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use core_tensors::Rng;

use crate::ledger::{Curve, metric};

/// Weights λ and temperatures T of the teacher's term that are tried, every pair of them.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    /// λ, from 0, where the teacher's answers count for nothing and T does not matter.
    pub lambdas: &'static [f64],
    /// T.
    pub temperatures: &'static [f64],
}

/// What cross-validation found.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// Index of the best cell.
    pub cell: usize,
    /// Validation risk of every cell, mean over the folds.
    pub risks: Vec<f64>,
}

impl Grid {
    /// (T, λ), temperature by temperature.
    pub fn cells(&self) -> Vec<(f64, f64)> {
        let row = |&t: &f64| self.lambdas.iter().map(move |&lambda| (t, lambda));
        self.temperatures.iter().flat_map(row).collect()
    }

    /// One value a cell from `value` at (T, λ), which is asked once for all cells with λ = 0.
    pub fn each<T: Clone>(&self, mut value: impl FnMut(f64, f64) -> Result<T>) -> Result<Vec<T>> {
        let mut without: Option<T> = None;
        let mut values = Vec::new();
        for (temperature, lambda) in self.cells() {
            let found = match (&without, lambda == 0.0) {
                (Some(found), true) => found.clone(),
                _ => value(temperature, lambda)?,
            };
            if lambda == 0.0 {
                without = Some(found.clone());
            }
            values.push(found);
        }
        Ok(values)
    }
}

/// The metrics of a student with the λ and T that it was chosen at.
pub fn with_choice(
    mut metrics: BTreeMap<String, Curve>,
    lambda: f64,
    temperature: f64,
) -> BTreeMap<String, Curve> {
    metrics.insert(metric::CHOSEN_LAMBDA.key(), vec![lambda]);
    metrics.insert(metric::CHOSEN_TEMPERATURE.key(), vec![temperature]);
    metrics
}

/// For each criterion the cell with the least mean risk over folds of equal size, the first among equals.
///
/// `risks` gets the examples to train on and those held out, and gives for each criterion one risk a cell; a cell with a
/// risk that is no number is never chosen.
pub fn cross_validate<const CRITERIA: usize>(
    n_examples: usize,
    n_folds: usize,
    rng: &mut Rng,
    mut risks: impl FnMut(&[usize], &[usize]) -> Result<[Vec<f64>; CRITERIA]>,
) -> Result<[Chosen; CRITERIA]> {
    if n_folds < 2 || n_examples < n_folds {
        bail!("folds: wanted 2 to {n_examples} for {n_examples} objects, found {n_folds}");
    }
    let order = rng.permutation(n_examples);
    let mut chosen = std::array::from_fn(|_| Chosen { cell: 0, risks: Vec::new() });
    for fold in 0..n_folds {
        let (first, end) = (fold * n_examples / n_folds, (fold + 1) * n_examples / n_folds);
        let held_out = &order[first..end];
        let kept = [&order[..first], &order[end..]].concat();
        for (chosen, found) in chosen.iter_mut().zip(risks(&kept, held_out)?) {
            chosen.risks.resize(found.len(), 0.0);
            let sums = chosen.risks.iter_mut().zip(found);
            sums.for_each(|(sum, risk)| *sum += risk / n_folds as f64);
        }
    }
    for chosen in &mut chosen {
        let finite = chosen.risks.iter().enumerate().filter(|(_, risk)| risk.is_finite());
        let best = finite.min_by(|(_, a), (_, b)| a.total_cmp(b)).map(|(cell, _)| cell);
        chosen.cell =
            best.context("cross-validation: wanted a cell with a finite risk, found none")?;
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_held_out_once_and_never_trained_on_then() {
        let mut seen = vec![0; 11];
        let chosen = cross_validate(11, 3, &mut Rng::new(0), |kept, held_out| {
            assert_eq!(kept.len() + held_out.len(), 11);
            assert!(held_out.iter().all(|i| !kept.contains(i)));
            held_out.iter().for_each(|&i| seen[i] += 1);
            Ok([vec![2.0, 1.0, 1.0, f64::NAN], vec![0.5, 3.0]])
        });
        assert_eq!(seen, [1; 11]);
        let [chosen, other] = chosen.unwrap();
        assert_eq!((chosen.cell, other.cell), (1, 0));
        assert!((chosen.risks[0] - 2.0).abs() + (chosen.risks[1] - 1.0).abs() < 1e-12);
        assert!(cross_validate(3, 4, &mut Rng::new(0), |_, _| Ok([vec![0.0]])).is_err());
        assert!(cross_validate(4, 2, &mut Rng::new(0), |_, _| Ok([vec![f64::NAN]])).is_err());
    }

    #[test]
    fn cells_without_a_teacher_are_asked_for_once() {
        let grid = Grid { lambdas: &[0.0, 0.5], temperatures: &[1.0, 2.0, 4.0] };
        let mut n_asked = 0;
        let values = grid.each(|t, lambda| {
            n_asked += 1;
            Ok(10.0 * lambda * t)
        });
        assert_eq!((values.unwrap(), n_asked), (vec![0.0, 5.0, 0.0, 10.0, 0.0, 20.0], 4));
    }
}
