//! Kullback–Leibler divergences between Gaussians, with the gradient that variational inference needs.

use core_tensors::linalg::dot;

use crate::checks;
use crate::diagonal::Diagonal;
use crate::error::Result;
use crate::gaussian::Gaussian;
use crate::structure::{Covariance, Structure};

/// KL(q ‖ p) in nats and its gradient with respect to the mean and the variances of a diagonal q.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// KL(q ‖ p) ≥ 0.
    pub value: f64,
    /// ∂/∂μ = P (μ − m), (p,).
    pub mean_gradient: Vec<f64>,
    /// ∂/∂vᵢ = ½ (Pᵢᵢ − 1/vᵢ), (p,).
    pub variance_gradient: Vec<f64>,
}

/// A Gaussian as a prior: what does not depend on q is computed once.
#[derive(Clone, Debug)]
pub struct Prior<'a, S> {
    gaussian: &'a Gaussian<S>,
    precision_diagonal: Vec<f64>,
    log_det: f64,
    /// Mean and precision of independent parameters, as a step of variational inference reads them.
    independent: Option<(Vec<f32>, Vec<f32>)>,
}

impl<'a, S: Covariance> Prior<'a, S> {
    /// Prepares divergences from a Gaussian, which must be positive definite.
    pub fn new(gaussian: &'a Gaussian<S>) -> Result<Self> {
        let precision_diagonal = gaussian.covariance().precision_diagonal()?;
        let independent = S::IS_INDEPENDENT.then(|| {
            let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect();
            (narrow(gaussian.mean()), narrow(&precision_diagonal))
        });
        let log_det = gaussian.covariance().log_det()?;
        Ok(Self { gaussian, precision_diagonal, log_det, independent })
    }

    /// Mean and precision in f32 where parameters are independent.
    pub(crate) fn in_f32(&self) -> Option<(&[f32], &[f32])> {
        self.independent.as_ref().map(|(mean, precision)| (&mean[..], &precision[..]))
    }

    /// KL(N(μ, diag v) ‖ N(m, Ψ)) with its gradient; μ and v are (p,), v > 0.
    ///
    /// ½ { Σ Pᵢᵢ vᵢ + (μ − m)ᵀ P (μ − m) − p + log |Ψ| − Σ log vᵢ },  P = Ψ⁻¹
    pub fn divergence(&self, mean: &[f64], variance: &[f64]) -> Result<Divergence> {
        let p = self.precision_diagonal.len();
        checks::length("numbers of a mean", p, mean.len())?;
        checks::length("variances", p, variance.len())?;
        checks::all_positive("variance", variance)?;
        let gap: Vec<f64> = mean.iter().zip(self.gaussian.mean()).map(|(a, b)| a - b).collect();
        let mean_gradient = self.gaussian.covariance().solve(&gap)?;
        let quadratic = dot(&gap, &mean_gradient);
        let trace = dot(&self.precision_diagonal, variance);
        let own_log_det: f64 = variance.iter().map(|v| v.ln()).sum();
        let value = 0.5 * (trace + quadratic - p as f64 + self.log_det - own_log_det);
        let half = |(precision, v): (&f64, &f64)| 0.5 * (precision - v.recip());
        let variance_gradient = self.precision_diagonal.iter().zip(variance).map(half).collect();
        Ok(Divergence { value, mean_gradient, variance_gradient })
    }

    /// The divergence of a diagonal Gaussian.
    pub fn divergence_of(&self, q: &Gaussian<Diagonal>) -> Result<Divergence> {
        self.divergence(q.mean(), q.covariance().variance())
    }
}

impl<S: Structure> Gaussian<S> {
    /// KL(self ‖ prior) in nats, for two Gaussians of one structure.
    ///
    /// ½ { tr(Ψ_p⁻¹ Ψ_q) + (m_q − m_p)ᵀ Ψ_p⁻¹ (m_q − m_p) − p + log |Ψ_p| − log |Ψ_q| }
    pub fn divergence_from(&self, prior: &Self) -> Result<f64> {
        checks::same_layout("a Gaussian", prior.layout(), self.layout())?;
        let gap: Vec<f64> = self.mean().iter().zip(prior.mean()).map(|(a, b)| a - b).collect();
        let (q, p) = (self.covariance(), prior.covariance());
        let traces = p.trace_ratio(q)? + p.precision_quadratic(&gap)?;
        Ok(0.5 * (traces - gap.len() as f64 + p.log_det()? - q.log_det()?))
    }
}
