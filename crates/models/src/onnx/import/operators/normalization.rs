//! Normalizations and softmax.

use super::super::node::At;
use super::super::{Import, ImportError, Unsupported};
use crate::graph::{
    Binary, Dimension, Entries, Kind, Numbers, Op, Problem, Reduction, Unary, ValueId,
};

pub(super) const OPERATORS: &[&str] = &[
    "BatchNormalization",
    "LayerNormalization",
    "GroupNormalization",
    "InstanceNormalization",
    "RMSNormalization",
    "Softmax",
    "LogSoftmax",
];

/// ε where the file does not say.
const EPSILON: f32 = 1e-5;

pub(super) fn add(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    let mut operands = match OPERATORS.contains(&at.node.op_type.as_str()) {
        true => import.operands(at)?,
        false => return Ok(false),
    };
    let rank = operands.first().map_or(0, |&x| import.shape(x).len());
    let op = match at.node.op_type.as_str() {
        "BatchNormalization" => {
            if at.flag("training_mode", false)? {
                return Err(at.wrong("training_mode", "0: export the network in eval mode", "1"));
            }
            Op::BatchNormalization { epsilon: at.float("epsilon", EPSILON)? }
        }
        "LayerNormalization" => {
            let axis = import.axis(at, at.int("axis", -1)?, rank)?;
            Op::LayerNormalization { axis, epsilon: at.float("epsilon", EPSILON)? }
        }
        "GroupNormalization" => {
            let groups = at.int("num_groups", 0)?;
            let groups = usize::try_from(groups).ok().filter(|&groups| groups > 0);
            let wrong = || at.wrong("num_groups", "a number from 1", format!("{groups:?}"));
            let groups = groups.ok_or_else(wrong)?;
            /// Since this opset, scale and shift have one number a channel.
            const PER_CHANNEL: i64 = 21;
            if at.opset < PER_CHANNEL {
                for place in 1..operands.len() {
                    operands[place] = per_channel(import, at, operands[0], operands[place], place)?;
                }
            }
            Op::GroupNormalization { groups, epsilon: at.float("epsilon", EPSILON)? }
        }
        "InstanceNormalization" => {
            let channels = operands.first().and_then(|&x| import.shape(x).get(1)?.as_known());
            let groups = channels.and_then(|n| usize::try_from(n).ok());
            let groups = groups.ok_or_else(|| at.unsupported(Unsupported::Operator, 0))?;
            Op::GroupNormalization { groups, epsilon: at.float("epsilon", EPSILON)? }
        }
        "RMSNormalization" => {
            root_mean_square(import, at, &operands, rank)?;
            return Ok(true);
        }
        name => {
            /// Before this opset, the sum runs over all axes from one on.
            const ONE_AXIS: i64 = 13;
            let is_old = at.opset < ONE_AXIS;
            let axis = import.axis(at, at.int("axis", if is_old { 1 } else { -1 })?, rank)?;
            Op::Softmax { axis, to_end: is_old, is_log: name == "LogSoftmax" }
        }
    };
    import.node(at, op, &operands)?;
    Ok(true)
}

/// scale · x/√(mean x² + ε), the mean over the axes from one on.
fn root_mean_square(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    operands: &[ValueId],
    rank: usize,
) -> Result<(), ImportError> {
    let &[x, scale] = operands else {
        let expected = "2";
        return Err(at.problem(Problem::Operands { expected, found: operands.len() }));
    };
    let axis = import.axis(at, at.int("axis", -1)?, rank)?;
    let entries = Entries::Floats(vec![f64::from(at.float("epsilon", EPSILON)?)]);
    let epsilon =
        import.own_constant(at, "epsilon", Kind::Float, Numbers { shape: vec![], entries });
    let squares = import.part(at, Op::Binary(Binary::Mul), &[x, x], "squares")?;
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: (axis..rank).collect(), keep: true };
    let mean = import.part(at, mean, &[squares], "mean")?;
    let sum = import.part(at, Op::Binary(Binary::Add), &[mean, epsilon], "sum")?;
    let root = import.part(at, Op::Unary(Unary::Sqrt), &[sum], "root")?;
    let unit = import.part(at, Op::Binary(Binary::Div), &[x, root], "unit")?;
    import.node(at, Op::Binary(Binary::Mul), &[unit, scale])
}

/// One number a group as one a channel: (g,) → (c,).
fn per_channel(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    x: ValueId,
    of_groups: ValueId,
    place: usize,
) -> Result<ValueId, ImportError> {
    let channels = import.shape(x).get(1).copied().unwrap_or(Dimension::known(0));
    let &[groups] = import.shape(of_groups) else { return Ok(of_groups) };
    let Some(each) = channels.checked_div(groups) else { return Ok(of_groups) };
    let column = Op::Unsqueeze { axes: vec![1] };
    let column = import.part(at, column, &[of_groups], &format!("column{place}"))?;
    let wide = Op::Expand { shape: vec![groups, each] };
    let wide = import.part(at, wide, &[column], &format!("wide{place}"))?;
    let flat = Op::Reshape { shape: vec![channels] };
    import.part(at, flat, &[wide], &format!("channels{place}"))
}
