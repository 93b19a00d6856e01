//! Edits that carry a posterior from one network to a smaller one of the same function: theorems 1 and 2.

use candle_core::Device;
use core_tensors::kernels::Activation;
use core_tensors::{Params, Slice};
use models::{Architecture, Mlp};

use crate::checks;
use crate::error::{Error, Result};
use crate::gaussian::Gaussian;
use crate::kronecker::Kronecker;
use crate::kronecker_eigen::{Damping, KroneckerEigen};
use crate::matching::{UnitMatching, pair};
use crate::structure::{Covariance, GaussianDensity, Structure};

/// One step from a network to a smaller one. Layers count from 1, units from 0; both are those of the network that
/// the edit before left.
///
/// ```
/// use bayes_posterior::{
///     Diagonal, Edit, EditOptions, Gaussian, Posterior, UnitMatching, transform,
/// };
/// use core_tensors::kernels::Activation;
/// use models::{Architecture, Mlp};
/// # fn main() -> bayes_posterior::Result<()> {
/// let network = Mlp { widths: vec![1, 3, 3, 1], activation: Activation::Relu, bias: false };
/// let p = network.layout().n_parameters();
/// let gaussian = Gaussian::new(network.layout(), vec![0.1; p], Diagonal::new(vec![1.0; p])?)?;
/// let plan = [Edit::RemoveLayer { layer: 2, matching: UnitMatching::Identity }];
/// let left = transform(Posterior::new(network, gaussian)?, &plan, &EditOptions::strict())?;
/// assert_eq!(left.posterior.network().widths, [1, 3, 1]);
/// assert_eq!(left.fixed[0].density.n, 9); // U_2, (3, 3)
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Theorem 1: units of a hidden layer go.
    RemoveUnits {
        /// t, 1 ≤ t < T.
        layer: usize,
        /// Which units, in any order, each once; at least one stays.
        units: Vec<usize>,
    },
    /// Theorem 2: a layer becomes the identity, or a permutation, and goes.
    RemoveLayer {
        /// t, 1 < t < T (t = 1 where inputs lie in the activation's range); n_t = n_{t−1}.
        layer: usize,
        /// Which unit of layer t − 1 feeds which unit of layer t.
        matching: UnitMatching,
    },
}

/// How a removed unit's incoming weights and bias are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// Outgoing weights are fixed at 0, incoming ones are integrated out, as nothing depends on them any more.
    Marginal,
    /// Outgoing and incoming weights and the bias are all fixed at 0: formula (5) of paper 001 to the letter.
    ConditionAll,
}

/// How edits are read, and what is known or waived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EditOptions {
    /// Of theorem 1.
    pub removal: Removal,
    /// No input is below 0, so that the first layer may go: act(x) = x there.
    pub nonnegative_inputs: bool,
    /// A layer may go although act(act(z)) ≠ act(z); the result remembers it.
    pub allow_inexact: bool,
}

/// A network whose parameters are known up to a Gaussian.
#[derive(Clone, Debug)]
pub struct Posterior<S> {
    network: Mlp,
    gaussian: Gaussian<S>,
    kept: Vec<Vec<usize>>,
    inexact: bool,
}

/// A posterior after a plan, and what each edit cost.
#[derive(Clone, Debug)]
pub struct Transformed<S> {
    /// Of the smaller network.
    pub posterior: Posterior<S>,
    /// The joint density, under the posterior that an edit met, of the numbers it fixed; one an edit.
    pub fixed: Vec<FixedWeights>,
}

/// What one edit fixed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedWeights {
    /// The density of the fixed numbers.
    pub density: GaussianDensity,
    /// Σ ν² of the values they were fixed at: the number of ones.
    pub squared_values: f64,
}

impl EditOptions {
    /// Theorem 1 by its meaning, nothing known, nothing waived.
    pub fn strict() -> Self {
        Self { removal: Removal::Marginal, nonnegative_inputs: false, allow_inexact: false }
    }
}

impl<S: Covariance> Posterior<S> {
    /// The posterior of an unedited network.
    pub fn new(network: Mlp, gaussian: Gaussian<S>) -> Result<Self> {
        let kept = network.widths.iter().map(|&n| (0..n).collect()).collect();
        Self::with_history(network, gaussian, kept, false)
    }

