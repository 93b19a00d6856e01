//! Many rows against one: who is better, who is worse, and of whom that cannot be said.

use crate::ledger::stats::{Paired, holm, mean};
use crate::ledger::{Better, Metric, Unit};
use anyhow::Result;

use super::blocks::{Cell, Table};
use super::tables::{probability, signed};
use super::{ExperimentReport, Row};

/// A difference counts where Holm's p lies below this, over so many seeds or more.
const SIGNIFICANT: f64 = 0.05;
const FEWEST_SEEDS: usize = 5;

/// What is compared: all rows whose names begin with `among` against the row `than`.
#[derive(Clone, Copy)]
pub(super) struct Contest<'a> {
    pub(super) among: &'a str,
    pub(super) than: &'a str,
    /// Metrics and where their better values lie; the first gives the order.
    pub(super) metrics: &'a [Metric],
}

/// One row against the other in one metric.
struct Match {
    paired: Paired,
    p_holm: f64,
    outcome: Outcome,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Better,
    Worse,
    /// Neither can be said.
    Open,
    /// Some run has no finite value.
    Lost,
}

impl Contest<'_> {
    /// Sentences that sum each metric up and a table of rows by metrics; nothing where `than` or all others were not run.
    pub(super) fn draw(&self, report: &ExperimentReport) -> Result<Option<(Vec<String>, Table)>> {
        let is_row = |row: &&Row| row.unit == Unit::Seed && row.id.starts_with(self.among);
        let (than, mut others): (Vec<&Row>, Vec<&Row>) =
            report.rows.iter().filter(is_row).partition(|row| row.id == self.than);
        let Some(&than) = than.first() else { return Ok(None) };
        others.retain(|row| self.metrics.iter().all(|m| row.metrics.contains_key(m.name)));
        if others.is_empty() {
            return Ok(None);
        }
        let matches = self.metrics.iter().map(|&metric| matches(&others, than, metric));
        let matches: Vec<Vec<Match>> = matches.collect::<Result<_>>()?;
        let title = |row: &Row| {
            let spec = report.about.rows.iter().find(|spec| spec.id == row.id);
            let title = spec.map_or(row.id.as_str(), |spec| spec.title);
            // What all titles begin with, such as the data, stands in the caption.
            title.split_once(": ").map_or(title, |(_, own)| own).to_owned()
        };
        let sentences = self.metrics.iter().zip(&matches).map(|(metric, matches)| {
            let of = |wanted: Outcome| {
                let found = others.iter().zip(matches).filter(|(_, m)| m.outcome == wanted);
                found.map(|(row, _)| title(row)).collect::<Vec<_>>()
            };
            sentence(metric.label, &title(than), of)
        });
        let sentences = sentences.collect();

        let mut order: Vec<usize> = (0..others.len()).collect();
        if let (Some(metric), Some(first)) = (self.metrics.first(), matches.first()) {
            let gain = |i: usize| match gain(first[i].paired.difference.mean, metric.better) {
                gain if gain.is_nan() => f64::NEG_INFINITY,
                gain => gain,
            };
            order.sort_by(|&a, &b| gain(b).total_cmp(&gain(a)));
        }
        let mut head = vec!["row".to_owned()];
        head.extend(self.metrics.iter().map(|metric| metric.label.to_owned()));
        let line = |row: &Row, of: &dyn Fn(usize) -> Vec<String>| {
            let cells = self.metrics.iter().enumerate().map(|(t, &metric)| {
                let mut lines = vec![metric.text(mean(&row.finals(metric)))];
                lines.extend(of(t));
                Cell { lines, ..Cell::default() }
            });
            std::iter::once(Cell::text(title(row))).chain(cells).collect::<Vec<_>>()
        };
        let mut rows = vec![line(than, &|_| Vec::new())];
        rows.extend(order.into_iter().map(|i| line(others[i], &|t| matches[t][i].lines())));
        Ok(Some((sentences, Table { head, rows, ..Table::default() })))
    }
}

impl Match {
    fn lines(&self) -> Vec<String> {
        let word = match self.outcome {
            Outcome::Better => "better, ",
            Outcome::Worse => "worse, ",
            Outcome::Open => "",
            Outcome::Lost => "not finite, ",
        };
        vec![
            signed(&self.paired.difference),
            format!("{word}p (Holm) {}", probability(self.p_holm)),
        ]
    }
}

fn matches(others: &[&Row], than: &Row, metric: Metric) -> Result<Vec<Match>> {
    let paired = |row: &&Row| {
        let (a, b) = row.pairs(than, metric);
        Paired::new(&a, &b)
    };
    let paired = others.iter().map(paired).collect::<Result<Vec<_>>>()?;
    let p = holm(&paired.iter().map(|paired| paired.p).collect::<Vec<_>>());
    let one = |(paired, p_holm): (Paired, f64)| {
        let counts = p_holm < SIGNIFICANT && paired.difference.n >= FEWEST_SEEDS;
        let outcome = match gain(paired.difference.mean, metric.better) {
            gain if !gain.is_finite() => Outcome::Lost,
            gain if counts && gain > 0.0 => Outcome::Better,
            _ if counts => Outcome::Worse,
            _ => Outcome::Open,
        };
        Match { paired, p_holm, outcome }
    };
    Ok(paired.into_iter().zip(p).map(one).collect())
}

fn gain(difference: f64, side: Better) -> f64 {
    match side {
        Better::Higher => difference,
        Better::Lower => -difference,
        Better::Neither => f64::NAN,
    }
}

