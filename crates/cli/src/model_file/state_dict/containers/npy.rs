//! One array of NumPy as a tensor of a state dict.

use anyhow::{Result, anyhow, bail};

use super::super::tensor::{Kind, NamedTensor, Place};
use crate::files::{NpyHeader, Storage, clipped};

/// The array of an entry.
pub(super) fn read<'a>(name: String, storage: &Storage<'a>) -> Result<NamedTensor<'a>> {
    let NpyHeader { descr, is_fortran, shape, length } = NpyHeader::read(storage.as_slice())?;
    let (kind, is_big_endian) = kind(&descr)?;
    let strides = is_fortran.then(|| column_major(&shape)).transpose()?;
    let place = Place { kind, shape, strides, offset: 0, is_big_endian };
    NamedTensor::new(name, place, &storage.after(length))
}

/// Type and byte order of a name such as `<f4`.
fn kind(descr: &str) -> Result<(Kind, bool)> {
    let is_big_endian = descr.starts_with('>');
    let kind = match descr.trim_start_matches(['<', '>', '|', '=']) {
        "f2" => Kind::F16,
        "f4" => Kind::F32,
        "f8" => Kind::F64,
        "b1" => Kind::Whole("BOOL", 1),
        "i1" => Kind::Whole("I8", 1),
        "u1" => Kind::Whole("U8", 1),
        "i2" => Kind::Whole("I16", 2),
        "u2" => Kind::Whole("U16", 2),
        "i4" => Kind::Whole("I32", 4),
        "u4" => Kind::Whole("U32", 4),
        "i8" => Kind::Whole("I64", 8),
        "u8" => Kind::Whole("U64", 8),
        "c8" => Kind::Other("C64", 8),
        "c16" => Kind::Other("C128", 16),
        // What NumPy makes of the type that it does not know.
        "V2" => bail!("holds 2-byte values without a type, as NumPy writes bfloat16; save float32"),
        "O" => bail!("holds Python objects, which are code; wanted numbers"),
        _ => bail!("holds values of type {:?}, wanted numbers", clipped(descr)),
    };
    Ok((kind, is_big_endian))
}

fn column_major(shape: &[usize]) -> Result<Vec<usize>> {
    let mut stride = 1usize;
    let mut strides = Vec::with_capacity(shape.len());
    for &axis in shape {
        strides.push(stride);
        stride = stride
            .checked_mul(axis.max(1))
            .ok_or_else(|| anyhow!("has shape {shape:?}, more than any memory holds"))?;
    }
    Ok(strides)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(header: &str, numbers: &[u8]) -> Vec<u8> {
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), numbers].concat()
    }

    #[test]
    fn byte_order_and_order_of_axes_are_kept() {
        let numbers: Vec<u8> = [1.0f64, 2.0, 3.0, 4.0, 5.0, 6.0].map(f64::to_be_bytes).concat();
        let bytes = array("{'descr': '>f8', 'fortran_order': True, 'shape': (2, 3), }", &numbers);
        let tensor = read("a".into(), &Storage::of_file(&bytes)).unwrap();
        let mut row = [0.0; 3];
        tensor.row(1, &mut row).unwrap();
        assert_eq!(row, [2.0, 4.0, 6.0]);
    }

    #[test]
    fn what_is_no_array_of_numbers_is_refused() {
        for (header, part) in [
            ("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", "Python objects"),
            ("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "records"),
            (
                "{'descr': '<f4', 'fortran_order': False, 'shape': (1152921504606846976,), }",
                "beyond",
            ),
            ("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", "beyond"),
            ("{'descr': '<U8', 'fortran_order': False, 'shape': (1,), }", "numbers"),
        ] {
            let bytes = array(header, &[0; 8]);
            let error = read("a".into(), &Storage::of_file(&bytes)).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
