//! A tensor of a file by name: a view of the file's bytes, checked against them, and read a row at a time.

use anyhow::{Result, anyhow, bail};

use crate::files::Storage;

/// What the numbers of a tensor are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    F16,
    Bf16,
    F32,
    F64,
    /// Whole numbers or Booleans, by name and size in bytes.
    Whole(&'static str, usize),
    /// What no weight is made of, by name and size in bytes.
    Other(&'static str, usize),
}

impl Kind {
    /// Bytes of a number.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Whole(_, size) | Self::Other(_, size) => size,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::Whole(name, _) | Self::Other(name, _) => name,
        }
    }
}

/// A tensor as a file holds it.
#[derive(Clone, Debug)]
pub(crate) struct NamedTensor<'a> {
    /// As the file says, levels of nested dictionaries joined by dots.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) kind: Kind,
    /// Numbers from one index of an axis to the next.
    strides: Vec<usize>,
    is_big_endian: bool,
    storage: Storage<'a>,
}

/// Most axes of a tensor.
const MOST_AXES: usize = 64;

/// Where the numbers of a tensor lie in its storage.
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) shape: Vec<usize>,
    /// In numbers; row-major where absent.
    pub(super) strides: Option<Vec<usize>>,
    /// Numbers before the first one.
    pub(super) offset: usize,
    pub(super) is_big_endian: bool,
}

impl<'a> NamedTensor<'a> {
    /// A tensor whose numbers all lie inside its storage; an error else.
    pub(super) fn new(name: String, place: Place, storage: &Storage<'a>) -> Result<Self> {
        let Place { kind, shape, strides, offset, is_big_endian } = place;
        let bytes = storage.as_slice().len();
        let beyond = || {
            anyhow!("tensor `{name}` of shape {shape:?} reaches beyond the {bytes} bytes it has")
        };
        if shape.len() > MOST_AXES {
            bail!("tensor `{name}` has {} axes, wanted at most {MOST_AXES}", shape.len());
        }
        let strides = match strides {
            Some(strides) if strides.len() == shape.len() => strides,
            Some(strides) => {
                bail!("tensor `{name}` has shape {shape:?}, but strides {strides:?}")
            }
            None => row_major(&shape).ok_or_else(beyond)?,
        };
        let mut end = offset; // The last number's place, and one.
        if !shape.contains(&0) {
            for (&n, &stride) in shape.iter().zip(&strides) {
                let step = (n - 1).checked_mul(stride).ok_or_else(beyond)?;
                end = end.checked_add(step).ok_or_else(beyond)?;
            }
            end = end.checked_add(1).ok_or_else(beyond)?;
        }
        let needed = end.checked_mul(kind.size()).ok_or_else(beyond)?;
        let n = shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis));
        if needed > bytes || n.is_none_or(|n| n.checked_mul(8).is_none()) {
            return Err(beyond());
        }
        let storage = storage.after(offset * kind.size());
        Ok(Self { name, shape, kind, strides, is_big_endian, storage })
    }

    /// Numbers of the tensor.
    pub(crate) fn n_numbers(&self) -> usize {
        self.shape.iter().product()
    }

    /// Bytes of its numbers, were they stored one after the other.
    pub(super) fn n_bytes(&self) -> usize {
        self.n_numbers().saturating_mul(self.kind.size())
    }

    /// Whether its numbers are those of weights; an error that names it else.
    pub(super) fn check_floats(&self) -> Result<()> {
        match self.kind {
            Kind::F16 | Kind::Bf16 | Kind::F32 | Kind::F64 => Ok(()),
            Kind::Whole(name, _) | Kind::Other(name, _) => {
                bail!("tensor `{}` holds {name}, wanted F16, BF16, F32 or F64", self.name)
            }
        }
    }

    /// A matrix with rows and columns exchanged.
    pub(super) fn transposed(mut self) -> Self {
        self.shape.reverse();
        self.strides.reverse();
        self
    }

    /// The same numbers as one row: of a vector, or of a matrix with one row or column.
    pub(super) fn as_vector(&self) -> Option<Self> {
        let mut long = self.shape.iter().zip(&self.strides).filter(|(n, _)| **n != 1);
        let (n, stride) = long.next().map_or((1, 0), |(&n, &stride)| (n, stride));
        if long.next().is_some() {
            return None;
        }
        Some(Self { shape: vec![1, n], strides: vec![0, stride], ..self.clone() })
    }

    /// Numbers of a vector; an error where one is not finite.
    pub(super) fn vector(&self) -> Result<Vec<f64>> {
        let Some(row) = self.as_vector() else {
            bail!("tensor `{}` has shape {:?}, wanted a vector", self.name, self.shape);
        };
        let mut values = vec![0.0; row.shape[1]];
        row.row(0, &mut values)?;
        Ok(values)
    }

    /// Row i of a matrix; an error where a number is not finite.
    pub(super) fn row(&self, i: usize, to: &mut [f64]) -> Result<()> {
        self.any_row(i, to)?;
        if let Some(j) = to.iter().position(|value| !value.is_finite()) {
            let at = i * to.len() + j;
            bail!("tensor `{}` holds {} at place {at}, wanted finite numbers", self.name, to[j]);
        }
        Ok(())
    }

    fn any_row(&self, i: usize, to: &mut [f64]) -> Result<()> {
        self.check_floats()?;
        let (start, step) = match self.strides[..] {
            [row, column] => (i * row, column),
            _ => bail!("tensor `{}` has shape {:?}, wanted a matrix", self.name, self.shape),
        };
        let is_big = self.is_big_endian;
        match self.kind {
            Kind::F32 => self.fill(start, step, to, |b| {
                f64::from(if is_big { f32::from_be_bytes(b) } else { f32::from_le_bytes(b) })
            }),
            Kind::F64 => self.fill(start, step, to, |b| {
                if is_big { f64::from_be_bytes(b) } else { f64::from_le_bytes(b) }
            }),
            Kind::F16 => self.fill(start, step, to, |b| half(bits(b, is_big))),
            Kind::Bf16 => self.fill(start, step, to, |b| {
                f64::from(f32::from_bits(u32::from(bits(b, is_big)) << 16))
            }),
            Kind::Whole(..) | Kind::Other(..) => {}
        }
        Ok(())
    }

    fn fill<const N: usize>(
        &self,
        start: usize,
        step: usize,
        to: &mut [f64],
        number: impl Fn([u8; N]) -> f64,
    ) {
        let bytes = self.storage.as_slice().get(start * N..).unwrap_or_default();
        let (numbers, _) = bytes.as_chunks::<N>();
        if step == 1 {
            to.iter_mut().zip(numbers).for_each(|(to, b)| *to = number(*b));
        } else {
            let mut at = 0;
            for to in to {
                *to = numbers.get(at).map_or(0.0, |b| number(*b));
                at += step;
            }
        }
    }

    /// Whether two tensors hold the same numbers in the same order.
    pub(super) fn equals(&self, other: &Self) -> bool {
        if self.shape != other.shape || self.kind != other.kind {
            return false;
        }
        if self.strides == other.strides && row_major(&self.shape).as_ref() == Some(&self.strides) {
            let n = self.n_bytes();
            return self.storage.as_slice().get(..n) == other.storage.as_slice().get(..n);
        }
        let [rows, cols] = self.shape[..] else { return false };
        let (mut ours, mut theirs) = (vec![0.0; cols], vec![0.0; cols]);
        (0..rows).all(|i| {
            let are_read =
                self.any_row(i, &mut ours).is_ok() && other.any_row(i, &mut theirs).is_ok();
            are_read && ours == theirs
        })
    }
}