fn sentence(metric: &str, than: &str, of: impl Fn(Outcome) -> Vec<String>) -> String {
    let named = |outcome: Outcome, word: &str| match &of(outcome)[..] {
        [] => format!("none is {word}"),
        rows => format!("{} {word} ({})", rows.len(), rows.join("; ")),
    };
    let n_open = of(Outcome::Open).len();
    let n = n_open
        + [Outcome::Better, Outcome::Worse].map(|outcome| of(outcome).len()).iter().sum::<usize>();
    let lost = match &of(Outcome::Lost)[..] {
        [] => String::new(),
        rows => format!(" Not finite, and in no test: {}.", rows.join("; ")),
    };
    format!(
        "In {metric}, of {n} rows against \"{than}\": {}; {}; {n_open} cannot be told from it.{lost} (Paired Student tests, Holm's \
         correction over the {n} of this metric, 5 %; with fewer than {FEWEST_SEEDS} seeds no difference counts.)",
        named(Outcome::Better, "significantly better"),
        named(Outcome::Worse, "significantly worse"),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::experiments;
    use crate::ledger::FiniteOrNull;
    use crate::ledger::Kind;
    use crate::ledger::metric;

    /// Twelve differences around 0, of standard deviation 1 or so.
    const NOISE: [f64; 12] = [1.2, -0.4, 0.3, -1.1, 0.8, -0.9, 0.1, -0.2, 1.4, -1.3, 0.6, -0.5];

    fn row(id: &str, of_seed: impl Fn(usize) -> f64) -> Row {
        let curve = |seed| FiniteOrNull(vec![of_seed(seed)]);
        let curves = (0..NOISE.len()).map(curve).collect();
        Row {
            id: id.to_owned(),
            data: Kind::Real,
            unit: Unit::Seed,
            runs: (0..NOISE.len() as u64).collect(),
            metrics: BTreeMap::from([(metric::ACCURACY.key(), curves)]),
        }
    }

    fn report(rows: Vec<Row>) -> ExperimentReport {
        let about = experiments::ALL.iter().find(|e| e.id == "methods").unwrap().description();
        ExperimentReport {
            about,
            seconds: 0.0,
            settings: serde_json::Value::Null,
            rows,
            arrays: BTreeMap::new(),
            comparisons: Vec::new(),
            claims: Vec::new(),
        }
    }

    const CONTEST: Contest = Contest {
        among: "methods/mnist/",
        than: "methods/mnist/forward",
        metrics: &[metric::ACCURACY],
    };

    #[test]
    fn rows_are_better_worse_or_not_told_apart() {
        // What seeds share must not count: the differences are small beside it.
        let base = |seed: usize| 0.8 + 0.1 * NOISE[(seed + 5) % 12];
        let forward = row("methods/mnist/forward", base);
        let better = row("methods/mnist/hint", |i| base(i) + 0.02 + 0.003 * NOISE[i]);
        let worse = row("methods/mnist/none", |i| base(i) - 0.03 + 0.003 * NOISE[i]);
        let same = row("methods/mnist/mutual", |i| base(i) + 0.001 + 0.01 * NOISE[i]);
        // Other data are another contest.
        let other = row("methods/fashion/hint", |i| base(i) + 1.0);
        let report = report(vec![worse, forward, same, better, other]);
        let (sentences, table) = CONTEST.draw(&report).unwrap().unwrap();
        let wanted = "In accuracy, of 3 rows against \"plain distillation (forward KL)\": 1 significantly better \
            (FitNets); 1 significantly worse (no teacher); 1 cannot be told from it.";
        assert!(sentences[0].starts_with(wanted), "{}", sentences[0]);
        let names: Vec<&str> = table.rows.iter().map(|row| row[0].lines[0].as_str()).collect();
        let order =
            ["plain distillation (forward KL)", "FitNets", "mutual, no teacher", "no teacher"];
        assert_eq!(names, order);
        let words = |i: usize| table.rows[i][1].lines.last().unwrap().clone();
        assert!(words(1).starts_with("better, p") && words(3).starts_with("worse, p"));
        assert!(words(2).starts_with("p (Holm)"), "{}", words(2));
    }

    #[test]
    fn a_row_that_diverged_is_named_and_stands_last() {
        let forward = row("methods/mnist/forward", |i| NOISE[i]);
        let lost = row("methods/mnist/hint", |i| if i == 3 { f64::NAN } else { 9.0 });
        let same = row("methods/mnist/mutual", |i| NOISE[(i + 7) % 12]);
        let (sentences, table) = CONTEST.draw(&report(vec![forward, lost, same])).unwrap().unwrap();
        assert!(
            sentences[0].contains("of 1 rows")
                && sentences[0].contains("Not finite, and in no test: FitNets.")
        );
        assert_eq!(table.rows[2][0].lines[0], "FitNets");
    }

    #[test]
    fn a_few_seeds_decide_nothing() {
        let forward = row("methods/mnist/forward", |_| 0.5);
        let mut far = row("methods/mnist/hint", |_| 0.9);
        far.runs.truncate(4);
        far.metrics.values_mut().for_each(|runs| runs.truncate(4));
        let (sentences, _) = CONTEST.draw(&report(vec![forward, far])).unwrap().unwrap();
        assert!(sentences[0].contains("none is significantly better"), "{}", sentences[0]);
    }

    #[test]
    fn where_nothing_is_better_it_says_so() {
        let forward = row("methods/mnist/forward", |i| NOISE[i]);
        let same = row("methods/mnist/hint", |i| NOISE[(i + 7) % 12]);
        let (sentences, _) = CONTEST.draw(&report(vec![forward, same])).unwrap().unwrap();
        assert!(sentences[0].contains("none is significantly better; none is significantly worse"));
        assert!(CONTEST.draw(&report(Vec::new())).unwrap().is_none());
    }
}
