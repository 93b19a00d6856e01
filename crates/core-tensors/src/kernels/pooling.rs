//! ReLU and 2 × 2 max-pooling in one pass.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType};

use super::{is_fused, numbers, on_cpu};

/// max(0, largest of each 2 × 2 window), stride 2; (m, c, h, w) → (m, c, ⌊h/2⌋, ⌊w/2⌋).
///
/// ReLU and maximum commute, so this is max-pooling after ReLU. An odd last row or column is left out.
pub fn relu_max_pool(x: &Tensor) -> Result<Tensor> {
    x.dims4()?;
    if is_fused(&[x]) {
        return x.contiguous()?.apply_op1(ReluMaxPool);
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

struct ReluMaxPool;

impl CustomOp1 for ReluMaxPool {
    fn name(&self) -> &'static str {
        "relu-max-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (m, c, h, w) = layout.shape().dims4()?;
        let y = match x {
            CpuStorage::F32(_) => CpuStorage::F32(forward::<f32>(numbers(x, layout)?, h, w)),
            _ => CpuStorage::F64(forward::<f64>(numbers(x, layout)?, h, w)),
        };
        Ok((y, (m, c, h / 2, w / 2).into()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match x.dtype() {
            DType::F32 => backward::<f32>(x, gradient),
            _ => backward::<f64>(x, gradient),
        }
        .map(Some)
    }
}

#[expect(clippy::eq_op, reason = "the generic number has no is_nan")]
fn is_nan<T: WithDType>(value: T) -> bool {
    value != value
}

/// Index and value of the largest number of a window, the first among equals; NaN where there is one.
fn largest<T: WithDType>(plane: &[T], corner: usize, w: usize) -> (usize, T) {
    let rest = [corner + 1, corner + w, corner + w + 1];
    rest.into_iter().fold((corner, plane[corner]), |best, i| {
        if plane[i] > best.1 || is_nan(plane[i]) { (i, plane[i]) } else { best }
    })
}

fn forward<T: WithDType>(x: &[T], h: usize, w: usize) -> Vec<T> {
    let zero = T::zero();
    let mut y = Vec::with_capacity(x.len() / 4);
    for plane in x.chunks_exact((h * w).max(1)) {
        for row in 0..h / 2 {
            y.extend((0..w / 2).map(|col| {
                let (_, value) = largest(plane, 2 * (row * w + col), w);
                if value < zero { zero } else { value }
            }));
        }
    }
    y
}

fn backward<T: WithDType>(x: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let gradient = gradient.contiguous()?;
    let ((xs, xl), (gs, gl)) = (x.storage_and_layout(), gradient.storage_and_layout());
    let (values, gradient) = (numbers::<T>(on_cpu(&xs)?, xl)?, numbers::<T>(on_cpu(&gs)?, gl)?);
    let mut dx = vec![T::zero(); values.len()];
    let planes = values.chunks_exact((h * w).max(1)).zip(dx.chunks_exact_mut((h * w).max(1)));
    for ((plane, dx), g) in planes.zip(gradient.chunks_exact(((h / 2) * (w / 2)).max(1))) {
        for row in 0..h / 2 {
            for col in 0..w / 2 {
                let (i, value) = largest(plane, 2 * (row * w + col), w);
                if value > T::zero() || is_nan(value) {
                    dx[i] = g[row * (w / 2) + col];
                }
            }
        }
    }
    Tensor::from_vec(dx, x.shape(), x.device())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use candle_core::{Device, Var};

    #[test]
    fn equals_candles_pooling_and_composed_gradients() {
        let mut rng = Rng::new(0);
        let values: Vec<f64> = (0..2 * 3 * 6 * 5).map(|_| rng.normal()).collect();
        let x = Var::from_vec(values, (2, 3, 6, 5), &Device::Cpu).unwrap();
        let (fused, plain) = (relu_max_pool(&x).unwrap(), composed(&x).unwrap());
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        assert_eq!(flat(&fused), flat(&x.max_pool2d(2).unwrap().relu().unwrap()));
        assert_eq!(flat(&fused), flat(&plain));
        let [a, b] = [fused, plain].map(|y| {
            let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            flat(gradients.get(&x).unwrap())
        });
        assert_eq!(a, b);
        assert!(a.iter().any(|&g| g != 0.0));
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
