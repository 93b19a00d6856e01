//! The tables of the report.

use crate::ledger::stats::{Estimate, mean, population_std, trapezoid};
use crate::ledger::{
    CheckResult, ClaimResult, Description, Kind, Metric, Published, Shown, Unit, metric,
};

use super::blocks::{Cell, Table};
use super::{Comparison, ExperimentReport, Report, Row};

/// What the columns mean.
pub(super) const NOTES: &[&str] = &[
    "Values are means at the last epoch or iteration ± population standard deviation over the runs, as the papers print them; \
     square brackets hold the 95 % Student interval of the mean. A line beginning with \"paper\" is what the paper printed.",
    "Cross-entropy is the mean negative log-likelihood on the test set's hard labels at T = 1, in nats; no test object \
     chooses an epoch. Least cross-entropy and its epoch (from 1) look at the whole test curve and describe it only.",
    "The integral criterion is the trapezoid of the test cross-entropy over the epochs, unit spacing; its ± is the \
     trapezoid of the curve of deviations, as in paper 003. Lower is better.",
    "ECE has 15 bins of equal width. Agreement is the share of test objects on which student and teacher choose the same \
     class. The probability range is the mean over test objects of the largest minus the smallest class probability; the paper's ± \
     is over objects, ours over runs.",
    "Test log-likelihood is minus the mean test loss at the mean weights, without constants: minus the mean squared error of \
     a regression, minus the cross-entropy of a classifier. Its area is the trapezoid over the iterations from the first \
     point of the curve to the last; higher is better. KL is that of the weights' Gaussian from the prior as both stand, \
     in nats. The share of the early gap is the distance of a distilled student's test log-likelihood from the plain \
     one's at the end, over that at iteration 1000.",
    "Log-likelihood of a draw is the mean over the training batches since the last point, at one draw of the weights each, in \
     nats with constants. Risk is the mean squared distance of a predictive mean from the noise-free function, log density \
     that of noisy test targets under the predictive distribution; gains are over the plain student of the same seed.",
    "Where units are removed, a value stands at the smallest number of units kept. Test MSE is the mean squared error on the \
     test set. The change of log evidence is that from the network before the removal (Savage–Dickey under the Laplace \
     posterior); the units of its largest value are the best of the sizes tried, that before the removal included, and the \
     units at a loss are the largest size tried whose test accuracy lies more than 0.01 below that before the removal, 0 where none does.",
    "Measures of a map φ: the teacher's accuracy through φ is the share of test objects (of Imagenette: of the student's own objects) whose \
     label it names on φ(x); the \
     proxy A-distance is 2 (1 − 2 ε) with ε the test error of a small perceptron that tells φ(x) of the student's objects from \
     the teacher's own, 0 where it cannot, 2 where it always can; MMD² is the squared maximum mean discrepancy of the same \
     samples under one Gaussian kernel of the median scale, unbiased; the round-trip error is the mean squared error of a \
     pixel after φ's way to its latent space and back.",
    "MSE above the noise is the mean squared distance of predictions from the noise-free function on the test objects.",
    "Seconds of training are those of the clock, whatever else ran: the one metric that differs when a run is repeated.",
    "Segments continue one run: their spread is that of one student growing older, not of repetitions.",
    "Comparisons are row minus baseline, seed by seed: p is the paired Student test, p (Holm) corrects it over the rows \
     of one metric, Wilcoxon's signed ranks and sign flips stand beside it.",
];

/// What a reader calls a row; of another experiment than `about` with that experiment's title.
pub(super) fn title(report: &Report, about: &Description, id: &str) -> String {
    let of = |experiment: &ExperimentReport| {
        let spec = experiment.about.rows.iter().find(|spec| spec.id == id)?;
        Some(match experiment.about.id == about.id {
            true => spec.title.to_owned(),
            false => format!("{} ({})", spec.title, experiment.about.title),
        })
    };
    report.experiments.iter().find_map(of).unwrap_or_else(|| id.to_owned())
}

/// Every claim in one line.
pub(super) fn claims(report: &Report) -> Table {
    let head = ["claim", "verdict", "paper", "statement", "published", "ours", "paired difference"];
    let mut table = Table { head: head.map(str::to_owned).into(), ..Table::default() };
    for experiment in &report.experiments {
        for (claim, result) in experiment.about.claims.iter().zip(&experiment.claims) {
            let published = claim
                .published
                .first()
                .map_or("–".into(), |p| format!("{} {}", p.metric.label, printed(p)));
            table.rows.push(vec![
                Cell::text(claim.id),
                Cell::verdict(result.verdict),
                Cell::text(experiment.about.source),
                Cell::text(claim.text),
                Cell::text(published),
                result.ours.zip(claim.published.first()).map_or_else(
                    || Cell::text("–"),
                    |((row, ours), headline)| {
                        let title = title(report, &experiment.about, row);
                        Cell {
                            lines: vec![interval(headline.metric, &ours), title],
                            ..Cell::default()
                        }
                    },
                ),
                Cell::text(result.difference.map_or("–".into(), |d| signed(&d.difference))),
            ]);
        }
    }
    table
}

