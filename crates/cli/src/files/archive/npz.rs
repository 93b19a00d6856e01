//! Arrays as NumPy reads them: one `.npy` file each in a zip archive, neither packed.

use std::io::{Cursor, Write};

use ::zip::write::SimpleFileOptions;
use ::zip::{CompressionMethod, ZipWriter};
use anyhow::{Result, bail};
use candle_core::{DType, Tensor};

use crate::files::check_finite;

/// Bytes before the numbers are a multiple of this.
const ALIGNMENT: usize = 64;

/// An `.npz` file of arrays by name, f32, f64, i64 or bytes; an error where one holds a number that is not finite.
pub(crate) fn npz_bytes<S: AsRef<str>>(arrays: &[(S, Tensor)]) -> Result<Vec<u8>> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, array) in arrays {
        check_finite(name.as_ref(), array)?;
        zip.start_file(format!("{}.npy", name.as_ref()), options)?;
        zip.write_all(&npy(array)?)?;
    }
    Ok(zip.finish()?.into_inner())
}

/// One array: magic, version 1.0, length of the header, header, numbers in little-endian order, the last axis the fastest.
fn npy(array: &Tensor) -> Result<Vec<u8>> {
    let flat = array.flatten_all()?;
    let (descr, numbers): (_, Vec<u8>) = match array.dtype() {
        DType::F32 => ("<f4", bytes(&flat.to_vec1::<f32>()?, f32::to_le_bytes)),
        DType::F64 => ("<f8", bytes(&flat.to_vec1::<f64>()?, f64::to_le_bytes)),
        DType::I64 => ("<i8", bytes(&flat.to_vec1::<i64>()?, i64::to_le_bytes)),
        DType::U8 => ("|u1", flat.to_vec1::<u8>()?),
        other => bail!("expected numbers of f32, f64, i64 or u8, found {other:?}"),
    };
    // A tuple of one has a comma in Python.
    let shape = match array.dims() {
        [n] => format!("{n},"),
        extents => extents.iter().map(usize::to_string).collect::<Vec<_>>().join(", "),
    };
    let mut header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
    let before = 10 + header.len() + 1;
    header += &" ".repeat(before.next_multiple_of(ALIGNMENT) - before);
    header.push('\n');
    let length = u16::try_from(header.len())?.to_le_bytes();
    Ok([b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), &numbers].concat())
}

fn bytes<T: Copy, const N: usize>(values: &[T], to_bytes: fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&value| to_bytes(value)).collect()
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::files::NpyHeader;

    #[test]
    fn the_bytes_are_those_of_numpy() {
        // numpy.save of numpy.array([[1.5, -2.0, 0.25]], dtype="<f4"), in hexadecimal; the header ends at 128 bytes.
        let array = Tensor::new(&[[1.5f32, -2.0, 0.25]], &Device::Cpu).unwrap();
        let found = npy(&array).unwrap();
        assert_eq!(&found[..10], b"\x93NUMPY\x01\x00\x76\x00");
        let header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3), }";
        assert_eq!(&found[10..10 + header.len()], header);
        assert!(found[10 + header.len()..127].iter().all(|&byte| byte == b' '));
        assert_eq!(found[127], b'\n');
        assert_eq!(&found[128..], [0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0x80, 0x3e]);
    }

    #[test]
    fn arrays_are_read_again() {
        let long = Tensor::arange(0i64, 100, &Device::Cpu).unwrap();
        for array in [long.clone(), long.to_dtype(DType::F64).unwrap().reshape((2, 5, 10)).unwrap()]
        {
            let found = npy(&array).unwrap();
            let header = NpyHeader::read(&found).unwrap();
            assert_eq!((header.shape.as_slice(), header.is_fortran), (array.dims(), false));
            assert_eq!(found.len(), header.length + 8 * 100);
            assert_eq!(header.length % ALIGNMENT, 0);
        }
        let bytes = npz_bytes(&[("a", long.clone()), ("b", long)]).unwrap();
        assert_eq!(&bytes[..4], b"PK\x03\x04");
        let bad = Tensor::zeros(3, DType::U32, &Device::Cpu).unwrap();
        assert!(npz_bytes(&[("a", bad)]).is_err());
    }
}
