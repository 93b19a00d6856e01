//! Two methods on the same examples: differences of proportions and of means, with intervals and bounds.

use statrs::distribution::{Binomial, ContinuousCDF, DiscreteCDF};

use super::{CONFIDENCE, mean, normal_quantile, population_std, student};

/// Halvings of a bracket of length 2: an end is then exact to 2⁻⁵⁹.
const N_HALVINGS: usize = 60;
/// Examples that [`upper_bound_of_loss`] adds to the losses that were seen.
///
/// Without it, Tango's bound covers a loss of a few examples in 93.4 % of cases instead of 95 %. With a quarter, all
/// losses from 0 to 1.2 % of 300 to 5 000 examples, with 0 to 1 % of gains beside them, are covered in 95.1 % or more, by
/// summing over all outcomes.
const CONTINUITY: f64 = 0.25;

/// Two-sided mid-p of McNemar's test that two methods are right equally often; 1 where no example tells them apart.
///
/// min(1, 2 P(X < min(b, c)) + P(X = min(b, c))) with X ~ Binomial(b + c, ½), of b examples that only the first is right on
/// and c that only the second is. The exact p counts all of P(X = min(b, c)) twice, which is too careful: it would find no
/// difference where the score interval beside it leaves 0 out.
///
/// Source: McNemar (1947); mid-p as recommended by Fagerland, Lydersen & Laake (2013).
pub fn mc_nemar_p(only_first: usize, only_second: usize) -> f64 {
    let (least, n) = (only_first.min(only_second), only_first + only_second);
    let below = if least == 0 { 0.0 } else { at_most(least - 1, n) };
    (at_most(least, n) + below).min(1.0)
}

/// One-sided p of the same test, small where the first is right more often: P(X ≤ c).
pub fn is_more_often_right_p(only_first: usize, only_second: usize) -> f64 {
    at_most(only_second, only_first + only_second)
}

/// P(X ≤ x) of X ~ Binomial(n, ½); 1 for n = 0.
fn at_most(x: usize, n: usize) -> f64 {
    match Binomial::new(0.5, n as u64) {
        Ok(binomial) if x < n => binomial.cdf(x as u64),
        _ => 1.0,
    }
}

/// 95 % score interval of the difference of two proportions of the same n examples, (c − b) / n.
///
/// b examples count for the first proportion alone, c for the second alone. The ends are the δ at which
/// (c − b − nδ)² = z² n (2 q̃ + δ(1 − δ)), with q̃ the most likely share of b under δ. NaN for n = 0.
///
/// Source: Tango (1998), equations 24 to 26.
pub fn paired_proportions_interval(b: usize, c: usize, n: usize) -> (f64, f64) {
    let z = normal_quantile(0.5 + CONFIDENCE / 2.0);
    let counts = |x: usize| x as f64;
    let (b, c, n) = (counts(b), counts(c), counts(n));
    (-upper_end(b, c, n, z, 0.0), upper_end(c, b, n, z, 0.0))
}

/// 95 % score interval of a proportion, x of n; NaN for n = 0.
///
/// Source: Wilson (1927).
pub fn proportion_interval(x: usize, n: usize) -> (f64, f64) {
    let z = normal_quantile(0.5 + CONFIDENCE / 2.0);
    let (p, n) = (x as f64 / n as f64, n as f64);
    let scale = 1.0 + z * z / n;
    let center = (p + z * z / (2.0 * n)) / scale;
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt() / scale;
    ((center - half).max(0.0), (center + half).min(1.0))
}

/// One-sided upper bound of the share of examples that is lost: P(first right) − P(second right), paired by example.
///
/// The δ > (b − c) / n at which (b + ¼ − c − nδ) / √(n (2 q̃ + δ(1 − δ))) = −z, z the normal quantile of `level`, and b and c
/// the examples that only the first and only the second is right on: Tango's score bound with a correction for
/// continuity, so that small losses are covered too. 1 without examples.
///
/// Without losses and gains the bound is 3.2 / n at `level` .95: fewer than 640 examples cannot exclude a loss of ½ %.
pub fn upper_bound_of_loss(first_right: &[bool], second_right: &[bool], level: f64) -> f64 {
    let (b, c) = discordant(first_right, second_right);
    upper_bound_of_loss_of(b, c, first_right.len().min(second_right.len()), level)
}

/// The same of counts: n examples, of which only the first is right on b and only the second on c.
pub fn upper_bound_of_loss_of(b: usize, c: usize, n: usize, level: f64) -> f64 {
    if n == 0 {
        return 1.0;
    }
    upper_end(b as f64, c as f64, n as f64, normal_quantile(level), CONTINUITY)
}

/// How many examples only the first and only the second is right on.
pub fn discordant(first_right: &[bool], second_right: &[bool]) -> (usize, usize) {
    let pairs = || first_right.iter().zip(second_right);
    let b = pairs().filter(|&(&first, &second)| first && !second).count();
    let c = pairs().filter(|&(&first, &second)| second && !first).count();
    (b, c)
}

