//! Functions around log(1 + eˣ), forward and backward in one pass: softplus, and the likelihood of Bernoulli numbers.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType, bail};

use super::exponential::exp;
use super::{is_fused, numbers, on_cpu, vectorized};

/// Numbers that are made together, and whose sum is taken in f32 before it enters that of f64.
const LANES: usize = 64;
/// Coefficients of ln(1 + e) = 2 artanh(e / (2 + e)) = 2 Σ s^{2i+1} / (2i + 1), for 0 ≤ s ≤ ⅓.
const ARTANH: [f32; 7] = [1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];

/// log(1 + eˣ), element by element, exact also where eˣ is far below 1; the shape stays.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    if is_fused(&[x]) {
        return x.contiguous()?.apply_op1(Softplus);
    }
    composed_softplus(x)
}

/// [`softplus`] of tensor operations, whose last digits may differ: the form for losses of two players.
///
/// max(x, 0) + log(1 + e),  e = e^{−|x|}
///
/// The training of a discriminator and a student amplifies a last digit to percents within some passes, so that their
/// losses keep one form on every device.
pub fn composed_softplus(x: &Tensor) -> Result<Tensor> {
    // Summed by parts, a derivative far below 1 would round away beside 1: the whole derivative rides on a term that is zero.
    let fixed = x.detach();
    let power = fixed.abs()?.neg()?.exp()?;
    let derivative = (fixed.minimum(0.0)?.exp()? / (&power + 1.0)?)?;
    let value = (fixed.relu()? + log_1p(&power)?)?;
    value + (derivative * (x - fixed)?)?
}

/// log(1 + x) for 0 ≤ x < ∞, to the last digits also where x is far below 1.
///
/// x log(u) / (u − 1) with u = 1 + x rounded, x where u is 1. The derivative 1 / (1 + x) rides on a term that is zero.
///
/// Source: Higham (2002), Accuracy and Stability of Numerical Algorithms, section 1.14.1.
pub fn log_1p(x: &Tensor) -> Result<Tensor> {
    let fixed = x.detach();
    let u = (&fixed + 1.0)?;
    let is_one = u.eq(1.0)?.to_dtype(x.dtype())?;
    let quotient = (u.log()? / ((&u - 1.0)? + &is_one)?)?;
    let value = (&fixed * (quotient + is_one)?)?;
    value + (u.recip()? * (x - fixed)?)?
}

struct Softplus;

impl CustomOp1 for Softplus {
    fn name(&self) -> &'static str {
        "softplus"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F32(_) => CpuStorage::F32(map::<f32>(numbers(x, layout)?, softplus_of)),
            _ => CpuStorage::F64(map::<f64>(numbers(x, layout)?, softplus_of)),
        };
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (xs, layout) = x.storage_and_layout();
        let derivatives = match x.dtype() {
            DType::F32 => {
                let derivatives = map::<f32>(numbers(on_cpu(&xs)?, layout)?, sigmoid_of);
                Tensor::from_vec(derivatives, x.shape(), x.device())
            }
            _ => {
                let derivatives = map::<f64>(numbers(on_cpu(&xs)?, layout)?, sigmoid_of);
                Tensor::from_vec(derivatives, x.shape(), x.device())
            }
        };
        (gradient * derivatives?).map(Some)
    }
}

fn map<T: WithDType>(x: &[T], f: fn(f64) -> f64) -> Vec<T> {
    x.iter().map(|x| T::from_f64(f(x.to_f64()))).collect()
}

fn softplus_of(x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + (-x.abs()).exp().ln_1p() }
}

