//! How a small network is trained: passes, batches, and the settings that are tried.

use anyhow::{Result, ensure};
use core_tensors::Schedule;

use crate::ledger::quality::Predicted;

/// Examples a batch at most.
const BATCH: usize = 128;
/// Steps an epoch at least, where there are so many examples: Adam needs steps, not epochs.
const STEPS: usize = 24;
/// Epochs without a better validation loss after which a distillation after surgery ends.
const PATIENCE: usize = 4;
/// Steps of the trials that choose λ and T for each step size: a share of all steps, and no fewer than that many.
const FIRST_ROUND: (f64, usize) = (1.0 / 16.0, 8);
/// Steps of those that choose the step size.
const SECOND_ROUND: (f64, usize) = (1.0 / 4.0, 64);
/// Share of the steps for which the step size rises: the first steps of Adam are as long as it, whatever the gradient.
const RISE: f64 = 0.1;

/// Step size, weight of the teacher and temperature of one training.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Setting {
    /// η > 0: largest step size of Adam; it rises for a tenth of the steps and falls to 0 from there.
    pub learning_rate: f64,
    /// λ ∈ \[0, 1\]: weight of the large network's outputs; that of the labels is 1 − λ.
    pub lambda: f64,
    /// T > 0 of both softmaxes in the term of the large network's outputs; of no meaning for values.
    pub temperature: f64,
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { learning_rate, lambda, temperature } = self;
        write!(f, "learning rate {learning_rate:e}, λ {lambda}, T {temperature}")
    }
}

/// Settings that are tried: every combination.
#[derive(Clone, Debug, PartialEq)]
pub struct SettingGrid {
    /// Step sizes.
    pub learning_rates: Vec<f64>,
    /// λ; 1 alone is tried where there are no labels.
    pub lambdas: Vec<f64>,
    /// T; the first alone is tried for values, and where λ = 0.
    pub temperatures: Vec<f64>,
}

/// How a small network is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct StudentCourse {
    /// What the outputs are; one output that predicts classes is the logit of the second of two.
    pub predicted: Predicted,
    /// Passes over the calibration examples, at least 1; those of the trials come on top.
    pub epochs: usize,
    /// Examples a batch, at least 1.
    pub batch_size: usize,
    /// What is tried.
    pub grid: SettingGrid,
    /// Epochs without a better validation loss after which training ends; `None`: it never ends early.
    pub patience: Option<usize>,
    /// σ² > 0 of each output of a regression; estimated where it is not given. No meaning for classes.
    pub noise_variances: Option<Vec<f64>>,
}

impl SettingGrid {
    /// Small steps: larger ones spoil what surgery kept.
    pub fn after_surgery() -> Self {
        Self { learning_rates: vec![3e-5, 1e-4, 3e-4, 1e-3], ..Self::from_scratch() }
    }

    /// Steps for random parameters.
    pub fn from_scratch() -> Self {
        Self {
            learning_rates: vec![1e-3, 3e-3],
            lambdas: vec![0.7, 1.0],
            temperatures: vec![1.0, 3.0],
        }
    }

    /// The settings that are tried, each once.
    fn settings(&self, predicted: Predicted, has_labels: bool) -> Vec<Setting> {
        let lambdas = if has_labels { &self.lambdas[..] } else { &[1.0] };
        let mut settings = Vec::new();
        for &learning_rate in &self.learning_rates {
            for &lambda in lambdas {
                let n = match predicted {
                    Predicted::Classes if lambda > 0.0 => self.temperatures.len(),
                    Predicted::Classes | Predicted::Values => 1,
                };
                let temperatures = self.temperatures.iter().take(n);
                settings.extend(temperatures.map(|&temperature| Setting {
                    learning_rate,
                    lambda,
                    temperature,
                }));
            }
        }
        settings
    }
}

impl StudentCourse {
    /// Gentle distillation after surgery, by `n_examples` examples.
    pub fn after_surgery(predicted: Predicted, epochs: usize, n_examples: usize) -> Self {
        Self {
            predicted,
            epochs,
            batch_size: (n_examples / STEPS).clamp(8, BATCH),
            grid: SettingGrid::after_surgery(),
            patience: Some(PATIENCE),
            noise_variances: None,
        }
    }

    /// Distillation from random parameters: larger steps, and all epochs are used.
    pub fn from_scratch(predicted: Predicted, epochs: usize, n_examples: usize) -> Self {
        Self {
            grid: SettingGrid::from_scratch(),
            patience: None,
            ..Self::after_surgery(predicted, epochs, n_examples)
        }
    }

    /// How many points a monitor is told of by examples with labels or without, where training does not end early.
    pub fn n_points(&self, n_examples: usize, has_labels: bool) -> usize {
        let rounds = self.rounds(n_examples, &self.settings(has_labels));
        rounds.iter().map(|round| round.n).sum::<usize>() + self.epochs
    }

    /// The settings that are tried.
    pub(super) fn settings(&self, has_labels: bool) -> Vec<Setting> {
        self.grid.settings(self.predicted, has_labels)
    }

    /// Steps of one epoch.
    pub(super) fn n_batches(&self, n_examples: usize) -> usize {
        n_examples.div_ceil(self.batch_size.max(1))
    }

