//! Rows against their baselines, seed by seed.

use super::Row;
use crate::ledger::experiment::Description;
use crate::ledger::metric::{self, Metric, Shown};
use crate::ledger::stats::{Paired, holm, sign_flip_p};

/// A row against its baseline, seed by seed.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Metric.
    pub metric: Metric,
    /// Row.
    pub row: &'static str,
    /// Its baseline.
    pub than: &'static str,
    /// Row minus baseline.
    pub paired: Paired,
    /// Two-sided p of the sign-flip permutation test.
    pub p_permutation: f64,
    /// Student's p after Holm's correction over the rows of this metric.
    pub p_holm: f64,
}

/// Every row with a baseline against it; Holm's correction runs over the rows of a metric.
pub fn compare(about: &Description, rows: &[Row]) -> anyhow::Result<Vec<Comparison>> {
    let find = |id: &str| rows.iter().find(|row| row.id == id);
    let mut comparisons = Vec::new();
    for &metric in metric::ALL.iter().filter(|metric| metric.shown == Shown::Compared) {
        let start = comparisons.len();
        for spec in about.rows {
            let Some(than) = spec.baseline else { continue };
            let (Some(row), Some(other)) = (find(spec.id), find(than)) else { continue };
            if ![row, other].iter().all(|row| row.metrics.contains_key(metric.name)) {
                continue;
            }
            let (a, b) = row.pairs(other, metric);
            let mut rng = core_tensors::Rng::new(0).split("sign flips");
            comparisons.push(Comparison {
                metric,
                row: spec.id,
                than,
                paired: Paired::new(&a, &b)?,
                p_permutation: sign_flip_p(&a, &b, &mut rng)?,
                p_holm: f64::NAN,
            });
        }
        let p: Vec<f64> = comparisons[start..].iter().map(|c| c.paired.p).collect();
        comparisons[start..].iter_mut().zip(holm(&p)).for_each(|(c, p)| c.p_holm = p);
    }
    Ok(comparisons)
}
