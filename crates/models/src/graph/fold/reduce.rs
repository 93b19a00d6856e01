//! Reductions of known tensors.

use super::places::{strides, summed};
use super::{Dimension, Entries, Numbers, rounded};
use crate::graph::{Problem, Reduction};

/// The numbers of each run over the axes, reduced; `None` where a batch decides, or of an extreme of nothing.
pub(super) fn entries(
    reduction: Reduction,
    axes: &[usize],
    x: &Numbers,
) -> Result<Option<Entries>, Problem> {
    let strides = strides(&x.shape);
    let places = |is_wanted: &dyn Fn(usize) -> bool| {
        let axes = (0..x.shape.len()).filter(|&axis| is_wanted(axis));
        let steps: Vec<Vec<usize>> =
            axes.map(|axis| (0..x.shape[axis]).map(|j| j * strides[axis]).collect()).collect();
        summed(&steps)
    };
    let starts = places(&|axis| !axes.contains(&axis));
    let run = places(&|axis| axes.contains(&axis));
    match &x.entries {
        Entries::Floats(x) => {
            let one = |start: &usize| float(reduction, run.iter().map(|step| x[start + step]));
            let result: Option<Vec<f64>> = starts.iter().map(one).collect();
            Ok(result.map(Entries::Floats))
        }
        Entries::Integers(x) => {
            let mut result = Vec::with_capacity(starts.len());
            for start in starts {
                let run = run.iter().map(|step| x[start + step]);
                let Some(entry) = integer(reduction, run)? else { return Ok(None) };
                result.push(entry);
            }
            Ok(Some(Entries::Integers(result)))
        }
    }
}

/// A reduction of floats, summed in f64.
fn float(reduction: Reduction, run: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
    let n = run.len() as f64;
    // What is no number wins, unlike in `f64::max`.
    let larger = |a: f64, b: f64| if a >= b || a.is_nan() { a } else { b };
    Some(rounded(match reduction {
        Reduction::Mean => run.sum::<f64>() / n,
        Reduction::Sum => run.sum(),
        Reduction::Max => run.reduce(larger)?,
        Reduction::Min => -run.map(|x| -x).reduce(larger)?,
        Reduction::Prod => run.product(),
        Reduction::L1 => run.map(f64::abs).sum(),
        Reduction::L2 => run.map(|x| x * x).sum::<f64>().sqrt(),
        Reduction::SumSquare => run.map(|x| x * x).sum(),
    }))
}

/// A reduction of whole numbers; `None` where it is no linear function of the batch.
fn integer(
    reduction: Reduction,
    mut run: impl Iterator<Item = Dimension>,
) -> Result<Option<Dimension>, Problem> {
    let mut total = match reduction {
        Reduction::Sum | Reduction::L1 | Reduction::SumSquare => Dimension::known(0),
        Reduction::Prod => Dimension::known(1),
        Reduction::Max | Reduction::Min => match run.next() {
            Some(first) => first,
            None => return Ok(None),
        },
        Reduction::Mean | Reduction::L2 => return Ok(None),
    };
    for x in run {
        let zero = Dimension::known(0);
        let next = match reduction {
            Reduction::Sum => total.checked_add(x),
            Reduction::Prod => total.checked_mul(x),
            Reduction::L1 if x.is_at_least(zero) => total.checked_add(x),
            Reduction::L1 if zero.is_at_least(x) => total.checked_sub(x),
            Reduction::SumSquare => x.checked_mul(x).and_then(|square| total.checked_add(square)),
            Reduction::Max if total.is_at_least(x) => Some(total),
            Reduction::Max if x.is_at_least(total) => Some(x),
            Reduction::Min if x.is_at_least(total) => Some(total),
            Reduction::Min if total.is_at_least(x) => Some(x),
            Reduction::L1 | Reduction::Max | Reduction::Min | Reduction::Mean | Reduction::L2 => {
                return Ok(None);
            }
        };
        total = match next {
            Some(next) => next,
            None if total.is_per_batch() || x.is_per_batch() => return Ok(None),
            None => return Err(Problem::TooLarge),
        };
    }
    Ok(Some(total))
}
