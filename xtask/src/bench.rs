//! Benches, and the table of training steps beside those of other programs, taken in turn so that drift hits all alike.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{Usage, cargo, run as run_command};

/// A training step of the bench `training_step`, and the ratio to the best other program that we want to stay below.
const CASES: [(&str, Option<f64>); 19] = [
    ("mlp_teacher", Some(0.65)),
    ("mlp_student", Some(0.60)),
    ("distilled_student", Some(0.60)),
    ("regression_teacher", Some(0.65)),
    ("bayes_teacher", Some(0.70)),
    ("bayes_student", Some(0.40)),
    ("bayes_synthetic", Some(0.55)),
    ("bayes_small", Some(0.35)),
    ("vae_two_decoders", Some(0.75)),
    ("cnn_student", Some(0.50)),
    ("cnn_teacher", Some(0.65)),
    ("mlp_student/10", Some(0.80)),
    ("distilled_student/10", Some(0.80)),
    ("mlp_teacher/10", Some(0.80)),
    ("bayes_student/10", Some(0.80)),
    ("bayes_small/10", Some(0.60)),
    ("simple_chain", Some(0.60)),
    ("cnn_small", None),
    ("bi_lstm", None),
];
/// Rounds of measuring where none are asked for.
const ROUNDS: usize = 3;

/// What `cargo xtask bench` says of itself.
pub(crate) const HELP: &str = "\
cargo xtask bench [ARGUMENTS OF cargo bench]
cargo xtask bench --against SOURCE [--against SOURCE]… [--only ID]… [--rounds N] [--python PROGRAM]

