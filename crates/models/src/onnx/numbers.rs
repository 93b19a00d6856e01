//! Numbers of tensors: out of the fields in which ONNX keeps them, and into raw bytes.

use super::DataType;
use super::error::{Error, Result};
use super::external::ReadExternal;
use super::half::{bf16_to_f32, f16_to_f32, f32_to_bf16, f32_to_f16};
use super::tensor::{Content, TensorInfo, fields, n_elements};
use super::wire::{Field, Message, Span};

/// Numbers that are to be stored in a tensor, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// For tensors of floating-point numbers; rounded to the nearest number of the tensor's type, even at ties.
    F32(Vec<f32>),
    /// For tensors of integers and booleans, whose types must hold them.
    I64(Vec<i64>),
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I64(values) => values.len(),
        }
    }
}

/// The numbers of a floating-point tensor as f32.
pub(super) fn f32_values(
    bytes: &[u8],
    tensor: &TensorInfo,
    external: &mut ReadExternal<'_>,
) -> Result<Vec<f32>> {
    let data_type = tensor.data_type;
    if !data_type.is_float() {
        return Err(wrong_type(tensor, "floating-point numbers"));
    }
    if let Some(raw) = raw(bytes, tensor, external)? {
        let raw = raw.as_ref();
        return Ok(match data_type {
            DataType::F32 => chunks(raw).map(f32::from_le_bytes).collect(),
            DataType::F64 => chunks(raw).map(|b| f64::from_le_bytes(b) as f32).collect(),
            DataType::F16 => chunks(raw).map(|b| f16_to_f32(u16::from_le_bytes(b))).collect(),
            _ => chunks(raw).map(|b| bf16_to_f32(u16::from_le_bytes(b))).collect(),
        });
    }
    let mut values = typed_capacity(bytes, tensor)?;
    each_typed(bytes, tensor, |field| match data_type {
        DataType::F32 => field.each_float(bytes, |value| {
            values.push(value);
            Ok(())
        }),
        DataType::F64 => field.each_double(bytes, |value| {
            values.push(value as f32);
            Ok(())
        }),
        // Half precision is stored as its bits, in integers.
        _ => field.each_int(bytes, |bits| {
            let bits = u16::try_from(bits)
                .map_err(|_| field.malformed("a 16-bit number has more than 16 bits"))?;
            values.push(if data_type == DataType::F16 {
                f16_to_f32(bits)
            } else {
                bf16_to_f32(bits)
            });
            Ok(())
        }),
    })?;
    Ok(values)
}

/// The numbers of an integer or boolean tensor.
pub(super) fn i64_values(
    bytes: &[u8],
    tensor: &TensorInfo,
    external: &mut ReadExternal<'_>,
) -> Result<Vec<i64>> {
    let data_type = tensor.data_type;
    let Some((least, largest)) = data_type.range() else {
        return Err(wrong_type(tensor, "integers"));
    };
    let checked = |index: usize, value: i128| {
        let value = Some(value).filter(|value| (least..=largest).contains(value)).ok_or(value);
        let value = value.and_then(|value| i64::try_from(value).map_err(|_| value));
        let name = || tensor.name.as_str().into();
        value.map_err(|value| Error::OutOfRange { tensor: name(), index, value, data_type })
    };
    if let Some(raw) = raw(bytes, tensor, external)? {
        let raw = raw.as_ref();
        return match data_type {
            DataType::I8 => Ok(raw.iter().map(|&b| i64::from(b.cast_signed())).collect()),
            DataType::U8 => Ok(raw.iter().map(|&b| i64::from(b)).collect()),
            // Any other byte than 0 is true, as in C.
            DataType::Bool => Ok(raw.iter().map(|&b| i64::from(b != 0)).collect()),
            DataType::I16 => Ok(chunks(raw).map(|b| i64::from(i16::from_le_bytes(b))).collect()),
            DataType::U16 => Ok(chunks(raw).map(|b| i64::from(u16::from_le_bytes(b))).collect()),
            DataType::I32 => Ok(chunks(raw).map(|b| i64::from(i32::from_le_bytes(b))).collect()),
            DataType::U32 => Ok(chunks(raw).map(|b| i64::from(u32::from_le_bytes(b))).collect()),
            DataType::I64 => Ok(chunks(raw).map(i64::from_le_bytes).collect()),
            _ => {
                let numbers = chunks(raw).map(u64::from_le_bytes).enumerate();
                numbers.map(|(i, value)| checked(i, value.into())).collect()
            }
        };
    }
    let mut values = typed_capacity(bytes, tensor)?;
    let is_unsigned = data_type == DataType::U64;
    each_typed(bytes, tensor, |field| {
        field.each_int(bytes, |bits| {
            let value = if is_unsigned { i128::from(bits) } else { i128::from(bits.cast_signed()) };
            values.push(checked(values.len(), value)?);
            Ok(())
        })
    })?;
    Ok(values)
}

