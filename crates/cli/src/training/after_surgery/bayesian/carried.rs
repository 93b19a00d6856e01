//! What surgery and the examples say before inference: the curvature once, and the priors that count it by any factor.

use anyhow::{Result, ensure};
use bayes_posterior::{
    Covariance, Gaussian, KroneckerEigen, Laplace, LayerCurvature, MeanField, Spectrum,
};
use candle_core::Device;
use core_tensors::{AdamConfig, Dataset, Layout, Params};
use losses::Likelihood;
use models::{Architecture, Mlp};

/// The Laplace posterior N(w, (N G ⊗ A + δI)⁻¹) of a network at what surgery left.
pub(super) struct Carried {
    layout: Layout,
    whole: Gaussian<KroneckerEigen>,
    /// diag (N G ⊗ A + δI), in vec order.
    diagonal: Vec<f64>,
    /// δ
    pub(super) prior_precision: f64,
}

impl Carried {
    /// δ is [`likeliest_precision`] where it is not given.
    pub(super) fn of(
        (network, weights): (&Mlp, &Params),
        data: &Dataset,
        likelihood: Likelihood,
        prior_precision: Option<f64>,
    ) -> Result<Self> {
        let prior_precision = match prior_precision {
            Some(given) => given,
            None => likeliest_precision(weights)?,
        };
        let laplace = Laplace { network, weights, data, likelihood, prior_precision };
        let whole = laplace.kronecker()?.posterior.into_gaussian();
        let diagonal = whole.covariance().precision_diagonal()?;
        Ok(Self { layout: network.layout(), whole, diagonal, prior_precision })
    }

    /// N(w, (τ N G ⊗ A + δI)⁻¹): what is known before inference, its examples counted by τ.
    pub(super) fn prior(&self, counted: f64) -> Result<Gaussian<KroneckerEigen>> {
        let layer = |layer: &LayerCurvature| {
            let values = layer.rows.values().iter().map(|g| counted * g).collect();
            let rows = Spectrum::new(layer.rows.vectors().to_owned(), values)?;
            anyhow::Ok(LayerCurvature { rows, columns: layer.columns.clone() })
        };
        let layers = self.whole.covariance().layers().iter().map(layer).collect::<Result<_>>()?;
        let covariance = KroneckerEigen::new(layers, self.prior_precision)?;
        Ok(Gaussian::new(self.layout.clone(), self.whole.mean().to_vec(), covariance)?)
    }

    /// N(w, diag v) with v the inverses of the diagonal of (1 + τ) N G ⊗ A + δI: where inference ends in a linear network.
    pub(super) fn start(
        &self,
        counted: f64,
        config: AdamConfig,
        device: &Device,
    ) -> Result<MeanField> {
        let delta = self.prior_precision;
        let seen = |p: &f64| (1.0 + counted) * (p - delta).max(0.0) + delta;
        let variance: Vec<f64> = self.diagonal.iter().map(|p| seen(p).recip()).collect();
        Ok(MeanField::from_vectors(config, &self.layout, self.whole.mean(), &variance, device)?)
    }
}

/// p/‖w‖², the δ with the largest density of w under N(0, I/δ).
pub(super) fn likeliest_precision(w: &Params) -> Result<f64> {
    let w = w.to_vec()?;
    let precision = w.len() as f64 / w.iter().map(|w| w * w).sum::<f64>();
    ensure!(
        precision.is_finite() && precision > 0.0,
        "the parameters are all 0: give the precision of their prior"
    );
    Ok(precision)
}
