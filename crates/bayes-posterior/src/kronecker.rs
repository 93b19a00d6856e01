//! Matrix-normal layers: Ψ_t = R_t ⊗ C_t, nothing between layers.

use core_tensors::linalg::{Cholesky, gather, product};
use core_tensors::{Block, Layout, Rng, Slice};
use faer::{Mat, MatMut, MatRef};

use crate::checks;
use crate::error::Result;
use crate::full::Full;
use crate::greedy;
use crate::structure::{Condition, Conditioned, Covariance, GaussianDensity, Outgoing, Structure};

/// One layer: cov(U_ia, U_jb) = R_ij C_ab.
#[derive(Clone, Debug)]
pub struct Factors {
    /// R, (n_t, n_t): between units.
    pub rows: Full,
    /// C, (cols, cols): between inputs, the bias last.
    pub columns: Full,
}

/// Ψ = diag(R_1 ⊗ C_1, …), row-major vec.
///
/// Removing units leaves it Kronecker: rows of U are rows of R, columns of U are rows of C.
///
/// ```
/// use bayes_posterior::{Covariance, Factors, Kronecker, faer::Mat};
/// # fn main() -> bayes_posterior::Result<()> {
/// // Two units with one input each and a bias: four parameters.
/// let units = Mat::from_fn(2, 2, |i, j| if i == j { 3.0 } else { 1.0 });
/// let inputs = Mat::from_fn(2, 2, |i, j| if i == j { 2.0 } else { 0.0 });
/// let covariance = Kronecker::new(vec![Factors::new(units, inputs)?]);
/// assert_eq!(covariance.diagonal()?, [6.0; 4]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Kronecker {
    layers: Vec<Factors>,
}

impl Factors {
    /// From R and C, each symmetric and positive definite.
    pub fn new(rows: Mat<f64>, columns: Mat<f64>) -> Result<Self> {
        let rows = Full::named("the rows of a Kronecker layer", rows)?;
        Ok(Self { rows, columns: Full::named("the columns of a Kronecker layer", columns)? })
    }

    fn n_parameters(&self) -> usize {
        self.rows.n_parameters() * self.columns.n_parameters()
    }

    /// A matrix over the layer, (n_t, cols), of numbers in row-major vec.
    fn matrix<'a>(&self, x: &'a [f64]) -> MatRef<'a, f64> {
        MatRef::from_row_major_slice(x, self.rows.n_parameters(), self.columns.n_parameters())
    }

    /// Fixes all rows of some columns.
    fn condition_columns(&self, cols: &[usize], residual: &[f64]) -> Result<Conditioned<Self>> {
        let kept = complement(cols, self.columns.n_parameters());
        let residual = MatRef::from_row_major_slice(residual, self.rows.n_parameters(), cols.len());
        let half = half_condition(&self.columns, &self.rows, cols, &kept, residual)?;
        let covariance = Self { rows: self.rows.clone(), columns: half.covariance };
        Ok(Conditioned { covariance, shift: row_major(half.shift.as_ref()), density: half.density })
    }

    /// Fixes all columns of some rows: the same with the roles exchanged.
    fn condition_rows(&self, rows: &[usize], residual: &[f64]) -> Result<Conditioned<Self>> {
        let kept = complement(rows, self.rows.n_parameters());
        let n_cols = self.columns.n_parameters();
        let residual = MatRef::from_row_major_slice(residual, rows.len(), n_cols).transpose();
        let half = half_condition(&self.rows, &self.columns, rows, &kept, residual)?;
        let covariance = Self { rows: half.covariance, columns: self.columns.clone() };
        Ok(Conditioned {
            covariance,
            shift: row_major(half.shift.transpose()),
            density: half.density,
        })
    }

    /// The density of the rows and columns that two factors span.
    fn density(rows: &Cholesky, columns: &Cholesky, residual: MatRef<f64>) -> GaussianDensity {
        let (n, c) = (residual.nrows(), residual.ncols());
        let mut half = residual.to_owned();
        rows.half_solve(half.as_mut());
        let mut half = half.transpose().to_owned();
        columns.half_solve(half.as_mut());
        let log_det = c as f64 * rows.log_det() + n as f64 * columns.log_det();
        GaussianDensity { n: n * c, quadratic: half.squared_norm_l2(), log_det }
    }
}

struct Half {
    covariance: Full,
    shift: Mat<f64>,
    density: GaussianDensity,
}

/// Conditions `along` on the indices `fixed`; `across` is the other factor, `residual` (across, fixed).
fn half_condition(
    along: &Full,
    across: &Full,
    fixed: &[usize],
    kept: &[usize],
    residual: MatRef<f64>,
) -> Result<Half> {
    let factor = Cholesky::in_place(gather(along.matrix(), fixed, fixed))?;
    let density = Factors::density(across.factor()?, &factor, residual);
    let cross = gather(along.matrix(), fixed, kept); // (d, k)
    let mut solved = residual.transpose().to_owned(); // (d, across)
    factor.solve(solved.as_mut());
    let shift = product(solved.transpose(), cross.as_ref()); // (across, k)
    // The covariance alone: its mean moved above, for all rows at once.
    let covariance = along.condition_on(kept, fixed, &vec![0.0; fixed.len()])?.covariance;
    Ok(Half { covariance, shift, density })
}