fn sigmoid_of(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// −m⁻¹ Σᵢⱼ tᵢⱼ log pᵢⱼ + (1 − tᵢⱼ) log(1 − pᵢⱼ) in nats, with p = sigmoid(z) kept within ±`bound` of z; shape ().
///
/// `logits` z are (m, n), `targets` t in \[0, 1\] likewise; no gradient reaches the targets. A logit beyond the bound
/// counts as the bound and gets no gradient, as where p is clamped to \[c, 1 − c\] with bound = log((1 − c) / c); an
/// infinite bound clamps nothing.
pub fn bernoulli_negative_log(logits: &Tensor, targets: &Tensor, bound: f64) -> Result<Tensor> {
    let (m, _) = logits.dims2()?;
    if m == 0 {
        bail!("a Bernoulli likelihood wanted at least one row, found none");
    }
    if targets.dims() != logits.dims() {
        bail!("Bernoulli targets wanted {:?}, found {:?}", logits.dims(), targets.dims());
    }
    if bound.is_nan() || bound <= 0.0 {
        bail!("bound of Bernoulli logits must lie in (0, ∞], got {bound}");
    }
    let targets = targets.detach().to_dtype(logits.dtype())?.contiguous()?;
    if is_fused(&[logits]) && logits.dtype() == DType::F32 {
        let targets = targets.flatten_all()?.to_vec1()?;
        let op = Bernoulli { targets, bound: bound as f32, gradient: OnceLock::new() };
        return logits.contiguous()?.apply_op1(op);
    }
    composed(logits, &targets, bound)? / m as f64
}

fn composed(logits: &Tensor, targets: &Tensor, bound: f64) -> Result<Tensor> {
    let z = logits.clamp(-bound, bound)?;
    // t (softplus z − z) + (1 − t) softplus z, where softplus z − z = softplus(−z).
    let of_ones = (targets * composed_softplus(&z.neg()?)?)?;
    let of_zeros = (targets.affine(-1.0, 1.0)? * composed_softplus(&z)?)?;
    (of_ones + of_zeros)?.sum_all()
}

struct Bernoulli {
    targets: Vec<f32>,
    bound: f32,
    /// ∂(loss)/∂(logits), left by the forward pass.
    gradient: OnceLock<Vec<f32>>,
}

impl CustomOp1 for Bernoulli {
    fn name(&self) -> &'static str {
        "bernoulli"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (m, _) = layout.shape().dims2()?;
        let logits = numbers::<f32>(logits, layout)?;
        let share = 1.0 / m as f32;
        let mut gradient = Vec::with_capacity(logits.len());
        let mut total = 0.0;
        let (mut z, mut t, mut derivatives) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for (logits, targets) in logits.chunks(LANES).zip(self.targets.chunks(LANES)) {
            // The last chunk may be short: what is left of the one before counts for nothing.
            let n = logits.len();
            z[..n].copy_from_slice(logits);
            t[..n].copy_from_slice(targets);
            let mut terms = [0.0; LANES];
            chunk(&z, &t, (self.bound, share), &mut derivatives, &mut terms);
            total += f64::from(terms[..n].iter().sum::<f32>());
            gradient.extend_from_slice(&derivatives[..n]);
        }
        // The first pass of an op is its only one, so the cell is still empty.
        let _ = self.gradient.set(gradient);
        let mean = (total / m as f64) as f32;
        Ok((CpuStorage::F32(vec![mean]), ().into()))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, outer: &Tensor) -> Result<Option<Tensor>> {
        let Some(gradient) = self.gradient.get() else {
            bail!("the Bernoulli likelihood was asked for a gradient before its value");
        };
        let outer = outer.to_scalar::<f32>()?;
        let scaled = vectorized(|| gradient.iter().map(|g| g * outer).collect::<Vec<f32>>());
        Tensor::from_vec(scaled, logits.shape(), logits.device()).map(Some)
    }
}

