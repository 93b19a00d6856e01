//! How far confidence lies from accuracy.

use core_tensors::Expected;

use crate::checks::{check_count, check_range};
use crate::error::Result;

/// Bins of [`expected_calibration_error`].
const N_BINS: usize = 15;

/// Σ_b (m_b / m) |accuracy(b) − mean confidence(b)| over 15 bins ((b−1)/15, b/15\] of confidence.
///
/// Takes one (confidence ∈ \[0, 1\], is the prediction right) an example, of at least one; NaN where a confidence is.
///
/// Source: Guo et al. (2017), section 2, equation 3.
///
/// ```
/// use losses::expected_calibration_error;
/// // Sure at 0.9 and right in one case of two; at 0.6 and right in both.
/// let judged = [(0.9, true), (0.9, false), (0.6, true), (0.6, true)];
/// assert!((expected_calibration_error(&judged)? - 0.4).abs() < 1e-12); // ½ |½ − 0.9| + ½ |1 − 0.6|
/// # Ok::<(), losses::Error>(())
/// ```
pub fn expected_calibration_error(judged: &[(f64, bool)]) -> Result<f64> {
    let n = judged.len();
    check_count("examples to judge", Expected::AtLeast(1), n > 0, n)?;
    let mut surplus = [0.0; N_BINS];
    for &(confidence, is_right) in judged {
        let is_inside = confidence.is_nan() || (0.0..=1.0).contains(&confidence);
        check_range("confidence", confidence, is_inside, "[0, 1]")?;
        let bin = (confidence * N_BINS as f64).ceil() as usize;
        surplus[bin.clamp(1, N_BINS) - 1] += confidence - f64::from(is_right);
    }
    Ok(surplus.iter().map(|s| s.abs()).sum::<f64>() / judged.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_tensors::Rng;

    /// The definition, bin by bin.
    fn by_definition(judged: &[(f64, bool)]) -> f64 {
        let n_bins = N_BINS as f64;
        (0..N_BINS)
            .map(|b| {
                let inside: Vec<_> = judged
                    .iter()
                    .filter(|(c, _)| *c > b as f64 / n_bins && *c <= (b + 1) as f64 / n_bins)
                    .collect();
                if inside.is_empty() {
                    return 0.0;
                }
                let n = inside.len() as f64;
                let accuracy = inside.iter().filter(|(_, right)| *right).count() as f64 / n;
                let confidence = inside.iter().map(|(c, _)| c).sum::<f64>() / n;
                n / judged.len() as f64 * (accuracy - confidence).abs()
            })
            .sum()
    }

    #[test]
    fn equals_its_definition() {
        for seed in 0..5 {
            let mut rng = Rng::new(seed);
            let judged: Vec<_> =
                (0..500).map(|_| (rng.uniform().sqrt(), rng.uniform() < 0.6)).collect();
            let gap = expected_calibration_error(&judged).unwrap() - by_definition(&judged);
            assert!(gap.abs() < 1e-12);
        }
    }

    #[test]
    fn a_calibrated_classifier_has_almost_none() {
        // Each bin's surplus has standard deviation below √(m_b)/2; 15 bins of 20 000 examples give at most 0.006 on average.
        let mut rng = Rng::new(0);
        let honest: Vec<_> = (0..20_000)
            .map(|_| {
                let confidence = rng.uniform();
                (confidence, rng.uniform() < confidence)
            })
            .collect();
        let boastful: Vec<_> = honest.iter().map(|(c, right)| (0.5 + c / 2.0, *right)).collect();
        assert!(expected_calibration_error(&honest).unwrap() < 0.02);
        assert!((expected_calibration_error(&boastful).unwrap() - 0.25).abs() < 0.02);
    }

    #[test]
    fn edges_belong_to_the_bin_below_and_zero_to_the_first() {
        // 1/15 and 0 share the first bin, where |1/15 + 0 − 1| counts; just above 1/15 is another.
        let edge = 1.0 / N_BINS as f64;
        let of = |judged: &[(f64, bool)]| expected_calibration_error(judged).unwrap();
        assert!((of(&[(0.0, true), (edge, false)]) - (1.0 - edge) / 2.0).abs() < 1e-12);
        let above = edge + 1e-9;
        assert!((of(&[(0.0, true), (above, false)]) - (1.0 + above) / 2.0).abs() < 1e-12);
        // Of 15 bins the tenth ends at 2/3 and the next at 11/15.
        assert!((of(&[(0.66, true), (0.67, false)]) - 0.505).abs() < 1e-12);
        assert!((of(&[(0.67, true), (0.72, false)]) - 0.195).abs() < 1e-12);
        assert_eq!(of(&[(1.0, true)]), 0.0);
        assert_eq!(of(&[(1.0, false), (1.0, true)]), 0.5);
    }

    #[test]
    fn nothing_and_what_is_no_confidence_are_refused() {
        let message =
            |judged: &[(f64, bool)]| expected_calibration_error(judged).unwrap_err().to_string();
        assert_eq!(message(&[]), "examples to judge: expected at least 1, found 0");
        assert_eq!(message(&[(1.5, true)]), "confidence must lie in [0, 1], got 1.5");
        assert_eq!(
            message(&[(0.5, true), (-0.1, true)]),
            "confidence must lie in [0, 1], got -0.1"
        );
        assert!(expected_calibration_error(&[(f64::NAN, true)]).unwrap().is_nan());
    }
}