/// Rows × metrics.
pub(super) fn results(report: &ExperimentReport) -> Table {
    let rows: Vec<(&Row, &str)> = report
        .about
        .rows
        .iter()
        .filter_map(|spec| {
            report.rows.iter().find(|row| row.id == spec.id).map(|row| (row, spec.title))
        })
        .collect();
    let is_shown = |metric: &Metric| matches!(metric.shown, Shown::Compared | Shown::Table);
    let is_taken =
        |metric: &Metric| rows.iter().any(|(row, _)| row.metrics.contains_key(metric.name));
    let metrics: Vec<Metric> =
        metric::ALL.iter().copied().filter(|metric| is_shown(metric) && is_taken(metric)).collect();
    let mut head = vec!["row".to_owned(), "runs".to_owned()];
    head.extend(metrics.iter().map(|metric| metric.label.to_owned()));
    let body = rows
        .iter()
        .map(|(row, title)| {
            let mut name = Cell::text(*title);
            if row.data == Kind::Generated {
                name.lines.push("generated".into());
            }
            let n = row.runs.len();
            let unit = match row.unit {
                Unit::Seed => format!("{n} seeds"),
                Unit::Segment => format!("{n} segments of 1 run"),
                Unit::Single => "1 run".into(),
            };
            let mut cells = vec![name, Cell::text(unit)];
            cells.extend(metrics.iter().map(|&metric| value(report, row, metric)));
            cells
        })
        .collect();
    Table { head, rows: body, ..Table::default() }
}

fn value(report: &ExperimentReport, row: &Row, metric: Metric) -> Cell {
    if !row.metrics.contains_key(metric.name) {
        return Cell::text("–");
    }
    let estimate = Estimate::new(&row.finals(metric));
    let std = if metric == metric::INTEGRAL { integral_std(row) } else { estimate.std };
    let mut cell = Cell::text(if row.runs.len() == 1 {
        metric.text(estimate.mean)
    } else {
        format!("{} ± {}", metric.text(estimate.mean), metric.text(std))
    });
    if row.unit == Unit::Seed && estimate.half_width().is_finite() {
        cell.lines.push(format!(
            "[{}, {}]",
            metric.text(estimate.ci95.0),
            metric.text(estimate.ci95.1)
        ));
    }
    let published = report.about.claims.iter().flat_map(|claim| claim.published);
    for p in published.filter(|p| p.row == row.id && p.metric == metric) {
        cell.lines.push(format!("paper {}", printed(p)));
    }
    cell
}

/// One metric by line and column.
pub(super) fn cross(
    report: &ExperimentReport,
    metric: Metric,
    columns: &[&str],
    lines: &[(&str, &[&str])],
) -> Table {
    let cell = |id: &&str| {
        let row = report.rows.iter().find(|row| row.id == *id);
        row.map_or_else(|| Cell::text("–"), |row| value(report, row, metric))
    };
    let line = |(name, ids): &(&str, &[&str])| {
        std::iter::once(Cell::text(*name)).chain(ids.iter().map(cell)).collect()
    };
    let head = std::iter::once("").chain(columns.iter().copied());
    Table {
        head: head.map(str::to_owned).collect(),
        rows: lines.iter().map(line).collect(),
        ..Table::default()
    }
}

/// One metric by row and point of the curves.
pub(super) fn points(report: &ExperimentReport, metric: Metric, ids: &[&str]) -> Table {
    let point = report.about.point;
    let (mut head, mut body) = (Vec::new(), Vec::new());
    for id in ids {
        let row = report.rows.iter().find(|row| row.id == *id);
        let spec = report.about.rows.iter().find(|spec| spec.id == *id);
        let (Some(row), Some(spec)) = (row, spec) else { continue };
        let Some(curves) = row.metrics.get(metric.name) else { continue };
        let n_points = curves.iter().map(|curve| curve.0.len()).min().unwrap_or(0);
        let positions = row.positions(point, n_points);
        if head.is_empty() {
            head.push(point.name().to_owned());
            head.extend(positions.iter().map(f64::to_string));
        }
        let at = |index: usize| {
            let values: Vec<f64> = curves.iter().map(|curve| curve.0[index]).collect();
            let (mean, std) = (metric.text(mean(&values)), population_std(&values));
            Cell::text(match values.len() {
                1 => mean,
                _ => format!("{mean} ± {}", metric.text(std)),
            })
        };
        body.push(std::iter::once(Cell::text(spec.title)).chain((0..n_points).map(at)).collect());
    }
    Table { head, rows: body, ..Table::default() }
}

/// The papers' ± of the integral criterion: the trapezoid of the standard deviations by epoch.
fn integral_std(row: &Row) -> f64 {
    let Some(curves) = row.metrics.get(metric::CROSS_ENTROPY.name) else { return f64::NAN };
    let n_epochs = curves.iter().map(|curve| curve.0.len()).min().unwrap_or(0);
    let std = |epoch: usize| {
        population_std(&curves.iter().map(|curve| curve.0[epoch]).collect::<Vec<_>>())
    };
    trapezoid(&(0..n_epochs).map(std).collect::<Vec<_>>())
}

