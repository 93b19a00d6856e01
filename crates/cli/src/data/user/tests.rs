//! Random tables written in every dialect and read back, and random bytes that must not panic.

mod files_tests;
mod prepared_tests;
mod reference_tests;
mod table_tests;

use std::path::Path;

use core_tensors::Rng;

use super::content::{self, Content};
use super::csv::read;
use super::options::{Decimal, Header, ImageOptions, Options, Separator};
use super::place::Place;
use super::{Examples, Purpose, Read, Request, Targets};

/// What a file holds for a network, and what was assumed.
fn opened(
    path: &Path,
    (options, images): (&Options, &ImageOptions),
    input_shape: Option<&[usize]>,
) -> anyhow::Result<(Examples, Vec<String>)> {
    let word = path.to_str().unwrap();
    let request = Request::of_network(word, Path::new("unused"), (options, images), input_shape);
    Examples::opened(&request)
        .map_err(|error| anyhow::anyhow!("{}", format!("{error:#}").replace(word, "FILE")))
}

/// How a table is written.
#[derive(Clone, Copy, Debug)]
struct Style {
    separator: &'static str,
    decimal: Decimal,
    is_quoted: bool,
    has_names: bool,
    line_end: &'static str,
}

fn styles() -> Vec<Style> {
    let mut styles = Vec::new();
    for separator in [",", ";", "\t", "|", "  ", ", "] {
        for decimal in [Decimal::Point, Decimal::Comma] {
            for is_quoted in [false, true] {
                for has_names in [false, true] {
                    for line_end in ["\n", "\r\n", "\r"] {
                        // Commas as separators and as decimals are ambiguous unless cells are quoted; a quote after a blank does not count.
                        let is_comma = separator.trim() == "," && decimal == Decimal::Comma;
                        let is_split = !is_quoted || separator == ", ";
                        if !(is_comma && is_split) {
                            let style =
                                Style { separator, decimal, is_quoted, has_names, line_end };
                            styles.push(style);
                        }
                    }
                }
            }
        }
    }
    styles
}

/// Numbers as programs write them: whole, with three decimals, with all digits, with an exponent.
fn word(value: f64, form: usize) -> String {
    match form {
        0 => format!("{value:.0}"),
        1 => format!("{value:.3}"),
        2 => format!("{value:e}"),
        _ => value.to_string(),
    }
}

fn written(rows: &[Vec<String>], style: Style) -> String {
    let quoted = |cell: &str| {
        let cell = if style.is_quoted { format!("\"{cell}\"") } else { cell.to_owned() };
        match style.decimal {
            Decimal::Point => cell,
            Decimal::Comma => cell.replace('.', ","),
        }
    };
    let n = rows.first().map_or(0, Vec::len);
    let names: Vec<String> = (0..n).map(|i| format!("name{i}")).collect();
    let names = style.has_names.then_some(&names);
    let lines = names.into_iter().chain(rows);
    let line = |cells: &Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        cells.join(style.separator) + style.line_end
    };
    lines.map(line).collect()
}

/// All numbers of a table, row by row, its target last.
fn numbers(read: &Read) -> Vec<Vec<f64>> {
    let mut rows: Vec<Vec<f64>> = read.x.to_vec2().unwrap();
    if let Some(Targets::Numbers { values, k: 1 }) = &read.y {
        rows.iter_mut().zip(values).for_each(|(row, value)| row.push(*value));
    }
    rows
}

#[test]
fn a_table_in_any_dialect_is_read_exactly_or_not_at_all() {
    let mut rng = Rng::new(7);
    let (mut n_read, mut n_tables, mut n_said) = (0, 0, 0);
    for _ in 0..40 {
        let (m, n) = (1 + rng.below(6), 2 + rng.below(4));
        let form = rng.below(5);
        let rows: Vec<Vec<String>> = (0..m)
            .map(|_| {
                (0..n)
                    .map(|column| {
                        let size = 10f64.powi(rng.below(7) as i32 - 2);
                        let value = rng.normal() * size;
                        // The fifth form is one of pandas: numbers, and a class at the end.
                        let of_pandas = if column + 1 == n { 0 } else { 3 };
                        word(value, if form == 4 { of_pandas } else { form })
                    })
                    .collect()
            })
            .collect();
        let wanted: Vec<Vec<f64>> =
            rows.iter().map(|row| row.iter().map(|cell| cell.parse().unwrap()).collect()).collect();
        for style in styles() {
            n_tables += 1;
            let text = written(&rows, style);
            // Decimal commas in quotes between commas are read only where the user says so.
            let decimal = (style.separator == "," && style.decimal == Decimal::Comma)
                .then_some(Decimal::Comma);
            let options = Options { decimal, ..Options::default() };
            let Ok(found) = read(&text, &options, Purpose::Supervised, None) else { continue };
            let is_line_said = found.notices.iter().any(|line| line.contains("--header"));
            assert!(is_line_said || numbers(&found) == wanted, "{style:?}\n{text}");
            n_read += 1;
            let is_plain = style.separator.trim() == "," && style.decimal == Decimal::Point;
            n_said += usize::from(!found.notices.is_empty());
            assert!(!is_plain || is_line_said || found.notices.is_empty(), "{:?}", found.notices);
        }
    }
    // What is refused are ambiguous commas before three digits, and first lines like 0, 1.
    assert!(10 * n_read >= 9 * n_tables, "{n_read} of {n_tables}");
    assert!(2 * n_said > n_read, "{n_said} of {n_read}");
}

