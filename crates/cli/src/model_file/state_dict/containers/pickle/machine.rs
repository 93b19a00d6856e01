//! Runs the operations of a pickle that build dictionaries, lists, texts and numbers; a name of code is looked up in a list,
//! never called.
//!
//! An operation takes a byte or more and makes at most one value, so that values take at most a fixed multiple of the
//! pickle.

use std::collections::HashMap;

use anyhow::{Result, anyhow, bail};

use super::globals::{known, reduce, storage_of};
use super::value::{Id, Value};

/// The values of a pickle, and which of them is the whole.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    pub(super) values: Vec<Value>,
    pub(super) root: Id,
}

impl Pickle {
    pub(super) fn get(&self, id: Id) -> Option<&Value> {
        self.values.get(id as usize)
    }

    pub(super) fn root(&self) -> &Value {
        self.get(self.root).unwrap_or(&Value::None)
    }

    pub(super) fn push(&mut self, value: Value) -> Result<Id> {
        let id = Id::try_from(self.values.len())?;
        self.values.push(value);
        Ok(id)
    }
}

/// The pickle that bytes begin with, and how many of them it takes.
pub(super) fn run(bytes: &[u8]) -> Result<(Pickle, usize)> {
    let mut machine = Machine {
        bytes,
        at: 0,
        pickle: Pickle::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    while machine.step()? {}
    Ok((machine.pickle, machine.at))
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    pickle: Pickle,
    stack: Vec<Id>,
    /// Heights of the stack.
    marks: Vec<usize>,
    memo: HashMap<u64, Id>,
}

impl<'a> Machine<'a> {
    /// One operation; whether there are more.
    fn step(&mut self) -> Result<bool> {
        let [code] = self.take::<1>()?;
        match code {
            // PROTO
            0x80 => match self.take::<1>()? {
                [0..=5] => {}
                [version] => bail!("a pickle of protocol {version}, wanted at most 5"),
            },
            // FRAME
            0x95 => drop(self.take::<8>()?),
            b'.' => {
                self.pickle.root = self.pop()?;
                return Ok(false);
            }
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Value::None)?,
            // NEWTRUE, NEWFALSE
            0x88 | 0x89 => self.push(Value::Opaque)?,
            b'K' => self.number::<1>()?,
            b'M' => self.number::<2>()?,
            b'J' => {
                let n = i32::from_le_bytes(self.take()?);
                self.push(Value::Int(n.into()))?;
            }
            // LONG1
            0x8a => {
                let [n] = self.take::<1>()?;
                let n = long(self.slice(n.into())?)?;
                self.push(Value::Int(n))?;
            }
            b'G' => {
                self.take::<8>()?;
                self.push(Value::Opaque)?;
            }
            // Texts and bytes by the size of their length.
            0x8c => self.text::<1>()?,
            b'X' => self.text::<4>()?,
            0x8d => self.text::<8>()?,
            b'U' | b'C' => self.other_bytes::<1>()?,
            b'T' | b'B' => self.other_bytes::<4>()?,
            0x8e => self.other_bytes::<8>()?,
            b']' | 0x8f => self.push(Value::List(Vec::new()))?,
            b'}' => self.push(Value::Dict(Vec::new()))?,
            b')' => self.push(Value::Tuple(Vec::new()))?,
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            b't' => {
                let n = self.above_mark()?;
                self.tuple(n)?;
            }
            b'a' => self.append(1)?,
            // APPENDS, and ADDITEMS of a set
            b'e' | 0x90 => {
                let n = self.above_mark()?;
                self.append(n)?;
            }
            b's' => self.set(2)?,
            b'u' => {
                let n = self.above_mark()?;
                self.set(n)?;
            }
            // Memo
            b'q' => {
                let [key] = self.take::<1>()?;
                self.remember(key.into())?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.take()?);
                self.remember(key.into())?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'h' => {
                let [key] = self.take::<1>()?;
                self.recall(key.into())?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.take()?);
                self.recall(key.into())?;
            }
            b'0' => drop(self.pop()?),
            b'2' => {
                let top = *self.stack.last().ok_or_else(broken)?;
                self.stack.push(top);
            }
            // Names of code
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.global(module, name)?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(Value::Text(module)), Some(Value::Text(name))) =
                    (self.pickle.get(module), self.pickle.get(name))
                else {
                    bail!("names code by something that is no text");
                };
                let (module, name) = (module.clone(), name.clone());
                self.global(&module, &name)?;
            }
            // REDUCE, NEWOBJ
            b'R' | 0x81 => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let Some(&Value::Global(global)) = self.pickle.get(function) else {
                    bail!("calls something that is no function of torch.save");
                };
                let made = reduce(&mut self.pickle, global, arguments)?;
                self.stack.push(made);
            }
            // Attributes of an object: no weights are kept there.
            b'b' => drop(self.pop()?),
            b'Q' => {
                let id = self.pop()?;
                let storage = storage_of(&self.pickle, id)?;
                self.push(storage)?;
            }
            other => bail!(
                "found the operation {other:#04x} at byte {}, which torch.save does not write for dictionaries of \
                 tensors",
                self.at - 1
            ),
        }
        Ok(true)
    }

    fn slice(&mut self, n: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(n);
        let slice = end.and_then(|end| self.bytes.get(self.at..end));
        let slice = slice.ok_or_else(|| anyhow!("not a whole pickle: it ends early"))?;
        self.at += n;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.slice(N)?.try_into()?)
    }

    /// Up to the end of a line, which is left out.
    fn line(&mut self) -> Result<&'a str> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|&b| b == b'\n').ok_or_else(broken)?;
        let line = self.slice(end)?;
        self.slice(1)?;
        Ok(std::str::from_utf8(line)?)
    }

    /// A length of N bytes.
    fn length<const N: usize>(&mut self) -> Result<usize> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(&self.take::<N>()?);
        Ok(usize::try_from(u64::from_le_bytes(length))?)
    }

    fn number<const N: usize>(&mut self) -> Result<()> {
        let n = self.length::<N>()?;
        self.push(Value::Int(i128::try_from(n)?))
    }

    fn text<const N: usize>(&mut self) -> Result<()> {
        let n = self.length::<N>()?;
        let text = std::str::from_utf8(self.slice(n)?)?;
        self.push(Value::Text(text.into()))
    }

    /// Bytes; where Python 2 wrote a text, that text.
    fn other_bytes<const N: usize>(&mut self) -> Result<()> {
        let n = self.length::<N>()?;
        let value = match std::str::from_utf8(self.slice(n)?) {
            Ok(text) => Value::Text(text.into()),
            Err(_) => Value::Opaque,
        };
        self.push(value)
    }

    fn push(&mut self, value: Value) -> Result<()> {
        let id = self.pickle.push(value)?;
        self.stack.push(id);
        Ok(())
    }

    /// The top of the stack, down to the last mark.
    fn pop(&mut self) -> Result<Id> {
        match self.stack.len() > self.marks.last().copied().unwrap_or(0) {
            true => self.stack.pop().ok_or_else(broken),
            false => Err(broken()),
        }
    }

    /// Values above the last mark, which goes.
    fn above_mark(&mut self) -> Result<usize> {
        let mark = self.marks.pop().ok_or_else(broken)?;
        self.stack.len().checked_sub(mark).ok_or_else(broken)
    }

    /// The upper n values.
    fn upper(&mut self, n: usize) -> Result<Vec<Id>> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        match self.stack.len().checked_sub(n) {
            Some(at) if at >= bottom => Ok(self.stack.split_off(at)),
            _ => Err(broken()),
        }
    }

    fn tuple(&mut self, n: usize) -> Result<()> {
        let items = self.upper(n)?;
        self.push(Value::Tuple(items))
    }

    fn append(&mut self, n: usize) -> Result<()> {
        let items = self.upper(n)?;
        match self.below()? {
            Value::List(list) => list.extend(items),
            Value::Opaque => {}
            _ => return Err(broken()),
        }
        Ok(())
    }

    fn set(&mut self, n: usize) -> Result<()> {
        let items = self.upper(n)?;
        let (pairs, []) = items.as_chunks::<2>() else { return Err(broken()) };
        match self.below()? {
            Value::Dict(dict) => dict.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            Value::Opaque => {}
            _ => return Err(broken()),
        }
        Ok(())
    }

    /// The value on top of the stack, to be changed.
    fn below(&mut self) -> Result<&mut Value> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(bottom..).and_then(|above| above.last()).ok_or_else(broken)?;
        self.pickle.values.get_mut(*top as usize).ok_or_else(broken)
    }

    fn remember(&mut self, key: u64) -> Result<()> {
        let top = *self.stack.last().ok_or_else(broken)?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<()> {
        let id = *self.memo.get(&key).ok_or_else(broken)?;
        self.stack.push(id);
        Ok(())
    }

    fn global(&mut self, module: &str, name: &str) -> Result<()> {
        let Some(global) = known(module, name) else {
            let name: String = format!("{module}.{name}").chars().take(200).collect();
            match name.split('.').next() {
                Some("torch") if name.contains("._rebuild_") => bail!(
                    "names `{name}`, a kind of tensor that is not read, such as a sparse or a quantized one"
                ),
                Some("numpy") => bail!(
                    "names `{name}`, which is code, and no code of a file is run; in Python, \
                     numpy.savez(\"weights.npz\", **arrays) writes arrays by name without it"
                ),
                _ => bail!(
                    "names `{name}`, which is code, as where a whole model was saved, and no code of a file is run; \
                     save its tensors alone, in Python: torch.save(model.state_dict(), \"weights.pt\")"
                ),
            }
        };
        self.push(Value::Global(global))
    }
}

