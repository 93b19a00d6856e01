//! The exponential of many numbers at once: the standard library's takes them one by one.

use super::vectorized;

/// Below this the exponential counts as zero: it leaves the normal range of f64.
const SMALLEST: f64 = -708.0;
/// ln 2 in two parts, the first short enough that its product with an exponent is exact.
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;
/// Adding 1.5 · 2⁵² rounds to an integer, which then fills the low bits.
const ROUNDER: f64 = 6_755_399_441_055_744.0;
/// 1/13!, 1/12!, …, 1/0!: the next term is below 2⁻⁵³ on |r| ≤ ½ ln 2.
const TAYLOR: [f64; 14] = [
    1.605_904_383_682_161_5e-10,
    2.087_675_698_786_81e-9,
    2.505_210_838_544_172e-8,
    2.755_731_922_398_589e-7,
    2.755_731_922_398_589_3e-6,
    2.480_158_730_158_73e-5,
    1.984_126_984_126_984e-4,
    1.388_888_888_888_889e-3,
    8.333_333_333_333_333e-3,
    4.166_666_666_666_666_4e-2,
    1.666_666_666_666_666_6e-1,
    0.5,
    1.0,
    1.0,
];

/// Replaces each x ≤ 0 by eˣ, to a relative error of a few 2⁻⁵³; NaN stays NaN.
///
/// eˣ = 2ⁿ eʳ with n = round(x / ln 2) and r = x − n ln 2.
pub fn exp_nonpositive(values: &mut [f64]) {
    vectorized(|| {
        for value in values {
            let x = *value;
            let shifted = x * std::f64::consts::LOG2_E + ROUNDER;
            let n = shifted - ROUNDER;
            let r = (x - n * LN2_HIGH) - n * LN2_LOW;
            let polynomial = TAYLOR.iter().fold(0.0, |sum, c| sum * r + c);
            let power = f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52);
            *value = if x < SMALLEST { 0.0 } else { polynomial * power };
        }
    });
}

/// Beyond these 2ⁿ leaves the normal range of f32; eˣ − 1 keeps the value it has there.
const F32_RANGE: (f32, f32) = (-87.0, 88.0);
/// ln 2 in two parts, the first short enough that its product with an exponent is exact.
const F32_LN2_HIGH: f32 = 0.693_359_4;
const F32_LN2_LOW: f32 = -2.121_944_4e-4;
/// Adding 1.5 · 2²³ rounds to an integer, which then fills the low bits.
const F32_ROUNDER: f32 = 12_582_912.0;
/// 1/7!, 1/6!, …, 1/1!: the next term is below 2⁻²⁵ of the sum on |r| ≤ ½ ln 2.
const F32_TAYLOR: [f32; 7] =
    [1.984_127e-4, 1.388_888_9e-3, 8.333_334e-3, 4.166_666_8e-2, 0.166_666_67, 0.5, 1.0];

/// eˣ − 1 to a relative error of a few 2⁻²⁴, also near 0; NaN stays NaN. Many at once are vectorized by the caller.
///
/// eˣ − 1 = 2ⁿ (eʳ − 1) + (2ⁿ − 1) with n = round(x / ln 2) and r = x − n ln 2.
#[inline(always)]
pub(super) fn exp_m1(x: f32) -> f32 {
    let x = x.clamp(F32_RANGE.0, F32_RANGE.1);
    let shifted = x * std::f32::consts::LOG2_E + F32_ROUNDER;
    let n = shifted - F32_ROUNDER;
    let r = (x - n * F32_LN2_HIGH) - n * F32_LN2_LOW;
    let rest = r * F32_TAYLOR.iter().fold(0.0, |sum, c| sum * r + c);
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    power * rest + (power - 1.0)
}

/// Beyond these eˣ leaves the normal range of f32; it keeps the value that it has there.
const F32_NORMAL: (f32, f32) = (-87.336_54, 88.722_83);
/// Bits of [`F32_ROUNDER`].
const F32_ROUNDER_BITS: i32 = 0x4b40_0000;

