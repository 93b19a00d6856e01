//! Tests of the ONNX files: a writer of bytes as odd as protobuf allows, and what several tests look at.

mod damage;
mod half;
mod new_model;
mod patching;
mod reading;

use super::*;

/// A file by the onnx package; `tests/reference/onnx_small.py` made it.
pub(super) const SMALL: &[u8] = include_bytes!("../../../../../tests/reference/onnx_small.onnx");

/// A message, field by field, with spellings that no program writes but every one must read.
#[derive(Clone, Debug, Default)]
pub(super) struct Proto(pub(super) Vec<u8>);

impl Proto {
    pub(super) fn int(mut self, number: u64, value: i64) -> Self {
        self.0.extend(varint(number << 3));
        self.0.extend(varint(value as u64));
        self
    }

    pub(super) fn bytes(mut self, number: u64, content: impl AsRef<[u8]>) -> Self {
        self.0.extend(varint(number << 3 | 2));
        self.0.extend(varint(content.as_ref().len() as u64));
        self.0.extend(content.as_ref());
        self
    }

    /// Key and length in more bytes than they need.
    pub(super) fn long(mut self, number: u64, content: impl AsRef<[u8]>) -> Self {
        self.0.extend(long(number << 3 | 2));
        self.0.extend(long(content.as_ref().len() as u64));
        self.0.extend(content.as_ref());
        self
    }

    pub(super) fn float(mut self, number: u64, value: f32) -> Self {
        self.0.extend(varint(number << 3 | 5));
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Fields of all four wire types that ONNX does not have.
    pub(super) fn unknown(mut self) -> Self {
        self.0.extend(varint(1000 << 3 | 1));
        self.0.extend([7; 8]);
        self.int(1001, -1).bytes(1002, "unknown").float(1003, f32::NAN)
    }
}

impl AsRef<[u8]> for Proto {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value > 127 {
        out.push(value as u8 | 128);
        value /= 128;
    }
    out.push(value as u8);
    out
}

/// A variable-length integer with a group too many.
pub(super) fn long(value: u64) -> Vec<u8> {
    let mut out = varint(value);
    if let Some(last) = out.last_mut() {
        *last |= 128;
    }
    out.push(0);
    out
}

pub(super) fn packed(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|&value| varint(value as u64)).collect()
}

fn raw(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// y = relu(x Uᵀ) with hidden values h, a Constant c and an unused initializer, spelled as oddly as can be.
pub(super) fn odd() -> Proto {
    let u = Proto::default()
        .bytes(9, raw(&[9.0; 6]))
        .bytes(8, "old name")
        .unknown()
        .long(8, "u")
        .bytes(1, packed(&[3]))
        .int(2, 10)
        .int(2, 1)
        .long(9, raw(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
        .bytes(12, "doc of u")
        .int(1, 2);
    let unused =
        Proto::default().int(1, 2).int(2, 7).bytes(8, "unused").int(7, -3).bytes(7, packed(&[4]));
    let alpha = Proto::default()
        .int(20, 1)
        .unknown()
        .float(2, 3.0)
        .bytes(13, "doc")
        .float(2, 1.0)
        .bytes(1, "alpha");
    let axes =
        Proto::default().bytes(1, "axes").int(8, 5).bytes(8, packed(&[6, -7])).int(8, 8).int(20, 7);
    let gemm = Proto::default()
        .bytes(5, alpha)
        .bytes(4, "Other")
        .bytes(2, "h")
        .unknown()
        .bytes(4, "Gemm")
        .bytes(1, "x")
        .long(5, axes)
        .bytes(1, "u")
        .bytes(6, "doc of gemm");
    let relu = Proto::default().long(1, "h").bytes(2, "y").bytes(4, "Relu").bytes(7, "ai.onnx");
    let value = Proto::default().bytes(4, raw(&[0.5])).unknown().float(4, 1.5).int(2, 1).int(1, 2);
    let value = Proto::default().bytes(1, "value").unknown().bytes(5, value).int(20, 4);
    let constant = Proto::default().bytes(4, "Constant").bytes(5, value).unknown().bytes(2, "c");
    let batch = Proto::default().bytes(2, "batch").bytes(3, "denotation");
    let two = Proto::default().int(1, 4).int(1, 2).unknown();
    let dims = Proto::default().bytes(1, batch).unknown().long(1, two);
    let tensor = Proto::default().bytes(2, &dims).int(1, 1).unknown();
    let x = Proto::default()
        .bytes(2, Proto::default().long(1, tensor).bytes(6, "denotation"))
        .unknown();
    let tensor = Proto::default().int(1, 1);
    let y = Proto::default().bytes(1, "y").bytes(2, Proto::default().bytes(1, tensor));
    let tensor = Proto::default()
        .int(1, 1)
        .bytes(2, Proto::default().bytes(1, "").bytes(1, Proto::default().int(1, 3)));
    let h = Proto::default()
        .bytes(1, "h")
        .bytes(2, Proto::default().bytes(1, tensor))
        .bytes(3, "doc of h");
    let graph = Proto::default()
        .bytes(13, h)
        .bytes(5, u)
        .bytes(12, y)
        .unknown()
        .bytes(1, constant)
        .long(1, gemm)
        .bytes(2, "graph")
        .bytes(11, x.bytes(1, "x"))
        .long(5, unused)
        .bytes(1, relu)
        .bytes(10, "doc of the graph");
    let entry = |key: &str, value: &str| Proto::default().bytes(2, value).bytes(1, key);
    Proto::default()
        .int(1, 3)
        .int(1, 8)
        .bytes(14, entry("a", "1").unknown())
        .bytes(14, entry("b", "2"))
        .long(7, graph)
        .bytes(2, "odd")
        .bytes(14, entry("a", "3"))
        .unknown()
        .bytes(8, Proto::default().int(2, 17))
        .bytes(8, Proto::default().bytes(1, "ai.onnx.ml").int(2, 3))
}

pub(super) fn parse(bytes: impl AsRef<[u8]>) -> Model {
    Model::parse(bytes.as_ref().to_vec()).unwrap()
}

pub(super) fn message(bytes: impl AsRef<[u8]>) -> String {
    Model::parse(bytes.as_ref().to_vec()).unwrap_err().to_string()
}

pub(super) fn tensor<'a>(model: &'a Model, name: &str) -> &'a TensorInfo {
    model.initializers().iter().find(|tensor| tensor.name == name).unwrap()
}

pub(super) fn f32s(model: &Model, name: &str) -> Vec<f32> {
    model.f32_values(tensor(model, name), &mut no_external).unwrap()
}

pub(super) fn i64s(model: &Model, name: &str) -> Vec<i64> {
    model.i64_values(tensor(model, name), &mut no_external).unwrap()
}

/// A model with these initializers and nothing else.
pub(super) fn holding(tensors: &[Proto]) -> Proto {
    let graph = tensors.iter().fold(Proto::default(), |graph, tensor| graph.bytes(5, tensor));
    Proto::default().int(1, 8).bytes(7, graph).bytes(8, Proto::default().int(2, 17))
}
