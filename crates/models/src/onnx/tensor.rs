//! Tensors of an ONNX file: names, dims and where the numbers lie.

use super::error::{Error, Result};
use super::external::{self, ExternalData};
use super::numbers;
use super::reader::Reader;
use super::wire::{Span, put_bytes, put_int};
use super::{DataType, Values};

/// A tensor: an initializer, or the value of an attribute.
///
/// One that was read knows where its numbers lie in the file and belongs to its [`super::Model`], which reads them; one
/// that [`TensorInfo::new`] made carries its own.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// Its name; attributes' tensors often have none.
    pub name: String,
    /// Its dims; none of a scalar.
    pub dims: Vec<usize>,
    /// Type of its numbers.
    pub data_type: DataType,
    /// Where the numbers lie, if not in the ONNX file.
    pub external: Option<ExternalData>,
    pub(super) content: Content,
}

/// What holds the numbers.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Content {
    /// The message in the file.
    File(Span),
    /// Little-endian numbers in row-major order.
    Raw(Vec<u8>),
}

/// Fields of `TensorProto`.
pub(super) mod fields {
    pub(in super::super) const DIMS: u32 = 1;
    pub(in super::super) const DATA_TYPE: u32 = 2;
    pub(in super::super) const SEGMENT: u32 = 3;
    pub(in super::super) const FLOAT_DATA: u32 = 4;
    pub(in super::super) const INT32_DATA: u32 = 5;
    pub(in super::super) const STRING_DATA: u32 = 6;
    pub(in super::super) const INT64_DATA: u32 = 7;
    pub(in super::super) const NAME: u32 = 8;
    pub(in super::super) const RAW_DATA: u32 = 9;
    pub(in super::super) const DOUBLE_DATA: u32 = 10;
    pub(in super::super) const UINT64_DATA: u32 = 11;
    pub(in super::super) const EXTERNAL_DATA: u32 = 13;
    pub(in super::super) const DATA_LOCATION: u32 = 14;

    /// Whether a field holds numbers that are not raw.
    pub(in super::super) fn is_typed_data(number: u32) -> bool {
        [FLOAT_DATA, INT32_DATA, STRING_DATA, INT64_DATA, DOUBLE_DATA, UINT64_DATA]
            .contains(&number)
    }
}

impl TensorInfo {
    /// A new tensor with these numbers in row-major order, stored as `data_type`.
    ///
    /// # Errors
    ///
    /// The dims do not hold so many numbers, or the type does not hold these.
    pub fn new(name: &str, dims: Vec<usize>, data_type: DataType, values: &Values) -> Result<Self> {
        let raw = numbers::to_raw(name, &dims, data_type, values)?;
        let name = name.to_owned();
        Ok(Self { name, dims, data_type, external: None, content: Content::Raw(raw) })
    }

    /// Number of its numbers: the product of its dims.
    ///
    /// # Errors
    ///
    /// The product has no place in memory.
    pub fn n_elements(&self) -> Result<usize> {
        n_elements(&self.name, &self.dims)
    }

    /// The content of `TensorProto`.
    pub(super) fn parse(reader: &mut Reader<'_>, span: Span) -> Result<Self> {
        let mut tensor = Self {
            name: String::new(),
            dims: Vec::new(),
            data_type: DataType::Other(0),
            external: None,
            content: Content::File(span),
        };
        let mut dims = Vec::new();
        let (mut entries, mut is_external) = (Vec::new(), false);
        let mut message = reader.message(span, "TensorProto");
        while let Some(field) = message.field()? {
            match field.number {
                fields::DIMS => reader.ints(&field, &mut dims)?,
                fields::DATA_TYPE => {
                    // An enumeration has 32 bits.
                    tensor.data_type = DataType::from_number(field.int()? as i32);
                }
                fields::NAME => tensor.name = reader.string(&field)?,
                fields::EXTERNAL_DATA => {
                    reader.count::<Span>()?;
                    entries.push(field.bytes()?);
                }
                fields::DATA_LOCATION => is_external = field.int()? == 1,
                _ => {}
            }
        }
        for (axis, &value) in dims.iter().enumerate() {
            let wrong = || Error::Dimension { tensor: tensor.name.as_str().into(), axis, value };
            reader.count::<usize>()?;
            tensor.dims.push(usize::try_from(value).map_err(|_| wrong())?);
        }
        tensor.n_elements()?;
        if is_external {
            tensor.external = Some(external::parse(reader, &tensor.name, &entries)?);
        }
        Ok(tensor)
    }

    /// The content of a `TensorProto` with this tensor; `bytes` are the file's that it was read from.
    pub(super) fn encode(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let wrong = |reason| Error::Tensor { tensor: self.name.as_str().into(), reason };
        match &self.content {
            Content::File(span) => {
                let found = Self::parse(&mut Reader::new(bytes), *span);
                if !found.is_ok_and(|found| found == *self) {
                    return Err(wrong("it was read from another file, or changed since"));
                }
                Ok(span.of(bytes).to_vec())
            }
            Content::Raw(raw) => {
                let size = self.data_type.size().unwrap_or(0);
                if self.n_elements()?.checked_mul(size) != Some(raw.len()) {
                    return Err(wrong("dims or type were changed after it was made"));
                }
                let mut out = Vec::with_capacity(raw.len() + self.name.len() + 64);
                put_dims(&mut out, &self.dims);
                put_int(&mut out, fields::DATA_TYPE, self.data_type.number().into());
                put_bytes(&mut out, fields::NAME, self.name.as_bytes());
                put_bytes(&mut out, fields::RAW_DATA, raw);
                Ok(out)
            }
        }
    }
}

/// Appends the dims, one field each, as `onnx.proto` has them.
pub(super) fn put_dims(out: &mut Vec<u8>, dims: &[usize]) {
    for &dim in dims {
        put_int(out, fields::DIMS, dim as i64);
    }
}

/// The product of dims, which in bytes stays below 2^63.
pub(super) fn n_elements(tensor: &str, dims: &[usize]) -> Result<usize> {
    /// No number has more bytes.
    const LARGEST: usize = 8;
    let mut product = LARGEST;
    for (axis, &dim) in dims.iter().enumerate() {
        // A dimension of 0 does not excuse another one without bounds.
        let value = i64::try_from(dim).unwrap_or(i64::MAX);
        let grown = product.checked_mul(dim.max(1)).filter(|&n| i64::try_from(n).is_ok());
        product = grown.ok_or_else(|| Error::Dimension { tensor: tensor.into(), axis, value })?;
    }
    Ok(if dims.contains(&0) { 0 } else { product / LARGEST })
}