/// The texts of a tensor of strings.
pub(super) fn string_values(bytes: &[u8], tensor: &TensorInfo) -> Result<Vec<String>> {
    if tensor.data_type != DataType::String {
        return Err(wrong_type(tensor, "strings"));
    }
    let expected = tensor.n_elements()?;
    let mut values = Vec::new();
    each_typed(bytes, tensor, |field| {
        let text = std::str::from_utf8(field.bytes()?.of(bytes));
        values.push(text.map_err(|_| field.malformed("a string is not UTF-8"))?.to_owned());
        Ok(())
    })?;
    if values.len() != expected {
        return Err(wrong_size(tensor, "strings", expected, values.len() as u64));
    }
    Ok(values)
}

/// Little-endian bytes of the numbers in this type.
pub(super) fn to_raw(
    name: &str,
    dims: &[usize],
    data_type: DataType,
    values: &Values,
) -> Result<Vec<u8>> {
    let (tensor, expected) = (name.into(), n_elements(name, dims)?);
    if values.len() != expected {
        let found = values.len() as u64;
        return Err(Error::Size { tensor, dims: dims.into(), unit: "numbers", expected, found });
    }
    match values {
        Values::F32(values) => Ok(match data_type {
            DataType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            DataType::F64 => values.iter().flat_map(|&v| f64::from(v).to_le_bytes()).collect(),
            DataType::F16 => values.iter().flat_map(|&v| f32_to_f16(v).to_le_bytes()).collect(),
            DataType::BF16 => values.iter().flat_map(|&v| f32_to_bf16(v).to_le_bytes()).collect(),
            found => {
                let expected = "a type for floating-point numbers";
                return Err(Error::DataType { tensor, expected, found });
            }
        }),
        Values::I64(values) => {
            let (Some((least, largest)), Some(size)) = (data_type.range(), data_type.size()) else {
                let (expected, found) = ("a type for integers", data_type);
                return Err(Error::DataType { tensor, expected, found });
            };
            let mut raw = Vec::with_capacity(values.len() * size);
            for (index, &value) in values.iter().enumerate() {
                if !(least..=largest).contains(&i128::from(value)) {
                    let value = value.into();
                    return Err(Error::OutOfRange { tensor, index, value, data_type });
                }
                raw.extend(value.to_le_bytes().iter().take(size));
            }
            Ok(raw)
        }
    }
}

/// Bytes that are borrowed from the file or were read from another one.
enum Raw<'a> {
    File(&'a [u8]),
    External(Vec<u8>),
}

impl AsRef<[u8]> for Raw<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::File(bytes) => bytes,
            Self::External(bytes) => bytes,
        }
    }
}

/// Raw bytes of a tensor of numbers, as many as its dims need; nothing where they lie in typed fields.
fn raw<'a>(
    bytes: &'a [u8],
    tensor: &'a TensorInfo,
    external: &mut ReadExternal<'_>,
) -> Result<Option<Raw<'a>>> {
    // `n_elements` has left room for eight bytes a number.
    let expected = tensor.n_elements()? * tensor.data_type.size().unwrap_or(1);
    let found = match (&tensor.content, &tensor.external) {
        (Content::Raw(raw), _) => Raw::File(raw),
        (Content::File(_), Some(place)) => {
            if let Some(found) = place.length.filter(|&length| length != expected as u64) {
                return Err(wrong_size(tensor, "bytes", expected, found));
            }
            let (tensor, location) = (tensor.name.as_str().into(), place.location.as_str());
            let read = external(location, place.offset, expected).map_err(|source| {
                let (location, offset) = (location.into(), place.offset);
                Error::External { tensor, location, offset, expected, source }
            })?;
            Raw::External(read)
        }
        (Content::File(span), None) => match raw_field(bytes, tensor, *span)? {
            Some(raw) => Raw::File(raw),
            None => return Ok(None),
        },
    };
    let n_found = found.as_ref().len();
    if n_found != expected {
        return Err(wrong_size(tensor, "bytes", expected, n_found as u64));
    }
    Ok(Some(found))
}

