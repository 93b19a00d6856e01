//! Every rule reaches every verdict, and what keeps it from one.

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
const BETTER_THAN: Check = Check::better_than(metric::CROSS_ENTROPY, "a", 1.0);
const REACHES: Check = Check::reaches(metric::CROSS_ENTROPY, "a", 1.0, 0.1);

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
        (BETTER_THAN, around(0.9, 1.0), Reproduced),
        (BETTER_THAN, around(1.1, 1.0), NotReproduced),
        (BETTER_THAN, around(0.9, 10.0), Inconclusive),
        (REACHES, around(0.5, 1.0), Reproduced),
        (REACHES, around(1.05, 9.0), Reproduced),
        (REACHES, around(1.2, 1.0), NotReproduced),
        (EXACT, vec![1.05], Reproduced),
        (EXACT, vec![1.2], NotReproduced),
    ];
    for (check, a, wanted) in cases {
        let found = verdict_of(check, &a, &flat[..a.len()], Scale::Quick);
        assert_eq!(found, wanted, "{check:?} on {a:?}");
    }
}

#[test]
fn a_number_is_reached_by_as_many_runs_as_it_is_the_mean_of() {
    let rows = [row("a", &[0.9, 1.0], Kind::Real, Unit::Seed)];
    let verdict = |min_seeds| {
        let claim = Claim { id: "C0", text: "", published: &[], min_seeds, checks: &[] };
        judge_check(&REACHES, &claim, &Rows::new(rows.iter(), Scale::Quick)).verdict
    };
    assert_eq!([1, 2, 3].map(verdict)[..2], [Verdict::Reproduced; 2]);
    assert_eq!(verdict(3), Verdict::Inconclusive);
}

#[test]
fn a_larger_accuracy_reaches_a_number_from_above() {
    for (values, wanted) in [
        ([0.9; 3], Verdict::Reproduced),
        ([0.498; 3], Verdict::Reproduced),
        ([0.4; 3], Verdict::NotReproduced),
    ] {
        assert_eq!(reaches(&values, 0.5, Better::Higher, 0.003).0, wanted);
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
    for check in [BELOW, EQUIVALENT, NEAR, MATCHES, NO_GAIN, BETTER_THAN, REACHES] {
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
        published: &[Published { row: "s", metric: metric::CROSS_ENTROPY, mean: 1.0, std: None }],
        min_seeds: 3,
        checks: &CHECKS,
    };
    let mut rows = [
        row("s", &[5.0; 3], Kind::Real, Unit::Segment),
        row("a", &around(1.0, 1.0), Kind::Real, Unit::Seed),
        row("b", &[3.0; 4], Kind::Real, Unit::Seed),
    ];
    for (row, level) in rows.iter_mut().zip([0.0, 7.0, 8.0]) {
        row.metrics.insert(metric::BRIER.key(), vec![FiniteOrNull(vec![level]); row.runs.len()]);
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
        published: &[Published { row: "a", metric: metric::CROSS_ENTROPY, mean: 1.0, std: None }],
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
