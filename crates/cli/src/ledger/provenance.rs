//! Where a result came from: commit, command, seeds, data, machine, time.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

/// Whether numbers come from the data set itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The published files, each with its SHA-256.
    Real,
    /// Drawn or made up by this program: nothing they give counts for or against a claim.
    Generated,
}

/// What a reader needs to get the same numbers.
#[derive(Clone, Debug, Serialize)]
pub struct Provenance {
    /// Commit of the checkout this program was built from, with "+" where files differ from it; null outside a checkout.
    pub commit: Option<String>,
    /// The command that gives the same numbers: flags that cannot change one are left out.
    pub command: String,
    /// Seeds of the independent runs that were finished, over all experiments.
    pub seeds: Vec<u64>,
    /// Data sets, real or generated, with the SHA-256 of each file.
    pub data: BTreeMap<String, DataSum>,
    /// Processor, cores, system.
    pub machine: String,
    /// When it started, UTC.
    pub started: String,
    /// Seconds from start to report.
    pub seconds: f64,
}

/// One data set.
#[derive(Clone, Debug, Serialize)]
pub struct DataSum {
    /// Real or generated.
    pub kind: Kind,
    /// SHA-256 by file.
    pub sha256: BTreeMap<String, String>,
}

/// When a run began.
pub struct Start {
    time: SystemTime,
    clock: Instant,
}

impl Start {
    /// Now.
    pub fn now() -> Self {
        Self { time: SystemTime::now(), clock: Instant::now() }
    }
}

impl Provenance {
    /// The provenance of a run that ends now.
    pub fn new(
        start: &Start,
        command: String,
        seeds: Vec<u64>,
        data: BTreeMap<String, DataSum>,
    ) -> Self {
        Self {
            commit: commit(),
            command,
            seeds,
            data,
            machine: machine(),
            started: humantime::format_rfc3339_seconds(start.time).to_string(),
            seconds: start.clock.elapsed().as_secs_f64(),
        }
    }
}

fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            // A lock of the index would stay behind where this program and git are ended from outside.
            .args(["--no-optional-locks", "-C", env!("CARGO_MANIFEST_DIR")])
            .args(arguments)
            .output()
            .ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let head = git(&["rev-parse", "HEAD"])?;
    let is_clean = git(&["status", "--porcelain"]).is_some_and(|changes| changes.is_empty());
    Some(if is_clean { head } else { head + "+" })
}

fn machine() -> String {
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        line.split_once(':').map(|(_, name)| name.trim().to_owned())
    });
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let (os, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    format!(
        "{}, {cores} cores, {os} {architecture}",
        model.as_deref().unwrap_or("unknown processor")
    )
}
