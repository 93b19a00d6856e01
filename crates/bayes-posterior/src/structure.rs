//! What a covariance can do: the verbs that divergences, samples and edits are made of, and where their shapes are checked.

use core_tensors::{Layout, Rng, Slice};
use faer::Mat;

use crate::checks;
use crate::error::{Error, Result};

/// A covariance matrix Ψ over the parameters of a network.
///
/// Every verb that takes a vector or a layout refuses one that does not fit, here, before the family sees it: the
/// methods of a family end in `_unchecked`. Verbs that need Ψ to be positive definite say so by
/// [`core_tensors::Error::NotPositiveDefinite`]. The trait is sealed: a family is added here, with its tests against
/// the dense one.
pub trait Covariance: Clone + sealed::Sealed + Sized {
    /// Name of the family in files and on the command line.
    const NAME: &'static str;

    /// Whether Ψ is diagonal, so that each parameter's divergence is its own.
    const IS_INDEPENDENT: bool = false;

    /// p: number of parameters.
    fn n_parameters(&self) -> usize;

    /// Whether this covariance belongs to parameters of a layout.
    fn check(&self, layout: &Layout) -> Result<()>;

    /// Refuses a Ψ that is not positive definite, with the pivot that is not positive.
    ///
    /// A structure that is positive definite by construction has nothing to refuse; the others are factored, p³/3
    /// operations for a dense Ψ.
    fn check_positive_definite(&self) -> Result<()>;

    /// Refuses a number of the structure that is not finite, or a variance that is not positive.
    #[doc(hidden)]
    fn check_numbers(&self) -> Result<()>;

    /// Covariance of the columns of a block, averaged over its rows: (cols, cols).
    ///
    /// With Ψ^{ij} the covariance between rows i and j, n⁻¹ Σᵢ Ψ^{ii}.
    fn column_covariance(&self, layout: &Layout, block: usize) -> Result<Mat<f64>> {
        self.check(layout)?;
        checks::block(layout, block)?;
        self.column_covariance_unchecked(layout, block)
    }

    /// Ψ x, (p,).
    fn apply(&self, x: &[f64]) -> Result<Vec<f64>> {
        checks::length("numbers of a vector", self.n_parameters(), x.len())?;
        self.apply_unchecked(x)
    }

    /// Ψ⁻¹ x, (p,).
    fn solve(&self, x: &[f64]) -> Result<Vec<f64>> {
        checks::length("numbers of a vector", self.n_parameters(), x.len())?;
        self.solve_unchecked(x)
    }

    /// xᵀ Ψ⁻¹ x
    fn precision_quadratic(&self, x: &[f64]) -> Result<f64> {
        checks::length("numbers of a vector", self.n_parameters(), x.len())?;
        self.precision_quadratic_unchecked(x)
    }

    /// (Ψ⁻¹)ᵢᵢ, (p,).
    fn precision_diagonal(&self) -> Result<Vec<f64>>;

    /// log |Ψ|
    fn log_det(&self) -> Result<f64>;

    /// Ψᵢᵢ, (p,).
    fn diagonal(&self) -> Result<Vec<f64>>;

    /// One draw from N(0, Ψ), (p,).
    fn sample(&self, rng: &mut Rng) -> Result<Vec<f64>>;

    /// Columns in the order in which fixing them at 0 costs least, with the cost in nats that each adds given those
    /// before it.
    #[doc(hidden)]
    fn greedy_columns_unchecked(&self, outgoing: &Outgoing) -> Result<Vec<(usize, f64)>>;

    #[doc(hidden)]
    fn column_covariance_unchecked(&self, layout: &Layout, block: usize) -> Result<Mat<f64>>;

    #[doc(hidden)]
    fn apply_unchecked(&self, x: &[f64]) -> Result<Vec<f64>>;

    #[doc(hidden)]
    fn solve_unchecked(&self, x: &[f64]) -> Result<Vec<f64>>;

    #[doc(hidden)]
    fn precision_quadratic_unchecked(&self, x: &[f64]) -> Result<f64>;
}

/// A family of covariance matrices that conditioning and marginalizing do not leave.
///
/// Positions are those of vec(·); a `residual` is ν − m over the positions of a slice, ascending. The trait is sealed.
pub trait Structure: Covariance {
    /// What is left once a slice is fixed `residual` away from its mean:
    /// Ψ_kk − Ψ_kd Ψ_dd⁻¹ Ψ_dk, and the move of the mean Ψ_kd Ψ_dd⁻¹ r.
    fn condition(
        &self,
        layout: &Layout,
        slice: &Slice,
        residual: &[f64],
    ) -> Result<Conditioned<Self>> {
        self.check(layout)?;
        layout.without(slice)?;
        let on = Condition { layout, slice, residual };
        on.check()?;
        self.condition_unchecked(&on)
    }

    /// The same with another slice, of another block, integrated out: one pass where the family allows it.
    fn condition_and_drop(
        &self,
        layout: &Layout,
        fixed: &Slice,
        residual: &[f64],
        dropped: &Slice,
    ) -> Result<Conditioned<Self>> {
        self.check(layout)?;
        let on = Condition { layout, slice: fixed, residual };
        on.check()?;
        if fixed.block() == dropped.block() {
            return Err(Error::SameBlock { block: fixed.block() });
        }
        layout.without(dropped)?.without(&renumbered(fixed, dropped))?;
        self.condition_and_drop_unchecked(&on, dropped)
    }

    /// What is left once a slice is integrated out: Ψ_kk.
    fn marginalize(&self, layout: &Layout, slice: &Slice) -> Result<Self> {
        self.check(layout)?;
        layout.without(slice)?;
        self.marginalize_unchecked(layout, slice)
    }