    /// The posterior of a network that edits have left.
    pub fn with_history(
        network: Mlp,
        gaussian: Gaussian<S>,
        kept: Vec<Vec<usize>>,
        inexact: bool,
    ) -> Result<Self> {
        let posterior = Self { network, gaussian, kept, inexact };
        posterior.check()?;
        Ok(posterior)
    }

    /// f(x, w).
    pub fn network(&self) -> &Mlp {
        &self.network
    }

    /// p(w | D), over the layout of the network.
    pub fn gaussian(&self) -> &Gaussian<S> {
        &self.gaussian
    }

    /// m as the parameters of the network, in f32 on a device.
    pub fn weights(&self, device: &Device) -> Result<Params> {
        Ok(Params::from_vec(self.gaussian.layout(), self.gaussian.mean(), device)?)
    }

    /// [`Posterior::gaussian`] itself.
    pub fn into_gaussian(self) -> Gaussian<S> {
        self.gaussian
    }

    /// For every width n_0, …, n_T the ids of its units in the network that was edited first.
    pub fn kept(&self) -> &[Vec<usize>] {
        &self.kept
    }

    /// Whether an edit changed the function of the network by more than rounding.
    pub fn is_inexact(&self) -> bool {
        self.inexact
    }

    /// Refuses parts that do not fit one another.
    pub(crate) fn check(&self) -> Result<()> {
        checks::same_layout("a posterior", &self.network.layout(), self.gaussian().layout())?;
        checks::kept_units(&self.network.widths, &self.kept)
    }
}

/// Applies a plan of edits, each to what its predecessor left.
///
/// *Theorem 1.* Unit j of layer t goes: column j of U_{t+1} is fixed at 0, which makes the networks equal, and row j
/// of U_t with its bias is integrated out. Several units of one layer go at once; the result is that of any sequence.
///
/// *Theorem 2.* Layer t goes: U_t is fixed at a permutation P (the identity, or a denser one) and its biases at 0;
/// with act(act(z)) = act(z) the layer passes z on, in the order P, so U_{t+1} ← U_{t+1} P.
///
/// Source: Grabovoy & Strijov (2021), theorems 1 and 2, in the reading of the later article: the formula in print
/// fixes the incoming row as well ([`Removal::ConditionAll`]), and its count of removed numbers 2 n_t stands for
/// n_{t−1} + n_{t+1}.
///
/// ```
/// use bayes_posterior::{Diagonal, Edit, EditOptions, Gaussian, Posterior, transform};
/// use core_tensors::kernels::Activation;
/// use models::{Architecture, Mlp};
/// # fn main() -> bayes_posterior::Result<()> {
/// let network = Mlp { widths: vec![1, 2, 1], activation: Activation::Relu, bias: false };
/// let gaussian = Gaussian::new(network.layout(), vec![1.0, 0.5, 3.0, 0.2], Diagonal::new(vec![0.1; 4])?)?;
/// let posterior = Posterior::new(network, gaussian)?;
/// let plan = [Edit::RemoveUnits { layer: 1, units: vec![1] }];
/// let left = transform(posterior, &plan, &EditOptions::strict())?;
/// assert_eq!(left.posterior.gaussian().mean(), [1.0, 3.0]);
/// // Its one outgoing weight went from 0.2 to 0: ½ 0.2² / 0.1.
/// assert!((left.fixed[0].density.cost() - 0.2).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub fn transform<S: Structure>(
    posterior: Posterior<S>,
    plan: &[Edit],
    options: &EditOptions,
) -> Result<Transformed<S>> {
    let mut transformed = Transformed { posterior, fixed: Vec::with_capacity(plan.len()) };
    for edit in plan {
        let (posterior, fixed) = match edit {
            Edit::RemoveUnits { layer, units } => {
                remove_units(&transformed.posterior, *layer, units, options.removal)?
            }
            Edit::RemoveLayer { layer, matching } => {
                let is_exact = check_layer(&transformed.posterior.network, *layer, options)?;
                let order = pair(transformed.posterior.gaussian(), *layer - 1, *matching)?;
                remove_layer(&transformed.posterior, *layer, &order, is_exact)?
            }
        };
        transformed.posterior = posterior;
        transformed.fixed.push(fixed);
    }
    Ok(transformed)
}