/// eˣ to a relative error of a few 2⁻²⁴, however small it is; NaN stays NaN. Many at once are vectorized by the caller.
///
/// 1 + (eˣ − 1) has that error beside 1 alone: a variance of 1e-8 would be 0.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(F32_NORMAL.0, F32_NORMAL.1);
    let shifted = x * std::f32::consts::LOG2_E + F32_ROUNDER;
    let n = shifted - F32_ROUNDER;
    let r = (x - n * F32_LN2_HIGH) - n * F32_LN2_LOW;
    // Written out: a loop here would keep longer ones around it from being vectorized.
    let [a, b, c, d, e, f, g] = F32_TAYLOR;
    let rest = r * ((((((a * r + b) * r + c) * r + d) * r + e) * r + f) * r + g);
    // 2ⁿ in two factors: at both ends n alone leaves the range of exponents.
    let n = (shifted.to_bits() as i32).wrapping_sub(F32_ROUNDER_BITS);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    (1.0 + rest) * power(half) * power(n.wrapping_sub(half))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

    #[test]
    fn a_small_power_less_one_keeps_its_digits() {
        // Five roundings of 2⁻²⁴, and a sum of two parts of opposite sign, at most four times as large.
        const TOLERANCE: f64 = 20.0 * 6e-8;
        let mut rng = Rng::new(1);
        let near: Vec<f32> = (0..10_000).map(|_| (rng.normal() * 1e-4) as f32).collect();
        let far: Vec<f32> = (0..10_000).map(|_| (rng.normal() * 15.0) as f32).collect();
        for x in near.into_iter().chain(far).filter(|x| (-87.0..88.0).contains(x)) {
            let (found, wanted) = (f64::from(exp_m1(x)), f64::from(x).exp_m1());
            assert!(((found - wanted) / wanted).abs() < TOLERANCE, "{x}: {found} {wanted}");
        }
        assert_eq!(exp_m1(0.0), 0.0);
        assert_eq!(exp_m1(f32::NEG_INFINITY), -1.0);
        assert!(exp_m1(f32::NAN).is_nan() && exp_m1(f32::INFINITY) > 1e38);
    }

    #[test]
    fn a_power_keeps_its_digits_over_the_normal_range() {
        // Three roundings of 2⁻²⁴ and the argument's, which the two parts of ln 2 keep small.
        const TOLERANCE: f64 = 4.0 * 6e-8;
        let ends = [-87.336_54, -87.0, 88.0, 88.5, 88.722_83, 0.0, -0.0, 1e-10];
        let mut rng = Rng::new(2);
        let between = (0..100_000).map(|_| (-87.336 + 176.05 * rng.uniform()) as f32);
        for x in ends.into_iter().chain(between) {
            let (found, wanted) = (f64::from(exp(x)), f64::from(x).exp());
            assert!(((found - wanted) / wanted).abs() < TOLERANCE, "{x}: {found} {wanted}");
        }
        assert_eq!([exp(f32::NEG_INFINITY), exp(-1e6)], [exp(-87.336_54); 2]);
        assert!(exp(f32::NAN).is_nan() && exp(f32::INFINITY) > 3.4e38);
    }

    #[test]
    fn equals_the_standard_library() {
        let mut rng = Rng::new(0);
        let mut x: Vec<f64> = (0..10_000).map(|_| -700.0 * rng.uniform().powi(4)).collect();
        x.extend([0.0, -0.0, -1e-300, -707.9, -f64::MIN_POSITIVE]);
        let mut found = x.clone();
        exp_nonpositive(&mut found);
        for (x, found) in x.iter().zip(found) {
            let wanted = x.exp();
            assert!(
                ((found - wanted) / wanted).abs() < 1e-15,
                "exp({x}): {found} against {wanted}"
            );
        }
    }

    #[test]
    fn far_numbers_are_zero_and_nan_stays() {
        let mut values = [-709.0, -1e6, f64::NEG_INFINITY, f64::NAN];
        exp_nonpositive(&mut values);
        assert_eq!(values[..3], [0.0; 3]);
        assert!(values[3].is_nan());
    }
}