    /// The joint log-density of a slice `residual` away from its mean, without the rest.
    fn marginal_density(
        &self,
        layout: &Layout,
        slice: &Slice,
        residual: &[f64],
    ) -> Result<GaussianDensity> {
        self.check(layout)?;
        let on = Condition { layout, slice, residual };
        on.check()?;
        self.density_unchecked(&on)
    }

    /// The covariance after the columns of a block change places: new column j was column `order[j]`; columns behind
    /// the end of `order` (the bias) stay.
    fn permute_columns(&self, layout: &Layout, block: usize, order: &[usize]) -> Result<Self> {
        self.check(layout)?;
        checks::column_order(layout, block, order)?;
        self.permuted_unchecked(layout, block, order)
    }

    /// tr(self⁻¹ other): what the divergence between members of one family needs.
    fn trace_ratio(&self, other: &Self) -> Result<f64> {
        self.check_same_shape(other)?;
        self.trace_ratio_unchecked(other)
    }

    #[doc(hidden)]
    fn condition_unchecked(&self, on: &Condition) -> Result<Conditioned<Self>>;

    #[doc(hidden)]
    fn condition_and_drop_unchecked(
        &self,
        on: &Condition,
        dropped: &Slice,
    ) -> Result<Conditioned<Self>> {
        let left = self.marginalize_unchecked(on.layout, dropped)?;
        let (layout, slice) = (&on.layout.without(dropped)?, &renumbered(on.slice, dropped));
        left.condition_unchecked(&Condition { layout, slice, residual: on.residual })
    }

    #[doc(hidden)]
    fn marginalize_unchecked(&self, layout: &Layout, slice: &Slice) -> Result<Self>;

    #[doc(hidden)]
    fn density_unchecked(&self, on: &Condition) -> Result<GaussianDensity>;

    #[doc(hidden)]
    fn permuted_unchecked(&self, layout: &Layout, block: usize, order: &[usize]) -> Result<Self>;

    #[doc(hidden)]
    fn trace_ratio_unchecked(&self, other: &Self) -> Result<f64>;

    /// Whether both are over parameters of the same shape.
    #[doc(hidden)]
    fn check_same_shape(&self, other: &Self) -> Result<()> {
        checks::length("parameters of a covariance", self.n_parameters(), other.n_parameters())
    }
}

/// What is conditioned on: a slice of a layout, `residual` = ν − m away from its mean, ascending.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Condition<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) slice: &'a Slice,
    pub(crate) residual: &'a [f64],
}

impl Condition<'_> {
    fn check(&self) -> Result<()> {
        let n = self.layout.positions(self.slice)?.len();
        checks::length("values of a slice", n, self.residual.len())
    }
}

/// The outgoing weights of some units: the first `n_columns` columns of a block; `mean` is that of all parameters.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) block: usize,
    pub(crate) mean: &'a [f64],
    pub(crate) n_columns: usize,
}

/// A covariance after a slice was fixed.
#[derive(Clone, Debug)]
pub struct Conditioned<S> {
    /// Of what is left.
    pub covariance: S,
    /// What the mean of what is left moves by.
    pub shift: Vec<f64>,
    /// What the fixed numbers cost.
    pub density: GaussianDensity,
}

/// The joint density N(ν; m, Ψ_dd) of fixed numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GaussianDensity {
    /// d: how many numbers.
    pub n: usize,
    /// (ν − m)ᵀ Ψ_dd⁻¹ (ν − m)
    pub quadratic: f64,
    /// log |Ψ_dd|
    pub log_det: f64,
}

impl GaussianDensity {
    /// log N(m; m, Ψ_dd) = −½ (d log 2π + log |Ψ_dd|): the density at the mean.
    pub fn log_density_at_mean(&self) -> f64 {
        -0.5 * (self.n as f64 * std::f64::consts::TAU.ln() + self.log_det)
    }

    /// log N(ν; m, Ψ_dd): the density at the fixed values.
    pub fn log_density(&self) -> f64 {
        self.log_density_at_mean() - self.cost()
    }

    /// ½ (ν − m)ᵀ Ψ_dd⁻¹ (ν − m) in nats: what the density loses from the mean to the fixed values.
    pub fn cost(&self) -> f64 {
        0.5 * self.quadratic
    }

    /// Refuses a density that is not finite, `of` saying of what.
    pub(crate) fn checked(self, of: &str) -> Result<Self> {
        checks::computed(&format!("the quadratic form of {of}"), self.quadratic)?;
        checks::computed(&format!("log |Ψ| of {of}"), self.log_det)?;
        Ok(self)
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

/// The same slice once another block's slice is gone: blocks behind a removed one move up.
pub(crate) fn renumbered(slice: &Slice, gone: &Slice) -> Slice {
    let block = match gone {
        Slice::Block { block } if *block < slice.block() => slice.block() - 1,
        _ => slice.block(),
    };
    match slice {
        Slice::Rows { rows, .. } => Slice::Rows { block, rows: rows.clone() },
        Slice::Cols { cols, .. } => Slice::Cols { block, cols: cols.clone() },
        Slice::Block { .. } => Slice::Block { block },
    }
}

pub(crate) mod sealed {
    /// Keeps the set of covariances closed.
    pub trait Sealed {}
    impl Sealed for crate::BlockDiagonal {}
    impl Sealed for crate::Diagonal {}
    impl Sealed for crate::Full {}
    impl Sealed for crate::Kronecker {}
    impl Sealed for crate::KroneckerEigen {}
    impl Sealed for crate::LowRank {}
}
