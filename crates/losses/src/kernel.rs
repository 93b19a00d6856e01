//! The distillation loss and its gradient in one pass over the logits.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType, bail};
use core_tensors::kernels::exp_nonpositive;

use crate::distillation::{Distillation, SMALLEST_NEGATIVE_LOG};
use crate::normalizer::Normalizer;
use crate::supervision::Soft;

/// The losses of [`crate::distillation_batched`] for f32 or f64 logits on the CPU; the arithmetic is f64.
pub(crate) fn fused(
    logits: &Tensor,
    labels: &Tensor,
    soft: Option<&Soft>,
    configs: &[Distillation],
) -> crate::Result<Tensor> {
    let teacher = match soft {
        Some(soft) => Some(Teacher {
            logits: soft.logits.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?,
            mask: soft.mask.to_vec1()?,
        }),
        None => None,
    };
    let (labels, configs) = (labels.to_vec1()?, configs.to_vec());
    let loss = DistillationLoss { labels, teacher, configs, gradient: OnceLock::new() };
    Ok(logits.contiguous()?.apply_op1(loss)?)
}

struct DistillationLoss {
    labels: Vec<u32>,
    teacher: Option<Teacher>,
    configs: Vec<Distillation>,
    /// ∂(loss of the student a column belongs to)/∂logits, left by the forward pass.
    gradient: OnceLock<Vec<f64>>,
}

/// v, row by row, and 𝓘.
struct Teacher {
    logits: Vec<f64>,
    mask: Vec<f32>,
}

/// Logits z, row by row → log g in place and g, with g = softmax(z / T) of each row of k.
pub(crate) fn softmax(z: &mut [f64], g: &mut [f64], k: usize, temperature: f64) {
    let coldness = 1.0 / temperature;
    for row in z.chunks_exact_mut(k) {
        let largest = row.iter().fold(f64::NEG_INFINITY, |a, &b| if b > a { b } else { a });
        row.iter_mut().for_each(|z| *z = (*z - largest) * coldness);
    }
    g.copy_from_slice(z);
    exp_nonpositive(g);
    for (row, g) in z.chunks_exact_mut(k).zip(g.chunks_exact_mut(k)) {
        // The largest power is 1: log(1 + rest) keeps the digits of a tiny rest, where log(sum) would be 0.
        let most = row.iter().position(|&z| z == 0.0).unwrap_or(0);
        g[most] -= 1.0;
        let rest: f64 = g.iter().sum();
        g[most] += 1.0;
        let (log_sum, share) = (rest.ln_1p(), 1.0 / (1.0 + rest));
        row.iter_mut().for_each(|z| *z -= log_sum);
        g.iter_mut().for_each(|g| *g *= share);
    }
}

impl CustomOp1 for DistillationLoss {
    fn name(&self) -> &'static str {
        "distillation"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (m, n_columns) = layout.shape().dims2()?;
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("distillation wanted contiguous logits, found {layout:?}");
        };
        let mut gradient = vec![0.0; m * n_columns];
        let losses = match logits {
            CpuStorage::F32(z) => {
                let losses = self.evaluate(&z[start..end], n_columns, &mut gradient);
                CpuStorage::F32(losses.into_iter().map(|loss| loss as f32).collect())
            }
            CpuStorage::F64(z) => {
                CpuStorage::F64(self.evaluate(&z[start..end], n_columns, &mut gradient))
            }
            _ => bail!("distillation wanted logits of f32 or f64"),
        };
        // The first pass of an op is its only one, so the cell is still empty.
        let _ = self.gradient.set(gradient);
        Ok((losses, self.configs.len().into()))
    }

    fn bwd(&self, logits: &Tensor, _losses: &Tensor, outer: &Tensor) -> Result<Option<Tensor>> {
        let Some(gradient) = self.gradient.get() else {
            bail!("distillation was asked for a gradient before its value");
        };
        let outer: Vec<f64> = outer.to_dtype(DType::F64)?.to_vec1()?;
        let k = logits.dims2()?.1 / self.configs.len().max(1);
        let scaled = match logits.dtype() {
            DType::F32 => Tensor::from_vec(
                scaled::<f32>(gradient, &outer, k),
                logits.shape(),
                logits.device(),
            ),
            _ => Tensor::from_vec(
                scaled::<f64>(gradient, &outer, k),
                logits.shape(),
                logits.device(),
            ),
        };
        scaled.map(Some)
    }
}

/// The gradient with each student's columns multiplied by its outer gradient.
fn scaled<T: WithDType>(gradient: &[f64], outer: &[f64], k: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(gradient.len());
    for example in gradient.chunks_exact(k * outer.len()) {
        for (derivatives, factor) in example.chunks_exact(k).zip(outer) {
            values.extend(derivatives.iter().map(|g| T::from_f64(g * factor)));
        }
    }
    values
}

