//! Examples with the outputs of the network that a student imitates.

use anyhow::{Result, bail, ensure};
use candle_core::{DType, Tensor};
use core_tensors::{Params, Targets};
use models::Architecture;

use crate::training::logits;

/// Examples of a student: what the large network puts out for each is known, labels may be.
#[derive(Clone, Debug)]
pub struct Taught {
    /// x, (m, …).
    pub x: Tensor,
    /// s: outputs of the large network, (m, k); logits of classes, the one logit of two classes, or values.
    pub teacher: Tensor,
    /// y, where it is known.
    pub targets: Option<Targets>,
}

impl Taught {
    /// Examples answered by a network.
    ///
    /// # Errors
    /// Where the network does not take the examples.
    pub fn by(
        network: &dyn Architecture,
        w: &Params,
        x: &Tensor,
        targets: Option<&Targets>,
    ) -> Result<Self> {
        let teacher = logits(network, w, x)?;
        Ok(Self { x: x.clone(), teacher, targets: targets.cloned() })
    }

    /// m: how many there are.
    pub fn n_examples(&self) -> usize {
        self.x.dims().first().copied().unwrap_or(0)
    }

    /// Refuses examples without a number each where numbers are wanted; `what` names them.
    pub(super) fn check(&self, what: &str) -> Result<()> {
        let m = self.n_examples();
        ensure!(m > 0, "{what} examples: wanted at least one, found none");
        let dims = self.teacher.dims();
        ensure!(
            dims.len() == 2 && dims[0] == m && dims[1] > 0,
            "{what} examples: wanted one row of the network's outputs for each of the {m}, found the shape {dims:?}"
        );
        let values = match &self.targets {
            Some(Targets::Values(values)) => Some(values),
            Some(Targets::Classes { .. }) | None => None,
        };
        let named = [("x", Some(&self.x)), ("the network's output", Some(&self.teacher))];
        for (name, tensor) in named.into_iter().chain([("the target", values)]) {
            let Some(tensor) = tensor else { continue };
            if let Some(example) = first_not_finite(tensor)? {
                bail!(
                    "{what} example {example} (from 0): {name} is not a finite number everywhere; mend or leave out the \
                     example"
                );
            }
        }
        Ok(())
    }
}

/// The first row with a number that is infinite or none.
fn first_not_finite(tensor: &Tensor) -> Result<Option<usize>> {
    if !tensor.dtype().is_float() || tensor.elem_count() == 0 {
        return Ok(None);
    }
    let rows = tensor.flatten_from(1)?.to_dtype(DType::F32)?;
    // Of a sum that overflows, too, is 0 · x no number: then the row is looked at number by number.
    let suspects = (rows.sum(1)? * 0.0)?.to_vec1::<f32>()?;
    for (i, _) in suspects.iter().enumerate().filter(|(_, zero)| zero.is_nan()) {
        if rows.get(i)?.to_vec1::<f32>()?.iter().any(|number| !number.is_finite()) {
            return Ok(Some(i));
        }
    }
    Ok(None)
}