#[test]
fn what_the_options_say_is_read_exactly() {
    let mut rng = Rng::new(3);
    for _ in 0..10 {
        let value = |rng: &mut Rng| word(rng.normal() * 100.0, 1);
        let rows: Vec<Vec<String>> =
            (0..4).map(|_| vec![value(&mut rng), value(&mut rng)]).collect();
        for style in styles() {
            let separator = match style.separator {
                ";" => Separator::Semicolon,
                "\t" => Separator::Tab,
                "|" => Separator::Bar,
                "  " => Separator::Space,
                _ => Separator::Comma,
            };
            let options = Options {
                separator: Some(separator),
                decimal: Some(style.decimal),
                header: Some(if style.has_names { Header::Yes } else { Header::No }),
                ..Options::default()
            };
            let text = written(&rows, style);
            let found = read(&text, &options, Purpose::Features, None).unwrap();
            let wanted: Vec<Vec<f64>> = rows
                .iter()
                .map(|row| row.iter().map(|cell| cell.parse().unwrap()).collect())
                .collect();
            assert_eq!(numbers(&found), wanted, "{style:?}\n{text}");
            assert!(found.notices.is_empty());
        }
    }
}

fn told(text: &str) -> String {
    match read(text, &Options::default(), Purpose::Supervised, None) {
        Err(error) => format!("{error:#}"),
        Ok(found) => panic!("{text:?} gave {:?} {:?}", numbers(&found), found.notices),
    }
}

#[test]
fn errors_name_line_and_column() {
    for (text, wanted) in [
        (
            "a,b\n1,2\n1,x\n",
            "line 3, column 2 (`b`): expected a number, found `x`; classes must be whole numbers from 0",
        ),
        (
            "1,2\n\n1,2,3\n",
            "line 3: expected 2 columns as in line 1, found 3; columns are separated by commas",
        ),
        ("\n\n1,2\n3\n", "line 4: expected 2 columns as in line 3, found 1"),
        ("1,2\r3,x\r", "line 2, column 2:"),
        ("1,2\r\n\r\n3,x\r\n", "line 3, column 2:"),
        (
            "a,\"b\nc\"\n1,2\n1,?\n",
            "line 4, column 2 (`b\\nc`): expected a number, found `?` (a missing value)",
        ),
        (
            "1;2\n3;x\n",
            "found `x`; classes must be whole numbers from 0, or names in every line (the file is read with \
                        columns separated by semicolons; --separator overrules this)",
        ),
        ("1,nan\n", "line 1, column 2: expected a number, found `nan` (a missing value)"),
        ("1,1e999\n", "expected a finite number"),
        ("a,b\n", "line 1 holds the names of the columns, but no line of numbers follows"),
        ("", "expected lines of numbers, found none"),
        (" \n\t\n", "expected lines of numbers, found none"),
        ("1,\n", "line 1, column 2: expected a number, found an empty cell"),
        (
            "a,b,\n1,2,\n",
            "line 2, column 3: expected a number, found an empty cell (a missing value): fill it in or \
                          remove the line; a separator at the end of a line begins another column",
        ),
        ("a,\"x\n", "line 1"),
        (
            "2020-01,2020-02\n1,2\n",
            "found `2020-01`; --header yes takes this line as the names of the columns",
        ),
        ("−5,−3\n1,2\n", "line 1, column 1: expected a number, found `−5`"),
        ("1,2\n3,\"4\n", "line 2: expected quotation marks in pairs"),
        (
            "x,y\n1,42,2,83\n",
            "line 2: expected 2 columns as in line 1, found 4; columns are separated by commas and \
                              decimals by points",
        ),
        ("5\n6\n", "found 1 column; --separator"),
        (
            "a,b\n\"1,204.9\",0\n",
            "line 2, column 1 (`a`): expected a number with a decimal point and without thousands",
        ),
        ("1 2\n3 x\n", "line 2, column 2"),
    ] {
        let told = told(text);
        assert!(told.contains(wanted) && !told.contains('\n'), "{text:?}: {told}");
    }
    let text = "a,\"b\nc\",d\n1,2,0\n";
    let found = read(text, &Options::default(), Purpose::Supervised, None).unwrap();
    assert!(found.notices[0].contains("`b\\nc` goes on in the next line"), "{:?}", found.notices);
    let Place::Lines { lines, targets, .. } = found.place else { panic!("no lines") };
    assert_eq!((lines, targets), (vec![3], vec![2]));
}

#[test]
fn random_text_never_panics() {
    const PARTS: [&str; 24] = [
        "1",
        "0",
        "2.5",
        "-3",
        "1e400",
        "1,5",
        "\"",
        "\"\"",
        ",",
        ",",
        ";",
        "\t",
        " ",
        "|",
        "\n",
        "\n",
        "\r\n",
        "\r",
        "y",
        "label",
        "NA",
        "é",
        "\u{feff}",
        "9007199254740993",
    ];
    let mut rng = Rng::new(11);
    let mut n_read = 0;
    for _ in 0..4000 {
        let n = 1 + rng.below(15);
        let text: String = (0..n).map(|_| PARTS[rng.below(PARTS.len())]).collect();
        for purpose in [Purpose::Supervised, Purpose::Features] {
            let target = (rng.below(4) == 0).then(|| "2".to_owned());
            let options = Options { target, ..Options::default() };
            match read(&text, &options, purpose, None) {
                Ok(found) => {
                    n_read += 1;
                    assert!(
                        numbers(&found).iter().flatten().all(|value| value.is_finite()),
                        "{text:?}"
                    );
                }
                Err(error) => assert!(!format!("{error:#}").contains('\n'), "{text:?}: {error:#}"),
            }
        }
        let bytes: Vec<u8> = (0..n).map(|_| rng.below(256) as u8).collect();
        if let Ok(Content::Text(text)) = content::detect(&bytes) {
            let _ = read(text, &Options::default(), Purpose::Features, None);
        }
    }
    assert!(n_read > 100, "{n_read}");
}
