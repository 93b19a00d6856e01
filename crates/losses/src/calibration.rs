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

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationBin {
    /// Mean confidence of its examples.
    pub confidence: f64,
    /// Share of them on which the prediction is right.
    pub accuracy: f64,
    /// m_b ≥ 1: how many they are.
    pub n_examples: usize,
}

/// Bins of equal mass: at most 15, each with as many examples as the others, up to one, and two at least where there are
/// so many.
///
/// Source: Nguyen & O'Connor (2015), section 2, adaptive binning.
pub fn calibration_bins(judged: &[(f64, bool)]) -> Result<Vec<CalibrationBin>> {
    let bin_of = equal_mass(judged)?;
    let n_bins = bin_of.iter().max().map_or(0, |&last| usize::from(last) + 1);
    let empty = CalibrationBin { confidence: 0.0, accuracy: 0.0, n_examples: 0 };
    let mut bins = vec![empty; n_bins];
    for (&b, &(confidence, is_right)) in bin_of.iter().zip(judged) {
        let bin = &mut bins[usize::from(b)];
        bin.confidence += confidence;
        bin.accuracy += f64::from(is_right);
        bin.n_examples += 1;
    }
    for bin in &mut bins {
        bin.confidence /= bin.n_examples as f64;
        bin.accuracy /= bin.n_examples as f64;
    }
    Ok(bins)
}

/// The bin of each example, among bins of equal mass by confidence, the least confident first; see [`calibration_bins`].
pub fn equal_mass(judged: &[(f64, bool)]) -> Result<Vec<u8>> {
    let m = judged.len();
    check_count("examples to judge", Expected::AtLeast(1), m > 0, m)?;
    for &(confidence, _) in judged {
        let is_inside = confidence.is_nan() || (0.0..=1.0).contains(&confidence);
        check_range("confidence", confidence, is_inside, "[0, 1]")?;
    }
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|&i, &j| judged[i].0.total_cmp(&judged[j].0));
    let n_bins = N_BINS.min(m / 2).max(1);
    let mut bin_of = vec![0; m];
    // Equal confidences stay together, in the bin of their middle: which of them comes first is chance, or the order of a file.
    let (mut next, mut last) = (0, None);
    for tie in order.chunk_by(|&i, &j| judged[i].0.total_cmp(&judged[j].0).is_eq()) {
        let middle = next + tie.len() / 2;
        let bin = (middle * n_bins / m) as u8;
        // Bins count without gaps.
        let numbered = match last {
            None => (bin, 0),
            Some((before, number)) if before == bin => (bin, number),
            Some((_, number)) => (bin, number + 1),
        };
        tie.iter().for_each(|&i| bin_of[i] = numbered.1);
        (next, last) = (next + tie.len(), Some(numbered));
    }
    Ok(bin_of)
}

/// Σ_b (m_b / m) |accuracy(b) − mean confidence(b)| over bins of equal mass; the examples of `of` in their bins `bin_of`.
///
/// `of` lists examples by index, with repetitions where they are drawn anew. NaN for no examples.
pub fn binned_calibration_error(
    judged: &[(f64, bool)],
    bin_of: &[u8],
    of: impl Iterator<Item = usize>,
) -> f64 {
    let sums = Sums::of(judged, bin_of, of);
    let total: f64 = sums.iter().map(|bin| bin.surplus.abs()).sum();
    total / sums.iter().map(|bin| bin.n).sum::<f64>()
}

/// Squared calibration error without the bias of few examples: Σ_b (m_b / m) (d̄_b² − s_b² / m_b).
///
/// dᵢ = confidence − \[prediction is right\], d̄_b its mean over bin b and s_b² its sample variance there: in each bin the
/// mean of dᵢ dⱼ over different examples, whose expectation is the square of the bin's true gap. It is 0 on average for a
/// calibrated classifier, however few examples there are, and so may be below 0. Bins of one example have no share.
///
/// Source: Kumar, Liang & Ma (2019), section 5, with the variance of d in place of ȳ(1 − ȳ), which is the same where the
/// confidence is constant in a bin.
pub fn debiased_squared_calibration_error(
    judged: &[(f64, bool)],
    bin_of: &[u8],
    of: impl Iterator<Item = usize>,
) -> f64 {
    let sums = Sums::of(judged, bin_of, of);
    let total: f64 = sums
        .iter()
        .filter(|bin| bin.n > 1.0)
        .map(|bin| (bin.surplus * bin.surplus - bin.squares) / (bin.n - 1.0))
        .sum();
    total / sums.iter().map(|bin| bin.n).sum::<f64>()
}

