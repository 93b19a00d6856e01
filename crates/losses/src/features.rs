//! Losses on intermediate activations: what layers of the student should take over from layers of the teacher.
//!
//! | function | compares | repeating the batch multiplies it by |
//! |---|---|---|
//! | [`hint`] | features of an example, after a projection | 1 |
//! | [`attention`] | where in the image channels are active | 1 |
//! | [`selectivity`] | the channels of an example as a sample | 1 |
//! | [`information`] | features of an example, as a Gaussian likelihood | 1 |
//! | [`similarity`] | products of examples of a batch | ½ |
//! | [`relational_distance`], [`relational_angle`] | pairs and triples of examples of a batch | 1 |
//! | [`probabilistic`] | neighbors of an example within the batch | no rule |
//!
//! `student` and `teacher` hold the same m examples in the same order, the first dimension; a map has shape (m, c, h, w), and
//! its positions are read in the order of memory. The gradient reaches the student, and what is trained beside it (a
//! projection, a variance), never the teacher. Each loss is divided by what its formula says, and by nothing else: a public
//! implementation that takes the mean over all numbers of a tensor has another weight. The last four compare examples with one
//! another, so that their value depends on who shares the batch.

use candle_core::Tensor;
use core_tensors::Error;

use crate::error::Result;

mod attention;
mod hint;
mod information;
mod probabilistic;
mod relational;
mod selectivity;
mod similarity;

pub use attention::{AttentionGap, attention};
pub use hint::hint;
pub use information::information;
pub use probabilistic::probabilistic;
pub use relational::{relational_angle, relational_distance};
pub use selectivity::{Kernel, selectivity};
pub use similarity::similarity;

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
    if m < 2 {
        return Err(Error::mismatch("objects of a batch with neighbours", "at least 2", m).into());
    }
    Ok((student, teacher))
}

/// Both roles as (m, c, n), n positions; the teacher in the student's type and without a gradient.
fn maps(student: &Tensor, teacher: &Tensor) -> Result<(Tensor, Tensor)> {
    check_examples(student, teacher)?;
    for map in [student, teacher] {
        if map.rank() < 3 {
            return Err(Error::mismatch("dimensions of a map", "3 or more", map.rank()).into());
        }
    }
    let teacher = teacher.detach().to_dtype(student.dtype())?;
    let (student, teacher) = (student.flatten_from(2)?, teacher.flatten_from(2)?);
    let (found, wanted) = (student.dim(2)?, teacher.dim(2)?);
    if found != wanted {
        return Err(Error::mismatch("positions of the student's map", wanted, found).into());
    }
    Ok((student, teacher))
}

fn check_examples(student: &Tensor, teacher: &Tensor) -> Result<()> {
    let n_examples = |x: &Tensor| x.dims().first().copied().unwrap_or(0);
    let (found, wanted) = (n_examples(student), n_examples(teacher));
    if found != wanted {
        return Err(Error::mismatch("objects of the student", wanted, found).into());
    }
    for x in [student, teacher] {
        if x.rank() == 0 || x.elem_count() == 0 {
            let found = format!("{:?}", x.shape());
            return Err(Error::mismatch("features of a batch", "at least 1", found).into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
