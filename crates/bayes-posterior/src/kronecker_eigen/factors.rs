//! A pair of factors R ⊗ C in place of (G ⊗ A + δI)⁻¹: the nearest one, or one damped by numerical means alone.

use core_tensors::linalg::Cholesky;
use faer::Mat;
use serde::{Deserialize, Serialize};

use super::{KroneckerEigen, LayerCurvature};
use crate::checks;
use crate::edit::Posterior;
use crate::error::Result;
use crate::full::Full;
use crate::gaussian::Gaussian;
use crate::kronecker::{Factors, Kronecker};
use crate::structure::Covariance;

/// What keeps the factors of a Kronecker posterior away from singular matrices, and so what an edit moves by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Damping {
    /// The prior: the pair q that minimizes KL(q ‖ p), p the exact posterior; its covariance is to be trusted.
    Prior,
    /// G ⊗ (A + ε) with ε this share of the mean diagonal of A, the bias undamped: the prior does not hold the weights
    /// back where the data say little, so that edits keep more of the network's function.
    Numerical {
        /// > 0
        epsilon: f64,
    },
}

/// Share of the mean diagonal of A that [`Damping::numerical`] adds.
const EPSILON: f64 = 1e-4;
/// Share of the mean diagonal of G that is added to it under numerical damping: a softmax leaves a direction of the
/// outputs without curvature. It does not move the mean of an edit, which depends on A alone.
const ROWS_EPSILON: f64 = 1e-8;
/// Steps of a bisection, enough to halve any bracket of logarithms to neighboring numbers.
const BISECTIONS: usize = 200;

impl Damping {
    /// ε = 1e-4 of the mean diagonal, which serves some thousand examples.
    pub const fn numerical() -> Self {
        Self::Numerical { epsilon: EPSILON }
    }

    /// Refuses an ε that is not above 0.
    pub(crate) fn check(self) -> Result<()> {
        match self {
            Self::Prior => Ok(()),
            Self::Numerical { epsilon } => checks::positive("numerical damping", epsilon),
        }
    }
}

impl Posterior<KroneckerEigen> {
    /// The same network and mean under a covariance that is a Kronecker product in each layer.
    ///
    /// [`Damping::Prior`]: in the eigenbases of G and A, with hᵢⱼ = gᵢ aⱼ + δ, R has the eigenvalues uᵢ and C vⱼ, where
    /// uᵢ = n / Σⱼ hᵢⱼ vⱼ and vⱼ = m / Σᵢ hᵢⱼ uᵢ for m rows and n columns, unique up to a scale that cancels. Hence
    /// C⁻¹ ∝ A + λI and R⁻¹ ∝ G + λ'I with λ = δ Σuᵢ / Σgᵢuᵢ and λ' = δ Σvⱼ / Σaⱼvⱼ.
    pub fn to_kronecker(&self, damping: Damping) -> Result<Posterior<Kronecker>> {
        damping.check()?;
        let exact = self.gaussian().covariance();
        let layers = exact.layers.iter().map(|layer| match damping {
            Damping::Prior => nearest(layer, exact.prior_precision),
            Damping::Numerical { epsilon } => {
                numerical(layer, exact.prior_precision, epsilon, self.network().bias)
            }
        });
        let covariance = Kronecker::new(layers.collect::<Result<_>>()?);
        checks::of_result("of the pair of factors", covariance.check_numbers())?;
        let (layout, mean) = (self.gaussian().layout().clone(), self.gaussian().mean().to_vec());
        let gaussian = Gaussian::new(layout, mean, covariance)?;
        Posterior::with_history(
            self.network().clone(),
            gaussian,
            self.kept().to_vec(),
            self.is_inexact(),
        )
    }
}

/// argmin over R ⊗ C of KL(N(0, R ⊗ C) ‖ N(0, (G ⊗ A + δI)⁻¹)).
fn nearest(layer: &LayerCurvature, prior_precision: f64) -> Result<Factors> {
    let (g, a) = (&layer.rows.values, &layer.columns.values);
    let largest = |values: &[f64]| values.iter().fold(0.0, |l: f64, v| l.max(*v));
    // Below the rounding of δ the data say nothing: Ψ = I/δ.
    let (u, v) = if largest(g) * largest(a) <= f64::EPSILON * prior_precision {
        (vec![1.0 / prior_precision; g.len()], vec![1.0; a.len()])
    } else {
        let lambda = column_damping(g, a, prior_precision);
        let v: Vec<f64> = a.iter().map(|a| 1.0 / (a + lambda)).collect();
        let row = |g: &f64| {
            let sum: f64 = a.iter().zip(&v).map(|(a, v)| (g * a + prior_precision) * v).sum();
            a.len() as f64 / sum
        };
        (g.iter().map(row).collect(), v)
    };
    Ok(Factors {
        rows: Full::trusted(layer.rows.map(|i, _| u[i])),
        columns: Full::trusted(layer.columns.map(|j, _| v[j])),
    })
}

/// λ with C⁻¹ ∝ A + λI: the fixed point of λ ↦ λ' ↦ λ, which rises with λ, by bisection of its logarithm.
fn column_damping(g: &[f64], a: &[f64], prior_precision: f64) -> f64 {
    // δ Σw / Σcw with w = 1 / (c + λ).
    let damping = |curvature: &[f64], other: f64| {
        let weights = curvature.iter().map(|c| 1.0 / (c + other));
        let (sum, product) =
            curvature.iter().zip(weights).fold((0.0, 0.0), |(s, p), (c, w)| (s + w, p + c * w));
        prior_precision * sum / product
    };
    let next = |lambda: f64| damping(g, damping(a, lambda));
    let largest = g.iter().fold(0.0, |l: f64, g| l.max(*g));
    let (mut low, mut high) = ((prior_precision / largest).ln(), next(f64::MAX.sqrt()).ln());
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (low + high);
        if next(middle.exp()).ln() > middle {
            low = middle;
        } else {
            high = middle;
        }
    }
    (0.5 * (low + high)).exp()
}

/// (G + γI)⁻¹ ⊗ (A + ε)⁻¹, the bias undamped.
fn numerical(
    layer: &LayerCurvature,
    prior_precision: f64,
    epsilon: f64,
    bias: bool,
) -> Result<Factors> {
    let mut a = layer.columns.map(|_, a| a);
    let n_inputs = a.nrows() - usize::from(bias);
    let mean = (0..n_inputs).map(|j| a[(j, j)]).sum::<f64>() / n_inputs.max(1) as f64;
    // Inputs that are always 0 leave nothing to take a share of.
    let added = if mean > 0.0 { epsilon * mean } else { epsilon };
    (0..n_inputs).for_each(|j| a[(j, j)] += added);
    let mean = layer.rows.values.iter().sum::<f64>() / layer.rows.n() as f64;
    let floor = if mean > 0.0 { ROWS_EPSILON * mean } else { prior_precision };
    Ok(Factors {
        rows: Full::trusted(layer.rows.map(|_, g| 1.0 / (g + floor))),
        columns: Full::trusted(inverse(a)?),
    })
}

fn inverse(a: Mat<f64>) -> Result<Mat<f64>> {
    Ok(Cholesky::in_place(a)?.inverse())
}
