//! Pooling: ReLU and 2 × 2 maxima in one pass; maxima and means of any window in its folder.

mod average;
mod max;
mod planes;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType};

pub use self::average::average_pool;
pub use self::max::max_pool;
use super::{is_fused, numbers, on_cpu, vectorized};

/// max(0, largest of each 2 × 2 window), stride 2; (m, c, h, w) → (m, c, ⌊h/2⌋, ⌊w/2⌋).
///
/// ReLU and maximum commute, so this is max-pooling after ReLU. An odd last row or column is left out.
pub fn relu_max_pool(x: &Tensor) -> Result<Tensor> {
    x.dims4()?;
    if is_fused(&[x]) {
        return x.contiguous()?.apply_op1(ReluMaxPool(OnceLock::new()));
    }
    composed(x)
}

/// Maxima over the two axes of a window; candle's own `max_pool2d` returns a quarter of the gradient.
fn composed(x: &Tensor) -> Result<Tensor> {
    let (m, c, h, w) = x.dims4()?;
    let whole = x.narrow(2, 0, h / 2 * 2)?.narrow(3, 0, w / 2 * 2)?.contiguous()?;
    whole
        .reshape((m, c, h / 2, 2, w / 2 * 2))?
        .max(3)?
        .reshape((m, c, h / 2, w / 2, 2))?
        .max(4)?
        .relu()
}

/// Holds the code of every window, which the forward pass leaves.
struct ReluMaxPool(OnceLock<Vec<u8>>);

impl CustomOp1 for ReluMaxPool {
    fn name(&self) -> &'static str {
        "relu-max-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (m, c, h, w) = layout.shape().dims4()?;
        let (y, codes) = match x {
            CpuStorage::F32(_) => {
                let (y, codes) = forward::<f32, true>(numbers(x, layout)?, h, w);
                (CpuStorage::F32(y), codes)
            }
            _ => {
                let (y, codes) = forward::<f64, true>(numbers(x, layout)?, h, w);
                (CpuStorage::F64(y), codes)
            }
        };
        // An operation runs once.
        let _ = self.0.set(codes);
        Ok((y, (m, c, h / 2, w / 2).into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let codes = self.0.get().map_or(&[][..], Vec::as_slice);
        match x.dtype() {
            DType::F32 => backward::<f32>(x, codes, gradient),
            _ => backward::<f64>(x, codes, gradient),
        }
        .map(Some)
    }
}

/// The outputs and their codes; with ReLU or the plain maxima.
fn forward<T: WithDType, const RELU: bool>(x: &[T], h: usize, w: usize) -> (Vec<T>, Vec<u8>) {
    let n = x.len() / (h * w).max(1) * (h / 2) * (w / 2);
    let (mut y, mut codes) = (vec![T::zero(); n], vec![0; n]);
    let rows = y.chunks_exact_mut((w / 2).max(1)).zip(codes.chunks_exact_mut((w / 2).max(1)));
    let planes = x.chunks_exact((h * w).max(1));
    let pairs = planes.flat_map(|plane| plane[..h / 2 * 2 * w].chunks_exact((2 * w).max(1)));
    for (pair, (y, codes)) in pairs.zip(rows) {
        let (above, below) = pair.split_at(w);
        pool::<T, RELU>(above, below, T::zero(), y, codes);
    }
    (y, codes)
}

fn backward<T: WithDType>(x: &Tensor, codes: &[u8], gradient: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let gradient = gradient.contiguous()?;
    let (gs, gl) = gradient.storage_and_layout();
    let gradient = numbers::<T>(on_cpu(&gs)?, gl)?;
    let mut dx = vec![T::zero(); x.elem_count()];
    let rows = gradient.chunks_exact((w / 2).max(1)).zip(codes.chunks_exact((w / 2).max(1)));
    let planes = dx.chunks_exact_mut((h * w).max(1));
    let pairs = planes.flat_map(|dx| dx[..h / 2 * 2 * w].chunks_exact_mut((2 * w).max(1)));
    for (pair, (gradient, codes)) in pairs.zip(rows) {
        let (above, below) = pair.split_at_mut(w);
        unpool(gradient, codes, above, below);
    }
    Tensor::from_vec(dx, x.shape(), x.device())
}

/// The code of a window whose largest number is not positive; the others are its places 0 to 3, row by row.
const NONE: u8 = 4;

/// Windows that are worked on together: the lanes of the widest registers.
const LANES: usize = 16;

/// max(0, bias + largest) of each window of two rows, and the code of its place; the first among equals wins, a NaN
/// over everything. Without ReLU the largest alone.
pub(super) fn pool<T: WithDType, const RELU: bool>(
    above: &[T],
    below: &[T],
    bias: T,
    y: &mut [T],
    codes: &mut [u8],
) {
    vectorized(
        #[inline(always)]
        || {
            let outputs = y.chunks_mut(LANES).zip(codes.chunks_mut(LANES));
            let rows = above.chunks(2 * LANES).zip(below.chunks(2 * LANES));
            for ((above, below), (y, codes)) in rows.zip(outputs) {
                let n = y.len();
                let mut windows = [[T::zero(); 2 * LANES]; 2];
                windows[0][..2 * n].copy_from_slice(&above[..2 * n]);
                windows[1][..2 * n].copy_from_slice(&below[..2 * n]);
                let (best, code) = largest::<T, RELU>(&windows, bias);
                y.copy_from_slice(&best[..n]);
                codes.copy_from_slice(&code[..n]);
            }
        },
    );
}

#[inline(always)]
#[expect(clippy::eq_op, reason = "the generic number has no is_nan")]
fn largest<T: WithDType, const RELU: bool>(
    windows: &[[T; 2 * LANES]; 2],
    bias: T,
) -> ([T; LANES], [u8; LANES]) {
    let zero = T::zero();
    let (mut best, mut code) = ([zero; LANES], [0i32; LANES]);
    for i in 0..LANES {
        best[i] = windows[0][2 * i];
    }
    for place in 1..4 {
        for i in 0..LANES {
            let value = windows[place / 2][2 * i + place % 2];
            let is_better = (value > best[i]) | (value != value);
            best[i] = if is_better { value } else { best[i] };
            code[i] = if is_better { place as i32 } else { code[i] };
        }
    }
    if !RELU {
        return (best, code.map(|code| code as u8));
    }
    for i in 0..LANES {
        let sum = best[i] + bias;
        best[i] = if sum < zero { zero } else { sum };
        code[i] = if sum <= zero { i32::from(NONE) } else { code[i] };
    }
    (best, code.map(|code| code as u8))
}

/// One row of gradients to two, each where its code says.
pub(super) fn unpool<T: WithDType>(dy: &[T], codes: &[u8], above: &mut [T], below: &mut [T]) {
    let n = 2 * dy.len();
    above[n..].fill(T::zero());
    below[n..].fill(T::zero());
    vectorized(
        #[inline(always)]
        || {
            let rows = above[..n].chunks_mut(2 * LANES).zip(below[..n].chunks_mut(2 * LANES));
            let gradients = dy.chunks(LANES).zip(codes.chunks(LANES));
            for ((above, below), (dy, codes)) in rows.zip(gradients) {
                let n = dy.len();
                let (mut g, mut code) = ([T::zero(); LANES], [NONE; LANES]);
                g[..n].copy_from_slice(dy);
                code[..n].copy_from_slice(codes);
                let code = code.map(i32::from);
                let mut windows = [[T::zero(); 2 * LANES]; 2];
                for place in 0..4 {
                    for i in 0..LANES {
                        let is_here = code[i] == place as i32;
                        windows[place / 2][2 * i + place % 2] =
                            if is_here { g[i] } else { T::zero() };
                    }
                }
                above.copy_from_slice(&windows[0][..2 * n]);
                below.copy_from_slice(&windows[1][..2 * n]);
            }
        },
    );
}

#[cfg(test)]
mod relu_tests {
    use super::*;
    use crate::Rng;
    use candle_core::{Device, Var};