/// Of one bin.
#[derive(Clone, Copy, Default)]
struct Sums {
    /// Σ d.
    surplus: f64,
    /// Σ d².
    squares: f64,
    n: f64,
}

impl Sums {
    fn of(
        judged: &[(f64, bool)],
        bin_of: &[u8],
        of: impl Iterator<Item = usize>,
    ) -> [Self; N_BINS] {
        let mut sums = [Self::default(); N_BINS];
        for i in of {
            let (Some(&(confidence, is_right)), Some(&b)) = (judged.get(i), bin_of.get(i)) else {
                continue;
            };
            let Some(bin) = sums.get_mut(usize::from(b)) else { continue };
            let d = confidence - f64::from(is_right);
            bin.surplus += d;
            bin.squares += d * d;
            bin.n += 1.0;
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_tensors::Rng;

    type Measure = dyn Fn(&[(f64, bool)]) -> f64;

    /// Examples of a classifier whose confidence is its probability of being right.
    fn calibrated(m: usize, rng: &mut Rng) -> Vec<(f64, bool)> {
        let judged = |_| {
            let confidence = 0.5 + 0.5 * rng.uniform();
            (confidence, rng.uniform() < confidence)
        };
        (0..m).map(judged).collect()
    }

    fn debiased(judged: &[(f64, bool)]) -> f64 {
        let bins = equal_mass(judged).unwrap();
        debiased_squared_calibration_error(judged, &bins, 0..judged.len())
    }

    fn plain(judged: &[(f64, bool)]) -> f64 {
        let bins = equal_mass(judged).unwrap();
        binned_calibration_error(judged, &bins, 0..judged.len())
    }

    #[test]
    fn the_debiased_error_of_a_calibrated_classifier_is_0_on_average_and_the_plain_one_is_not() {
        let mut rng = Rng::new(0);
        let n_draws = 4000;
        for m in [30, 150] {
            let draws: Vec<Vec<_>> = (0..n_draws).map(|_| calibrated(m, &mut rng)).collect();
            let mean = |of: &Measure| {
                draws.iter().map(|judged| of(judged)).sum::<f64>() / f64::from(n_draws)
            };
            // Two examples a bin: products of a standard deviation of 1/6, of 15 bins and 4 000 draws .0007.
            assert!(mean(&debiased).abs() < 3e-3, "{m}: {}", mean(&debiased));
            // Means of m_b differences, each of size √(2 / 6π m_b) on average.
            assert!(mean(&plain) > 0.08, "{m}: {}", mean(&plain));
        }
    }

    #[test]
    fn errors_over_bins_equal_their_definitions() {
        let mut rng = Rng::new(3);
        let judged: Vec<_> = (0..97).map(|_| (rng.uniform(), rng.uniform() < 0.4)).collect();
        let bin_of = equal_mass(&judged).unwrap();
        let bins = calibration_bins(&judged).unwrap();
        let (mut absolute, mut squared) = (0.0, 0.0);
        for (b, bin) in bins.iter().enumerate() {
            let inside: Vec<f64> = judged
                .iter()
                .zip(&bin_of)
                .filter(|(_, of)| usize::from(**of) == b)
                .map(|((c, right), _)| c - f64::from(*right))
                .collect();
            let n = inside.len() as f64;
            assert_eq!(inside.len(), bin.n_examples);
            assert!(inside.len() == 6 || inside.len() == 7);
            let mean = inside.iter().sum::<f64>() / n;
            assert!((mean - (bin.confidence - bin.accuracy)).abs() < 1e-12);
            let variance = inside.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (n - 1.0);
            absolute += n / 97.0 * mean.abs();
            squared += n / 97.0 * (mean * mean - variance / n);
        }
        assert!((plain(&judged) - absolute).abs() < 1e-12);
        assert!((debiased(&judged) - squared).abs() < 1e-12);
        // Confidences rise from bin to bin.
        assert!(bins.windows(2).all(|pair| pair[0].confidence < pair[1].confidence));
    }

    #[test]
    fn few_examples_have_few_bins() {
        let judged = [(0.9, true), (0.2, false), (0.5, true)];
        assert_eq!(equal_mass(&judged).unwrap(), [0, 0, 0]);
        assert_eq!(equal_mass(&[judged, judged].concat()).unwrap(), [2, 0, 1, 2, 0, 1]);
        assert_eq!(equal_mass(&judged[..1]).unwrap(), [0]);
        assert_eq!(debiased(&judged[..1]), 0.0);
        assert!(equal_mass(&[]).is_err() && equal_mass(&[(1.5, true)]).is_err());
        assert!(plain(&[(f64::NAN, true), (0.5, true)]).is_nan());
    }

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
