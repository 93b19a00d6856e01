//! The results section of a README, generated between two marks; what a report did not run stays as it was.

use anyhow::{Result, bail};

use super::ranking::Contest;
use super::{ExperimentReport, Report, markdown, tables};
use crate::ledger::{Description, Figure};

const BEGIN: &str = "<!-- results: begin -->";
const END: &str = "<!-- results: end -->";

/// `text` with the part between the marks replaced: verdicts of all claims, then a block of each experiment.
///
/// Claims and blocks of experiments that the report does not hold are kept, each with the command that made it.
pub(super) fn replace(text: &str, report: &Report, all: &[Description]) -> Result<String> {
    let (begin, end) = places(text)?;
    let (head, old, tail) = (&text[..begin], &text[begin..end], &text[end..]);
    Ok(format!("{head}\n{}\n{tail}", section(old, report, all)?))
}

/// An error where [`replace`] would not know what to replace.
pub(super) fn check(text: &str) -> Result<()> {
    places(text).map(drop)
}

/// Where the part between the marks begins and ends.
fn places(text: &str) -> Result<(usize, usize)> {
    let (Some(begin), Some(end)) = (text.find(BEGIN), text.find(END)) else {
        bail!("wanted the marks {BEGIN} and {END}, found none");
    };
    if end < begin {
        bail!("wanted {BEGIN} before {END}, found it after");
    }
    Ok((begin + BEGIN.len(), end))
}

fn section(old: &str, report: &Report, all: &[Description]) -> Result<String> {
    let mut parts = vec![
        "Values are means ± population deviation over the runs at the last epoch or iteration, the 95 % interval of the mean \
         in brackets; the ± of the integral criterion is the trapezoid of the deviations by epoch, the paper's ± of \
         max − min is over objects, and segments continue one run. Each block below names the command that made it."
            .to_owned(),
        claims(old, report, all),
    ];
    for experiment in all {
        let new = report.experiments.iter().find(|e| e.about.id == experiment.id);
        let (begin, end) = marks(experiment.id);
        let kept = || {
            let start = old.find(&begin)? + begin.len();
            Some(old[start..start + old[start..].find(&end)?].to_owned())
        };
        let new = new.map(|e| block(e, report)).transpose()?;
        let block = new.map(|block| format!("\n{block}\n")).or_else(kept);
        if let Some(block) = block {
            parts.push(format!("{begin}{block}{end}"));
        }
    }
    Ok(parts.join("\n\n"))
}

/// The marks of one experiment's block.
fn marks(id: &str) -> (String, String) {
    (format!("<!-- results of {id}: begin -->"), format!("<!-- results of {id}: end -->"))
}

/// One line a claim, by number: those of the report, and those that stood here of other experiments.
fn claims(old: &str, report: &Report, all: &[Description]) -> String {
    let new = markdown::render_table(&tables::claims(report));
    let row = |text: &str, id: &str| {
        let start = format!("| {id} |");
        text.lines().find(|line| line.starts_with(&start)).map(str::to_owned)
    };
    let mut ids: Vec<&str> =
        all.iter().flat_map(|e| e.claims.iter()).map(|claim| claim.id).collect();
    ids.sort_by_key(|id| (id.get(..1), id.get(1..).and_then(|n| n.parse::<u32>().ok())));
    let rows = ids.into_iter().filter_map(|id| row(&new, id).or_else(|| row(old, id)));
    let head = new.lines().take(2).map(str::to_owned);
    head.chain(rows).map(|line| line + "\n").collect()
}

