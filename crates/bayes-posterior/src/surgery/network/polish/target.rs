//! What a small network is to predict, how far it is from that, and the gradient of the distance by its outputs.

use candle_core::{DType, Device, Tensor};
use losses::{Likelihood, Predictions, two_class_logits};

use super::super::calibration::{Batch, Calibration, of_graph};
use super::super::curvature::nats;
use super::super::operate::Network;
use super::super::passes::{Passes, Version};
use super::super::rows::{Examples, counted_rows, examples};
use crate::checks;
use crate::error::{Error, Result};

/// The original network's outputs for the calibration examples.
pub(super) struct Target<'a> {
    pub(super) calibration: &'a Calibration,
    pub(super) likelihood: Likelihood,
    /// (m, …, k) in f64, one a batch.
    outputs: Vec<Tensor>,
}

impl<'a> Target<'a> {
    pub(super) fn of(
        original: &Network,
        calibration: &'a Calibration,
        likelihood: Likelihood,
    ) -> Result<Self> {
        let Network { graph, params, .. } = *original;
        let params = params.frozen();
        let wanted = &graph.outputs()[..graph.outputs().len().min(1)];
        let of_batch = |batch: &Batch| {
            let mut values =
                graph.values_from(&params, &batch.inputs, &[], wanted).map_err(of_graph)?;
            checks::at_least("outputs of a graph", 1, values.len())?;
            Ok(values.remove(0).to_dtype(DType::F64)?)
        };
        let outputs = calibration.batches().iter().map(of_batch).collect::<Result<_>>()?;
        Ok(Self { calibration, likelihood, outputs })
    }

    /// Whether a batch serves to choose by.
    pub(super) fn is_judge(&self, batch: &Batch) -> bool {
        batch.is_held_out || self.calibration.n_held_out() == 0
    }

    /// ∂ Σᵢ KL(pᵢ ‖ softmax fᵢ) / ∂f = q − p, of one logit those of class 1, or (f − f_original)/σ², of `n` examples of a batch; 0 where a mask leaves tokens out.
    pub(super) fn gradient(&self, b: usize, start: usize, n: usize, f: &Tensor) -> Result<Tensor> {
        let f = f.detach().to_dtype(DType::F64)?;
        let wanted = self.outputs[b].narrow(0, start * f.dim(0)? / n, f.dim(0)?)?;
        self.check_shape(&f, &wanted)?;
        let gradient = match self.likelihood {
            Likelihood::Categorical => {
                let p = |x: &Tensor| -> Result<Tensor> {
                    let rows = Predictions::new(&counted_rows(x, Examples::Unknown, None)?)?
                        .into_probabilities();
                    Ok(Tensor::from_vec(rows, x.shape(), &Device::Cpu)?)
                };
                (p(&f)? - p(&wanted)?)?
            }
            Likelihood::Bernoulli => {
                let p = |x: &Tensor| -> Result<Tensor> {
                    let rows = two_class_logits(&counted_rows(x, Examples::Unknown, None)?)?;
                    let rows = Predictions::new(&rows)?.into_probabilities();
                    let of_one: Vec<f64> = rows.chunks_exact(2).map(|row| row[1]).collect();
                    Ok(Tensor::from_vec(of_one, x.shape(), &Device::Cpu)?)
                };
                (p(&f)? - p(&wanted)?)?
            }
            Likelihood::Normal { variance } => ((f - wanted)? / variance)?,
        };
        let Some(mask) = &self.calibration.batches()[b].mask else { return Ok(gradient) };
        let mask = mask.narrow(0, start, n)?.to_dtype(DType::F64)?;
        if gradient.rank() == 3 && gradient.dims()[..2] == *mask.dims() {
            return Ok(gradient.broadcast_mul(&mask.unsqueeze(2)?)?);
        }
        Ok(gradient)
    }

    /// Mean KL from the original's distribution of classes, or half the squared error over the variance, in nats an example, on the examples to
    /// choose by; ∞ where outputs overflow.
    pub(super) fn divergence(&self, passes: &Passes, params: &core_tensors::Params) -> Result<f64> {
        let wanted = &passes.graph().outputs()[..1];
        let at = examples(passes.graph(), wanted[0]);
        let (mut sum, mut n) = (0.0, 0.0);
        for (b, batch) in self.calibration.batches().iter().enumerate() {
            if !self.is_judge(batch) {
                continue;
            }
            let f = passes.at(Version::Changed, b, batch, params, wanted)?.remove(0);
            let f = f.detach().to_dtype(DType::F64)?;
            self.check_shape(&f, &self.outputs[b])?;
            if !f.abs()?.sum_all()?.to_scalar::<f64>()?.is_finite() {
                return Ok(f64::INFINITY);
            }
            let rows = |x: &Tensor| counted_rows(x, at, batch.mask.as_ref());
            let (before, after) = (rows(&self.outputs[b])?, rows(&f)?);
            sum += nats(&before, &after, self.likelihood)?;
            n += batch.n as f64;
        }
        Ok(sum / n)
    }

    fn check_shape(&self, found: &Tensor, expected: &Tensor) -> Result<()> {
        if found.dims() == expected.dims() {
            return Ok(());
        }
        let reason = format!(
            "expected outputs of the shape of the original network, {:?}, found {:?}",
            expected.dims(),
            found.dims()
        );
        Err(Error::Refused { edit: "distillation".into(), reason })
    }
}
