//! Tensors of a safetensors file, and what is said of files that are none.

use std::path::Path;

use anyhow::{Result, bail};
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;

use crate::files::Hinted;

/// Says how to convert what `torch.save` writes.
pub(crate) fn refuse_pickle(path: &Path, bytes: &[u8]) -> Result<()> {
    let is_zip = bytes.starts_with(b"PK\x03\x04");
    // Protocol 2 and newer of a pickle; the length of a safetensors header never begins like this and is sane.
    let is_pickle = bytes.len() > 1 && bytes[0] == 0x80 && (2..=5).contains(&bytes[1]);
    let is_header = SafeTensors::read_metadata(bytes).is_ok();
    if is_header || !(is_zip || is_pickle) {
        return Ok(());
    }
    let quoted = |path: &Path| format!("{:?}", path.display().to_string());
    let (from, to) = (quoted(path), quoted(&path.with_extension("safetensors")));
    let message = format!(
        "{}: wanted a safetensors file, found a pickle of PyTorch; two lines of Python convert a state dict:",
        path.display()
    );
    let hint = format!(
        "import torch; from safetensors.torch import save_file\n\
         save_file({{k: v.contiguous() for k, v in torch.load({from}, map_location=\"cpu\", \
         weights_only=True).items()}}, {to})"
    );
    Err(Hinted { message, hint }.into())
}

/// Rows and columns of a weight; refuses what belongs to another kind of layer.
pub(super) fn matrix(name: &str, view: &TensorView) -> Result<(usize, usize)> {
    match *view.shape() {
        [rows, cols] if rows > 0 && cols > 0 => Ok((rows, cols)),
        ref shape => {
            let what = match shape.len() {
                0 | 1 => "a scale or a normalisation",
                2 => "an empty matrix",
                3..=5 => "a convolution",
                _ => "no matrix",
            };
            bail!(
                "tensor `{name}` has shape {shape:?}: {what}; only dense layers (out, in) are read"
            )
        }
    }
}

/// Finite numbers of a tensor in f64.
pub(crate) fn numbers(file: &SafeTensors, name: &str) -> Result<Tensor> {
    use safetensors::Dtype::{BF16, F16, F32, F64};
    let view = file.tensor(name)?;
    if !matches!(view.dtype(), F16 | BF16 | F32 | F64) {
        bail!("tensor `{name}` holds {:?}, wanted F16, BF16, F32 or F64", view.dtype());
    }
    let values = view.load(&Device::Cpu)?.to_dtype(DType::F64)?;
    let flat = values.flatten_all()?.to_vec1::<f64>()?;
    if let Some(at) = flat.iter().position(|value| !value.is_finite()) {
        bail!("tensor `{name}` holds {} at place {at}, wanted finite numbers", flat[at]);
    }
    Ok(values)
}
