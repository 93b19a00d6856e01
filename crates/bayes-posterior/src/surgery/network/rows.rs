//! Which rows of an activation belong to which example, and which of them count.

use candle_core::{DType, Tensor};
use models::graph::{Dimension, Graph, Op, Source, ValueId};

use crate::error::{Error, Result};

/// Where the examples of a value are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Examples {
    /// Along this axis.
    Axis(usize),
    /// Along the first axis, the k rows of an example one after another.
    Outer(usize),
    /// Along the first axis, row i of all examples before row i + 1 of any.
    Inner(usize),
    /// Nothing in the graph tells.
    Unknown,
}

/// Where the examples of a value are.
pub(super) fn examples(graph: &Graph, id: ValueId) -> Examples {
    let shape = &graph.value(id).shape;
    let growing: Vec<usize> = (0..shape.len()).filter(|&axis| shape[axis].is_per_batch()).collect();
    match growing[..] {
        // A batch of fixed size comes first.
        [] => Examples::Axis(0),
        [axis] if shape[axis] == Dimension::BATCH => Examples::Axis(axis),
        [0] if shape[0].fixed == 0 => merged(graph, id, shape[0]),
        _ => Examples::Unknown,
    }
}

/// How a first axis of k·N rows came about: by the Reshape or Flatten that has merged the batch with another axis.
fn merged(graph: &Graph, id: ValueId, rows: Dimension) -> Examples {
    let Ok(k) = usize::try_from(rows.per_example) else { return Examples::Unknown };
    let mut id = id;
    loop {
        let Source::Node { node, .. } = graph.value(id).source else { return Examples::Unknown };
        let node = &graph.nodes()[node];
        let first = |id: &ValueId| graph.value(*id).shape.first().copied();
        if let Some(&same) = node.operands.iter().find(|id| first(id) == Some(rows)) {
            id = same;
            continue;
        }
        let (Op::Reshape { .. } | Op::Flatten { .. }, Some(&from)) =
            (&node.op, node.operands.first())
        else {
            return Examples::Unknown;
        };
        let shape = &graph.value(from).shape;
        let batch = shape.iter().position(|&extent| extent == Dimension::BATCH);
        return match batch {
            Some(0) => Examples::Outer(k),
            Some(axis) => {
                let before = shape[..axis].iter().map(|extent| extent.as_known().unwrap_or(0));
                let is_all = before.product::<i64>() == rows.per_example;
                if is_all { Examples::Inner(k) } else { Examples::Unknown }
            }
            None => Examples::Unknown,
        };
    }
}

/// Σ over positions of values (…, o) with `n` examples: (n, o); each row apart where the graph does not tell whose it is.
pub(super) fn summed(values: &Tensor, at: Examples, n: usize) -> Result<Tensor> {
    let o = if values.rank() < 2 { 1 } else { values.dim(values.rank() - 1)? };
    Ok(match at {
        Examples::Axis(0) | Examples::Outer(_) => values.reshape((n, (), o))?.sum(1)?,
        Examples::Axis(axis) => {
            let front = values.transpose(0, axis)?.contiguous()?;
            front.reshape((n, (), o))?.sum(1)?
        }
        Examples::Inner(k) => values.reshape((k, n, (), o))?.sum(2)?.sum(0)?,
        Examples::Unknown => values.reshape(((), o))?,
    })
}

/// Which rows of values (…, n) count by a mask (m, T), 1 or 0 a row; `None` where the mask says nothing about these rows.
pub(super) fn counts(values: &Tensor, at: Examples, mask: &Tensor) -> Result<Option<Vec<f64>>> {
    let (m, t) = mask.dims2()?;
    let rows = values.dims().split_last().map_or(&[][..], |(_, rows)| rows);
    let by_position = match (at, rows) {
        (Examples::Axis(0), &[a, b]) if (a, b) == (m, t) => false,
        (Examples::Axis(1), &[a, b]) if (a, b) == (t, m) => true,
        (Examples::Outer(k), &[_]) if k == t => false,
        (Examples::Inner(k), &[_]) if k == t => true,
        (Examples::Axis(_) | Examples::Outer(_) | Examples::Inner(_), _) => return Ok(None),
        (Examples::Unknown, _) => {
            return Err(Error::Refused {
                edit: "a mask of tokens".into(),
                reason: format!(
                    "nothing tells which rows of activations of shape {:?} belong to which example; export the network with \
                     the batch first",
                    values.dims()
                ),
            });
        }
    };
    let mask = if by_position { mask.t()?.contiguous()? } else { mask.clone() };
    Ok(Some(mask.flatten_all()?.to_dtype(DType::F64)?.to_vec1::<f64>()?))
}

