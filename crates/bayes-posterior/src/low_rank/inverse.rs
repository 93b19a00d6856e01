//! The inverse of D + F Fᵀ without a difference of nearly equal numbers.

use core_tensors::linalg::{TallQr, dot};
use faer::{Mat, MatRef};

use crate::error::Result;

/// Rows of a larger leverage are looked at without themselves; of these there are at most 2r, as leverages sum to r
/// at most.
const LARGE_LEVERAGE: f64 = 0.5;

/// What the verbs of (D + F Fᵀ)⁻¹ need, with B = D^{−½} F, (p, r).
///
/// (D + F Fᵀ)⁻¹ = D^{−½} (I − B (I + BᵀB)⁻¹ Bᵀ) D^{−½}, whose diagonal is (1 − hᵢ) / dᵢ with the leverages
/// hᵢ = bᵢᵀ (I + BᵀB)⁻¹ bᵢ. Where hᵢ is near 1 the difference has no digits left. There 1 − hᵢ = 1 / (1 + sᵢ) with
/// sᵢ = bᵢᵀ (I + B₋ᵢᵀB₋ᵢ)⁻¹ bᵢ, B₋ᵢ without row i, is a quotient of positive numbers, and for a vector
/// row i of the product is (xᵢ − x̂ᵢ) / (dᵢ (1 + sᵢ)), x̂ᵢ the ridge prediction of xᵢ from the other rows.
#[derive(Clone, Debug)]
pub(super) struct Inverse {
    /// [B; I] without the rows of large leverage.
    rest: TallQr,
    /// The same Gram matrix as [B; I]: a small matrix for the rest over the rows of large leverage.
    whole: TallQr,
    /// hᵢ of the rows of small leverage.
    leverages: Vec<f64>,
    /// Rows of small leverage, ascending.
    ordinary: Vec<usize>,
    large: Vec<Alone>,
}

/// A row of large leverage.
#[derive(Clone, Debug)]
struct Alone {
    row: usize,
    /// sᵢ
    excess: f64,
    /// Everything but this row, as in [`Inverse::whole`].
    others: TallQr,
}

impl Inverse {
    /// From F, (p, r), and d, (p,), each in (0, ∞).
    pub(super) fn new(factor: MatRef<f64>, diagonal: &[f64]) -> Result<Self> {
        let (p, r) = factor.shape();
        let all = capacitance(factor, diagonal)?;
        let leverages = all.leverages();
        let is_large = |i: &usize| leverages[*i] > LARGE_LEVERAGE;
        let (large, ordinary): (Vec<usize>, Vec<usize>) = (0..p).partition(is_large);
        let b = |i: usize, j: usize| factor[(i, j)] / diagonal[i].sqrt();
        let rest = if large.is_empty() {
            all
        } else {
            let rows = ordinary.len();
            TallQr::new(
                Mat::from_fn(rows + r, r, |i, j| match i.checked_sub(rows) {
                    None => b(ordinary[i], j),
                    Some(k) => f64::from(k == j),
                })
                .as_ref(),
            )?
        };
        let small = rest.small();
        // The rest as one small matrix over some rows of large leverage.
        let over = |rows: &[usize]| {
            let entry = |i: usize, j: usize| match i.checked_sub(r) {
                None => small[(i, j)],
                Some(k) => b(rows[k], j),
            };
            Ok::<_, crate::Error>(TallQr::new(Mat::from_fn(r + rows.len(), r, entry).as_ref())?)
        };
        let alone = |&row: &usize| {
            let others: Vec<usize> = large.iter().copied().filter(|&i| i != row).collect();
            let others = over(&others)?;
            let own = Mat::from_fn(r, 1, |j, _| b(row, j));
            let excess = others.half_solve(own.as_ref())?.squared_norm_l2();
            Ok(Alone { row, excess, others })
        };
        Ok(Self {
            whole: over(&large)?,
            rest,
            leverages: ordinary.iter().map(|&i| leverages[i]).collect(),
            large: large.iter().map(alone).collect::<Result<_>>()?,
            ordinary,
        })
    }

    /// Diagonal of the inverse, (p,).
    pub(super) fn diagonal(&self, diagonal: &[f64]) -> Vec<f64> {
        let mut inverse = vec![0.0; diagonal.len()];
        for (&i, h) in self.ordinary.iter().zip(&self.leverages) {
            inverse[i] = (1.0 - h) / diagonal[i];
        }
        for Alone { row, excess, .. } in &self.large {
            inverse[*row] = 1.0 / (diagonal[*row] * (1.0 + excess));
        }
        inverse
    }

