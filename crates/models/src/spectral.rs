//! Spectral normalization: weights of a discriminator divided by their largest singular values.

use candle_core::{D, DType, Tensor};
use core_tensors::{Expected, Params, Result, Rng};

/// Added to the length of a vector before it divides: a matrix of zeros stays one.
const SMALLEST: f64 = 1e-12;

/// Running estimates of the left singular vectors of each block, one step of power iteration a call.
///
/// v = normalize(Wᵀu), u = normalize(W v), σ = uᵀ W v;  W ← W / σ,
///
/// where W is a block without its bias, which stays. u and v are constants of the gradient, σ is not.
///
/// Source: Miyato et al. (2018), algorithm 1.
///
/// ```
/// use core_tensors::{Block, Layout, Params, Rng, candle_core::Device};
/// use models::SpectralNorm;
/// # fn main() -> core_tensors::Result<()> {
/// // One row: its largest singular value is its length, 5.
/// let layout = Layout { blocks: vec![Block { rows: 1, cols: 2 }] };
/// let w = Params::from_vec(&layout, &[3.0, 4.0], &Device::Cpu)?;
/// let mut norm = SpectralNorm::new(&w, false, &mut Rng::new(0))?;
/// let normalized = norm.normalized(&w)?.to_vec()?;
/// assert!((normalized[0] - 0.6).abs() < 1e-6 && (normalized[1] - 0.8).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SpectralNorm {
    /// u of each block, (rows, 1).
    left: Vec<Tensor>,
    has_bias: bool,
}

impl SpectralNorm {
    /// Random vectors for parameters of this layout; `has_bias` says whether a block's last column is its bias.
    pub fn new(w: &Params, has_bias: bool, rng: &mut Rng) -> Result<Self> {
        let draw = |block: &Tensor| -> Result<Tensor> {
            let (rows, cols) = block.dims2()?;
            Expected::AtLeast(1 + usize::from(has_bias)).check("columns of a block", cols)?;
            let values: Vec<f64> = (0..rows).map(|_| rng.normal()).collect();
            let u = Tensor::from_vec(values, (rows, 1), block.device())?;
            Ok(normalize(&u.to_dtype(block.dtype())?)?)
        };
        let left = w.blocks().iter().map(draw).collect::<Result<_>>()?;
        Ok(Self { left, has_bias })
    }

    /// The parameters with every block divided by its estimated norm; gradients reach `w`.
    pub fn normalized(&mut self, w: &Params) -> Result<Params> {
        Expected::Exactly(self.left.len()).check("blocks", w.blocks().len())?;
        let mut blocks = Vec::with_capacity(self.left.len());
        for (block, u) in w.blocks().iter().zip(&mut self.left) {
            let n_inputs = block.dim(D::Minus1)? - usize::from(self.has_bias);
            let weights = block.narrow(1, 0, n_inputs)?;
            let constant = weights.detach();
            let v = normalize(&constant.t()?.matmul(u)?)?; // (cols, 1)
            *u = normalize(&constant.matmul(&v)?)?;
            let sigma = (u.t()?.matmul(&weights)?.matmul(&v)? + SMALLEST)?; // (1, 1)
            let scaled = weights.broadcast_div(&sigma)?;
            blocks.push(match self.has_bias {
                true => Tensor::cat(&[&scaled, &block.narrow(1, n_inputs, 1)?], 1)?,
                false => scaled,
            });
        }
        Params::new(w.layout().clone(), blocks)
    }
}

fn normalize(x: &Tensor) -> candle_core::Result<Tensor> {
    let length = x.to_dtype(DType::F64)?.sqr()?.sum_all()?.to_scalar::<f64>()?.sqrt();
    x / (length + SMALLEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use core_tensors::{Block, Layout};

    fn params(rows: &[[f64; 3]]) -> Params {
        let layout = Layout { blocks: vec![Block { rows: rows.len(), cols: 3 }] };
        let values: Vec<f64> = rows.iter().flatten().copied().collect();
        let block = Tensor::from_vec(values, (rows.len(), 3), &Device::Cpu).unwrap();
        Params::new(layout, vec![block]).unwrap().trainable().unwrap()
    }

    #[test]
    fn the_largest_singular_value_becomes_1_and_the_bias_stays() {
        // Weights [[3, 4], [0, 0]] have the norm 5; the last column is the bias.
        let w = params(&[[3.0, 4.0, 7.0], [0.0, 0.0, -2.0]]);
        let mut norm = SpectralNorm::new(&w, true, &mut Rng::new(0)).unwrap();
        let found = norm.normalized(&w).unwrap().blocks()[0].to_vec2::<f64>().unwrap();
        // Rank one: a single step of the iteration is exact.
        for (found, wanted) in found.iter().flatten().zip([0.6, 0.8, 7.0, 0.0, 0.0, -2.0]) {
            assert!((found - wanted).abs() < 1e-10, "{found} against {wanted}");
        }
    }

    #[test]
    fn iterations_find_the_norm_of_any_matrix() {
        // Without bias.
        let w = params(&[[1.0, 2.0, 1.5], [0.5, -0.5, 1.0]]);
        let mut norm = SpectralNorm::new(&w, false, &mut Rng::new(1)).unwrap();
        let mut scaled = w.clone();
        for _ in 0..100 {
            scaled = norm.normalized(&w).unwrap();
        }
        let a = scaled.blocks()[0].to_vec2::<f64>().unwrap();
        let gram = |i: usize, j: usize| (0..3).map(|k| a[i][k] * a[j][k]).sum::<f64>();
        let (p, q, r) = (gram(0, 0), gram(0, 1), gram(1, 1));
        // The larger eigenvalue of the 2 × 2 Gram matrix.
        let largest = 0.5 * (p + r + ((p - r).powi(2) + 4.0 * q * q).sqrt());
        assert!((largest - 1.0).abs() < 1e-9, "{largest}");
    }

    #[test]
    fn the_gradient_sees_the_norm() {
        // f(W) = first entry of W / ‖W‖ for one row: its gradient is orthogonal to W.
        let w = params(&[[3.0, 4.0, 0.0]]);
        let mut norm = SpectralNorm::new(&w, false, &mut Rng::new(2)).unwrap();
        let scaled = norm.normalized(&w).unwrap();
        let first = scaled.blocks()[0].narrow(1, 0, 1).unwrap().sum_all().unwrap();
        let gradient = w.gradient(&first).unwrap().to_vec().unwrap();
        // (e₁ − 0.6 · (0.6, 0.8, 0)) / 5
        for (found, wanted) in gradient.iter().zip([0.64 / 5.0, -0.48 / 5.0, 0.0]) {
            assert!((found - wanted).abs() < 1e-9, "{found} against {wanted}");
        }
    }

    #[test]
    fn other_layouts_are_refused() {
        let w = params(&[[1.0, 0.0, 0.0]]);
        let empty = Params::new(Layout { blocks: Vec::new() }, Vec::new()).unwrap();
        assert!(SpectralNorm::new(&w, true, &mut Rng::new(0)).unwrap().normalized(&empty).is_err());
    }
}
