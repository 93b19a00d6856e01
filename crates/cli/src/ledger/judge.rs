//! From rows of numbers to verdicts.

use std::collections::BTreeMap;

use super::claim::{Check, CheckResult, Claim, ClaimResult, FEWEST_SEEDS, Verdict};
use super::experiment::{Scale, Unit};
use super::metric::{Better, Metric};
use super::provenance::Kind;
use super::row::Row;
use super::stats::{Estimate, Paired};

/// Every row of a reproduction by name, with the scale it was run at.
pub struct Rows<'a> {
    rows: BTreeMap<&'a str, &'a Row>,
    scale: Scale,
}

impl<'a> Rows<'a> {
    /// Indexes rows.
    pub fn new(rows: impl Iterator<Item = &'a Row>, scale: Scale) -> Self {
        Self { rows: rows.map(|row| (row.id.as_str(), row)).collect(), scale }
    }

    /// Why a check cannot be put to the test, if it cannot.
    fn obstacle(&self, check: &Check) -> Option<String> {
        for id in check.rows() {
            let Some(row) = self.rows.get(id) else {
                return Some(format!("row {id} was not run"));
            };
            if row.data == Kind::Generated {
                return Some(format!(
                    "row {id} was run on generated pictures, not on the real data"
                ));
            }
            if !row.metrics.contains_key(check.metric().name) {
                return Some(format!("row {id} has no metric {}", check.metric()));
            }
        }
        None
    }

    /// A row whose runs are repetitions; segments of one run are not.
    fn repeated(&self, id: &str) -> Option<&'a Row> {
        self.rows.get(id).copied().filter(|row| row.unit != Unit::Segment)
    }

    /// Last value of a metric of each seed.
    fn finals(&self, id: &str, metric: Metric) -> Vec<f64> {
        self.repeated(id).map(|row| row.finals(metric)).unwrap_or_default()
    }

    /// Last values of two rows for the seeds that both have.
    fn pairs(&self, a: &str, b: &str, metric: Metric) -> (Vec<f64>, Vec<f64>) {
        let rows = self.repeated(a).zip(self.repeated(b));
        rows.map(|(a, b)| a.pairs(b, metric)).unwrap_or_default()
    }
}

/// Judges a claim by its checks.
pub fn judge(claim: &Claim, rows: &Rows) -> ClaimResult {
    let checks: Vec<CheckResult> =
        claim.checks.iter().map(|check| judge_check(check, claim, rows)).collect();
    let verdict = [Verdict::NotReproduced, Verdict::NotRun, Verdict::Inconclusive]
        .into_iter()
        .find(|&verdict| checks.iter().any(|check| check.verdict == verdict))
        .unwrap_or(Verdict::Reproduced);
    let reason = (verdict != Verdict::Reproduced).then(|| {
        let blamed = checks.iter().filter(|check| check.verdict == verdict);
        let mut reasons: Vec<&str> = blamed.map(|check| check.reason.as_str()).collect();
        reasons.dedup();
        reasons.join("; ")
    });
    let is_run = verdict != Verdict::NotRun;
    let headline = claim.published.first();
    let ours = headline.filter(|_| is_run).and_then(|headline| {
        // Where the printed row holds segments of one run, a row whose number is checked stands for it, else the first.
        let checked = claim.checks.iter().find_map(|check| match *check {
            Check::Near { metric, row, .. } | Check::Matches { metric, row, .. } => {
                (metric == headline.metric).then_some(row)
            }
            _ => None,
        });
        let first = claim.checks.first().and_then(|check| check.rows().first().copied());
        [Some(headline.row), checked, first].into_iter().flatten().find_map(|row| {
            let finals = rows.finals(row, headline.metric);
            (!finals.is_empty()).then(|| (row, Estimate::new(&finals)))
        })
    });
    let compared = |check: &Check| match *check {
        Check::Better { metric, row, than: other, .. }
        | Check::Equivalent { metric, row, to: other, .. }
        | Check::NoGain { metric, row, over: other, .. } => Some((metric, row, other)),
        Check::Near { .. } | Check::Matches { .. } | Check::Exact { .. } => None,
    };
    // The comparison of the metric that is shown beside it, if there is one.
    let of_headline = claim.checks.iter().filter_map(compared);
    let of_headline =
        of_headline.filter(|(metric, ..)| headline.is_some_and(|h| h.metric == *metric));
    let any = claim.checks.iter().filter_map(compared);
    let difference = of_headline.chain(any).filter(|_| is_run).find_map(|(metric, row, other)| {
        let (a, b) = rows.pairs(row, other, metric);
        Paired::new(&a, &b).ok()
    });
    ClaimResult { id: claim.id, ours, difference, checks, verdict, reason }
}

