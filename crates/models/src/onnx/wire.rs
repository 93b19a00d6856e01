//! Fields of protobuf messages: read as places in the file, so that nothing is copied; written by appending.

use super::error::{Error, Result};

/// A run of bytes of the file: `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Span {
    pub(super) fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// The bytes; none where the span is not of these bytes.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.end).unwrap_or_default()
    }
}

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Content {
    Varint(u64),
    Fixed64(u64),
    /// A string, bytes, a message, or packed numbers: the span without key and length.
    Bytes(Span),
    Fixed32(u32),
}

/// One field of a message, as it lies in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    pub(super) content: Content,
    /// Key, length and content.
    pub(super) span: Span,
    /// The key alone.
    pub(super) key: Span,
    message: &'static str,
}

impl Field {
    fn wrong(&self, expected: &'static str) -> Error {
        let found = match self.content {
            Content::Varint(_) => 0,
            Content::Fixed64(_) => 1,
            Content::Bytes(_) => 2,
            Content::Fixed32(_) => 5,
        };
        let (message, field, offset) = (self.message, self.number, self.span.start);
        Error::WireType { message, field, offset, expected, found }
    }

    pub(super) fn malformed(&self, reason: &'static str) -> Error {
        Error::Malformed { message: self.message, offset: self.span.start, reason }
    }

    /// Whether it is a packed field without numbers, or an empty string.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.content, Content::Bytes(span) if span.len() == 0)
    }

    /// Content of an integer field.
    pub(super) fn int(&self) -> Result<i64> {
        match self.content {
            // A negative number is stored as its two's complement.
            Content::Varint(value) => Ok(value.cast_signed()),
            _ => Err(self.wrong("an integer")),
        }
    }

    pub(super) fn float(&self) -> Result<f32> {
        match self.content {
            Content::Fixed32(bits) => Ok(f32::from_bits(bits)),
            _ => Err(self.wrong("a 32-bit number")),
        }
    }

    /// Where the content of a string, bytes or a message lies.
    pub(super) fn bytes(&self) -> Result<Span> {
        match self.content {
            Content::Bytes(span) => Ok(span),
            _ => Err(self.wrong("bytes")),
        }
    }

    /// Content of a message that may occur once.
    pub(super) fn once(&self, slot: &mut Option<Span>) -> Result<()> {
        if slot.replace(self.bytes()?).is_some() {
            let (message, field, offset) = (self.message, self.number, self.span.start);
            return Err(Error::Twice { message, field, offset });
        }
        Ok(())
    }

    /// Calls `each` with every integer of a repeated field, packed or one.
    pub(super) fn each_int(
        &self,
        bytes: &[u8],
        mut each: impl FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        match self.content {
            Content::Varint(value) => each(value),
            Content::Bytes(span) => {
                let mut packed = Message::new(bytes, span, self.message);
                while !packed.is_at_end() {
                    each(packed.varint()?)?;
                }
                Ok(())
            }
            _ => Err(self.wrong("integers")),
        }
    }

    /// Calls `each` with every f32 of a repeated field, packed or one.
    pub(super) fn each_float(
        &self,
        bytes: &[u8],
        mut each: impl FnMut(f32) -> Result<()>,
    ) -> Result<()> {
        match self.content {
            Content::Fixed32(bits) => each(f32::from_bits(bits)),
            Content::Bytes(span) => {
                let (numbers, rest) = span.of(bytes).as_chunks();
                if !rest.is_empty() {
                    return Err(self.malformed("packed 32-bit numbers do not fill their length"));
                }
                numbers.iter().try_for_each(|&number| each(f32::from_le_bytes(number)))
            }
            _ => Err(self.wrong("32-bit numbers")),
        }
    }

    /// Calls `each` with every f64 of a repeated field, packed or one.
    pub(super) fn each_double(
        &self,
        bytes: &[u8],
        mut each: impl FnMut(f64) -> Result<()>,
    ) -> Result<()> {
        match self.content {
            Content::Fixed64(bits) => each(f64::from_bits(bits)),
            Content::Bytes(span) => {
                let (numbers, rest) = span.of(bytes).as_chunks();
                if !rest.is_empty() {
                    return Err(self.malformed("packed 64-bit numbers do not fill their length"));
                }
                numbers.iter().try_for_each(|&number| each(f64::from_le_bytes(number)))
            }
            _ => Err(self.wrong("64-bit numbers")),
        }
    }
}