/// [`transform`] of a Laplace posterior under Kronecker curvature, whose edits go by a pair of factors.
///
/// Under [`Damping::Numerical`] the mean is carried by the pair that the prior does not damp, which keeps more of the
/// network's function; the covariance, and the densities of what was fixed, are those of [`Damping::Prior`], as are
/// permutations of a removed layer: what is uncertain about the smaller network is still the posterior's to say.
pub fn transform_kronecker(
    posterior: &Posterior<KroneckerEigen>,
    plan: &[Edit],
    options: &EditOptions,
    damping: Damping,
) -> Result<Transformed<Kronecker>> {
    damping.check()?;
    let prior = posterior.to_kronecker(Damping::Prior)?;
    let mut transformed = Transformed { posterior: prior, fixed: Vec::with_capacity(plan.len()) };
    let mut mover = match damping {
        Damping::Prior => return transform(transformed.posterior, plan, options),
        Damping::Numerical { .. } => posterior.to_kronecker(damping)?,
    };
    for edit in plan {
        let ((next, fixed), (moved, _)) = match edit {
            Edit::RemoveUnits { layer, units } => (
                remove_units(&transformed.posterior, *layer, units, options.removal)?,
                remove_units(&mover, *layer, units, options.removal)?,
            ),
            Edit::RemoveLayer { layer, matching } => {
                let is_exact = check_layer(&mover.network, *layer, options)?;
                let order = pair(transformed.posterior.gaussian(), *layer - 1, *matching)?;
                (
                    remove_layer(&transformed.posterior, *layer, &order, is_exact)?,
                    remove_layer(&mover, *layer, &order, is_exact)?,
                )
            }
        };
        transformed.posterior = next;
        transformed.fixed.push(fixed);
        mover = moved;
    }
    let Posterior { network, gaussian, kept, inexact } = transformed.posterior;
    let (layout, mean) = (gaussian.layout().clone(), mover.gaussian().mean().to_vec());
    let gaussian = Gaussian::new(layout, mean, gaussian.covariance().clone())?;
    let posterior = Posterior::with_history(network, gaussian, kept, inexact)?;
    Ok(Transformed { posterior, fixed: transformed.fixed })
}

fn remove_units<S: Structure>(
    posterior: &Posterior<S>,
    layer: usize,
    units: &[usize],
    removal: Removal,
) -> Result<(Posterior<S>, FixedWeights)> {
    check_units(&posterior.network, layer, units)?;
    let outgoing = Slice::Cols { block: layer, cols: units.to_vec() };
    let incoming = Slice::Rows { block: layer - 1, rows: units.to_vec() };
    let gaussian = &posterior.gaussian();
    let zeros = |slice: &Slice| -> Result<Vec<f64>> {
        Ok(vec![0.0; gaussian.layout().split(slice)?.0.len()])
    };
    let (left, density) = match removal {
        Removal::Marginal => {
            gaussian.condition_and_drop(&outgoing, &zeros(&outgoing)?, &incoming)?
        }
        Removal::ConditionAll => {
            let (half, first) = gaussian.condition(&outgoing, &zeros(&outgoing)?)?;
            let (whole, second) = half.condition(&incoming, &zeros(&incoming)?)?;
            (whole, first.and(second))
        }
    };
    let mut network = posterior.network.clone();
    network.widths[layer] -= units.len();
    let mut kept = posterior.kept.clone();
    let mut unit = 0;
    kept[layer].retain(|_| {
        unit += 1;
        !units.contains(&(unit - 1))
    });
    let posterior = Posterior::with_history(network, left, kept, posterior.inexact)?;
    Ok((posterior, FixedWeights { density, squared_values: 0.0 }))
}

fn remove_layer<S: Structure>(
    posterior: &Posterior<S>,
    layer: usize,
    order: &[usize],
    is_exact: bool,
) -> Result<(Posterior<S>, FixedWeights)> {
    let slice = Slice::Block { block: layer - 1 };
    let values = permutation_matrix(order, posterior.network.bias);
    let (left, density) = posterior.gaussian().condition(&slice, &values)?;
    // Unit i of layer t passes on unit σ(i) of layer t − 1, so column σ(i) of the next block was column i.
    let mut inverse = vec![0; order.len()];
    order.iter().enumerate().for_each(|(i, &from)| inverse[from] = i);
    let left = left.permute_columns(layer - 1, &inverse)?;
    let (mut network, mut kept) = (posterior.network.clone(), posterior.kept.clone());
    network.widths.remove(layer);
    kept.remove(layer);
    let inexact = posterior.inexact || !is_exact;
    let posterior = Posterior::with_history(network, left, kept, inexact)?;
    Ok((posterior, FixedWeights { density, squared_values: order.len() as f64 }))
}