/// One-sided upper bound of the mean of independent numbers: x̄ + t_level(n − 1) s / √n; ∞ for fewer than two.
///
/// For losses paired by example, such as differences of squared errors over the variance of the targets.
pub fn upper_bound_of_mean(values: &[f64], level: f64) -> f64 {
    let n = values.len();
    match student(n) {
        Some(t) => {
            mean(values) + t.inverse_cdf(level) * population_std(values) / ((n - 1) as f64).sqrt()
        }
        None => f64::INFINITY,
    }
}

/// The largest δ = p(b) − p(c) that the score test does not refuse, by bisection: the statistic falls with δ.
fn upper_end(b: f64, c: f64, n: f64, z: f64, continuity: f64) -> f64 {
    if n <= 0.0 || z.is_nan() {
        return f64::NAN;
    }
    let is_refused = |delta: f64| {
        let most_likely = restricted(b, c, n, delta);
        let variance = n * (2.0 * most_likely + delta * (1.0 - delta));
        b - c + continuity - n * delta < -z * variance.max(0.0).sqrt()
    };
    let (mut low, mut high) = (((b - c) / n).max(-1.0), 1.0);
    for _ in 0..N_HALVINGS {
        let middle = f64::midpoint(low, high);
        if is_refused(middle) { high = middle } else { low = middle }
    }
    high
}

/// The most likely probability of c where that of b is larger by δ: the larger root of
/// 2n q² + (−b − c + (2n − b + c) δ) q − c δ (1 − δ) = 0.
fn restricted(b: f64, c: f64, n: f64, delta: f64) -> f64 {
    let (a2, a1) = (2.0 * n, -b - c + (2.0 * n - b + c) * delta);
    let a0 = -c * delta * (1.0 - delta);
    ((a1 * a1 - 4.0 * a2 * a0).max(0.0).sqrt() - a1) / (2.0 * a2)
}

#[cfg(test)]
mod tests {
    use core_tensors::Rng;

    use super::*;

    #[track_caller]
    fn assert_near(found: f64, wanted: f64, tolerance: f64) {
        assert!((found - wanted).abs() < tolerance, "found {found}, wanted {wanted}");
    }

    #[test]
    fn mc_nemar_is_the_binomial_test() {
        // scipy: 2 binom.cdf(b, b + c, .5) − binom.pmf(b, b + c, .5), b the smaller.
        for (b, c, wanted) in [
            (10, 4, 0.118_469_238_281_25),
            (3, 1, 0.375),
            (0, 5, 0.031_25),
            (150, 86, 2.893_389_517_615_428e-5),
            (500, 430, 0.021_731_154_029_006_036),
            (0, 0, 1.0),
            (4, 4, 1.0),
        ] {
            assert_near(mc_nemar_p(b, c), wanted, 1e-11);
            assert_near(mc_nemar_p(c, b), wanted, 1e-11);
        }
        assert_near(is_more_often_right_p(3, 0), 0.125, 1e-11);
        assert_near(is_more_often_right_p(0, 3), 1.0, 1e-11);
        assert_near(is_more_often_right_p(0, 0), 1.0, 1e-11);
    }

    #[test]
    fn intervals_of_paired_proportions_are_tangos() {
        // R's PropCIs, scoreci.mp(60, 20, 1000), printed with four digits, whose sign is the other.
        let (low, high) = paired_proportions_interval(60, 20, 1000);
        assert_near(low, -0.0584, 5e-5);
        assert_near(high, -0.0231, 5e-5);
        // Airway hyper-responsiveness before and after a transplantation, in Fagerland, Lydersen & Laake (2014): 1 and 7
        // of 21.
        let (low, high) = paired_proportions_interval(7, 1, 21);
        assert_near(low, -0.517, 5e-4);
        assert_near(high, -0.026, 5e-4);
        // Nothing differs: z² / (n + z²) either way.
        let z2 = normal_quantile(0.975).powi(2);
        let (low, high) = paired_proportions_interval(0, 0, 100);
        assert_near(high, z2 / (100.0 + z2), 1e-12);
        assert_near(low, -high, 1e-12);
        // Everything was lost.
        assert_eq!(paired_proportions_interval(10, 0, 10).0, -1.0);
        assert!(paired_proportions_interval(0, 0, 0).0.is_nan());
        let mirrored = paired_proportions_interval(1, 7, 21);
        assert_near(mirrored.0, 0.026, 5e-4);
    }

