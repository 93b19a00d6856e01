//! In what a loss of the network is measured: nats of its outputs, each value in units of its own noise.

use anyhow::Result;
use core_tensors::Params;
use losses::Likelihood;
use models::graph::Graph;
use models::graph::change::GraphChangeError;

use crate::ledger::stats;

/// p(y | f) of the outputs of a network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OutputLikelihood {
    /// Logits of classes.
    Categorical,
    /// The logit of the second of two classes.
    Bernoulli,
    /// N(y; f, diag σ²).
    Normal {
        /// σⱼ² > 0 of each output.
        variances: Vec<f64>,
    },
}

/// A network in whose outputs all noise has the same variance.
pub(super) struct InUnits {
    pub(super) params: Params,
    /// That of the outputs that the parameters give.
    pub(super) likelihood: Likelihood,
    /// σ, by which outputs were divided; `None` where they are those of the network.
    pub(super) scales: Option<Vec<f64>>,
    /// Why outputs of different noise share one variance, where they do.
    pub(super) shared: Option<String>,
}

impl OutputLikelihood {
    /// The network with its outputs in units of their noise: f ∼ N(·, diag σ²) has the likelihood of f/σ ∼ N(·, I).
    ///
    /// Outputs of equal noise stay as they are. So do those that are not the outputs of a linear map: they share the mean
    /// variance then.
    pub(super) fn in_units(&self, graph: &Graph, params: &Params) -> Result<InUnits> {
        let plain =
            |likelihood| InUnits { params: params.clone(), likelihood, scales: None, shared: None };
        let variances = match self {
            Self::Categorical => return Ok(plain(Likelihood::Categorical)),
            Self::Bernoulli => return Ok(plain(Likelihood::Bernoulli)),
            Self::Normal { variances } => variances,
        };
        let shared = Likelihood::Normal { variance: stats::mean(variances) };
        if let [first, rest @ ..] = variances.as_slice()
            && rest.iter().all(|v| v == first)
        {
            return Ok(plain(Likelihood::Normal { variance: *first }));
        }
        let scales: Vec<f64> = variances.iter().map(|v| v.sqrt()).collect();
        let inverse: Vec<f64> = scales.iter().map(|sigma| sigma.recip()).collect();
        match graph.with_scaled_outputs(params, &inverse) {
            Ok(params) => Ok(InUnits {
                params,
                likelihood: Likelihood::Normal { variance: 1.0 },
                scales: Some(scales),
                shared: None,
            }),
            Err(error @ GraphChangeError::Outputs { .. }) => {
                Ok(InUnits { shared: Some(error.to_string()), ..plain(shared) })
            }
            Err(error) => Err(error.into()),
        }
    }
}
