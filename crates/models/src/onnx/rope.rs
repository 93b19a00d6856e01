//! A message in the making: places of the old file, and new bytes between them.

use super::wire::{Span, put_varint};

/// What a message will consist of, in order.
#[derive(Debug, Default)]
pub(super) struct Rope {
    pieces: Vec<Piece>,
    len: usize,
}

#[derive(Debug)]
enum Piece {
    Old(Span),
    New(Vec<u8>),
}

impl Rope {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends bytes of the old file as they are.
    pub(super) fn copy(&mut self, span: Span) {
        self.len += span.len();
        match self.pieces.last_mut() {
            Some(Piece::Old(last)) if last.end == span.start => last.end = span.end,
            _ => self.pieces.push(Piece::Old(span)),
        }
    }

    /// Appends new bytes.
    pub(super) fn write(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.len += bytes.len();
        self.pieces.push(Piece::New(bytes));
    }

    /// Appends a field of the old file with a changed message in it: the key as it is, the length anew.
    ///
    /// `field` is the field as it lies in the old file, `old` its content there: where nothing has changed, the field is
    /// copied, however it spells its length.
    pub(super) fn nest(&mut self, field: Span, key: Span, old: Span, content: Self) {
        let is_unchanged = match content.pieces.as_slice() {
            [] => old.len() == 0,
            [Piece::Old(span)] => *span == old,
            _ => false,
        };
        if is_unchanged {
            return self.copy(field);
        }
        self.copy(key);
        let mut length = Vec::new();
        put_varint(&mut length, content.len as u64);
        self.write(length);
        self.len += content.len;
        self.pieces.extend(content.pieces);
    }

    /// The message; `bytes` are the old file's.
    pub(super) fn assemble(&self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len);
        for piece in &self.pieces {
            out.extend_from_slice(match piece {
                Piece::Old(span) => span.of(bytes),
                Piece::New(bytes) => bytes,
            });
        }
        out
    }
}
