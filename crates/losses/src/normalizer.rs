//! The constant C(g) of the teacher's likelihood p(s | x, g) = C(g) ∏ gₖ^{sₖ}, over each domain s may live in.

use candle_core::Tensor;
use core_tensors::Expected;

use crate::checks::check_count;
use crate::error::Result;
use crate::kernel::softmax;
use crate::stable::by_rows;

mod simplex;

/// The constant C(g) of p(s | x, g) = C ∏ gₖ^{sₖ}; lₖ = log gₖ.
///
/// The last three make it an exponential family with parameter l and mean E s = −∂ log C / ∂l. Over the simplex the
/// teacher's term is therefore least where E s = s, which is not g = s: for s = (.8, .15, .05) it is (.9986, .0014, 0),
/// over the orthant (.645, .355, 0), with the paper's C (.452, .289, .259). Only [`Normalizer::None`] has it at g = s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalizer {
    /// None: the teacher's term is a cross-entropy, a proper score with its optimum at g = s.
    None,
    /// − Σₖ \[log gₖ + log(−log gₖ)\], for fidelity to paper 004's committed loss.
    ///
    /// It does not normalize the density on any domain and flattens g; the published table was made without it.
    Paper,
    /// s ∈ \[0, ∞)ᴷ: independent exponentials, C = ∏ (−lₖ). The loss grows without bound as some gₖ → 1.
    Orthant,
    /// s ∈ \[0, 1\]ᴷ: independent truncated exponentials (the continuous Bernoulli), C = ∏ (−lₖ) / (1 − gₖ).
    ///
    /// Source: Loaiza-Ganem & Cunningham (2019).
    Cube,
    /// s ≥ 0, Σ sₖ = 1: the continuous categorical in its K − 1 free coordinates, 1 / C = exp\[l₁, …, l_K\].
    ///
    /// exp\[l₁, …, l_K\] = Σₖ gₖ / ∏_{j ≠ k} (lₖ − lⱼ) is the divided difference of the exponential, also where some
    /// or all l are equal. Per example 5 µs for 3 classes, 6 µs for 10 and 20 µs for 100, value and gradient on one core.
    ///
    /// Source: Gordon-Rodriguez, Loaiza-Ganem & Cunningham (2020); Hermite & Genocchi for the integral.
    Simplex,
}

/// log C(g) and its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct LogNormalizer {
    /// log C(g), in nats.
    pub value: f64,
    /// ∂ log C / ∂ log gₖ, (k,); where C normalizes, it is −E sₖ.
    pub gradient: Vec<f64>,
}

/// Adds b ∂(−log C)/∂(z/T) to its last argument and returns −log C, at log softmax(z/T) and softmax(z/T).
pub(crate) type Penalty = fn(&[f64], &[f64], f64, &mut [f64]) -> f64;

impl Normalizer {
    /// log C(g) and its gradient by lₖ = log gₖ, (k,), each taken as a free variable: Σ gₖ need not be 1.
    ///
    /// Orthant: Σ log(−lₖ). Cube: Σ log(−lₖ / (1 − gₖ)). Simplex: −log exp\[l₁, …, l_K\]. Paper: Σ lₖ + log(−lₖ).
    /// None: 0. The paper's lacks the factor that depends on k alone. The l may be equal, nearly equal or 1e6 apart: the
    /// value is right to 1e-13 of max(1, |log C|, |lₖ|), each number of the gradient to 1e-12 of itself, for thousands of
    /// classes. The orthant's and the paper's want lₖ < 0.
    ///
    /// ```
    /// use losses::Normalizer;
    /// let found = Normalizer::Simplex.log_normalizer(&[0.5f64.ln(), 0.3f64.ln(), 0.2f64.ln()])?;
    /// assert!(((-found.value).exp() - 0.158_130).abs() < 1e-6);
    /// # Ok::<(), losses::Error>(())
    /// ```
    pub fn log_normalizer(self, log_g: &[f64]) -> Result<LogNormalizer> {
        let negative = matches!(self, Self::Orthant | Self::Paper);
        let range = if negative { "(−∞, 0)" } else { "(−∞, ∞)" };
        for &value in log_g {
            if !value.is_finite() || (negative && value >= 0.0) {
                return Err(core_tensors::Error::OutOfRange { name: "log g", value, range }.into());
            }
        }
        check_count("classes", Expected::AtLeast(1), !log_g.is_empty(), 0)?;
        let of_each = |term: fn(f64) -> (f64, f64)| {
            let (values, gradient): (Vec<f64>, _) = log_g.iter().map(|&l| term(l)).unzip();
            LogNormalizer { value: values.iter().sum(), gradient }
        };
        Ok(match self {
            Self::None => of_each(|_| (0.0, 0.0)),
            Self::Paper => of_each(|l| (l + (-l).ln(), 1.0 + 1.0 / l)),
            Self::Orthant => of_each(|l| ((-l).ln(), 1.0 / l)),
            Self::Cube => of_each(|l| {
                let (log_integral, mean) = unit_interval(l);
                (-log_integral, -mean)
            }),
            Self::Simplex => {
                let mut mean = vec![0.0; log_g.len()];
                let value = -simplex::log_integral(log_g, &mut mean);
                LogNormalizer { value, gradient: mean.iter().map(|mean| -mean).collect() }
            }
        })
    }

