//! Which names of PyTorch's state dict belong to the parameters of an exported graph.

use models::graph::{Binary, Graph, Node, Op, Source, ValueId};

/// Where a parameter of a graph is in a state dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    /// Whether the state dict holds the transposed matrix.
    pub(super) is_turned: bool,
}

/// Whether an exporter made up the name of a tensor: `onnx::Conv_70`, `val_20`, `/fc/Constant_output_0`.
pub(super) fn is_made_up(name: &str) -> bool {
    let number = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    name.starts_with("onnx::")
        || name.starts_with('/')
        || name.strip_prefix("val_").or(name.strip_prefix("_val_")).is_some_and(number)
}

/// The place of a parameter, as far as names of the graph tell: `None` where it has its own name.
///
/// Exporters of PyTorch turn the weights of Linear layers behind which they put a MatMul, and fold batch normalizations into
/// convolutions; both get names of their own. The module is then told by the node (`/features/features.0/Conv`), or by the
/// bias that is added to the product (`encoder.linear1.bias`).
pub(super) fn in_state_dict(graph: &Graph, id: ValueId) -> Option<Place> {
    let name = graph.value(id).name.as_str();
    // `conv.weight_bias`, where `conv` had none before a batch normalization came into it.
    if let Some(layer) = name.strip_suffix(".weight_bias") {
        let weight = format!("{layer}.weight");
        let has_weight = graph.parameters().iter().any(|&id| graph.value(id).name == weight);
        return has_weight.then(|| Place { name: format!("{layer}.bias"), is_turned: false });
    }
    if !is_made_up(name) {
        return None;
    }
    let (node, place) = reader(graph, id)?;
    let is_turned = place == 1 && is_by_columns(&node.op);
    let role = match (&node.op, place) {
        (Op::MatMul | Op::Gemm { .. } | Op::Conv { .. }, 1) => "weight",
        (Op::Gemm { .. } | Op::Conv { .. }, 2) => "bias",
        _ => return None,
    };
    if let Some(module) = module(&node.name) {
        return Some(Place { name: format!("{module}.{role}"), is_turned });
    }
    if node.op != Op::MatMul {
        return None;
    }
    let (add, _) = reader(graph, *node.results.first()?)?;
    let is_sum = add.op == Op::Binary(Binary::Add);
    let bias = add.operands.iter().filter(|_| is_sum).find_map(|&id| {
        let value = graph.value(id);
        matches!(value.source, Source::Parameter(_)).then_some(value.name.as_str())
    })?;
    let layer = bias.strip_suffix("bias")?;
    // `fc.bias`, or `attention.in_proj_bias`.
    layer.ends_with(['.', '_']).then(|| Place { name: format!("{layer}weight"), is_turned })
}

/// Whether a linear node takes its weight as (in, out).
pub(super) fn is_by_columns(op: &Op) -> bool {
    matches!(op, Op::MatMul | Op::Gemm { transpose_b: false, .. })
}

/// The one node that reads a value, and as which operand.
fn reader(graph: &Graph, id: ValueId) -> Option<(&Node, usize)> {
    let mut readers = graph.nodes().iter().filter_map(|node| {
        node.operands.iter().position(|&operand| operand == id).map(|place| (node, place))
    });
    let first = readers.next();
    if readers.next().is_some() { None } else { first }
}

/// The module of a node that has the name of its scopes: `layer1.0.conv1` of `/layer1/layer1.0/conv1/Conv`.
fn module(node: &str) -> Option<String> {
    let (scopes, _) = node.strip_prefix('/')?.rsplit_once('/')?;
    let mut path: Vec<&str> = Vec::new();
    for scope in scopes.split('/') {
        // Entries of a Sequential have its name in front of their numbers.
        match path.last() {
            Some(last) if scope.strip_prefix(last).is_some_and(|rest| rest.starts_with('.')) => {
                path.pop();
            }
            Some(_) | None => {}
        }
        path.push(scope);
    }
    (!path.is_empty() && path.iter().all(|scope| !scope.is_empty())).then(|| path.join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_is_told_by_the_scopes_of_a_node() {
        for (node, expected) in [
            ("/0/Conv", Some("0")),
            ("/3/d/Conv", Some("3.d")),
            ("/layer1/layer1.0/conv1/Conv", Some("layer1.0.conv1")),
            ("/features/features.0/features.0.1/Conv_1", Some("features.0.1")),
            ("/Conv", None),
            ("node_Conv_19", None),
            ("/a//Conv", None),
        ] {
            assert_eq!(module(node).as_deref(), expected, "{node}");
        }
    }

    #[test]
    fn names_of_exporters_are_known() {
        for name in ["onnx::MatMul_23", "val_20", "_val_3", "/fc/Constant_output_0"] {
            assert!(is_made_up(name), "{name}");
        }
        for name in ["val_a", "val_", "fc.weight", "coefficient", "value"] {
            assert!(!is_made_up(name), "{name}");
        }
    }
}
