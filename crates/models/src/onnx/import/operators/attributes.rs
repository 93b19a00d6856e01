//! The attributes that each operator takes, so that one that is not read is not passed over.

use super::super::ImportError;
use super::super::node::At;

/// Operators with the attributes that any operator set from 11 on gives them; all others have none.
const TAKEN: &[(&[&str], &[&str])] = &[
    (
        &["Attention"],
        &[
            "is_causal",
            "kv_num_heads",
            "left_window_size",
            "q_num_heads",
            "qk_matmul_output_mode",
            "right_window_size",
            "scale",
            "softcap",
            "softmax_precision",
        ],
    ),
    (
        &["AveragePool"],
        &[
            "auto_pad",
            "ceil_mode",
            "count_include_pad",
            "dilations",
            "kernel_shape",
            "pads",
            "strides",
        ],
    ),
    (&["BatchNormalization"], &["epsilon", "momentum", "training_mode"]),
    (&["Cast"], &["round_mode", "saturate", "to"]),
    (&["CastLike"], &["round_mode", "saturate"]),
    (&["Celu", "Elu", "LeakyRelu", "Swish", "ThresholdedRelu"], &["alpha"]),
    (&["Concat", "Flatten", "Gather", "LogSoftmax", "Softmax"], &["axis"]),
    (
        &["Constant"],
        &[
            "sparse_value",
            "value",
            "value_float",
            "value_floats",
            "value_int",
            "value_ints",
            "value_string",
            "value_strings",
        ],
    ),
    (&["ConstantOfShape"], &["value"]),
    (&["Conv"], &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"]),
    (
        &["ConvTranspose"],
        &[
            "auto_pad",
            "dilations",
            "group",
            "kernel_shape",
            "output_padding",
            "output_shape",
            "pads",
            "strides",
        ],
    ),
    (&["DepthToSpace", "SpaceToDepth"], &["blocksize", "mode"]),
    (&["Dropout"], &["ratio", "seed"]),
    (&["Einsum"], &["equation"]),
    (&["Gelu"], &["approximate"]),
    (&["Gemm"], &["alpha", "beta", "transA", "transB"]),
    (&["GroupNormalization"], &["epsilon", "num_groups", "stash_type"]),
    (&["HardSigmoid"], &["alpha", "beta"]),
    (&["InstanceNormalization"], &["epsilon"]),
    (&["LayerNormalization", "RMSNormalization"], &["axis", "epsilon", "stash_type"]),
    (
        &["MaxPool"],
        &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
    ),
    (&["Mod"], &["fmod"]),
    (&["Pad"], &["mode"]),
    (&["Range"], &["stash_type"]),
    (
        &[
            "ReduceL1",
            "ReduceL2",
            "ReduceMax",
            "ReduceMean",
            "ReduceMin",
            "ReduceProd",
            "ReduceSum",
            "ReduceSumSquare",
        ],
        &["axes", "keepdims", "noop_with_empty_axes"],
    ),
    (&["Reshape"], &["allowzero"]),
    (&["Selu"], &["alpha", "gamma"]),
    (&["Shape"], &["end", "start"]),
    (&["Split"], &["axis", "num_outputs", "split"]),
    (&["Squeeze", "Unsqueeze"], &["axes"]),
    (&["Transpose"], &["perm"]),
    (&["Trilu"], &["upper"]),
    (&["Scaler"], &["offset", "scale"]),
    (&["Normalizer"], &["norm"]),
    (
        &["LabelEncoder"],
        &[
            "classes_strings",
            "default_float",
            "default_int64",
            "default_string",
            "default_tensor",
            "keys_floats",
            "keys_int64s",
            "keys_strings",
            "keys_tensor",
            "values_floats",
            "values_int64s",
            "values_strings",
            "values_tensor",
        ],
    ),
];

/// Refuses a node with an attribute that its operator does not have.
pub(super) fn check(at: &At<'_>) -> Result<(), ImportError> {
    let op = at.node.op_type.as_str();
    let taken = TAKEN.iter().find(|(operators, _)| operators.contains(&op));
    let taken = taken.map_or(&[] as &[&str], |(_, attributes)| attributes);
    let unknown = at.node.attributes.iter().find(|(name, _)| !taken.contains(&name.as_str()));
    match unknown {
        Some((attribute, _)) => Err(ImportError::UnknownAttribute {
            node: super::super::node::name(at.node),
            op: op.to_owned(),
            attribute: attribute.clone(),
        }),
        None => Ok(()),
    }
}