fn complement(indices: &[usize], n: usize) -> Vec<usize> {
    (0..n).filter(|i| !indices.contains(i)).collect()
}

fn sorted(indices: &[usize]) -> Vec<usize> {
    let mut sorted = indices.to_vec();
    sorted.sort_unstable();
    sorted
}

pub(crate) fn row_major(a: MatRef<f64>) -> Vec<f64> {
    (0..a.nrows()).flat_map(|i| (0..a.ncols()).map(move |j| a[(i, j)])).collect()
}

impl Kronecker {
    /// From the factors of each layer, input side first.
    pub fn new(layers: Vec<Factors>) -> Self {
        Self { layers }
    }

    /// The factors of each layer.
    pub fn layers(&self) -> &[Factors] {
        &self.layers
    }

    /// Every factor with what messages call it; layers count from 1.
    fn named(&self) -> impl Iterator<Item = (String, &Full)> {
        self.layers.iter().enumerate().flat_map(|(i, layer)| {
            let name = |of: &str| format!("the {of} of Kronecker layer {}", i + 1);
            [(name("rows"), &layer.rows), (name("columns"), &layer.columns)]
        })
    }

    /// Numbers computed layer by layer.
    fn each(
        &self,
        x: &[f64],
        of: impl Fn(&Factors, MatRef<f64>) -> Result<Mat<f64>>,
    ) -> Result<Vec<f64>> {
        let (mut all, mut start) = (Vec::with_capacity(x.len()), 0);
        for layer in &self.layers {
            let end = start + layer.n_parameters();
            all.extend(row_major(of(layer, layer.matrix(&x[start..end]))?.as_ref()));
            start = end;
        }
        Ok(all)
    }

    /// Rows and columns of each layer.
    fn layout(&self) -> Layout {
        let block =
            |l: &Factors| Block { rows: l.rows.n_parameters(), cols: l.columns.n_parameters() };
        Layout { blocks: self.layers.iter().map(block).collect() }
    }

    /// Outer products of a number for each row and a number for each column.
    fn outer(&self, of: impl Fn(&Full) -> Result<Vec<f64>>) -> Result<Vec<f64>> {
        let mut all = Vec::with_capacity(self.n_parameters());
        for layer in &self.layers {
            let (rows, columns) = (of(&layer.rows)?, of(&layer.columns)?);
            all.extend(rows.iter().flat_map(|r| columns.iter().map(move |c| r * c)));
        }
        Ok(all)
    }

    fn replaced(&self, block: usize, factors: Factors) -> Self {
        let mut layers = self.layers.clone();
        layers[block] = factors;
        Self { layers }
    }
}

/// What messages call the layers.
const LAYERS: &str = "layers of a covariance";

impl Covariance for Kronecker {
    const NAME: &'static str = "kronecker";

    fn n_parameters(&self) -> usize {
        self.layers.iter().map(Factors::n_parameters).sum()
    }

    fn check(&self, layout: &Layout) -> Result<()> {
        checks::same_layout(LAYERS, layout, &self.layout())
    }

    fn check_positive_definite(&self) -> Result<()> {
        self.named().try_for_each(|(name, factor)| factor.check_positive_definite_of(&name))
    }

    fn check_numbers(&self) -> Result<()> {
        self.named().try_for_each(|(name, factor)| factor.check_numbers_of(&name))
    }

    fn column_covariance_unchecked(&self, _: &Layout, block: usize) -> Result<Mat<f64>> {
        let Factors { rows, columns } = &self.layers[block];
        let scale = rows.diagonal()?.iter().sum::<f64>() / rows.n_parameters() as f64;
        Ok(columns.matrix() * faer::Scale(scale))
    }

    fn apply_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        self.each(x, |layer, x| {
            let half = product(layer.rows.matrix(), x);
            Ok(product(half.as_ref(), layer.columns.matrix()))
        })
    }

    fn solve_unchecked(&self, x: &[f64]) -> Result<Vec<f64>> {
        self.each(x, |layer, x| {
            let mut half = x.to_owned();
            layer.rows.factor()?.solve(half.as_mut());
            let mut whole = half.transpose().to_owned();
            layer.columns.factor()?.solve(MatMut::from(whole.as_mut()));
            Ok(whole.transpose().to_owned())
        })
    }

    fn precision_diagonal(&self) -> Result<Vec<f64>> {
        self.outer(Covariance::precision_diagonal)
    }

    fn log_det(&self) -> Result<f64> {
        let of = |layer: &Factors| {
            let (n, c) = (layer.rows.n_parameters() as f64, layer.columns.n_parameters() as f64);
            Ok(c * layer.rows.log_det()? + n * layer.columns.log_det()?)
        };
        self.layers.iter().map(of).sum()
    }

    fn diagonal(&self) -> Result<Vec<f64>> {
        self.outer(Covariance::diagonal)
    }

    fn precision_quadratic_unchecked(&self, x: &[f64]) -> Result<f64> {
        let (mut sum, mut start) = (0.0, 0);
        for layer in &self.layers {
            let end = start + layer.n_parameters();
            let x = layer.matrix(&x[start..end]);
            sum += Factors::density(layer.rows.factor()?, layer.columns.factor()?, x).quadratic;
            start = end;
        }
        Ok(sum)
    }

    fn sample(&self, rng: &mut Rng) -> Result<Vec<f64>> {
        let noise: Vec<f64> = (0..self.n_parameters()).map(|_| rng.normal()).collect();
        self.each(&noise, |layer, z| {
            let half = product(layer.rows.factor()?.lower(), z);
            Ok(product(half.as_ref(), layer.columns.factor()?.lower().transpose()))
        })
    }

    fn greedy_columns_unchecked(&self, outgoing: &Outgoing) -> Result<Vec<(usize, f64)>> {
        greedy::by_conditioning(self, outgoing)
    }
}

