//! The experiments, one module a family, and their list.

#[macro_use]
mod rows;
#[macro_use]
mod settings;

mod adversarial;
mod base;
mod bayesian;
mod domains;
mod hyperparameters;
mod linear;
mod methods;
mod privileged;
mod protocol;
mod runner;
mod session;
mod surgery;

pub use protocol::{Experiment, Outcome, Parts, Task};
pub use runner::{FAILED, Failure, Finished, Ledger, Plan, Ran, run};
pub use session::Session;

/// Every experiment, in the order of the report.
pub static ALL: [&Experiment; 28] = [
    // The part that its seeds wait for is long, so that it starts first.
    &domains::imagenette::IMAGENETTE_STYLE,
    &base::TRAIN,
    &base::SMALL,
    &domains::GIVEN,
    &domains::LEARNED,
    &domains::regression::REGRESSION,
    &linear::student::LINEAR_STUDENT,
    &linear::classes::SYNTHETIC_CLASSES,
    &privileged::tweets::TWEETS,
    &linear::regression::LINEAR_REGRESSION,
    &privileged::SYNTHETIC,
    &privileged::DIGITS,
    &privileged::KNOWLEDGE,
    &privileged::KNOWN_SHARE,
    &privileged::CHOICE,
    &hyperparameters::HYPERPARAMETERS,
    &adversarial::ADVERSARIAL,
    &methods::METHODS,
    // Its parts are the longest, so that they start before those of the next.
    &bayesian::authors::FASHION,
    &bayesian::authors::SYNTHETIC,
    &bayesian::elbo::SYNTHETIC,
    &bayesian::elbo::FASHION,
    &bayesian::elbo::PRIOR,
    &bayesian::ranking::ORDERS,
    &surgery::CONVOLUTIONAL,
    &surgery::SURGERY,
    &surgery::EXPORTED,
    &surgery::TEXT,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Check;
    use crate::ledger::Figure;

    #[test]
    fn claims_and_figures_name_rows_that_exist() {
        let rows: Vec<&str> = ALL.iter().flat_map(|e| e.rows.iter().map(|row| row.id)).collect();
        for experiment in ALL {
            for row in experiment.rows {
                assert!(row.baseline.is_none_or(|id| rows.contains(&id)), "{}", row.id);
            }
            for claim in experiment.claims {
                let named = claim.checks.iter().flat_map(Check::rows);
                for id in named.chain(claim.published.iter().map(|p| p.row)) {
                    assert!(rows.contains(&id) || id.starts_with("grid/"), "{}: {id}", claim.id);
                }
            }
            for figure in experiment.figures {
                if let Figure::Curves { rows: named, .. } | Figure::Points { rows: named, .. } =
                    figure
                {
                    assert!(named.iter().all(|id| rows.contains(id)));
                }
                if let Figure::Ranking { among, than, .. } = figure {
                    assert!(than.starts_with(among) && rows.contains(than), "{than}");
                    assert!(rows.iter().filter(|id| id.starts_with(among)).count() > 2);
                }
                if let Figure::Cross { columns, rows: lines, .. } = figure {
                    assert!(lines.iter().all(|(_, named)| named.len() == columns.len()));
                }
            }
        }
    }

    #[test]
    fn a_published_number_lives_in_one_claim() {
        let claims = ALL.iter().flat_map(|e| e.claims.iter());
        let mut cells: Vec<_> =
            claims.flat_map(|c| c.published.iter().map(|p| (p.row, p.metric.name))).collect();
        let n = cells.len();
        cells.sort_unstable();
        cells.dedup();
        assert_eq!(cells.len(), n);
    }

    #[test]
    fn every_claim_and_row_occurs_once() {
        let mut ids: Vec<&str> = ALL.iter().flat_map(|e| e.claims.iter().map(|c| c.id)).collect();
        ids.extend(ALL.iter().flat_map(|e| e.rows.iter().map(|row| row.id)));
        let n = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), n);
    }
}
