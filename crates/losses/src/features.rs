//! Losses on intermediate activations: what layers of the student should take over from layers of the teacher.
//!
//! | function | full name | compares | repeating the batch multiplies it by |
//! |---|---|---|---|
//! | [`fitnets`](fn@fitnets) | FitNets, hint training | features of an example, after a projection | 1 |
//! | [`at`](fn@at) | attention transfer | where in the image channels are active | 1 |
//! | [`nst`](fn@nst) | neuron selectivity transfer | the channels of an example as a sample | 1 |
//! | [`vid`](fn@vid) | variational information distillation | features of an example, as a Gaussian likelihood | 1 |
//! | [`sp`](fn@sp) | similarity preserving | products of examples of a batch | ½ |
//! | [`rkd_distance`], [`rkd_angle`] | relational knowledge distillation | pairs and triples of examples of a batch | 1 |
//! | [`pkt`](fn@pkt) | probabilistic knowledge transfer | neighbors of an example within the batch | no rule |
//!
//! `student` and `teacher` hold the same m examples in the same order, the first dimension; a map has shape (m, c, h, w), and
//! its positions are read in the order of memory. The gradient reaches the student, and what is trained beside it (a
//! projection, a variance), never the teacher. Each loss is divided by what its formula says, and by nothing else: a public
//! implementation that takes the mean over all numbers of a tensor has another weight. The last four compare examples with one
//! another, so that their value depends on who shares the batch.

use candle_core::Tensor;
use core_tensors::Expected;

use crate::checks::check_count;
use crate::error::Result;

mod at;
mod fitnets;
mod nst;
mod pkt;
mod rkd;
mod sp;
mod vid;

pub use at::{AtGap, at};
pub use fitnets::fitnets;
pub use nst::{NstKernel, nst};
pub use pkt::pkt;
pub use rkd::{rkd_angle, rkd_distance};
pub use sp::sp;
pub use vid::vid;

/// Both roles as (m, d), the teacher in the student's type and without a gradient.
fn rows(student: &Tensor, teacher: &Tensor) -> Result<(Tensor, Tensor)> {
    check_examples(student, teacher)?;
    let teacher = teacher.detach().to_dtype(student.dtype())?;
    // A vector of numbers is a matrix of one column.
    let rows = |x: &Tensor| x.reshape((x.dim(0)?, ()));
    Ok((rows(student)?, rows(&teacher)?))
}

/// [`rows`] of at least two examples, which are compared with one another.
fn several(student: &Tensor, teacher: &Tensor) -> Result<(Tensor, Tensor)> {
    let (student, teacher) = rows(student, teacher)?;
    let m = student.dim(0)?;
    check_count("examples of a batch that are compared", Expected::AtLeast(2), m >= 2, m)?;
    Ok((student, teacher))
}

/// Both roles as (m, c, n), n positions; the teacher in the student's type and without a gradient.
fn maps(student: &Tensor, teacher: &Tensor) -> Result<(Tensor, Tensor)> {
    check_examples(student, teacher)?;
    for map in [student, teacher] {
        let rank = map.rank();
        check_count("dimensions of a map", Expected::AtLeast(3), rank >= 3, rank)?;
    }
    let teacher = teacher.detach().to_dtype(student.dtype())?;
    let (student, teacher) = (student.flatten_from(2)?, teacher.flatten_from(2)?);
    let (found, wanted) = (student.dim(2)?, teacher.dim(2)?);
    let expected = Expected::Exactly(wanted);
    check_count("positions of the student's map", expected, found == wanted, found)?;
    Ok((student, teacher))
}

fn check_examples(student: &Tensor, teacher: &Tensor) -> Result<()> {
    let n_examples = |x: &Tensor| x.dims().first().copied().unwrap_or(0);
    let (found, wanted) = (n_examples(student), n_examples(teacher));
    check_count("examples of the student", Expected::Exactly(wanted), found == wanted, found)?;
    for x in [student, teacher] {
        let n = if x.rank() == 0 { 0 } else { x.elem_count() };
        check_count("features of a batch", Expected::AtLeast(1), n > 0, n)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
