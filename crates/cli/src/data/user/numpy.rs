//! The arrays of NumPy: one of an .npy file, several by name of an .npz file.

use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor, WithDType};
use safetensors::Dtype;

use super::arrays::{Array, Found, Numbers};
use super::number::short;
use super::selection::some;
use super::tensors;
use crate::files::{Archive, Budget, NpyHeader};

/// Times its size that arrays of a file may take unpacked, and bytes that those of any file may: zeros pack well.
pub(super) const MOST_EXPANSION: usize = 256;
pub(super) const FLOOR: usize = 1 << 26;

/// Where labels are, for a message about an .npz file without them.
const HINT: &str = "; numpy.savez(path, x=…, y=…) writes both";

/// The arrays of an .npz file; only `x` and `y` are unpacked, and nothing in it is executed.
pub(super) fn npz(bytes: &[u8]) -> Result<Found> {
    let told = format!(
        "its arrays take more than {MOST_EXPANSION} times the size of the file: numpy.savez, which does not compress, \
         writes a file that is read"
    );
    let budget = Budget::new(bytes.len(), MOST_EXPANSION, FLOOR, told);
    let mut archive = Archive::open(bytes, budget)?;
    let entries: Vec<String> = archive.names().map(str::to_owned).collect();
    let names: Vec<String> =
        entries.iter().filter_map(|entry| entry.strip_suffix(".npy")).map(short).collect();
    if let (true, Some(entry)) = (names.is_empty(), entries.first()) {
        let is = |part: &str| entries.iter().any(|entry| entry.contains(part));
        let found = match (is("data.pkl"), is("xl/workbook")) {
            (true, _) => "a file of PyTorch: numpy.savez(path, x=x.numpy(), y=y.numpy()) writes one that is read".into(),
            (_, true) => "an Excel file: save the sheet as CSV".into(),
            (false, false) => format!("a zip file with `{}`: save the numbers as CSV, safetensors or .npz", short(entry)),
        };
        bail!("expected an .npz file, a zip file with arrays of NumPy, found {found}");
    }
    let mut get = |name: &str| -> Result<Option<Array>> {
        let entry = format!("{name}.npy");
        if !archive.has(&entry) {
            return Ok(None);
        }
        let at = format!("array `{name}`");
        let storage = archive.get(&entry).with_context(|| at.clone())?;
        array(&at, storage.as_slice()).map(Some)
    };
    let (pair, taken) = super::arrays::pair("array", &names).unzip();
    let pair = pair.unwrap_or(["x", "y"]);
    let (x, y) = (get(pair[0])?, get(pair[1])?);
    let others: Vec<&String> = names.iter().filter(|name| !pair.contains(&&name[..])).collect();
    let mut notices = match &others[..] {
        [] => Vec::new(),
        [_] => vec![format!("the array {} is not read", some(&others))],
        _ => vec![format!("the arrays {} are not read", some(&others))],
    };
    notices.extend(taken);
    Ok(Found { noun: "array", x, y, is_images: false, names, hint: HINT, notices })
}

/// The array of an .npy file, or of an entry of an .npz file; `at` is where it stands, for messages.
pub(super) fn array(at: &str, bytes: &[u8]) -> Result<Array> {
    let header = NpyHeader::read(bytes).with_context(|| at.to_owned())?;
    let kind = Kind::of(&header.descr).with_context(|| at.to_owned())?;
    let (shape, kind_name) = (header.shape, header.descr);
    let n = shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
    let wanted = n.and_then(|n| n.checked_mul(kind.size()));
    let data = bytes.get(header.length..).unwrap_or_default();
    let (Some(n), true) = (n, wanted == Some(data.len())) else {
        let wanted = wanted.map_or_else(|| "more than any memory holds".into(), |n| n.to_string());
        bail!(
            "{at}: expected {wanted} bytes of numbers, as its shape {shape:?} and type {} say, found {}: the file is damaged \
             or holds more than one array",
            short(&kind_name),
            data.len()
        );
    };
    let mut numbers = kind.numbers(at, data, n)?;
    if header.is_fortran && shape.len() > 1 {
        numbers = match numbers {
            Numbers::Bytes(values) => Numbers::Bytes(row_major(values, &shape)?),
            Numbers::Floats(values) => Numbers::Floats(row_major(values, &shape)?),
            Numbers::Words(words) if shape.iter().filter(|&&axis| axis != 1).count() < 2 => {
                Numbers::Words(words)
            }
            Numbers::Words(_) => bail!("{at}: expected one text an example, found shape {shape:?}"),
        };
    }
    Ok(Array { shape, kind: kind_name, numbers })
}

