//! Inference and folding against candle: the same operator on random tensors.

mod batch;
mod cases;

use candle_core::{DType, Tensor};
use core_tensors::Rng;

use super::{
    Builder, Dimension, Entries, Error, Kind, Numbers, Op, Reduction, Source, Value, ValueId,
};
use cases::{Case, MAKERS};

fn kind(tensor: &Tensor) -> Kind {
    match tensor.dtype() {
        DType::I64 => Kind::Int,
        DType::U8 => Kind::Bool,
        _ => Kind::Float,
    }
}

fn known(shape: &[usize]) -> Vec<Dimension> {
    shape.iter().map(|&extent| Dimension::known(extent as i64)).collect()
}

fn floats(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
    flat.to_vec1().unwrap()
}

fn numbers(tensor: &Tensor) -> Numbers {
    let entries = match kind(tensor) {
        Kind::Float => Entries::Floats(floats(tensor)),
        Kind::Int | Kind::Bool => Entries::Integers(
            floats(tensor).iter().map(|&entry| Dimension::known(entry as i64)).collect(),
        ),
    };
    Numbers { shape: tensor.dims().to_vec(), entries }
}

/// The results of an operator on inputs of these kinds and shapes.
fn inferred(op: &Op, operands: &[(Kind, Vec<Dimension>)], n: usize) -> Result<Vec<Value>, Error> {
    let mut builder = Builder::new();
    let ids: Vec<ValueId> =
        operands.iter().map(|(kind, shape)| builder.input("x", *kind, shape.clone())).collect();
    let results = builder.add("node", op.clone(), &ids, &vec!["y"; n])?;
    Ok(results.iter().map(|&id| builder.get(id).clone()).collect())
}

/// Both are computed in f32, sums in different orders, functions by different formulas.
fn tolerance(op: &Op) -> f64 {
    match op {
        Op::Unary(_) => 5e-6,
        Op::Reduce { reduction: Reduction::Sum | Reduction::Mean | Reduction::Prod, .. } => 1e-6,
        _ => 0.0,
    }
}

#[test]
fn shapes_are_those_that_candle_gives() {
    let mut rng = Rng::new(3);
    let (mut of_batch, mut all) = (0, 0);
    for round in 0..4000 {
        let Case { op, operands, expected } = MAKERS[round % MAKERS.len()](&mut rng).unwrap();
        let given: Vec<(Kind, Vec<Dimension>)> =
            operands.iter().map(|x| (kind(x), known(x.dims()))).collect();
        let shapes = || expected.iter().map(|y| (kind(y), known(y.dims()))).collect::<Vec<_>>();
        let found = inferred(&op, &given, expected.len()).unwrap();
        let found: Vec<_> = found.into_iter().map(|value| (value.kind, value.shape)).collect();
        assert_eq!(found, shapes(), "{op:?} of {given:?}");

        // The same with a batch in place of the first extent, at that batch; some operators refuse this.
        let Some(&m) = operands[0].dims().first() else { continue };
        let mut with_batch = given.clone();
        for (_, shape) in &mut with_batch {
            if shape.first() == Some(&Dimension::known(m as i64)) && shape.len() == given[0].1.len()
            {
                shape[0] = Dimension::BATCH;
            }
        }
        all += 1;
        let Ok(found) = inferred(&op, &with_batch, expected.len()) else { continue };
        of_batch += 1;
        for (value, (kind, shape)) in found.iter().zip(shapes()) {
            let at_m: Option<Vec<i64>> = value.shape.iter().map(|d| d.of_batch(m)).collect();
            let expected: Option<Vec<i64>> = shape.iter().map(|d| d.as_known()).collect();
            assert_eq!((value.kind, at_m), (kind, expected), "{op:?} of {with_batch:?} at {m}");
        }
    }
    assert!(of_batch * 2 > all, "{of_batch} of {all} operators took a batch");
}

#[test]
fn constants_are_those_that_candle_computes() {
    let mut rng = Rng::new(4);
    let mut folded = 0;
    for round in 0..6000 {
        let Case { op, operands, expected } = MAKERS[round % MAKERS.len()](&mut rng).unwrap();
        let mut builder = Builder::new();
        let ids: Vec<ValueId> =
            operands.iter().map(|x| builder.constant("x", kind(x), numbers(x))).collect();
        let results = builder.add("node", op.clone(), &ids, &vec!["y"; expected.len()]).unwrap();
        for (id, expected) in results.into_iter().zip(&expected) {
            let value = builder.get(id);
            let Source::Constant(found) = &value.source else {
                use Op::{Conv, Gemm, MatMul, MaxPool};
                let is_of_data = matches!(op, Conv { .. } | MatMul | Gemm { .. } | MaxPool { .. });
                assert!(is_of_data, "{op:?} is left");
                continue;
            };
            folded += 1;
            let expected = numbers(expected);
            assert_eq!(found.shape, expected.shape, "{op:?}");
            match (&found.entries, &expected.entries) {
                (Entries::Floats(found), Entries::Floats(expected)) => {
                    for (a, b) in found.iter().zip(expected) {
                        let is_near = (a - b).abs() <= tolerance(&op) * b.abs().max(1.0);
                        assert!(a == b || is_near || a.is_nan() && b.is_nan(), "{op:?}: {a} {b}");
                        assert!(a.is_nan() || *a as f32 as f64 == *a, "{op:?} rounds to f32");
                    }
                }
                (found, expected) => assert_eq!(found, expected, "{op:?} of {operands:?}"),
            }
        }
    }
    assert!(folded > 4000, "{folded}");
}
