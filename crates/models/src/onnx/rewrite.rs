//! Changed messages of a file: the fields that change, in the place of the old ones; all others as they are.

use super::error::Result;
use super::node::{self, Attribute, Node};
use super::reader::Reader;
use super::rope::Rope;
use super::tensor::{fields as tensor_fields, put_dims};
use super::value::{Dimension, fields as value_fields, parse_shape, put_shape};
use super::wire::{Field, Span, put_bytes};

/// Passes the fields of a message to `each`, which says whether it has taken care of one; copies the others.
pub(super) fn rewrite(
    reader: &Reader<'_>,
    span: Span,
    name: &'static str,
    rope: &mut Rope,
    mut each: impl FnMut(&mut Rope, &Field) -> Result<bool>,
) -> Result<()> {
    let mut message = reader.message(span, name);
    while let Some(field) = message.field()? {
        if !each(rope, &field)? {
            rope.copy(field.span);
        }
    }
    Ok(())
}

/// A `TensorProto` with other dims and numbers; everything else stays, but for the place of the old numbers.
pub(super) fn tensor(reader: &Reader<'_>, span: Span, dims: &[usize], raw: &[u8]) -> Result<Rope> {
    let mut rope = Rope::default();
    let (mut new_dims, mut new_raw) = (Vec::new(), Vec::new());
    put_dims(&mut new_dims, dims);
    put_bytes(&mut new_raw, tensor_fields::RAW_DATA, raw);
    let (mut new_dims, mut new_raw) = (Some(new_dims), Some(new_raw));
    rewrite(reader, span, "TensorProto", &mut rope, |rope, field| {
        use tensor_fields::{DATA_LOCATION, DIMS, EXTERNAL_DATA, RAW_DATA, SEGMENT, is_typed_data};
        let new = match field.number {
            DIMS => &mut new_dims,
            RAW_DATA | SEGMENT | EXTERNAL_DATA | DATA_LOCATION => &mut new_raw,
            number if is_typed_data(number) => &mut new_raw,
            _ => return Ok(false),
        };
        new.take().into_iter().for_each(|new| rope.write(new));
        Ok(true)
    })?;
    new_dims.into_iter().chain(new_raw).for_each(|new| rope.write(new));
    Ok(rope)
}

/// A `NodeProto` with other inputs and outputs, and some attributes replaced or added.
pub(super) fn node(
    reader: &Reader<'_>,
    span: Span,
    old: &Node,
    [inputs, outputs]: [&[String]; 2],
    attributes: &[(String, Attribute)],
) -> Result<Rope> {
    let mut rope = Rope::default();
    // New names where they are others.
    let changed = |number, old, new| (number, (old != new).then(|| put_names(number, new)));
    let mut names = [
        changed(node::fields::INPUT, old.inputs.as_slice(), inputs),
        changed(node::fields::OUTPUT, old.outputs.as_slice(), outputs),
    ];
    let is_changed = names.each_ref().map(|(_, new)| new.is_some());
    let (mut index, bytes) = (0, reader.bytes);
    rewrite(reader, span, "NodeProto", &mut rope, |rope, field| {
        if field.number == node::fields::ATTRIBUTE {
            let Some((name, value)) = old.attributes.get(index) else { return Ok(false) };
            index += 1;
            let new = attributes.iter().find(|(new, _)| new == name).map(|(_, new)| new);
            let Some(new) = new.filter(|&new| new != value) else { return Ok(false) };
            let content = field.bytes()?;
            let mut put = Vec::new();
            new.put(&mut put, bytes, || node::not_writable(name, old.label()))?;
            rope.nest(field.span, field.key, content, attribute(reader, content, put)?);
            return Ok(true);
        }
        let found = names.iter_mut().zip(is_changed).find(|((n, _), _)| *n == field.number);
        let Some(((_, new), true)) = found else { return Ok(false) };
        new.take().into_iter().for_each(|new| rope.write(new));
        Ok(true)
    })?;
    // Where the node had none of them.
    names.into_iter().filter_map(|(_, new)| new).for_each(|new| rope.write(new));
    let added = attributes.iter().filter(|(name, _)| old.attribute(name).is_none());
    for (name, value) in added {
        rope.write(node::new_attribute(name, value, bytes, &old.label())?);
    }
    Ok(rope)
}

fn put_names(number: u32, names: &[String]) -> Vec<u8> {
    let mut out = Vec::new();
    names.iter().for_each(|name| put_bytes(&mut out, number, name.as_bytes()));
    out
}

/// An `AttributeProto` with these fields in the place of value and type.
fn attribute(reader: &Reader<'_>, span: Span, value: Vec<u8>) -> Result<Rope> {
    let (mut rope, mut value) = (Rope::default(), Some(value));
    rewrite(reader, span, "AttributeProto", &mut rope, |rope, field| {
        if !node::is_value(field.number) {
            return Ok(false);
        }
        value.take().into_iter().for_each(|value| rope.write(value));
        Ok(true)
    })?;
    value.into_iter().for_each(|value| rope.write(value));
    Ok(rope)
}

