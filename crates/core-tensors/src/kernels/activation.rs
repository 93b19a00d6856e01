//! What a layer does to its sums, and the derivative of that.

use candle_core::{Result, Tensor};

use super::elementwise::{Real, derivative, gelu, sigmoid, silu, tanh};
use super::vectorized;

/// What a layer does to its sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Activation {
    /// z
    Identity,
    /// max(z, 0)
    Relu,
    /// z for z > 0, else slope · z; the slope is in (0, 1), 0.01 in the papers' code.
    LeakyRelu {
        /// Factor of negative sums.
        slope: f64,
    },
    /// tanh z
    Tanh,
    /// σ(z) = 1 / (1 + e⁻ᶻ)
    Sigmoid,
    /// z σ(z), also called swish
    Silu,
    /// z Φ(z) with the normal distribution function Φ, exact: ½ z (1 + erf(z/√2))
    Gelu,
}

impl Activation {
    /// Its name in files: identity, relu, leaky_relu, tanh, sigmoid, silu or gelu.
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Silu => "silu",
            Self::Gelu => "gelu",
        }
    }

    /// The slope of a leaky ReLU; others have none.
    pub fn slope(self) -> Option<f64> {
        match self {
            Self::LeakyRelu { slope } => Some(slope),
            _ => None,
        }
    }

    /// The activation of a name and a slope; `None` for other names, and for a leaky ReLU without a slope in (0, 1).
    pub fn from_name(name: &str, slope: Option<f64>) -> Option<Self> {
        Some(match name {
            "identity" => Self::Identity,
            "relu" => Self::Relu,
            "leaky_relu" => {
                let slope = slope.filter(|&slope| slope > 0.0 && slope < 1.0)?;
                Self::LeakyRelu { slope }
            }
            "tanh" => Self::Tanh,
            "sigmoid" => Self::Sigmoid,
            "silu" => Self::Silu,
            "gelu" => Self::Gelu,
            _ => return None,
        })
    }

    /// act(z) in tensor operations, of any shape.
    pub fn apply(self, z: &Tensor) -> Result<Tensor> {
        match self {
            Self::Identity => Ok(z.clone()),
            Self::Relu => z.relu(),
            Self::LeakyRelu { slope } => z.relu()? - (z.neg()?.relu()? * slope)?,
            Self::Tanh => tanh(z),
            Self::Sigmoid => sigmoid(z),
            Self::Silu => silu(z),
            Self::Gelu => gelu(z),
        }
    }

    /// act′ at one sum z; 0 or the slope of a (leaky) ReLU at z = 0.
    pub fn derivative(self, z: f64) -> f64 {
        match self {
            Self::Identity => 1.0,
            Self::Relu if z > 0.0 => 1.0,
            Self::Relu => 0.0,
            Self::LeakyRelu { .. } if z > 0.0 => 1.0,
            Self::LeakyRelu { slope } => slope,
            Self::Tanh => {
                let y = z.tanh();
                1.0 - y * y
            }
            Self::Sigmoid => {
                let y = Real::sigmoid(z);
                y * (1.0 - y)
            }
            Self::Silu => derivative::silu(z),
            Self::Gelu => derivative::gelu(z),
        }
    }

    /// Whether a layer's own pass applies it; the others are an operation of their own, for their derivative needs the sums.
    pub(super) fn is_in_the_layer(self) -> bool {
        match self {
            Self::Identity | Self::Relu | Self::LeakyRelu { .. } | Self::Tanh | Self::Sigmoid => {
                true
            }
            Self::Silu | Self::Gelu => false,
        }
    }
}

/// y ← act(y) for the activations that a layer's own pass applies; the others stay sums.
pub(super) fn activate<T: Real>(y: &mut [T], activation: Activation) {
    let zero = T::zero();
    vectorized(
        #[inline(always)]
        || match activation {
            Activation::Identity | Activation::Silu | Activation::Gelu => {}
            Activation::Relu => y.iter_mut().for_each(|z| *z = if *z < zero { zero } else { *z }),
            Activation::LeakyRelu { slope } => {
                let slope = T::from_f64(slope);
                y.iter_mut().for_each(|z| *z = if *z < zero { slope * *z } else { *z });
            }
            Activation::Tanh => y.iter_mut().for_each(|z| *z = z.tanh()),
            Activation::Sigmoid => y.iter_mut().for_each(|z| *z = z.sigmoid()),
        },
    );
}

/// g ← g · act′(z), read off y = act(z): ReLUs keep the sign, tanh and σ are invertible; NaN stays NaN.
pub(super) fn times_derivative<T: Real>(gradient: &mut [T], y: &[T], activation: Activation) {
    let (zero, one, pairs) = (T::zero(), T::one(), gradient.iter_mut().zip(y));
    vectorized(
        #[inline(always)]
        || match activation {
            Activation::Identity | Activation::Silu | Activation::Gelu => {}
            Activation::Relu => pairs.for_each(|(g, &y)| *g = if y <= zero { zero } else { *g }),
            Activation::LeakyRelu { slope } => {
                let slope = T::from_f64(slope);
                pairs.for_each(|(g, &y)| *g = if y <= zero { slope * *g } else { *g });
            }
            Activation::Tanh => pairs.for_each(|(g, &y)| *g *= one - y * y),
            Activation::Sigmoid => pairs.for_each(|(g, &y)| *g *= y * (one - y)),
        },
    );
}
