//! A Gaussian over the parameters of a network, with any covariance structure.

use core_tensors::{Layout, Rng, Slice};

use crate::checks;
use crate::error::Result;
use crate::structure::{Covariance, GaussianDensity, Structure, renumbered};

/// N(m, Ψ) over vec(·) of a layout; S is the structure of Ψ and no edit changes it.
///
/// ```
/// use bayes_posterior::{Full, Gaussian, faer::Mat};
/// use core_tensors::{Block, Layout, Slice};
/// # fn main() -> bayes_posterior::Result<()> {
/// // Two weights of covariance ½; the first turns out to be 0.
/// let layout = Layout { blocks: vec![Block { rows: 1, cols: 2 }] };
/// let covariance = Full::new(Mat::from_fn(2, 2, |i, j| if i == j { 1.0 } else { 0.5 }))?;
/// let gaussian = Gaussian::new(layout, vec![1.0, 1.0], covariance)?;
/// let (rest, _) = gaussian.condition(&Slice::Cols { block: 0, cols: vec![0] }, &[0.0])?;
/// assert_eq!(rest.mean(), [0.5]); // 1 + ½ (0 − 1)
/// assert_eq!(rest.covariance().matrix()[(0, 0)], 0.75); // 1 − ½ · ½
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Gaussian<S> {
    layout: Layout,
    mean: Vec<f64>,
    covariance: S,
}

impl<S: Covariance> Gaussian<S> {
    /// A Gaussian from its mean, (p,), and its covariance, over the parameters of a layout.
    pub fn new(layout: Layout, mean: Vec<f64>, covariance: S) -> Result<Self> {
        checks::length("numbers of a posterior mean", layout.n_parameters(), mean.len())?;
        checks::all_finite("mean", &mean)?;
        covariance.check(&layout)?;
        Ok(Self { layout, mean, covariance })
    }

    /// Order and shapes of the blocks.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// m, (p,).
    pub fn mean(&self) -> &[f64] {
        &self.mean
    }

    /// Ψ.
    pub fn covariance(&self) -> &S {
        &self.covariance
    }

    /// log N(w; m, Ψ) = −½ { p log 2π + log |Ψ| + (w − m)ᵀ Ψ⁻¹ (w − m) }
    pub fn log_density(&self, w: &[f64]) -> Result<f64> {
        checks::length("numbers of a point", self.mean.len(), w.len())?;
        let residual: Vec<f64> = w.iter().zip(&self.mean).map(|(w, m)| w - m).collect();
        let quadratic = self.covariance.precision_quadratic(&residual)?;
        let density =
            GaussianDensity { n: w.len(), quadratic, log_det: self.covariance.log_det()? };
        Ok(density.log_density())
    }

    /// One draw, (p,).
    pub fn sample(&self, rng: &mut Rng) -> Result<Vec<f64>> {
        let mut w = self.covariance.sample(rng)?;
        w.iter_mut().zip(&self.mean).for_each(|(w, m)| *w += m);
        Ok(w)
    }
}

/// What results belong to in messages.
const LEFT: &str = "of what an edit leaves";
const FIXED: &str = "the numbers that an edit fixes";

impl<S: Structure> Gaussian<S> {
    /// A result whose numbers must be finite, and its variances positive.
    fn left(layout: Layout, mean: Vec<f64>, covariance: S) -> Result<Self> {
        checks::of_result(LEFT, checks::all_finite("mean", &mean))?;
        checks::of_result(LEFT, covariance.check_numbers())?;
        Ok(Self { layout, mean, covariance })
    }

    /// The distribution of the rest given the values ν of a slice (positions ascending), and what the values cost.
    ///
    /// m_k + Ψ_kd Ψ_dd⁻¹ (ν − m_d),  Ψ_kk − Ψ_kd Ψ_dd⁻¹ Ψ_dk
    ///
    /// With Ψ the inverse of a Hessian the mean is the optimal brain surgeon's update of several weights at once.
    pub fn condition(&self, slice: &Slice, values: &[f64]) -> Result<(Self, GaussianDensity)> {
        let (fixed, kept) = self.layout.split(slice)?;
        let residual = self.residual(&fixed, values)?;
        let result = self.covariance.condition(&self.layout, slice, &residual)?;
        let moved = kept.iter().zip(&result.shift).map(|(&i, shift)| self.mean[i] + shift);
        let (layout, mean) = (self.layout.without(slice)?, moved.collect());
        let density = result.density.checked(FIXED)?;
        Ok((Self::left(layout, mean, result.covariance)?, density))
    }

    /// [`Gaussian::condition`] on one slice with a slice of another block integrated out.
    pub fn condition_and_drop(
        &self,
        slice: &Slice,
        values: &[f64],
        dropped: &Slice,
    ) -> Result<(Self, GaussianDensity)> {
        let (fixed, rest) = self.layout.split(slice)?;
        let (gone, _) = self.layout.split(dropped)?;
        let residual = self.residual(&fixed, values)?;
        let result = self.covariance.condition_and_drop(&self.layout, slice, &residual, dropped)?;
        let kept = rest.iter().filter(|i| gone.binary_search(i).is_err());
        let mean = kept.zip(&result.shift).map(|(&i, shift)| self.mean[i] + shift).collect();
        let layout = self.layout.without(dropped)?.without(&renumbered(slice, dropped))?;
        let density = result.density.checked(FIXED)?;
        Ok((Self::left(layout, mean, result.covariance)?, density))
    }

    /// The distribution of the rest with a slice integrated out: m_k, Ψ_kk.
    pub fn marginalize(&self, slice: &Slice) -> Result<Self> {
        let (_, kept) = self.layout.split(slice)?;
        let covariance = self.covariance.marginalize(&self.layout, slice)?;
        let mean = kept.iter().map(|&i| self.mean[i]).collect();
        Self::left(self.layout.without(slice)?, mean, covariance)
    }

    /// The joint density of a slice at the values ν, the rest integrated out.
    pub fn marginal_density(&self, slice: &Slice, values: &[f64]) -> Result<GaussianDensity> {
        let fixed = self.layout.positions(slice)?;
        self.covariance
            .marginal_density(&self.layout, slice, &self.residual(&fixed, values)?)?
            .checked(FIXED)
    }

    /// The same distribution with the columns of a block in another order: new column j was column `order[j]`.
    pub fn permute_columns(&self, block: usize, order: &[usize]) -> Result<Self> {
        let covariance = self.covariance.permute_columns(&self.layout, block, order)?;
        let from = permuted_positions(&self.layout, block, order);
        let mean = from.iter().map(|&i| self.mean[i]).collect();
        Ok(Self { layout: self.layout.clone(), mean, covariance })
    }

    fn residual(&self, fixed: &[usize], values: &[f64]) -> Result<Vec<f64>> {
        checks::length("values of a slice", fixed.len(), values.len())?;
        Ok(fixed.iter().zip(values).map(|(&i, v)| v - self.mean[i]).collect())
    }
}

/// For every position after a change of columns, the position before it.
pub(crate) fn permuted_positions(layout: &Layout, block: usize, order: &[usize]) -> Vec<usize> {
    let mut from: Vec<usize> = (0..layout.n_parameters()).collect();
    if let (Some(range), Some(shape)) = (layout.ranges().get(block), layout.blocks.get(block)) {
        for row in 0..shape.rows {
            let start = range.start + row * shape.cols;
            for (j, &i) in order.iter().enumerate() {
                from[start + j] = start + i;
            }
        }
    }
    from
}