/// The rows of activations (…, n) that count, (rows, n); of (m,) each number is a row.
pub(super) fn counted_rows(values: &Tensor, at: Examples, mask: Option<&Tensor>) -> Result<Tensor> {
    let n = if values.rank() < 2 { 1 } else { values.dim(values.rank() - 1)? };
    let rows = values.reshape(((), n))?;
    let counts = match mask {
        Some(mask) => counts(values, at, mask)?,
        None => None,
    };
    let Some(counts) = counts else { return Ok(rows) };
    let kept: Vec<u32> =
        (0u32..).zip(&counts).filter(|(_, v)| **v != 0.0).map(|(i, _)| i).collect();
    Ok(rows.index_select(&Tensor::new(kept, rows.device())?, 0)?)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use models::graph::{Builder, Kind};

    use super::*;

    type TestResult = std::result::Result<(), Box<dyn std::error::Error>>;

    /// (N, 3, 2) as it is, transposed to (3, N, 2), and both flattened to rows.
    fn graph() -> std::result::Result<(Graph, [ValueId; 4]), models::graph::Error> {
        let mut builder = Builder::new();
        let shape = vec![Dimension::BATCH, Dimension::known(3), Dimension::known(2)];
        let x = builder.input("x", Kind::Float, shape);
        let rows = vec![Dimension { fixed: 0, per_example: 3 }, Dimension::known(2)];
        let flat = |builder: &mut Builder, from, name: &str| {
            builder.add(name, Op::Reshape { shape: rows.clone() }, &[from], &[name])
        };
        let a = flat(&mut builder, x, "a")?[0];
        let t = builder.add("t", Op::Transpose { order: vec![1, 0, 2] }, &[x], &["t"])?[0];
        let b = flat(&mut builder, t, "b")?[0];
        Ok((builder.finish(&[a, b]), [x, a, t, b]))
    }

    #[test]
    fn every_layout_gives_the_same_sums_and_counts() -> TestResult {
        let (graph, ids) = graph()?;
        let x = Tensor::arange(0f64, 24.0, &Device::Cpu)?.reshape((4, 3, 2))?;
        let t = x.transpose(0, 1)?.contiguous()?;
        let values = [x.clone(), x.reshape((12, 2))?, t.clone(), t.reshape((12, 2))?];
        let found = ids.map(|id| examples(&graph, id));
        let expected =
            [Examples::Axis(0), Examples::Outer(3), Examples::Axis(1), Examples::Inner(3)];
        assert_eq!(found, expected);
        let mask = Tensor::new(&[[1u8, 1, 0], [1, 0, 0], [1, 1, 1], [1, 1, 0]], &Device::Cpu)?;
        let naive = x.sum(1)?.to_vec2::<f64>()?;
        for (values, at) in values.iter().zip(found) {
            assert_eq!(summed(values, at, 4)?.to_vec2::<f64>()?, naive, "{at:?}");
            let rows = counted_rows(values, at, Some(&mask))?;
            assert_eq!(rows.dims(), [8, 2]);
            // Tokens (0,0), (0,1), (1,0), (2,0), (2,1), (2,2), (3,0), (3,1): first entries 0 2 6 12 14 16 18 20.
            let sum = rows.narrow(1, 0, 1)?.sum_all()?.to_scalar::<f64>()?;
            assert_eq!(sum, 88.0, "{at:?}");
        }
        assert!(counted_rows(&x, Examples::Unknown, Some(&mask)).is_err());
        // Pooled values have no tokens.
        assert_eq!(counted_rows(&x.sum(1)?, Examples::Axis(0), Some(&mask))?.dims(), [4, 2]);
        Ok(())
    }
}
