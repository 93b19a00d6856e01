//! Labelled texts from comma-separated files, in the forms in which Sentiment140 is passed on.

use anyhow::{Context, Result, bail};
use csv::{ByteRecord, ReaderBuilder};

use super::Labelled;

/// Columns of the original files, which have no header: polarity, number, date, query, user, text.
const ORIGINAL_COLUMNS: usize = 6;
/// Names of the columns of label and text where there is a header.
const HEADERS: [[&str; 2]; 2] = [["label", "text"], ["sentiment", "sentimenttext"]];
/// Characters of a field that a message repeats.
const SHOWN: usize = 40;

/// Where the columns are.
struct Form {
    label: usize,
    text: usize,
    n_columns: usize,
    /// What stands for negative and positive.
    classes: [&'static str; 2],
}

/// Reads the labeled texts of a CSV file.
///
/// Three forms are known by their first line: a header with `label` and `text`, one with `Sentiment` and `SentimentText`
/// (classes 0 and 1 in both), and the six columns of the original without a header (0 and 4). Quoted fields may hold
/// line ends and doubled quotes. Lines without a character other than blanks are skipped; an empty text is kept. Where
/// the text is the last column, commas beyond it belong to it, as some copies lost their quotes. Bytes that are no
/// UTF-8 are replaced by U+FFFD, and the texts that had some counted: no other encoding is guessed.
///
/// A label that is none and a line with too few columns are errors that name the line.
pub fn read(bytes: &[u8]) -> Result<Labelled> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let (mut record, mut found) = (ByteRecord::new(), Labelled::default());
    let mut form = None;
    while reader.read_byte_record(&mut record)? {
        if record.len() == 1 && record[0].trim_ascii().is_empty() {
            continue;
        }
        let line = || format!("line {}", line(bytes, &record));
        let known = match &form {
            Some(form) => form,
            None => {
                let (of, has_header) = Form::of(&record).with_context(line)?;
                let known = form.insert(of);
                if has_header {
                    continue;
                }
                known
            }
        };
        known.take(&record, &mut found).with_context(line)?;
    }
    if found.texts.is_empty() {
        bail!("wanted labelled texts, found none");
    }
    Ok(found)
}

impl Form {
    /// The form of a file from its first line, and whether that is a header.
    fn of(first: &ByteRecord) -> Result<(Self, bool)> {
        let names: Vec<String> =
            first.iter().map(|name| shown(name.trim_ascii()).to_ascii_lowercase()).collect();
        let place = |wanted: &str| names.iter().position(|name| name == wanted);
        let n_columns = names.len();
        for [label, text] in HEADERS {
            if let (Some(label), Some(text)) = (place(label), place(text)) {
                return Ok((Self { label, text, n_columns, classes: ["0", "1"] }, true));
            }
        }
        if n_columns >= ORIGINAL_COLUMNS && ["0", "2", "4"].contains(&&names[0][..]) {
            let text = ORIGINAL_COLUMNS - 1;
            let classes = ["0", "4"];
            return Ok((Self { label: 0, text, n_columns: ORIGINAL_COLUMNS, classes }, false));
        }
        bail!(
            "wanted a header with label and text or Sentiment and SentimentText, or the {ORIGINAL_COLUMNS} columns of \
             Sentiment140, found `{}`",
            names.join(",")
        );
    }

    /// Adds the text of a line and its class.
    fn take(&self, record: &ByteRecord, found: &mut Labelled) -> Result<()> {
        let (n, wanted) = (record.len(), self.n_columns);
        let is_last = self.text + 1 == wanted;
        if n < wanted || (n > wanted && !is_last) {
            bail!("wanted {wanted} columns, found {n}");
        }
        let [zero, one] = self.classes;
        let label = shown(record[self.label].trim_ascii());
        let Some(class) = self.classes.iter().position(|&class| class == label) else {
            bail!("wanted a label {zero} or {one}, found `{label}`");
        };
        let end = if is_last { n } else { self.text + 1 };
        let fields: Vec<&[u8]> = (self.text..end).map(|column| &record[column]).collect();
        let bytes = fields.join(&b","[..]);
        let text = String::from_utf8(bytes).unwrap_or_else(|error| {
            found.n_replaced += 1;
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        });
        found.texts.push(text);
        found.labels.push(class as u32);
        Ok(())
    }
}

