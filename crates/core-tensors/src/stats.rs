//! Statistics of repeated runs: what a table prints and what a verdict rests on.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::error::{Error, Result};
use crate::rng::Rng;

/// Coverage of every interval.
pub const CONFIDENCE: f64 = 0.95;
/// Up to this many differences the sign-flip test enumerates all 2ⁿ flips.
const N_ENUMERATED: usize = 16;
/// Random flips beyond that; the p-value then has a deviation of at most 0.0016.
const N_FLIPS: usize = 100_000;
/// Differences closer than this share of the largest count as equal: accuracies are decimal fractions, whose
/// differences carry rounding noise.
const TIE: f64 = 1e-12;
/// Wilcoxon's exact distribution takes n³ steps; beyond this many pairs Student's test says it all.
const MOST_WILCOXON: usize = 500;

/// Mean of independent runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// n: number of runs.
    pub n: usize,
    /// Mean over the runs.
    pub mean: f64,
    /// Population standard deviation √(Σ(x − x̄)² / n), as the papers print it.
    pub deviation: f64,
    /// Student's 95 % interval of the mean; NaN for fewer than two runs.
    pub ci95: (f64, f64),
}

/// Comparison of two arms whose runs share a seed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Mean difference, first arm minus second, with its interval.
    pub difference: Estimate,
    /// Two-sided p of the paired Student t test; NaN for fewer than two pairs.
    pub p: f64,
    /// Two-sided exact p of Wilcoxon's signed ranks, from six pairs to 500.
    pub p_wilcoxon: Option<f64>,
}

/// Arithmetic mean; NaN where there are no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// √(Σ(x − x̄)² / n), NumPy's default; NaN where there are no values.
pub fn population_deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    (values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// ∫ of a curve with unit spacing by trapezoids: Σ (xᵢ + xᵢ₊₁) / 2; 0 for fewer than two points.
pub fn trapezoid(values: &[f64]) -> f64 {
    values.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).sum()
}

impl Estimate {
    /// Mean, population deviation and x̄ ± t₀.₉₇₅(n − 1) · s / √(n − 1).
    pub fn new(values: &[f64]) -> Self {
        let (n, mean, deviation) = (values.len(), mean(values), population_deviation(values));
        let half = match student(n) {
            Some(t) => t.inverse_cdf(0.5 + CONFIDENCE / 2.0) * deviation / ((n - 1) as f64).sqrt(),
            None => f64::NAN,
        };
        Self { n, mean, deviation, ci95: (mean - half, mean + half) }
    }

    /// Half the length of the interval.
    pub fn half_width(&self) -> f64 {
        0.5 * (self.ci95.1 - self.ci95.0)
    }
}

impl Paired {
    /// Compares `first` with `second`, run by run.
    pub fn new(first: &[f64], second: &[f64]) -> Result<Self> {
        if first.len() != second.len() {
            return Err(Error::mismatch("paired runs", first.len(), second.len()));
        }
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
        let difference = Estimate::new(&differences);
        let has_ranks = (6..=MOST_WILCOXON).contains(&differences.len());
        let p_wilcoxon = has_ranks.then(|| wilcoxon_p(&differences));
        Ok(Self { difference, p: student_p(&difference), p_wilcoxon })
    }
}

/// Φ⁻¹(p): the number below which N(0, 1) lies with probability p; NaN outside \[0, 1\].
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    Normal::new(0.0, 1.0).map_or(f64::NAN, |normal| normal.inverse_cdf(p))
}

/// Student's t with n − 1 degrees of freedom, for n ≥ 2.
fn student(n: usize) -> Option<StudentsT> {
    (n >= 2).then(|| StudentsT::new(0.0, 1.0, (n - 1) as f64).ok()).flatten()
}

fn student_p(difference: &Estimate) -> f64 {
    let Some(t) = student(difference.n) else { return f64::NAN };
    if difference.deviation == 0.0 {
        return if difference.mean == 0.0 { 1.0 } else { 0.0 };
    }
    let error = difference.deviation / ((difference.n - 1) as f64).sqrt();
    let statistic = (difference.mean / error).abs();
    if statistic.is_nan() { f64::NAN } else { 2.0 * t.cdf(-statistic) }
}

