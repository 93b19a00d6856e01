//! How much training costs as much as surgery.

use models::graph::Graph;

/// Multiply-adds of a step of training, in forward passes: one forward, two backward.
const PASSES_OF_A_STEP: f64 = 3.0;

/// Epochs of training a small network with as many multiply-adds as surgery on the whole one, by the same examples, and
/// `epochs` of the small one after it.
///
/// `n_directions` are the gradients of each example behind the curvatures of outputs; none where surgery went without.
pub fn epochs_of_equal_work(
    whole: &Graph,
    small: &Graph,
    n_directions: usize,
    epochs: usize,
) -> usize {
    let products = |graph: &Graph| graph.n_products_in_all() as f64;
    epochs + epochs_of_surgery(products(whole), products(small), n_directions)
}

/// Epochs of the small network with the multiply-adds of surgery on the whole one, on the same examples; `whole` and `small`
/// are multiply-adds of a forward pass of one example.
///
/// An example goes twice through the whole network for the moments, as it was and as it changes, once more for its
/// curvatures, and back for each of their directions.
fn epochs_of_surgery(whole: f64, small: f64, n_directions: usize) -> usize {
    let passes = 3.0 + (PASSES_OF_A_STEP - 1.0) * n_directions as f64;
    (passes * whole / (PASSES_OF_A_STEP * small)).ceil() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_work_by_hand() {
        // 5 passes of 234 and none to spare: 1170 / (3 · 39) = 10.
        assert_eq!(epochs_of_surgery(234.0, 39.0, 1), 10);
        assert_eq!(epochs_of_surgery(234.0, 234.0, 1), 2);
        assert_eq!(epochs_of_surgery(234.0, 234.0, 10), 8);
    }
}
