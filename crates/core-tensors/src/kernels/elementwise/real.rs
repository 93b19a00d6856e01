//! Exponential, logistic, hyperbolic and error functions of single numbers, in forms that vectorize.

use candle_core::WithDType;

use crate::kernels::exponential::{exp, exp_m1};

/// a in t = a / (a + x), which maps x in [0, ∞] to [0, 1], where [`Real::erfcx`] over t is a polynomial in 2t − 1.
const F32_MAP: f32 = 1.5;
const F64_MAP: f64 = 3.0;
/// Interpolation of e^{x²} erfc(x) / t at Chebyshev's points, relative error 1e-7; highest power first.
const F32_ERFCX: [f32; 11] = [
    -0.0001189142,
    0.00014336198,
    0.0005254822,
    -0.0012579918,
    -0.0005103804,
    0.0063343327,
    -0.0054186657,
    -0.03184977,
    0.05041481,
    0.33856687,
    0.64317083,
];
/// The same in f64, relative error 5e-16.
const F64_ERFCX: [f64; 24] = [
    -2.78145169324351e-10,
    6.256886194604479e-13,
    2.9446902480732897e-9,
    -1.1810448110668006e-9,
    -1.7182796716497014e-8,
    1.6635266251912358e-8,
    7.81324053250242e-8,
    -1.3720856536156412e-7,
    -3.3310770528835213e-7,
    9.225694167393381e-7,
    1.5831116432422596e-6,
    -5.823851812478708e-6,
    -1.0132724367686577e-5,
    3.5853922293636255e-5,
    9.225928162250739e-5,
    -0.00018276991408606216,
    -0.0010113540002761332,
    -0.0004041388739481476,
    0.008942411541486702,
    0.03984258709566566,
    0.10348908730018903,
    0.19674278570136935,
    0.2944648177232945,
    0.3580023023627799,
];
/// Interpolation of erf(x) / x in powers of x² for |x| ≤ 1, relative error 1.3e-7; highest power first.
const F32_ERF: [f32; 7] = [
    7.875875e-5,
    -0.00080168643,
    0.0051890872,
    -0.026854211,
    0.11283594,
    -0.37612626,
    std::f32::consts::FRAC_2_SQRT_PI,
];
/// The same in f64, relative error 2e-16.
const F64_ERF: [f64; 13] = [
    5.957176147748911e-11,
    -1.1372848856791674e-9,
    1.4659775274047436e-8,
    -1.6350312701054695e-7,
    1.6461000484121368e-6,
    -1.4925595266831182e-5,
    0.0001205533111164271,
    -0.000854832698083379,
    0.0052239776248180145,
    -0.026866170645076792,
    0.11283791670954879,
    -0.3761263890318375,
    std::f64::consts::FRAC_2_SQRT_PI,
];

/// Below this eˣ leaves the normal range of f32.
const F32_SMALLEST: f32 = -87.336_54;

/// Numbers with the functions of activations; NaN stays NaN. Many at once are vectorized by the caller.
pub(in crate::kernels) trait Real: WithDType {
    /// |x|
    fn size(self) -> Self;
    /// eˣ; 0 below the normal range.
    fn power(self) -> Self;
    /// σ(x) = 1 / (1 + e⁻ˣ)
    fn sigmoid(self) -> Self;
    /// tanh x
    fn tanh(self) -> Self;
    /// e^{x²} erfc(x) for x ≥ 0, where erfc(x) = 1 − erf(x).
    fn erfcx(self) -> Self;
    /// erf(x) = 2/√π ∫₀ˣ e^{−s²} ds
    fn erf(self) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn size(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn power(self) -> Self {
        if self < F32_SMALLEST { 0.0 } else { exp(self) }
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (2.0 + exp_m1(-self))
    }

    #[inline(always)]
    fn tanh(self) -> Self {
        let e = exp_m1(-2.0 * self.abs());
        (-e / (2.0 + e)).copysign(self)
    }

    #[inline(always)]
    fn erfcx(self) -> Self {
        let t = F32_MAP / (F32_MAP + self);
        let u = 2.0 * t - 1.0;
        // Written out: a loop of this length would not be vectorized with those around it.
        let [a, b, c, d, e, f, g, h, i, j, k] = F32_ERFCX;
        let high = ((((a * u + b) * u + c) * u + d) * u + e) * u + f;
        t * (((((high * u + g) * u + h) * u + i) * u + j) * u + k)
    }

    #[inline(always)]
    fn erf(self) -> Self {
        let (x, square) = (self.abs(), self * self);
        let [a, b, c, d, e, f, g] = F32_ERF;
        let high = (((a * square + b) * square + c) * square + d) * square + e;
        let near = self * ((high * square + f) * square + g);
        let far = (1.0 - x.erfcx() * exp(-square)).copysign(self);
        if x < 1.0 { near } else { far }
    }
}

impl Real for f64 {
    #[inline(always)]
    fn size(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn power(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + (-self).exp())
    }

    #[inline(always)]
    fn tanh(self) -> Self {
        f64::tanh(self)
    }

    #[inline(always)]
    fn erfcx(self) -> Self {
        let t = F64_MAP / (F64_MAP + self);
        let u = 2.0 * t - 1.0;
        t * F64_ERFCX.iter().fold(0.0, |sum, c| sum * u + c)
    }

    #[inline(always)]
    fn erf(self) -> Self {
        let (x, square) = (self.abs(), self * self);
        if x < 1.0 {
            return self * F64_ERF.iter().fold(0.0, |sum, c| sum * square + c);
        }
        (1.0 - x.erfcx() * (-square).exp()).copysign(self)
    }
}
