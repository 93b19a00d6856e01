//! Attention as one operator of the file: read as products, a softmax and what stands between.

use super::super::node::At;
use super::super::{Import, ImportError};
use crate::graph::{
    Binary, Dimension, Entries, Kind, Numbers, Op, Reduction, Source, Unary, ValueId, rules,
};

pub(super) const OPERATORS: &[&str] = &["Attention"];

/// softmax(Q Kᵀ · scale + mask) V for each head: (N, h, q, d), (N, h, k, d), (N, h, k, e) → (N, h, q, e).
///
/// Tokens with their heads in one axis, (N, q, h·d), come back so. Where keys and values have fewer heads, each serves
/// several heads of the queries, one after another.
pub(super) fn add(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    if at.node.op_type != "Attention" {
        return Ok(false);
    }
    if at.input(6).is_some() {
        return Err(at.wrong("nonpad_kv_seqlen", "none: a mask instead", "an input"));
    }
    for window in ["left_window_size", "right_window_size"] {
        let size = at.int(window, -1)?;
        if size >= 0 {
            return Err(at.wrong(window, "-1: all keys", size.to_string()));
        }
    }
    if at.n_inputs() > 4 {
        return Err(at.wrong(
            "inputs",
            "Q, K, V and perhaps a mask",
            "keys and values of the past",
        ));
    }
    let operands = [import.operand(at, 0)?, import.operand(at, 1)?, import.operand(at, 2)?];
    let is_flat = import.shape(operands[0]).len() == 3;
    let mut heads = operands;
    for (i, (operand, name)) in
        operands.into_iter().zip(["q_num_heads", "kv_num_heads", "kv_num_heads"]).enumerate()
    {
        if import.shape(operand).len() == 3 {
            heads[i] = split(import, at, operand, name, i)?;
        }
    }
    let [q, mut k, mut v] = heads;
    if [q, k, v].iter().any(|&id| import.shape(id).len() != 4) {
        return Err(at.wrong("inputs", "Q, K and V of three or four axes", "others"));
    }
    let (n_queries, n_keys) = (import.shape(q)[1], import.shape(k)[1]);
    if n_queries != n_keys {
        let each =
            n_queries.checked_div(n_keys).filter(|&n| n.checked_mul(n_keys) == Some(n_queries));
        let wrong = || at.wrong("q_num_heads", "a multiple of kv_num_heads", n_queries.to_string());
        let each = each.ok_or_else(wrong)?;
        k = repeat(import, at, k, each, "keys")?;
        v = repeat(import, at, v, each, "values")?;
    }
    let logits = logits(import, at, q, k)?;
    let logits = masked(import, at, logits)?;
    let weights = weights(import, at, logits)?;
    if !is_flat {
        import.node(at, Op::MatMul, &[weights, v])?;
        return Ok(true);
    }
    let heads = import.part(at, Op::MatMul, &[weights, v], "heads")?;
    let turned = import.part(at, Op::Transpose { order: vec![0, 2, 1, 3] }, &[heads], "tokens")?;
    let shape = import.shape(turned).to_vec();
    let width = rules::product(shape[2], shape[3]).map_err(|problem| at.problem(problem))?;
    import.node(at, Op::Reshape { shape: vec![shape[0], shape[1], width] }, &[turned])?;
    Ok(true)
}

/// (N, t, h·d) → (N, h, t, d).
fn split(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    x: ValueId,
    name: &'static str,
    place: usize,
) -> Result<ValueId, ImportError> {
    let found = at.int(name, 0)?;
    if found < 1 {
        return Err(at.wrong(name, "a number from 1", found.to_string()));
    }
    let n_heads = Dimension::known(found);
    let shape = import.shape(x).to_vec();
    let width = shape[2].checked_div(n_heads).filter(|&d| d.checked_mul(n_heads) == Some(shape[2]));
    let wrong = || at.wrong(name, "a number that divides the last axis", n_heads.to_string());
    let parts = Op::Reshape { shape: vec![shape[0], shape[1], n_heads, width.ok_or_else(wrong)?] };
    let parts = import.part(at, parts, &[x], &format!("parts{place}"))?;
    import.part(at, Op::Transpose { order: vec![0, 2, 1, 3] }, &[parts], &format!("heads{place}"))
}

/// Each head `each` times: (N, h, t, d) → (N, h·each, t, d).
fn repeat(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    x: ValueId,
    each: Dimension,
    name: &str,
) -> Result<ValueId, ImportError> {
    let shape = import.shape(x).to_vec();
    let [n, h, t, d] = [shape[0], shape[1], shape[2], shape[3]];
    let wide = import.part(at, Op::Unsqueeze { axes: vec![2] }, &[x], &format!("{name}/wide"))?;
    let all = Op::Expand { shape: vec![n, h, each, t, d] };
    let all = import.part(at, all, &[wide], &format!("{name}/all"))?;
    let h = rules::product(h, each).map_err(|problem| at.problem(problem))?;
    import.part(at, Op::Reshape { shape: vec![n, h, t, d] }, &[all], &format!("{name}/repeated"))
}

