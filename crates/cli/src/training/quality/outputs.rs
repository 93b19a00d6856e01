//! What networks put out for examples, checked against what was asked.

use anyhow::{Result, bail, ensure};
use candle_core::{DType, Tensor};
use core_tensors::Targets;
use losses::{Predictions, fitted_temperature, two_class_logits};

use crate::ledger::stats;

/// What a network puts out for m examples.
#[derive(Clone, Copy)]
pub struct Outputs<'a> {
    /// Logits or predicted values, (m, k); a single logit is that of class 1.
    pub values: &'a Tensor,
    /// What other examples say of its confidence, where there are such.
    pub calibration: Option<&'a Calibration>,
}

/// What examples other than those measured say of a network's confidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Example i has the one of index i modulo their number.
    folds: Vec<Confidence>,
}

#[derive(Clone, Debug, PartialEq)]
enum Confidence {
    /// T > 0 of the softmax.
    Temperature(f64),
    /// Variance of the noise around each output.
    NoiseVariances(Vec<f64>),
}

impl<'a> Outputs<'a> {
    /// Outputs of a network of which no validation examples are known.
    pub fn new(values: &'a Tensor) -> Self {
        Self { values, calibration: None }
    }

    /// T of each fold, where it is one of a classifier.
    pub(super) fn temperatures(self) -> Option<Vec<f64>> {
        let temperature = |of: &Confidence| match of {
            Confidence::Temperature(temperature) => Some(*temperature),
            Confidence::NoiseVariances(_) => None,
        };
        self.calibration?.folds.iter().map(temperature).collect()
    }

    /// Noise variances of each fold, where they are those of values.
    pub(super) fn noise_variances(self) -> Option<Vec<&'a [f64]>> {
        let variances = |of: &'a Confidence| match of {
            Confidence::NoiseVariances(variances) => Some(variances.as_slice()),
            Confidence::Temperature(_) => None,
        };
        self.calibration?.folds.iter().map(variances).collect()
    }
}

impl Calibration {
    /// The temperature of a classifier, or the mean squared residual of each output, on validation examples.
    pub fn fitted(values: &Tensor, targets: &Targets) -> Result<Self> {
        let all: Vec<u32> = (0..values.dim(0)?).map(|i| i as u32).collect();
        Ok(Self { folds: vec![Confidence::fitted(values, targets, &all)?] })
    }

    /// The same without validation examples: of the examples that are measured, those of odd index are judged by what those
    /// of even index say, and the other way round. At least two examples.
    pub fn two_fold(values: &Tensor, targets: &Targets) -> Result<Self> {
        let m = values.dim(0)?;
        let of_parity =
            |parity: usize| (parity..m).step_by(2).map(|i| i as u32).collect::<Vec<_>>();
        let fold = |other: usize| Confidence::fitted(values, targets, &of_parity(other));
        Ok(Self { folds: vec![fold(1)?, fold(0)?] })
    }

    /// Variances of a predictive distribution, (m, k) row by row: each example has its own.
    pub fn of_predictive(variances: &[f64], k: usize) -> Self {
        let rows = variances.chunks_exact(k.max(1));
        Self { folds: rows.map(|row| Confidence::NoiseVariances(row.to_vec())).collect() }
    }

    /// The variance of the noise of each output, where it is known.
    pub fn of_noise(variances: Vec<f64>) -> Self {
        Self { folds: vec![Confidence::NoiseVariances(variances)] }
    }
}

impl Confidence {
    fn fitted(values: &Tensor, targets: &Targets, of: &[u32]) -> Result<Self> {
        ensure!(!of.is_empty(), "expected examples to calibrate by, found none");
        let of = Tensor::new(of, values.device())?;
        let part = |all: &Tensor| all.contiguous()?.index_select(&of, 0);
        let (all, values) = (values, part(values)?);
        let k = values.dims2()?.1;
        match targets {
            Targets::Classes { labels: classes, n_classes } => {
                // Of all, so that a message names the row in the file.
                labels(targets, &class_logits(all)?)?;
                let targets = Targets::Classes { labels: part(classes)?, n_classes: *n_classes };
                let logits = class_logits(&values)?;
                Ok(Self::Temperature(fitted_temperature(&logits, &labels(&targets, &logits)?)?))
            }
            Targets::Values(y) => {
                rows_of(y, k, all.dims2()?.0)?;
                let ((found, _), (wanted, _)) = (rows(&values)?, rows(&part(y)?)?);
                let m = values.dims2()?.0 as f64;
                let mut variances = vec![0.0; k];
                for (f, y) in found.chunks_exact(k).zip(wanted.chunks_exact(k)) {
                    for ((variance, f), y) in variances.iter_mut().zip(f).zip(y) {
                        *variance += (f - y).powi(2) / m;
                    }
                }
                Ok(Self::NoiseVariances(variances))
            }
        }
    }
}

