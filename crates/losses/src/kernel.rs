//! The distillation loss and its gradient in one pass over the scores.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Storage, Tensor, WithDType, bail};
use core_tensors::Soft;

use crate::distillation::{Distillation, Normalizer, SMALLEST_NEGATIVE_LOG};

/// The loss of [`crate::distillation`] for f32 or f64 scores on the CPU; the arithmetic is f64.
pub(crate) fn fused(
    scores: &Tensor,
    labels: &Tensor,
    soft: Option<&Soft>,
    config: &Distillation,
) -> crate::Result<Tensor> {
    let labels = labels.to_vec1::<u32>()?;
    let teacher = match soft {
        Some(soft) if config.teacher_weight > 0.0 => Some(answers(soft, config)?),
        Some(soft) => Some(Answers { probabilities: Vec::new(), known: soft.known().to_vec1()? }),
        None => None,
    };
    let gradient = OnceLock::new();
    let loss = DistillationLoss { labels, teacher, config: *config, gradient };
    Ok(scores.contiguous()?.apply_op1(loss)?)
}

struct DistillationLoss {
    labels: Vec<u32>,
    teacher: Option<Answers>,
    config: Distillation,
    /// ∂loss/∂scores, left by the forward pass.
    gradient: OnceLock<Vec<f64>>,
}

/// s at the teacher's temperature, row by row, and 𝓘; s is empty where its weight is 0.
struct Answers {
    probabilities: Vec<f64>,
    known: Vec<f32>,
}

fn answers(soft: &Soft, config: &Distillation) -> Result<Answers> {
    let n_classes = soft.scores().dims2()?.1;
    let mut scores: Vec<f64> =
        soft.scores().to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1()?;
    let mut probabilities = vec![0.0; scores.len()];
    let rows = scores.chunks_exact_mut(n_classes).zip(probabilities.chunks_exact_mut(n_classes));
    rows.for_each(|(row, s)| softmax(row, s, config.teacher_temperature));
    Ok(Answers { probabilities, known: soft.known().to_vec1()? })
}

/// Scores z of one object → log g in place and g, with g = softmax(z / T).
fn softmax(row: &mut [f64], g: &mut [f64], temperature: f64) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for (z, g) in row.iter_mut().zip(g.iter_mut()) {
        *z = (*z - largest) / temperature;
        *g = z.exp();
        sum += *g;
    }
    let log_sum = sum.ln();
    row.iter_mut().for_each(|z| *z -= log_sum);
    g.iter_mut().for_each(|g| *g /= sum);
}

impl CustomOp1 for DistillationLoss {
    fn name(&self) -> &'static str {
        "distillation"
    }

    fn cpu_fwd(&self, scores: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, k) = layout.shape().dims2()?;
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("distillation wanted contiguous scores, found {layout:?}");
        };
        let loss = match scores {
            CpuStorage::F32(z) => CpuStorage::F32(vec![self.evaluate(&z[start..end], k) as f32]),
            CpuStorage::F64(z) => CpuStorage::F64(vec![self.evaluate(&z[start..end], k)]),
            _ => bail!("distillation wanted scores of f32 or f64"),
        };
        Ok((loss, ().into()))
    }

    fn bwd(&self, scores: &Tensor, _loss: &Tensor, outer: &Tensor) -> Result<Option<Tensor>> {
        let Some(gradient) = self.gradient.get() else {
            bail!("distillation was asked for a gradient before its value");
        };
        let outer = outer.storage_and_layout();
        let Storage::Cpu(storage) = &*outer.0 else {
            bail!("distillation wanted its gradient on the CPU");
        };
        let scaled = match storage {
            CpuStorage::F32(g) => scaled::<f32>(gradient, f64::from(g[outer.1.start_offset()])),
            CpuStorage::F64(g) => {
                let g = g[outer.1.start_offset()];
                return Tensor::from_vec(
                    scaled::<f64>(gradient, g),
                    scores.shape(),
                    scores.device(),
                )
                .map(Some);
            }
            _ => bail!("distillation wanted a gradient of f32 or f64"),
        };
        Tensor::from_vec(scaled, scores.shape(), scores.device()).map(Some)
    }
}

fn scaled<T: WithDType>(gradient: &[f64], factor: f64) -> Vec<T> {
    gradient.iter().map(|g| T::from_f64(g * factor)).collect()
}

impl DistillationLoss {
    /// Value of the loss; leaves the gradient behind.
    fn evaluate<T: WithDType>(&self, scores: &[T], k: usize) -> f64 {
        let config = &self.config;
        let per_object = 1.0 / self.labels.len() as f64;
        let factor = config.teacher_factor(k) * per_object;
        let mut gradient = vec![0.0; scores.len()];
        let (mut log_g, mut g) = (vec![0.0; k], vec![0.0; k]);
        let mut total = 0.0;
        for (i, row) in scores.chunks_exact(k).enumerate() {
            let slope = &mut gradient[i * k..(i + 1) * k];
            let y = self.labels[i] as usize;
            let answer = self.teacher.as_ref().filter(|teacher| teacher.known[i] != 0.0);
            let label_weight =
                if answer.is_some() { config.label_weight } else { config.unknown_label_weight };
            log_g.iter_mut().zip(row).for_each(|(l, z)| *l = z.to_f64());
            softmax(&mut log_g, &mut g, 1.0);
            let a = label_weight * per_object;
            total -= a * log_g[y];
            slope.iter_mut().zip(&g).for_each(|(slope, g)| *slope = a * g);
            slope[y] -= a;

            let Some(answer) = answer.filter(|_| factor > 0.0) else { continue };
            let s = &answer.probabilities[i * k..(i + 1) * k];
            if config.student_temperature != 1.0 {
                log_g.iter_mut().zip(row).for_each(|(l, z)| *l = z.to_f64());
                softmax(&mut log_g, &mut g, config.student_temperature);
            }
            let b = factor / config.student_temperature;
            match config.normalizer {
                Normalizer::None => {
                    total -= factor * s.iter().zip(&log_g).map(|(s, l)| s * l).sum::<f64>();
                    for j in 0..k {
                        slope[j] += b * (g[j] - s[j]);
                    }
                }
                Normalizer::Paper => {
                    total += factor * four_term(s, &log_g, &g, b, slope);
                }
            }
        }
        // The first pass of an op is its only one, so the cell is still empty.
        let _ = self.gradient.set(gradient);
        total
    }
}

/// Σₖ −(sₖ lₖ + lₖ + log(−lₖ)) at l = log g; adds b times its gradient with respect to z/T to `slope`.
fn four_term(s: &[f64], log_g: &[f64], g: &[f64], b: f64, slope: &mut [f64]) -> f64 {
    let k = s.len();
    let depth = |l: f64| (-l).max(SMALLEST_NEGATIVE_LOG);
    // u = ∂/∂l; the floor of −l is flat.
    let inner = |l: f64| if -l > SMALLEST_NEGATIVE_LOG { -1.0 / l } else { 0.0 };
    let u: Vec<f64> = (0..k).map(|j| -s[j] - 1.0 + inner(log_g[j])).collect();
    for j in 0..k {
        // 1 − gⱼ as a sum of the others: near gⱼ = 1 it multiplies a large uⱼ.
        let others: f64 = (0..k).filter(|&i| i != j).map(|i| g[i]).sum();
        let rest: f64 = (0..k).filter(|&i| i != j).map(|i| u[i]).sum();
        slope[j] += b * (u[j] * others - g[j] * rest);
    }
    (0..k).map(|j| -(s[j] * log_g[j] + log_g[j] + depth(log_g[j]).ln())).sum()
}
