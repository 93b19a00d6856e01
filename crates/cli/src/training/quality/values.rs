//! Measures of networks that predict values.

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use core_tensors::Targets;

use super::TestPart;
use super::classes::of_means;
use super::outputs::{Outputs, interval_of_mean, rows, rows_of};
use super::words;
use crate::ledger::quality::{
    FitCheck, FitMeasure, Interval, Measure, PairedMeasure, PairedQuality, Predicted, Quality,
};
use crate::ledger::{metric, stats};

/// Squared errors of a network by example and output, and what they are measured by.
struct Errors<'a> {
    /// (f − y)², row by row.
    squared: Vec<f64>,
    targets: &'a Spread,
    k: usize,
}

/// Targets around their means.
struct Spread {
    /// y, row by row.
    y: Vec<f64>,
    /// (y − ȳ)², row by row.
    squared: Vec<f64>,
    /// Population variance of each output's targets.
    variances: Vec<f64>,
}

impl Spread {
    fn new(targets: &Targets, m: usize, k: usize) -> Result<Self> {
        let Targets::Values(y) = targets else {
            bail!("expected values as targets, found classes")
        };
        let (y, _) = rows_of(y, k, m)?;
        let mean = |j: usize| y.iter().skip(j).step_by(k).sum::<f64>() / m as f64;
        let means: Vec<f64> = (0..k).map(mean).collect();
        let squared: Vec<f64> = y
            .chunks_exact(k)
            .flat_map(|row| row.iter().zip(&means))
            .map(|(y, mean)| (y - mean).powi(2))
            .collect();
        let variances =
            (0..k).map(|j| squared.iter().skip(j).step_by(k).sum::<f64>() / m as f64).collect();
        Ok(Self { y, squared, variances })
    }

    /// Outputs whose targets differ at all: the others have no R².
    fn varied(&self) -> Vec<usize> {
        (0..self.variances.len()).filter(|&j| self.variances[j] > 0.0).collect()
    }
}

impl<'a> Errors<'a> {
    fn new(values: &Tensor, targets: &'a Spread) -> Result<Self> {
        let (f, k) = rows(values)?;
        let squared = f.iter().zip(&targets.y).map(|(f, y)| (f - y).powi(2)).collect();
        Ok(Self { squared, targets, k })
    }

    /// Squared error of each example, mean over the outputs.
    fn by_example(&self) -> Vec<f64> {
        self.squared.chunks_exact(self.k).map(stats::mean).collect()
    }

    /// What each example adds to the share of the targets' variance that is left, mean over the outputs; R² is 1 less their
    /// mean, with the error of their mean.
    ///
    /// E/V + (eᵢ − E sᵢ/V)/V for an output, with eᵢ = (f − y)² and E its mean, sᵢ = (y − ȳ)² and V its mean: the share E/V
    /// and the influence of the example on it, since V is of the same examples. Those of two networks are subtracted example
    /// by example.
    fn shares(&self) -> Option<Vec<f64>> {
        let m = (self.squared.len() / self.k) as f64;
        let left = |j: usize| {
            let error = self.squared.iter().skip(j).step_by(self.k).sum::<f64>() / m;
            (j, error / self.targets.variances[j])
        };
        let left: Vec<(usize, f64)> = self.targets.varied().into_iter().map(left).collect();
        let share = |(errors, spreads): (&[f64], &[f64])| {
            let terms = left.iter().map(|&(j, left)| {
                left + (errors[j] - left * spreads[j]) / self.targets.variances[j]
            });
            terms.sum::<f64>() / left.len() as f64
        };
        let rows = self.squared.chunks_exact(self.k);
        let rows = rows.zip(self.targets.squared.chunks_exact(self.k));
        (!left.is_empty()).then(|| rows.map(share).collect())
    }

