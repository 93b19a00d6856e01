//! Statistics of repeated runs and of pairs: what a table prints and what a verdict rests on.

mod paired;

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use anyhow::{Result, ensure};
use core_tensors::Rng;

pub use paired::{
    discordant, is_more_often_right_p, mc_nemar_p, paired_proportions_interval,
    proportion_interval, upper_bound_of_loss, upper_bound_of_loss_of, upper_bound_of_mean,
};

/// Coverage of every interval.
pub const CONFIDENCE: f64 = 0.95;
/// Up to this many differences the sign-flip test enumerates all 2ⁿ flips.
const N_ENUMERATED: usize = 16;
/// Random flips beyond that; the p-value then has a standard deviation of at most 0.0016.
const N_FLIPS: usize = 100_000;
/// Numbers this many roundings of the larger one apart count as equal: accuracies and losses are made by a few
/// operations each, and .1 + .2 is not .3.
const ROUNDINGS: f64 = 16.0;
/// Fewer pairs cannot reach a p of .05 by their signs alone.
const FEWEST_WILCOXON: usize = 6;
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
    pub std: f64,
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
pub fn population_std(values: &[f64]) -> f64 {
    let center = mean(values);
    (values.iter().map(|v| (v - center).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// ∫ of a curve with unit spacing by trapezoids: Σ (xᵢ + xᵢ₊₁) / 2; 0 for fewer than two points.
pub fn trapezoid(values: &[f64]) -> f64 {
    values.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).sum()
}

impl Estimate {
    /// Mean, population standard deviation and x̄ ± t₀.₉₇₅(n − 1) · s / √(n − 1).
    pub fn new(values: &[f64]) -> Self {
        let (n, mean, std) = (values.len(), mean(values), population_std(values));
        let half = match student(n) {
            Some(t) => t.inverse_cdf(0.5 + CONFIDENCE / 2.0) * std / ((n - 1) as f64).sqrt(),
            None => f64::NAN,
        };
        Self { n, mean, std, ci95: (mean - half, mean + half) }
    }

    /// Half the length of the interval.
    pub fn half_width(&self) -> f64 {
        0.5 * (self.ci95.1 - self.ci95.0)
    }
}

impl Paired {
    /// Compares `first` with `second`, run by run; numbers that are equal but for rounding have a difference of 0.
    pub fn new(first: &[f64], second: &[f64]) -> Result<Self> {
        let differences = differences(first, second)?;
        let difference = Estimate::new(&differences.iter().map(|d| d.value).collect::<Vec<_>>());
        let has_ranks = (FEWEST_WILCOXON..=MOST_WILCOXON).contains(&differences.len());
        let p_wilcoxon = has_ranks.then(|| signed_rank_p(&differences));
        Ok(Self { difference, p: student_p(&difference), p_wilcoxon })
    }
}

/// A number of one run less that of its pair.
struct Difference {
    value: f64,
    /// What rounding of the two numbers can have added.
    rounding: f64,
}

/// first − second, with 0 where it is rounding.
fn differences(first: &[f64], second: &[f64]) -> Result<Vec<Difference>> {
    let (n, found) = (first.len(), second.len());
    ensure!(n == found, "paired runs: wanted {n}, found {found}");
    let difference = |(a, b): (&f64, &f64)| {
        let (value, rounding) = (a - b, ROUNDINGS * f64::EPSILON * a.abs().max(b.abs()));
        // An infinite number has an infinite rounding, but it is not equal to a finite one.
        let is_rounding = value.is_finite() && value.abs() <= rounding;
        Difference { value: if is_rounding { 0.0 } else { value }, rounding }
    };
    Ok(first.iter().zip(second).map(difference).collect())
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
    if difference.std == 0.0 {
        return if difference.mean == 0.0 { 1.0 } else { 0.0 };
    }
    let error = difference.std / ((difference.n - 1) as f64).sqrt();
    let statistic = (difference.mean / error).abs();
    if statistic.is_nan() { f64::NAN } else { 2.0 * t.cdf(-statistic) }
}

/// Two-sided exact p of Wilcoxon's signed-rank test of pairs; zeros are dropped, ties share their mean rank.
///
/// The null distribution of the rank sum is counted over all 2ⁿ signs, with twice the ranks as integers. Numbers of
/// a pair, and sizes of two differences, are equal where rounding of the numbers explains what they are apart. NaN
/// where a difference is not finite.
///
/// Source: Wilcoxon (1945); Pratt & Gibbons (1981) for ties.
pub fn wilcoxon_p(first: &[f64], second: &[f64]) -> Result<f64> {
    Ok(signed_rank_p(&differences(first, second)?))
}

fn signed_rank_p(differences: &[Difference]) -> f64 {
    if differences.iter().any(|d| !d.value.is_finite()) {
        return f64::NAN;
    }
    let mut nonzero: Vec<&Difference> = differences.iter().filter(|d| d.value != 0.0).collect();
    nonzero.sort_by(|a, b| a.value.abs().total_cmp(&b.value.abs()));
    let doubled = doubled_ranks(&nonzero);
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
    let ranked = nonzero.iter().zip(&doubled);
    let positive: usize =
        ranked.filter(|(d, _)| d.value.is_sign_positive()).map(|(_, rank)| rank).sum();
    let tail: f64 = share[..=positive.min(total - positive)].iter().sum();
    (2.0 * tail).min(1.0)
}

/// Twice the mean ranks of differences sorted by size, which are integers; sizes that rounding explains are equal.
fn doubled_ranks(sorted: &[&Difference]) -> Vec<usize> {
    let mut ranks = Vec::with_capacity(sorted.len());
    while let Some(smallest) = sorted.get(ranks.len()) {
        let start = ranks.len();
        let is_equal = |d: &&&Difference| {
            d.value.abs() - smallest.value.abs() <= d.rounding + smallest.rounding
        };
        let n_equal = sorted[start..].iter().take_while(is_equal).count();
        ranks.extend(std::iter::repeat_n(2 * start + n_equal + 1, n_equal));
    }
    ranks
}

/// Two-sided p of the sign-flip permutation test of a zero mean difference of pairs.
///
/// Enumerates every flip up to 16 pairs; beyond that 100 000 random flips, the observed one counted in. Numbers that
/// are equal but for rounding have a difference of 0. NaN where a difference is not finite or there is none.
pub fn sign_flip_p(first: &[f64], second: &[f64], rng: &mut Rng) -> Result<f64> {
    let differences = differences(first, second)?;
    let n = differences.len();
    if n == 0 || differences.iter().any(|d| !d.value.is_finite()) {
        return Ok(f64::NAN);
    }
    let observed = differences.iter().map(|d| d.value).sum::<f64>().abs();
    // What rounding of the numbers adds to a sum of n, and each of its additions again.
    let tie = n as f64 * differences.iter().map(|d| d.rounding).sum::<f64>();
    let is_as_large = |sum: f64| sum.abs() >= observed - tie;
    if n <= N_ENUMERATED {
        let flips = 0..1u32 << n;
        let signed = |flip: u32| {
            let is_flipped = |i: usize| flip >> i & 1 == 1;
            let term =
                |(i, d): (usize, &Difference)| if is_flipped(i) { -d.value } else { d.value };
            differences.iter().enumerate().map(term).sum::<f64>()
        };
        let n_as_large = flips.clone().filter(|&flip| is_as_large(signed(flip))).count();
        return Ok(n_as_large as f64 / flips.len() as f64);
    }
    let mut draw = || {
        let term = |d: &Difference| if rng.uniform() < 0.5 { -d.value } else { d.value };
        differences.iter().map(term).sum::<f64>()
    };
    let n_as_large = (0..N_FLIPS).filter(|_| is_as_large(draw())).count();
    Ok((n_as_large + 1) as f64 / (N_FLIPS + 1) as f64)
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
mod tests;
