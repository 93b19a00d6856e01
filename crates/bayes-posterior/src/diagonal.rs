//! The Gaussian with independent parameters.

use crate::error::{Error, Result};

/// N(m, diag(v)) over p parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagonal {
    mean: Vec<f64>,
    variance: Vec<f64>,
}

impl Diagonal {
    /// A Gaussian from its mean and variances, (p,) each; every variance in (0, ∞).
    pub fn new(mean: Vec<f64>, variance: Vec<f64>) -> Result<Self> {
        if mean.len() != variance.len() {
            let (wanted, found) = (mean.len(), variance.len());
            return Err(Error::Length { what: "variances", wanted, found });
        }
        let is_bad = |v: &f64| !(*v > 0.0 && v.is_finite());
        if let Some(index) = variance.iter().position(is_bad) {
            return Err(Error::NotPositive { index, value: variance[index] });
        }
        Ok(Self { mean, variance })
    }

    /// m, (p,).
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// v, (p,).
    pub fn variance(&self) -> &[f64] {
        &self.variance
    }

    /// The distribution of the kept parameters given the values of the others, in the order of `kept`.
    ///
    /// m_u + Ψ_uν Ψ_νν⁻¹ (ν − m_ν) = m_u,  Ψ_uu − Ψ_uν Ψ_νν⁻¹ Ψ_νu = Ψ_uu
    pub fn condition(&self, kept: &[usize]) -> Result<Self> {
        // Independent parameters learn nothing from one another: conditioning only drops.
        self.marginalize(kept)
    }

    /// The distribution of the kept parameters alone, in the order of `kept`.
    pub fn marginalize(&self, kept: &[usize]) -> Result<Self> {
        let n_parameters = self.mean.len();
        if let Some(&index) = kept.iter().find(|&&i| i >= n_parameters) {
            return Err(Error::NoSuchParameter { index, n_parameters });
        }
        let pick = |values: &[f64]| kept.iter().map(|&i| values[i]).collect();
        Ok(Self { mean: pick(&self.mean), variance: pick(&self.variance) })
    }

    /// KL(self ‖ prior) in nats.
    ///
    /// ½ Σᵢ { v_q/v_p + (m_q − m_p)²/v_p − 1 − log(v_q/v_p) }
    pub fn divergence_from(&self, prior: &Self) -> Result<f64> {
        if self.mean.len() != prior.mean.len() {
            let (wanted, found) = (self.mean.len(), prior.mean.len());
            return Err(Error::Length { what: "parameters of the prior", wanted, found });
        }
        let term = |i: usize| {
            let ratio = self.variance[i] / prior.variance[i];
            let gap = self.mean[i] - prior.mean[i];
            0.5 * (ratio + gap * gap / prior.variance[i] - 1.0 - ratio.ln())
        };
        Ok((0..self.mean.len()).map(term).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_tensors::Rng;

    fn random(p: usize, seed: u64) -> Diagonal {
        let mut rng = Rng::new(seed);
        let mean = (0..p).map(|_| rng.normal()).collect();
        let variance = (0..p).map(|_| 0.2 + rng.uniform()).collect();
        Diagonal::new(mean, variance).unwrap()
    }

    fn log_density(g: &Diagonal, w: &[f64]) -> f64 {
        (0..w.len())
            .map(|i| {
                let v = g.variance[i];
                -0.5 * ((w[i] - g.mean[i]).powi(2) / v + (std::f64::consts::TAU * v).ln())
            })
            .sum()
    }

    #[test]
    fn divergence_equals_monte_carlo() {
        let (q, p) = (random(3, 0), random(3, 1));
        let mut rng = Rng::new(2);
        let n = 200_000;
        let draws: Vec<f64> = (0..n)
            .map(|_| {
                let w: Vec<f64> =
                    (0..3).map(|i| q.mean[i] + q.variance[i].sqrt() * rng.normal()).collect();
                log_density(&q, &w) - log_density(&p, &w)
            })
            .collect();
        let estimate = core_tensors::stats::Estimate::new(&draws);
        let gap = (estimate.mean - q.divergence_from(&p).unwrap()).abs();
        // Five standard errors.
        assert!(gap < 5.0 * estimate.deviation / f64::from(n).sqrt(), "{gap}");
        assert!(q.divergence_from(&q).unwrap().abs() < 1e-15);
    }

    #[test]
    fn kept_parameters_keep_their_order() {
        let g = random(4, 3);
        let kept = g.condition(&[3, 1]).unwrap();
        assert_eq!(kept.mean(), [g.mean[3], g.mean[1]]);
        assert_eq!(kept.variance(), [g.variance[3], g.variance[1]]);
    }

    #[test]
    fn bad_input_is_refused() {
        let message = |r: Result<Diagonal>| r.unwrap_err().to_string();
        assert_eq!(
            message(Diagonal::new(vec![0.0; 2], vec![1.0, 0.0])),
            "variance of parameter 1 must lie in (0, ∞), got 0"
        );
        assert_eq!(
            message(Diagonal::new(vec![0.0; 2], vec![1.0])),
            "variances: wanted 2 numbers, found 1"
        );
        assert_eq!(message(random(2, 0).condition(&[2])), "parameter 2 wanted among 2");
    }
}
