//! G of every linear map: the second moment of the gradient of −log p by its output, under the network's own predictions.

use candle_core::{DType, Device, Tensor, Var};
use core_tensors::{Params, Rng};
use faer::{Mat, MatRef};
use losses::{Likelihood, Predictions, two_class_logits};
use models::graph::ValueId;
use models::graph::axes::LinearMap;

use super::calibration::{Calibration, of_graph};
use super::operate::Network;
use super::passes::{Passes, Version};
use super::reading::n_outputs;
use super::rows::{Examples, counted_rows, counts, examples, summed};
use crate::checks;
use crate::error::{Error, Result};

/// Gradients that G is a mean of, about: as good as exact ones for an order, whose costs differ by more than their noise.
const GRADIENTS: usize = 4000;
/// Share of the mean diagonal of G that an order adds to it.
const FLOOR: f64 = 0.03;
/// Examples that gradients are taken of at once.
const CHUNK: usize = 250;

/// G, (o, o), of each linear map of a network, in nats by squared units of its output.
#[derive(Clone, Debug)]
pub struct OutputCurvatures {
    of: Vec<Mat<f64>>,
}

impl OutputCurvatures {
    /// From one matrix a map of [`models::graph::axes::Axes::maps`].
    pub fn new(of: Vec<Mat<f64>>) -> Self {
        Self { of }
    }

    /// G + .03 (tr G / o) I of a map: what an order weighs its outputs with. A sampled G knows nothing of directions that the
    /// predictions were insensitive to, but removals reach them.
    pub(super) fn floored(&self, m: usize) -> Option<Mat<f64>> {
        let g = self.of.get(m)?;
        let o = g.nrows();
        let floor = FLOOR * (0..o).map(|i| g[(i, i)]).sum::<f64>() / o.max(1) as f64;
        Some(Mat::from_fn(o, o, |i, j| g[(i, j)] + if i == j { floor } else { 0.0 }))
    }

    /// How many maps there are.
    pub(super) fn len(&self) -> usize {
        self.of.len()
    }

    /// G of a map.
    pub fn get(&self, m: usize) -> Option<MatRef<'_, f64>> {
        self.of.get(m).map(Mat::as_ref)
    }
}

/// G = N⁻¹ Σᵢ Σ_c g_ic g_icᵀ with g_ic = (∂f/∂z)ᵀ s_c, summed over the positions of example i, and S Sᵀ = Λ the Hessian of
/// −log p(y | f): the curvature that the network's own predictions have, without labels.
///
/// Of a softmax s_c = √p_c (e_c − p), of one logit under a Bernoulli likelihood √(p (1 − p)), of a normal likelihood e_c/σ. With fewer `directions` than the network has outputs, so
/// many random combinations S r, r of signs, stand for all columns of S: the expectation is the same.
/// [`enough_directions`] says how many serve.
///
/// # Errors
/// For examples that the graph does not take, and for a Bernoulli likelihood of several logits.
pub fn output_curvatures(
    network: &Network,
    calibration: &Calibration,
    likelihood: Likelihood,
    directions: usize,
    rng: &mut Rng,
) -> Result<OutputCurvatures> {
    checks::at_least("directions of the output", 1, directions)?;
    let Network { graph, params, axes } = *network;
    network.check()?;
    calibration.check(graph, params)?;
    let maps = axes.maps();
    let mut sums: Vec<Mat<f64>> = maps
        .iter()
        .map(|map| {
            let o = n_outputs(graph, map);
            Mat::zeros(o, o)
        })
        .collect();
    let frozen = params.frozen();
    // Graphs compute in f32 unless their parameters are f64.
    let first = params.blocks().iter().find(|block| block.dtype().is_float());
    let is_double = first.is_some_and(|block| block.dtype() == DType::F64);
    let dtype = if is_double { DType::F64 } else { DType::F32 };
    let device = first.map_or(Device::Cpu, |block| block.device().clone());
    for batch in calibration.batches() {
        for start in (0..batch.n).step_by(CHUNK) {
            let n = CHUNK.min(batch.n - start);
            let inputs: Vec<Tensor> = batch
                .inputs
                .iter()
                .map(|x| x.narrow(0, start, n))
                .collect::<candle_core::Result<_>>()?;
            let at: Vec<ValueId> = maps.iter().map(|map| map.output).collect();
            let zeros = |id: &ValueId| {
                let extents = graph.value(*id).shape.iter().map(|extent| extent.of_batch(n));
                let extents = extents.map(|n| n.and_then(|n| usize::try_from(n).ok()).unwrap_or(0));
                Var::zeros(extents.collect::<Vec<_>>(), dtype, &device)
            };
            let probes: Vec<Var> = at.iter().map(zeros).collect::<candle_core::Result<_>>()?;
            let tapped: Vec<(ValueId, Tensor)> = at
                .iter()
                .copied()
                .zip(probes.iter().map(|probe| probe.as_tensor().clone()))
                .collect();
            let outputs = &graph.outputs()[..1];
            let f =
                graph.values_with_probes(&frozen, &inputs, &tapped, outputs).map_err(of_graph)?;
            let f = &f[0];
            let at = (n, examples(graph, outputs[0]));
            let mask = batch.mask.as_ref().map(|mask| mask.narrow(0, start, n)).transpose()?;
            let directions = pulled_back(f, at, mask.as_ref(), likelihood, directions, rng)?;
            for direction in directions {
                let direction = direction.to_dtype(f.dtype())?.to_device(f.device())?;
                let loss = (f * direction)?.sum_all()?;
                let gradients = loss.backward()?;
                for ((map, probe), sum) in maps.iter().zip(&probes).zip(&mut sums) {
                    if let Some(gradient) = gradients.get(probe) {
                        add_squares(sum, (n, examples(graph, map.output)), map, gradient)?;
                    }
                }
            }
        }
    }
    let scale = 1.0 / calibration.n_examples() as f64;
    for sum in &mut sums {
        checks::entries("a curvature of outputs", sum.as_ref())?;
        *sum *= faer::Scale(scale);
    }
    Ok(OutputCurvatures { of: sums })
}