/// vec of \[P | 0\] with Pᵢⱼ = \[j = order(i)\].
pub(crate) fn permutation_matrix(order: &[usize], bias: bool) -> Vec<f64> {
    let n_cols = order.len() + usize::from(bias);
    let mut values = vec![0.0; order.len() * n_cols];
    order.iter().enumerate().for_each(|(i, &j)| values[i * n_cols + j] = 1.0);
    values
}

/// Refuses units that cannot go.
pub(crate) fn check_units(network: &Mlp, layer: usize, units: &[usize]) -> Result<()> {
    checks::network(network)?;
    let edit = || format!("removing units of layer {layer} of {:?}", network.widths);
    let refuse = |reason: String| Err(Error::Refused { edit: edit(), reason });
    let depth = network.widths.len() - 1;
    if layer == depth {
        return refuse("these are the outputs; only hidden units can go".into());
    }
    if layer == 0 || layer > depth {
        return refuse(hidden_layers(depth));
    }
    let n = network.widths[layer];
    if let Some(unit) = units.iter().find(|&&unit| unit >= n) {
        return refuse(format!("there is no unit {unit}, they are 0 to {}", n - 1));
    }
    let mut sorted = units.to_vec();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return refuse(format!("unit {} is named twice", pair[0]));
    }
    if units.len() == n {
        return refuse(format!("all {n} units would go, at least one must stay"));
    }
    Ok(())
}

/// Refuses a layer that cannot go; whether the function stays what it is.
fn check_layer(network: &Mlp, layer: usize, options: &EditOptions) -> Result<bool> {
    checks::network(network)?;
    let edit = || format!("removing layer {layer} of {:?}", network.widths);
    let refuse = |reason: String| Err(Error::Refused { edit: edit(), reason });
    let depth = network.widths.len() - 1;
    if layer == depth {
        return refuse("this is the output layer; only a hidden layer can go".into());
    }
    if layer == 0 || layer > depth {
        return refuse(hidden_layers(depth));
    }
    let (before, own) = (network.widths[layer - 1], network.widths[layer]);
    if before != own {
        let mend = match before.cmp(&own) {
            std::cmp::Ordering::Less => {
                format!("remove {} of layer {layer} first", count(own - before))
            }
            _ if layer == 1 => "the inputs are more than its units".into(),
            _ => format!("remove {} of layer {} first", count(before - own), layer - 1),
        };
        return refuse(format!("U_{layer} is {own} × {before}, but must be square; {mend}"));
    }
    let twice = |name: &str| match options.allow_inexact {
        true => Ok(false),
        false => refuse(format!(
            "{name} applied twice is another function; allow the edit to be inexact, or use a network with ReLU"
        )),
    };
    match network.activation {
        Activation::Identity => Ok(true),
        // These change every number, also inputs that are not negative.
        Activation::Tanh => twice("tanh"),
        Activation::Sigmoid => twice("a sigmoid"),
        Activation::Silu => twice("SiLU"),
        Activation::Gelu => twice("GELU"),
        Activation::Relu | Activation::LeakyRelu { .. } if layer == 1 => {
            match options.nonnegative_inputs {
                true => Ok(true),
                false => refuse(
                    "the first layer passes its inputs on only where none is negative; \
                     declare them non-negative if that is so"
                        .into(),
                ),
            }
        }
        Activation::Relu => Ok(true),
        Activation::LeakyRelu { .. } if options.allow_inexact => Ok(false),
        Activation::LeakyRelu { slope } => refuse(format!(
            "a leaky ReLU applied twice is another function (slope {slope} becomes {}); \
             allow the edit to be inexact, or use a network with ReLU",
            slope * slope
        )),
    }
}

fn hidden_layers(depth: usize) -> String {
    match depth {
        0 | 1 => "the network has no hidden layer".into(),
        2 => "there is no such hidden layer, the only one is 1".into(),
        _ => format!("there is no such hidden layer, they are 1 to {}", depth - 1),
    }
}

fn count(n: usize) -> String {
    if n == 1 { "1 unit".into() } else { format!("{n} units") }
}
