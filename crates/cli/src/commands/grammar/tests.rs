//! A file that this program writes gives the command line that it was written for.

use clap::{Parser, ValueEnum};
use toml::Value;

use super::*;

#[derive(Parser, Debug, PartialEq)]
#[command(name = "distill")]
struct Line {
    #[command(subcommand)]
    command: Sub,
    #[arg(long, global = true)]
    config: Option<std::path::PathBuf>,
    #[arg(long, global = true)]
    quiet: bool,
}

#[derive(clap::Subcommand, Debug, PartialEq)]
enum Sub {
    #[command(alias = "small")]
    Shrink(Shrink),
}

#[derive(clap::Args, Debug, PartialEq)]
struct Shrink {
    #[arg(value_name = "MODEL")]
    model: String,
    #[arg(value_name = "OTHER")]
    other: Option<String>,
    #[arg(long, alias = "params", group = "size")]
    to: Option<String>,
    #[arg(long, group = "size")]
    macs: Option<String>,
    #[arg(long, value_name = "NAMES")]
    drop: Option<String>,
    #[arg(long, default_value = "1")]
    learning_rate: f64,
    #[arg(long, value_delimiter = ',')]
    layers: Vec<String>,
    #[arg(long, num_args = 1..)]
    widths: Vec<u32>,
    #[arg(long)]
    overwrite: bool,
    #[arg(long, value_enum)]
    kind: Option<Kind>,
    #[arg(long, allow_hyphen_values = true)]
    offset: Option<i64>,
}

#[derive(ValueEnum, Clone, Debug, PartialEq)]
enum Kind {
    One,
    Two,
}

/// The command line with a file of this text.
fn parsed(text: &str, words: &[&str]) -> Result<Line, Failure> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, text).unwrap();
    let config = format!("--config={}", path.display());
    let all =
        ["distill", "shrink"].into_iter().chain([config.as_str()]).chain(words.iter().copied());
    let command = <Line as clap::CommandFactory>::command();
    let found = matches(&command, all.map(OsString::from).collect())?;
    let mut line = <Line as clap::FromArgMatches>::from_arg_matches(&found).unwrap();
    assert_eq!(line.config.take(), Some(path));
    Ok(line)
}

fn plain(words: &[&str]) -> Line {
    Line::try_parse_from(["distill", "shrink"].iter().chain(words)).unwrap()
}

#[test]
fn a_written_run_is_read_as_the_command_line_it_was_written_for() {
    let strings = |all: &[&str]| Value::Array(all.iter().map(|&s| s.into()).collect());
    let resolved = [
        ("model", Value::from("a \"b\"\\ü.onnx")),
        ("other", "-x".into()),
        ("to", "25%".into()),
        ("learning-rate", 1e-5.into()),
        ("layers", strings(&["fc1", "fc 2"])),
        ("widths", Value::Array(vec![16.into(), 8.into()])),
        ("overwrite", true.into()),
        ("quiet", false.into()),
        ("kind", "two".into()),
        ("offset", (-3).into()),
    ];
    let resolved: Vec<(String, Value)> =
        resolved.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let text = run_toml("shrink", &resolved);
    let words = [
        "--to",
        "25%",
        "--learning-rate",
        "0.00001",
        "--layers",
        "fc1,fc 2",
        "--widths",
        "16",
        "8",
        "--overwrite",
        "--kind",
        "two",
        "--offset",
        "-3",
        "--",
        "a \"b\"\\ü.onnx",
        "-x",
    ];
    assert_eq!(parsed(&text, &[]).unwrap(), plain(&words), "{text}");
}

#[test]
fn the_command_line_wins_option_by_option_and_lists_as_a_whole() {
    let text = "
model = 'file.onnx'
other = 'second'
params = '25%'
learning_rate = 2
layers = ['a', 'b']
widths = [1, 2]
overwrite = false
";
    let all = [
        "--to=25%",
        "--learning-rate=2",
        "--layers=a,b",
        "--widths",
        "1",
        "2",
        "--",
        "file.onnx",
        "second",
    ];
    assert_eq!(parsed(text, &[]).unwrap(), plain(&all));
    let words = ["mine.onnx", "--to", "5%", "--layers", "c", "--widths", "7", "--overwrite"];
    let expected = [
        "--to=5%",
        "--learning-rate=2",
        "--layers=c",
        "--widths=7",
        "--overwrite",
        "--",
        "mine.onnx",
        "second",
    ];
    assert_eq!(parsed(text, &words).unwrap(), plain(&expected));
    // Several names in an array are one text on the command line.
    let text = "model = 'm'\ndrop = ['a', 'b c', 3]";
    assert_eq!(parsed(text, &[]).unwrap(), plain(&["--drop=a,b c,3", "--", "m"]));
    // Also under another name of the command.
    assert!(parsed("command = 'small'\nmodel = 'm'", &[]).is_ok());
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_place_and_what_is_allowed() {
    for (text, message, hint) in [
        (
            "model = 'm'\nlearning-rat = 1",
            ":2:1: unknown key `learning-rat` of `distill shrink`; did you mean `learning-rate`?",
            "Allowed keys: model, other, to, macs, drop, learning-rate, layers, widths, overwrite, kind, offset, quiet",
        ),
        (
            "temperature = 1",
            ":1:1: unknown key `temperature` of `distill shrink`",
            "Allowed keys: model",
        ),
        ("config = 'x'", ":1:1: unknown key `config`", "Allowed keys: model"),
        (
            "learning-rate = true",
            ":1:17: `learning-rate`: expected a text or a number, found a boolean",
            "",
        ),
        (
            "\nwidths = [1,\n 'x']",
            ":3:2: `widths`: invalid value 'x' for '--widths <WIDTHS>...'",
            "",
        ),
        (
            "widths = [[1]]",
            ":1:11: `widths`: expected texts or numbers in an array, found an array",
            "",
        ),
        ("to = ['a', 'b']", ":1:6: `to`: expected a text or a number, found an array", ""),
        ("overwrite = 'yes'", ":1:13: `overwrite`: expected true or false, found a string", ""),
        (
            "kind = 'three'",
            ":1:8: `kind`: invalid value 'three' for '--kind <KIND>'",
            "[possible values: one, two]",
        ),
        (
            "to = '1%'\nmacs = '2%'",
            ":2:1: `macs` cannot be there together with `to`: give one of them",
            "",
        ),
        (
            "drop = [['a']]",
            ":1:9: `drop`: expected texts or numbers in an array, found an array",
            "",
        ),
        (
            "offset = 1.5",
            ":1:10: `offset`: invalid value '1.5' for '--offset <OFFSET>': expected a whole number",
            "",
        ),
        ("to = '1%'\nparams = '2%'", ":2:1: `params` is there twice", ""),
        ("[shrink]\nto = '1%'", ":1:2: unknown key `shrink`", "Allowed keys"),
        (
            "command = 'rank'",
            ":1:11: `command`: this file is for 'rank', but the command is `distill shrink`",
            "",
        ),
        ("model = 'm\n", ":1:11: no TOML: ", ""),
    ] {
        match parsed(text, &[]) {
            Err(Failure::Config { message: found, hint: found_hint }) => {
                assert!(found.contains(&format!("run.toml{message}")), "{text}: {found}");
                assert!(found_hint.contains(hint), "{text}: {found_hint}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    // What is missing is clap's to say.
    let error = parsed("to = '1%'", &[]);
    assert!(
        matches!(error, Err(Failure::CommandLine(error)) if error.to_string().contains("<MODEL>"))
    );
}
