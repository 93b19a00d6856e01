//! How well a network does on examples, alone and beside another: measures, paired differences and their intervals.
//!
//! The paired words are those of [`crate::ledger::quality`]. Intervals have 95 %: Tango's score interval for differences of
//! accuracy, Student's for differences of means over examples (of R² with the influence of each example on the targets'
//! variance), and a paired bootstrap for calibration errors. They end where the measure does.

mod bootstrap;
mod classes;
mod fit;
mod outputs;
mod reasons;
#[cfg(test)]
mod tests;
mod values;
mod words;

use anyhow::Result;
use core_tensors::Rng;

use crate::ledger::quality::{PairedQuality, Predicted, Quality, Thumbnail};
use crate::ledger::{Metric, metric};

pub use fit::fit_check;
pub use outputs::{Calibration, Outputs, class_logits, right};
pub use reasons::fit_reasons;
pub use values::r_squared_losses;
pub use words::thumbnail;

/// The examples that networks are measured on.
#[derive(Clone, Copy)]
pub struct TestPart<'a> {
    /// What the networks predict.
    pub predicted: Predicted,
    /// Their classes or values, where the examples have labels.
    pub targets: Option<&'a core_tensors::Targets>,
    /// Names of the classes; those without a name are called by their number.
    pub class_names: &'a [String],
    /// Index of each example in the file that it came from; empty where it is its row.
    pub indices: &'a [usize],
    /// Disagreements to list.
    pub n_disagreements: usize,
    /// The image of an example by its row, where the examples are images.
    pub image: Option<&'a dyn Fn(usize) -> Result<Thumbnail>>,
}

/// Two networks on the same examples: every measure of both, and the differences second minus first.
///
/// With classes and labels: accuracy, cross-entropy, Brier score, calibration errors, and cross-entropy after temperature
/// scaling where both have a temperature; with values and targets: R², RMSE, and the likelihood of a normal where both have
/// noise variances. In any case agreement with the first network and the KL divergence from it, or the squared distance.
/// A single logit (m, 1) with classes is that of class 1, beside 0 for class 0. `rng` draws the examples of a bootstrap.
pub fn paired_quality(
    first: Outputs,
    second: Outputs,
    part: &TestPart,
    rng: &mut Rng,
) -> Result<PairedQuality> {
    outputs::check_same(first, second)?;
    let mut quality = match part.predicted {
        Predicted::Classes => classes::paired(first, second, part, rng)?,
        Predicted::Values => values::paired(first, second, part)?,
    };
    quality.measures.sort_by_key(|measure| place(measure.metric));
    Ok(quality)
}

/// One network on examples with labels or targets, each measure with its interval.
pub fn quality_alone(outputs: Outputs, part: &TestPart, rng: &mut Rng) -> Result<Quality> {
    let mut quality = match part.predicted {
        Predicted::Classes => classes::alone(outputs, part, rng)?,
        Predicted::Values => values::alone(outputs, part)?,
    };
    quality.measures.sort_by_key(|measure| place(measure.metric));
    Ok(quality)
}

/// Its place in the table of metrics.
fn place(metric: Metric) -> usize {
    metric::ALL.iter().position(|other| *other == metric).unwrap_or(metric::ALL.len())
}
