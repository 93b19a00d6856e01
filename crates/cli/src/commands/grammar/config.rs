//! Files of options: TOML whose keys are options, as words of a command line.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{Arg, ArgGroup, ArgMatches, Command, Id};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::failure::{Failure, closest, plainly};
use super::options::{Key, find, keys};
use crate::files::read;

/// The key that says which command a file is for.
pub(super) const COMMAND: &str = "command";

/// The words with those of the file of `--config`: options right behind the name of the command, arguments last.
///
/// What the words say themselves is left out of those of the file, lists as a whole.
pub(super) fn with_file(command: &Command, words: Vec<OsString>) -> Result<Vec<OsString>, Failure> {
    // What the words say, whatever is wrong with them: that is found when all are read.
    let Ok(said) = open(command.clone()).try_get_matches_from(&words) else { return Ok(words) };
    let Some((name, said)) = said.subcommand() else { return Ok(words) };
    let Some(path) = said.get_one::<PathBuf>("config").cloned() else { return Ok(words) };
    let Some(sub) = command.find_subcommand(name) else { return Ok(words) };
    // Globals belong to the command once it is built.
    let mut built = command.clone();
    built.build();
    let sub = built.find_subcommand(name).unwrap_or(sub);
    let file = path.display().to_string();
    let bytes = read(&path).context("--config").map_err(Failure::File)?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        let message = "expected a text in UTF-8, found other bytes";
        Failure::at(&file, &text, good, message, String::new())
    })?;
    let reader = Reader { file: &file, text: &text, sub, keys: keys(sub), root: command };
    let (options, arguments) = reader.words(said)?;
    Ok(merged(&words, command, name, options, arguments))
}

/// A command that takes any of its words, and leaves out any.
fn open(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let mut command = command.ignore_errors(true);
    for name in names {
        command = command.mut_subcommand(name, |sub| {
            sub.ignore_errors(true).mut_args(|arg| arg.required(false))
        });
    }
    command
}

/// The words of a file and of the command line in one.
fn merged(
    words: &[OsString],
    command: &Command,
    name: &str,
    options: Vec<OsString>,
    arguments: Vec<OsString>,
) -> Vec<OsString> {
    let is_name = |word: &OsString| {
        let found = word.to_str().and_then(|word| command.find_subcommand(word));
        found.is_some_and(|sub| sub.get_name() == name)
    };
    let place = words.iter().skip(1).position(is_name).map_or(words.len(), |i| i + 2);
    let mut merged: Vec<OsString> = words[..place].to_vec();
    merged.extend(options);
    merged.extend_from_slice(&words[place..]);
    if !arguments.is_empty() {
        // Behind this no option takes them for its values.
        let is_there = words[place..].iter().any(|word| word == "--");
        merged.extend((!is_there).then(|| OsString::from("--")));
        merged.extend(arguments);
    }
    merged
}

/// A file on its way to words.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    sub: &'a Command,
    keys: Vec<Key<'a>>,
    root: &'a Command,
}

