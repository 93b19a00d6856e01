//! IDX files, the format of MNIST: one array each, big-endian, images and their labels in two files.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use safetensors::Dtype;

use super::arrays::{Array, Found, Numbers};
use super::content::{self, Content};
use super::request::Request;
use super::{numpy, tensors};
use crate::files::read as read_file;

/// Most axes of an array.
const MOST_AXES: u8 = 8;
/// Where labels are, for a message about a file without them.
const HINT: &str = "; --labels names the file of labels";

/// Whether bytes begin as an IDX file does: two zeros, a type, a number of axes.
pub(super) fn is_idx(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, kind, 1..=MOST_AXES, ..] if dtype(*kind).is_some())
}

fn dtype(kind: u8) -> Option<Dtype> {
    Some(match kind {
        0x08 => Dtype::U8,
        0x09 => Dtype::I8,
        0x0b => Dtype::I16,
        0x0c => Dtype::I32,
        0x0d => Dtype::F32,
        0x0e => Dtype::F64,
        _ => return None,
    })
}

/// The array of an IDX file; `at` is where it stands, for messages.
pub(super) fn array(at: &str, bytes: &[u8]) -> Result<Array> {
    let [0, 0, kind, n_axes, rest @ ..] = bytes else { bail!("{at}: expected an IDX file") };
    let Some(dtype) = dtype(*kind) else { bail!("{at}: expected an IDX file") };
    let n_axes = usize::from(*n_axes);
    let Some((sizes, data)) = rest.split_at_checked(4 * n_axes) else {
        bail!(
            "{at}: expected a header of {} bytes, found a file of {}",
            4 + 4 * n_axes,
            bytes.len()
        );
    };
    let (sizes, _) = sizes.as_chunks::<4>();
    let shape: Vec<usize> = sizes.iter().map(|&size| u32::from_be_bytes(size) as usize).collect();
    let size = dtype.bitsize() / 8;
    let wanted = shape.iter().try_fold(size, |n, &axis| n.checked_mul(axis));
    if wanted != Some(data.len()) {
        bail!(
            "{at}: expected numbers of shape {shape:?} in {size} bytes each, as the IDX file says, found {} bytes: the file \
             is damaged",
            data.len()
        );
    }
    let numbers = match dtype {
        Dtype::U8 => Numbers::Bytes(data.to_vec()),
        other => {
            let mut turned = data.to_vec();
            turned.chunks_exact_mut(size).for_each(<[u8]>::reverse);
            Numbers::Floats(tensors::numbers(at, other, &turned)?)
        }
    };
    Ok(Array { shape, kind: format!("{dtype:?}"), numbers })
}

/// Examples of one array with labels of another file: the one that `--labels` names, or, of an IDX file, the one beside it
/// that is named as MNIST's are.
pub(super) fn with_labels(x: Array, is_idx: bool, request: &Request) -> Result<Found> {
    let told = request.options.labels.as_deref().filter(|_| request.flag == "--data");
    let beside = || if is_idx { beside(Path::new(request.word)) } else { None };
    let (path, notices) = match told {
        Some(path) => (Some(path.to_owned()), Vec::new()),
        None => {
            let path = beside();
            let said = path.iter().map(|path| {
                format!(
                    "labels are read from {} beside it; --labels names another file",
                    path.display()
                )
            });
            (path.clone(), said.collect())
        }
    };
    let y = path.map(|path| labels(&path)).transpose()?;
    let names = vec!["x".to_owned()];
    let is_images = is_idx && x.shape.len() > 2;
    Ok(Found { noun: "array", x: Some(x), y, is_images, names, hint: HINT, notices })
}

fn labels(path: &Path) -> Result<Array> {
    let take = || -> Result<Array> {
        let bytes = read_file(path)?;
        let bytes = content::unpacked(&bytes)?;
        match content::detect(&bytes)? {
            Content::Idx => array("labels", &bytes),
            Content::Array => numpy::array("labels", &bytes),
            Content::Tensors | Content::Archive | Content::Text(_) => {
                bail!(
                    "expected labels in an IDX file or one NumPy array (.npy), found another file"
                )
            }
        }
    };
    take().with_context(|| format!("--labels {}", path.display()))
}

/// The labels beside images, where both are named as MNIST's files: train-images-idx3-ubyte and train-labels-idx1-ubyte,
/// with a point for the last hyphen but one too, packed or not.
fn beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    if !name.contains("images") || !name.contains("idx3") {
        return None;
    }
    let labels = name.replace("images", "labels").replace("idx3", "idx1");
    let other = match labels.strip_suffix(".gz") {
        Some(unpacked) => unpacked.to_owned(),
        None => format!("{labels}.gz"),
    };
    [labels, other].into_iter().map(|name| images.with_file_name(name)).find(|path| path.is_file())
}