    #[test]
    fn equals_candles_pooling_and_composed_gradients() {
        // The last widths straddle the lanes.
        for shape in [(2, 3, 6, 5), (1, 2, 5, 71), (2, 1, 2, 32), (1, 1, 3, 1)] {
            let mut rng = Rng::new(0);
            let n = shape.0 * shape.1 * shape.2 * shape.3;
            let values: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
            let x = Var::from_vec(values, shape, &Device::Cpu).unwrap();
            let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let fused = relu_max_pool(&x).unwrap();
            assert_eq!(fused.dims(), [shape.0, shape.1, shape.2 / 2, shape.3 / 2]);
            if fused.elem_count() == 0 {
                continue;
            }
            let plain = composed(&x).unwrap();
            assert_eq!(flat(&fused), flat(&x.max_pool2d(2).unwrap().relu().unwrap()));
            assert_eq!(flat(&fused), flat(&plain));
            let [a, b] = [fused, plain].map(|y| {
                let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
                flat(gradients.get(&x).unwrap())
            });
            assert_eq!(a, b);
            assert!(a.iter().any(|&g| g != 0.0));
        }
    }

    #[test]
    fn the_gradient_equals_differences() {
        let mut rng = Rng::new(1);
        let values: Vec<f64> = (0..16).map(|_| rng.normal()).collect();
        let loss = |values: &[f64]| {
            let x = Var::from_vec(values.to_vec(), (1, 1, 4, 4), &Device::Cpu).unwrap();
            let y = relu_max_pool(&x).unwrap().sqr().unwrap().sum_all().unwrap();
            (x, y)
        };
        let (x, y) = loss(&values);
        let gradients = y.backward().unwrap();
        let gradient = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let step = 1e-6;
        for i in 0..16 {
            let moved = |by: f64| {
                let mut values = values.clone();
                values[i] += by;
                loss(&values).1.to_scalar::<f64>().unwrap()
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            assert!((slope - gradient[i]).abs() < 1e-8, "{i}: {slope} against {}", gradient[i]);
        }
    }

    #[test]
    fn an_odd_edge_is_left_out() {
        let x = Tensor::arange(0f32, 15.0, &Device::Cpu).unwrap().reshape((1, 1, 3, 5)).unwrap();
        let y = relu_max_pool(&x).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [6.0, 8.0]);
    }
}