/// What one experiment found, folded away under its title.
fn block(experiment: &ExperimentReport, report: &Report) -> Result<String> {
    let p = &report.provenance;
    let commit = p.commit.as_ref().map_or_else(String::new, |commit| {
        let is_changed = if commit.ends_with('+') { " with changes" } else { "" };
        format!(", commit {}{is_changed}", commit.get(..10).unwrap_or(commit))
    });
    let title = format!("{} ({})", experiment.about.title, experiment.about.origin());
    let mut parts = vec![
        format!("<details><summary>{title}</summary>"),
        format!(
            "`{} --readme README.md`{commit}, {} ({}; {:.0} seconds of one core).",
            p.command, p.started, p.machine, experiment.seconds
        ),
    ];
    let before = parts.len();
    for figure in experiment.about.figures {
        if let Figure::Cross { title, metric, columns, rows } = figure {
            parts.push(format!("{title}:"));
            let table = tables::cross(experiment, *metric, columns, rows);
            parts.push(markdown::render_table(&table));
        }
        if let Figure::Standing { title, among, than, metrics } = figure
            && let Some((sentences, table)) = (Contest { among, than, metrics }).draw(experiment)?
        {
            parts.push(format!("{title}:"));
            parts.push(
                sentences.iter().map(|line| format!("* {line}")).collect::<Vec<_>>().join("\n"),
            );
            parts.push(markdown::render_table(&table));
        }
    }
    // Many rows are for the report; a README shows them only where no smaller table sums them up.
    if parts.len() == before {
        parts.push(markdown::render_table(&tables::results(experiment)));
    }
    parts.push("</details>".to_owned());
    Ok(parts.join("\n\n"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::ledger::Provenance;
    use crate::ledger::Scale;
    use crate::ledger::{ClaimResult, Verdict};

    fn all() -> Vec<Description> {
        crate::experiments::ALL.iter().map(|experiment| experiment.description()).collect()
    }

    fn report() -> Report {
        let provenance = Provenance {
            commit: None,
            command: "cargo xtask reproduce".into(),
            seeds: vec![0],
            data: Default::default(),
            machine: "a machine".into(),
            started: "today".into(),
            seconds: 1.0,
        };
        Report { scale: Scale::Quick, provenance, interruption: None, experiments: Vec::new() }
    }

    fn with(id: &str) -> Report {
        let about = all().into_iter().find(|about| about.id == id).unwrap();
        let claims = about.claims.iter().map(|claim| ClaimResult {
            id: claim.id,
            ours: None,
            difference: None,
            checks: Vec::new(),
            verdict: Verdict::NotRun,
            reason: None,
        });
        let found = ExperimentReport {
            about,
            seconds: 1.0,
            settings: serde_json::Value::Null,
            rows: Vec::new(),
            arrays: BTreeMap::new(),
            comparisons: Vec::new(),
            claims: claims.collect(),
        };
        Report { experiments: vec![found], ..report() }
    }

    #[test]
    fn what_lies_between_the_marks_is_replaced_and_nothing_else() {
        let text = format!("before\n{BEGIN}\nold\n{END}\nafter");
        let once = replace(&text, &report(), &all()).unwrap();
        assert!(once.starts_with("before\n") && once.ends_with("\nafter"));
        assert!(!once.contains("old"));
        assert_eq!(replace(&once, &report(), &all()).unwrap(), once);
    }

    #[test]
    fn experiments_that_were_not_run_keep_their_claims_and_blocks() {
        let text = format!("{BEGIN}\n{END}");
        let both = replace(&text, &with("base-train"), &all()).unwrap();
        let both = replace(&both, &with("base-small"), &all()).unwrap();
        for part in ["| C17 |", "| C18 |", "results of base-train", "results of base-small"] {
            assert!(both.contains(part), "{part}");
        }
        assert_eq!(replace(&both, &with("base-train"), &all()).unwrap(), both);
        let count = |text: &str, part: &str| text.matches(part).count();
        assert_eq!((count(&both, "| C17 |"), count(&both, "<details>")), (1, 2));
    }

    #[test]
    fn a_file_without_marks_is_refused() {
        assert!(replace("nothing", &report(), &all()).is_err());
        assert!(replace(&format!("{END}{BEGIN}"), &report(), &all()).is_err());
        assert!(check(&format!("{BEGIN}{END}")).is_ok() && check(BEGIN).is_err());
    }
}