/// Reads the fields of a message one after the other.
#[derive(Clone, Debug)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
    /// Name of the message in `onnx.proto`.
    name: &'static str,
}

/// Longest variable-length integer: ten groups of 7 bits hold 64.
const LONGEST_VARINT: usize = 10;

impl<'a> Message<'a> {
    /// The message of this name whose fields fill `span` of the file's `bytes`.
    pub(super) fn new(bytes: &'a [u8], span: Span, name: &'static str) -> Self {
        Self { bytes, at: span.start, end: span.end.min(bytes.len()), name }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.end
    }

    /// The next field, or nothing at the end.
    pub(super) fn field(&mut self) -> Result<Option<Field>> {
        if self.is_at_end() {
            return Ok(None);
        }
        let (start, message) = (self.at, self.name);
        let malformed = |reason| Error::Malformed { message, offset: start, reason };
        let key = self.varint()?;
        let key_end = self.at;
        let number = u32::try_from(key).map_err(|_| malformed("a field number is too large"))? >> 3;
        if number == 0 {
            return Err(malformed("a field has the number 0"));
        }
        let content = match key & 7 {
            0 => Content::Varint(self.varint()?),
            1 => Content::Fixed64(u64::from_le_bytes(self.take()?)),
            2 => {
                let length = self.varint()?;
                let left = self.end - self.at;
                let cut = Error::CutShort { message, offset: start, expected: length, found: left };
                let length = usize::try_from(length).ok().filter(|&n| n <= left).ok_or(cut)?;
                let span = Span { start: self.at, end: self.at + length };
                self.at = span.end;
                Content::Bytes(span)
            }
            3 | 4 => return Err(malformed("a field is a group, which ONNX does not use")),
            5 => Content::Fixed32(u32::from_le_bytes(self.take()?)),
            _ => return Err(malformed("a field has a wire type that does not exist")),
        };
        let span = Span { start, end: self.at };
        Ok(Some(Field { number, content, span, key: Span { start, end: key_end }, message }))
    }

    /// A variable-length integer; bits behind the 64th are dropped, as protobuf does.
    fn varint(&mut self) -> Result<u64> {
        let (message, offset) = (self.name, self.at);
        let left = self.bytes.get(self.at..self.end).unwrap_or_default();
        let mut value = 0;
        for (i, &byte) in left.iter().take(LONGEST_VARINT).enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.at += i + 1;
                return Ok(value);
            }
        }
        let found = left.len();
        if found < LONGEST_VARINT {
            return Err(Error::CutShort { message, offset, expected: found as u64 + 1, found });
        }
        Err(Error::Malformed { message, offset, reason: "an integer is longer than ten bytes" })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (message, offset) = (self.name, self.at);
        let left = self.bytes.get(self.at..self.end).unwrap_or_default();
        let cut = Error::CutShort { message, offset, expected: N as u64, found: left.len() };
        let taken = *left.first_chunk().ok_or(cut)?;
        self.at += N;
        Ok(taken)
    }
}

/// Appends a variable-length integer in as few bytes as it has.
pub(super) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends an integer field.
pub(super) fn put_int(out: &mut Vec<u8>, number: u32, value: i64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value.cast_unsigned());
}

/// Appends a field of 32 bits.
pub(super) fn put_float(out: &mut Vec<u8>, number: u32, value: f32) {
    put_varint(out, u64::from(number) << 3 | 5);
    out.extend(value.to_le_bytes());
}

/// Appends key and length of a field whose content of so many bytes follows.
pub(super) fn put_head(out: &mut Vec<u8>, number: u32, length: usize) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, length as u64);
}

/// Appends a string, bytes or a message.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    put_head(out, number, content.len());
    out.extend_from_slice(content);
}

/// Appends a string unless it is empty, which is how protobuf leaves one out.
pub(super) fn put_text(out: &mut Vec<u8>, number: u32, text: &str) {
    if !text.is_empty() {
        put_bytes(out, number, text.as_bytes());
    }
}
