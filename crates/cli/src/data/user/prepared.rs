//! A user's examples as a network takes them.

use candle_core::Tensor;
use core_tensors::Targets;

/// Examples in the shape of a network's input, with their labels where there are any.
#[derive(Clone, Debug)]
pub(crate) struct Prepared {
    /// What named them.
    pub(crate) name: String,
    /// f32, (m, extents of the network's input without the batch).
    pub(crate) x: Tensor,
    /// Classes, or f32 values (m, k); `None` where the examples have no labels.
    pub(crate) targets: Option<Targets>,
    /// Names of the classes, where the data name them: class i is the i-th.
    pub(crate) class_names: Vec<String>,
    /// Channels, height and width, where an example is an image.
    pub(crate) image: Option<[usize; 3]>,
}
