//! Convolution with bias, forward and backward, as matrix products over unfolded pictures.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType, bail};

use super::matmul::{Shape as Matrix, matmul};
use super::{is_fused, numbers, on_cpu};

/// Cross-correlation of stride 1 without padding; (m, c, h, w) → (m, o, h − k + 1, w − k + 1).
///
/// y\[i, a, r, s\] = b\[a\] + Σ u\[a, (j, p, q)\] x\[i, j, r + p, s + q\]  over channels j and 0 ≤ p, q < k
///
/// `u` has shape (o, c·k² + 1): one row a filter, its weights in the order channel, row, column, the bias last.
/// This is the convention of PyTorch's `Conv2d`.
pub fn convolve(x: &Tensor, u: &Tensor, kernel: usize) -> Result<Tensor> {
    let (_, c, h, w) = x.dims4()?;
    let (o, n_cols) = u.dims2()?;
    if kernel == 0 || h < kernel || w < kernel {
        bail!("a {kernel} × {kernel} kernel wanted pictures at least as large, found {h} × {w}");
    }
    let n_weights = c * kernel * kernel;
    if n_cols != n_weights + 1 {
        bail!("filters of {c} channels wanted {} columns, found {n_cols}", n_weights + 1);
    }
    if is_fused(&[x, u]) {
        return x.contiguous()?.apply_op2(u, Convolve { kernel });
    }
    let weights = u.narrow(1, 0, n_weights)?.contiguous()?.reshape((o, c, kernel, kernel))?;
    let bias = u.narrow(1, n_weights, 1)?.contiguous()?.reshape((1, o, 1, 1))?;
    x.conv2d(&weights, 0, 1, 1, 1)?.broadcast_add(&bias)
}

struct Convolve {
    kernel: usize,
}

/// Extents of one picture.
#[derive(Clone, Copy)]
struct Extents {
    c: usize,
    h: usize,
    w: usize,
    k: usize,
}

impl Extents {
    fn of(x: &Shape, k: usize) -> Result<Self> {
        let (_, c, h, w) = x.dims4()?;
        Ok(Self { c, h, w, k })
    }

    /// Numbers of a picture, c·h·w.
    fn input(self) -> usize {
        self.c * self.h * self.w
    }

    /// Places of a filter, (h − k + 1)(w − k + 1).
    fn places(self) -> usize {
        (self.h - self.k + 1) * (self.w - self.k + 1)
    }

    /// Weights of a filter, c·k².
    fn weights(self) -> usize {
        self.c * self.k * self.k
    }

    /// The unfolded picture: one row a weight, one column a place.
    fn unfolded(self) -> Matrix {
        Matrix::rows_apart(self.weights(), self.places(), self.places())
    }

    /// Calls `each` with the start of every run of w − k + 1 numbers: in the unfolded picture, in the picture.
    fn runs(self, mut each: impl FnMut(usize, usize)) {
        let (out_h, out_w) = (self.h - self.k + 1, self.w - self.k + 1);
        for j in 0..self.c {
            for p in 0..self.k {
                for q in 0..self.k {
                    let weight = (j * self.k + p) * self.k + q;
                    for r in 0..out_h {
                        each(weight * self.places() + r * out_w, (j * self.h + r + p) * self.w + q);
                    }
                }
            }
        }
    }

    fn unfold<T: WithDType>(self, picture: &[T], unfolded: &mut [T]) {
        let n = self.w - self.k + 1;
        self.runs(|to, from| unfolded[to..to + n].copy_from_slice(&picture[from..from + n]));
    }

    fn fold_into<T: WithDType>(self, unfolded: &[T], picture: &mut [T]) {
        let n = self.w - self.k + 1;
        self.runs(|from, to| {
            picture[to..to + n]
                .iter_mut()
                .zip(&unfolded[from..from + n])
                .for_each(|(sum, &term)| *sum += term);
        });
    }
}