    #[test]
    fn the_restricted_share_is_the_most_likely_one() {
        for (b, c, n, delta) in
            [(10.0, 4.0, 200.0, 0.05), (7.0, 1.0, 21.0, 0.5), (3.0, 9.0, 50.0, 0.1)]
        {
            let likelihood = |q: f64| {
                let rest: f64 = 1.0 - 2.0 * q - delta;
                b * (q + delta).ln() + c * q.ln() + (n - b - c) * rest.ln()
            };
            let steps = 200_000;
            let grid = (1..steps).map(|i| (1.0 - delta) / 2.0 * f64::from(i) / f64::from(steps));
            let best = grid.max_by(|&x, &y| likelihood(x).total_cmp(&likelihood(y))).unwrap();
            assert_near(restricted(b, c, n, delta), best, 5e-6);
        }
    }

    #[test]
    fn a_proportion_has_wilsons_interval() {
        // scipy.stats.binomtest(8, 10).proportion_ci(method="wilson")
        let (low, high) = proportion_interval(8, 10);
        assert_near(low, 0.490_162_471_536_641_8, 1e-9);
        assert_near(high, 0.943_317_848_545_649_2, 1e-9);
        assert!(proportion_interval(0, 5).0.abs() < 1e-12);
        assert_near(proportion_interval(5, 5).1, 1.0, 1e-12);
    }

    /// Probabilities of 0, 1, … successes of n, up to `most`.
    fn binomial(n: usize, p: f64, most: usize) -> Vec<f64> {
        let mut terms = vec![(1.0 - p).powi(n as i32)];
        for x in 1..=most.min(n) {
            let last = terms[x - 1];
            terms.push(last * (n - x + 1) as f64 / x as f64 * p / (1.0 - p));
        }
        terms
    }

    /// Probability that the bound is not below the loss, over all outcomes of n examples.
    fn coverage(n: usize, gain: f64, loss: f64) -> f64 {
        const MOST: usize = 60;
        let of_b = binomial(n, gain + loss, MOST);
        let mut covered = 0.0;
        for (b, p) in of_b.iter().enumerate() {
            let of_c = binomial(n - b, gain / (1.0 - gain - loss), MOST);
            let share = |(c, q): (usize, &f64)| {
                if upper_bound_of_loss_of(b, c, n, 0.95) >= loss { *q } else { 0.0 }
            };
            covered += p * of_c.iter().enumerate().map(share).sum::<f64>();
        }
        covered
    }

    #[test]
    fn small_losses_are_covered_in_95_percent_of_cases() {
        for n in [500, 1000, 2000] {
            for gain in [0.0, 0.002] {
                for examples in [0.5, 2.8, 3.3, 5.5, 8.0] {
                    let covered = coverage(n, gain, examples / n as f64);
                    assert!(covered > 0.95, "{n} {gain} {examples}: {covered}");
                }
            }
        }
        // And a random one: 4 000 draws have a standard deviation of .0034.
        let mut rng = Rng::new(0);
        let n_draws = 4000;
        let mut n_covered = 0;
        for _ in 0..n_draws {
            let (mut first, mut second) = (vec![true; 700], vec![true; 700]);
            for (a, b) in first.iter_mut().zip(&mut second) {
                let u = rng.uniform();
                (*a, *b) = (u >= 0.003, !(0.003..0.011).contains(&u));
            }
            n_covered += usize::from(upper_bound_of_loss(&first, &second, 0.95) >= 0.005);
        }
        let share = f64::from(u32::try_from(n_covered).unwrap()) / f64::from(n_draws);
        assert!((0.94..0.98).contains(&share), "{share}");
    }

    #[test]
    fn the_bound_lies_above_what_was_seen_and_falls_with_more_examples() {
        // NumPy, bisection of the equation of the bound.
        for (b, c, n, wanted) in [
            (0, 0, 1000, 0.003_177_276_258_462_403),
            (3, 1, 500, 0.013_839_060_298_912_468),
            (10, 4, 2000, 0.006_718_701_621_409_512),
        ] {
            assert_near(upper_bound_of_loss_of(b, c, n, 0.95), wanted, 1e-9);
        }
        assert_eq!(upper_bound_of_loss(&[], &[], 0.95), 1.0);
        assert_eq!(discordant(&[true, true, false], &[true, false, true]), (1, 1));
    }

    #[test]
    fn means_are_covered_in_95_percent_of_cases() {
        let mut rng = Rng::new(1);
        let (n_draws, mean) = (2000, 0.3);
        let is_covered = |_: &i32| {
            let values: Vec<f64> = (0..40).map(|_| mean + rng.normal()).collect();
            upper_bound_of_mean(&values, 0.95) >= mean
        };
        let n_covered = (0..n_draws).filter(is_covered).count();
        // A standard deviation of .005.
        assert_near(n_covered as f64 / f64::from(n_draws), 0.95, 0.015);
        // One degree of freedom: t₀.₉₅ = tan(.45 π), and the error of (1, 3) is 1.
        let wanted = 2.0 + (0.45 * std::f64::consts::PI).tan();
        assert_near(upper_bound_of_mean(&[1.0, 3.0], 0.95), wanted, 1e-9);
        assert_eq!(upper_bound_of_mean(&[1.0], 0.95), f64::INFINITY);
    }
}
