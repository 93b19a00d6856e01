//! The operators that a graph is made of: a closed list, with everything but the data resolved.

mod names;

use super::dimension::Dimension;
use super::window::Window;

/// What a node computes from its operands.
///
/// Names and semantics are those of ONNX at its newest opset; older spellings are brought to these when a file is read.
/// Inputs that ONNX passes as tensors but that are settings (axes, shapes, pads, bounds) are fields here. Axes count from
/// 0 and are never negative; the last two letters of a shape are the operator's.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// α · A B + β · C, with A or B transposed first; operands A, B and perhaps C.
    Gemm {
        /// α
        alpha: f32,
        /// β
        beta: f32,
        /// Whether A is transposed.
        transpose_a: bool,
        /// Whether B is transposed.
        transpose_b: bool,
    },
    /// Product of the last two axes, the others broadcast, as in NumPy; two operands.
    MatMul,
    /// Cross-correlation over one or two axes; operands x (m, c, …), filters (o, c/groups, …), perhaps a bias (o,).
    Conv {
        /// What a filter sees.
        window: Window,
        /// Groups of channels that do not mix.
        groups: usize,
    },

    /// scale · (x − mean)/√(variance + ε) + shift over axis 1; operands x, scale, shift, mean, variance.
    BatchNormalization {
        /// ε
        epsilon: f32,
    },
    /// scale · (x − mean)/√(variance + ε) + shift, moments over the axes from `axis` on; operands x, scale, perhaps shift.
    LayerNormalization {
        /// First axis of the moments.
        axis: usize,
        /// ε
        epsilon: f32,
    },
    /// Moments over a group of channels and all places; operands x, scale (c,), shift (c,).
    GroupNormalization {
        /// Number of groups; that of the channels makes it an instance normalization.
        groups: usize,
        /// ε
        epsilon: f32,
    },

    /// A function of each number alone; one operand.
    Unary(Unary),
    /// x for x > 0, else slope · x, the slope broadcast from the right; operands x and slope.
    PRelu,
    /// A function of two numbers, with NumPy's broadcasting; two operands.
    Binary(Binary),
    /// The second operand where the first is true, else the third, with broadcasting.
    Where,

    /// exp(x)/Σ exp(x) over some axes, which are neighbors: one, or all from one on as before opset 13.
    Softmax {
        /// First of the axes.
        axis: usize,
        /// Whether all behind it belong to the sum too.
        to_end: bool,
        /// Whether the logarithm is taken.
        is_log: bool,
    },

    /// Largest number of each window; operand (m, c, …).
    MaxPool {
        /// What is compared.
        window: Window,
    },
    /// Mean of each window; operand (m, c, …).
    AveragePool {
        /// What is averaged.
        window: Window,
        /// Whether pads count as zeros, or not at all.
        counts_padding: bool,
    },
    /// A sum, mean or extreme over axes; one operand. Global pooling is one of these.
    Reduce {
        /// What is made of the numbers.
        reduction: Reduction,
        /// Over which axes, ascending; with none, each number is reduced alone: |x| for L1 and L2, x² for SumSquare, else x.
        axes: Vec<usize>,
        /// Whether they stay, with extent 1.
        keep: bool,
    },

    /// (d₀ ⋯, rest): the axes before `axis` in one, the others in another.
    Flatten {
        /// First axis of the second part.
        axis: usize,
    },
    /// The same numbers in another shape; −1 and 0 of the file are resolved.
    Reshape {
        /// The new shape.
        shape: Vec<Dimension>,
    },
    /// Axes in another order: output axis i is input axis `order[i]`.
    Transpose {
        /// A permutation.
        order: Vec<usize>,
    },
    /// Drops axes of extent 1.
    Squeeze {
        /// Of the operand, ascending.
        axes: Vec<usize>,
    },
    /// Adds axes of extent 1.
    Unsqueeze {
        /// Of the result, ascending.
        axes: Vec<usize>,
    },
    /// Operands one after another along an axis; at least one.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Parts along an axis, one result each.
    Split {
        /// The axis.
        axis: usize,
        /// Extent of each part.
        sizes: Vec<Dimension>,
    },
    /// Every step-th entry of a range, on some axes; resolved and clamped to the extents.
    Slice {
        /// One a sliced axis.
        ranges: Vec<SliceRange>,
    },
    /// Entries along an axis, by whole numbers; operands data and indices.
    Gather {
        /// The axis.
        axis: usize,
    },
    /// Repeats axes of extent 1, with NumPy's broadcasting.
    Expand {
        /// The shape to broadcast with.
        shape: Vec<Dimension>,
    },
    /// Repeats whole axes.
    Tile {
        /// How often, one an axis.
        repeats: Vec<Dimension>,
    },
    /// More, or with negative numbers fewer, entries at both ends of each axis; one operand.
    Pad {
        /// What stands there.
        mode: PadMode,
        /// Before and behind, one pair an axis.
        pads: Vec<(i64, i64)>,
    },

    /// Another kind of number; floats become whole numbers towards zero, and true where they are not zero.
    Cast {
        /// The kind.
        to: Kind,
    },
    /// The shape of the operand as whole numbers, or a part of it; always known when a graph is built.
    Shape {
        /// First axis.
        start: usize,
        /// Axis behind the last.
        end: usize,
    },
    /// A tensor of one number; no operand.
    Fill {
        /// Its shape.
        shape: Vec<Dimension>,
        /// The number.
        value: f64,
        /// The kind of number.
        kind: Kind,
    },
    /// start, start + step, … below (or above) the limit; known operands start, limit, step of one number each.
    Range,
    /// Divides by a norm of each row, `ai.onnx.ml`'s Normalizer; operand (m, n).
    Normalizer {
        /// The norm.
        norm: Norm,
    },
    /// (x − offset) · scale for each column, `ai.onnx.ml`'s Scaler; operand (m, n).
    Scaler {
        /// n numbers, or one for all.
        offset: Vec<f32>,
        /// n numbers, or one for all.
        scale: Vec<f32>,
    },
    /// A table of numbers, `ai.onnx.ml`'s LabelEncoder between numbers; one operand.
    LabelEncoder {
        /// What is looked up, finite.
        keys: Vec<f64>,
        /// What stands for it.
        values: Vec<f64>,
        /// What stands for everything else.
        default: f64,
        /// The kind of the result.
        kind: Kind,
    },
}

