//! What a graph costs: multiply-adds, node by node.

use super::{Dimension, Graph, Node, Op};

impl Graph {
    /// Multiply-adds of a node for one example: of products and convolutions, with weights or between data; 0 of all others.
    ///
    /// A product of (m, n) and (n, k) has m n k, a convolution c/groups · kh · kw for each number that it puts out, its bias
    /// none.
    pub fn n_products(&self, node: &Node) -> u64 {
        let shape = |place: usize| node.operands.get(place).map(|&id| &self.value(id).shape[..]);
        let each = match &node.op {
            Op::Gemm { transpose_a, .. } => {
                let axis = usize::from(!transpose_a);
                shape(0).and_then(|shape| shape.get(axis)).map(|&extent| one(extent))
            }
            Op::MatMul => shape(0).and_then(<[Dimension]>::last).map(|&extent| one(extent)),
            Op::Conv { .. } => shape(1).map(|shape| product(shape.get(1..).unwrap_or_default())),
            _ => None,
        };
        let Some(each) = each else { return 0 };
        let results = node.results.first().map(|&id| &self.value(id).shape[..]);
        product(results.unwrap_or_default()).saturating_mul(each)
    }

    /// Multiply-adds of a forward pass for one example.
    pub fn n_products_in_all(&self) -> u64 {
        self.nodes().iter().fold(0, |sum, node| sum.saturating_add(self.n_products(node)))
    }
}

/// How many numbers there are in a batch of one example.
fn product(shape: &[Dimension]) -> u64 {
    shape.iter().fold(1, |n: u64, &extent| n.saturating_mul(one(extent)))
}

/// An extent in a batch of one example.
fn one(extent: Dimension) -> u64 {
    extent.of_batch(1).and_then(|n| u64::try_from(n).ok()).unwrap_or(0)
}