/// Writes the terms of a chunk, and their derivatives times the share of an example.
fn chunk(
    z: &[f32; LANES],
    t: &[f32; LANES],
    (bound, share): (f32, f32),
    derivatives: &mut [f32; LANES],
    terms: &mut [f32; LANES],
) {
    vectorized(
        #[inline(always)]
        || {
            for i in 0..LANES {
                // Unlike `clamp`, comparisons leave a NaN as it is.
                let inside = if z[i] > bound { bound } else { z[i] };
                let inside = if inside < -bound { -bound } else { inside };
                let e = exp(-inside.abs());
                let s = e / (2.0 + e);
                let square = s * s;
                let log = 2.0 * s * ARTANH.iter().fold(0.0, |sum, c| sum * square + c);
                // p lies e / (1 + e) from its nearer end: taken from 1 it would lose its digits.
                let (rest, from_end) =
                    (e / (1.0 + e), if inside < 0.0 { -t[i] } else { 1.0 - t[i] });
                terms[i] = from_end * inside + log;
                let derivative = if inside < 0.0 { from_end + rest } else { from_end - rest };
                let is_clamped = z[i] > bound || z[i] < -bound;
                derivatives[i] = if is_clamped { 0.0 } else { derivative * share };
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;
    use candle_core::{Device, Var};

    fn logits_and_targets(dtype: DType) -> (Var, Tensor) {
        let mut rng = Rng::new(0);
        let z: Vec<f64> = (0..3 * 47).map(|_| 3.0 * rng.normal()).collect();
        let t: Vec<f64> = (0..3 * 47).map(|_| rng.uniform()).collect();
        let tensor =
            |v| Tensor::from_vec(v, (3, 47), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        (Var::from_tensor(&tensor(z)).unwrap(), tensor(t))
    }

    fn flat(t: &Tensor) -> Vec<f64> {
        t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn softplus_keeps_its_digits_far_below_zero() {
        for x in [-60.0, -20.0, -1.0, 0.0, 3.0, 700.0] {
            let v = Var::new(&[x], &Device::Cpu).unwrap();
            let y = softplus(&v).unwrap();
            let wanted = if x < 30.0 { f64::exp(x).ln_1p() } else { x };
            assert!((flat(&y)[0] / wanted - 1.0).abs() < 1e-15, "{x}");
            let derivative = flat(y.sum_all().unwrap().backward().unwrap().get(&v).unwrap())[0];
            let wanted = 1.0 / (1.0 + (-x).exp());
            assert!((derivative / wanted - 1.0).abs() < 1e-15, "{x}");
        }
        let single = Tensor::new(&[-60f32, f32::NAN], &Device::Cpu).unwrap();
        let found = softplus(&single).unwrap().to_vec1::<f32>().unwrap();
        assert!((found[0] / (-60f32).exp() - 1.0).abs() < 1e-6 && found[1].is_nan());
    }

    #[test]
    fn equals_the_formula_with_clamped_probabilities() {
        let (z, t) = logits_and_targets(DType::F32);
        let smallest = 0.01f64;
        let bound = ((1.0 - smallest) / smallest).ln();
        let loss = bernoulli_negative_log(&z, &t, bound).unwrap();
        let (zs, ts) = (flat(&z), flat(&t));
        let p = |z: f64| 1.0 / (1.0 + (-z).exp());
        let term = |(&z, &t): (&f64, &f64)| {
            let p = p(z).clamp(smallest, 1.0 - smallest);
            -(t * p.ln() + (1.0 - t) * (1.0 - p).ln())
        };
        let wanted = zs.iter().zip(&ts).map(term).sum::<f64>() / 3.0;
        // Single precision: 141 terms of about 1, each to a few 2⁻²⁴.
        let found = f64::from(loss.to_scalar::<f32>().unwrap());
        assert!((found - wanted).abs() < 1e-6 * wanted, "{found} {wanted}");
        let gradient = loss.backward().unwrap();
        let derivatives = flat(gradient.get(&z).unwrap());
        assert!(zs.iter().any(|z| z.abs() > bound), "no logit lies beyond the bound");
        for ((z, t), derivative) in zs.iter().zip(&ts).zip(derivatives) {
            let wanted = if z.abs() > bound { 0.0 } else { (p(*z) - t) / 3.0 };
            assert!((derivative - wanted).abs() < 1e-6, "{z} {t}: {derivative} {wanted}");
        }
    }

    #[test]
    fn the_composed_form_is_the_fused_one() {
        let ((z, t), (z64, t64)) = (logits_and_targets(DType::F32), logits_and_targets(DType::F64));
        for bound in [2.0, f64::INFINITY] {
            let fused = bernoulli_negative_log(&z, &t, bound).unwrap();
            let plain = bernoulli_negative_log(&z64, &t64, bound).unwrap();
            assert!((flat(&fused)[0] - flat(&plain)[0]).abs() < 1e-5);
            let [a, b] = [(&fused, &z), (&plain, &z64)]
                .map(|(loss, z)| flat(loss.backward().unwrap().get(z).unwrap()));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6));
        }
    }

    #[test]
    fn confident_logits_keep_their_digits() {
        // What is right at z = ±20 costs log(1 + e⁻²⁰) = 2.06e-9: both the loss and its derivative are tails.
        for (z, t) in [(20.0f64, 1.0f64), (-20.0, 0.0), (9.0, 1.0), (-40.0, 0.0), (3.0, 0.0)] {
            let tail = (-z.abs()).exp();
            let is_right = (z > 0.0) == (t > 0.5);
            let wanted = [
                if is_right { tail.ln_1p() } else { z.abs() + tail.ln_1p() },
                (if is_right { tail } else { 1.0 } / (1.0 + tail)) * (0.5 - t).signum(),
            ];
            // A few roundings of each type.
            for (dtype, tolerance) in [(DType::F32, 1e-6), (DType::F64, 1e-14)] {
                let logit = Tensor::new(&[[z]], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
                let logit = Var::from_tensor(&logit).unwrap();
                let target = Tensor::new(&[[t]], &Device::Cpu).unwrap();
                let fused = bernoulli_negative_log(&logit, &target, f64::INFINITY).unwrap();
                let target = target.to_dtype(dtype).unwrap();
                let plain = composed(&logit, &target, f64::INFINITY).unwrap();
                for loss in [fused, plain] {
                    let gradients = loss.backward().unwrap();
                    let found = [flat(&loss)[0], flat(gradients.get(&logit).unwrap())[0]];
                    for (found, wanted) in found.into_iter().zip(wanted) {
                        let gap = (found / wanted - 1.0).abs();
                        assert!(gap < tolerance, "{dtype:?} {z} {t}: {found} {wanted}");
                    }
                }
            }
        }
    }

    /// Value and derivatives of a function of numbers, in one precision.
    fn at(x: &[f64], dtype: DType, f: impl Fn(&Tensor) -> Result<Tensor>) -> [Vec<f64>; 2] {
        let x = Tensor::new(x, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let x = Var::from_tensor(&x).unwrap();
        let y = f(&x).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        [flat(&y), flat(gradients.get(&x).unwrap())]
    }

    /// Types and the rounding of a handful of operations in them.
    const TYPES: [(DType, f64); 3] = [(DType::F64, 1e-15), (DType::F32, 5e-7), (DType::BF16, 3e-2)];

    #[test]
    fn softplus_keeps_its_digits_at_any_argument() {
        // Numbers of each of the types.
        let x: Vec<f64> = (-160..=160).map(|i| 0.5 * f64::from(i)).collect();
        for (dtype, rounding) in TYPES {
            for form in [softplus, composed_softplus] {
                let [values, derivatives] = at(&x, dtype, form);
                for ((x, value), derivative) in x.iter().zip(values).zip(derivatives) {
                    let wanted = x.max(0.0) + (-x.abs()).exp().ln_1p();
                    assert!((value / wanted - 1.0).abs() < rounding, "{dtype:?} {x}: {value:e}");
                    let wanted = (-(-x).exp().ln_1p()).exp();
                    // In f32 a power is rounded by as many units as its argument has.
                    assert!(
                        (derivative / wanted - 1.0).abs() < 20.0 * rounding,
                        "{dtype:?} {x}: {derivative:e}"
                    );
                }
            }
        }
    }

    #[test]
    fn log_1p_and_its_slope_at_tiny_and_huge_numbers() {
        let x = [0.0, 1e-30, 3e-17, 1e-9, 1e-7, 3e-4, 0.1, 1.0, 7.0, 1e30];
        for (dtype, rounding) in &TYPES[..2] {
            let [values, derivatives] = at(&x, *dtype, log_1p);
            for ((x, value), derivative) in x.iter().zip(values).zip(derivatives) {
                assert!(
                    (value - x.ln_1p()).abs() <= rounding * x.ln_1p(),
                    "{dtype:?} {x}: {value:e}"
                );
                assert!(
                    (derivative * (1.0 + x) - 1.0).abs() < *rounding,
                    "{dtype:?} {x}: {derivative:e}"
                );
            }
        }
    }

    #[test]
    fn far_logits_stay_finite_and_nan_stays() {
        let loss = |z: f32| {
            let z = Tensor::new(&[[z, 0.0]], &Device::Cpu).unwrap();
            let t = Tensor::new(&[[0f32, 0.5]], &Device::Cpu).unwrap();
            bernoulli_negative_log(&z, &t, f64::INFINITY).unwrap().to_scalar::<f32>().unwrap()
        };
        assert!((loss(1e6) - 1e6).abs() < 1.0);
        assert!((loss(-1e6) - 2f32.ln()).abs() < 1e-6);
        assert!(loss(f32::NAN).is_nan());
    }

    #[test]
    fn other_shapes_and_bounds_are_refused() {
        let (z, t) = logits_and_targets(DType::F32);
        let short = t.narrow(0, 0, 2).unwrap();
        let message = bernoulli_negative_log(&z, &short, 1.0).unwrap_err().to_string();
        assert!(message.contains("wanted [3, 47], found [2, 47]"), "{message}");
        assert!(bernoulli_negative_log(&z, &t, 0.0).is_err());
        let none = Tensor::zeros((0, 4), DType::F32, &Device::Cpu).unwrap();
        let message = bernoulli_negative_log(&none, &none, 1.0).unwrap_err().to_string();
        assert!(message.contains("wanted at least one row, found none"), "{message}");
    }
}
