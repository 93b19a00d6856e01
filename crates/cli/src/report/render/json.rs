//! results.json, for other tools; schema 1.

use crate::ledger::stats::{Estimate, Paired};
use crate::ledger::{Better, Claim, ClaimResult, Comparison, Metric, metric};
use anyhow::Result;
use serde_json::{Value, json};

use crate::report::{ExperimentReport, Report};

/// Version of the shape of results.json.
const SCHEMA: u32 = 1;

/// The whole report as JSON; what is not finite is null.
pub(in crate::report) fn render(report: &Report) -> Result<String> {
    let experiments: Vec<Value> = report.experiments.iter().map(experiment).collect();
    let metrics: Vec<Value> = metric::ALL.iter().map(measure).collect();
    let value = json!({
        "schema": SCHEMA,
        "scale": report.scale,
        "provenance": report.provenance,
        "interruption": report.interruption,
        "metrics": metrics,
        "experiments": experiments,
    });
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

/// What a metric is, by the name that rows and checks use.
fn measure(metric: &Metric) -> Value {
    json!({
        "name": metric.name, "label": metric.label, "unit": metric.unit, "source": metric.source,
        "better": match metric.better {
            Better::Lower => Some("lower"),
            Better::Higher => Some("higher"),
            Better::Neither => None,
        },
    })
}

fn experiment(report: &ExperimentReport) -> Value {
    let rows: Vec<Value> = report
        .rows
        .iter()
        .map(|row| {
            json!({
                "id": row.id, "data": row.data, "unit": row.unit, "runs": row.runs, "metrics": row.metrics,
            })
        })
        .collect();
    let claims: Vec<Value> = report
        .about
        .claims
        .iter()
        .zip(&report.claims)
        .map(|(claim, result)| judged(claim, result))
        .collect();
    json!({
        "id": report.about.id,
        "source": report.about.source,
        "title": report.about.title,
        "settings": report.settings,
        "seconds": report.seconds,
        "rows": rows,
        "arrays": report.arrays,
        "comparisons": report.comparisons.iter().map(comparison).collect::<Vec<_>>(),
        "claims": claims,
    })
}

fn judged(claim: &Claim, result: &ClaimResult) -> Value {
    let published: Vec<Value> = claim
        .published
        .iter()
        .map(|p| json!({"row": p.row, "metric": p.metric, "mean": p.mean, "std": p.std}))
        .collect();
    let headline = claim.published.first();
    let checks: Vec<Value> = result
        .checks
        .iter()
        .map(|checked| {
            let mut value = serde_json::to_value(checked.check).unwrap_or_default();
            value["verdict"] = json!(checked.verdict);
            value["reason"] = json!(checked.reason);
            value
        })
        .collect();
    json!({
        "id": claim.id,
        "text": claim.text,
        "source": headline.map(|p| json!({"mean": p.mean, "std": p.std})),
        "published": published,
        "ours": result.ours.map(|(row, ours)| estimate(row, &ours)),
        "difference": result.difference.map(|paired| difference(&paired)),
        "checks": checks,
        "verdict": result.verdict,
        "reason": result.reason,
    })
}

fn estimate(row: &str, e: &Estimate) -> Value {
    json!({"row": row, "mean": e.mean, "std": e.std, "ci95": [e.ci95.0, e.ci95.1], "n": e.n})
}

fn difference(paired: &Paired) -> Value {
    let d = &paired.difference;
    json!({
        "mean": d.mean, "ci95": [d.ci95.0, d.ci95.1], "p": paired.p, "p_wilcoxon": paired.p_wilcoxon, "n": d.n,
    })
}

fn comparison(c: &Comparison) -> Value {
    let mut value = difference(&c.paired);
    value["metric"] = json!(c.metric);
    value["row"] = json!(c.row);
    value["than"] = json!(c.than);
    value["p_permutation"] = json!(c.p_permutation);
    value["p_holm"] = json!(c.p_holm);
    value
}
