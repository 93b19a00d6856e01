//! How far confidence lies from accuracy.

/// Bins of [`expected_calibration_error`].
pub const N_BINS: usize = 15;

/// Σ_b (m_b / m) |accuracy(b) − mean confidence(b)| over [`N_BINS`] bins ((b−1)/15, b/15\] of confidence.
///
/// Takes one (confidence ∈ \[0, 1\], is the prediction right) an object; NaN where there is none.
///
/// Source: Guo et al. (2017), section 2, equation 3.
pub fn expected_calibration_error(judged: &[(f64, bool)]) -> f64 {
    let mut surplus = [0.0; N_BINS];
    for &(confidence, is_right) in judged {
        let bin = (confidence * N_BINS as f64).ceil() as usize;
        surplus[bin.clamp(1, N_BINS) - 1] += confidence - f64::from(is_right);
    }
    surplus.iter().map(|s| s.abs()).sum::<f64>() / judged.len() as f64
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
            let gap = expected_calibration_error(&judged) - by_definition(&judged);
            assert!(gap.abs() < 1e-12);
        }
    }

    #[test]
    fn a_calibrated_classifier_has_almost_none() {
        // Each bin's surplus has deviation below √(m_b)/2; 15 bins of 20 000 objects give at most 0.006 on average.
        let mut rng = Rng::new(0);
        let honest: Vec<_> = (0..20_000)
            .map(|_| {
                let confidence = rng.uniform();
                (confidence, rng.uniform() < confidence)
            })
            .collect();
        let boastful: Vec<_> = honest.iter().map(|(c, right)| (0.5 + c / 2.0, *right)).collect();
        assert!(expected_calibration_error(&honest) < 0.02);
        assert!((expected_calibration_error(&boastful) - 0.25).abs() < 0.02);
    }
}
