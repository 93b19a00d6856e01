//! The arrays of a safetensors file, and numbers of its types in f64.

use anyhow::{Result, anyhow, bail};
use candle_core::{DType, Device, Tensor};
use safetensors::{Dtype, SafeTensors};

use super::arrays::{Array, Found, Numbers};

/// The types that are read, for messages.
const TYPES: &str = "BOOL, U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32 or F64";

/// The arrays of a file.
pub(super) fn read(file: &SafeTensors) -> Result<Found> {
    let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
    names.sort_unstable();
    let get = |name: &str| -> Result<Option<Array>> {
        let Ok(view) = file.tensor(name) else { return Ok(None) };
        let numbers = match view.dtype() {
            Dtype::U8 => Numbers::Bytes(view.data().to_vec()),
            other => Numbers::Floats(numbers(&format!("tensor `{name}`"), other, view.data())?),
        };
        let kind = format!("{:?}", view.dtype());
        Ok(Some(Array { shape: view.shape().to_vec(), kind, numbers }))
    };
    let (pair, taken) = super::arrays::pair("tensor", &names).unzip();
    let [x, y] = pair.unwrap_or(["x", "y"]);
    let (x, y) = (get(x)?, get(y)?);
    let notices = taken.into_iter().collect();
    Ok(Found { noun: "tensor", x, y, is_images: false, names, hint: "", notices })
}

/// Little-endian numbers of a type in f64, which must hold each exactly; `at` is where they stand, for messages.
pub(super) fn numbers(at: &str, dtype: Dtype, data: &[u8]) -> Result<Vec<f64>> {
    Ok(match dtype {
        Dtype::BOOL => data.iter().map(|&byte| f64::from(u8::from(byte != 0))).collect(),
        Dtype::U8 => each(data, |[byte]| f64::from(byte)),
        Dtype::I8 => each(data, |bytes| f64::from(i8::from_le_bytes(bytes))),
        Dtype::U16 => each(data, |bytes| f64::from(u16::from_le_bytes(bytes))),
        Dtype::I16 => each(data, |bytes| f64::from(i16::from_le_bytes(bytes))),
        Dtype::U32 => each(data, |bytes| f64::from(u32::from_le_bytes(bytes))),
        Dtype::I32 => each(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
        Dtype::U64 => exact(at, &each(data, |bytes| i128::from(u64::from_le_bytes(bytes))))?,
        Dtype::I64 => exact(at, &each(data, |bytes| i128::from(i64::from_le_bytes(bytes))))?,
        Dtype::F32 => each(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
        Dtype::F64 => each(data, f64::from_le_bytes),
        Dtype::F16 => halves(data, DType::F16)?,
        Dtype::BF16 => halves(data, DType::BF16)?,
        other => bail!("{at}: expected {TYPES}, found {other:?}"),
    })
}

fn each<const N: usize, T>(data: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (numbers, _) = data.as_chunks::<N>();
    numbers.iter().map(|&bytes| number(bytes)).collect()
}

fn exact(at: &str, values: &[i128]) -> Result<Vec<f64>> {
    let one = |&value: &i128| {
        let rounded = value as f64;
        if rounded as i128 == value {
            return Ok(rounded);
        }
        Err(anyhow!(
            "{at}: expected whole numbers that f64 holds exactly (all are up to 2^53), found {value}"
        ))
    };
    values.iter().map(one).collect()
}

fn halves(data: &[u8], dtype: DType) -> Result<Vec<f64>> {
    let n = data.len() / dtype.size_in_bytes();
    let values = Tensor::from_raw_buffer(data, dtype, &[n], &Device::Cpu)?;
    Ok(values.to_dtype(DType::F64)?.to_vec1()?)
}
