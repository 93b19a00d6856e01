//! Activations that act on every number alone, forward and backward in one pass each.

mod function;
mod real;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use self::function::Function;
pub(super) use self::real::Real;
use super::{is_fused, numbers, on_cpu};

/// tanh x, element by element; the shape stays.
pub fn tanh(x: &Tensor) -> Result<Tensor> {
    apply(x, Function::Tanh)
}

/// σ(x) = 1 / (1 + e⁻ˣ), element by element; the shape stays.
pub fn sigmoid(x: &Tensor) -> Result<Tensor> {
    apply(x, Function::Sigmoid)
}

/// erf(x) = 2/√π ∫₀ˣ e^{−s²} ds, element by element, to a few roundings; the shape stays.
pub fn erf(x: &Tensor) -> Result<Tensor> {
    apply(x, Function::Erf)
}

/// x Φ(x) = ½ x (1 + erf(x/√2)), element by element; the shape stays.
///
/// Source: Hendrycks & Gimpel (2016), Gaussian error linear units.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    apply(x, Function::Gelu)
}

/// ½ x (1 + tanh u),  u = √(2/π) (x + 0.044715 x³), element by element; the shape stays.
///
/// Source: Hendrycks & Gimpel (2016), the approximation in section 2.
pub fn gelu_tanh(x: &Tensor) -> Result<Tensor> {
    apply(x, Function::GeluTanh)
}

/// x σ(x), element by element; the shape stays. Also called swish.
pub fn silu(x: &Tensor) -> Result<Tensor> {
    apply(x, Function::Silu)
}

/// x · max(0, min(1, x/6 + ½)), element by element; the shape stays.
///
/// Source: Howard et al. (2019), MobileNetV3, section 5.2.
pub fn hard_swish(x: &Tensor) -> Result<Tensor> {
    apply(x, Function::HardSwish)
}

/// max(0, min(1, αx + β)), element by element; the shape stays.
///
/// ONNX's defaults are α = 0.2 and β = 0.5; PyTorch's are 1/6 and 0.5. Both must be finite.
pub fn hard_sigmoid(x: &Tensor, alpha: f64, beta: f64) -> Result<Tensor> {
    if !alpha.is_finite() || !beta.is_finite() {
        bail!("a hard sigmoid wanted finite alpha and beta, got {alpha} and {beta}");
    }
    apply(x, Function::HardSigmoid { alpha, beta })
}

/// Derivatives at one number of the functions that a layer may apply to its sums.
pub(super) mod derivative {
    use super::Function;

    pub(in crate::kernels) fn silu(x: f64) -> f64 {
        Function::Silu.derivative(x)
    }

    pub(in crate::kernels) fn gelu(x: f64) -> f64 {
        Function::Gelu.derivative(x)
    }
}

fn apply(x: &Tensor, function: Function) -> Result<Tensor> {
    if is_fused(&[x]) {
        return x.contiguous()?.apply_op1(Elementwise(function));
    }
    composed(x, function)
}

fn composed(x: &Tensor, function: Function) -> Result<Tensor> {
    match function {
        Function::Tanh => x.tanh(),
        Function::Sigmoid => composed_sigmoid(x),
        Function::Erf => x.erf(),
        Function::Gelu => {
            let cumulative = (x * std::f64::consts::FRAC_1_SQRT_2)?.erf()?.affine(0.5, 0.5)?;
            x * cumulative
        }
        Function::GeluTanh => {
            let u = ((x * x.sqr()?.affine(0.044_715, 1.0)?)? * 0.797_884_560_802_865_4)?;
            x * u.tanh()?.affine(0.5, 0.5)?
        }
        Function::Silu => x * composed_sigmoid(x)?,
        Function::HardSwish => x * ramp(x, 1.0 / 6.0, 0.5)?,
        Function::HardSigmoid { alpha, beta } => ramp(x, alpha, beta),
    }
}

/// ½ (1 + tanh(x/2)), whose gradient is finite however far x is from 0.
fn composed_sigmoid(x: &Tensor) -> Result<Tensor> {
    (x * 0.5)?.tanh()?.affine(0.5, 0.5)
}

fn ramp(x: &Tensor, alpha: f64, beta: f64) -> Result<Tensor> {
    x.affine(alpha, beta)?.clamp(0.0, 1.0)
}

struct Elementwise(Function);

impl CustomOp1 for Elementwise {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F32(_) => CpuStorage::F32(self.0.values::<f32>(numbers(x, layout)?)),
            _ => CpuStorage::F64(self.0.values::<f64>(numbers(x, layout)?)),
        };
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match x.dtype() {
            DType::F32 => backward::<f32>(self.0, x, y, gradient),
            _ => backward::<f64>(self.0, x, y, gradient),
        }
        .map(Some)
    }
}

fn backward<T: Real>(
    function: Function,
    x: &Tensor,
    y: &Tensor,
    gradient: &Tensor,
) -> Result<Tensor> {
    let gradient = gradient.contiguous()?;
    let ((xs, xl), (ys, yl)) = (x.storage_and_layout(), y.storage_and_layout());
    let (gs, gl) = gradient.storage_and_layout();
    let (x_values, y_values) = (numbers::<T>(on_cpu(&xs)?, xl)?, numbers::<T>(on_cpu(&ys)?, yl)?);
    let dx = function.pull_back(x_values, y_values, numbers::<T>(on_cpu(&gs)?, gl)?);
    Tensor::from_vec(dx, x.shape(), x.device())
}
