//! What a small network minimizes, and what it is judged by, for classes and for values.

use anyhow::{Result, bail, ensure};
use candle_core::{DType, Tensor};
use core_tensors::{Dataset, Params, Targets};
use losses::{Distillation, Predictions, distillation, squared_error, two_class_logits};
use models::Architecture;

use super::course::Setting;
use super::noise::noise_variances;
use super::taught::Taught;
use crate::ledger::quality::Predicted;
use crate::training::{labels, logits};

/// What the outputs of a network mean.
#[derive(Clone, Debug)]
enum Outputs {
    /// k ≥ 2 logits.
    Classes { n: usize },
    /// The logit z of the second of two classes: the logits are \[0, z\].
    OneLogit,
    /// Values, with 1/σ of each, (1, k), f32, and ½ Σ log 2πσ².
    Values { precision_roots: Tensor, constant: f64 },
}

/// The loss of batches and of validation examples.
pub(super) struct Objective {
    outputs: Outputs,
    pub(super) has_labels: bool,
}

impl Objective {
    /// Refuses targets of another kind than what is predicted, and noise that fits no output.
    pub(super) fn new(
        predicted: Predicted,
        noise_variances: Option<&[f64]>,
        calibration: &Taught,
        validation: &Taught,
    ) -> Result<Self> {
        calibration.check("calibration")?;
        validation.check("validation")?;
        let (k, other) = (calibration.teacher.dim(1)?, validation.teacher.dim(1)?);
        ensure!(
            k == other,
            "validation examples: wanted {k} outputs of the network, found {other}"
        );
        let has_labels = calibration.targets.is_some();
        ensure!(
            has_labels == validation.targets.is_some(),
            "labels: wanted them for calibration and validation examples, or for neither"
        );
        let outputs = match predicted {
            Predicted::Classes if k == 1 => Outputs::OneLogit,
            Predicted::Classes => Outputs::Classes { n: k },
            Predicted::Values => values(noise_variances, calibration, k)?,
        };
        let objective = Self { outputs, has_labels };
        objective.check_targets(calibration, "calibration")?;
        objective.check_targets(validation, "validation")?;
        Ok(objective)
    }

    fn check_targets(&self, examples: &Taught, what: &str) -> Result<()> {
        let Some(targets) = &examples.targets else { return Ok(()) };
        let wanted = self.n_classes();
        let is_fit = match (targets, wanted) {
            (Targets::Classes { n_classes, .. }, Some(n)) => *n_classes == n,
            (Targets::Values(values), None) => values.dims() == examples.teacher.dims(),
            _ => false,
        };
        if is_fit {
            return Ok(());
        }
        let found = match targets {
            Targets::Classes { n_classes, .. } => format!("{n_classes} classes"),
            Targets::Values(values) => format!("values of shape {:?}", values.dims()),
        };
        let k = examples.teacher.dim(1)?;
        match wanted {
            Some(n) => bail!("targets of the {what} examples: wanted {n} classes, found {found}"),
            None => bail!("targets of the {what} examples: wanted {k} values each, found {found}"),
        }
    }

    fn n_classes(&self) -> Option<usize> {
        match self.outputs {
            Outputs::Classes { n } => Some(n),
            Outputs::OneLogit => Some(2),
            Outputs::Values { .. } => None,
        }
    }

    /// Examples with the large network's outputs in the scale of the loss.
    pub(super) fn data(&self, examples: &Taught) -> Result<Dataset> {
        let teacher = self.scaled(&examples.teacher)?;
        // Where there are no labels the large network's own stand in their place, with a weight of 0.
        let y = match (&examples.targets, self.n_classes()) {
            (Some(Targets::Values(values)), _) => Targets::Values(self.scaled(values)?),
            (Some(classes), _) => classes.clone(),
            (None, None) => Targets::Values(teacher.clone()),
            (None, Some(n_classes)) => {
                let labels = teacher.argmax(1)?;
                Targets::Classes { labels, n_classes }
            }
        };
        let all: Vec<usize> = (0..examples.n_examples()).collect();
        Ok(Dataset::new(examples.x.clone(), y)?.with_logits(&teacher, &all)?)
    }