    /// R² with its interval.
    fn r_squared(&self) -> Option<Interval> {
        let of = interval_of_mean(&self.shares()?);
        Some(Interval { value: 1.0 - of.value, low: 1.0 - of.high, high: 1.0 - of.low })
    }

    /// −log N(y; f, v) of each example, summed over the outputs, with the variances of the example's fold.
    fn negative_logs(&self, folds: &[&[f64]]) -> Option<Vec<f64>> {
        let is_given = |v: &&[f64]| v.len() == self.k && v.iter().all(|v| *v > 0.0);
        let term = |(e, v): (&f64, &f64)| 0.5 * ((std::f64::consts::TAU * v).ln() + e / v);
        let of = |(i, row): (usize, &[f64])| -> f64 {
            row.iter().zip(folds[i % folds.len()]).map(term).sum()
        };
        let rows = self.squared.chunks_exact(self.k).enumerate();
        (!folds.is_empty() && folds.iter().all(is_given)).then(|| rows.map(of).collect())
    }
}

/// What a second network loses of R² on each example, with the example's influence on the variance V of the targets:
/// D/V + (dᵢ − D sᵢ/V)/V, mean over the outputs.
///
/// dᵢ is the squared error of the second less that of the first and D its mean, sᵢ = (y − ȳ)². Their mean is R² of the first
/// less that of the second, and their spread the error of it; for [`stats::upper_bound_of_mean`]. `None` where no output's
/// targets differ.
///
/// Source: the delta method, of a ratio of means.
pub fn r_squared_losses(
    first: &Tensor,
    second: &Tensor,
    targets: &Targets,
) -> Result<Option<Vec<f64>>> {
    super::outputs::check_same(Outputs::new(first), Outputs::new(second))?;
    let (m, k) = first.dims2()?;
    let spread = Spread::new(targets, m, k)?;
    let shares = [Errors::new(first, &spread)?.shares(), Errors::new(second, &spread)?.shares()];
    let [Some(first), Some(second)] = shares else { return Ok(None) };
    Ok(Some(first.iter().zip(&second).map(|(a, b)| b - a).collect()))
}

/// Both networks on the examples.
pub(super) fn paired(first: Outputs, second: Outputs, part: &TestPart) -> Result<PairedQuality> {
    let (m, k) = first.values.dims2()?;
    let ((f, _), (g, _)) = (rows(first.values)?, rows(second.values)?);
    let squared: Vec<f64> = f.iter().zip(&g).map(|(a, b)| (a - b).powi(2)).collect();
    let distances: Vec<f64> = squared.chunks_exact(k).map(|row| row.iter().sum()).collect();
    let means: Vec<f64> = squared.chunks_exact(k).map(stats::mean).collect();
    let difference = interval_of_mean(&means);
    let metric = metric::TEACHER_DISTANCE;
    let mut measures = vec![PairedMeasure::from_exact(metric, 0.0, difference)];
    let spread = match part.targets {
        Some(targets) => Some(Spread::new(targets, m, k)?),
        None => None,
    };
    if let Some(spread) = &spread {
        let [a, b] = [Errors::new(first.values, spread)?, Errors::new(second.values, spread)?];
        measures.extend(r_squared(&a, &b));
        measures.push(root_mean_squared_error(&a, &b));
        let logs = [
            first.noise_variances().and_then(|v| a.negative_logs(&v)),
            second.noise_variances().and_then(|v| b.negative_logs(&v)),
        ];
        if let [Some(of_a), Some(of_b)] = &logs {
            measures.push(of_means(metric::NORMAL_NLL, of_a, of_b));
        }
    }
    let y = spread.as_ref().map(|spread| spread.y.as_slice());
    Ok(PairedQuality {
        predicted: Predicted::Values,
        n_examples: m,
        has_labels: spread.is_some(),
        measures,
        mc_nemar: None,
        classes: Vec::new(),
        reliability: [Vec::new(), Vec::new()],
        disagreements: words::values([&f, &g], y, k, &distances, part)?,
    })
}