/// The type of an array.
#[derive(Clone, Copy)]
enum Kind {
    Number(Dtype, ByteOrder),
    /// Texts of so many letters of four bytes.
    Letters(usize, ByteOrder),
    /// Texts of so many bytes.
    Ascii(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ByteOrder {
    Little,
    Big,
}

impl Kind {
    /// Of a name such as `<f4` or `<U7`.
    fn of(descr: &str) -> Result<Self> {
        let order = if descr.starts_with('>') { ByteOrder::Big } else { ByteOrder::Little };
        let dtype = match descr.trim_start_matches(['<', '>', '|', '=']) {
            "b1" => Dtype::BOOL,
            "u1" => Dtype::U8,
            "i1" => Dtype::I8,
            "u2" => Dtype::U16,
            "i2" => Dtype::I16,
            "u4" => Dtype::U32,
            "i4" => Dtype::I32,
            "u8" => Dtype::U64,
            "i8" => Dtype::I64,
            "f2" => Dtype::F16,
            "f4" => Dtype::F32,
            "f8" => Dtype::F64,
            text => {
                let n = text.get(1..).and_then(|n| n.parse::<usize>().ok());
                return match (text.chars().next(), n) {
                    (Some('U'), Some(n)) => Ok(Self::Letters(n, order)),
                    (Some('S'), Some(n)) => Ok(Self::Ascii(n)),
                    (Some('O'), _) => bail!(
                        "expected numbers, found Python objects, which are code and not executed: save \
                         numpy.stack(x).astype(\"float32\") for x and numpy.array(y, dtype=str) for names of classes"
                    ),
                    _ => bail!(
                        "expected numbers or text, found values of type {}: save x.astype(\"float32\")",
                        short(descr)
                    ),
                };
            }
        };
        Ok(Self::Number(dtype, order))
    }

    /// Bytes of one.
    fn size(self) -> usize {
        match self {
            Self::Number(dtype, _) => dtype.bitsize() / 8,
            Self::Letters(n, _) => n.saturating_mul(4),
            Self::Ascii(n) => n,
        }
    }

    /// The numbers of an array of `n`.
    fn numbers(self, at: &str, data: &[u8], n: usize) -> Result<Numbers> {
        let size = self.size();
        Ok(match self {
            Self::Number(Dtype::U8, _) => Numbers::Bytes(data.to_vec()),
            Self::Number(dtype, ByteOrder::Big) if size > 1 => {
                let mut turned = data.to_vec();
                turned.chunks_exact_mut(size).for_each(<[u8]>::reverse);
                Numbers::Floats(tensors::numbers(at, dtype, &turned)?)
            }
            Self::Number(dtype, _) => Numbers::Floats(tensors::numbers(at, dtype, data)?),
            // Texts without letters take no bytes, so that a header may claim any number of them.
            Self::Letters(0, _) | Self::Ascii(0) => {
                bail!("{at}: expected text, found {n} texts without a letter")
            }
            Self::Letters(_, order) => {
                Numbers::Words(words(at, data, size, |bytes| letters(bytes, order))?)
            }
            Self::Ascii(_) => Numbers::Words(words(at, data, size, |bytes| {
                String::from_utf8(bytes.to_vec()).ok()
            })?),
        })
    }
}

/// Texts of `size` bytes each, without the zeros that fill them up.
fn words(
    at: &str,
    data: &[u8],
    size: usize,
    word: impl Fn(&[u8]) -> Option<String>,
) -> Result<Vec<String>> {
    let words = data
        .chunks_exact(size)
        .map(word)
        .map(|word| word.map(|word| word.trim_end_matches('\0').trim().to_owned()));
    let words: Option<Vec<String>> = words.collect();
    let Some(words) = words else { bail!("{at}: expected text, found bytes that are none") };
    Ok(words)
}

/// Letters of four bytes each.
fn letters(bytes: &[u8], order: ByteOrder) -> Option<String> {
    let (letters, _) = bytes.as_chunks::<4>();
    let letter = |&bytes: &[u8; 4]| {
        char::from_u32(match order {
            ByteOrder::Little => u32::from_le_bytes(bytes),
            ByteOrder::Big => u32::from_be_bytes(bytes),
        })
    };
    letters.iter().map(letter).collect()
}

/// Numbers whose first axis is the fastest, as ones whose last axis is.
fn row_major<T: WithDType>(values: Vec<T>, shape: &[usize]) -> Result<Vec<T>> {
    let turned: Vec<usize> = shape.iter().rev().copied().collect();
    let axes: Vec<usize> = (0..shape.len()).rev().collect();
    let values = Tensor::from_vec(values, turned, &Device::Cpu)?.permute(axes)?;
    Ok(values.flatten_all()?.to_vec1()?)
}