/// Random directions an example that make about 4 000 gradients in all, one at least.
pub fn enough_directions(calibration: &Calibration) -> usize {
    GRADIENTS.div_ceil(calibration.n_examples().max(1))
}

/// Columns of S, or random combinations of them, for a batch of outputs of n examples, each in their shape; 0 in rows that a
/// mask leaves out.
pub(super) fn pulled_back(
    f: &Tensor,
    (n, at): (usize, Examples),
    mask: Option<&Tensor>,
    likelihood: Likelihood,
    most: usize,
    rng: &mut Rng,
) -> Result<Vec<Tensor>> {
    let f = f.detach().to_dtype(DType::F64)?;
    let shape = f.dims().to_vec();
    if shape.len() > 3 && matches!(likelihood, Likelihood::Categorical) {
        return Err(Error::Refused {
            edit: "curvatures of outputs".into(),
            reason: format!(
                "expected classes along the last axis, found outputs of shape {shape:?}"
            ),
        });
    }
    let rows = counted_rows(&f, at, None)?;
    let (n_rows, k) = rows.dims2()?;
    let counted = match mask {
        Some(mask) => counts(&f, at, mask)?,
        None => None,
    };
    let counts = counted.unwrap_or_else(|| vec![1.0; n_rows]);
    let root = match likelihood {
        Likelihood::Normal { variance } => Root::Scaled(1.0 / variance.sqrt()),
        Likelihood::Categorical => Root::Softmax(Predictions::new(&rows)?.into_probabilities()),
        Likelihood::Bernoulli => {
            Root::Sigmoid(Predictions::new(&two_class_logits(&rows)?)?.into_probabilities())
        }
    };
    // Rows of one example (tokens) are told apart by random signs, whose cross terms vanish in the mean.
    let is_single = n_rows == n;
    let n_directions = k.min(most);
    let is_exact = n_directions == k;
    let directions = (0..n_directions).map(|c| {
        let mut values = Vec::with_capacity(n_rows * k);
        for i in 0..n_rows {
            let mut weights: Vec<f64> = (0..k)
                .map(|j| match (is_exact, is_single) {
                    (true, true) => f64::from(u8::from(j == c)),
                    (true, false) if j == c => sign(rng),
                    (true, false) => 0.0,
                    (false, _) => sign(rng) / (n_directions as f64).sqrt(),
                })
                .collect();
            if counts[i] == 0.0 {
                weights.fill(0.0);
            }
            root.times(i, &weights, &mut values);
        }
        Ok(Tensor::from_vec(values, shape.as_slice(), &Device::Cpu)?)
    });
    directions.collect()
}

