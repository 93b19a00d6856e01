//! Two small experiments, reported one after the other into one README.

use std::collections::BTreeMap;

use super::*;
use crate::ledger::stats::Estimate;
use crate::ledger::{
    Check, CheckResult, Claim, ClaimResult, FiniteOrNull, Kind, Point, Provenance, Published, Row,
    RowSpec, Scale, Unit, Verdict, metric,
};
use crate::report::ExperimentReport;

const MARKS: &str = "before\n<!-- results: begin -->\nold\n<!-- results: end -->\nafter\n";
const CHECK: Check = Check::better(metric::ACCURACY, "alpha/row", "alpha/other");
const ALPHA: Description = Description {
    id: "alpha",
    title: "First experiment",
    source: "001",
    rows: &[RowSpec::seeds("alpha/row", "a row")],
    claims: &[Claim {
        id: "C10",
        text: "A row | gains. (Published is one run.)",
        published: &[Published::plain("alpha/row", metric::ACCURACY, 0.5)],
        min_seeds: 3,
        checks: &[CHECK],
    }],
    ..BETA
};
const BETA: Description = Description {
    id: "beta",
    title: "Second experiment",
    source: "",
    summary: "What is run.",
    rows: &[RowSpec::seeds("beta/row", "a row")],
    claims: &[Claim {
        id: "C9",
        text: "B.",
        published: &[Published::plain("beta/row", metric::ACCURACY, 0.5)],
        min_seeds: 3,
        checks: &[],
    }],
    point: Point::Epoch,
    figures: &[],
};
static ALL: [Description; 2] = [ALPHA, BETA];

/// A report of one experiment, all of whose runs gave this accuracy.
fn report(about: &Description, accuracy: f64) -> Report {
    let row = Row {
        id: about.rows[0].id.into(),
        data: Kind::Real,
        unit: Unit::Seed,
        runs: vec![0, 1, 2],
        metrics: BTreeMap::from([(metric::ACCURACY.key(), vec![FiniteOrNull(vec![accuracy]); 3])]),
    };
    let estimate = Estimate::new(&row.finals(metric::ACCURACY));
    let checked = |check: &Check| CheckResult {
        check: *check,
        verdict: Verdict::NotReproduced,
        reason: "because".into(),
    };
    let claims = about.claims.iter().map(|claim| ClaimResult {
        id: claim.id,
        ours: Some((about.rows[0].id, estimate)),
        difference: None,
        checks: claim.checks.iter().map(checked).collect(),
        verdict: Verdict::NotReproduced,
        reason: None,
    });
    let provenance = Provenance {
        commit: Some("0123456789abcdef+".into()),
        command: format!("cargo xtask reproduce --only {}", about.id),
        seeds: vec![0, 1, 2],
        data: BTreeMap::new(),
        machine: "a machine".into(),
        started: "2026-01-02T03:04:05Z".into(),
        seconds: 1.0,
    };
    let found = ExperimentReport {
        about: *about,
        seconds: 7.0,
        settings: serde_json::Value::Null,
        rows: vec![row],
        arrays: BTreeMap::new(),
        comparisons: Vec::new(),
        claims: claims.collect(),
    };
    Report { scale: Scale::Quick, provenance, interruption: None, experiments: vec![found] }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        std::fs::write(folder.at("README.md"), MARKS).unwrap();
        folder
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap()
    }

    fn docs(&self) -> Docs {
        Docs::of(&self.at("README.md"))
    }

    fn take(&self, report: &Report) {
        self.docs().check(&[report.experiments[0].about]).unwrap();
        self.docs().update(report, &ALL).unwrap();
    }

    fn texts(&self) -> Vec<String> {
        ["README.md", "docs/results/README.md", "docs/results/alpha.md", "docs/results/beta.md"]
            .map(|name| self.text(name))
            .into()
    }
}

