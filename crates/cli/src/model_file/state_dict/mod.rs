//! State dicts: trained perceptrons by the names and in the containers that PyTorch, Keras and Flax give them.
//!
//! A file is read into a list of named tensors ([`Dict`], one form for safetensors, pickles of PyTorch and npz), those into
//! dense layers (`groups`: spellings, weight normalization, masks; `normalization`: batch normalization), and those into
//! the one chain that shapes and names leave (`networks`, `order`); where they leave more than one, that is an error.

mod containers;
mod dense;
mod groups;
mod layer;
mod names;
mod networks;
mod normalization;
mod order;
mod perceptron;
mod spelling;
mod tensor;
mod write;

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;

use anyhow::{Result, anyhow};

use super::{Expected, Trained};

pub(crate) use containers::Dict;
pub(crate) use normalization::Side;
pub(crate) use order::natural;
pub(crate) use perceptron::Perceptron;
pub(crate) use spelling::{SpelledLayer, SpelledNorm, SpelledWeight};
pub(crate) use write::{about, state_dict};

/// The perceptron of a file, its numbers in a type that holds them exactly, and what was assumed or left out.
pub(crate) fn open(bytes: &[u8], expected: &Expected) -> Result<(Trained, Vec<String>)> {
    let dict = Dict::read(bytes)?;
    let found = Perceptron::find(&dict, expected)?;
    let found = found.ok_or_else(|| anyhow!("`block.0` fits neither with a bias nor without"))?;
    let dtype = found.dtype();
    found.load(expected, dtype)
}