impl Structure for Kronecker {
    fn condition_unchecked(&self, on: &Condition) -> Result<Conditioned<Self>> {
        let Condition { layout, slice, residual } = *on;
        let (fixed, kept) = layout.split(slice)?;
        let block = slice.block();
        let layer = &self.layers[block];
        let part = match slice {
            Slice::Rows { rows, .. } => layer.condition_rows(&sorted(rows), residual)?,
            Slice::Cols { cols, .. } => layer.condition_columns(&sorted(cols), residual)?,
            Slice::Block { .. } => {
                let covariance = self.marginalize_unchecked(layout, slice)?;
                let density = self.density_unchecked(on)?;
                return Ok(Conditioned { covariance, shift: vec![0.0; kept.len()], density });
            }
        };
        // The other layers are independent of this one and do not move.
        let before = layout.ranges()[block].start;
        let behind = kept.len() - before - part.shift.len();
        let zeros = |n| std::iter::repeat_n(0.0, n);
        let shift = zeros(before).chain(part.shift).chain(zeros(behind)).collect();
        debug_assert_eq!(part.density.n, fixed.len());
        Ok(Conditioned {
            covariance: self.replaced(block, part.covariance),
            shift,
            density: part.density,
        })
    }

    fn marginalize_unchecked(&self, layout: &Layout, slice: &Slice) -> Result<Self> {
        layout.split(slice)?;
        let block = slice.block();
        let Factors { rows: r, columns: c } = &self.layers[block];
        let part = match slice {
            Slice::Rows { rows, .. } => {
                let kept = complement(rows, r.n_parameters());
                Factors { rows: r.select(&kept), columns: c.clone() }
            }
            Slice::Cols { cols, .. } => {
                let kept = complement(cols, c.n_parameters());
                Factors { rows: r.clone(), columns: c.select(&kept) }
            }
            Slice::Block { .. } => {
                let mut layers = self.layers.clone();
                layers.remove(block);
                return Ok(Self { layers });
            }
        };
        Ok(self.replaced(block, part))
    }

    fn density_unchecked(&self, on: &Condition) -> Result<GaussianDensity> {
        let Condition { layout, slice, residual } = *on;
        layout.positions(slice)?;
        let Factors { rows: r, columns: c } = &self.layers[slice.block()];
        let (n_rows, n_cols) = (r.n_parameters(), c.n_parameters());
        let part = |full: &Full, indices: &[usize]| {
            let indices = sorted(indices);
            Cholesky::in_place(gather(full.matrix(), &indices, &indices))
        };
        let matrix = |n, c| MatRef::from_row_major_slice(residual, n, c);
        Ok(match slice {
            Slice::Rows { rows, .. } => {
                Factors::density(&part(r, rows)?, c.factor()?, matrix(rows.len(), n_cols))
            }
            Slice::Cols { cols, .. } => {
                Factors::density(r.factor()?, &part(c, cols)?, matrix(n_rows, cols.len()))
            }
            Slice::Block { .. } => {
                Factors::density(r.factor()?, c.factor()?, matrix(n_rows, n_cols))
            }
        })
    }

    fn permuted_unchecked(&self, _: &Layout, block: usize, order: &[usize]) -> Result<Self> {
        let Factors { rows, columns } = &self.layers[block];
        let stay = order.len()..columns.n_parameters();
        let from: Vec<usize> = order.iter().copied().chain(stay).collect();
        let factors = Factors { rows: rows.clone(), columns: columns.select(&from) };
        Ok(self.replaced(block, factors))
    }

    fn check_same_shape(&self, other: &Self) -> Result<()> {
        checks::same_layout(LAYERS, &self.layout(), &other.layout())
    }

    fn trace_ratio_unchecked(&self, other: &Self) -> Result<f64> {
        let of = |(p, q): (&Factors, &Factors)| {
            Ok(p.rows.trace_ratio(&q.rows)? * p.columns.trace_ratio(&q.columns)?)
        };
        self.layers.iter().zip(&other.layers).map(of).sum()
    }
}