impl DistillationLoss {
    /// Loss of every student; adds the gradient to `gradient`, which is zero before.
    fn evaluate<T: WithDType>(
        &self,
        logits: &[T],
        n_columns: usize,
        gradient: &mut [f64],
    ) -> Vec<f64> {
        let n_students = self.configs.len();
        let k = n_columns / n_students.max(1);
        let n = self.labels.len() * k;
        let [mut z, mut log_g, mut g, mut log_s, mut s] = [(); 5].map(|()| vec![0.0; n]);
        // Students of one temperature see one teacher.
        let mut s_temperature = f64::NAN;
        let mut losses = Vec::with_capacity(n_students);
        for (a, config) in self.configs.iter().enumerate() {
            let columns = a * k..(a + 1) * k;
            for (z, row) in z.chunks_exact_mut(k).zip(logits.chunks_exact(n_columns)) {
                z.iter_mut().zip(&row[columns.clone()]).for_each(|(z, logit)| *z = logit.to_f64());
            }
            log_g.copy_from_slice(&z);
            softmax(&mut log_g, &mut g, k, 1.0);
            let mut student =
                Student { config, k, n_columns, first: columns.start, gradient: &mut *gradient };
            let mut total = student.add_labels(&self.labels, self.teacher.as_ref(), &log_g, &g);

            let factor = config.teacher_factor(k);
            if let Some(teacher) = self.teacher.as_ref().filter(|_| factor > 0.0) {
                if s_temperature != config.teacher_temperature {
                    log_s.copy_from_slice(&teacher.logits);
                    softmax(&mut log_s, &mut s, k, config.teacher_temperature);
                    s_temperature = config.teacher_temperature;
                }
                if config.student_temperature != 1.0 {
                    log_g.copy_from_slice(&z);
                    softmax(&mut log_g, &mut g, k, config.student_temperature);
                }
                total += student.add_teacher(&teacher.mask, &s, &log_g, &g);
            }
            losses.push(total);
        }
        let per_example = 1.0 / self.labels.len() as f64;
        losses.iter_mut().for_each(|loss| *loss *= per_example);
        gradient.iter_mut().for_each(|g| *g *= per_example);
        losses
    }
}

/// One student's share of the gradient.
struct Student<'a> {
    config: &'a Distillation,
    k: usize,
    n_columns: usize,
    /// Its first column.
    first: usize,
    gradient: &'a mut [f64],
}

impl Student<'_> {
    fn derivative(&mut self, example: usize) -> &mut [f64] {
        let start = example * self.n_columns + self.first;
        &mut self.gradient[start..start + self.k]
    }

    /// Σᵢ aᵢ (−log g_{yᵢ}) at T = 1.
    fn add_labels(
        &mut self,
        labels: &[u32],
        teacher: Option<&Teacher>,
        log_g: &[f64],
        g: &[f64],
    ) -> f64 {
        let k = self.k;
        let mut total = 0.0;
        for (i, (log_g, g)) in log_g.chunks_exact(k).zip(g.chunks_exact(k)).enumerate() {
            let is_known = teacher.is_some_and(|teacher| teacher.mask[i] != 0.0);
            let Distillation { label_weight, unknown_label_weight, .. } = *self.config;
            let weight = if is_known { label_weight } else { unknown_label_weight };
            let y = labels[i] as usize;
            total -= weight * log_g[y];
            let derivative = self.derivative(i);
            derivative.iter_mut().zip(g).for_each(|(derivative, g)| *derivative += weight * g);
            derivative[y] -= weight;
        }
        total
    }

    /// The teacher's term over 𝓘, at the student's temperature.
    fn add_teacher(&mut self, mask: &[f32], s: &[f64], log_g: &[f64], g: &[f64]) -> f64 {
        let (k, normalizer) = (self.k, self.config.normalizer);
        let penalty = normalizer.penalty();
        let factor = self.config.teacher_factor(k);
        let b = factor / self.config.student_temperature;
        let mut total = 0.0;
        for i in (0..mask.len()).filter(|&i| mask[i] != 0.0) {
            let row = i * k..(i + 1) * k;
            let (s, log_g, g) = (&s[row.clone()], &log_g[row.clone()], &g[row]);
            let derivative = self.derivative(i);
            if normalizer == Normalizer::Paper {
                total += factor * four_term(s, log_g, g, b, derivative);
                continue;
            }
            total -= factor * s.iter().zip(log_g).map(|(s, l)| s * l).sum::<f64>();
            for ((derivative, g), s) in derivative.iter_mut().zip(g).zip(s) {
                *derivative += b * (g - s);
            }
            if let Some(penalty) = penalty {
                total += factor * penalty(log_g, g, b, derivative);
            }
        }
        total
    }
}

/// Σₖ −(sₖ lₖ + lₖ + log(−lₖ)) at l = log g; adds b times its gradient with respect to z/T to `derivative`.
fn four_term(s: &[f64], log_g: &[f64], g: &[f64], b: f64, derivative: &mut [f64]) -> f64 {
    let k = s.len();
    let depth = |l: f64| (-l).max(SMALLEST_NEGATIVE_LOG);
    // u = ∂/∂l; the floor of −l is flat.
    let inner = |l: f64| if -l > SMALLEST_NEGATIVE_LOG { -1.0 / l } else { 0.0 };
    let u: Vec<f64> = (0..k).map(|j| -s[j] - 1.0 + inner(log_g[j])).collect();
    let total: f64 = u.iter().sum();
    let most = (0..k).fold(0, |most, j| if g[j] > g[most] { j } else { most });
    for j in 0..k {
        // Near gⱼ = 1 the difference 1 − gⱼ loses its digits, and multiplies a large uⱼ.
        let others =
            if j == most { (0..k).filter(|&i| i != j).map(|i| g[i]).sum() } else { 1.0 - g[j] };
        derivative[j] += b * (u[j] * others - g[j] * (total - u[j]));
    }
    (0..k).map(|j| -(s[j] * log_g[j] + log_g[j] + depth(log_g[j]).ln())).sum()
}
