//! Examples as arrays, whatever file they come from: `x` (m, n) or (m, …) and `y` (m,) or (m, k).

use anyhow::{Result, bail};
use candle_core::{DType, Device, Tensor};

use super::columns::Purpose;
use super::names::Named;
use super::options::{Bytes, Scope};
use super::place::Place;
use super::request::Request;
use super::{Read, Targets};

/// An array in memory, its numbers in row-major order.
pub(super) struct Array {
    pub(super) shape: Vec<usize>,
    /// The name of its type, for messages.
    pub(super) kind: String,
    pub(super) numbers: Numbers,
}

/// What an array holds.
pub(super) enum Numbers {
    Bytes(Vec<u8>),
    /// Any other numbers, each exactly.
    Floats(Vec<f64>),
    Words(Vec<String>),
}

/// The arrays of a file.
pub(super) struct Found {
    /// What an array is called in this file.
    pub(super) noun: &'static str,
    pub(super) x: Option<Array>,
    pub(super) y: Option<Array>,
    /// Whether the format is one of images, whose bytes are intensities.
    pub(super) is_images: bool,
    /// Names of all arrays of the file.
    pub(super) names: Vec<String>,
    /// Where labels would have to be, if they are missed.
    pub(super) hint: &'static str,
    /// What was assumed.
    pub(super) notices: Vec<String>,
}

/// Features and targets.
pub(super) fn read(found: Found, request: &Request) -> Result<Read> {
    let Found { noun, x, y, is_images, names, hint, mut notices } = found;
    let Some(x) = x else {
        bail!(
            "expected {} {noun} `x`, features of shape (m, n), found {names:?}{hint}",
            article(noun)
        )
    };
    let shape = &x.shape;
    let (m, n) = match shape[..] {
        [m, ref rest @ ..] if !rest.is_empty() => (m, rest.iter().product::<usize>()),
        _ => bail!("{noun} `x`: expected shape (m, n), a row for each example, found {shape:?}"),
    };
    if m == 0 {
        bail!("{noun} `x`: expected at least one row, found shape {shape:?}, which has none");
    }
    if n == 0 {
        bail!("{noun} `x`: expected features, found shape {shape:?}, which has none");
    }
    let y = match (y, request.purpose) {
        (Some(y), _) => Some(targets(y, noun, m)?),
        (None, Purpose::Features | Purpose::Reference | Purpose::Network) => None,
        (None, Purpose::Supervised) => bail!(
            "expected {} {noun} `y`, classes of shape (m,) or values of shape (m,) or (m, k), found {names:?}{hint}",
            article(noun)
        ),
    };
    let image = match shape[..] {
        [_, c @ (1 | 3), h, w] => Some([c, h, w]),
        [_, h, w] if matches!(x.numbers, Numbers::Bytes(_)) => Some([1, h, w]),
        _ => None,
    };
    let bytes = request.options.bytes;
    let (x, is_open) = match x.numbers {
        Numbers::Bytes(values) => {
            let x = Tensor::from_vec(values, &shape[..], &Device::Cpu)?;
            match (bytes, request.purpose) {
                // A network's input says more of what bytes are than their shape does.
                (None, Purpose::Network) => (x, true),
                (None | Some(_), _) => {
                    let (x, assumed) = meaning(x, bytes, request.is_image || is_images)?;
                    notices.extend(assumed);
                    (x, false)
                }
            }
        }
        Numbers::Floats(values) => {
            let obeyed = [Scope::Labels, Scope::Images];
            request.check_options(&obeyed, &x.kind)?;
            check_finite(noun, "x", &values, n)?;
            (Tensor::from_vec(values, &shape[..], &Device::Cpu)?, false)
        }
        Numbers::Words(_) => {
            bail!("{noun} `x`: expected numbers, found text ({}): a network takes numbers", x.kind)
        }
    };
    Ok(Read { x, y, place: Place::Rows(noun), image, is_open, notices })
}

/// Names of features and targets that other programs give, where nothing is named `x`.
const PAIRS: [[&str; 2]; 9] = [
    ["X", "y"],
    ["X", "Y"],
    ["X_train", "y_train"],
    ["x_train", "y_train"],
    ["images", "labels"],
    ["data", "target"],
    ["features", "labels"],
    ["inputs", "targets"],
    ["arr_0", "arr_1"],
];

/// The names of a file with two arrays, neither of them `x`, that leave no doubt which are features and which targets, and
/// what is to be said of them.
pub(super) fn pair(noun: &str, names: &[String]) -> Option<([&'static str; 2], String)> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let is_all = |pair: &&[&'static str; 2]| names.len() == 2 && pair.iter().all(|name| has(name));
    let found = *PAIRS.iter().find(is_all)?;
    let [x, y] = found;
    Some((found, format!("the {noun} `{x}` is taken as `x`, `{y}` as `y`")))
}

fn article(noun: &str) -> &'static str {
    if noun.starts_with('a') { "an" } else { "a" }
}

fn targets(y: Array, noun: &str, m: usize) -> Result<Targets> {
    let shape = y.shape;
    let k = match shape[..] {
        [rows] if rows == m => 1,
        [rows, k] if rows == m && k > 0 => k,
        _ => bail!(
            "{noun} `y`: expected shape ({m},) or ({m}, k), as `x` has {m} rows, found {shape:?}"
        ),
    };
    let values = match y.numbers {
        Numbers::Bytes(values) => values.into_iter().map(f64::from).collect(),
        Numbers::Floats(values) => values,
        Numbers::Words(words) => {
            if k != 1 {
                bail!("{noun} `y`: expected one class an example, found text of shape {shape:?}");
            }
            if let Some(row) = words.iter().position(String::is_empty) {
                bail!("{noun} `y`, row {row} (from 0): expected a class, found an empty text");
            }
            return Ok(Targets::Named(Named::sorted(&words)?));
        }
    };
    check_finite(noun, "y", &values, k)?;
    Ok(Targets::Numbers { values, k })
}

/// Whether the shape of bytes is one of images.
pub(super) fn is_image(shape: &[usize]) -> bool {
    matches!(shape, [_, 1 | 3, _, _])
}

/// Bytes as they are for image intensities, which networks divide by 255, and as f64 for numbers.
fn meaning(x: Tensor, told: Option<Bytes>, is_image: bool) -> Result<(Tensor, Option<String>)> {
    let as_image = is_image || self::is_image(x.dims());
    let meaning = told.unwrap_or(if as_image { Bytes::Intensities } else { Bytes::Numbers });
    let said = told.is_none().then(|| said(meaning, x.dims()));
    let x = match meaning {
        Bytes::Numbers => x.to_dtype(DType::F64)?,
        Bytes::Intensities => x,
    };
    Ok((x, said))
}

/// What is assumed of bytes of this shape.
pub(super) fn said(meaning: Bytes, shape: &[usize]) -> String {
    let said = match meaning {
        Bytes::Numbers => "numbers as they stand; --bytes intensities divides them by 255",
        Bytes::Intensities => {
            "image intensities and divided by 255; --bytes numbers takes them as they stand"
        }
    };
    format!("the bytes (U8) in `x`, of shape {shape:?}, are taken as {said}")
}

fn check_finite(noun: &str, name: &str, values: &[f64], n: usize) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => bail!(
            "{noun} `{name}`, row {}, column {} (both from 0): expected a finite number, found {}",
            at / n,
            at % n,
            values[at]
        ),
        None => Ok(()),
    }
}
