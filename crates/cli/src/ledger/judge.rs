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
                    "row {id} was run on generated data, not on the published data"
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
        Check::Near { .. }
        | Check::Matches { .. }
        | Check::BetterThan { .. }
        | Check::Reaches { .. }
        | Check::Exact { .. } => None,
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
        Check::BetterThan { metric, row, value } => {
            let finals = rows.finals(row, metric);
            let (verdict, numbers) = better_than(&finals, value, metric.better);
            (verdict, numbers, Some(finals.len()))
        }
        Check::Reaches { metric, row, value, within } => {
            let finals = rows.finals(row, metric);
            if finals.len() < claim.min_seeds {
                let (n, needed) = (finals.len(), claim.min_seeds);
                let reason = format!("{}: {n} seeds where {needed} are needed", check.describe());
                return result(Verdict::Inconclusive, reason);
            }
            let (verdict, numbers) = reaches(&finals, value, metric.better, within);
            (verdict, numbers, None)
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
    (on_side(paired.difference.ci95, side), paired_numbers(&paired))
}

/// Reproduced where an interval of a difference lies on the better side of 0, not where it lies on the other.
fn on_side((low, high): (f64, f64), side: Better) -> Verdict {
    match side {
        _ if !(low.is_finite() && high.is_finite()) => Verdict::Inconclusive,
        Better::Lower if high < 0.0 => Verdict::Reproduced,
        Better::Lower if low > 0.0 => Verdict::NotReproduced,
        Better::Higher if low > 0.0 => Verdict::Reproduced,
        Better::Higher if high < 0.0 => Verdict::NotReproduced,
        Better::Lower | Better::Higher | Better::Neither => Verdict::Inconclusive,
    }
}

fn better_than(finals: &[f64], value: f64, side: Better) -> (Verdict, String) {
    let estimate = Estimate::new(finals);
    let (low, high) = estimate.ci95;
    let gap = estimate.mean - value;
    let numbers = format!("ours {:.4} (95 % {low:.4} to {high:.4}), {gap:+.4} off", estimate.mean);
    (on_side((low - value, high - value), side), numbers)
}

fn reaches(finals: &[f64], value: f64, side: Better, within: f64) -> (Verdict, String) {
    let mean = Estimate::new(finals).mean;
    let gap = mean - value;
    let verdict = match side {
        _ if !gap.is_finite() => Verdict::Inconclusive,
        Better::Higher if gap >= -within => Verdict::Reproduced,
        Better::Lower if gap <= within => Verdict::Reproduced,
        Better::Higher | Better::Lower => Verdict::NotReproduced,
        Better::Neither => Verdict::Inconclusive,
    };
    (verdict, format!("ours {mean:.4}, {gap:+.4} off"))
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
mod tests;