/// Two-sided exact p of Wilcoxon's signed-rank test; zeros are dropped, ties share their mean rank.
///
/// The null distribution of the rank sum is counted over all 2ⁿ signs, with twice the ranks as integers. NaN
/// where a difference is not finite.
///
/// Source: Wilcoxon (1945); Pratt & Gibbons (1981) for ties.
pub fn wilcoxon_p(differences: &[f64]) -> f64 {
    if differences.iter().any(|d| !d.is_finite()) {
        return f64::NAN;
    }
    let tie = TIE * differences.iter().fold(0.0, |largest: f64, d| largest.max(d.abs()));
    let mut nonzero: Vec<f64> = differences.iter().copied().filter(|d| d.abs() > tie).collect();
    if nonzero.is_empty() {
        return 1.0;
    }
    nonzero.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
    let doubled = doubled_ranks(&nonzero, tie);
    let total: usize = doubled.iter().sum();
    // share[w]: probability that the doubled ranks of the positive differences sum to w.
    let mut share = vec![0.0; total + 1];
    share[0] = 1.0;
    for &rank in &doubled {
        for sum in (0..=total).rev() {
            let with = if sum >= rank { share[sum - rank] } else { 0.0 };
            share[sum] = 0.5 * (share[sum] + with);
        }
    }
    let positive: usize =
        nonzero.iter().zip(&doubled).filter(|(d, _)| **d > 0.0).map(|(_, rank)| rank).sum();
    let tail: f64 = share[..=positive.min(total - positive)].iter().sum();
    (2.0 * tail).min(1.0)
}

/// Twice the mean ranks of values sorted by size, which are integers; sizes within `tie` of one another are equal.
fn doubled_ranks(sorted: &[f64], tie: f64) -> Vec<usize> {
    let mut ranks = Vec::with_capacity(sorted.len());
    while ranks.len() < sorted.len() {
        let start = ranks.len();
        let size = sorted[start].abs();
        let n_equal = sorted[start..].iter().take_while(|d| d.abs() - size <= tie).count();
        ranks.extend(std::iter::repeat_n(2 * start + n_equal + 1, n_equal));
    }
    ranks
}

/// Two-sided p of the sign-flip permutation test of a zero mean.
///
/// Enumerates every flip up to 16 differences; beyond that 100 000 random flips, the observed one counted in.
/// NaN where a difference is not finite or there is none.
pub fn sign_flip_p(differences: &[f64], rng: &mut Rng) -> f64 {
    let n = differences.len();
    if n == 0 || differences.iter().any(|d| !d.is_finite()) {
        return f64::NAN;
    }
    let observed = differences.iter().sum::<f64>().abs();
    let tie = TIE * differences.iter().map(|d| d.abs()).sum::<f64>();
    let is_as_large = |sum: f64| sum.abs() >= observed - tie;
    if n <= N_ENUMERATED {
        let flips = 0..1u32 << n;
        let signed = |flip: u32| {
            let term = |(i, d): (usize, &f64)| if flip >> i & 1 == 1 { -d } else { *d };
            differences.iter().enumerate().map(term).sum::<f64>()
        };
        let n_as_large = flips.clone().filter(|&flip| is_as_large(signed(flip))).count();
        return n_as_large as f64 / flips.len() as f64;
    }
    let mut draw =
        || differences.iter().map(|d| if rng.uniform() < 0.5 { -d } else { *d }).sum::<f64>();
    let n_as_large = (0..N_FLIPS).filter(|_| is_as_large(draw())).count();
    (n_as_large + 1) as f64 / (N_FLIPS + 1) as f64
}