    /// Outputs in the scale of the loss: logits of all classes, or values in units of their noise; (m, k).
    fn scaled(&self, outputs: &Tensor) -> Result<Tensor> {
        let outputs = outputs.to_dtype(DType::F32)?;
        Ok(match &self.outputs {
            Outputs::Classes { .. } => outputs,
            Outputs::OneLogit => two_class_logits(&outputs)?,
            Outputs::Values { precision_roots, .. } => outputs.broadcast_mul(precision_roots)?,
        })
    }

    /// The loss of a batch of [`Objective::data`]; shape ().
    ///
    /// Classes: (1 − λ) CE + λ T² soft CE at T. Values: Σⱼ {(1 − λ)(f − y)² + λ (f − s)²} / 2σⱼ², averaged over the batch.
    pub(super) fn loss(
        &self,
        network: &dyn Architecture,
        w: &Params,
        batch: &Dataset,
        setting: &Setting,
    ) -> Result<Tensor> {
        let f = self.scaled(&network.forward(w, batch.x())?)?;
        let Setting { lambda, temperature, .. } = *setting;
        match (batch.y(), batch.soft()) {
            (Targets::Values(y), Some(soft)) => {
                let labels = (squared_error(&f, y)? * (0.5 * (1.0 - lambda)))?;
                let teacher = (squared_error(&f, soft.logits())? * (0.5 * lambda))?;
                Ok((labels + teacher)?)
            }
            (Targets::Classes { .. }, _) => {
                Ok(distillation(&f, batch, &Distillation::hinton(lambda, temperature))?)
            }
            (Targets::Values(_), None) => bail!("a batch without the outputs of the network"),
        }
    }

    /// What a network is judged by on all of [`Objective::data`]: −log p(y | x) where there are labels, KL of its prediction
    /// from the large network's where there are none; nats an example.
    pub(super) fn judged(
        &self,
        network: &dyn Architecture,
        w: &Params,
        data: &Dataset,
    ) -> Result<f64> {
        let f = self.scaled(&logits(network, w, data.x())?)?.to_dtype(DType::F64)?;
        let Some(soft) = data.soft() else { bail!("examples without the outputs of the network") };
        match (&self.outputs, data.y()) {
            (Outputs::Values { constant, .. }, Targets::Values(y)) => {
                let (of, constant) =
                    if self.has_labels { (y, *constant) } else { (soft.logits(), 0.0) };
                Ok(0.5 * squared_error(&f, of)?.to_scalar::<f64>()? + constant)
            }
            (Outputs::Classes { .. } | Outputs::OneLogit, _) => {
                // Predictions refuse what is no number; here it is a loss like any other.
                if !f.abs()?.sum_all()?.to_scalar::<f64>()?.is_finite() {
                    return Ok(f64::NAN);
                }
                let p = Predictions::new(&f)?;
                Ok(if self.has_labels {
                    p.cross_entropy(&labels(data)?)?
                } else {
                    p.divergence_from(&Predictions::new(soft.logits())?)?
                })
            }
            (Outputs::Values { .. }, Targets::Classes { .. }) => {
                bail!("wanted values, found classes")
            }
        }
    }
}

/// Outputs of a regression with their noise: as given; else the mean squared error of the large network by the labels; else
/// the variance of its outputs.
fn values(given: Option<&[f64]>, examples: &Taught, k: usize) -> Result<Outputs> {
    let variances = match (given, &examples.targets) {
        (Some(given), _) => given.to_vec(),
        // Targets of another shape are refused later.
        (None, Some(Targets::Values(y))) if y.dims() != examples.teacher.dims() => vec![1.0; k],
        (None, targets) => noise_variances(&examples.teacher, targets.as_ref())?,
    };
    ensure!(variances.len() == k, "noise variances: wanted {k}, found {}", variances.len());
    if let Some((j, found)) =
        variances.iter().enumerate().find(|(_, v)| !(**v > 0.0 && v.is_normal()))
    {
        bail!("noise variance of output {j} (from 0): wanted more than 0, found {found}");
    }
    let constant = variances.iter().map(|v| 0.5 * (std::f64::consts::TAU * v).ln()).sum();
    let roots: Vec<f32> = variances.iter().map(|v| v.sqrt().recip() as f32).collect();
    let precision_roots = Tensor::from_vec(roots, (1, k), examples.teacher.device())?;
    Ok(Outputs::Values { precision_roots, constant })
}
