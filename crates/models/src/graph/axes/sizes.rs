//! What a graph costs once groups are narrower, without building it.

use super::{Axes, Cut};
use crate::graph::{Graph, Node, Op, ValueId};

/// Parameters and multiply-adds of a graph as functions of the widths of its groups.
///
/// Each is a sum of products of extents, an extent a fixed part and a share of each width, to the nearest whole. Exact where all units of a group
/// have as many entries in a tensor, as they do everywhere but behind an odd Slice or Concat.
#[derive(Clone, Debug)]
pub struct Sizes {
    parameters: Vec<Term>,
    products: Vec<Term>,
}

/// factor · Π extents.
#[derive(Clone, Debug)]
struct Term {
    factor: f64,
    extents: Vec<Extent>,
}

/// fixed + Σ each · width of the group.
#[derive(Clone, Debug)]
struct Extent {
    fixed: f64,
    each: Vec<(usize, f64)>,
}

impl Axes {
    /// The sizes of the graph that these axes are of.
    pub fn sizes(&self, graph: &Graph) -> Sizes {
        let layout = graph.layout();
        let parameters = graph.parameters().iter().zip(&layout.blocks).map(|(&id, block)| {
            let cuts: Vec<&Cut> = self.cuts[id.0].iter().collect();
            self.term((block.rows * block.cols) as f64, &cuts)
        });
        let nodes = graph.nodes().iter().map(|node| (node, graph.n_products(node)));
        let products = nodes
            .filter(|(_, n)| *n > 0)
            .map(|(node, n)| self.term(n as f64, &self.cuts_of(graph, node)));
        Sizes { parameters: parameters.collect(), products: products.collect() }
    }

    /// The cuts whose extents the multiply-adds of a node are proportional to.
    fn cuts_of(&self, graph: &Graph, node: &Node) -> Vec<&Cut> {
        let along = |id: Option<&ValueId>, is_counted: &dyn Fn(usize) -> bool| -> Vec<&Cut> {
            let cuts = id.map(|id| self.cuts[id.0].as_slice()).unwrap_or_default();
            cuts.iter().filter(|cut| is_counted(cut.axis)).collect()
        };
        let mut cuts = along(node.results.first(), &|_| true);
        match &node.op {
            Op::Gemm { transpose_a, .. } => {
                let axis = usize::from(!transpose_a);
                cuts.extend(along(node.operands.first(), &|own| own == axis));
            }
            Op::MatMul => {
                // What is summed over is the last axis of the first operand.
                let rank = node.operands.first().map_or(0, |id| graph.value(*id).shape.len());
                cuts.extend(along(node.operands.first(), &|own| own + 1 == rank));
            }
            Op::Conv { .. } => cuts.extend(along(node.operands.get(1), &|own| own > 0)),
            _ => {}
        }
        cuts
    }

    fn term(&self, n: f64, cuts: &[&Cut]) -> Term {
        let mut factor = n;
        let extents = cuts.iter().map(|cut| {
            factor /= cut.units.len() as f64;
            let mut each: Vec<(usize, f64)> = Vec::new();
            let mut fixed = 0.0;
            for unit in &cut.units {
                let Some((g, _)) = *unit else {
                    fixed += 1.0;
                    continue;
                };
                let share = 1.0 / self.groups[g].n_units as f64;
                match each.iter_mut().find(|(own, _)| *own == g) {
                    Some((_, sum)) => *sum += share,
                    None => each.push((g, share)),
                }
            }
            Extent { fixed, each }
        });
        let extents = extents.collect();
        Term { factor, extents }
    }
}

impl Term {
    fn at(&self, widths: &[usize]) -> f64 {
        let width = |g: usize| widths.get(g).copied().unwrap_or(0) as f64;
        let extent = |extent: &Extent| {
            extent.fixed + extent.each.iter().map(|&(g, each)| each * width(g)).sum::<f64>()
        };
        self.factor * self.extents.iter().map(extent).product::<f64>()
    }
}

impl Sizes {
    /// Parameters at a width for each group, in the order of [`Axes::groups`].
    pub fn n_parameters(&self, widths: &[usize]) -> f64 {
        self.parameters.iter().map(|term| term.at(widths)).sum::<f64>().round()
    }

    /// Multiply-adds of a forward pass for one example at these widths.
    pub fn n_products(&self, widths: &[usize]) -> f64 {
        self.products.iter().map(|term| term.at(widths)).sum::<f64>().round()
    }
}