fn sign(rng: &mut Rng) -> f64 {
    if rng.uniform() < 0.5 { -1.0 } else { 1.0 }
}

/// S with S Sᵀ = Λ of each row of outputs.
enum Root {
    Scaled(f64),
    /// p, (rows, k).
    Softmax(Vec<f64>),
    /// (1 − p, p) of one logit, (rows, 2).
    Sigmoid(Vec<f64>),
}

impl Root {
    /// Adds S r for row i.
    fn times(&self, i: usize, r: &[f64], to: &mut Vec<f64>) {
        match self {
            Self::Scaled(factor) => to.extend(r.iter().map(|r| r * factor)),
            Self::Sigmoid(p) => {
                let std = (p[2 * i] * p[2 * i + 1]).sqrt();
                to.extend(r.iter().map(|r| r * std));
            }
            Self::Softmax(p) => {
                let k = r.len();
                let p = &p[i * k..(i + 1) * k];
                // Σ_c r_c √p_c (e_c − p) = r √p − (Σ_c r_c √p_c) p
                let sum: f64 = p.iter().zip(r).map(|(p, r)| r * p.sqrt()).sum();
                to.extend(p.iter().zip(r).map(|(p, r)| r * p.sqrt() - sum * p));
            }
        }
    }
}

/// Σᵢ g gᵀ with g the gradient of example i of n, summed over its positions.
fn add_squares(
    sum: &mut Mat<f64>,
    (n, at): (usize, Examples),
    map: &LinearMap,
    gradient: &Tensor,
) -> Result<()> {
    let o = sum.nrows();
    let by_example = match map.window {
        // (m, o, …)
        Some(_) => gradient.reshape((gradient.dim(0)?, o, ()))?.sum(2)?,
        // (…, o)
        None => summed(gradient, at, n)?,
    };
    let g = super::reading::matrix(&by_example)?;
    *sum += core_tensors::linalg::product(g.transpose(), g.as_ref());
    Ok(())
}

/// Σ KL(before ‖ after) of the classes' distributions over rows, or half the squared error over the variance.
pub(super) fn nats(before: &Tensor, after: &Tensor, likelihood: Likelihood) -> Result<f64> {
    let of_classes = |before: &Tensor, after: &Tensor| -> Result<f64> {
        let (before, after) = (Predictions::new(before)?, Predictions::new(after)?);
        Ok(after.divergence_from(&before)? * before.n_examples() as f64)
    };
    Ok(match likelihood {
        Likelihood::Categorical => of_classes(before, after)?,
        Likelihood::Bernoulli => of_classes(&two_class_logits(before)?, &two_class_logits(after)?)?,
        Likelihood::Normal { variance } => {
            (after - before)?.sqr()?.sum_all()?.to_scalar::<f64>()? / (2.0 * variance)
        }
    })
}

/// Mean KL divergence of the changed network's predictions from the original's, in nats an example, held out if some are.
pub(super) fn divergence(passes: &Passes, now: &Params, likelihood: Likelihood) -> Result<f64> {
    let calibration = passes.calibration();
    let outputs = &passes.graph().outputs()[..1];
    let has_held_out = calibration.n_held_out() > 0;
    let at_output = examples(passes.graph(), outputs[0]);
    let (mut sum, mut n) = (0.0, 0.0);
    for (b, batch) in calibration.batches().iter().enumerate() {
        if has_held_out && !batch.is_held_out {
            continue;
        }
        let at = |version| Ok::<_, Error>(passes.at(version, b, batch, now, outputs)?.remove(0));
        let [before, after] = [at(Version::Original)?, at(Version::Changed)?]
            .map(|f| counted_rows(&f.to_dtype(DType::F64)?, at_output, batch.mask.as_ref()));
        let (before, after) = (before?, after?);
        sum += nats(&before, &after, likelihood)?;
        n += batch.n as f64;
    }
    checks::computed("the divergence of predictions", sum / n)
}
