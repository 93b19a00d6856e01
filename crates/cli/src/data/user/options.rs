//! How the command line says to read a file of examples, where detection should not decide.

use clap::ValueEnum;

/// Heading of these options in `--help`.
const HEADING: &str = "Reading of data";

/// The options that every command with examples takes; what is absent is detected, and said where it is unusual.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Whether the first line of a text table holds the names of its columns [default: detected].
    #[arg(long, value_enum, value_name = "yes|no", hide_possible_values = true, requires = "data", help_heading = HEADING)]
    pub(crate) header: Option<Header>,
    /// The column of a text table that is the target: its name, or its number from 1 (a name wins over a number).
    /// `none`, of `map` alone: all columns are features.
    #[arg(long, value_name = "NAME|NUMBER", requires = "data", help_heading = HEADING)]
    pub(crate) target: Option<String>,
    /// What separates the columns of a text table [default: detected].
    #[arg(long, value_enum, requires = "data", help_heading = HEADING)]
    pub(crate) separator: Option<Separator>,
    /// How decimals of a text table are written [default: detected].
    #[arg(long, value_enum, requires = "data", help_heading = HEADING)]
    pub(crate) decimal: Option<Decimal>,
    /// What bytes (U8) in the tensor `x` are: numbers as they stand, or image intensities, which are divided by 255
    /// [default: intensities where `x` has shape (m, 1 or 3, height, width), else numbers].
    #[arg(long, value_enum, requires = "data", help_heading = HEADING)]
    pub(crate) bytes: Option<Bytes>,
}

/// Whether there is a line of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Header {
    Yes,
    No,
}

/// What stands between two columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Separator {
    #[value(alias = ",")]
    Comma,
    #[value(aliases = ["\t", "\\t"])]
    Tab,
    #[value(alias = ";")]
    Semicolon,
    #[value(name = "bar", alias = "|")]
    Bar,
    /// Any number of spaces and tabs.
    #[value(alias = " ")]
    Space,
}

/// What stands between the whole part and the fraction of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Decimal {
    #[value(alias = ".")]
    Point,
    #[value(alias = ",")]
    Comma,
}

/// What bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Bytes {
    Numbers,
    Intensities,
}

impl Options {
    /// The first option given that only a text table obeys.
    pub(crate) fn of_tables(&self) -> Option<&'static str> {
        let given = [
            ("--header", self.header.is_some()),
            ("--target", self.target.is_some()),
            ("--separator", self.separator.is_some()),
            ("--decimal", self.decimal.is_some()),
        ];
        given.into_iter().find_map(|(name, is_given)| is_given.then_some(name))
    }
}

impl Separator {
    /// All, the preferred first where several fit as well.
    pub(super) const ALL: [Self; 5] =
        [Self::Comma, Self::Tab, Self::Semicolon, Self::Bar, Self::Space];

    /// The byte between two cells, after runs of blanks were made one space.
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Tab => b'\t',
            Self::Semicolon => b';',
            Self::Bar => b'|',
            Self::Space => b' ',
        }
    }

    /// Its plural, for messages.
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Comma => "commas",
            Self::Tab => "tabs",
            Self::Semicolon => "semicolons",
            Self::Bar => "vertical bars",
            Self::Space => "spaces",
        }
    }
}
