//! BERT, an encoder of texts, as a graph from token numbers to one vector a text.

use core_tensors::{Expected, Result};

use crate::graph::{
    Binary, Builder, Dimension, Entries, Graph, Kind, Numbers, Op, Reduction, SliceRange, Unary,
    ValueId,
};

/// What stands for −∞ in logits of attention: exp(−10⁹) is 0 in f32 and in f64, and no sum with it is infinite.
const MASKED: f64 = -1e9;

/// An encoder of texts: attention and feed-forward networks, each with a residual connection and layer normalization behind
/// it.
///
/// With x the vectors of a text's tokens (T, n), a layer is
///
/// y = norm(x + attention(x)),  x' = norm(y + gelu(y W₁ᵀ + b₁) W₂ᵀ + b₂),
///
/// attention over `n_heads` parts of n/`n_heads` numbers each, softmax(Q Kᵀ/√(n/`n_heads`)) V.
///
/// Source: Devlin et al. (2019), appendix A.2; Vaswani et al. (2017), section 3.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BertEncoder {
    /// Layers.
    pub n_layers: usize,
    /// Attention heads of a layer, a divisor of `width`.
    pub n_heads: usize,
    /// n: numbers of a token's vector.
    pub width: usize,
    /// Hidden units of a layer's feed-forward network.
    pub feed_forward: usize,
    /// Tokens that have a vector.
    pub vocabulary: usize,
    /// Positions that have a vector.
    pub n_positions: usize,
    /// Token types that have a vector; all tokens are of type 0.
    pub n_types: usize,
    /// ε > 0 of the layer normalizations.
    pub epsilon: f32,
    /// T: tokens of a text, padding included; at most `n_positions`.
    pub n_tokens: usize,
}

impl BertEncoder {
    /// The network as a graph; [`Graph::params_by_name`] takes its parameters from a file.
    ///
    /// Inputs `input_ids` and `attention_mask` \[N, T\], whole numbers; the mask is 1 for tokens and 0 for padding, which has
    /// no influence. A text needs at least one token. Output `sentence_vector` \[N, n\]: the mean of the last layer over
    /// the tokens, divided by its length √Σ v². Parameters have the names and shapes of the Hugging Face hub, such as
    /// `encoder.layer.0.output.dense.weight`.
    ///
    /// # Errors
    /// Where a number is 0, the heads do not divide the width, or there are more tokens than positions.
    pub fn to_graph(&self) -> Result<Graph> {
        let counts = [
            ("layers of a BERT", self.n_layers),
            ("heads of a BERT", self.n_heads),
            ("width of a BERT", self.width),
            ("hidden units of a BERT's feed-forward networks", self.feed_forward),
            ("tokens in the vocabulary of a BERT", self.vocabulary),
            ("token types of a BERT", self.n_types),
            ("tokens of a text", self.n_tokens),
        ];
        for (what, count) in counts {
            Expected::AtLeast(1).check(what, count)?;
        }
        Expected::MultipleOf(self.n_heads).check("width of a BERT", self.width)?;
        Expected::AtMost(self.n_positions).check("tokens of a text", self.n_tokens)?;
        let mut growing = Growing { of: self, builder: Builder::new() };
        let tokens = vec![Dimension::BATCH, known(self.n_tokens)];
        let ids = growing.builder.input("input_ids", Kind::Int, tokens.clone());
        let mask = growing.builder.input("attention_mask", Kind::Int, tokens);
        let mask = growing.node("mask", Op::Cast { to: Kind::Float }, &[mask])?; // (N, T)
        let added = growing.added_to_logits(mask)?; // (N, 1, 1, T)
        let mut x = growing.embeddings(ids)?; // (N, T, n)
        for layer in 0..self.n_layers {
            x = growing.layer(&format!("encoder.layer.{layer}"), x, added)?;
        }
        let vector = growing.mean_direction(x, mask)?;
        Ok(growing.builder.finish(&[vector]))
    }
}