impl CustomOp2 for Convolve {
    fn name(&self) -> &'static str {
        "convolve"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        u: &CpuStorage,
        u_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (m, ..) = x_layout.shape().dims4()?;
        let (o, _) = u_layout.shape().dims2()?;
        let e = Extents::of(x_layout.shape(), self.kernel)?;
        let y = match x {
            CpuStorage::F32(_) => {
                CpuStorage::F32(forward::<f32>(numbers(x, x_layout)?, numbers(u, u_layout)?, o, e)?)
            }
            _ => {
                CpuStorage::F64(forward::<f64>(numbers(x, x_layout)?, numbers(u, u_layout)?, o, e)?)
            }
        };
        Ok((y, (m, o, e.h - e.k + 1, e.w - e.k + 1).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        u: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        match x.dtype() {
            DType::F32 => backward::<f32>(x, u, gradient, self.kernel),
            _ => backward::<f64>(x, u, gradient, self.kernel),
        }
    }
}

fn forward<T: WithDType>(x: &[T], u: &[T], o: usize, e: Extents) -> Result<Vec<T>> {
    let (n, places) = (e.weights(), e.places());
    let mut y = vec![T::zero(); x.len() / e.input().max(1) * o * places];
    let mut unfolded = vec![T::zero(); n * places];
    let filters = Matrix::rows_apart(o, n, n + 1);
    let pictures = x.chunks_exact(e.input().max(1)).zip(y.chunks_exact_mut((o * places).max(1)));
    for (picture, y) in pictures {
        e.unfold(picture, &mut unfolded);
        for (filter, y) in y.chunks_exact_mut(places).enumerate() {
            y.fill(u[filter * (n + 1) + n]);
        }
        let result = Matrix::rows_apart(o, places, places);
        matmul((y, result), (u, filters), (&unfolded, e.unfolded()), true)?;
    }
    Ok(y)
}

fn backward<T: WithDType>(
    x: &Tensor,
    u: &Tensor,
    gradient: &Tensor,
    kernel: usize,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let e = Extents::of(x.shape(), kernel)?;
    let (o, n_cols) = u.dims2()?;
    let (n, places) = (e.weights(), e.places());
    let gradient = gradient.contiguous()?;
    let ((xs, xl), (us, ul)) = (x.storage_and_layout(), u.storage_and_layout());
    let (gs, gl) = gradient.storage_and_layout();
    let (pictures, filters) = (numbers::<T>(on_cpu(&xs)?, xl)?, numbers::<T>(on_cpu(&us)?, ul)?);
    let dy = numbers::<T>(on_cpu(&gs)?, gl)?;

    let filter_shape = Matrix::rows_apart(o, n, n_cols);
    let result = Matrix::rows_apart(o, places, places);
    let mut unfolded = vec![T::zero(); n * places];
    let mut du = vec![T::zero(); o * n_cols];
    let mut dx = if x.track_op() { vec![T::zero(); pictures.len()] } else { Vec::new() };
    for (i, dy) in dy.chunks_exact((o * places).max(1)).enumerate() {
        if u.track_op() {
            e.unfold(&pictures[i * e.input()..(i + 1) * e.input()], &mut unfolded);
            let places_first = (&unfolded[..], e.unfolded().transposed());
            matmul((&mut du, filter_shape), (dy, result), places_first, true)?;
            for (filter, dy) in dy.chunks_exact(places).enumerate() {
                du[filter * n_cols + n] += dy.iter().fold(T::zero(), |sum, &g| sum + g);
            }
        }
        if x.track_op() {
            let filters = (filters, filter_shape.transposed());
            matmul((&mut unfolded, e.unfolded()), filters, (dy, result), false)?;
            e.fold_into(&unfolded, &mut dx[i * e.input()..(i + 1) * e.input()]);
        }
    }
    let du = u.track_op().then(|| Tensor::from_vec(du, (o, n_cols), u.device())).transpose()?;
    let dx = x.track_op().then(|| Tensor::from_vec(dx, x.shape(), x.device())).transpose()?;
    Ok((dx, du))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use candle_core::{Device, Var};

    fn random(shape: impl Into<Shape>, seed: u64) -> Var {
        let shape = shape.into();
        let mut rng = Rng::new(seed);
        let values: Vec<f64> = (0..shape.elem_count()).map(|_| rng.normal()).collect();
        Var::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn equals_candles_convolution_with_its_gradients() {
        let (x, u) = (random((3, 2, 7, 6), 0), random((4, 2 * 9 + 1), 1));
        let fused = convolve(&x, &u, 3).unwrap();
        let weights = u.narrow(1, 0, 18).unwrap().contiguous().unwrap();
        let bias = u.narrow(1, 18, 1).unwrap().reshape((1, 4, 1, 1)).unwrap();
        let plain = x.conv2d(&weights.reshape((4, 2, 3, 3)).unwrap(), 0, 1, 1, 1).unwrap();
        let plain = plain.broadcast_add(&bias).unwrap();
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let near = |a: &Tensor, b: &Tensor| {
            flat(a).iter().zip(flat(b)).all(|(a, b)| (a - b).abs() < 1e-12)
        };
        assert!(near(&fused, &plain));
        let [a, b] =
            [fused, plain].map(|y| y.sqr().unwrap().sum_all().unwrap().backward().unwrap());
        for of in [&x, &u] {
            assert!(near(a.get(of).unwrap(), b.get(of).unwrap()));
        }
    }

    #[test]
    fn a_small_case_by_hand() {
        // One 2 × 3 picture, one 2 × 2 kernel (1, 0; 0, −1), bias 10.
        let x = Tensor::new(&[1f32, 2.0, 3.0, 4.0, 5.0, 7.0], &Device::Cpu).unwrap();
        let u = Tensor::new(&[[1f32, 0.0, 0.0, -1.0, 10.0]], &Device::Cpu).unwrap();
        let y = convolve(&x.reshape((1, 1, 2, 3)).unwrap(), &u, 2).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [6.0, 5.0]);
    }

    #[test]
    fn wrong_shapes_are_refused() {
        let (x, u) = (random((1, 2, 4, 4), 0), random((4, 19), 1));
        assert!(convolve(&x, &u, 5).unwrap_err().to_string().contains("found 4 × 4"));
        assert!(
            convolve(&x, &u, 2).unwrap_err().to_string().contains("wanted 9 columns, found 19")
        );
    }
}