/// The field `raw_data` of a tensor in the file.
fn raw_field<'a>(bytes: &'a [u8], tensor: &TensorInfo, span: Span) -> Result<Option<&'a [u8]>> {
    let wrong = |reason| Err(Error::Tensor { tensor: tensor.name.as_str().into(), reason });
    let (mut raw, mut is_typed) = (None, false);
    let mut message = Message::new(bytes, span, "TensorProto");
    while let Some(field) = message.field()? {
        match field.number {
            fields::RAW_DATA => raw = Some(field.bytes()?.of(bytes)),
            fields::SEGMENT => return wrong("it is a segment of a tensor, which is not supported"),
            number if fields::is_typed_data(number) => is_typed |= !field.is_empty(),
            _ => {}
        }
    }
    // Of an empty tensor some write an empty `raw_data`, some nothing.
    if is_typed && raw.is_some_and(|raw| !raw.is_empty()) {
        return wrong("it has numbers in raw_data and in a typed field; expected one of the two");
    }
    Ok(if is_typed { None } else { raw })
}

/// The field that holds numbers of this type where they are not raw.
fn typed_field(data_type: DataType) -> u32 {
    match data_type {
        DataType::F32 => fields::FLOAT_DATA,
        DataType::F64 => fields::DOUBLE_DATA,
        DataType::I64 => fields::INT64_DATA,
        DataType::U32 | DataType::U64 => fields::UINT64_DATA,
        DataType::String => fields::STRING_DATA,
        DataType::F16 | DataType::BF16 | DataType::Bool => fields::INT32_DATA,
        DataType::I8 | DataType::I16 | DataType::I32 => fields::INT32_DATA,
        DataType::U8 | DataType::U16 | DataType::Other(_) => fields::INT32_DATA,
    }
}

/// Calls `each` with the fields that hold the numbers of a tensor in the file.
fn each_typed(
    bytes: &[u8],
    tensor: &TensorInfo,
    mut each: impl FnMut(&Field) -> Result<()>,
) -> Result<()> {
    let Content::File(span) = tensor.content else { return Ok(()) };
    let wanted = typed_field(tensor.data_type);
    let mut message = Message::new(bytes, span, "TensorProto");
    while let Some(field) = message.field()? {
        if field.number == wanted {
            each(&field)?;
        }
    }
    Ok(())
}

/// Room for the numbers in typed fields, once it is known that they are there.
fn typed_capacity<T>(bytes: &[u8], tensor: &TensorInfo) -> Result<Vec<T>> {
    let mut found = 0;
    let mut one = || {
        found += 1;
        Ok(())
    };
    each_typed(bytes, tensor, |field| match tensor.data_type {
        DataType::F32 => field.each_float(bytes, |_| one()),
        DataType::F64 => field.each_double(bytes, |_| one()),
        _ => field.each_int(bytes, |_| one()),
    })?;
    let expected = tensor.n_elements()?;
    if found != expected {
        return Err(wrong_size(tensor, "numbers", expected, found as u64));
    }
    Ok(Vec::with_capacity(found))
}

fn chunks<const N: usize>(raw: &[u8]) -> impl Iterator<Item = [u8; N]> {
    raw.as_chunks().0.iter().copied()
}

fn wrong_type(tensor: &TensorInfo, expected: &'static str) -> Error {
    Error::DataType { tensor: tensor.name.as_str().into(), expected, found: tensor.data_type }
}

fn wrong_size(tensor: &TensorInfo, unit: &'static str, expected: usize, found: u64) -> Error {
    let (name, dims) = (tensor.name.as_str().into(), tensor.dims.as_slice().into());
    Error::Size { tensor: name, dims, unit, expected, found }
}
