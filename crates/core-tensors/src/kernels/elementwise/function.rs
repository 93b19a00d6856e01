//! The functions by name: their values and their derivatives at many numbers.

use super::real::Real;
use crate::kernels::vectorized;

/// Beyond this tanh is ±1 in the tanh form of GELU, also in f64; the cube of a larger number could overflow.
const FAR: f64 = 20.0;
/// √(2/π) and the cubic coefficient of the tanh form.
const TANH_SCALE: f64 = 0.797_884_560_802_865_4;
const TANH_CUBE: f64 = 0.044_715;

/// A function that acts on every number alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Function {
    Tanh,
    Sigmoid,
    Erf,
    Gelu,
    GeluTanh,
    Silu,
    HardSwish,
    HardSigmoid { alpha: f64, beta: f64 },
}

impl Function {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tanh => "tanh",
            Self::Sigmoid => "sigmoid",
            Self::Erf => "erf",
            Self::Gelu => "gelu",
            Self::GeluTanh => "gelu-tanh",
            Self::Silu => "silu",
            Self::HardSwish => "hard-swish",
            Self::HardSigmoid { .. } => "hard-sigmoid",
        }
    }

    /// f(x)
    pub(super) fn values<T: Real>(self, x: &[T]) -> Vec<T> {
        match self {
            Self::Tanh => map(x, T::tanh),
            Self::Sigmoid => map(x, T::sigmoid),
            Self::Erf => map(x, T::erf),
            Self::Gelu => map(x, |x| x * normal(x).0),
            Self::GeluTanh => map(x, |x| x * tanh_form(x).0),
            Self::Silu => map(x, |x| x * logistic(x).0),
            Self::HardSwish => {
                let ends = Ramp::swish();
                map(x, |x| x * ends.value(x))
            }
            Self::HardSigmoid { alpha, beta } => {
                let ends = Ramp::new(alpha, beta);
                map(x, |x| ends.value(x))
            }
        }
    }

    /// g · f′(x), with y = f(x).
    pub(super) fn pull_back<T: Real>(self, x: &[T], y: &[T], g: &[T]) -> Vec<T> {
        let (zero, one) = (T::zero(), T::one());
        match self {
            Self::Tanh => zip(y, g, |y, g| g * (one - y * y)),
            Self::Sigmoid => zip(y, g, |y, g| g * (y * (one - y))),
            Self::Erf => {
                let scale = T::from_f64(std::f64::consts::FRAC_2_SQRT_PI);
                zip(x, g, |x, g| g * (scale * (zero - x * x).power()))
            }
            Self::Gelu => zip(x, g, |x, g| {
                let (cumulative, density) = normal(x);
                g * (cumulative + x * density)
            }),
            Self::GeluTanh => zip(x, g, |x, g| {
                let (s, slope) = tanh_form(x);
                g * (s + x * slope)
            }),
            Self::Silu => zip(x, g, |x, g| {
                let (s, slope) = logistic(x);
                g * (s + x * slope)
            }),
            Self::HardSwish => {
                let ends = Ramp::swish();
                zip(x, g, |x, g| g * (ends.value(x) + x * ends.slope(x)))
            }
            Self::HardSigmoid { alpha, beta } => {
                let ends = Ramp::new(alpha, beta);
                zip(x, g, |x, g| g * ends.slope(x))
            }
        }
    }

    /// f′ at one number.
    pub(super) fn derivative(self, x: f64) -> f64 {
        let y = self.values(&[x]);
        self.pull_back(&[x], &y, &[1.0]).into_iter().sum()
    }
}

/// The loop stands here, not in an iterator's own function, which might miss the wide instructions.
#[inline(always)]
fn map<T: Real>(x: &[T], f: impl Fn(T) -> T) -> Vec<T> {
    let mut y = vec![T::zero(); x.len()];
    vectorized(
        #[inline(always)]
        || {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = f(x);
            }
        },
    );
    y
}

#[inline(always)]
fn zip<T: Real>(x: &[T], g: &[T], f: impl Fn(T, T) -> T) -> Vec<T> {
    let mut dx = vec![T::zero(); x.len()];
    vectorized(
        #[inline(always)]
        || {
            for (dx, (&x, &g)) in dx.iter_mut().zip(x.iter().zip(g)) {
                *dx = f(x, g);
            }
        },
    );
    dx
}

/// Φ(x) and φ(x) of the standard normal distribution; a tail keeps its digits.
#[inline(always)]
fn normal<T: Real>(x: T) -> (T, T) {
    let (half, one) = (T::from_f64(0.5), T::one());
    let scaled = x.size() * T::from_f64(std::f64::consts::FRAC_1_SQRT_2);
    let power = (T::zero() - half * x * x).power();
    let tail = half * scaled.erfcx() * power;
    let density = T::from_f64(0.398_942_280_401_432_7) * power;
    (if x < T::zero() { tail } else { one - tail }, density)
}

/// σ(x) and σ′(x) = σ(x) σ(−x), both to their last digits on either side of 0.
#[inline(always)]
fn logistic<T: Real>(x: T) -> (T, T) {
    let e = (T::zero() - x.size()).power();
    let larger = T::one() / (T::one() + e);
    let smaller = e * larger;
    (if x < T::zero() { smaller } else { larger }, larger * smaller)
}

/// σ(2u) = ½ (1 + tanh u) and its derivative by x, with u = √(2/π) (x + 0.044715 x³).
#[inline(always)]
fn tanh_form<T: Real>(x: T) -> (T, T) {
    let far = T::from_f64(FAR);
    let x = if x > far { far } else { x };
    let x = if x < T::zero() - far { T::zero() - far } else { x };
    let (scale, cube) = (T::from_f64(2.0 * TANH_SCALE), T::from_f64(TANH_CUBE));
    let square = x * x;
    let slope = scale * (T::one() + T::from_f64(3.0) * cube * square);
    let (s, derivative) = logistic(scale * x * (T::one() + cube * square));
    (s, derivative * slope)
}

/// αx + β, kept within [0, 1].
#[derive(Clone, Copy)]
struct Ramp<T> {
    alpha: T,
    beta: T,
}

impl<T: Real> Ramp<T> {
    fn new(alpha: f64, beta: f64) -> Self {
        Self { alpha: T::from_f64(alpha), beta: T::from_f64(beta) }
    }

    fn swish() -> Self {
        Self::new(1.0 / 6.0, 0.5)
    }

    /// Comparisons, unlike `clamp`'s, leave a NaN as it is.
    #[inline(always)]
    fn value(self, x: T) -> T {
        let y = self.alpha * x + self.beta;
        let y = if y < T::zero() { T::zero() } else { y };
        if y > T::one() { T::one() } else { y }
    }

    #[inline(always)]
    fn slope(self, x: T) -> T {
        let y = self.alpha * x + self.beta;
        if y <= T::zero() || y >= T::one() { T::zero() } else { self.alpha }
    }
}
