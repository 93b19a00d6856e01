//! The integral over the probability simplex: a divided difference of the exponential, as a contour integral.

use std::f64::consts::{FRAC_PI_8, TAU};

/// β: the contour leaves the saddle upwards and ends at the angle π/2 + β. Up to π/4 the integrand falls along it.
const ANGLE: f64 = FRAC_PI_8;
/// Height of the contour in widths of the saddle.
const WIDTH: f64 = 2.0;
/// Step of the trapezoidal rule. The contours at angles β ± π/8 have a bounded integrand too, hence an error of
/// exp(−2π (π/8) / h) = 1e-16.
const STEP: f64 = 1.0 / 15.0;
/// A node of this share of the sum is the last; two or three more would follow at most.
const NEGLIGIBLE: f64 = 1e-18;
/// No contour has come to 80 nodes; numbers that are not finite end here.
const MOST_NODES: usize = 200;
/// Newton's steps to the saddle, of which at most 7 have been taken.
const MOST_STEPS: usize = 50;
/// Factors between two powers of e: their product is at most 1.09 each, so that no partial product overflows.
const CHUNK: usize = 1024;

/// log exp\[l₁, …, l_K\], K ≥ 1, of any spread, equal ones too; `mean` ← ∂/∂lₖ = E sₖ.
///
/// exp\[l₁, …, l_K\] = (2πi)⁻¹ ∫ eᵖ ∏ₖ (p − lₖ)⁻¹ dp
///
/// on a contour to the right of all l. With xₖ = max l − lₖ, a saddle p₀ where Σ qₖ = 1 for qₖ = (p₀ + xₖ)⁻¹, and
/// p = max l + p₀ + ζ the integrand is e^{max l + p₀} ∏ qₖ times ∏ₖ exp(qₖζ) / (1 + qₖζ), in which each factor is at
/// most 1 in modulus wherever π/2 ≤ |arg ζ| ≤ 3π/4, and falls along the hyperbola
///
/// ζ(u) = σ W \[i sinh u − tan β (cosh u − 1)\],  σ⁻² = Σ qₖ².
///
/// So nothing cancels, whichever l come close, and some 60 nodes of the trapezoidal rule give all digits. E sₖ is the
/// same sum with one more factor qₖ / (1 + qₖζ), over the sum.
///
/// Source: for the hyperbola, Weideman & Trefethen (2007), Math. Comp. 76; the saddle keeps it apart from K.
pub(super) fn log_integral(l: &[f64], mean: &mut [f64]) -> f64 {
    let top = l.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let (saddle, q) = saddle(l, top);
    let log_peak = saddle + q.iter().map(|q| q.ln()).sum::<f64>();
    let height = WIDTH / q.iter().map(|q| q * q).sum::<f64>().sqrt();
    let depth = height * ANGLE.tan();
    let exponents: Vec<f64> = q.chunks(CHUNK).map(|q| q.iter().sum()).collect();

    // The node u = 0; those at ±u are conjugates.
    let mut total = height;
    mean.iter_mut().zip(&q).for_each(|(mean, q)| *mean = height * q);
    let mut inverse = vec![(0.0, 0.0); q.len()];
    for node in 1..=MOST_NODES {
        let u = node as f64 * STEP;
        let (sinh, cosh) = (u.sinh(), u.cosh());
        let zeta = (-depth * (cosh - 1.0), height * sinh);
        let mut term = (height * cosh, depth * sinh); // dζ / i du
        let chunks = q.chunks(CHUNK).zip(inverse.chunks_mut(CHUNK)).zip(&exponents);
        for ((q, inverse), exponent) in chunks {
            for (inverse, q) in inverse.iter_mut().zip(q) {
                let (re, im) = (1.0 + zeta.0 * q, zeta.1 * q);
                let scale = 1.0 / (re * re + im * im);
                *inverse = (re * scale, -im * scale);
            }
            let (sin, cos) = (exponent * zeta.1).sin_cos();
            let modulus = (exponent * zeta.0).exp();
            term = times(term, (modulus * cos, modulus * sin));
            term = inverse.iter().fold(term, |term, &inverse| times(term, inverse));
        }
        total += 2.0 * term.0;
        for ((mean, q), inverse) in mean.iter_mut().zip(&q).zip(&inverse) {
            *mean += 2.0 * q * times(term, *inverse).0;
        }
        if term.0.hypot(term.1) < NEGLIGIBLE * total {
            break;
        }
    }
    mean.iter_mut().for_each(|mean| *mean /= total);
    top + log_peak + (total * STEP / TAU).ln()
}

/// p₀ ∈ \[1, K\] and qₖ = (p₀ + max l − lₖ)⁻¹ with Σ qₖ = 1, by Newton's method for 1 / Σ qₖ.
///
/// That function of p₀ is concave, so the steps from p₀ = 1 never pass the saddle; from K equal l it takes one.
fn saddle(l: &[f64], top: f64) -> (f64, Vec<f64>) {
    let mut p = 1.0;
    let mut q = vec![0.0; l.len()];
    for _ in 0..MOST_STEPS {
        q.iter_mut().zip(l).for_each(|(q, l)| *q = 1.0 / (p + (top - l)));
        let (sum, squares) = q.iter().fold((0.0, 0.0), |(a, b), q| (a + q, b + q * q));
        let step = sum * (sum - 1.0) / squares;
        // The sum is then 1 to 1e-15 after this step, and to 1e-12 or so before it.
        if step.is_nan() || step.abs() < 4.0 * f64::EPSILON * p {
            break;
        }
        p += step;
    }
    (p, q)
}

/// (a + ib)(c + id)
fn times((a, b): (f64, f64), (c, d): (f64, f64)) -> (f64, f64) {
    (a * c - b * d, a * d + b * c)
}
