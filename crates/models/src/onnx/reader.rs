//! Reads the parts of a file into an index that cannot outgrow the file.

use super::error::{Error, Result};
use super::wire::{Field, Message, Span};

/// An index needs at most this many bytes for each byte of the file …
const BYTES_PER_BYTE: usize = 32;
/// … and so many more, so that small files may consist of small parts alone.
const BYTES_MORE: usize = 1 << 20;

/// Allocators add about so much to each piece of memory.
const ALLOCATION: usize = 16;

/// The file, and how much memory its index may still take.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) bytes: &'a [u8],
    left: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, left: Self::limit(bytes) }
    }

    fn limit(bytes: &[u8]) -> usize {
        bytes.len().saturating_mul(BYTES_PER_BYTE).saturating_add(BYTES_MORE)
    }

    pub(super) fn message(&self, span: Span, name: &'static str) -> Message<'a> {
        Message::new(self.bytes, span, name)
    }

    /// Counts one more part of the index, before it is made.
    pub(super) fn count<T>(&mut self) -> Result<()> {
        // A vector that grows holds up to twice what it needs.
        self.spend(2 * size_of::<T>())
    }

    fn spend(&mut self, n: usize) -> Result<()> {
        let (bytes, limit) = (self.bytes.len(), Self::limit(self.bytes));
        self.left = self.left.checked_sub(n).ok_or(Error::TooManyParts { bytes, limit })?;
        Ok(())
    }

    /// A string field, which must be UTF-8.
    pub(super) fn string(&mut self, field: &Field) -> Result<String> {
        let text = std::str::from_utf8(field.bytes()?.of(self.bytes))
            .map_err(|_| field.malformed("a name is not UTF-8"))?;
        self.spend(text.len() + ALLOCATION)?;
        self.count::<String>()?;
        Ok(text.to_owned())
    }

    /// Integers of a repeated field, packed or one, behind those already found.
    pub(super) fn ints(&mut self, field: &Field, found: &mut Vec<i64>) -> Result<()> {
        let bytes = self.bytes;
        field.each_int(bytes, |value| {
            self.count::<i64>()?;
            found.push(value.cast_signed());
            Ok(())
        })
    }

    /// f32 of a repeated field, packed or one, behind those already found.
    pub(super) fn floats(&mut self, field: &Field, found: &mut Vec<f32>) -> Result<()> {
        let bytes = self.bytes;
        field.each_float(bytes, |value| {
            self.count::<f32>()?;
            found.push(value);
            Ok(())
        })
    }

    /// Two strings: key and value of a `StringStringEntryProto`.
    pub(super) fn entry(&mut self, span: Span) -> Result<(String, String)> {
        self.count::<(String, String)>()?;
        let (mut key, mut value) = (String::new(), String::new());
        let mut message = self.message(span, "StringStringEntryProto");
        while let Some(field) = message.field()? {
            match field.number {
                1 => key = self.string(&field)?,
                2 => value = self.string(&field)?,
                _ => {}
            }
        }
        Ok((key, value))
    }
}