fn judge_check(check: &Check, claim: &Claim, rows: &Rows) -> CheckResult {
    let result = |verdict, reason| CheckResult { check: *check, verdict, reason };
    if let Some(obstacle) = rows.obstacle(check) {
        return result(Verdict::NotRun, obstacle);
    }
    let (verdict, numbers, n) = match *check {
        Check::Better { metric, row, than } => {
            let (a, b) = rows.pairs(row, than, metric);
            let (verdict, numbers) = better(&a, &b, metric.better);
            (verdict, numbers, Some(a.len()))
        }
        Check::Near { metric, row, value, within, .. } => {
            let finals = rows.finals(row, metric);
            let (verdict, numbers) = near(&finals, value, within);
            (verdict, numbers, Some(finals.len()))
        }
        Check::Matches { metric, row, mean, std, n } => {
            let finals = rows.finals(row, metric);
            let (verdict, numbers) = matches(&finals, mean, std, n);
            (verdict, numbers, Some(finals.len()))
        }
        Check::Equivalent { metric, row, to, margin } => {
            let (a, b) = rows.pairs(row, to, metric);
            let (verdict, numbers) = equivalent(&a, &b, margin);
            (verdict, numbers, Some(a.len()))
        }
        Check::NoGain { metric, row, over, margin } => {
            let (a, b) = rows.pairs(row, over, metric);
            let (verdict, numbers) = no_gain(&a, &b, metric.better, margin);
            (verdict, numbers, Some(a.len()))
        }
        Check::Exact { metric, row, value, tolerance } => {
            let finals = rows.finals(row, metric);
            let (verdict, numbers) = exact(&finals, value, tolerance);
            (verdict, numbers, None)
        }
    };
    let described = format!("{}: {numbers}", check.describe());
    let needed = claim.min_seeds.max(FEWEST_SEEDS);
    if rows.scale == Scale::Smoke {
        let reason =
            format!("{described}; smoke scale cuts epochs and objects, so nothing is decided");
        return result(Verdict::Inconclusive, reason);
    }
    if let Some(n) = n.filter(|&n| n < needed) {
        let reason = format!("{described}; {n} seeds where at least {needed} are needed");
        return result(Verdict::Inconclusive, reason);
    }
    result(verdict, described)
}

fn better(a: &[f64], b: &[f64], side: Better) -> (Verdict, String) {
    let Ok(paired) = Paired::new(a, b) else { return not_comparable() };
    let (low, high) = paired.difference.ci95;
    let verdict = match side {
        _ if !(low.is_finite() && high.is_finite()) => Verdict::Inconclusive,
        Better::Lower if high < 0.0 => Verdict::Reproduced,
        Better::Lower if low > 0.0 => Verdict::NotReproduced,
        Better::Higher if low > 0.0 => Verdict::Reproduced,
        Better::Higher if high < 0.0 => Verdict::NotReproduced,
        Better::Lower | Better::Higher | Better::Neither => Verdict::Inconclusive,
    };
    (verdict, paired_numbers(&paired))
}

fn equivalent(a: &[f64], b: &[f64], margin: f64) -> (Verdict, String) {
    let Ok(paired) = Paired::new(a, b) else { return not_comparable() };
    let (low, high) = paired.difference.ci95;
    let verdict = if -margin < low && high < margin {
        Verdict::Reproduced
    } else if low > margin || high < -margin {
        Verdict::NotReproduced
    } else {
        Verdict::Inconclusive
    };
    (verdict, paired_numbers(&paired))
}

