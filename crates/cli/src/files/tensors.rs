//! Safetensors files: their bytes read as tensors, and tensors written, every number of them finite.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use anyhow::{Result, anyhow, bail};
use candle_core::{DType, Tensor};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{SafeTensors, View};

/// Numbers that are looked at and copied at once: a copy of all of them would be as large as they are.
const PIECE: usize = 1 << 16;

/// The tensors of a safetensors file.
pub(crate) fn parse(bytes: &[u8]) -> Result<SafeTensors<'_>> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| anyhow!("not a whole safetensors file: {error}"))
}

/// [`write_tensors`] into memory.
pub(crate) fn tensor_bytes<S: AsRef<str>>(tensors: &[(S, Tensor)]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write_tensors(tensors, &mut bytes)?;
    Ok(bytes)
}

/// Writes a safetensors file of tensors by name; an error where one holds a number that is not finite.
pub(crate) fn write_tensors<S: AsRef<str>>(
    tensors: &[(S, Tensor)],
    to: &mut dyn Write,
) -> Result<()> {
    write_described_tensors(tensors, None, to)
}

/// [`write_tensors`] with texts that the file says about itself.
pub(crate) fn write_described_tensors<S: AsRef<str>>(
    tensors: &[(S, Tensor)],
    about: Option<HashMap<String, String>>,
    to: &mut dyn Write,
) -> Result<()> {
    let mut ordered: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (n.as_ref(), t)).collect();
    // The largest types first, so that every number lies at a multiple of its size.
    let size = |tensor: &Tensor| tensor.dtype().size_in_bytes();
    ordered.sort_by(|(a, x), (b, y)| size(y).cmp(&size(x)).then_with(|| a.cmp(b)));
    let (mut infos, mut end) = (Vec::new(), 0);
    for (name, tensor) in &ordered {
        let start = end;
        end += size(tensor) * tensor.elem_count();
        let (dtype, shape) = (View::dtype(tensor), tensor.dims().to_vec());
        infos.push(((*name).to_owned(), TensorInfo { dtype, shape, data_offsets: (start, end) }));
    }
    let mut header = serde_json::to_vec(&Metadata::new(None, infos)?)?;
    if let Some(about) = about {
        // In the order of its names: a map by hash would give other bytes each time.
        let about: BTreeMap<String, String> = about.into_iter().collect();
        let mut described = b"{\"__metadata__\":".to_vec();
        described.extend(serde_json::to_vec(&about)?);
        if header.len() > 2 {
            described.push(b',');
        }
        described.extend(&header[1..]);
        header = described;
    }
    header.resize(header.len().next_multiple_of(8), b' ');
    to.write_all(&(header.len() as u64).to_le_bytes())?;
    to.write_all(&header)?;
    ordered.into_iter().try_for_each(|(name, tensor)| write_numbers(name, tensor, to))
}

/// Refuses a tensor with a number that is not finite.
pub(crate) fn check_finite(name: &str, tensor: &Tensor) -> Result<()> {
    let (flat, n) = (tensor.flatten_all()?, tensor.elem_count());
    let row = tensor.dims().iter().skip(1).product::<usize>().max(1);
    for start in (0..n).step_by(PIECE) {
        check_piece(name, &flat.narrow(0, start, PIECE.min(n - start))?, start, row)?;
    }
    Ok(())
}

/// The same of a part that begins at a number of the tensor, of which a row holds `row`.
fn check_piece(name: &str, piece: &Tensor, start: usize, row: usize) -> Result<()> {
    if !piece.dtype().is_float() {
        return Ok(());
    }
    let values = piece.to_dtype(DType::F64)?.to_vec1::<f64>()?;
    if let Some(i) = values.iter().position(|value| !value.is_finite()) {
        let (at, found) = (start + i, values[i]);
        let (row, column) = (at / row, at % row);
        bail!("tensor `{name}`, row {row}, column {column}: wanted a finite number, found {found}");
    }
    Ok(())
}

fn write_numbers(name: &str, tensor: &Tensor, to: &mut dyn Write) -> Result<()> {
    let (flat, n) = (tensor.flatten_all()?, tensor.elem_count());
    let row = tensor.dims().iter().skip(1).product::<usize>().max(1);
    for start in (0..n).step_by(PIECE) {
        let piece = flat.narrow(0, start, PIECE.min(n - start))?;
        check_piece(name, &piece, start, row)?;
        to.write_all(&View::data(&&piece))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_named() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let x = Tensor::new(&[[0f32, 1.0, f32::MAX], [2.0, value, 3.0]], &Device::Cpu).unwrap();
            for x in [x.clone(), x.to_dtype(DType::F64).unwrap(), x.to_dtype(DType::BF16).unwrap()]
            {
                let error = format!("{:#}", tensor_bytes(&[("x", x)]).unwrap_err());
                // BF16 rounds the largest number of F32 to infinity, which then comes first.
                let place = ["`x`, row 1, column 1", "`x`, row 0, column 2"];
                assert!(place.iter().any(|place| error.contains(place)), "{error}");
            }
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_safetensors_crate_or_read_as_them() {
        let long: Vec<f32> = (0..PIECE + 3).map(|i| i as f32).collect();
        let tensors = [
            ("b", Tensor::from_vec(long, (1, PIECE + 3), &Device::Cpu).unwrap()),
            ("bytes", Tensor::new(&[1u8, 2, 3], &Device::Cpu).unwrap()),
            ("a", Tensor::new(&[[f32::MAX], [f32::MIN]], &Device::Cpu).unwrap()),
            ("d", Tensor::new(&[0.1f64], &Device::Cpu).unwrap()),
        ];
        let bytes = tensor_bytes(&tensors).unwrap();
        let read = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        assert_eq!(read.len(), tensors.len());
        for (name, tensor) in &tensors {
            assert_eq!((read[*name].dims(), read[*name].dtype()), (tensor.dims(), tensor.dtype()));
            let numbers = |t: &Tensor| {
                let t = t.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
                t.to_vec1::<f64>().unwrap()
            };
            assert_eq!(numbers(&read[*name]), numbers(tensor));
        }
        // A view of a part, with gaps between its rows.
        let part = tensors[0].1.reshape((PIECE + 3, 1)).unwrap().narrow(0, 5, 2).unwrap();
        let bytes = tensor_bytes(&[("part", part.t().unwrap())]).unwrap();
        let read = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).unwrap();
        assert_eq!(read["part"].to_vec2::<f32>().unwrap(), [[5.0, 6.0]]);
    }
}
