//! report.json: the run as its types hold it; a number that is not finite is the word "inf", "-inf" or "nan", never null.

use anyhow::{Context, Result};
use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple, Serializer,
};
use serde_json::{Error, Map, Value};

use crate::ledger::shrink::Shrunk;

/// The whole run; the pixels of examples that are images, which report.html shows, are left out.
pub(super) fn render(shrunk: &Shrunk) -> Result<String> {
    let mut shrunk = shrunk.clone();
    let students = shrunk.students.iter_mut();
    let examples = students.flat_map(|student| &mut student.quality.disagreements);
    examples
        .filter_map(|example| example.image.as_mut())
        .for_each(|image| image.intensities.clear());
    let value = shrunk.serialize(Words).context("writing report.json")?;
    Ok(serde_json::to_string_pretty(&value)? + "\n")
}

/// Numbers that JSON does not have become words.
fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => "nan".into(),
        value if value.is_finite() => value.into(),
        value if value > 0.0 => "inf".into(),
        _ => "-inf".into(),
    }
}

/// Makes a JSON value of plain data.
struct Words;

/// Elements of a list.
struct Elements(Vec<Value>);

/// Fields of an object, and the key that waits for its value.
struct Fields(Map<String, Value>, Option<String>);

/// A type that our data does not have.
type Never = Impossible<Value, Error>;

impl Serializer for Words {
    type Ok = Value;
    type Error = Error;
    type SerializeSeq = Elements;
    type SerializeTuple = Elements;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Fields;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Never;

    fn serialize_f32(self, v: f32) -> Result<Value, Error> {
        Ok(number(v.into()))
    }
    fn serialize_f64(self, v: f64) -> Result<Value, Error> {
        Ok(number(v))
    }
    fn serialize_bool(self, v: bool) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_i8(self, v: i8) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_i16(self, v: i16) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_i32(self, v: i32) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_i64(self, v: i64) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_u8(self, v: u8) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_u16(self, v: u16) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_u32(self, v: u32) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_u64(self, v: u64) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_char(self, v: char) -> Result<Value, Error> {
        Ok(v.to_string().into())
    }
    fn serialize_str(self, v: &str) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_bytes(self, v: &[u8]) -> Result<Value, Error> {
        Ok(v.into())
    }
    fn serialize_none(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }
    fn serialize_some<T: ?Sized + Serialize>(self, value: &T) -> Result<Value, Error> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Value, Error> {
        Ok(Value::Null)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Value, Error> {
        Ok(Value::Null)
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<Value, Error> {
        Ok(name.into())
    }
    fn serialize_newtype_struct<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: ?Sized + Serialize>(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
        value: &T,
    ) -> Result<Value, Error> {
        Ok(Map::from_iter([(name.to_owned(), value.serialize(self)?)]).into())
    }
    fn serialize_seq(self, _: Option<usize>) -> Result<Elements, Error> {
        Ok(Elements(Vec::new()))
    }
    fn serialize_tuple(self, _: usize) -> Result<Elements, Error> {
        Ok(Elements(Vec::new()))
    }
    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Never, Error> {
        Err(unknown(name))
    }
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, Error> {
        Err(unknown(name))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Fields, Error> {
        Ok(Fields(Map::new(), None))
    }
    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields, Error> {
        Ok(Fields(Map::new(), None))
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Never, Error> {
        Err(unknown(name))
    }
}

fn unknown(name: &str) -> Error {
    serde::ser::Error::custom(format!("{name} is of a form that report.json does not hold"))
}

impl SerializeSeq for Elements {
    type Ok = Value;
    type Error = Error;
    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        self.0.push(value.serialize(Words)?);
        Ok(())
    }
    fn end(self) -> Result<Value, Error> {
        Ok(Value::Array(self.0))
    }
}

impl SerializeTuple for Elements {
    type Ok = Value;
    type Error = Error;
    fn serialize_element<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Result<Value, Error> {
        SerializeSeq::end(self)
    }
}

impl SerializeStruct for Fields {
    type Ok = Value;
    type Error = Error;
    fn serialize_field<T: ?Sized + Serialize>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.0.insert(name.to_owned(), value.serialize(Words)?);
        Ok(())
    }
    fn end(self) -> Result<Value, Error> {
        Ok(Value::Object(self.0))
    }
}

impl SerializeMap for Fields {
    type Ok = Value;
    type Error = Error;
    fn serialize_key<T: ?Sized + Serialize>(&mut self, key: &T) -> Result<(), Error> {
        let key = key.serialize(Words)?;
        self.1 = Some(key.as_str().map_or_else(|| key.to_string(), str::to_owned));
        Ok(())
    }
    fn serialize_value<T: ?Sized + Serialize>(&mut self, value: &T) -> Result<(), Error> {
        let key = self.1.take().unwrap_or_default();
        self.0.insert(key, value.serialize(Words)?);
        Ok(())
    }
    fn end(self) -> Result<Value, Error> {
        Ok(Value::Object(self.0))
    }
}