struct Growing<'a> {
    of: &'a BertEncoder,
    builder: Builder,
}

impl Growing<'_> {
    /// A node of one result, of the node's name.
    fn node(&mut self, name: &str, op: Op, operands: &[ValueId]) -> Result<ValueId> {
        let results = self.builder.add(name, op, operands, &[name])?;
        Expected::Exactly(1).check("results of a node", results.len())?;
        Ok(results[0])
    }

    fn number(&mut self, name: &str, number: f64) -> ValueId {
        let numbers = Numbers { shape: Vec::new(), entries: Entries::Floats(vec![number]) };
        self.builder.constant(name, Kind::Float, numbers)
    }

    fn binary(&mut self, name: &str, op: Binary, a: ValueId, b: ValueId) -> Result<ValueId> {
        self.node(name, Op::Binary(op), &[a, b])
    }

    /// (1 − mask) · −10⁹.
    fn added_to_logits(&mut self, mask: ValueId) -> Result<ValueId> {
        let one = self.number("one", 1.0);
        let padding = self.binary("padding", Binary::Sub, one, mask)?;
        let masked = self.number("masked", MASKED);
        let added = self.binary("padding.logits", Binary::Mul, padding, masked)?; // (N, T)
        self.node("padding.added", Op::Unsqueeze { axes: vec![1, 2] }, &[added])
    }

    /// Vectors of tokens, positions and of type 0 in one sum, normalized.
    fn embeddings(&mut self, ids: ValueId) -> Result<ValueId> {
        let of = *self.of;
        let mut table = |name: &str, rows: usize| {
            let name = format!("embeddings.{name}_embeddings.weight");
            self.builder.parameter(&name, &[rows, of.width])
        };
        let words = table("word", of.vocabulary);
        let positions = table("position", of.n_positions);
        let types = table("token_type", of.n_types);
        let words = self.node("embeddings.words", Op::Gather { axis: 0 }, &[words, ids])?; // (N, T, n)
        let positions = self.node("embeddings.positions", first(of.n_tokens), &[positions])?; // (T, n)
        let types = self.node("embeddings.type", first(1), &[types])?; // (1, n)
        let fixed = self.binary("embeddings.fixed", Binary::Add, positions, types)?; // (T, n)
        let sum = self.binary("embeddings.sum", Binary::Add, words, fixed)?;
        self.norm("embeddings.LayerNorm", sum)
    }

    fn layer(&mut self, name: &str, x: ValueId, added: ValueId) -> Result<ValueId> {
        let (n, inner) = (self.of.width, self.of.feed_forward);
        let attended = self.attention(&format!("{name}.attention.self"), x, added)?;
        let output = format!("{name}.attention.output");
        let attended = self.dense(&format!("{output}.dense"), attended, [n, n])?;
        let sum = self.binary(&format!("{output}.sum"), Binary::Add, attended, x)?;
        let y = self.norm(&format!("{output}.LayerNorm"), sum)?;
        let hidden = self.dense(&format!("{name}.intermediate.dense"), y, [inner, n])?;
        let gelu = format!("{name}.intermediate.activation");
        let hidden = self.node(&gelu, Op::Unary(Unary::Gelu), &[hidden])?; // (N, T, inner)
        let output = format!("{name}.output");
        let hidden = self.dense(&format!("{output}.dense"), hidden, [n, inner])?;
        let sum = self.binary(&format!("{output}.sum"), Binary::Add, hidden, y)?;
        self.norm(&format!("{output}.LayerNorm"), sum)
    }

    /// softmax(Q Kᵀ/√d + added) V of each head; (N, T, n).
    fn attention(&mut self, name: &str, x: ValueId, added: ValueId) -> Result<ValueId> {
        let BertEncoder { n_heads, width: n, n_tokens, .. } = *self.of;
        let per_head = [Dimension::BATCH, known(n_tokens), known(n_heads), known(n / n_heads)];
        let mut part = |part: &str, order: [usize; 4]| {
            let name = format!("{name}.{part}");
            let sums = self.dense(&name, x, [n, n])?;
            let shape = per_head.to_vec();
            let heads = self.node(&format!("{name}.heads"), Op::Reshape { shape }, &[sums])?;
            let order = order.to_vec();
            self.node(&format!("{name}.turned"), Op::Transpose { order }, &[heads])
        };
        let query = part("query", [0, 2, 1, 3])?; // (N, heads, T, d)
        let key = part("key", [0, 2, 3, 1])?; // (N, heads, d, T)
        let value = part("value", [0, 2, 1, 3])?; // (N, heads, T, d)
        let products = self.node(&format!("{name}.products"), Op::MatMul, &[query, key])?;
        let root = self.number(&format!("{name}.root"), ((n / n_heads) as f64).sqrt());
        let scaled = self.binary(&format!("{name}.scaled"), Binary::Div, products, root)?;
        let logits = self.binary(&format!("{name}.logits"), Binary::Add, scaled, added)?;
        let softmax = Op::Softmax { axis: 3, to_end: false, is_log: false };
        let weights = self.node(&format!("{name}.weights"), softmax, &[logits])?; // (N, heads, T, T)
        let means = self.node(&format!("{name}.means"), Op::MatMul, &[weights, value])?;
        let order = vec![0, 2, 1, 3];
        let means = self.node(&format!("{name}.tokens"), Op::Transpose { order }, &[means])?;
        let shape = vec![Dimension::BATCH, known(n_tokens), known(n)];
        self.node(&format!("{name}.output"), Op::Reshape { shape }, &[means])
    }

    /// The mean over the tokens, divided by its length; (N, n).
    fn mean_direction(&mut self, x: ValueId, mask: ValueId) -> Result<ValueId> {
        let sum = |axis, keep| Op::Reduce { reduction: Reduction::Sum, axes: vec![axis], keep };
        let column = self.node("mask.column", Op::Unsqueeze { axes: vec![2] }, &[mask])?; // (N, T, 1)
        let tokens = self.binary("tokens", Binary::Mul, x, column)?;
        let total = self.node("tokens.sum", sum(1, false), &[tokens])?; // (N, n)
        let count = self.node("tokens.count", sum(1, true), &[mask])?; // (N, 1)
        let mean = self.binary("tokens.mean", Binary::Div, total, count)?;
        let norm = Op::Reduce { reduction: Reduction::L2, axes: vec![1], keep: true };
        let length = self.node("tokens.mean.length", norm, &[mean])?; // (N, 1)
        self.binary("sentence_vector", Binary::Div, mean, length)
    }

    /// x Wᵀ + b with W (out, in).
    fn dense(&mut self, name: &str, x: ValueId, [o, n]: [usize; 2]) -> Result<ValueId> {
        let weight = self.builder.parameter(&format!("{name}.weight"), &[o, n]);
        let bias = self.builder.parameter(&format!("{name}.bias"), &[o]);
        let order = vec![1, 0];
        let turned = format!("{name}.weight.turned");
        let columns = self.node(&turned, Op::Transpose { order }, &[weight])?; // (n, o)
        let products = self.node(name, Op::MatMul, &[x, columns])?;
        self.binary(&format!("{name}.sums"), Binary::Add, products, bias)
    }

    /// Layer normalization of each token's vector.
    fn norm(&mut self, name: &str, x: ValueId) -> Result<ValueId> {
        let n = self.of.width;
        let scale = self.builder.parameter(&format!("{name}.weight"), &[n]);
        let shift = self.builder.parameter(&format!("{name}.bias"), &[n]);
        let op = Op::LayerNormalization { axis: 2, epsilon: self.of.epsilon };
        self.node(name, op, &[x, scale, shift])
    }
}

/// The first rows of a table.
fn first(n: usize) -> Op {
    let range = SliceRange { axis: 0, start: known(0), step: 1, len: known(n) };
    Op::Slice { ranges: vec![range] }
}

fn known(n: usize) -> Dimension {
    Dimension::known(n as i64)
}
