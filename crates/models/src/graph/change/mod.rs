//! Changes of a graph that leave its function as it is, graphs without some of their residual blocks, graphs that
//! standardize their input, and outputs in other units.
//!
//! Each makes a new graph and its parameters. Names of values and nodes that stay are kept, so that [`crate::onnx::rewrite`]
//! finds them in the file; a value that another node gives now keeps its name too, so that whoever reads it still finds it.
//!
//! | change | function |
//! |---|---|
//! | [`Graph::with_batch_norm_folded`] | the same, up to rounding |
//! | [`Graph::with_biases`] | exactly the same |
//! | [`Graph::without_blocks`] | that of the graph in which the branches give 0 |
//! | [`Graph::with_standardized_input`] | f((x − mean)/std, w) |
//! | [`Graph::with_scaled_outputs`] | c ⊙ f(x, w), by parameters alone |
//!
//! [`Graph::with_batch_norm_folded`]: super::Graph::with_batch_norm_folded
//! [`Graph::with_biases`]: super::Graph::with_biases
//! [`Graph::without_blocks`]: super::Graph::without_blocks
//! [`Graph::with_standardized_input`]: super::Graph::with_standardized_input
//! [`Graph::with_scaled_outputs`]: super::Graph::with_scaled_outputs

mod batch_norm;
mod biases;
mod blocks;
mod draft;
mod error;
mod linear;
mod outputs;
mod readers;
mod standardization;

pub use blocks::ResidualBlock;
pub use error::GraphChangeError;
pub use standardization::Standardization;
