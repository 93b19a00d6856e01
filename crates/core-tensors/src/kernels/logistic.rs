//! Functions around log(1 + eˣ), forward and backward in one pass: softplus, and the likelihood of Bernoulli numbers.

use std::sync::OnceLock;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, WithDType, bail};

use super::exponential::exp_m1;
use super::{is_fused, numbers, on_cpu, vectorised};

/// Numbers that are made together, and whose sum is taken in f32 before it enters that of f64.
const LANES: usize = 64;
/// Coefficients of ln(1 + e) = 2 artanh(e / (2 + e)) = 2 Σ s^{2i+1} / (2i + 1), for 0 ≤ s ≤ ⅓.
const ARTANH: [f32; 7] = [1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];

/// Below this eˣ is log(1 + eˣ) to the last digit of f64.
const FAR_BELOW: f64 = -37.0;

/// log(1 + eˣ), element by element, exact also where eˣ is far below 1; the shape stays.
pub fn softplus(x: &Tensor) -> Result<Tensor> {
    if is_fused(&[x]) {
        return x.contiguous()?.apply_op1(Softplus);
    }
    // 1 + eˣ rounds to 1 where x is far below 0, and its logarithm to 0.
    let (near, far) = (((x.abs()?.neg()?.exp()? + 1.0)?.log()? + x.relu()?)?, x.exp()?);
    let limit = if x.dtype() == DType::F64 { FAR_BELOW } else { 0.5 * FAR_BELOW };
    x.lt(limit)?.where_cond(&far, &near)
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
        let slopes = match x.dtype() {
            DType::F32 => {
                let slopes = map::<f32>(numbers(on_cpu(&xs)?, layout)?, sigmoid_of);
                Tensor::from_vec(slopes, x.shape(), x.device())
            }
            _ => {
                let slopes = map::<f64>(numbers(on_cpu(&xs)?, layout)?, sigmoid_of);
                Tensor::from_vec(slopes, x.shape(), x.device())
            }
        };
        (gradient * slopes?).map(Some)
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
    composed(logits, &targets, bound)? / m.max(1) as f64
}

fn composed(logits: &Tensor, targets: &Tensor, bound: f64) -> Result<Tensor> {
    let z = logits.clamp(-bound, bound)?;
    let rest = (z.abs()?.neg()?.exp()? + 1.0)?.log()?;
    (z.relu()? - (targets * &z)? + rest)?.sum_all()
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
        let share = 1.0 / m.max(1) as f32;
        let mut gradient = Vec::with_capacity(logits.len());
        let mut total = 0.0;
        let (mut z, mut t, mut slopes) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for (logits, targets) in logits.chunks(LANES).zip(self.targets.chunks(LANES)) {
            // The last chunk may be short: what is left of the one before counts for nothing.
            let n = logits.len();
            z[..n].copy_from_slice(logits);
            t[..n].copy_from_slice(targets);
            let mut terms = [0.0; LANES];
            chunk(&z, &t, (self.bound, share), &mut slopes, &mut terms);
            total += f64::from(terms[..n].iter().sum::<f32>());
            gradient.extend_from_slice(&slopes[..n]);
        }
        // The first pass of an op is its only one, so the cell is still empty.
        let _ = self.gradient.set(gradient);
        let mean = (total / m.max(1) as f64) as f32;
        Ok((CpuStorage::F32(vec![mean]), ().into()))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, outer: &Tensor) -> Result<Option<Tensor>> {
        let Some(gradient) = self.gradient.get() else {
            bail!("the Bernoulli likelihood was asked for a gradient before its value");
        };
        let outer = outer.to_scalar::<f32>()?;
        let scaled = vectorised(|| gradient.iter().map(|g| g * outer).collect::<Vec<f32>>());
        Tensor::from_vec(scaled, logits.shape(), logits.device()).map(Some)
    }
}

/// Writes the terms of a chunk, and their slopes times the share of an object.
fn chunk(
    z: &[f32; LANES],
    t: &[f32; LANES],
    (bound, share): (f32, f32),
    slopes: &mut [f32; LANES],
    terms: &mut [f32; LANES],
) {
    vectorised(
        #[inline(always)]
        || {
            for i in 0..LANES {
                // Unlike `clamp`, comparisons leave a NaN as it is.
                let inside = if z[i] > bound { bound } else { z[i] };
                let inside = if inside < -bound { -bound } else { inside };
                let e = exp_m1(-inside.abs()) + 1.0;
                let s = e / (2.0 + e);
                let square = s * s;
                let log = 2.0 * s * ARTANH.iter().fold(0.0, |sum, c| sum * square + c);
                let positive = if inside < 0.0 { 0.0 } else { inside };
                terms[i] = positive - t[i] * inside + log;
                let p = if inside < 0.0 { e } else { 1.0 } / (1.0 + e);
                let is_clamped = z[i] > bound || z[i] < -bound;
                slopes[i] = if is_clamped { 0.0 } else { (p - t[i]) * share };
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
            let slope = flat(y.sum_all().unwrap().backward().unwrap().get(&v).unwrap())[0];
            let wanted = 1.0 / (1.0 + (-x).exp());
            assert!((slope / wanted - 1.0).abs() < 1e-15, "{x}");
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
        let slopes = flat(gradient.get(&z).unwrap());
        assert!(zs.iter().any(|z| z.abs() > bound), "no logit lies beyond the bound");
        for ((z, t), slope) in zs.iter().zip(&ts).zip(slopes) {
            let wanted = if z.abs() > bound { 0.0 } else { (p(*z) - t) / 3.0 };
            assert!((slope - wanted).abs() < 1e-6, "{z} {t}: {slope} {wanted}");
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
    }
}
