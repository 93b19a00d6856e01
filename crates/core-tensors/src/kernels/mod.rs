//! Fused kernels: what candle would compute in many passes over memory, in one or two.
//!
//! Each kernel has a composed twin in plain tensor operations, which serves other devices and is the
//! oracle of its tests. A kernel runs on the thread that calls it, for seeds are what runs in parallel; convolutions and pooling,
//! which may be large, share a batch out among the threads of rayon's pool, with the same bits whatever their number.

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor, WithDType, bail};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

mod activation;
pub(crate) mod adam;
mod convolution;
mod dense;
mod elementwise;
pub mod empirical_bayes;
mod exponential;
mod grayscale;
mod linear;
mod logistic;
mod lstm;
mod matmul;
pub mod mean_field;
pub(crate) mod normal;
mod normalization;
pub mod perceptron;
mod pooling;
mod sliding_window;

pub use activation::Activation;
pub use convolution::{Window, convolve, convolve_relu_max_pool, grouped_convolution};
pub use elementwise::{erf, gelu, gelu_tanh, hard_sigmoid, hard_swish, sigmoid, silu, tanh};
pub use exponential::exp_nonpositive;
pub use grayscale::features;
pub use linear::linear;
pub use logistic::{bernoulli_negative_log, composed_softplus, log_1p, softplus};
pub use lstm::bi_lstm;
pub use normalization::{affine_channels, batch_norm, layer_norm, log_softmax_last, softmax_last};
pub use pooling::{average_pool, max_pool, relu_max_pool};
pub use sliding_window::SlidingWindow;

use elementwise::Real;

/// Whether the fused form covers these tensors: f32 or f64 on the CPU.
fn is_fused(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.device().is_cpu() && matches!(t.dtype(), DType::F32 | DType::F64))
}

/// Runs an element-wise loop on the widest instruction set of the machine.
fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}

/// Does the parts in any order, on the threads of the pool; on the calling thread if the pool has but one, which
/// would be another.
fn share_out<P: Send>(parts: Vec<P>, work: impl Fn(P) -> Result<()> + Send + Sync) -> Result<()> {
    if rayon::current_num_threads() > 1 && parts.len() > 1 {
        return parts.into_par_iter().try_for_each(work);
    }
    parts.into_iter().try_for_each(work)
}

/// The numbers of a contiguous tensor whose storage was borrowed.
pub fn numbers<'a, T: WithDType>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<T>()?[start..end]),
        None => bail!("a fused kernel wanted a contiguous tensor, found {layout:?}"),
    }
}

/// The CPU storage behind a borrowed one.
pub fn on_cpu(storage: &Storage) -> Result<&CpuStorage> {
    match storage {
        Storage::Cpu(storage) => Ok(storage),
        _ => bail!("a fused kernel wanted a tensor on the CPU, found one on another device"),
    }
}