/// Kinds of numbers: floats of any width, whole numbers of any width, truth values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Floats; computed in the type of the parameters.
    Float,
    /// Whole numbers; computed as i64.
    Int,
    /// True or false; computed as u8.
    Bool,
}

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// max(x, 0)
    Relu,
    /// x for x > 0, else slope · x.
    LeakyRelu {
        /// α
        slope: f32,
    },
    /// x for x > 0, else α (eˣ − 1).
    Elu {
        /// α
        alpha: f32,
    },
    /// γ x for x > 0, else γ α (eˣ − 1).
    Selu {
        /// α
        alpha: f32,
        /// γ
        gamma: f32,
    },
    /// max(x, 0) + min(0, α (e^{x/α} − 1)).
    Celu {
        /// α
        alpha: f32,
    },
    /// x for x > α, else 0.
    ThresholdedRelu {
        /// α
        alpha: f32,
    },
    /// max(0, min(1, α x + β)).
    HardSigmoid {
        /// α
        alpha: f32,
        /// β
        beta: f32,
    },
    /// x · max(0, min(1, x/6 + 1/2)).
    HardSwish,
    /// 1/(1 + e⁻ˣ)
    Sigmoid,
    /// tanh x
    Tanh,
    /// x Φ(x)
    Gelu,
    /// x/2 (1 + tanh(√(2/π)(x + 0.044715 x³)))
    GeluTanh,
    /// x/(1 + e⁻ˣ), ONNX's Swish with α = 1.
    Silu,
    /// x tanh(log(1 + eˣ))
    Mish,
    /// log(1 + eˣ)
    Softplus,
    /// x/(1 + |x|)
    Softsign,
    /// Not below `min` and not above `max`.
    Clip {
        /// The least value.
        min: Option<f32>,
        /// The largest value.
        max: Option<f32>,
    },
    /// The error function.
    Erf,
    /// eˣ
    Exp,
    /// log x
    Log,
    /// √x
    Sqrt,
    /// −x
    Neg,
    /// 1/x
    Reciprocal,
    /// |x|
    Abs,
    /// sin x
    Sin,
    /// cos x
    Cos,
    /// The largest whole number not above x; no gradient.
    Floor,
    /// The least whole number not below x; no gradient.
    Ceil,
    /// The nearest whole number, the even one of two; no gradient.
    Round,
    /// −1, 0 or 1; no gradient.
    Sign,
    /// True where x is not.
    Not,
    /// The nearest number of f16, in the type of x; the gradient passes as if x stayed.
    ToF16,
    /// The nearest number of bf16, in the type of x; the gradient passes as if x stayed.
    ToBf16,
}

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// a + b
    Add,
    /// a − b
    Sub,
    /// a · b
    Mul,
    /// a / b, towards zero for whole numbers.
    Div,
    /// aᵇ
    Pow,
    /// The smaller; more than two operands are taken in pairs.
    Min,
    /// The larger.
    Max,
    /// a = b
    Equal,
    /// a > b
    Greater,
    /// a ≥ b
    GreaterOrEqual,
    /// a < b
    Less,
    /// a ≤ b
    LessOrEqual,
    /// Both.
    And,
    /// At least one.
    Or,
    /// One and not both.
    Xor,
    /// a mod b: of whole numbers with the sign of b, of floats a − b · trunc(a/b) with the sign of a, exactly.
    Mod,
}

/// What a reduction makes of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    Mean,
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
    /// Their product.
    Prod,
    /// Σ |x|
    L1,
    /// √Σ x²
    L2,
    /// Σ x²
    SumSquare,
}

/// A norm of [`Op::Normalizer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Norm {
    /// max x, as ONNX Runtime computes it.
    Max,
    /// Σ |x|
    L1,
    /// √Σ x²
    L2,
}

/// What stands in a padding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// One number.
    Constant(f64),
    /// The entries before the edge, in reverse, without the edge.
    Reflect,
    /// The edge.
    Edge,
}

/// A part of one axis: start, start + step, …, `len` entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceRange {
    /// The axis.
    pub axis: usize,
    /// First entry, inside the axis.
    pub start: Dimension,
    /// Not 0; negative walks backwards.
    pub step: i64,
    /// How many entries.
    pub len: Dimension,
}
