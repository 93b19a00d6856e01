//! One dense layer, act(x Uᵀ + b), forward and backward.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};

use super::activation::{Activation, times_derivative};
use super::dense::Dense;
use super::elementwise::Real;
use super::{is_fused, numbers, on_cpu};

/// One dense layer: act(x Uᵀ + b); shape (m, n_out).
///
/// `x` has shape (m, n_in); `u` has shape (n_out, n_in), or (n_out, n_in + 1) with the bias b as its last column.
///
/// ```
/// use core_tensors::candle_core::{Device, Tensor};
/// use core_tensors::kernels::{Activation, linear};
/// # fn main() -> core_tensors::Result<()> {
/// let x = Tensor::new(&[[1f32, 2.0]], &Device::Cpu)?;
/// let u = Tensor::new(&[[3f32, 4.0, -1.0], [-1.0, 0.0, 0.5]], &Device::Cpu)?;
/// assert_eq!(linear(&x, &u, Activation::Relu)?.to_vec2::<f32>()?, [[10.0, 0.0]]);
/// # Ok(())
/// # }
/// ```
pub fn linear(x: &Tensor, u: &Tensor, activation: Activation) -> Result<Tensor> {
    if let Activation::LeakyRelu { slope } = activation
        && !(slope > 0.0 && slope < 1.0)
    {
        bail!("slope of a leaky ReLU must lie in (0, 1), got {slope}");
    }
    let (_, n_in) = x.dims2()?;
    let (n_out, n_cols) = u.dims2()?;
    if n_out == 0 {
        bail!("a layer wanted at least one unit, found none");
    }
    if n_cols != n_in && n_cols != n_in + 1 {
        bail!("a layer of {n_cols} columns wanted {n_cols} inputs or one fewer, found {n_in}");
    }
    if !is_fused(&[x, u]) {
        return composed(x, u, activation);
    }
    let x = x.contiguous()?;
    if activation.is_in_the_layer() {
        return x.apply_op2(u, Linear { activation });
    }
    activation.apply(&x.apply_op2(u, Linear { activation: Activation::Identity })?)
}

fn composed(x: &Tensor, u: &Tensor, activation: Activation) -> Result<Tensor> {
    let (n_in, n_cols) = (x.dims2()?.1, u.dims2()?.1);
    let mut z = x.matmul(&u.narrow(1, 0, n_in)?.t()?)?; // (m, n_out)
    if n_cols > n_in {
        z = z.broadcast_add(&u.narrow(1, n_in, 1)?.t()?)?;
    }
    activation.apply(&z)
}

struct Linear {
    activation: Activation,
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        u: &CpuStorage,
        u_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let ((m, n_in), (n_out, n_cols)) = (x_layout.shape().dims2()?, u_layout.shape().dims2()?);
        let layer = Dense { m, n_in, n_out, n_cols };
        let y = match x {
            CpuStorage::F32(_) => CpuStorage::F32(forward::<f32>(
                numbers(x, x_layout)?,
                numbers(u, u_layout)?,
                layer,
                self.activation,
            )?),
            _ => CpuStorage::F64(forward::<f64>(
                numbers(x, x_layout)?,
                numbers(u, u_layout)?,
                layer,
                self.activation,
            )?),
        };
        Ok((y, (m, n_out).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        u: &Tensor,
        y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        match x.dtype() {
            DType::F32 => backward::<f32>(x, u, y, gradient, self.activation),
            _ => backward::<f64>(x, u, y, gradient, self.activation),
        }
    }
}

fn forward<T: Real>(x: &[T], u: &[T], layer: Dense, activation: Activation) -> Result<Vec<T>> {
    let mut y = vec![T::zero(); layer.m * layer.n_out];
    layer.forward(&mut y, x, u, activation)?;
    Ok(y)
}

fn backward<T: Real>(
    x: &Tensor,
    u: &Tensor,
    y: &Tensor,
    gradient: &Tensor,
    activation: Activation,
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let ((m, n_in), (n_out, n_cols)) = (x.dims2()?, u.dims2()?);
    let layer = Dense { m, n_in, n_out, n_cols };
    let gradient = gradient.contiguous()?;
    let ((gs, gl), (ys, yl)) = (gradient.storage_and_layout(), y.storage_and_layout());
    let mut dz = numbers::<T>(on_cpu(&gs)?, gl)?.to_vec();
    times_derivative(&mut dz, numbers(on_cpu(&ys)?, yl)?, activation);

    let du = if u.track_op() {
        let (xs, xl) = x.storage_and_layout();
        let mut du = vec![T::zero(); n_out * n_cols];
        layer.by_weights(0..n_out, &mut du, &dz, numbers(on_cpu(&xs)?, xl)?)?;
        Some(Tensor::from_vec(du, (n_out, n_cols), u.device())?)
    } else {
        None
    };
    let dx = if x.track_op() {
        let (us, ul) = u.storage_and_layout();
        let mut dx = vec![T::zero(); m * n_in];
        layer.by_inputs(&mut dx, &dz, numbers(on_cpu(&us)?, ul)?)?;
        Some(Tensor::from_vec(dx, (m, n_in), x.device())?)
    } else {
        None
    };
    Ok((dx, du))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, Layout, Params, Rng};
    use candle_core::Device;