fn r_squared(a: &Errors, b: &Errors) -> Option<PairedMeasure> {
    let (of_a, of_b) = (a.shares()?, b.shares()?);
    let losses = of_means(metric::R_SQUARED, &of_b, &of_a);
    // The share that is left is 1 − R²: the first of these is the second's.
    let (first, second) = (1.0 - losses.second, 1.0 - losses.first);
    Some(PairedMeasure::new(metric::R_SQUARED, first, second, losses.difference))
}

/// Roots of mean squared errors, and the interval of their difference by the roots' slopes.
fn root_mean_squared_error(a: &Errors, b: &Errors) -> PairedMeasure {
    let (of_a, of_b) = (a.by_example(), b.by_example());
    let [first, second] = [&of_a, &of_b].map(|of| stats::mean(of).sqrt());
    let slope = |root: f64| if root > 0.0 { 0.5 / root } else { 0.0 };
    let (down, up) = (slope(first), slope(second));
    let influences: Vec<f64> = of_a.iter().zip(&of_b).map(|(a, b)| up * b - down * a).collect();
    let difference = around(second - first, &influences);
    PairedMeasure::new(metric::ROOT_MEAN_SQUARED_ERROR, first, second, difference)
}

/// The interval of a mean of influences, moved to a value.
fn around(value: f64, influences: &[f64]) -> Interval {
    let of = interval_of_mean(influences);
    Interval { value, low: value + of.low - of.value, high: value + of.high - of.value }
}

/// One network on the examples.
pub(super) fn alone(outputs: Outputs, part: &TestPart) -> Result<Quality> {
    let targets = part.targets.context("expected targets to measure a network by, found none")?;
    let (m, k) = outputs.values.dims2()?;
    let spread = Spread::new(targets, m, k)?;
    let errors = Errors::new(outputs.values, &spread)?;
    let by_example = errors.by_example();
    let root = stats::mean(&by_example).sqrt();
    let slope = if root > 0.0 { 0.5 / root } else { 0.0 };
    let influences: Vec<f64> = by_example.iter().map(|e| slope * e).collect();
    let mut measures =
        vec![Measure::new(metric::ROOT_MEAN_SQUARED_ERROR, around(root, &influences))];
    measures.extend(errors.r_squared().map(|value| Measure::new(metric::R_SQUARED, value)));
    let variances = outputs.noise_variances();
    if let Some(logs) = variances.and_then(|variances| errors.negative_logs(&variances)) {
        measures.push(Measure::new(metric::NORMAL_NLL, interval_of_mean(&logs)));
    }
    Ok(Quality {
        predicted: Predicted::Values,
        n_examples: m,
        measures,
        classes: Vec::new(),
        reliability: Vec::new(),
    })
}

/// A network beside the means of the targets, by R² and RMSE.
pub(super) fn fit(outputs: &Tensor, targets: &Targets, level: f64) -> Result<FitCheck> {
    let (m, k) = outputs.dims2()?;
    let spread = Spread::new(targets, m, k)?;
    let errors = Errors::new(outputs, &spread)?;
    let root = |squared: &[f64]| stats::mean(squared).sqrt();
    let mut measures = vec![FitMeasure {
        metric: metric::ROOT_MEAN_SQUARED_ERROR,
        network: root(&errors.squared),
        constant: root(&spread.squared),
    }];
    let Some(shares) = errors.shares() else {
        return Ok(FitCheck { n_examples: m, measures, is_better: false });
    };
    let network = 1.0 - stats::mean(&shares);
    measures.push(FitMeasure { metric: metric::R_SQUARED, network, constant: 0.0 });
    // A constant leaves all of the variance, whatever the examples.
    let losses: Vec<f64> = shares.iter().map(|share| share - 1.0).collect();
    let is_better = stats::upper_bound_of_mean(&losses, level) < 0.0;
    Ok(FitCheck { n_examples: m, measures, is_better })
}