The second form measures training steps beside other programs and prints our time, each of theirs, the best of them, the
ratio, and whether it is below our goal. A SOURCE is
  a script (.py), run with --only ID --threads T [--seeds 10], in turn with ours, on one thread and on all;
  a file (.jsonl) of times measured before, {\"id\": …, \"ms\": …} a line, of which the least of an id counts.
Times are medians of the rounds (3 unless told), in milliseconds.";

/// Runs either form.
#[expect(clippy::print_stdout, reason = "the answer of the command")]
pub(crate) fn run(root: &Path, arguments: &[String]) -> Result<ExitCode> {
    if arguments.iter().any(|argument| argument == "--help" || argument == "-h") {
        println!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    let mut options = Options::default();
    let mut rest = Vec::new();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let mut value =
            || words.next().ok_or_else(|| Usage(format!("{word}: wanted a value, found nothing")));
        match word.as_str() {
            "--against" => options.sources.push(PathBuf::from(value()?)),
            "--only" => options.only.push(value()?.clone()),
            "--python" => options.python = Some(value()?.clone()),
            "--rounds" => {
                let text = value()?;
                let rounds = text.parse().ok().filter(|&n| n > 0);
                let wrong = || Usage(format!("--rounds: wanted a number from 1 on, found {text}"));
                options.rounds = Some(rounds.ok_or_else(wrong)?);
            }
            _ => rest.push(word.clone()),
        }
    }
    if options.sources.is_empty() {
        let unused = [!options.only.is_empty(), options.python.is_some(), options.rounds.is_some()];
        if unused.contains(&true) {
            return Err(Usage("--only, --python and --rounds belong to --against".into()).into());
        }
        run_command(cargo().current_dir(root).arg("bench").args(&rest))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(word) = rest.first() {
        return Err(Usage(format!("--against: {word} is no option of this table")).into());
    }
    compare(root, &options)
}

#[derive(Default)]
struct Options {
    sources: Vec<PathBuf>,
    only: Vec<String>,
    rounds: Option<usize>,
    python: Option<String>,
}

#[expect(clippy::print_stdout, reason = "the answer of the command")]
fn compare(root: &Path, options: &Options) -> Result<ExitCode> {
    let known = |id: &String| CASES.iter().any(|(known, _)| known == id);
    if let Some(unknown) = options.only.iter().find(|id| !known(id)) {
        let ids: Vec<_> = CASES.iter().map(|(id, _)| *id).collect();
        return Err(
            Usage(format!("--only: wanted one of {}, found {unknown}", ids.join(", "))).into()
        );
    }
    let sources = options.sources.iter().map(|path| Source::open(path, options));
    let sources = sources.collect::<Result<Vec<_>>>()?;
    let bench = ["bench", "--quiet", "--package", "distillation", "--bench", "training_step"];
    run_command(cargo().current_dir(root).args(bench).arg("--no-run"))?;

    let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
    print!("{:22} {:>10}", "ms a step", "ours");
    names.iter().for_each(|name| print!(" {name:>18}"));
    println!(" {:>10} {:>7} {:>6}  goal met", "best", "ratio", "goal");
    for (id, goal) in CASES {
        if !options.only.is_empty() && !options.only.iter().any(|only| only == id) {
            continue;
        }
        let mut ours = Vec::new();
        let mut theirs: Vec<Vec<Vec<f64>>> = vec![Vec::new(); sources.len()];
        for _ in 0..options.rounds.unwrap_or(ROUNDS) {
            ours.push(our_time(root, id)?);
            for (source, times) in sources.iter().zip(&mut theirs) {
                times.push(source.times(id)?);
            }
        }
        let ours = median(ours);
        // The best way of each source, by the medians of its rounds.
        let theirs: Vec<Option<f64>> = theirs.iter().map(|rounds| best_way(rounds)).collect();
        let best = theirs.iter().flatten().copied().min_by(f64::total_cmp);
        print!("{id:22} {ours:10.4}");
        theirs.iter().for_each(|time| print!(" {:>18}", shown(*time)));
        let ratio = best.map(|best| ours / best);
        let is_met = match (ratio, goal) {
            (Some(ratio), Some(goal)) if ratio <= goal => "yes",
            (Some(_), Some(_)) => "no",
            (None, _) | (_, None) => "–",
        };
        let ratio = ratio.map_or("–".into(), |ratio| format!("{ratio:.2}"));
        let goal = goal.map_or("–".into(), |goal| format!("{goal:.2}"));
        println!(" {:>10} {ratio:>7} {goal:>6}  {is_met}", shown(best));
    }
    Ok(ExitCode::SUCCESS)
}

fn shown(ms: Option<f64>) -> String {
    ms.map_or("–".into(), |ms| format!("{ms:.4}"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Rounds of the times of each way → the least of the ways' medians.
fn best_way(rounds: &[Vec<f64>]) -> Option<f64> {
    let n_ways = rounds.iter().map(Vec::len).min()?;
    let of = |way: usize| median(rounds.iter().map(|round| round[way]).collect());
    (0..n_ways).map(of).min_by(f64::total_cmp)
}

/// Where times of another program come from.
struct Source {
    name: String,
    kind: Kind,
}

enum Kind {
    Script { python: String, path: PathBuf, text: String },
    Measured(Vec<(String, f64)>),
}

impl Source {
    fn open(path: &Path, options: &Options) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let kind = if path.extension().is_some_and(|extension| extension == "py") {
            let python = options.python.clone().unwrap_or_else(|| "python3".into());
            Kind::Script { python, path: path.to_path_buf(), text }
        } else {
            Kind::Measured(measured(&text).with_context(|| path.display().to_string())?)
        };
        Ok(Self { name: name.unwrap_or_default(), kind })
    }

    /// A time for each way the program can run this case; none where it lacks it.
    fn times(&self, id: &str) -> Result<Vec<f64>> {
        let (python, path, text) = match &self.kind {
            Kind::Measured(times) => {
                let of_id = times.iter().filter(|(known, _)| known == id).map(|(_, ms)| *ms);
                return Ok(of_id.min_by(f64::total_cmp).into_iter().collect());
            }
            Kind::Script { python, path, text } => (python, path, text),
        };
        let (case, seeds) = id.split_once('/').map_or((id, None), |(case, n)| (case, Some(n)));
        let lacks =
            !text.contains(&format!("\"{case}\"")) || seeds.is_some() && !text.contains("--seeds");
        if lacks {
            return Ok(Vec::new());
        }
        let n_threads = std::thread::available_parallelism().map_or(1, usize::from);
        let ways = if n_threads > 1 { vec![1, n_threads] } else { vec![1] };
        let time = |threads: usize| {
            let mut command = Command::new(python);
            command.arg(path).args(["--only", case, "--threads", &threads.to_string()]);
            command.args(seeds.map(|n| ["--seeds", n]).into_iter().flatten());
            let output = command.output().with_context(|| format!("cannot start {python}"))?;
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            ensure!(output.status.success(), "{} --only {case}: {}", path.display(), said.trim());
            let times = measured(&String::from_utf8_lossy(&output.stdout))?;
            let found = times.into_iter().find(|(known, _)| known == id).map(|(_, ms)| ms);
            found.with_context(|| format!("{}: printed no time of {id}", path.display()))
        };
        ways.into_iter().map(time).collect()
    }
}

/// {"id": …, "ms": …} a line.
fn measured(text: &str) -> Result<Vec<(String, f64)>> {
    let time = |line: &str| -> Result<(String, f64)> {
        let value: Value = serde_json::from_str(line).context("wanted JSON lines")?;
        let (id, ms) = (value["id"].as_str(), value["ms"].as_f64());
        let pair = id.zip(ms).with_context(|| format!("wanted \"id\" and \"ms\", found {line}"))?;
        Ok((pair.0.to_owned(), pair.1))
    };
    text.lines().filter(|line| !line.trim().is_empty()).map(time).collect()
}

/// Criterion's median of one more run of `training_step/<id>`.
fn our_time(root: &Path, id: &str) -> Result<f64> {
    let mut command = cargo();
    command.current_dir(root);
    command.args([
        "bench",
        "--quiet",
        "--package",
        "distillation",
        "--bench",
        "training_step",
        "--",
    ]);
    command.args(["--warm-up-time", "1", "--measurement-time", "3"]);
    let output = command.arg(format!("^training_step/{id}$")).output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "the bench of {id} failed: {}", said.trim());
    let folder = format!("target/criterion/training_step_{}", id.replace('/', "_"));
    let path = root.join(folder).join("new/estimates.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let value: Value = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    let nanoseconds = value["median"]["point_estimate"].as_f64();
    Ok(nanoseconds.with_context(|| format!("{}: no median", path.display()))? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_way_has_the_least_median() {
        assert_eq!(best_way(&[vec![3.0, 2.0], vec![1.0, 2.5], vec![4.0, 9.0]]), Some(2.5));
        assert_eq!(best_way(&[vec![]]), None);
    }

    #[test]
    fn lines_of_times_are_read_and_others_refused() {
        let text =
            "{\"id\": \"a\", \"ms\": 1.5}\n\n{\"id\": \"a/10\", \"ms\": 2, \"threads\": 1}\n";
        assert_eq!(measured(text).unwrap(), [("a".to_owned(), 1.5), ("a/10".to_owned(), 2.0)]);
        assert!(measured("{\"id\": \"a\"}").unwrap_err().to_string().contains("\"ms\""));
        assert!(measured("a 1.5").is_err());
    }

    #[test]
    fn every_case_of_the_table_is_in_the_bench() {
        let bench = concat!(env!("CARGO_MANIFEST_DIR"), "/../benches/training_step.rs");
        let text = std::fs::read_to_string(bench).unwrap();
        for (id, _) in CASES {
            let case = id.split('/').next().unwrap_or(id);
            assert!(text.contains(&format!("\"{case}\"")), "{id}");
        }
    }
}
