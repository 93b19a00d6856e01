//! Types of numbers in ONNX tensors.

use std::fmt;

/// Type of the numbers of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataType {
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
    /// 16-bit floating point: 5 bits of exponent, 10 of mantissa.
    F16,
    /// 16-bit floating point: 8 bits of exponent, 7 of mantissa.
    BF16,
    /// 8-bit signed integer.
    I8,
    /// 16-bit signed integer.
    I16,
    /// 32-bit signed integer.
    I32,
    /// 64-bit signed integer.
    I64,
    /// 8-bit unsigned integer.
    U8,
    /// 16-bit unsigned integer.
    U16,
    /// 32-bit unsigned integer.
    U32,
    /// 64-bit unsigned integer.
    U64,
    /// One byte, 0 or 1.
    Bool,
    /// Texts.
    String,
    /// A type that is not read here, by its number in `onnx.proto`: complex numbers, numbers of 8 bits or fewer, or none.
    Other(i32),
}

/// Number in `onnx.proto`, type, bytes of a number, name there.
const TYPES: [(i32, DataType, Option<usize>, &str); 14] = [
    (1, DataType::F32, Some(4), "FLOAT"),
    (2, DataType::U8, Some(1), "UINT8"),
    (3, DataType::I8, Some(1), "INT8"),
    (4, DataType::U16, Some(2), "UINT16"),
    (5, DataType::I16, Some(2), "INT16"),
    (6, DataType::I32, Some(4), "INT32"),
    (7, DataType::I64, Some(8), "INT64"),
    (8, DataType::String, None, "STRING"),
    (9, DataType::Bool, Some(1), "BOOL"),
    (10, DataType::F16, Some(2), "FLOAT16"),
    (11, DataType::F64, Some(8), "DOUBLE"),
    (12, DataType::U32, Some(4), "UINT32"),
    (13, DataType::U64, Some(8), "UINT64"),
    (16, DataType::BF16, Some(2), "BFLOAT16"),
];

impl DataType {
    /// The type with this number in `onnx.proto`.
    pub fn from_number(number: i32) -> Self {
        TYPES.iter().find(|row| row.0 == number).map_or(Self::Other(number), |row| row.1)
    }

    /// Its number in `onnx.proto`.
    pub fn number(self) -> i32 {
        match self {
            Self::Other(number) => number,
            known => TYPES.iter().find(|row| row.1 == known).map_or(0, |row| row.0),
        }
    }

    /// Bytes of a number in raw data, for the types that are read here.
    pub fn size(self) -> Option<usize> {
        TYPES.iter().find(|row| row.1 == self).and_then(|row| row.2)
    }

    /// Whether the numbers are floating point, which [`super::Model::f32_values`] reads.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16)
    }

    /// Whether the numbers are integers or booleans, which [`super::Model::i64_values`] reads.
    pub fn is_integer(self) -> bool {
        self.size().is_some() && !self.is_float()
    }

    /// Least and largest number of an integer type.
    pub(super) fn range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::I8 => (i8::MIN.into(), i8::MAX.into()),
            Self::I16 => (i16::MIN.into(), i16::MAX.into()),
            Self::I32 => (i32::MIN.into(), i32::MAX.into()),
            Self::I64 => (i64::MIN.into(), i64::MAX.into()),
            Self::U8 => (0, u8::MAX.into()),
            Self::U16 => (0, u16::MAX.into()),
            Self::U32 => (0, u32::MAX.into()),
            Self::U64 => (0, u64::MAX.into()),
            Self::Bool => (0, 1),
            Self::F32 | Self::F64 | Self::F16 | Self::BF16 => return None,
            Self::String | Self::Other(_) => return None,
        })
    }
}

impl fmt::Display for DataType {
    /// The name in `onnx.proto`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self, TYPES.iter().find(|row| row.1 == *self)) {
            (_, Some(row)) => f.write_str(row.3),
            (Self::Other(0), None) => f.write_str("an undefined data type"),
            (other, None) => write!(f, "data type {}", other.number()),
        }
    }
}