    /// The rounds of trials, none where there is nothing to choose: all settings, then the best of each step size.
    ///
    /// Step sizes meet in the second round alone: after few steps the smallest would always look best.
    pub(super) fn rounds(&self, n_examples: usize, settings: &[Setting]) -> Vec<Round> {
        let all = self.epochs * self.n_batches(n_examples);
        let steps = |(share, least): (f64, usize)| {
            ((all as f64 * share).ceil() as usize).max(least).min(all)
        };
        let n_rates = n_learning_rates(settings);
        let first = Round { n: settings.len(), n_steps: steps(FIRST_ROUND) };
        let second = Round { n: n_rates, n_steps: steps(SECOND_ROUND) };
        let mut rounds = Vec::new();
        if settings.len() > n_rates {
            rounds.push(first);
        }
        if n_rates > 1 {
            rounds.push(second);
        }
        rounds
    }

    /// Refuses numbers out of range.
    pub(super) fn check(&self, has_labels: bool) -> Result<()> {
        let wanted = |what: &str, n: usize| {
            ensure!(n > 0, "{what}: wanted at least 1, found 0");
            Ok(())
        };
        wanted("epochs of training", self.epochs)?;
        wanted("examples a batch", self.batch_size)?;
        let settings = self.settings(has_labels);
        wanted("settings to try", settings.len())?;
        for setting in settings {
            let Setting { learning_rate, lambda, temperature } = setting;
            let is_step = learning_rate > 0.0 && learning_rate.is_finite();
            ensure!(is_step, "learning rate: wanted more than 0, found {learning_rate}");
            ensure!((0.0..=1.0).contains(&lambda), "λ: wanted a number in [0, 1], found {lambda}");
            let is_temperature = temperature > 0.0 && temperature.is_finite();
            ensure!(is_temperature, "temperature: wanted more than 0, found {temperature}");
        }
        Ok(())
    }
}

/// The step size of one of `n_steps` steps, from 0: up to the largest, and down to 0, which is not reached.
pub(super) fn step_size(largest: f64, step: usize, n_steps: usize) -> f64 {
    let rising = (step + 1) as f64 / (n_steps as f64 * RISE).max(1.0);
    rising.min(1.0) * Schedule::Cosine(largest).at(step as f64 / n_steps as f64)
}

/// How many step sizes there are among settings, those of one beside one another.
fn n_learning_rates(settings: &[Setting]) -> usize {
    let of = |s: &Setting| s.learning_rate;
    settings.chunk_by(|a, b| of(a) == of(b)).count()
}

/// Settings that are tried beside one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Round {
    /// How many.
    pub(super) n: usize,
    /// Steps of each, from the start.
    pub(super) n_steps: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_make_no_difference_are_tried_once() {
        let grid = SettingGrid {
            learning_rates: vec![1e-3],
            lambdas: vec![0.0, 0.5],
            temperatures: vec![1.0, 2.0],
        };
        let found = |predicted, has_labels| {
            let settings = grid.settings(predicted, has_labels);
            settings.iter().map(|s| (s.lambda, s.temperature)).collect::<Vec<_>>()
        };
        assert_eq!(found(Predicted::Classes, true), [(0.0, 1.0), (0.5, 1.0), (0.5, 2.0)]);
        assert_eq!(found(Predicted::Classes, false), [(1.0, 1.0), (1.0, 2.0)]);
        assert_eq!(found(Predicted::Values, true), [(0.0, 1.0), (0.5, 1.0)]);
        assert_eq!(found(Predicted::Values, false), [(1.0, 1.0)]);
    }

    #[test]
    fn rounds_by_hand() {
        let course = StudentCourse::after_surgery(Predicted::Classes, 3, 6400);
        let rounds = |course: &StudentCourse, has_labels| {
            let rounds = course.rounds(6400, &course.settings(has_labels));
            rounds.iter().map(|round| (round.n, round.n_steps)).collect::<Vec<_>>()
        };
        // 50 steps an epoch: 150 / 16 = 9.4, 150 / 4 < 64; two λ and two T of four step sizes.
        assert_eq!(rounds(&course, true), [(16, 10), (4, 64)]);
        assert_eq!(course.n_points(6400, true), 16 + 4 + 3);
        assert_eq!(rounds(&course, false), [(8, 10), (4, 64)]);
        let long = StudentCourse { epochs: 32, ..course.clone() };
        assert_eq!(rounds(&long, true), [(16, 100), (4, 400)]);
        // No more than all of training.
        let short = StudentCourse { epochs: 1, batch_size: 1000, ..course.clone() };
        assert_eq!(rounds(&short, true), [(16, 7), (4, 7)]);
        // Nothing to choose, in one round or both.
        let values = StudentCourse { predicted: Predicted::Values, ..course };
        assert_eq!(rounds(&values, false), [(4, 64)]);
        let grid = SettingGrid { learning_rates: vec![1e-3], ..values.grid.clone() };
        let one = StudentCourse { grid, ..values };
        assert_eq!(rounds(&one, true), [(2, 10)]);
        assert!(rounds(&one, false).is_empty());
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let course = StudentCourse::after_surgery(Predicted::Classes, 3, 100);
        course.check(true).unwrap();
        let error = |course: StudentCourse| course.check(true).unwrap_err().to_string();
        let none = StudentCourse { epochs: 0, ..course.clone() };
        assert_eq!(error(none), "epochs of training: wanted at least 1, found 0");
        let grid = SettingGrid { lambdas: vec![1.5], ..course.grid.clone() };
        let large = StudentCourse { grid, ..course };
        assert_eq!(error(large), "λ: wanted a number in [0, 1], found 1.5");
    }
}
