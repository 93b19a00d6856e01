//! Tensors of a safetensors file, and what is said of files that are none.

use std::path::Path;

use anyhow::{Result, bail};
use candle_core::safetensors::Load;
use candle_core::{DType, Device, Tensor};
use safetensors::SafeTensors;

/// Says how a posterior is made of what `torch.save` writes.
pub(crate) fn refuse_pickle(path: &Path, bytes: &[u8]) -> Result<()> {
    let is_zip = bytes.starts_with(b"PK\x03\x04");
    // Protocol 2 and newer of a pickle; the length of a safetensors header never begins like this and is sane.
    let is_pickle = bytes.len() > 1 && bytes[0] == 0x80 && (2..=5).contains(&bytes[1]);
    let is_header = SafeTensors::read_metadata(bytes).is_ok();
    if is_header || !(is_zip || is_pickle) {
        return Ok(());
    }
    bail!(
        "{}: wanted a posterior of this program, found a file of PyTorch or NumPy; `distill posterior` makes a \
         posterior of a model",
        path.display()
    )
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
