//! Posteriors on disk, as the commands read and write them.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use bayes_posterior::{AnyPosterior, Covariance, Damping, Provenance, with_posterior};
use core_tensors::linalg::Cholesky;

use super::tensors::refuse_pickle;
use crate::files::{read_released, sha256, stream_whole};

/// A posterior and where it came from.
pub(crate) struct PosteriorFile {
    /// The Gaussian over its network.
    pub(crate) posterior: AnyPosterior,
    /// What it was computed from.
    pub(crate) provenance: Provenance,
    /// SHA-256 of the file.
    pub(crate) sha256: String,
}

impl PosteriorFile {
    /// Reads a file; its bytes are gone when this returns.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let bytes = read_released(path)?;
        refuse_pickle(path, &bytes)?;
        Self::from_bytes(&bytes).with_context(|| format!("reading {}", path.display()))
    }

    /// Reads the bytes of a file.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let (posterior, provenance) = AnyPosterior::from_bytes(bytes)?;
        Ok(Self { posterior, provenance, sha256: sha256(bytes) })
    }
}

/// Writes a posterior under its name when it is whole.
pub(crate) fn write(path: &Path, posterior: &AnyPosterior, provenance: &Provenance) -> Result<()> {
    stream_whole(path, |file| Ok(posterior.write(provenance, file)?))
}

/// Refuses a covariance that is not positive definite, or whose variances or log-determinant are not finite.
pub(crate) fn check_proper(posterior: &AnyPosterior) -> Result<()> {
    variances(posterior)?;
    log_det(posterior).map(drop)
}

/// log |Ψ|; an error where Ψ is not positive definite, or where that is not finite.
///
/// Keeps no factor of a dense Ψ: it is as large as Ψ.
pub(crate) fn log_det(posterior: &AnyPosterior) -> Result<f64> {
    let log_det = match posterior {
        AnyPosterior::Full(p) => Cholesky::new(p.gaussian().covariance().matrix())?.log_det(),
        other => with_posterior!(other, p => p.gaussian().covariance().log_det()?),
    };
    ensure!(
        log_det.is_finite(),
        "wanted a covariance with a finite log-determinant, found {log_det}"
    );
    Ok(log_det)
}

/// diag Ψ, (p,); an error where one is no finite number, or below 0.
pub(crate) fn variances(posterior: &AnyPosterior) -> Result<Vec<f64>> {
    let diagonal = posterior.diagonal()?;
    match diagonal.iter().position(|v| !(*v >= 0.0 && v.is_finite())) {
        Some(i) => bail!("wanted finite variances, found {} of parameter {i}", diagonal[i]),
        None => Ok(diagonal),
    }
}

/// What carried the mean of a Kronecker posterior when it was edited, in words.
pub(crate) fn carried_by(damping: Damping) -> String {
    match damping {
        Damping::Prior => "the mean was carried with the prior".into(),
        Damping::Numerical { epsilon } => format!(
            "the mean was carried without the prior, {epsilon} of the inputs' mean square added (numerical)"
        ),
    }
}