fn broken() -> anyhow::Error {
    anyhow!("not a whole pickle: an operation lacks what it works on")
}

/// A whole number of up to 16 bytes, the lowest first, the sign in the highest bit.
fn long(bytes: &[u8]) -> Result<i128> {
    let Some(&last) = bytes.last() else { return Ok(0) };
    let mut all = [if last >= 0x80 { 0xff } else { 0 }; 16];
    match all.get_mut(..bytes.len()) {
        Some(low) => low.copy_from_slice(bytes),
        None => bail!("found a whole number of {} bytes, wanted at most 16", bytes.len()),
    }
    Ok(i128::from_le_bytes(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_have_a_sign() {
        for (bytes, wanted) in [(&[][..], 0), (&[255], -1), (&[255, 0], 255), (&[0, 1], 256)] {
            assert_eq!(long(bytes).unwrap(), wanted);
        }
        assert!(long(&[1; 17]).is_err());
    }

    #[test]
    fn code_is_named_and_not_run() {
        for pickle in [
            &b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00truetR."[..],
            b"\x80\x02cposix\nsystem\n(X\x04\x00\x00\x00truetR.",
            b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        ] {
            let error = run(pickle).unwrap_err().to_string();
            assert!(error.contains("`posix.system`") && error.contains("state_dict()"), "{error}");
        }
    }

    #[test]
    fn damaged_pickles_are_errors() {
        let fine = b"\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00b]q\x01(K\x02K\x03eu.";
        let (pickle, n) = run(fine).unwrap();
        assert_eq!(n, fine.len());
        assert!(matches!(pickle.root(), Value::Dict(items) if items.len() == 2));
        for end in 0..fine.len() {
            assert!(run(&fine[..end]).is_err(), "{end}");
        }
        for i in 0..fine.len() {
            for byte in 0..=255 {
                let mut bytes = fine.to_vec();
                bytes[i] = byte;
                // An error or other values, never a panic.
                let _ = run(&bytes);
            }
        }
        for pickle in [
            &b"."[..],
            b"\x85.",
            b"((.",
            b"a.",
            b"(a.",
            b"]K\x01s.",
            b"h\x00.",
            b"2.",
            b"q\x00.",
            b"0.",
            b"N(0.",
            b"R.",
            b"e.",
            b"t.",
            b"u.",
            b"(u.",
            b"}(Nu.",
            b"X\xff\xff\xff\xff.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.",
        ] {
            assert!(run(pickle).is_err(), "{pickle:?}");
        }
    }
}
