//! Many standard normal draws at once: the ziggurat of the single draw branches, this does not.

use super::vectorized;

/// ln 2.
const LN_2: f32 = std::f32::consts::LN_2;
/// 2⁻²⁴, the step of 24 random bits.
const STEP: f32 = 1.0 / 16_777_216.0;
/// Coefficients of ln(1 + t) = 2 artanh(t / (2 + t)) = 2 Σ s^{2i+1} / (2i + 1), for |s| ≤ 0.172.
const ARTANH: [f32; 5] = [1.0 / 9.0, 1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0];
/// 1/9!, −1/7!, 1/5!, −1/3!, 1: sine on |x| ≤ π/4.
const SINE: [f32; 5] = [2.755_731_9e-6, -1.984_127e-4, 8.333_334e-3, -0.166_666_67, 1.0];
/// 1/8!, −1/6!, 1/4!, −1/2!, 1: cosine on |x| ≤ π/4.
const COSINE: [f32; 5] = [2.480_158_7e-5, -1.388_888_9e-3, 4.166_666_8e-2, -0.5, 1.0];

/// Numbers that are made together.
pub(crate) const LANES: usize = 64;

/// N(0, 1) draws from random words, two from two, by Box and Muller's transform.
///
/// √(−2 ln u) (cos 2πv, sin 2πv), u on the middles of 2²⁴ equal steps of (0, 1), so that |z| < 5.9: a draw beyond
/// has a probability of 4e-9. Only sums, products and roots are used, each rounded as IEEE 754 says: the same words
/// give the same bits everywhere.
pub(crate) fn normals(words: &[u32; LANES], out: &mut [f32; LANES]) {
    vectorized(
        #[inline(always)]
        || {
            const HALF: usize = LANES / 2;
            for i in 0..HALF {
                let radius = (-2.0 * log((words[i] >> 8) as f32 * STEP + 0.5 * STEP)).sqrt();
                let (sine, cosine) = sine_and_cosine(words[HALF + i]);
                out[i] = radius * cosine;
                out[HALF + i] = radius * sine;
            }
        },
    );
}

/// ln x for a positive normal number.
#[inline(always)]
fn log(x: f32) -> f32 {
    // x = 2ᵉ m with m in [√½, √2).
    let bits = x.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (bits as i32 >> 23) as f32;
    let m = f32::from_bits((bits & 0x007f_ffff).wrapping_add(0x3f35_04f3));
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let series = ARTANH.iter().fold(0.0, |sum, c| sum * square + c);
    exponent * LN_2 + 2.0 * s * series
}

/// (sin, cos) of 2π v for v of the upper 24 bits of a word.
#[inline(always)]
fn sine_and_cosine(word: u32) -> (f32, f32) {
    // The upper 3 bits name an eighth of the circle; the nearest quarter turn is half of them, rounded up.
    let quarter = (word >> 29).wrapping_add(1) >> 1;
    let rest = (word.wrapping_sub(quarter << 30) as i32 >> 8) as f32; // in ±2²¹
    let x = rest * (STEP * std::f32::consts::TAU);
    let square = x * x;
    let sine = x * SINE.iter().fold(0.0, |sum, c| sum * square + c);
    let cosine = COSINE.iter().fold(0.0, |sum, c| sum * square + c);
    let (a, b) = if quarter & 1 == 1 { (cosine, sine) } else { (sine, cosine) };
    // sin: + + − −, cos: + − − + over the quarters 0 to 3.
    let sine = f32::from_bits(a.to_bits() ^ ((quarter & 2) << 30));
    let cosine = f32::from_bits(b.to_bits() ^ ((quarter.wrapping_add(1) & 2) << 30));
    (sine, cosine)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn logarithm_and_circle_equal_the_standard_library() {
        let mut rng = Rng::new(0);
        for i in 0..200_000u32 {
            let x =
                if i < 1000 { (i as f32 + 0.5) * STEP } else { rng.uniform() as f32 * 0.99 + STEP };
            let wanted = f64::from(x).ln();
            assert!((f64::from(log(x)) - wanted).abs() < 4e-7 * wanted.abs(), "ln {x}");
            let word = (rng.uniform() * 4_294_967_296.0) as u32;
            let angle = f64::from(word >> 8) * f64::from(STEP) * std::f64::consts::TAU;
            let (sine, cosine) = sine_and_cosine(word);
            assert!((f64::from(sine) - angle.sin()).abs() < 3e-7, "{word}: {sine}");
            assert!((f64::from(cosine) - angle.cos()).abs() < 3e-7, "{word}: {cosine}");
        }
        let near_one = 1.0 - 0.5 * STEP;
        assert!(log(near_one) <= 0.0);
    }
}
