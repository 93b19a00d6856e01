//! Every curve as CSV: one line an epoch or point, mean, population standard deviation, then one column a run.

use crate::ledger::stats::{mean, population_std};
use crate::ledger::{Kind, Point, Row};

use crate::report::Report;

/// Path below `curves/` and text of every metric that has more than one point.
pub(in crate::report) fn curves(report: &Report) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for experiment in &report.experiments {
        for row in &experiment.rows {
            for metric in row.metrics.keys() {
                if let Some(text) = curve(row, metric, experiment.about.point) {
                    let name = format!("{}/{}/{metric}.csv", experiment.about.id, row.id);
                    files.push((name, text));
                }
            }
        }
    }
    files
}

fn curve(row: &Row, metric: &str, point: Point) -> Option<String> {
    let curves = row.metrics.get(metric)?;
    let n_points = curves.iter().map(|curve| curve.0.len()).min().filter(|&n| n > 1)?;
    let unit = match row.unit {
        crate::ledger::Unit::Segment => "segment",
        crate::ledger::Unit::Seed | crate::ledger::Unit::Single => "seed",
    };
    let mark = match row.data {
        Kind::Real => "",
        Kind::Generated => "generated_",
    };
    let names: Vec<String> = row.runs.iter().map(|run| format!("{mark}{unit}_{run}")).collect();
    let mut text = format!("{},mean,std,{}\n", point.name(), names.join(","));
    for (index, position) in row.positions(point, n_points).into_iter().enumerate() {
        let values: Vec<f64> = curves.iter().map(|curve| curve.0[index]).collect();
        let columns: Vec<String> = values.iter().map(f64::to_string).collect();
        let (mean, std) = (mean(&values), population_std(&values));
        text += &format!("{position},{mean},{std},{}\n", columns.join(","));
    }
    Some(text)
}
