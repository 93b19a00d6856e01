//! One dense layer as a file holds it.

/// A layer as a file holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    /// Its name without `.weight`, or `block.t`.
    pub(crate) name: String,
    /// n_t: units.
    pub(crate) n_units: usize,
    /// n_{t−1}: inputs.
    pub(crate) n_inputs: usize,
}

/// n_0, …, n_T of layers that chain.
pub(super) fn widths(layers: &[Layer]) -> Vec<usize> {
    let inputs = layers.first().map(|layer| layer.n_inputs);
    inputs.into_iter().chain(layers.iter().map(|layer| layer.n_units)).collect()
}
