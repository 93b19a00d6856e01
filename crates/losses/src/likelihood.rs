//! What the outputs of a network say about the targets.

/// Distribution of a target given the scores of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Likelihood {
    /// Classes: p(y | x, w) = softmax(f(x, w))_y.
    Categorical,
    /// Values: N(y; f(x, w), σ² I).
    Normal {
        /// σ² > 0, in squared units of the target.
        variance: f64,
    },
}