/// The line on which a record begins, from 1; its own position is before the empty lines that were skipped.
fn line(bytes: &[u8], record: &ByteRecord) -> usize {
    let (skipped, rest) = bytes.split_at(record.position().map_or(0, |at| at.byte() as usize));
    let begin = rest.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(rest.len());
    let before = &bytes[..skipped.len() + begin];
    let is_end = |at: &usize| {
        before[*at] == b'\n' || (before[*at] == b'\r' && before.get(at + 1) != Some(&b'\n'))
    };
    1 + (0..before.len()).filter(is_end).count()
}

/// The beginning of a field, for a message.
fn shown(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(field);
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bytes: &[u8]) -> Vec<(u32, String)> {
        let found = read(bytes).unwrap();
        found.labels.into_iter().zip(found.texts).collect()
    }

    fn message(bytes: &[u8]) -> String {
        format!("{:#}", read(bytes).unwrap_err())
    }

    #[test]
    fn all_three_forms_give_the_same() {
        let wanted = [(0, "so, sad".to_owned()), (1, "yes".to_owned())];
        assert_eq!(texts(b"label,text\n0,\"so, sad\"\n1,yes\n"), wanted);
        assert_eq!(texts(b"\xef\xbb\xbfText,Label\r\n\"so, sad\",0\r\nyes,1"), wanted);
        let with_source = b"ItemID,Sentiment,SentimentSource,SentimentText\n1,0,Sentiment140,\"so, sad\"\n2,1,S,yes\n";
        assert_eq!(texts(with_source), wanted);
        let original = b"\"0\",\"1467\",\"Mon Apr 06\",\"NO_QUERY\",\"ann\",\"so, sad\"\n\"4\",\"2\",\"d\",\"q\",\"u\",\"yes\"\n";
        assert_eq!(texts(original), wanted);
    }

    #[test]
    fn quotes_line_ends_and_lost_quotes_stay_in_the_text() {
        let found =
            texts(b"label,text\n1,\"he said \"\"hi\"\"\nand left\"\n0,a \"b\" c\n0,so, sad\n");
        let found: Vec<&str> = found.iter().map(|(_, text)| &text[..]).collect();
        assert_eq!(found, ["he said \"hi\"\nand left", "a \"b\" c", "so, sad"]);
    }

    #[test]
    fn empty_lines_are_skipped_and_empty_texts_kept() {
        let found = texts(b"\n\nlabel,text\n\n1,\n   \n0,\"\"\n");
        assert_eq!(found, [(1, String::new()), (0, String::new())]);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_counted() {
        let found = read(b"label,text\n1,caf\xe9\n0,\xff\xfe!\n1,caf\xc3\xa9\n").unwrap();
        assert_eq!(found.texts, ["caf\u{fffd}", "\u{fffd}\u{fffd}!", "café"]);
        assert_eq!(found.n_replaced, 2);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        assert_eq!(
            message(b"label,text\n0,a\n\n2,b\n"),
            "line 4: wanted a label 0 or 1, found `2`"
        );
        assert_eq!(
            message(b"label,text\n0,\"a\nb\"\n,c\n"),
            "line 4: wanted a label 0 or 1, found ``"
        );
        assert_eq!(message(b"label,text\n0\n"), "line 2: wanted 2 columns, found 1");
        assert_eq!(message(b"text,label\na,b,1\n"), "line 2: wanted 2 columns, found 3");
        assert_eq!(
            message(b"0,1,2,3,4,a\n2,1,2,3,4,b\n"),
            "line 2: wanted a label 0 or 4, found `2`"
        );
        assert_eq!(
            message(b"a,b\n0,c\n"),
            "line 1: wanted a header with label and text or Sentiment and SentimentText, or the 6 columns of \
             Sentiment140, found `a,b`"
        );
        for nothing in [&b""[..], b"\n \n", b"label,text\n"] {
            assert_eq!(message(nothing), "wanted labelled texts, found none");
        }
    }
}