fn no_gain(a: &[f64], b: &[f64], side: Better, margin: f64) -> (Verdict, String) {
    let Ok(paired) = Paired::new(a, b) else { return not_comparable() };
    let (low, high) = match side {
        Better::Higher => paired.difference.ci95,
        Better::Lower => (-paired.difference.ci95.1, -paired.difference.ci95.0),
        Better::Neither => return (Verdict::Inconclusive, paired_numbers(&paired)),
    };
    let verdict = if high < margin {
        Verdict::Reproduced
    } else if low >= margin {
        Verdict::NotReproduced
    } else {
        Verdict::Inconclusive
    };
    (verdict, paired_numbers(&paired))
}

fn near(finals: &[f64], value: f64, within: f64) -> (Verdict, String) {
    let estimate = Estimate::new(finals);
    let half = estimate.half_width();
    let gap = estimate.mean - value;
    let verdict = if !half.is_finite() || half > within {
        Verdict::Inconclusive
    } else if gap.abs() <= within {
        Verdict::Reproduced
    } else {
        Verdict::NotReproduced
    };
    (verdict, format!("ours {:.4} ± {half:.4} (95 %), {gap:+.4} off", estimate.mean))
}

/// |x̄ − x̄′| ≤ 3 √(s²/(n − 1) + s′²/(n′ − 1))
fn matches(finals: &[f64], mean: f64, std: f64, n: usize) -> (Verdict, String) {
    let ours = Estimate::new(finals);
    let error = |std: f64, n: usize| std.powi(2) / (n as f64 - 1.0);
    let within = 3.0 * (error(ours.std, ours.n) + error(std, n)).sqrt();
    let gap = ours.mean - mean;
    let verdict = match gap.abs() <= within {
        _ if !(within.is_finite() && gap.is_finite()) => Verdict::Inconclusive,
        true => Verdict::Reproduced,
        false => Verdict::NotReproduced,
    };
    let numbers = format!(
        "ours {:.4} ± {:.4} of {} runs, {gap:+.4} off where {within:.4} is allowed",
        ours.mean, ours.std, ours.n
    );
    (verdict, numbers)
}

fn exact(finals: &[f64], value: f64, tolerance: f64) -> (Verdict, String) {
    let worst = finals.iter().map(|v| (v - value).abs()).fold(f64::NAN, f64::max);
    if finals.is_empty() {
        return (Verdict::Inconclusive, "no value".into());
    }
    let is_exact = finals.iter().all(|v| (v - value).abs() <= tolerance);
    let verdict = if is_exact { Verdict::Reproduced } else { Verdict::NotReproduced };
    (verdict, format!("largest deviation {worst:.2e}"))
}

fn not_comparable() -> (Verdict, String) {
    (Verdict::Inconclusive, "no seed was run for both".into())
}

