//! The exponential of many numbers at once: the standard library's takes them one by one.

use super::vectorised;

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
    vectorised(|| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Rng;

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
