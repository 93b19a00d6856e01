//! What a covariance structure can do: the verbs that edits, divergences and samples are made of.

use core_tensors::{Layout, Rng, Slice};
use faer::Mat;

use crate::error::Result;

/// A family of covariance matrices Ψ that conditioning and marginalising do not leave.
///
/// Positions are those of vec(·); a `residual` is ν − m over the positions of a slice, ascending. Verbs that need
/// Ψ to be positive definite say so by [`core_tensors::Error::NotPositiveDefinite`]. The trait is sealed: a family
/// is added here, with its tests against the dense one.
pub trait Structure: Clone + sealed::Sealed + Sized {
    /// Name of the family in files and on the command line.
    const NAME: &'static str;

    /// Whether Ψ is diagonal, so that each parameter's divergence is its own.
    const IS_INDEPENDENT: bool = false;

    /// p: number of parameters.
    fn n_parameters(&self) -> usize;

    /// Whether this covariance belongs to parameters of a layout.
    fn check(&self, layout: &Layout) -> Result<()>;

    /// What is left once a slice is pinned `residual` away from its mean:
    /// Ψ_kk − Ψ_kd Ψ_dd⁻¹ Ψ_dk, and the move of the mean Ψ_kd Ψ_dd⁻¹ r.
    fn condition(
        &self,
        layout: &Layout,
        slice: &Slice,
        residual: &[f64],
    ) -> Result<Conditioned<Self>>;

    /// The same with another slice, of another block, integrated out: one pass where the family allows it.
    fn condition_and_drop(
        &self,
        layout: &Layout,
        pinned: &Slice,
        residual: &[f64],
        dropped: &Slice,
    ) -> Result<Conditioned<Self>> {
        // Blocks keep their numbers when rows go, so `pinned` means the same afterwards.
        self.marginalize(layout, dropped)?.condition(&layout.without(dropped)?, pinned, residual)
    }

    /// What is left once a slice is integrated out: Ψ_kk.
    fn marginalize(&self, layout: &Layout, slice: &Slice) -> Result<Self>;

    /// The joint log-density of a slice `residual` away from its mean, without the rest.
    fn pin(&self, layout: &Layout, slice: &Slice, residual: &[f64]) -> Result<Pin>;

    /// The covariance after the columns of a block change places: new column j was column `order[j]`; columns behind
    /// the end of `order` (the bias) stay.
    fn permute_columns(&self, layout: &Layout, block: usize, order: &[usize]) -> Result<Self>;

    /// Covariance of the columns of a block, averaged over its rows: (cols, cols).
    ///
    /// With Ψ^{ij} the covariance between rows i and j, n⁻¹ Σᵢ Ψ^{ii}.
    fn column_covariance(&self, layout: &Layout, block: usize) -> Result<Mat<f64>>;

    /// Ψ x, (p,).
    fn apply(&self, x: &[f64]) -> Result<Vec<f64>>;

    /// Ψ⁻¹ x, (p,).
    fn solve(&self, x: &[f64]) -> Result<Vec<f64>>;

    /// (Ψ⁻¹)ᵢᵢ, (p,).
    fn precision_diagonal(&self) -> Result<Vec<f64>>;

    /// log |Ψ|
    fn log_det(&self) -> Result<f64>;

    /// Ψᵢᵢ, (p,).
    fn diagonal(&self) -> Result<Vec<f64>>;

    /// xᵀ Ψ⁻¹ x
    fn precision_quadratic(&self, x: &[f64]) -> Result<f64>;

    /// One draw from N(0, Ψ), (p,).
    fn sample(&self, rng: &mut Rng) -> Result<Vec<f64>>;

    /// tr(self⁻¹ other): what the divergence between members of one family needs.
    fn trace_ratio(&self, other: &Self) -> Result<f64>;
}

/// A covariance after a slice was pinned.
#[derive(Clone, Debug)]
pub struct Conditioned<S> {
    /// Of what is left.
    pub covariance: S,
    /// What the mean of what is left moves by.
    pub shift: Vec<f64>,
    /// What the pinned numbers cost.
    pub pin: Pin,
}

/// The joint density N(ν; m, Ψ_dd) of pinned numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pin {
    /// d: how many numbers.
    pub n: usize,
    /// (ν − m)ᵀ Ψ_dd⁻¹ (ν − m)
    pub quadratic: f64,
    /// log |Ψ_dd|
    pub log_det: f64,
}

impl Pin {
    /// log N(m; m, Ψ_dd) = −½ (d log 2π + log |Ψ_dd|): the density at the mean.
    pub fn log_density_at_mean(&self) -> f64 {
        -0.5 * (self.n as f64 * std::f64::consts::TAU.ln() + self.log_det)
    }

    /// log N(ν; m, Ψ_dd): the density at the pinned values.
    pub fn log_density(&self) -> f64 {
        self.log_density_at_mean() - self.cost()
    }

    /// ½ (ν − m)ᵀ Ψ_dd⁻¹ (ν − m) in nats: what the density loses from the mean to the pinned values.
    pub fn cost(&self) -> f64 {
        0.5 * self.quadratic
    }

    /// The density of two independent groups of numbers together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            quadratic: self.quadratic + other.quadratic,
            log_det: self.log_det + other.log_det,
        }
    }
}

pub(crate) mod sealed {
    /// Keeps the set of structures closed.
    pub trait Sealed {}
    impl Sealed for crate::BlockDiagonal {}
    impl Sealed for crate::Diagonal {}
    impl Sealed for crate::Full {}
    impl Sealed for crate::Kronecker {}
    impl Sealed for crate::LowRank {}
}