impl Reader<'_> {
    /// Options and arguments of the file that `said` does not have.
    fn words(&self, said: &ArgMatches) -> Result<(Vec<OsString>, Vec<OsString>), Failure> {
        let table = DeTable::parse(self.text).map_err(|error| {
            let place = error.span().map_or(0, |span| span.start);
            let message = format!("no TOML: {}", error.message().trim_end().replace('\n', ", "));
            self.failure(place, &message, String::new())
        })?;
        let mut entries: Vec<_> = table.get_ref().iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let (mut options, mut arguments) = (Vec::new(), Vec::new());
        let mut seen = HashSet::new();
        let mut before: Vec<(&Id, &str)> = Vec::new();
        for (name, value) in entries {
            if name.get_ref().as_ref() == COMMAND && find(&self.keys, COMMAND).is_none() {
                self.check_command(value)?;
                continue;
            }
            let key = self.key(name)?;
            if !seen.insert(key.arg.get_id()) {
                let message =
                    format!("`{}` is there twice: under this name and another", name.get_ref());
                return Err(self.failure(name.span().start, &message, String::new()));
            }
            let id = key.arg.get_id();
            if let Some((_, other)) = before.iter().find(|(other, _)| self.is_rival(id, other)) {
                let message = format!(
                    "`{}` cannot be there together with `{other}`: give one of them",
                    name.get_ref()
                );
                return Err(self.failure(name.span().start, &message, String::new()));
            }
            before.push((id, name.get_ref()));
            let values = self.values(key, value)?;
            let id = key.arg.get_id().as_str();
            if said.value_source(id) == Some(ValueSource::CommandLine)
                || self.is_excluded(key.arg.get_id(), said)
            {
                continue;
            }
            match key.arg.get_index() {
                Some(index) => arguments.push((index, values)),
                None => options.extend(values),
            }
        }
        arguments.sort_by_key(|(index, _)| *index);
        Ok((options, arguments.into_iter().flat_map(|(_, values)| values).collect()))
    }

    /// Whether the command line has an option that excludes this one.
    fn is_excluded(&self, id: &Id, said: &ArgMatches) -> bool {
        let is_said = |id: &&Id| said.value_source(id.as_str()) == Some(ValueSource::CommandLine);
        self.sub
            .get_arguments()
            .map(Arg::get_id)
            .filter(is_said)
            .any(|other| self.is_rival(id, other))
    }

    /// Whether two options are of a group of which one may be given.
    fn is_rival(&self, id: &Id, other: &Id) -> bool {
        let has = |group: &&ArgGroup| {
            [id, other].iter().all(|id| group.get_args().any(|member| member == *id))
        };
        self.sub.get_groups().filter(has).any(|group| !group.clone().is_multiple())
    }

    fn check_command(&self, value: &Spanned<DeValue<'_>>) -> Result<(), Failure> {
        let name = self.sub.get_name();
        let found = value.get_ref().as_str().map(|word| self.root.find_subcommand(word));
        match found {
            Some(Some(sub)) if sub.get_name() == name => Ok(()),
            _ => {
                let found = self.text.get(value.span()).unwrap_or_default();
                let message = format!(
                    "`command`: this file is for {found}, but the command is `distill {name}`"
                );
                Err(self.failure(value.span().start, &message, String::new()))
            }
        }
    }

    fn key(&self, name: &Spanned<std::borrow::Cow<'_, str>>) -> Result<&Key<'_>, Failure> {
        let word = name.get_ref().as_ref();
        if let Some(key) = find(&self.keys, word) {
            return Ok(key);
        }
        let names: Vec<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        let close = closest(&word.replace('_', "-"), &names);
        let close = close.map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        let command = self.sub.get_name();
        let message = format!("unknown key `{word}` of `distill {command}`{close}");
        let hint = format!("Allowed keys: {}", names.join(", "));
        Err(self.failure(name.span().start, &message, hint))
    }

    /// The words for a key, each of which clap has taken.
    fn values(
        &self,
        key: &Key<'_>,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<OsString>, Failure> {
        let place = value.span().start;
        if key.is_flag() {
            return match value.get_ref() {
                DeValue::Boolean(true) => Ok(vec![format!("--{}", key.name).into()]),
                DeValue::Boolean(false) => Ok(Vec::new()),
                other => {
                    let found = other.type_str();
                    Err(self.expected(place, key, "true or false", found))
                }
            };
        }
        let one = std::slice::from_ref(value);
        let values = match value.get_ref() {
            DeValue::Array(array) if key.takes_several() => &array[..],
            DeValue::Array(array) if key.takes_names() => {
                let texts: Result<Vec<String>, Failure> =
                    array.iter().map(|value| self.text(key, value)).collect();
                let word = format!("--{}={}", key.name, texts?.join(",")).into();
                return self.accepted(place, key, word).map(|word| vec![word]);
            }
            _ => one,
        };
        values.iter().map(|value| self.value(key, value)).collect()
    }

    /// A value as a word of a command line has it.
    fn text(&self, key: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Result<String, Failure> {
        let is_list = key.takes_several() || key.takes_names();
        let what = if is_list { "texts or numbers in an array" } else { "a text or a number" };
        match value.get_ref() {
            DeValue::String(text) => Ok(text.to_string()),
            DeValue::Float(number) => Ok(number.as_str().to_owned()),
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix());
                Ok(parsed.map_or_else(|_| number.as_str().to_owned(), |number| number.to_string()))
            }
            other @ (DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_)) => {
                Err(self.expected(value.span().start, key, what, other.type_str()))
            }
        }
    }

    fn value(&self, key: &Key<'_>, value: &Spanned<DeValue<'_>>) -> Result<OsString, Failure> {
        let text = self.text(key, value)?;
        let word: OsString = match key.is_positional() {
            true => text.into(),
            false => format!("--{}={text}", key.name).into(),
        };
        self.accepted(value.span().start, key, word)
    }

    /// A word that clap takes.
    fn accepted(&self, place: usize, key: &Key<'_>, word: OsString) -> Result<OsString, Failure> {
        match self.objection(key, &word) {
            Some((message, hint)) => Err(self.failure(place, &message, hint)),
            None => Ok(word),
        }
    }

    /// What clap says against a value, whatever else is there or is missing.
    fn objection(&self, key: &Key<'_>, word: &OsString) -> Option<(String, String)> {
        let plain = self.root.find_subcommand(self.sub.get_name())?.clone();
        let plain = plain.mut_args(|arg| arg.required(false));
        // The first argument stands for all: each is a text of one kind or another.
        let separator = key.is_positional().then(|| OsString::from("--"));
        let name = OsString::from(plain.get_name());
        let words = std::iter::once(name).chain(separator).chain([word.clone()]);
        let error = plain.try_get_matches_from(words).err()?;
        if !matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation) {
            return None;
        }
        // Its first part; the usage is that of a command which nobody has called.
        let text = plainly(&error.to_string());
        let told = text.strip_prefix("error: ").unwrap_or(&text);
        let mut lines = told.lines().map(str::trim).take_while(|line| {
            !line.starts_with("Usage:") && !line.starts_with("For more information")
        });
        let message = format!("`{}`: {}", key.name, lines.next().unwrap_or_default());
        let hint: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
        Some((message, hint.join("\n")))
    }

    fn expected(&self, place: usize, key: &Key<'_>, expected: &str, found: &str) -> Failure {
        let article = if found.starts_with(['a', 'i', 'o', 'e']) { "an" } else { "a" };
        let message = format!("`{}`: expected {expected}, found {article} {found}", key.name);
        self.failure(place, &message, String::new())
    }

    fn failure(&self, place: usize, message: &str, hint: String) -> Failure {
        Failure::at(self.file, self.text, place, message, hint)
    }
}