fn row_major(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].checked_mul(shape[axis].max(1))?;
    }
    Some(strides)
}

fn bits(bytes: [u8; 2], is_big: bool) -> u16 {
    if is_big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
}

/// A number of 16 bits: a sign, 5 bits of exponent, 10 of fraction.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10) & 31, f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: Kind, shape: &[usize], strides: Option<&[usize]>, offset: usize) -> Place {
        let strides = strides.map(<[usize]>::to_vec);
        Place { kind, shape: shape.to_vec(), strides, offset, is_big_endian: false }
    }

    fn tensor(bytes: &[u8], place: Place) -> Result<NamedTensor<'_>> {
        NamedTensor::new("a".into(), place, &Storage::of_file(bytes))
    }

    #[test]
    fn strides_and_offsets_count_numbers() {
        let bytes: Vec<u8> = (0..6u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
        let read = |shape: &[usize], strides: Option<&[usize]>, offset| {
            let tensor = tensor(&bytes, place(Kind::F32, shape, strides, offset)).unwrap();
            let mut rows = vec![vec![0.0; shape[1]]; shape[0]];
            rows.iter_mut().enumerate().for_each(|(i, row)| tensor.row(i, row).unwrap());
            rows.concat()
        };
        assert_eq!(read(&[2, 3], None, 0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(read(&[3, 2], Some(&[1, 3]), 0), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(read(&[2, 2], Some(&[3, 1]), 1), [1.0, 2.0, 4.0, 5.0]);
        let turned = tensor(&bytes, place(Kind::F32, &[2, 3], None, 0)).unwrap().transposed();
        let mut row = [0.0; 2];
        turned.row(2, &mut row).unwrap();
        assert_eq!((row, &turned.shape[..]), ([2.0, 5.0], &[3, 2][..]));
    }

    #[test]
    fn what_reaches_beyond_the_storage_is_refused() {
        let bytes = [0u8; 24];
        let is_fine = |shape: &[usize], strides: Option<&[usize]>, offset| {
            tensor(&bytes, place(Kind::F32, shape, strides, offset)).is_ok()
        };
        assert!(is_fine(&[2, 3], None, 0) && is_fine(&[0, 9], None, 6));
        assert!(!is_fine(&[2, 3], None, 1) && !is_fine(&[7], None, 0) && !is_fine(&[0], None, 7));
        assert!(!is_fine(&[2, 2], Some(&[5, 1]), 0) && !is_fine(&[2, 2], Some(&[1]), 0));
        let huge = 1usize << 60;
        for shape in [&[huge][..], &[huge, huge], &[2, huge, huge, huge], &[1; 65]] {
            assert!(!is_fine(shape, None, 0), "{shape:?}");
            assert!(!is_fine(&[2, 2], Some(&[huge, huge]), huge));
        }
        // A storage of one number repeated without end.
        assert!(!is_fine(&[huge, huge], Some(&[0, 0]), 0));
    }

    #[test]
    fn numbers_of_16_bits() {
        let halves = [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 2f64.powi(-24))];
        for (bits, value) in halves {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7c01).is_nan() && half(0xfc00) == f64::NEG_INFINITY);
        let bytes = 0x4049u16.to_be_bytes();
        let big = Place { is_big_endian: true, ..place(Kind::Bf16, &[1], None, 0) };
        assert_eq!(tensor(&bytes, big).unwrap().vector().unwrap(), [3.140625]);
    }
}