/// A `NodeProto` of a Constant with other numbers in its attribute `value`.
pub(super) fn constant(
    reader: &Reader<'_>,
    span: Span,
    old: &Node,
    dims: &[usize],
    raw: &[u8],
) -> Result<Rope> {
    let (mut rope, mut index) = (Rope::default(), 0);
    rewrite(reader, span, "NodeProto", &mut rope, |rope, field| {
        if field.number != node::fields::ATTRIBUTE {
            return Ok(false);
        }
        index += 1;
        let name = old.attributes.get(index - 1).map_or("", |(name, _)| name.as_str());
        let floats = || raw.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes));
        let listed = match name {
            "value" => None,
            "value_floats" => Some(Attribute::Floats(floats().collect())),
            "value_float" => floats().next().map(Attribute::Float),
            _ => return Ok(false),
        };
        if let Some(new) = listed {
            let (content, mut put) = (field.bytes()?, Vec::new());
            new.put(&mut put, reader.bytes, || node::not_writable(name, old.label()))?;
            rope.nest(field.span, field.key, content, attribute(reader, content, put)?);
            return Ok(true);
        }
        let (content, mut inner) = (field.bytes()?, Rope::default());
        rewrite(reader, content, "AttributeProto", &mut inner, |inner, field| {
            if field.number != node::TENSOR_FIELD {
                return Ok(false);
            }
            let old = field.bytes()?;
            inner.nest(field.span, field.key, old, tensor(reader, old, dims, raw)?);
            Ok(true)
        })?;
        rope.nest(field.span, field.key, content, inner);
        Ok(true)
    })?;
    Ok(rope)
}

/// A `ValueInfoProto` with another shape; `None` where the value has no tensor type that could have one.
pub(super) fn value(reader: &Reader<'_>, span: Span, dims: &[Dimension]) -> Result<Option<Rope>> {
    let (mut rope, mut is_tensor) = (Rope::default(), false);
    rewrite(reader, span, "ValueInfoProto", &mut rope, |rope, field| {
        if field.number != value_fields::TYPE {
            return Ok(false);
        }
        let (content, mut inner) = (field.bytes()?, Rope::default());
        rewrite(reader, content, "TypeProto", &mut inner, |inner, field| {
            if field.number != value_fields::TENSOR_TYPE {
                return Ok(false);
            }
            is_tensor = true;
            let old = field.bytes()?;
            inner.nest(field.span, field.key, old, tensor_type(reader, old, dims)?);
            Ok(true)
        })?;
        rope.nest(field.span, field.key, content, inner);
        Ok(true)
    })?;
    Ok(is_tensor.then_some(rope))
}

/// A `TypeProto.Tensor` with another shape.
fn tensor_type(reader: &Reader<'_>, span: Span, dims: &[Dimension]) -> Result<Rope> {
    let (mut rope, mut has_shape) = (Rope::default(), false);
    rewrite(reader, span, "TypeProto.Tensor", &mut rope, |rope, field| {
        if field.number != value_fields::SHAPE {
            return Ok(false);
        }
        has_shape = true;
        let old = field.bytes()?;
        rope.nest(field.span, field.key, old, shape(reader, old, dims)?);
        Ok(true)
    })?;
    if !has_shape {
        let mut new = Vec::new();
        put_bytes(&mut new, value_fields::SHAPE, &put_shape(dims));
        rope.write(new);
    }
    Ok(rope)
}

/// A `TensorShapeProto` with other dims; those that stay keep what the file says about them.
fn shape(reader: &Reader<'_>, span: Span, dims: &[Dimension]) -> Result<Rope> {
    let old = parse_shape(&mut Reader::new(reader.bytes), span)?;
    let (mut rope, mut axis) = (Rope::default(), 0);
    rewrite(reader, span, "TensorShapeProto", &mut rope, |rope, field| {
        if field.number != value_fields::DIM {
            return Ok(false);
        }
        axis += 1;
        let (old, new) = (old.get(axis - 1), dims.get(axis - 1));
        if let Some(new) = new.filter(|&new| Some(new) != old) {
            rope.write(put_shape(std::slice::from_ref(new)));
        }
        Ok(old != new)
    })?;
    rope.write(put_shape(dims.get(axis..).unwrap_or_default()));
    Ok(rope)
}

/// A `StringStringEntryProto` with another value.
pub(super) fn entry(reader: &Reader<'_>, span: Span, value: &str) -> Result<Rope> {
    /// The field of the value.
    const VALUE: u32 = 2;
    let (mut rope, mut new) = (Rope::default(), Vec::new());
    put_bytes(&mut new, VALUE, value.as_bytes());
    let mut new = Some(new);
    rewrite(reader, span, "StringStringEntryProto", &mut rope, |rope, field| {
        if field.number != VALUE {
            return Ok(false);
        }
        new.take().into_iter().for_each(|new| rope.write(new));
        Ok(true)
    })?;
    new.into_iter().for_each(|new| rope.write(new));
    Ok(rope)
}