/// Rows against their baselines.
pub(super) fn comparisons(report: &ExperimentReport) -> Table {
    let head = [
        "metric",
        "row",
        "baseline",
        "difference",
        "95 % interval",
        "pairs",
        "p",
        "p (Holm)",
        "Wilcoxon",
        "sign flips",
    ];
    let own = |id: &str| {
        let spec = report.about.rows.iter().find(|spec| spec.id == id);
        spec.map_or(id, |spec| spec.title).to_owned()
    };
    let body = |c: &Comparison| {
        let d = &c.paired.difference;
        let texts = [
            c.metric.label.to_owned(),
            own(c.row),
            own(c.than),
            plus(d.mean),
            format!("{} to {}", plus(d.ci95.0), plus(d.ci95.1)),
            d.n.to_string(),
            probability(c.paired.p),
            probability(c.p_holm),
            c.paired.p_wilcoxon.map_or("–".into(), probability),
            probability(c.p_permutation),
        ];
        let mut cells: Vec<Cell> = texts.map(Cell::text).into();
        if report.is_generated() {
            cells[1].lines.push("generated".into());
        }
        cells
    };
    Table {
        head: head.map(str::to_owned).into(),
        rows: report.comparisons.iter().map(body).collect(),
        ..Table::default()
    }
}

/// The checks of one claim, its verdict last.
pub(super) fn checks(report: &Report, about: &Description, result: &ClaimResult) -> Table {
    let body = |checked: &CheckResult| {
        vec![
            Cell::verdict(checked.verdict),
            Cell::text(checked.check.describe_to_reader(&|id| title(report, about, id))),
            Cell::text(checked.reason.replacen(&(checked.check.describe() + ": "), "", 1)),
        ]
    };
    let mut rows: Vec<_> = result.checks.iter().map(body).collect();
    let whole = Cell::text(format!("{} as a whole", result.id));
    rows.push(vec![Cell::verdict(result.verdict), whole, Cell::text("")]);
    Table { head: ["verdict", "check", "ours"].map(str::to_owned).into(), rows, ..Table::default() }
}

/// Where the report came from.
pub(super) fn provenance(report: &Report) -> Table {
    let p = &report.provenance;
    let mut rows = vec![
        ("commit", p.commit.clone().unwrap_or_else(|| "outside a checkout".into())),
        ("command", p.command.clone()),
        ("scale", report.scale.word().into()),
        ("seeds", p.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")),
        ("machine", p.machine.clone()),
        ("started", p.started.clone()),
        ("seconds", format!("{:.0}", p.seconds)),
    ];
    for (id, data) in &p.data {
        let kind = match data.kind {
            Kind::Real => "real",
            Kind::Generated => "generated",
        };
        let sums: Vec<String> =
            data.sha256.iter().map(|(file, sum)| format!("{file} {sum}")).collect();
        rows.push(("data", format!("{id}, {kind}: {}", sums.join(", "))));
    }
    let row = |(name, text): (&str, String)| vec![Cell::text(name), Cell::text(text)];
    Table {
        head: ["what", "value"].map(str::to_owned).into(),
        rows: rows.into_iter().map(row).collect(),
        ..Table::default()
    }
}

/// Settings as "name value", a bound that binds nothing left out.
pub(super) fn settings(settings: &serde_json::Value) -> String {
    let Some(fields) = settings.as_object() else { return settings.to_string() };
    let parts: Vec<String> = fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| format!("{} {value}", name.replace('_', " ")))
        .collect();
    parts.join(", ")
}

fn printed(p: &Published) -> String {
    match p.std {
        Some(std) => format!("{} ± {std}", p.mean),
        None => p.mean.to_string(),
    }
}

fn interval(metric: Metric, estimate: &Estimate) -> String {
    let mean = metric.text(estimate.mean);
    if !estimate.half_width().is_finite() {
        return format!("{mean} (n = {})", estimate.n);
    }
    let (low, high) = estimate.ci95;
    format!("{mean} [{}, {}] (n = {})", metric.text(low), metric.text(high), estimate.n)
}

pub(super) fn signed(d: &Estimate) -> String {
    format!("{} [{}, {}]", plus(d.mean), plus(d.ci95.0), plus(d.ci95.1))
}

/// A difference: like [`number`], always with its sign.
fn plus(value: f64) -> String {
    match value.abs() {
        v if !v.is_finite() => "not finite".into(),
        v if v >= 100.0 => format!("{value:+.1}"),
        v if v >= 3.0 => format!("{value:+.3}"),
        _ => format!("{value:+.4}"),
    }
}

pub(super) fn probability(p: f64) -> String {
    match p {
        p if p.is_nan() => "–".into(),
        p if p < 1e-4 => format!("{p:.1e}"),
        _ => format!("{p:.4}"),
    }
}
