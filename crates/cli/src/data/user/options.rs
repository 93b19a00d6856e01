//! How the command line says to read a file of examples, where detection should not decide.

use std::path::PathBuf;

use clap::ValueEnum;

use super::names::NamesFrom;

/// Heading of these options in `--help`.
const HEADING: &str = "Reading of data";

/// The options that every command with examples takes; what is absent is detected, and said where it is unusual.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Options {
    /// Whether the first line of a text table holds the names of its columns [default: detected].
    #[arg(long, value_enum, value_name = "yes|no", hide_possible_values = true, requires = "data", help_heading = HEADING)]
    pub(crate) header: Option<Header>,
    /// The column of a text table that is the target: its name, or its number from 1 (a name wins over a number); several
    /// with commas between them are the targets of several outputs. `none`, where a command needs no targets: all columns
    /// are features.
    #[arg(long, value_name = "NAMES", requires = "data", help_heading = HEADING)]
    pub(crate) target: Option<String>,
    /// Columns of a text table that are no features, by name or number, with commas between them.
    #[arg(long, value_name = "NAMES", requires = "data", help_heading = HEADING)]
    pub(crate) drop: Option<String>,
    /// The columns of a text table that are the features, by name or number, with commas between them, in the order in which
    /// the network takes them [default: all but the target and those that --drop names].
    #[arg(long, value_name = "NAMES", requires = "data", help_heading = HEADING)]
    pub(crate) features: Option<String>,
    /// What stands for missing features of a text table: the mean of their column, over the calibration examples where a
    /// command splits its data, else over the file [default: a missing value is an error].
    #[arg(long, value_enum, requires = "data", help_heading = HEADING)]
    pub(crate) impute: Option<Impute>,
    /// Names of the classes in the order of the network's outputs, with commas between them [default: names in the data, in
    /// the order of their letters].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "data", help_heading = HEADING)]
    pub(crate) classes: Vec<String>,
    /// The file of labels where the data are an IDX file or one NumPy array (.npy): an IDX file or an array too [default: of
    /// an IDX file that is named as MNIST's are, the file beside it].
    #[arg(long, value_name = "FILE", requires = "data", help_heading = HEADING)]
    pub(crate) labels: Option<PathBuf>,
    /// What separates the columns of a text table [default: detected].
    #[arg(long, value_enum, requires = "data", help_heading = HEADING)]
    pub(crate) separator: Option<Separator>,
    /// How decimals of a text table are written [default: detected].
    #[arg(long, value_enum, requires = "data", help_heading = HEADING)]
    pub(crate) decimal: Option<Decimal>,
    /// What bytes (U8) in `x` are: numbers as they stand, or image intensities, which are divided by 255
    /// [default: intensities where `x` has shape (m, 1 or 3, height, width) or is an IDX file of images, or where a network
    /// takes images, else numbers].
    #[arg(long, value_enum, requires = "data", help_heading = HEADING)]
    pub(crate) bytes: Option<Bytes>,
    /// Whose names `classes` are.
    #[arg(skip)]
    pub(crate) classes_from: NamesFrom,
    /// Whether missing features that `impute` allows stay NaN, for a command that fills them in by a part of the examples.
    #[arg(skip)]
    pub(crate) keeps_missing: bool,
}

/// The options of images, of the commands that take any network.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct ImageOptions {
    /// Height and width to which the images of a folder are resized, as in 224x224 [default: what the network takes].
    #[arg(long, value_name = "HxW", value_parser = size, requires = "data", help_heading = HEADING)]
    pub(crate) image_size: Option<[usize; 2]>,
    /// Makes the images of a folder gray [default: where the network takes one channel].
    #[arg(long, requires = "data", help_heading = HEADING)]
    pub(crate) grayscale: bool,
    /// Mean of each channel, or one of all, which is subtracted from the images; intensities are divided by 255 before that
    /// [default: 0].
    #[arg(long, value_name = "M,…", value_parser = number, value_delimiter = ',', allow_negative_numbers = true,
          requires = "data", help_heading = HEADING)]
    pub(crate) image_mean: Vec<f64>,
    /// Standard deviation of each channel, or one of all, by which images are divided after --image-mean is subtracted
    /// [default: 1].
    #[arg(long, value_name = "S,…", value_parser = deviation, value_delimiter = ',', requires = "data", help_heading = HEADING)]
    pub(crate) image_std: Vec<f64>,
    /// The arrays of images hold height, width, channels and not channels, height, width [default: told by their shape].
    #[arg(long, requires = "data", help_heading = HEADING)]
    pub(crate) channels_last: bool,
}

/// What obeys an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    Tables,
    Bytes,
    Labels,
    Folders,
    Images,
}

impl Scope {
    /// In words, for messages.
    pub(super) fn wanted(self) -> &'static str {
        match self {
            Self::Tables => "a text table (CSV)",
            Self::Bytes => "a safetensors or NumPy file with bytes (U8) in `x`",
            Self::Labels => "an IDX file or one NumPy array (.npy), whose labels are another file,",
            Self::Folders => "a folder of images",
            Self::Images => "images",
        }
    }
}

/// What stands for a missing value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Impute {
    /// The mean of the column.
    Mean,
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
    /// The options given that not everything obeys.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, Scope)> {
        let given = [
            ("--header", Scope::Tables, self.header.is_some()),
            ("--target", Scope::Tables, self.target.is_some()),
            ("--separator", Scope::Tables, self.separator.is_some()),
            ("--decimal", Scope::Tables, self.decimal.is_some()),
            ("--drop", Scope::Tables, self.drop.is_some()),
            ("--features", Scope::Tables, self.features.is_some()),
            ("--impute", Scope::Tables, self.impute.is_some()),
            ("--bytes", Scope::Bytes, self.bytes.is_some()),
            ("--labels", Scope::Labels, self.labels.is_some()),
        ];
        given.into_iter().filter_map(|(name, by, is_given)| is_given.then_some((name, by)))
    }
}

impl ImageOptions {
    /// The options given.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, Scope)> + use<> {
        let given = [
            ("--image-size", Scope::Folders, self.image_size.is_some()),
            ("--grayscale", Scope::Folders, self.grayscale),
            ("--image-mean", Scope::Images, !self.image_mean.is_empty()),
            ("--image-std", Scope::Images, !self.image_std.is_empty()),
            ("--channels-last", Scope::Images, self.channels_last),
        ];
        given.into_iter().filter_map(|(name, by, is_given)| is_given.then_some((name, by)))
    }
}

/// Longest side of an image, in pixels.
const LONGEST_SIDE: usize = 4096;

/// Height and width, as in `224x224`.
fn size(text: &str) -> Result<[usize; 2], String> {
    let side = |text: &str| text.parse().ok().filter(|side| (1..=LONGEST_SIDE).contains(side));
    let sides = text.split_once(['x', 'X', '×']).map(|(h, w)| (side(h), side(w)));
    match sides {
        Some((Some(height), Some(width))) => Ok([height, width]),
        _ => {
            Err(format!("expected a height and a width from 1 to {LONGEST_SIDE}, such as 224x224"))
        }
    }
}

/// A number of the size of an intensity.
fn number(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.abs() <= 1e6 => Ok(value),
        _ => Err("expected a number of size at most 1e6".into()),
    }
}

/// A standard deviation of intensities.
fn deviation(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if (1e-6..=1e6).contains(&value) => Ok(value),
        _ => Err("expected a number from 1e-6 to 1e6".into()),
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