    /// (D + F Fᵀ)⁻¹ x, (p,), and z = Fᵀ (D + F Fᵀ)⁻¹ x, (r,), for which xᵀ (D + F Fᵀ)⁻¹ x = Σ dᵢ yᵢ² + ‖z‖².
    pub(super) fn apply(
        &self,
        factor: MatRef<f64>,
        diagonal: &[f64],
        x: &[f64],
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        let r = factor.ncols();
        let scaled = |i: usize| x[i] / diagonal[i].sqrt();
        let mut target: Vec<f64> = self.ordinary.iter().map(|&i| scaled(i)).collect();
        target.resize(target.len() + r, 0.0);
        let projected = self.rest.project(&target)?; // (r,)
        let predict = |qr: &TallQr, without: Option<usize>| {
            let rows = self.large.iter().map(|alone| alone.row);
            let rows = rows.filter(|row| Some(*row) != without).map(scaled);
            let target: Vec<f64> = projected.iter().copied().chain(rows).collect();
            qr.least_squares(&target)
        };
        let residual = |i: usize, z: &[f64]| {
            x[i] - factor.row(i).iter().zip(z).map(|(f, z)| f * z).sum::<f64>()
        };
        let z = predict(&self.whole, None)?;
        let mut y = vec![0.0; x.len()];
        for &i in &self.ordinary {
            y[i] = residual(i, &z) / diagonal[i];
        }
        for Alone { row, excess, others } in &self.large {
            let gap = residual(*row, &predict(others, Some(*row))?);
            y[*row] = gap / (diagonal[*row] * (1.0 + excess));
        }
        Ok((y, z))
    }

    /// (D + F Fᵀ)⁻¹ F u = D⁻¹ F (I + BᵀB)⁻¹ u, (p,), for u of shape (r,).
    pub(super) fn apply_to_factor(
        &self,
        factor: MatRef<f64>,
        diagonal: &[f64],
        u: &[f64],
    ) -> Result<Vec<f64>> {
        let row = |i: usize, z: &[f64]| factor.row(i).iter().zip(z).map(|(f, z)| f * z).sum();
        let z = self.whole.solve(u)?;
        let mut y: Vec<f64> = (0..diagonal.len()).map(|i| row(i, &z)).collect::<Vec<f64>>();
        y.iter_mut().zip(diagonal).for_each(|(y, d)| *y /= d);
        for Alone { row: i, excess, others } in &self.large {
            let own: f64 = row(*i, &others.solve(u)?);
            y[*i] = own / (diagonal[*i] * (1.0 + excess));
        }
        Ok(y)
    }

    /// xᵀ (D + F Fᵀ)⁻¹ x = Σ dᵢ yᵢ² + ‖z‖², y and z as in [`Inverse::apply`].
    pub(super) fn quadratic(
        &self,
        factor: MatRef<f64>,
        diagonal: &[f64],
        x: &[f64],
    ) -> Result<f64> {
        let (y, z) = self.apply(factor, diagonal, x)?;
        Ok(y.iter().zip(diagonal).map(|(y, d)| d * y * y).sum::<f64>() + dot(&z, &z))
    }

    /// W with (D + F Fᵀ)⁻¹ = D⁻¹ − W Wᵀ, (p, r): off the diagonal it has all its digits.
    pub(super) fn outer(&self, factor: MatRef<f64>, diagonal: &[f64]) -> Result<Mat<f64>> {
        let scaled =
            Mat::from_fn(factor.ncols(), factor.nrows(), |j, i| factor[(i, j)] / diagonal[i]);
        Ok(self.whole.half_solve(scaled.as_ref())?.transpose().to_owned())
    }

    /// Rows whose columns of the inverse are to be taken from [`Inverse::apply`].
    pub(super) fn large_rows(&self) -> impl Iterator<Item = usize> {
        self.large.iter().map(|alone| alone.row)
    }
}

/// [D^{−½} F; I], whose Gram matrix is I + Fᵀ D⁻¹ F.
pub(super) fn capacitance(factor: MatRef<f64>, diagonal: &[f64]) -> Result<TallQr> {
    let (p, r) = factor.shape();
    let entry = |i: usize, j: usize| match i.checked_sub(p) {
        None => factor[(i, j)] / diagonal[i].sqrt(),
        Some(k) => f64::from(k == j),
    };
    Ok(TallQr::new(Mat::from_fn(p + r, r, entry).as_ref())?)
}
