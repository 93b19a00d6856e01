//! A claim judged from two columns of numbers: one run a line, both arms of a line with the same seed.
//!
//! `cargo run -p cli --example judge_two_columns` reads the table below; name a file to read your own.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use cli::ledger::{Check, Claim, Row, Rows, Scale, Verdict, judge, metric};

const TABLE: &str = "with_teacher,without
0.612,0.641
0.605,0.630
0.598,0.637
0.620,0.636
0.609,0.642
";

static CLAIM: Claim = Claim {
    id: "mine",
    text: "A teacher lowers the student's test cross-entropy.",
    published: &[],
    min_seeds: 3,
    checks: &[Check::better(metric::CROSS_ENTROPY, "with_teacher", "without")],
};

fn main() -> Result<(), Box<dyn Error>> {
    let table = match std::env::args().nth(1) {
        Some(path) => std::fs::read_to_string(path)?,
        None => TABLE.to_owned(),
    };
    let mut columns = [Vec::new(), Vec::new()];
    for line in table.lines().skip(1) {
        let (with, without) = line.split_once(',').ok_or("expected two columns")?;
        columns[0].push(with.trim().parse()?);
        columns[1].push(without.trim().parse()?);
    }
    let [with, without] = ["with_teacher", "without"];
    let rows = [
        Row::of_seeds(with, metric::CROSS_ENTROPY, &columns[0]),
        Row::of_seeds(without, metric::CROSS_ENTROPY, &columns[1]),
    ];
    let result = judge(&CLAIM, &Rows::new(rows.iter(), Scale::Quick));
    println!("{}: {}", result.verdict.word(), result.checks[0].reason);
    if table == TABLE {
        assert_eq!(result.verdict, Verdict::Reproduced);
    }
    Ok(())
}
