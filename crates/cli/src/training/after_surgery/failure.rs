//! A loss that is no number: where it happened, and what to look at.

use core_tensors::Params;
use models::graph::Graph;

/// Examples that a message names at most.
const MOST: usize = 8;

/// The loss of a step, or of the validation examples after an epoch, is infinite or no number.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", self.text())]
pub struct NonFinite {
    /// The loss.
    pub loss: f64,
    /// Epoch, from 1.
    pub epoch: usize,
    /// Step of the epoch, from 1, and the examples of its batch, from 0 in the order of the calibration examples; `None` for
    /// the validation examples after the epoch.
    pub step: Option<(usize, Vec<usize>)>,
    /// The setting, in words.
    pub setting: String,
    /// Name of the parameter with the largest absolute number, and that number.
    pub largest: (String, f64),
}

impl NonFinite {
    fn text(&self) -> String {
        let Self { loss, epoch, step, setting, largest: (name, size) } = self;
        let (of, at) = match step {
            Some((step, examples)) => {
                (String::new(), format!("epoch {epoch}, step {step} ({})", listed(examples)))
            }
            None => (" of the validation examples".to_owned(), format!("the end of epoch {epoch}")),
        };
        format!(
            "the loss{of} is {loss} at {at}, with {setting}; the largest parameter is `{name}` with a number of size \
             {size:e}; try smaller learning rates, and look for very large numbers among the examples"
        )
    }
}

fn listed(examples: &[usize]) -> String {
    let some: Vec<String> = examples.iter().take(MOST).map(usize::to_string).collect();
    let more = examples.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("examples {}{more}", some.join(", "))
}

/// The parameter with the largest absolute number, one that is none before all others.
pub(super) fn largest_parameter(graph: &Graph, w: &Params) -> anyhow::Result<(String, f64)> {
    let mut largest = (String::new(), f64::NEG_INFINITY);
    for (block, &id) in w.blocks().iter().zip(graph.parameters()) {
        let numbers = block.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1::<f64>()?;
        let beyond = |a: f64, b: f64| b.is_nan() || (!a.is_nan() && b > a);
        let fold = |a: f64, b: &f64| if beyond(a, b.abs()) { b.abs() } else { a };
        let size = numbers.iter().fold(f64::NEG_INFINITY, fold);
        if beyond(largest.1, size) && !largest.1.is_nan() {
            largest = (graph.value(id).name.clone(), size);
        }
    }
    Ok(largest)
}