    /// What the teacher's term gains by a constant that normalizes; the paper's is mixed with its cross-entropy.
    pub(crate) fn penalty(self) -> Option<Penalty> {
        match self {
            Self::None | Self::Paper => None,
            Self::Orthant => Some(orthant),
            Self::Cube => Some(cube),
            Self::Simplex => Some(simplex),
        }
    }
}

/// −log C of each row of z/T, (m, k) → (m,), on any device; the arithmetic is f64 on the CPU.
pub(crate) fn of_logits(penalty: Penalty, logits: &Tensor) -> Result<Tensor> {
    let k = logits.dims2()?.1;
    let (mut log_g, mut g) = (vec![0.0; k], vec![0.0; k]);
    Ok(by_rows(logits, |z, derivatives| {
        log_g.copy_from_slice(z);
        softmax(&mut log_g, &mut g, k, 1.0);
        penalty(&log_g, &g, 1.0, derivatives)
    })?)
}

/// −Σ log(−lₖ) on the softmax. Near gⱼ = 1 the digits of lⱼ and 1 − gⱼ are in the other l, and even they are no numbers
/// of f64 beyond logits 700 apart: hence logarithms throughout.
fn orthant(l: &[f64], g: &[f64], b: f64, derivative: &mut [f64]) -> f64 {
    let most = (0..l.len()).fold(0, |most, j| if l[j] > l[most] { j } else { most });
    let others = || (0..l.len()).filter(|&j| j != most);
    let next = others().map(|j| l[j]).fold(f64::NEG_INFINITY, f64::max);
    // log(1 − g) of the largest, −∞ for a single class.
    let log_rest = next + others().map(|j| (l[j] - next).exp()).sum::<f64>().ln();
    // log(−l) of the largest, where −l = −log(1 − rest).
    let log_depth = if log_rest < SURE { log_rest } else { (-l[most]).ln() };
    // ∂(−log(−lⱼ))/∂lⱼ = −1 / lⱼ
    let total: f64 = others().map(|j| -1.0 / l[j]).sum();
    for j in others() {
        let from_most = (l[j] - log_depth).exp();
        derivative[j] += b * (-1.0 / l[j] - g[j] * total - from_most);
    }
    derivative[most] += b * ((log_rest - log_depth).exp() - g[most] * total);
    -log_depth - others().map(|j| (-l[j]).ln()).sum::<f64>()
}

/// log(1 − g) below which −log g and 1 − g are one number.
const SURE: f64 = -37.0;

/// Σ log((1 − gₖ) / −lₖ) on the softmax.
fn cube(l: &[f64], g: &[f64], b: f64, derivative: &mut [f64]) -> f64 {
    let (values, means): (Vec<f64>, Vec<f64>) = l.iter().map(|&l| unit_interval(l)).unzip();
    through_softmax(&means, g, b, derivative);
    values.iter().sum()
}

/// log exp\[l₁, …, l_K\] on the softmax.
fn simplex(l: &[f64], g: &[f64], b: f64, derivative: &mut [f64]) -> f64 {
    let mut means = vec![0.0; l.len()];
    let value = simplex::log_integral(l, &mut means);
    through_softmax(&means, g, b, derivative);
    value
}

/// Adds b ∂/∂zⱼ = b (uⱼ − gⱼ Σ uₖ) for derivatives u by l = log softmax(z).
fn through_softmax(u: &[f64], g: &[f64], b: f64, derivative: &mut [f64]) {
    let total: f64 = u.iter().sum();
    for ((derivative, u), g) in derivative.iter_mut().zip(u).zip(g) {
        *derivative += b * (u - g * total);
    }
}

/// log ∫₀¹ e^{sl} ds = log((eˡ − 1) / l) and its derivative E s = 1 / (1 − e⁻ˡ) − 1 / l.
fn unit_interval(l: f64) -> (f64, f64) {
    if l > 0.0 {
        // s → 1 − s
        let (value, mean) = unit_interval(-l);
        return (value + l, 1.0 - mean);
    }
    if l > -SERIES {
        let square = l * l;
        // The next term is 691 l¹¹ / 1307674368000, below 2e-16.
        let mean = 0.5 + l * BERNOULLI.iter().fold(0.0, |sum, c| sum * square + c);
        let value = if l == 0.0 { 0.0 } else { (l.exp_m1() / l).ln() };
        return (value, mean);
    }
    ((-l.exp_m1()).ln() - (-l).ln(), l.exp() / l.exp_m1() - 1.0 / l)
}

/// Below this |l| the derivative is a series: its two parts lose 1 / l digits there.
const SERIES: f64 = 0.25;
/// B₂ⱼ / (2j)! for j = 5, …, 1.
const BERNOULLI: [f64; 5] =
    [1.0 / 47_900_160.0, -1.0 / 1_209_600.0, 1.0 / 30_240.0, -1.0 / 720.0, 1.0 / 12.0];

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod tests;
