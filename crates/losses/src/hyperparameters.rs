//! How the distillation loss changes with λ and T: what a gradient descent over them needs.

use candle_core::{DType, Tensor};

use crate::distillation::{Distillation, TemperatureScale, distillation};
use crate::error::Result;
use crate::kernel::softmax;
use crate::supervision::Supervision;

/// λ and T of a distillation loss, as the variables of an optimization.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// λ ∈ \[0, 1\]: weight of the teacher's term; labels have 1 − λ.
    pub lambda: f64,
    /// T > 0 of both softmaxes in the teacher's term.
    pub temperature: f64,
    /// Whether the teacher's term is multiplied by T².
    pub scale: TemperatureScale,
}

/// ∂L/∂λ and ∂L/∂T.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gradients {
    /// By λ.
    pub lambda: f64,
    /// By T.
    pub temperature: f64,
}

impl Hyperparameters {
    /// The loss with these values: [`Distillation::convex`], or [`Distillation::hinton`] with T².
    pub fn loss(&self) -> Distillation {
        Distillation { scale: self.scale, ..Distillation::convex(self.lambda, self.temperature) }
    }

    /// Derivatives of the mean loss over `data` by λ and T at the student's `logits` (m, k), in f64; no gradient.
    ///
    /// With hᵢ = −log g_{yᵢ} at T = 1, qᵢ = −Σₖ sᵢₖ log gᵢₖ at T, and c = 1 or T²:
    ///
    /// ∂L/∂λ = (1/m) Σ_{i∈𝓘} c qᵢ − hᵢ,  ∂L/∂T = (λ/m) Σ_{i∈𝓘} c ∂qᵢ/∂T + c′ qᵢ,
    /// ∂qᵢ/∂T = T⁻² Σₖ sᵢₖ {(vᵢₖ − Σⱼ sᵢⱼ vᵢⱼ) log gᵢₖ + zᵢₖ − Σⱼ gᵢⱼ zᵢⱼ}
    ///
    /// A cross-entropy stands where others have the divergence KL(s ‖ g): its derivative by T differs by a term
    /// without the student, which no derivative by the student's parameters sees.
    pub fn gradients<'a>(
        &self,
        logits: &Tensor,
        data: impl Into<Supervision<'a>>,
    ) -> Result<Gradients> {
        let data = data.into();
        // Refuses what the loss itself refuses.
        distillation(&logits.detach(), data, &self.loss())?;
        let (m, k) = logits.dims2()?;
        let (labels, _) = data.classes("distillation", k)?;
        let Some(soft) = data.soft()? else {
            return Ok(Gradients { lambda: 0.0, temperature: 0.0 });
        };
        let numbers = |t: &Tensor| t.detach().to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
        let (z, v) = (numbers(logits)?, numbers(&soft.logits)?);
        let labels: Vec<u32> = labels.to_vec1()?;
        let mask = soft.mask.to_vec1::<f32>()?;
        let at = |logits: &[f64], temperature: f64| {
            let (mut log_p, mut p) = (logits.to_vec(), vec![0.0; logits.len()]);
            softmax(&mut log_p, &mut p, k, temperature);
            (log_p, p)
        };
        let t = self.temperature;
        let (log_hard, _) = at(&z, 1.0);
        let ((log_g, g), (_, s)) = (at(&z, t), at(&v, t));
        let factor = self.scale.factor(t);
        let slope = match self.scale {
            TemperatureScale::None => 0.0,
            TemperatureScale::Squared => 2.0 * t,
        };
        let mut total = Gradients { lambda: 0.0, temperature: 0.0 };
        for i in (0..m).filter(|&i| mask[i] > 0.0) {
            let row = i * k..(i + 1) * k;
            let (z, v, log_g) = (&z[row.clone()], &v[row.clone()], &log_g[row.clone()]);
            let (g, s) = (&g[row.clone()], &s[row]);
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let (soft, hard) = (-dot(s, log_g), -log_hard[i * k + labels[i] as usize]);
            let (v_mean, z_mean) = (dot(s, v), dot(g, z));
            let by_t: f64 =
                (0..k).map(|j| s[j] * ((v[j] - v_mean) * log_g[j] + z[j] - z_mean) / (t * t)).sum();
            total.lambda += factor * soft - hard;
            total.temperature += self.lambda * (factor * by_t + slope * soft);
        }
        let mean = |sum: f64| sum / m as f64;
        Ok(Gradients { lambda: mean(total.lambda), temperature: mean(total.temperature) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use core_tensors::{Dataset, Rng};

    fn problem(seed: u64) -> (Tensor, Dataset) {
        let (m, k) = (7, 3);
        let mut rng = Rng::new(seed);
        let draw = |rng: &mut Rng| {
            let values: Vec<f64> = (0..m * k).map(|_| 2.0 * rng.normal()).collect();
            Tensor::from_vec(values, (m, k), &Device::Cpu).unwrap()
        };
        let (z, v) = (draw(&mut rng), draw(&mut rng));
        let labels = (0..m).map(|_| rng.below(k) as u32).collect();
        let data = Dataset::classification(vec![0.0; m], labels, k, &Device::Cpu).unwrap();
        let mask = [0, 2, 3, 6];
        let rows = Tensor::new(&[0u32, 2, 3, 6], &Device::Cpu).unwrap();
        let data = data.with_logits(&v.index_select(&rows, 0).unwrap(), &mask).unwrap();
        (z, data)
    }

    #[test]
    fn slopes_are_differences_of_the_loss() {
        for seed in 0..5 {
            let (z, data) = problem(seed);
            for scale in [TemperatureScale::None, TemperatureScale::Squared] {
                let at = |lambda, temperature| Hyperparameters { lambda, temperature, scale };
                let loss = |m: Hyperparameters| {
                    let loss = distillation(&z, &data, &m.loss()).unwrap();
                    loss.to_scalar::<f64>().unwrap()
                };
                // Central differences: their error is h² times a third derivative of order one.
                let (lambda, t, h) = (0.3, 1.7, 1e-5);
                let found = at(lambda, t).gradients(&z, &data).unwrap();
                let by_lambda = (loss(at(lambda + h, t)) - loss(at(lambda - h, t))) / (2.0 * h);
                let by_t = (loss(at(lambda, t + h)) - loss(at(lambda, t - h))) / (2.0 * h);
                assert!((found.lambda - by_lambda).abs() < 1e-8, "{found:?} {by_lambda}");
                assert!((found.temperature - by_t).abs() < 1e-8, "{found:?} {by_t}");
            }
        }
    }

    #[test]
    fn without_a_teacher_nothing_depends_on_it() {
        let (z, data) = problem(0);
        let alone = Dataset::new(data.x().clone(), data.y().clone()).unwrap();
        let m = Hyperparameters { lambda: 0.5, temperature: 2.0, scale: TemperatureScale::None };
        let none = Gradients { lambda: 0.0, temperature: 0.0 };
        assert_eq!(m.gradients(&z, &alone).unwrap(), none);
        assert_eq!(m.gradients(&z, &data.known_for(&[]).unwrap()).unwrap(), none);
        let cold = Hyperparameters { temperature: 0.0, ..m };
        assert!(cold.gradients(&z, &alone).is_err());
    }
}
