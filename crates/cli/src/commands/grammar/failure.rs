//! Wrong command lines and files of options: what is wrong, and what is allowed.

/// Why words cannot be understood.
#[derive(Debug)]
pub(in crate::commands) enum Failure {
    /// clap says it, with its usage and tips; or it is no failure but help.
    CommandLine(clap::Error),
    /// A file of options.
    Config {
        /// What is wrong and where, in one line.
        message: String,
        /// What is allowed, in lines below it; may be empty.
        hint: String,
    },
    /// A file of options that cannot be read.
    File(anyhow::Error),
}

impl Failure {
    /// A place in the text of a file, in lines and columns from 1.
    pub(super) fn at(file: &str, text: &str, place: usize, message: &str, hint: String) -> Self {
        let (line, column) = line_and_column(text, place);
        Self::Config { message: format!("{file}:{line}:{column}: {message}"), hint }
    }
}

/// What clap says, in words that name what is allowed.
pub(in crate::commands) fn plainly(told: &str) -> String {
    // The standard library's words for letters among digits, as in 1.5.
    let told = told.replace("invalid digit found in string", "expected a whole number");
    let range = |line: &str| -> Option<String> {
        let (before, range) = line.split_once(" is not in ")?;
        let ((head, _), (from, to)) = (before.rsplit_once(": ")?, range.split_once("..=")?);
        Some(format!("{head}: expected a whole number from {from} to {to}"))
    };
    let line = |line: &str| range(line).unwrap_or_else(|| line.to_owned());
    told.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn line_and_column(text: &str, place: usize) -> (usize, usize) {
    let before = text.get(..place).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// The name that is most like a word, where one is like it: as few letters added, left out, replaced or swapped as possible,
/// and at most a third of them.
pub(super) fn closest<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    let distances = names.iter().map(|&name| (distance(word, name), name));
    let (n, name) = distances.min_by_key(|(n, _)| *n)?;
    (3 * n <= word.chars().count().max(3)).then_some(name)
}

/// Letters to add, leave out, replace, or swap with their neighbors: the distance of Damerau and Levenshtein, without changes
/// of what was swapped.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let is_other = usize::from(a[i - 1] != b[j - 1]);
            let mut least =
                (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + is_other);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows.last().and_then(|row| row.last()).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_by_hand() {
        for (a, b, n) in [
            ("", "", 0),
            ("", "abc", 3),
            ("seed", "seed", 0),
            ("sede", "seed", 1),
            ("sed", "seed", 1),
            ("steed", "seed", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), n, "{a} {b}");
            assert_eq!(distance(b, a), n, "{b} {a}");
        }
    }

    #[test]
    fn ranges_are_said_in_words() {
        let told =
            "error: invalid value '-1' for '--epochs <N>': -1 is not in 0..=100000\n\nFor more";
        let wanted = "error: invalid value '-1' for '--epochs <N>': expected a whole number from 0 to 100000\n\nFor more";
        assert_eq!(plainly(told), wanted);
        assert_eq!(plainly("the file is not in this folder"), "the file is not in this folder");
    }

    #[test]
    fn the_closest_name_is_close() {
        let names = ["seed", "data", "noise-variance"];
        assert_eq!(closest("sead", &names), Some("seed"));
        assert_eq!(closest("noise-varience", &names), Some("noise-variance"));
        assert_eq!(closest("temperature", &names), None);
        assert_eq!(closest("x", &[]), None);
    }

    #[test]
    fn places_are_counted_in_letters_from_one() {
        assert_eq!(line_and_column("a = 1\nφφ = 2\n", 6), (2, 1));
        assert_eq!(line_and_column("a = 1\nφφ = 2\n", 11), (2, 4));
        assert_eq!(line_and_column("", 0), (1, 1));
    }
}
