//! The names of operators in ONNX.

use super::{Binary, Op, Reduction, Unary};

impl Op {
    /// Its name in ONNX.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Gemm { .. } => "Gemm",
            Self::MatMul => "MatMul",
            Self::Conv { .. } => "Conv",
            Self::BatchNormalization { .. } => "BatchNormalization",
            Self::LayerNormalization { .. } => "LayerNormalization",
            Self::GroupNormalization { .. } => "GroupNormalization",
            Self::Unary(unary) => unary.name(),
            Self::PRelu => "PRelu",
            Self::Binary(binary) => binary.name(),
            Self::Where => "Where",
            Self::Softmax { is_log: false, .. } => "Softmax",
            Self::Softmax { is_log: true, .. } => "LogSoftmax",
            Self::MaxPool { .. } => "MaxPool",
            Self::AveragePool { .. } => "AveragePool",
            Self::Reduce { reduction, .. } => reduction.name(),
            Self::Flatten { .. } => "Flatten",
            Self::Reshape { .. } => "Reshape",
            Self::Transpose { .. } => "Transpose",
            Self::Squeeze { .. } => "Squeeze",
            Self::Unsqueeze { .. } => "Unsqueeze",
            Self::Concat { .. } => "Concat",
            Self::Split { .. } => "Split",
            Self::Slice { .. } => "Slice",
            Self::Gather { .. } => "Gather",
            Self::Expand { .. } => "Expand",
            Self::Tile { .. } => "Tile",
            Self::Pad { .. } => "Pad",
            Self::Cast { .. } => "Cast",
            Self::Shape { .. } => "Shape",
            Self::Fill { .. } => "ConstantOfShape",
            Self::Range => "Range",
            Self::Normalizer { .. } => "Normalizer",
            Self::Scaler { .. } => "Scaler",
            Self::LabelEncoder { .. } => "LabelEncoder",
        }
    }
}

impl Unary {
    /// Its name in ONNX.
    pub fn name(self) -> &'static str {
        match self {
            Self::Relu => "Relu",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::Elu { .. } => "Elu",
            Self::Selu { .. } => "Selu",
            Self::Celu { .. } => "Celu",
            Self::ThresholdedRelu { .. } => "ThresholdedRelu",
            Self::HardSigmoid { .. } => "HardSigmoid",
            Self::HardSwish => "HardSwish",
            Self::Sigmoid => "Sigmoid",
            Self::Tanh => "Tanh",
            Self::Gelu | Self::GeluTanh => "Gelu",
            Self::Silu => "Swish",
            Self::Mish => "Mish",
            Self::Softplus => "Softplus",
            Self::Softsign => "Softsign",
            Self::Clip { .. } => "Clip",
            Self::Erf => "Erf",
            Self::Exp => "Exp",
            Self::Log => "Log",
            Self::Sqrt => "Sqrt",
            Self::Neg => "Neg",
            Self::Reciprocal => "Reciprocal",
            Self::Abs => "Abs",
            Self::Sin => "Sin",
            Self::Cos => "Cos",
            Self::Floor => "Floor",
            Self::Ceil => "Ceil",
            Self::Round => "Round",
            Self::Sign => "Sign",
            Self::Not => "Not",
            Self::ToF16 | Self::ToBf16 => "Cast",
        }
    }
}

impl Binary {
    /// Its name in ONNX.
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "Add",
            Self::Sub => "Sub",
            Self::Mul => "Mul",
            Self::Div => "Div",
            Self::Pow => "Pow",
            Self::Min => "Min",
            Self::Max => "Max",
            Self::Equal => "Equal",
            Self::Greater => "Greater",
            Self::GreaterOrEqual => "GreaterOrEqual",
            Self::Less => "Less",
            Self::LessOrEqual => "LessOrEqual",
            Self::And => "And",
            Self::Or => "Or",
            Self::Xor => "Xor",
            Self::Mod => "Mod",
        }
    }
}

impl Reduction {
    /// Its name in ONNX.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "ReduceMean",
            Self::Sum => "ReduceSum",
            Self::Max => "ReduceMax",
            Self::Min => "ReduceMin",
            Self::Prod => "ReduceProd",
            Self::L1 => "ReduceL1",
            Self::L2 => "ReduceL2",
            Self::SumSquare => "ReduceSumSquare",
        }
    }
}
