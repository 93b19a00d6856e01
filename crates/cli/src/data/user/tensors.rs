//! Examples in a safetensors file: `x` (m, n) or (m, …) and `y` (m,) or (m, k).

use anyhow::{Result, anyhow, bail};
use candle_core::{DType, Device, Tensor};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::columns::Purpose;
use super::options::Bytes;
use super::{Place, Read, Request, Targets};

/// The types that are read, for messages.
const TYPES: &str = "BOOL, U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32 or F64";

/// Features and targets of a file.
pub(super) fn read(file: &SafeTensors, request: &Request) -> Result<Read> {
    let view = named(file, "x", "features of shape (m, n)")?;
    let shape = view.shape().to_vec();
    let (m, n) = match shape[..] {
        [m, ref rest @ ..] if !rest.is_empty() => (m, rest.iter().product::<usize>()),
        _ => bail!("tensor `x`: expected shape (m, n), a row for each example, found {shape:?}"),
    };
    if m == 0 {
        bail!("tensor `x`: expected at least one row, found shape {shape:?}, which has none");
    }
    if n == 0 {
        bail!("tensor `x`: expected features, found shape {shape:?}, which has none");
    }
    let y = match (file.tensor("y"), request.purpose) {
        (Err(_), Purpose::Features | Purpose::Reference) => None,
        (Ok(_) | Err(_), _) => Some(targets(file, m)?),
    };
    let (x, assumed) = match view.dtype() {
        Dtype::U8 => bytes(&view, request.options.bytes, request.is_image)?,
        other => {
            request.check_no_bytes(&format!("{other:?}"))?;
            (features(&view, n)?, None)
        }
    };
    Ok(Read { x, y, place: Place::Rows, notices: assumed.into_iter().collect() })
}

fn targets(file: &SafeTensors, m: usize) -> Result<Targets> {
    let view = named(file, "y", "classes of shape (m,) or values of shape (m,) or (m, k)")?;
    let shape = view.shape();
    let k = match *shape {
        [rows] if rows == m => 1,
        [rows, k] if rows == m && k > 0 => k,
        _ => bail!(
            "tensor `y`: expected shape ({m},) or ({m}, k), as `x` has {m} rows, found {shape:?}"
        ),
    };
    let values = numbers("y", &view)?;
    check_finite("y", &values, k)?;
    Ok(Targets::Numbers { values, k })
}

fn features(view: &TensorView, n: usize) -> Result<Tensor> {
    let values = numbers("x", view)?;
    check_finite("x", &values, n)?;
    Ok(Tensor::from_vec(values, view.shape(), &Device::Cpu)?)
}

/// Bytes as they are for image intensities, which networks divide by 255, and as f64 for numbers.
fn bytes(
    view: &TensorView,
    told: Option<Bytes>,
    is_image: bool,
) -> Result<(Tensor, Option<String>)> {
    let shape = view.shape();
    let as_image = is_image || matches!(shape, [_, 1 | 3, _, _]);
    let meaning = match (told, as_image) {
        (Some(bytes), _) => bytes,
        (None, true) => Bytes::Intensities,
        (None, false) => Bytes::Numbers,
    };
    let x = Tensor::from_slice(view.data(), shape, &Device::Cpu)?;
    let (x, said) = match meaning {
        Bytes::Numbers => (
            x.to_dtype(DType::F64)?,
            "numbers as they stand; --bytes intensities divides them by 255",
        ),
        Bytes::Intensities => {
            (x, "image intensities and divided by 255; --bytes numbers takes them as they stand")
        }
    };
    let said = format!("the bytes (U8) in `x`, of shape {shape:?}, are taken as {said}");
    Ok((x, told.is_none().then_some(said)))
}

fn check_finite(name: &str, values: &[f64], n: usize) -> Result<()> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(at) => bail!(
            "tensor `{name}`, row {}, column {} (both from 0): expected a finite number, found {}",
            at / n,
            at % n,
            values[at]
        ),
        None => Ok(()),
    }
}

fn named<'a>(file: &SafeTensors<'a>, name: &str, wanted: &str) -> Result<TensorView<'a>> {
    file.tensor(name).map_err(|_| {
        let mut names = file.names();
        names.sort_unstable();
        anyhow!("expected a tensor `{name}`, {wanted}, found {names:?}")
    })
}

/// The numbers of a tensor in f64, which must hold each exactly.
fn numbers(name: &str, view: &TensorView) -> Result<Vec<f64>> {
    let data = view.data();
    Ok(match view.dtype() {
        Dtype::BOOL => data.iter().map(|&byte| f64::from(u8::from(byte != 0))).collect(),
        Dtype::U8 => each(data, |[byte]| f64::from(byte)),
        Dtype::I8 => each(data, |bytes| f64::from(i8::from_le_bytes(bytes))),
        Dtype::U16 => each(data, |bytes| f64::from(u16::from_le_bytes(bytes))),
        Dtype::I16 => each(data, |bytes| f64::from(i16::from_le_bytes(bytes))),
        Dtype::U32 => each(data, |bytes| f64::from(u32::from_le_bytes(bytes))),
        Dtype::I32 => each(data, |bytes| f64::from(i32::from_le_bytes(bytes))),
        Dtype::U64 => exact(name, &each(data, |bytes| i128::from(u64::from_le_bytes(bytes))))?,
        Dtype::I64 => exact(name, &each(data, |bytes| i128::from(i64::from_le_bytes(bytes))))?,
        Dtype::F32 => each(data, |bytes| f64::from(f32::from_le_bytes(bytes))),
        Dtype::F64 => each(data, f64::from_le_bytes),
        Dtype::F16 => halves(data, DType::F16)?,
        Dtype::BF16 => halves(data, DType::BF16)?,
        other => bail!("tensor `{name}`: expected {TYPES}, found {other:?}"),
    })
}

fn each<const N: usize, T>(data: &[u8], number: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (numbers, _) = data.as_chunks::<N>();
    numbers.iter().map(|&bytes| number(bytes)).collect()
}

fn exact(name: &str, values: &[i128]) -> Result<Vec<f64>> {
    let one = |&value: &i128| {
        let rounded = value as f64;
        if rounded as i128 == value {
            return Ok(rounded);
        }
        Err(anyhow!(
            "tensor `{name}`: expected whole numbers that f64 holds exactly (all are up to 2^53), found {value}"
        ))
    };
    values.iter().map(one).collect()
}

fn halves(data: &[u8], dtype: DType) -> Result<Vec<f64>> {
    let n = data.len() / dtype.size_in_bytes();
    let values = Tensor::from_raw_buffer(data, dtype, &[n], &Device::Cpu)?;
    Ok(values.to_dtype(DType::F64)?.to_vec1()?)
}