#[test]
fn reports_one_after_the_other_keep_what_the_others_wrote() {
    let folder = Folder::new();
    folder.take(&report(&ALPHA, 0.25));
    assert!(!folder.at("docs/results/beta.md").exists());
    assert!(!folder.text("docs/results/README.md").contains("beta.md"));
    let alpha = folder.text("docs/results/alpha.md");
    folder.take(&report(&BETA, 0.75));
    assert_eq!(folder.text("docs/results/alpha.md"), alpha);
    let both = folder.texts();
    for text in &both[..2] {
        // By number, once each, and the values of both reports.
        let (ninth, tenth) = (text.find("| [C9](").unwrap(), text.find("| [C10](").unwrap());
        assert!(ninth < tenth && text.matches("| [C").count() == 2, "{text}");
        assert!(text.contains("0.2500 [") && text.contains("0.7500 ["), "{text}");
    }
    // What is reported again as it was changes nothing, in whatever order.
    folder.take(&report(&ALPHA, 0.25));
    assert_eq!(folder.texts(), both);
    folder.take(&report(&ALPHA, 0.5));
    let again = folder.texts();
    assert_eq!(again[3], both[3]);
    let line = |text: &str| text.lines().find(|line| line.contains("[C9]")).map(str::to_owned);
    assert!((0..2).all(|i| again[i] != both[i] && line(&again[i]) == line(&both[i])));
}

#[test]
fn a_page_says_what_made_it_and_holds_claims_checks_and_tables() {
    let folder = Folder::new();
    folder.take(&report(&ALPHA, 0.25));
    let page = folder.text("docs/results/alpha.md");
    for line in [
        "# First experiment",
        "Paper 001. What is run.",
        "| command | `cargo xtask reproduce --only alpha --readme README.md` |",
        "| commit | 0123456789 with changes |",
        "| scale | quick |",
        "| started | 2026-01-02T03:04:05Z |",
        "| machine | a machine |",
        "| computing | 7 seconds of one core |",
        "| claim | statement | published | ours | paired difference | verdict |",
        "Checks of C10:",
        "| **not reproduced** | C10 as a whole |  |",
        "| row | runs | accuracy |",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    assert!(page.contains("| C10 | A row \\| gains. (Published is one run.) | accuracy 0.5 |"));
    assert!(page.contains("| because |"), "{page}");
    assert!(page.ends_with("|\n"));
    let index = folder.text("docs/results/README.md");
    assert!(index.contains("- [First experiment](alpha.md): paper 001\n"), "{index}");
}

#[test]
fn a_readme_has_one_line_a_claim_between_its_marks_and_keeps_the_rest() {
    let folder = Folder::new();
    folder.take(&report(&ALPHA, 0.25));
    folder.take(&report(&BETA, 0.75));
    let text = folder.text("README.md");
    assert!(text.starts_with("before\n<!-- results: begin -->\n") && !text.contains("old"));
    assert!(text.ends_with("<!-- results: end -->\nafter\n"));
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with('|')).collect();
    assert_eq!(
        lines,
        [
            "| claim | statement | published | ours | verdict |",
            "| --- | --- | --- | --- | --- |",
            "| [C9](docs/results/beta.md) | B. | accuracy 0.5 | 0.7500 [0.7500, 0.7500] (n = 3) | **not reproduced** |",
            "| [C10](docs/results/alpha.md) | A row \\| gains. | accuracy 0.5 | 0.2500 [0.2500, 0.2500] (n = 3) | **not reproduced** |",
        ]
    );
}

#[test]
fn what_could_not_be_written_is_found_before() {
    let refusal = |prepare: &dyn Fn(&Folder)| {
        let folder = Folder::new();
        std::fs::create_dir_all(folder.at("docs")).unwrap();
        prepare(&folder);
        let message = format!("{:#}", folder.docs().check(&[ALPHA]).unwrap_err());
        assert!(message.starts_with("--readme: "), "{message}");
        message
    };
    let results = |folder: &Folder| std::fs::create_dir(folder.at("docs/results")).unwrap();
    assert!(
        refusal(&|folder| std::fs::remove_file(folder.at("README.md")).unwrap())
            .contains("No such file")
    );
    refusal(&|folder| std::fs::write(folder.at("docs/results"), b"a file").unwrap());
    let message = refusal(&|folder| {
        results(folder);
        std::fs::create_dir(folder.at("docs/results/alpha.md")).unwrap();
    });
    assert!(message.contains("found a folder"), "{message}");
    let message = refusal(&|folder| {
        results(folder);
        std::fs::write(folder.at("docs/results/README.md"), b"\xff").unwrap();
    });
    assert!(message.contains("UTF-8"), "{message}");
    #[cfg(unix)]
    {
        let message = refusal(&|folder| {
            results(folder);
            std::os::unix::fs::symlink("../../README.md", folder.at("docs/results/README.md"))
                .unwrap();
        });
        assert!(message.contains("found a link to another one"), "{message}");
    }
}
