//! Inputs, outputs and intermediate values of an ONNX graph, with the types and shapes that the file declares.

use super::DataType;
use super::error::Result;
use super::reader::Reader;
use super::wire::{Span, put_bytes, put_int};

/// A value of the graph, as the file declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// What it is.
    pub value_type: ValueType,
}

/// Type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// The file does not say.
    Undeclared,
    /// A tensor.
    Tensor {
        /// Type of its numbers.
        data_type: DataType,
        /// Its dims, where the file says them.
        dims: Option<Vec<Dimension>>,
    },
    /// No tensor: "sequence", "map", "optional", "sparse tensor" or "opaque".
    Other(&'static str),
}

/// One dimension of a declared shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// A number.
    Known(usize),
    /// A name, which stands for the same number wherever it occurs.
    Named(String),
    /// Neither.
    Unknown,
}

/// Fields of `ValueInfoProto`, `TypeProto`, `TypeProto.Tensor`, `TensorShapeProto` and its `Dimension`.
pub(super) mod fields {
    pub(in super::super) const NAME: u32 = 1;
    pub(in super::super) const TYPE: u32 = 2;
    pub(in super::super) const TENSOR_TYPE: u32 = 1;
    pub(in super::super) const ELEM_TYPE: u32 = 1;
    pub(in super::super) const SHAPE: u32 = 2;
    pub(in super::super) const DIM: u32 = 1;
    pub(in super::super) const DIM_VALUE: u32 = 1;
    pub(in super::super) const DIM_PARAM: u32 = 2;
}

impl ValueInfo {
    /// A tensor of this type and shape.
    pub fn tensor(name: &str, data_type: DataType, dims: Vec<Dimension>) -> Self {
        let value_type = ValueType::Tensor { data_type, dims: Some(dims) };
        Self { name: name.to_owned(), value_type }
    }

    /// Its dims, if it is a tensor whose dims the file says.
    pub fn dims(&self) -> Option<&[Dimension]> {
        match &self.value_type {
            ValueType::Tensor { dims, .. } => dims.as_deref(),
            ValueType::Undeclared | ValueType::Other(_) => None,
        }
    }

    /// Type of its numbers, if it is a tensor.
    pub fn data_type(&self) -> Option<DataType> {
        match &self.value_type {
            ValueType::Tensor { data_type, .. } => Some(*data_type),
            ValueType::Undeclared | ValueType::Other(_) => None,
        }
    }

    /// The content of `ValueInfoProto`.
    pub(super) fn parse(reader: &mut Reader<'_>, span: Span) -> Result<Self> {
        let (mut name, mut type_proto) = (String::new(), None);
        let mut message = reader.message(span, "ValueInfoProto");
        while let Some(field) = message.field()? {
            match field.number {
                fields::NAME => name = reader.string(&field)?,
                fields::TYPE => field.once(&mut type_proto)?,
                _ => {}
            }
        }
        let value_type = match type_proto {
            Some(span) => parse_type(reader, span)?,
            None => ValueType::Undeclared,
        };
        Ok(Self { name, value_type })
    }

    /// The content of a `ValueInfoProto`; of what is no tensor, the name alone.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, fields::NAME, self.name.as_bytes());
        if let ValueType::Tensor { data_type, dims } = &self.value_type {
            let mut tensor = Vec::new();
            put_int(&mut tensor, fields::ELEM_TYPE, data_type.number().into());
            if let Some(dims) = dims {
                put_bytes(&mut tensor, fields::SHAPE, &put_shape(dims));
            }
            let mut type_proto = Vec::new();
            put_bytes(&mut type_proto, fields::TENSOR_TYPE, &tensor);
            put_bytes(&mut out, fields::TYPE, &type_proto);
        }
        out
    }
}

fn parse_type(reader: &mut Reader<'_>, span: Span) -> Result<ValueType> {
    let (mut tensor, mut value_type) = (None, ValueType::Undeclared);
    let mut message = reader.message(span, "TypeProto");
    while let Some(field) = message.field()? {
        let other = match field.number {
            fields::TENSOR_TYPE => {
                field.once(&mut tensor)?;
                value_type = parse_tensor_type(reader, field.bytes()?)?;
                continue;
            }
            4 => "sequence",
            5 => "map",
            7 => "opaque",
            8 => "sparse tensor",
            9 => "optional",
            _ => continue,
        };
        // One of these holds; the last one in the file counts.
        value_type = ValueType::Other(other);
    }
    Ok(value_type)
}

fn parse_tensor_type(reader: &mut Reader<'_>, span: Span) -> Result<ValueType> {
    let (mut data_type, mut shape) = (DataType::Other(0), None);
    let mut message = reader.message(span, "TypeProto.Tensor");
    while let Some(field) = message.field()? {
        match field.number {
            fields::ELEM_TYPE => data_type = DataType::from_number(field.int()? as i32),
            fields::SHAPE => field.once(&mut shape)?,
            _ => {}
        }
    }
    let dims = shape.map(|span| parse_shape(reader, span)).transpose()?;
    Ok(ValueType::Tensor { data_type, dims })
}

pub(super) fn parse_shape(reader: &mut Reader<'_>, span: Span) -> Result<Vec<Dimension>> {
    let mut dims = Vec::new();
    let mut message = reader.message(span, "TensorShapeProto");
    while let Some(field) = message.field()? {
        if field.number == fields::DIM {
            reader.count::<Dimension>()?;
            dims.push(Dimension::parse(reader, field.bytes()?)?);
        }
    }
    Ok(dims)
}

/// Fields of a `TensorShapeProto` with these dims.
pub(super) fn put_shape(dims: &[Dimension]) -> Vec<u8> {
    let mut out = Vec::new();
    dims.iter().for_each(|dim| put_bytes(&mut out, fields::DIM, &dim.encode()));
    out
}

impl Dimension {
    fn parse(reader: &mut Reader<'_>, span: Span) -> Result<Self> {
        let mut dimension = Self::Unknown;
        let mut message = reader.message(span, "TensorShapeProto.Dimension");
        while let Some(field) = message.field()? {
            // One of the two holds; the last one in the file counts. Some exporters write -1 for an unknown number.
            match field.number {
                fields::DIM_VALUE => {
                    dimension = usize::try_from(field.int()?).map_or(Self::Unknown, Self::Known);
                }
                fields::DIM_PARAM if field.is_empty() => dimension = Self::Unknown,
                fields::DIM_PARAM => dimension = Self::Named(reader.string(&field)?),
                _ => {}
            }
        }
        Ok(dimension)
    }

    /// The content of a `TensorShapeProto.Dimension`.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Known(n) => put_int(&mut out, fields::DIM_VALUE, *n as i64),
            Self::Named(name) => put_bytes(&mut out, fields::DIM_PARAM, name.as_bytes()),
            Self::Unknown => {}
        }
        out
    }
}
