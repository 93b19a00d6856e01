//! The options of a command as keys of a file.

use clap::{Arg, ArgAction, Command};

/// Options that a file of options cannot have.
const NOT_IN_FILES: [&str; 3] = ["config", "help", "version"];

/// An option or an argument of a command.
pub(super) struct Key<'a> {
    /// Its name in a file: the long name, or that of an argument in lower case.
    pub(super) name: String,
    /// What it is to clap.
    pub(super) arg: &'a Arg,
}

impl Key<'_> {
    /// Whether it is an argument without a name on the command line.
    pub(super) fn is_positional(&self) -> bool {
        self.arg.is_positional()
    }

    /// Whether it stands without a value.
    pub(super) fn is_flag(&self) -> bool {
        matches!(self.arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse)
    }

    /// Whether it takes several values.
    pub(super) fn takes_several(&self) -> bool {
        matches!(self.arg.get_action(), ArgAction::Append)
    }

    /// Whether it takes names in one text, with commas between them.
    pub(super) fn takes_names(&self) -> bool {
        let is_names = |names: &[clap::builder::Str]| names.iter().any(|name| name == "NAMES");
        !self.takes_several() && self.arg.get_value_names().is_some_and(is_names)
    }

    fn is_called(&self, name: &str) -> bool {
        let aliases = self.arg.get_all_aliases().unwrap_or_default();
        self.name == name || aliases.contains(&name)
    }
}

/// What a file for this command can have, those of the command itself first.
pub(super) fn keys(command: &Command) -> Vec<Key<'_>> {
    let named = command.get_arguments().filter_map(|arg| {
        let long = arg.get_long().map(str::to_owned);
        let value = || Some(arg.get_value_names()?.first()?.to_lowercase());
        let name = if arg.is_positional() { value() } else { long };
        Some(Key { name: name?, arg })
    });
    named.filter(|key| !NOT_IN_FILES.contains(&key.name.as_str())).collect()
}

/// The key of this name, with - or _ inside.
pub(super) fn find<'k, 'a>(keys: &'k [Key<'a>], name: &str) -> Option<&'k Key<'a>> {
    let name = name.replace('_', "-");
    keys.iter().find(|key| key.is_called(&name))
}