/// Q Kᵀ · scale, and c · tanh(· / c) of it where there is a cap c.
fn logits(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    q: ValueId,
    k: ValueId,
) -> Result<ValueId, ImportError> {
    let width = import.shape(q)[3].as_known().unwrap_or(1) as f32;
    let scale = at.float("scale", 1.0 / width.sqrt())?;
    let keys = import.part(at, Op::Transpose { order: vec![0, 1, 3, 2] }, &[k], "turned")?;
    let products = import.part(at, Op::MatMul, &[q, keys], "products")?;
    let scale = number(import, at, "scale", scale);
    let scaled = import.part(at, Op::Binary(Binary::Mul), &[products, scale], "scaled")?;
    let cap = at.float("softcap", 0.0)?;
    if cap.is_nan() || cap <= 0.0 {
        return Ok(scaled);
    }
    let cap = number(import, at, "cap", cap);
    let small = import.part(at, Op::Binary(Binary::Div), &[scaled, cap], "small")?;
    let bounded = import.part(at, Op::Unary(Unary::Tanh), &[small], "bounded")?;
    import.part(at, Op::Binary(Binary::Mul), &[bounded, cap], "capped")
}

/// Logits with the mask of the file and the causal one: a query sees keys up to its own place.
fn masked(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    mut logits: ValueId,
) -> Result<ValueId, ImportError> {
    let never = number(import, at, "never", f32::NEG_INFINITY);
    if at.flag("is_causal", false)? {
        let shape = import.shape(logits);
        let extents = [shape[2], shape[3]].map(Dimension::as_known);
        let [Some(n_queries), Some(n_keys)] = extents else {
            return Err(at.wrong("is_causal", "a fixed number of tokens", "an open one"));
        };
        let mask = triangle(import, at, [n_queries, n_keys], 0, false)?;
        logits = import.part(at, Op::Where, &[mask, logits, never], "causal")?;
    }
    if at.input(3).is_none() {
        return Ok(logits);
    }
    let mask = import.operand(at, 3)?;
    let one = Dimension::known(1);
    let n_columns = import.shape(mask).last().copied().unwrap_or(one);
    let n_keys = import.shape(logits)[3];
    if n_columns != n_keys && n_columns != one {
        let found = format!("{n_columns} for {n_keys} keys");
        return Err(at.wrong("attn_mask", "as many columns as keys", found));
    }
    match import.builder.get(mask).kind {
        Kind::Bool => import.part(at, Op::Where, &[mask, logits, never], "masked"),
        Kind::Float | Kind::Int => {
            import.part(at, Op::Binary(Binary::Add), &[logits, mask], "masked")
        }
    }
}

/// softmax of each row, and zeros in rows whose keys are all masked.
fn weights(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    logits: ValueId,
) -> Result<ValueId, ImportError> {
    let softmax = Op::Softmax { axis: 3, to_end: false, is_log: false };
    if !may_mask_all(import, at)? {
        return import.part(at, softmax, &[logits], "weights");
    }
    let never = number(import, at, "never", f32::NEG_INFINITY);
    let zero = number(import, at, "zero", 0.0);
    let most = Op::Reduce { reduction: Reduction::Max, axes: vec![3], keep: true };
    let most = import.part(at, most, &[logits], "most")?;
    let is_empty = import.part(at, Op::Binary(Binary::Equal), &[most, never], "empty")?;
    // A softmax of −∞ alone would be NaN, and its gradient too.
    let finite = import.part(at, Op::Where, &[is_empty, zero, logits], "finite")?;
    let shares = import.part(at, softmax, &[finite], "shares")?;
    import.part(at, Op::Where, &[is_empty, zero, shares], "weights")
}

/// Whether the mask may leave a query without keys: a learned one may not, the causal one leaves the first key.
fn may_mask_all(import: &mut Import<'_, '_, '_>, at: &At<'_>) -> Result<bool, ImportError> {
    if at.input(3).is_none() {
        return Ok(false);
    }
    let mask = import.operand(at, 3)?;
    let mask = import.builder.get(mask);
    Ok(match &mask.source {
        Source::Parameter(_) => false,
        Source::Constant(Numbers { entries: Entries::Floats(values), .. }) => {
            values.contains(&f64::NEG_INFINITY)
        }
        _ => mask.kind != Kind::Int,
    })
}

/// Where column − row ≤ diagonal, or ≥ for the upper triangle: a matrix of truth values.
///
/// It is made by operators of the graph, so that a large one is not built while a file is read.
pub(super) fn triangle(
    import: &mut Import<'_, '_, '_>,
    at: &At<'_>,
    [n_rows, n_columns]: [i64; 2],
    diagonal: i64,
    is_upper: bool,
) -> Result<ValueId, ImportError> {
    // Diagonals outside the matrix are all alike.
    let diagonal = diagonal.clamp(n_rows.saturating_neg(), n_columns);
    let limit = n_rows.checked_add(diagonal);
    let wrong = || at.wrong("k", "a diagonal of the matrix", diagonal.to_string());
    let limit = limit.ok_or_else(wrong)?;
    let mut range = |start, limit, name: &str| {
        let operands = [start, limit, 1].map(|n| {
            let entries = Entries::Integers(vec![Dimension::known(n)]);
            import.own_constant(at, "bound", Kind::Int, Numbers { shape: vec![], entries })
        });
        import.part(at, Op::Range, &operands, name)
    };
    let rows = range(diagonal, limit, "rows")?;
    let columns = range(0, n_columns, "columns")?;
    let rows = import.part(at, Op::Unsqueeze { axes: vec![1] }, &[rows], "below")?;
    let compare = if is_upper { Binary::LessOrEqual } else { Binary::GreaterOrEqual };
    import.part(at, Op::Binary(compare), &[rows, columns], "triangle")
}

fn number(import: &mut Import<'_, '_, '_>, at: &At<'_>, name: &str, value: f32) -> ValueId {
    let numbers = Numbers { shape: vec![], entries: Entries::Floats(vec![f64::from(value)]) };
    import.own_constant(at, name, Kind::Float, numbers)
}
