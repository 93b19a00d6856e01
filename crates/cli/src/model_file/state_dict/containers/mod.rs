//! The containers of a state dict, told by what the file holds: safetensors, PyTorch's archives and older files, npz.

mod npy;
mod pickle;

use std::collections::HashMap;

use anyhow::{Context, Result, bail};
use safetensors::{Dtype, SafeTensors};

use super::tensor::{Kind, NamedTensor, Place};
use crate::files::{Archive, Budget, Storage, parse};

/// Times its size that the tensors of a file, and what is unpacked of it, may take: more is no file of weights.
const MOST_EXPANSION: usize = 64;
/// Bytes that any file may unpack to.
const FLOOR: usize = 1 << 20;

/// The tensors of a file by name, in its order.
#[derive(Debug, Default)]
pub(crate) struct Dict<'a> {
    pub(crate) tensors: Vec<NamedTensor<'a>>,
    /// Names of what is no tensor, such as the number of an epoch.
    pub(crate) others: Vec<String>,
    /// Texts that the file holds about itself.
    pub(crate) about: HashMap<String, String>,
}

/// How a file begins: as text, where it is one, else as bytes.
fn beginning(bytes: &[u8]) -> String {
    const MOST: usize = 24;
    let start = &bytes[..bytes.len().min(MOST)];
    let text = start.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let line = text.trim_start().lines().next().unwrap_or_default();
    if line.chars().count() >= 4 && !line.chars().any(char::is_control) {
        return format!("`{line}`");
    }
    let bytes: Vec<String> = start.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("the bytes {}", bytes.join(" "))
}

/// Bytes that may be unpacked of a file, or pointed to.
fn budget(bytes: &[u8]) -> Budget {
    let told = format!(
        "its tensors take more than {MOST_EXPANSION} times the size of the file, which is no file of weights"
    );
    Budget::new(bytes.len(), MOST_EXPANSION, FLOOR, told)
}

impl<'a> Dict<'a> {
    /// The tensors of a file in any of the containers; nothing in it is executed, and its numbers are not copied where
    /// they are not compressed.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self> {
        // A safetensors header may begin with any two bytes, but then it is a header.
        let is_safetensors = SafeTensors::read_metadata(bytes).is_ok();
        let mut dict = match bytes {
            _ if is_safetensors => Self::of_safetensors(bytes)?,
            [b'P', b'K', 3, 4, ..] => Self::of_archive(bytes)?,
            [0x80, 2..=5, ..] => pickle::read_legacy(bytes)?,
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => bail!(
                "wanted weights by name, found one NumPy array; numpy.savez(\"weights.npz\", **{{name: array, …}}) \
                 writes several by name"
            ),
            [0x89, b'H', b'D', b'F', ..] => bail!(
                "wanted a state dict, found an HDF5 file, which is not read; in Python, numpy.savez(\"weights.npz\", \
                 **{{w.path: w.numpy() for w in model.weights}}) writes the weights of a Keras model"
            ),
            // A header that was damaged is one still.
            [_, _, _, _, _, _, _, _, b'{', ..] => Self::of_safetensors(bytes)?,
            [] => bail!("an empty file"),
            _ => bail!(
                "neither ONNX, safetensors, a file of PyTorch, an .npz of NumPy nor a posterior: it begins with {}",
                beginning(bytes)
            ),
        };
        let mut budget = budget(bytes);
        dict.tensors.iter().try_for_each(|tensor| budget.spend(tensor.n_bytes()))?;
        let mut names: Vec<&str> = dict.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            bail!("holds two tensors named `{}`", pair[0]);
        }
        dict.others.retain(|name| !name.ends_with("_metadata"));
        Ok(dict)
    }

    fn of_safetensors(bytes: &'a [u8]) -> Result<Self> {
        let file = parse(bytes)?;
        let (_, about) = SafeTensors::read_metadata(bytes)?;
        let about = about.metadata().clone().unwrap_or_default();
        let tensor = |name: &str| {
            let view = file.tensor(name)?;
            let place = Place {
                kind: kind(view.dtype()),
                shape: view.shape().to_vec(),
                strides: None,
                offset: 0,
                is_big_endian: false,
            };
            NamedTensor::new(name.to_owned(), place, &Storage::of_file(view.data()))
        };
        let tensors = file.names().into_iter().map(tensor).collect::<Result<_>>()?;
        Ok(Self { tensors, others: Vec::new(), about: about.into_iter().collect() })
    }

    /// What `torch.save` or `numpy.savez` wrote.
    fn of_archive(bytes: &'a [u8]) -> Result<Self> {
        let mut archive = Archive::open(bytes, budget(bytes))?;
        let mut pickles = archive.names().filter(|name| is_named(name, "data.pkl"));
        if let Some(name) = pickles.next().map(str::to_owned) {
            if pickles.next().is_some() {
                bail!("holds two data.pkl, wanted the archive of one torch.save");
            }
            drop(pickles);
            return pickle::read_archive(&mut archive, &name);
        }
        drop(pickles);
        let names: Vec<String> = archive.names().map(str::to_owned).collect();
        let (arrays, others): (Vec<_>, Vec<_>) =
            names.into_iter().partition(|name| name.ends_with(".npy"));
        match &others[..] {
            _ if others.iter().any(|name| name == "model.weights.h5") => bail!("{KERAS}"),
            [] if !arrays.is_empty() => {}
            [] => bail!("wanted the archive of torch.save or numpy.savez, found an empty one"),
            [other, ..] => bail!(
                "wanted the archive of torch.save or numpy.savez, found another one, with the file `{other}`"
            ),
        }
        let mut tensors = Vec::with_capacity(arrays.len());
        for entry in arrays {
            let name = entry.trim_end_matches(".npy").to_owned();
            let storage = archive.get(&entry)?;
            tensors.push(npy::read(name, &storage).with_context(|| format!("array `{entry}`"))?);
        }
        Ok(Self { tensors, others: Vec::new(), about: HashMap::new() })
    }
}

const KERAS: &str = "wanted a state dict, found a Keras model, whose HDF5 part is not read; in Python, \
                     numpy.savez(\"weights.npz\", **{w.path: w.numpy() for w in model.weights}) writes its weights";

/// Whether a path of an archive ends in this name.
fn is_named(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
}

fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F16 => Kind::F16,
        Dtype::BF16 => Kind::Bf16,
        Dtype::F32 => Kind::F32,
        Dtype::F64 => Kind::F64,
        Dtype::BOOL => Kind::Whole("BOOL", 1),
        Dtype::I8 => Kind::Whole("I8", 1),
        Dtype::U8 => Kind::Whole("U8", 1),
        Dtype::I16 => Kind::Whole("I16", 2),
        Dtype::U16 => Kind::Whole("U16", 2),
        Dtype::I32 => Kind::Whole("I32", 4),
        Dtype::U32 => Kind::Whole("U32", 4),
        Dtype::I64 => Kind::Whole("I64", 8),
        Dtype::U64 => Kind::Whole("U64", 8),
        Dtype::F8_E4M3 => Kind::Other("F8_E4M3", 1),
        Dtype::F8_E5M2 => Kind::Other("F8_E5M2", 1),
        Dtype::C64 => Kind::Other("C64", 8),
        // Smaller than a byte, or unknown: only the name is of use.
        _ => Kind::Other("numbers of another type", 0),
    }
}
