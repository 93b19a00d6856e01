//! What an array of NumPy says about itself: a header that is a Python dictionary in text, before the numbers.

use anyhow::{Result, anyhow, bail};

/// What an array says about itself.
#[derive(Debug, PartialEq)]
pub(crate) struct NpyHeader {
    /// Its type, such as `<f4`.
    pub(crate) descr: String,
    /// Whether the first axis is the fastest.
    pub(crate) is_fortran: bool,
    pub(crate) shape: Vec<usize>,
    /// Bytes before the numbers.
    pub(crate) length: usize,
}

impl NpyHeader {
    /// Of the bytes of an array.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let (start, length) = match bytes {
            [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => {
                (10, usize::from(u16::from_le_bytes([*a, *b])))
            }
            [0x93, b'N', b'U', b'M', b'P', b'Y', 2 | 3, _, a, b, c, d, ..] => {
                (12, usize::try_from(u32::from_le_bytes([*a, *b, *c, *d]))?)
            }
            _ => bail!("wanted an array of NumPy, found other bytes"),
        };
        let header = bytes.get(start..).and_then(|rest| rest.get(..length));
        let header = header.ok_or_else(|| anyhow!("ends before its header does"))?;
        let header = Self::parse(std::str::from_utf8(header)?)?;
        Ok(Self { length: start + length, ..header })
    }

    /// Of `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
    fn parse(text: &str) -> Result<Self> {
        let strange = || anyhow!("wanted a header of NumPy, found {:?}", clipped(text));
        let after = |key: &str| {
            let quoted = [format!("'{key}':"), format!("\"{key}\":")];
            let at = quoted.iter().find_map(|quoted| Some(text.find(quoted)? + quoted.len()));
            at.and_then(|at| text.get(at..)).map(str::trim_start).ok_or_else(strange)
        };
        let descr = after("descr")?;
        let Some(quote) = descr.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
            bail!("holds records of several columns, wanted an array of numbers");
        };
        let descr = descr[1..].split(quote).next().ok_or_else(strange)?.to_owned();
        let is_fortran = match after("fortran_order")? {
            rest if rest.starts_with("False") => false,
            rest if rest.starts_with("True") => true,
            _ => return Err(strange()),
        };
        let shape = after("shape")?.strip_prefix('(').and_then(|rest| rest.split(')').next());
        let axes = shape.ok_or_else(strange)?.split(',').map(str::trim);
        let axis = |text: &str| text.trim_end_matches('L').parse().map_err(|_| strange());
        let shape = axes.filter(|text| !text.is_empty()).map(axis).collect::<Result<_>>()?;
        Ok(Self { descr, is_fortran, shape, length: 0 })
    }
}

/// The beginning of a text that should not have been so long.
pub(crate) fn clipped(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_numpy_writes_them() {
        let text = "{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3), }          \n";
        let shape = vec![2, 3];
        let header = NpyHeader { descr: ">f8".into(), is_fortran: true, shape, length: 0 };
        assert_eq!(NpyHeader::parse(text).unwrap(), header);
        for (shape, wanted) in [("()", vec![]), ("(5,)", vec![5]), ("(5L, 1L)", vec![5, 1])] {
            let text = format!("{{'shape': {shape}, 'fortran_order': False, 'descr': '|u1'}}");
            assert_eq!(NpyHeader::parse(&text).unwrap().shape, wanted);
        }
        for text in ["", "{}", "{'descr': '<f4', 'fortran_order': 1, 'shape': (1,)}"] {
            assert!(NpyHeader::parse(text).is_err());
        }
    }
}