fn paired_numbers(paired: &Paired) -> String {
    let (low, high) = paired.difference.ci95;
    format!(
        "difference {:+.4} (95 % {low:+.4} to {high:+.4}, p = {:.2e}, {} pairs)",
        paired.difference.mean, paired.p, paired.difference.n
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::FiniteOrNull;
    use crate::ledger::metric;
    use crate::ledger::{Published, Reference};

    const NOISE: [f64; 4] = [0.01, -0.01, 0.02, -0.02];

    fn row(id: &str, values: &[f64], data: Kind, unit: Unit) -> Row {
        let curves = values.iter().map(|v| FiniteOrNull(vec![9.0, *v])).collect();
        Row {
            id: id.into(),
            data,
            unit,
            runs: (0..values.len() as u64).collect(),
            metrics: BTreeMap::from([(metric::CROSS_ENTROPY.key(), curves)]),
        }
    }

    fn around(center: f64, spread: f64) -> Vec<f64> {
        NOISE.iter().map(|e| center + spread * e).collect()
    }

    fn verdict_of(check: Check, a: &[f64], b: &[f64], scale: Scale) -> Verdict {
        let rows = [row("a", a, Kind::Real, Unit::Seed), row("b", b, Kind::Real, Unit::Seed)];
        let claim = Claim { id: "C0", text: "", published: &[], min_seeds: 3, checks: &[] };
        judge_check(&check, &claim, &Rows::new(rows.iter(), scale)).verdict
    }

    const BELOW: Check = Check::Better { metric: metric::CROSS_ENTROPY, row: "a", than: "b" };
    const EQUIVALENT: Check =
        Check::Equivalent { metric: metric::CROSS_ENTROPY, row: "a", to: "b", margin: 0.5 };
    const NEAR: Check = Check::Near {
        metric: metric::CROSS_ENTROPY,
        row: "a",
        value: 1.0,
        of: Reference::Paper,
        within: 0.5,
    };
    const MATCHES: Check =
        Check::Matches { metric: metric::CROSS_ENTROPY, row: "a", mean: 1.0, std: 0.4, n: 5 };
    const NO_GAIN: Check =
        Check::NoGain { metric: metric::CROSS_ENTROPY, row: "a", over: "b", margin: 0.5 };
    const EXACT: Check =
        Check::Exact { metric: metric::CROSS_ENTROPY, row: "a", value: 1.0, tolerance: 0.1 };

    #[test]
    fn every_rule_reaches_every_verdict() {
        use Verdict::{Inconclusive, NotReproduced, Reproduced};
        let flat = [0.0; 4];
        let cases = [
            (BELOW, around(-1.0, 1.0), Reproduced),
            (BELOW, around(1.0, 1.0), NotReproduced),
            (BELOW, around(0.0, 1.0), Inconclusive),
            (EQUIVALENT, around(0.1, 1.0), Reproduced),
            (EQUIVALENT, around(2.0, 1.0), NotReproduced),
            (EQUIVALENT, around(0.5, 1.0), Inconclusive),
            (NEAR, around(1.2, 1.0), Reproduced),
            (NEAR, around(2.0, 1.0), NotReproduced),
            (NEAR, around(1.0, 100.0), Inconclusive),
            (MATCHES, around(1.5, 1.0), Reproduced),
            (MATCHES, around(1.7, 1.0), NotReproduced),
            (MATCHES, around(1.7, 20.0), Reproduced),
            (NO_GAIN, around(0.0, 1.0), Reproduced),
            (NO_GAIN, around(5.0, 1.0), Reproduced),
            (NO_GAIN, around(-2.0, 1.0), NotReproduced),
            (NO_GAIN, around(-0.5, 1.0), Inconclusive),
            (EXACT, vec![1.05], Reproduced),
            (EXACT, vec![1.2], NotReproduced),
        ];
        for (check, a, wanted) in cases {
            let found = verdict_of(check, &a, &flat[..a.len()], Scale::Quick);
            assert_eq!(found, wanted, "{check:?} on {a:?}");
        }
    }

    #[test]
    fn both_sides_of_a_match_may_scatter() {
        // 3 √(0.25/3 + 0.16/4): ours are 0, 1, 0, 1 with s² = 1/4 of 4, theirs s′² = 0.16 of 5.
        let within = 3.0 * (0.25f64 / 3.0 + 0.16 / 4.0).sqrt();
        for (offset, wanted) in [(-1e-9, Verdict::Reproduced), (1e-9, Verdict::NotReproduced)] {
            let mean = 0.5 + within + offset;
            assert_eq!(matches(&[0.0, 1.0, 0.0, 1.0], mean, 0.4, 5).0, wanted);
        }
        assert_eq!(matches(&[1.0], 1.0, 0.4, 5).0, Verdict::Inconclusive);
    }

    #[test]
    fn few_seeds_smoke_and_nan_decide_nothing() {
        let (a, b) = (around(-1.0, 1.0), [0.0; 4]);
        assert_eq!(verdict_of(BELOW, &a[..2], &b[..2], Scale::Quick), Verdict::Inconclusive);
        assert_eq!(verdict_of(BELOW, &a, &b, Scale::Smoke), Verdict::Inconclusive);
        let diverged = [f64::NAN, -1.0, -1.0, -1.1];
        for check in [BELOW, EQUIVALENT, NEAR, MATCHES, NO_GAIN] {
            assert_eq!(verdict_of(check, &diverged, &b, Scale::Quick), Verdict::Inconclusive);
        }
        assert_eq!(verdict_of(EXACT, &[f64::NAN], &b[..1], Scale::Quick), Verdict::NotReproduced);
    }

    #[test]
    fn a_row_whose_number_is_checked_stands_for_printed_segments() {
        static CHECKS: [Check; 3] = [
            Check::Better { metric: metric::BRIER, row: "b", than: "a" },
            Check::Better { metric: metric::CROSS_ENTROPY, row: "b", than: "a" },
            MATCHES,
        ];
        let claim = Claim {
            id: "C0",
            text: "",
            published: &[Published {
                row: "s",
                metric: metric::CROSS_ENTROPY,
                mean: 1.0,
                std: None,
            }],
            min_seeds: 3,
            checks: &CHECKS,
        };
        let mut rows = [
            row("s", &[5.0; 3], Kind::Real, Unit::Segment),
            row("a", &around(1.0, 1.0), Kind::Real, Unit::Seed),
            row("b", &[3.0; 4], Kind::Real, Unit::Seed),
        ];
        for (row, level) in rows.iter_mut().zip([0.0, 7.0, 8.0]) {
            row.metrics
                .insert(metric::BRIER.key(), vec![FiniteOrNull(vec![level]); row.runs.len()]);
        }
        let found = judge(&claim, &Rows::new(rows.iter(), Scale::Quick));
        let (name, ours) = found.ours.unwrap();
        assert_eq!(name, "a");
        assert!((ours.mean - 1.0).abs() < 1e-12);
        // Of the headline's metric, not of the first check's.
        assert!((found.difference.unwrap().difference.mean - 2.0).abs() < 1e-12);
    }

    #[test]
    fn a_claim_is_as_good_as_its_worst_check() {
        static CHECKS: [Check; 2] = [BELOW, NEAR];
        let claim = Claim {
            id: "C0",
            text: "",
            published: &[Published {
                row: "a",
                metric: metric::CROSS_ENTROPY,
                mean: 1.0,
                std: None,
            }],
            min_seeds: 3,
            checks: &CHECKS,
        };
        let verdict = |a: &[f64], kind, unit| {
            let rows = [row("a", a, kind, unit), row("b", &[2.0; 4], Kind::Real, Unit::Seed)];
            judge(&claim, &Rows::new(rows.iter(), Scale::Quick))
        };
        let good = verdict(&around(1.0, 1.0), Kind::Real, Unit::Seed);
        assert_eq!((good.verdict, good.reason), (Verdict::Reproduced, None));
        assert!((good.ours.unwrap().1.mean - 1.0).abs() < 1e-12);
        assert!((good.difference.unwrap().difference.mean + 1.0).abs() < 1e-12);
        let far = verdict(&around(-3.0, 1.0), Kind::Real, Unit::Seed);
        assert_eq!(far.verdict, Verdict::NotReproduced);
        let drawn = verdict(&around(1.0, 1.0), Kind::Generated, Unit::Seed);
        assert_eq!(drawn.verdict, Verdict::NotRun);
        assert!(drawn.ours.is_none() && drawn.reason.unwrap().contains("generated"));
        let segments = verdict(&around(1.0, 1.0), Kind::Real, Unit::Segment);
        assert_eq!(segments.verdict, Verdict::Inconclusive);
        let diverged = verdict(&[f64::NAN; 4], Kind::Real, Unit::Seed);
        assert_eq!(diverged.verdict, Verdict::Inconclusive);
    }

    #[test]
    fn runs_are_paired_by_seed() {
        let mut a = row("a", &[1.0, 2.0, 3.0, 4.0], Kind::Real, Unit::Seed);
        a.runs = vec![3, 2, 1, 0];
        let b = row("b", &[4.5, 3.5, 2.5, 1.5, 100.0], Kind::Real, Unit::Seed);
        let rows = [a, b];
        let (x, y) = Rows::new(rows.iter(), Scale::Quick).pairs("a", "b", metric::CROSS_ENTROPY);
        assert_eq!((x, y), (vec![4.0, 3.0, 2.0, 1.0], vec![4.5, 3.5, 2.5, 1.5]));
    }
}