    const ACTIVATIONS: [Activation; 7] = [
        Activation::Identity,
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.01 },
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Silu,
        Activation::Gelu,
    ];

    /// act(z) and act′(z) by the standard library and, for Φ, statrs.
    fn closed_form(activation: Activation, z: f64) -> (f64, f64) {
        use statrs::distribution::{Continuous, ContinuousCDF, Normal};
        let normal = Normal::standard();
        let s = 1.0 / (1.0 + (-z).exp());
        match activation {
            Activation::Identity => (z, 1.0),
            Activation::Relu => (z.max(0.0), f64::from(z > 0.0)),
            Activation::LeakyRelu { slope } if z < 0.0 => (slope * z, slope),
            Activation::LeakyRelu { .. } => (z, 1.0),
            Activation::Tanh => (z.tanh(), z.cosh().powi(-2)),
            Activation::Sigmoid => (s, s * (1.0 - s)),
            Activation::Silu => (z * s, s + z * s * (1.0 - s)),
            Activation::Gelu => (z * normal.cdf(z), normal.cdf(z) + z * normal.pdf(z)),
        }
    }

    fn matrix(rows: usize, cols: usize, seed: u64, dtype: DType) -> Tensor {
        let layout = Layout { blocks: vec![Block { rows, cols }] };
        let params = Params::uniform(&layout, &[1.0], &mut Rng::new(seed), &Device::Cpu).unwrap();
        let copy = params.blocks()[0].to_dtype(dtype).unwrap();
        candle_core::Var::from_tensor(&copy).unwrap().into_inner()
    }

    fn distance(a: &Tensor, b: &Tensor) -> f64 {
        let gap = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        gap.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn fused_layers_equal_composed_ones_with_their_gradients() {
        // f32 sums of 30 terms below 1: 30 · 2⁻²⁴ and a little.
        for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-13)] {
            for (activation, n_cols) in ACTIVATIONS.into_iter().zip([30, 31, 31, 31, 30, 31, 30]) {
                let (x, u) = (matrix(17, 30, 0, dtype), matrix(9, n_cols, 1, dtype));
                let fused = linear(&x, &u, activation).unwrap();
                let plain = composed(&x, &u, activation).unwrap();
                assert!(distance(&fused, &plain) < tolerance, "{activation:?}");
                let weights = matrix(17, 9, 2, dtype).detach();
                let [a, b] = [&fused, &plain]
                    .map(|y| (y * &weights).unwrap().sum_all().unwrap().backward().unwrap());
                for of in [&x, &u] {
                    let gap = distance(a.get(of).unwrap(), b.get(of).unwrap());
                    assert!(gap < tolerance, "{activation:?}: {gap}");
                }
            }
        }
    }

    #[test]
    fn activations_and_derivatives_equal_closed_forms() {
        let z: Vec<f64> = (-40..=40).map(|i| 0.2 * f64::from(i) + 0.01).collect();
        // statrs has erf to 1e-11; f32 rounds numbers up to 8 a few times.
        for (dtype, tolerance) in [(DType::F32, 2e-6), (DType::F64, 1e-10)] {
            let x = Tensor::new(&z[..], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let x = x.reshape((z.len(), 1)).unwrap();
            let u = Tensor::ones((1, 1), dtype, &Device::Cpu).unwrap();
            for activation in ACTIVATIONS {
                let x = candle_core::Var::from_tensor(&x).unwrap();
                let y = linear(&x, &u, activation).unwrap();
                let gradients = y.sum_all().unwrap().backward().unwrap();
                let flat = |t: &Tensor| -> Vec<f64> {
                    let t = t.to_dtype(DType::F64).unwrap();
                    t.flatten_all().unwrap().to_vec1().unwrap()
                };
                let applied = flat(&activation.apply(&x).unwrap());
                let (values, slopes) = (flat(&y), flat(gradients.get(&x).unwrap()));
                for (i, &z) in z.iter().enumerate() {
                    let (value, slope) = closed_form(activation, z);
                    let gaps = [values[i] - value, applied[i] - value, slopes[i] - slope];
                    let largest = gaps.iter().fold(0.0f64, |most, gap| most.max(gap.abs()));
                    assert!(largest < tolerance, "{activation:?} {dtype:?} at {z}: {gaps:?}");
                    let gap = (activation.derivative(z) - slope).abs();
                    assert!(gap < 1e-10, "{activation:?} at {z}: {gap}");
                }
            }
        }
    }

    #[test]
    fn features_that_are_data_get_no_gradient() {
        let (x, u) = (matrix(4, 3, 0, DType::F32).detach(), matrix(2, 4, 1, DType::F32));
        let gradients =
            linear(&x, &u, Activation::Relu).unwrap().sum_all().unwrap().backward().unwrap();
        assert!(gradients.get(&u).is_some() && gradients.get(&x).is_none());
    }

    #[test]
    fn a_number_that_is_none_is_not_hidden_by_an_activation() {
        let x = Tensor::new(&[[f32::NAN, 1.0]], &Device::Cpu).unwrap();
        let u = Tensor::new(&[[1f32, 1.0]], &Device::Cpu).unwrap();
        for activation in ACTIVATIONS {
            assert!(linear(&x, &u, activation).unwrap().to_vec2::<f32>().unwrap()[0][0].is_nan());
        }
    }

    #[test]
    fn wrong_widths_and_slopes_are_refused() {
        let (x, u) = (matrix(4, 3, 0, DType::F32), matrix(2, 5, 1, DType::F32));
        let error = linear(&x, &u, Activation::Relu).unwrap_err().to_string();
        assert!(error.contains("5 columns wanted 5 inputs or one fewer, found 3"), "{error}");
        assert!(linear(&x, &x, Activation::LeakyRelu { slope: -1.0 }).is_err());
    }
}
