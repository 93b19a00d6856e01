//! Examples for tests: one number each, classes in turn.

use candle_core::{Device, Tensor};
use core_tensors::Dataset;

/// The numbers 0 to n − 1 as examples of one feature; classes in turn.
pub(crate) fn examples(n: usize, n_classes: usize) -> Dataset {
    let x = (0..n).map(|i| i as f32).collect();
    let y = (0..n).map(|i| (i % n_classes) as u32).collect();
    Dataset::classification(x, y, n_classes, &Device::Cpu).unwrap()
}

/// All numbers of a tensor in order.
pub(crate) fn column(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}