/// Holm's adjusted p-values, in the order given: max over smaller ranks r of (n − r) p₍ᵣ₎, at most 1.
///
/// A NaN stays NaN and does not count towards n.
///
/// Source: Holm (1979).
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).filter(|&i| !p[i].is_nan()).collect();
    order.sort_by(|&i, &j| p[i].total_cmp(&p[j]));
    let mut adjusted = vec![f64::NAN; p.len()];
    let mut largest = 0.0_f64;
    for (rank, &i) in order.iter().enumerate() {
        largest = largest.max(((order.len() - rank) as f64 * p[i]).min(1.0));
        adjusted[i] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Agreement with printed double-precision values.
    const PRINTED: f64 = 1e-12;

    const A: [f64; 8] = [0.61, 0.63, 0.59, 0.62, 0.66, 0.60, 0.64, 0.58];
    const B: [f64; 8] = [0.60, 0.58, 0.59, 0.57, 0.63, 0.61, 0.60, 0.53];

    fn assert_near(found: f64, wanted: f64) {
        assert!((found - wanted).abs() < PRINTED, "found {found:?}, wanted {wanted:?}");
    }

    #[test]
    fn estimates_equal_numpy_and_scipy() {
        // A.mean(), A.std(), stats.t.interval(.95, 7, A.mean(), stats.sem(A))
        let estimate = Estimate::new(&A);
        assert_near(estimate.mean, 0.61625);
        assert_near(estimate.deviation, 0.024_968_730_444_297_746);
        assert_near(estimate.ci95.0, 0.593_934_347_998_560_6);
        assert_near(estimate.ci95.1, 0.638_565_652_001_439_3);
    }

    #[test]
    fn paired_tests_equal_scipy() {
        // stats.ttest_rel(A, B); stats.wilcoxon(x, mode="exact"); stats.permutation_test((x,), np.sum,
        //   permutation_type="samples", n_resamples=np.inf)
        let paired = Paired::new(&A, &B).unwrap();
        assert_near(paired.p, 0.015_181_422_003_732_839);
        assert_near(paired.difference.ci95.0, 0.007_144_012_559_232_624);
        let distinct = [0.3, -0.1, 0.5, 0.9, 0.2, -0.4, 1.1];
        assert_near(wilcoxon_p(&distinct), 0.15625);
        assert_near(sign_flip_p(&distinct, &mut Rng::new(0)), 0.15625);
    }

    #[test]
    fn wilcoxon_with_ties_equals_enumeration() {
        let differences = [1.0, -1.0, 2.0, 2.0, -3.0, 0.0, 4.0, 2.0];
        let ranks = [1.5, 1.5, 4.0, 4.0, 6.0, 7.0, 4.0]; // of 1, −1, 2, 2, −3, 4, 2
        let observed: f64 = 1.5 + 4.0 + 4.0 + 7.0 + 4.0;
        let sums: Vec<f64> = (0..128)
            .map(|flip| (0..7).filter(|i| flip >> i & 1 == 1).map(|i| ranks[i]).sum())
            .collect();
        let centre = 14.0;
        let tail = sums.iter().filter(|&&s: &&f64| (s - centre).abs() >= observed - centre).count();
        // The same numbers as differences of decimal fractions, which are equal up to rounding.
        let noisy = differences.map(|d| (0.7871 + d * 1e-4) - 0.7871);
        assert_near(wilcoxon_p(&noisy), tail as f64 / 128.0);
        assert_near(wilcoxon_p(&differences), tail as f64 / 128.0);
    }

    #[test]
    fn random_flips_agree_with_student_on_normal_differences() {
        let mut rng = Rng::new(4);
        let differences: Vec<f64> = (0..40).map(|_| 0.3 + rng.normal()).collect();
        let flips = sign_flip_p(&differences, &mut rng);
        let student = Paired::new(&differences, &[0.0; 40]).unwrap().p;
        // Monte-Carlo deviation below 0.0016, and the two tests differ by O(1/n).
        assert!((flips - student).abs() < 0.01, "{flips} against {student}");
    }

    #[test]
    fn holm_by_hand() {
        assert_eq!(holm(&[0.01, 0.04, 0.03, f64::NAN])[..3], [0.03, 0.06, 0.06]);
        assert!(holm(&[0.5, f64::NAN])[1].is_nan());
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
    }

    #[test]
    fn trapezoid_is_exact_for_lines() {
        assert_near(trapezoid(&[1.0, 2.0, 3.0, 4.0]), 7.5);
        assert_near(trapezoid(&[5.0]), 0.0);
    }

    #[test]
    fn degenerate_samples_are_not_a_number_rather_than_a_verdict() {
        assert!(Estimate::new(&[1.0]).ci95.0.is_nan());
        assert!(Paired::new(&[1.0], &[2.0]).unwrap().p.is_nan());
        assert!(wilcoxon_p(&[f64::NAN, 1.0]).is_nan());
        for bad in [f64::NAN, f64::INFINITY] {
            assert!(Paired::new(&[bad, 1.0, 2.0], &[0.0; 3]).unwrap().p.is_nan());
        }
        assert_near(Paired::new(&[1.0, 2.0], &[1.0, 2.0]).unwrap().p, 1.0);
        assert!(Paired::new(&[1.0], &[]).is_err());
    }
    #[test]
    fn normal_quantiles_are_those_of_tables() {
        for (p, z) in [(0.5, 0.0), (0.975, 1.959_963_985), (0.05, -1.644_853_627)] {
            assert!((normal_quantile(p) - z).abs() < 1e-9);
        }
        assert!(normal_quantile(1.5).is_nan());
    }
}