/// Whether a network is right on each example: for [`stats::upper_bound_of_loss`].
pub fn right(values: &Tensor, targets: &Targets) -> Result<Vec<bool>> {
    let logits = class_logits(values)?;
    let labels = labels(targets, &logits)?;
    let classes = Predictions::new(&logits)?.classes();
    Ok(classes.iter().zip(&labels).map(|(found, wanted)| found == wanted).collect())
}

/// Logits of at least two classes: a single logit z is that of class 1, beside 0 for class 0.
pub fn class_logits(values: &Tensor) -> Result<Tensor> {
    let (_, k) = values.dims2()?;
    Ok(if k == 1 { two_class_logits(values)? } else { values.clone() })
}

/// The classes of examples, each below the number of logits.
pub(super) fn labels(targets: &Targets, logits: &Tensor) -> Result<Vec<u32>> {
    let Targets::Classes { labels, .. } = targets else {
        bail!("expected classes as labels, found values");
    };
    let labels = labels.to_vec1::<u32>()?;
    let (m, k) = logits.dims2()?;
    ensure!(labels.len() == m, "expected a label for each of {m} examples, found {}", labels.len());
    if let Some(row) = labels.iter().position(|&label| label as usize >= k) {
        let (found, last) = (labels[row], k - 1);
        bail!("row {row} (from 0): expected a class from 0 to {last}, found {found}");
    }
    Ok(labels)
}

/// Numbers row by row, and k.
pub(super) fn rows(values: &Tensor) -> Result<(Vec<f64>, usize)> {
    let (_, k) = values.dims2()?;
    ensure!(k > 0, "expected at least one output, found none");
    Ok((values.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?, k))
}

/// The same of targets, which must be m rows of k.
pub(super) fn rows_of(targets: &Tensor, k: usize, m: usize) -> Result<(Vec<f64>, usize)> {
    let found = targets.dims2()?;
    ensure!(found == (m, k), "expected targets of shape {:?}, found {found:?}", (m, k));
    rows(targets)
}

/// Refuses outputs that are no numbers: none of the measures means anything then.
pub(super) fn check_finite(values: &Tensor) -> Result<()> {
    let (numbers, k) = rows(values)?;
    match numbers.chunks_exact(k).position(|row| row.iter().any(|value| !value.is_finite())) {
        None => Ok(()),
        Some(row) => bail!(
            "expected finite outputs of the network, found others for example {row} (from 0): its inputs may be far larger than \
             in training"
        ),
    }
}

/// Refuses outputs of different shapes.
pub(super) fn check_same(first: Outputs, second: Outputs) -> Result<()> {
    let (a, b) = (first.values.dims2()?, second.values.dims2()?);
    [first, second].iter().try_for_each(|outputs| check_finite(outputs.values))?;
    ensure!(a.0 > 0, "expected at least one example, found none");
    if a.0 != b.0 {
        bail!("expected outputs of both networks for the same examples, found {} and {}", a.0, b.0);
    }
    if a.1 != b.1 {
        bail!(
            "expected networks with as many outputs, found {} and {}; a single logit of class 1 and two logits do not \
             compare either",
            a.1,
            b.1
        );
    }
    Ok(())
}

/// 95 % interval of a mean over examples, Student's.
pub(super) fn interval_of_mean(values: &[f64]) -> crate::ledger::quality::Interval {
    let estimate = stats::Estimate::new(values);
    let (low, high) = estimate.ci95;
    crate::ledger::quality::Interval { value: estimate.mean, low, high }
}
