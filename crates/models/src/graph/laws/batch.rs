//! Shape arithmetic with a batch N, against the same arithmetic of a known number of examples.

use core_tensors::Rng;

use crate::graph::rules::slice_range;
use crate::graph::{
    Binary, Builder, Dimension, Entries, Kind, Numbers, Op, Reduction, Source, Unary, ValueId,
};

/// Either N or the number that stands for it.
type Batch = Dimension;

fn n(fixed: i64) -> Dimension {
    Dimension::known(fixed)
}

/// The value of an extent; `None` where it depends on the batch.
fn whole(builder: &mut Builder, entries: Vec<Dimension>) -> ValueId {
    let numbers = Numbers { shape: vec![entries.len()], entries: Entries::Integers(entries) };
    builder.constant("c", Kind::Int, numbers)
}

/// What is known of a value.
fn entries(builder: &Builder, id: ValueId) -> Option<Vec<Dimension>> {
    match &builder.get(id).source {
        Source::Constant(Numbers { entries: Entries::Integers(entries), .. }) => {
            Some(entries.clone())
        }
        _ => None,
    }
}

/// A random program of shape arithmetic on [N, 3, 8, 2 N + 4]; what it makes of each value, up to the first failure.
fn program(batch: Batch, seed: u64) -> Vec<Option<Vec<Dimension>>> {
    let mut rng = Rng::new(seed);
    let mut builder = Builder::new();
    let steep = batch.checked_mul(n(2)).unwrap().checked_add(n(4)).unwrap();
    let x = builder.input("x", Kind::Float, vec![batch, n(3), n(8), steep]);
    let first = builder.add("", Op::Shape { start: 0, end: 4 }, &[x], &["s"]).unwrap()[0];
    let mut made = vec![first];
    for _ in 0..12 {
        let a = made[rng.below(made.len())];
        let extent = builder.get(a).shape[0].as_known().unwrap();
        let pick = rng.below(9);
        let (number, small) = (rng.below(5) as i64 + 1, rng.below(3) as i64 - 1);
        let (op, operands) = match pick {
            0 => {
                let (start, end) = (n(small), n([2, i64::MAX, -1][rng.below(3)]));
                let step = [1, -1][rng.below(2)];
                let range = slice_range(0, n(extent), start, end, step).unwrap();
                (Op::Slice { ranges: vec![range] }, vec![a])
            }
            1 => {
                let indices: Vec<Dimension> = (0..1 + rng.below(3))
                    .map(|_| n(rng.below(extent.max(1) as usize) as i64))
                    .collect();
                let indices = whole(&mut builder, indices);
                (Op::Gather { axis: 0 }, vec![a, indices])
            }
            2 => (Op::Concat { axis: 0 }, vec![a, made[rng.below(made.len())]]),
            3 => {
                let reduction =
                    [Reduction::Sum, Reduction::Prod, Reduction::Max, Reduction::Min][rng.below(4)];
                (Op::Reduce { reduction, axes: vec![0], keep: true }, vec![a])
            }
            4 => {
                let unary = [Unary::Neg, Unary::Abs, Unary::Sign, Unary::Relu][rng.below(4)];
                (Op::Unary(unary), vec![a])
            }
            5 | 6 => {
                let b = whole(&mut builder, vec![n(number)]);
                (Op::Binary(arithmetic(&mut rng)), vec![a, b])
            }
            7 => {
                let one = whole(&mut builder, vec![n(0)]);
                let b = made[rng.below(made.len())];
                let b = builder.add("", Op::Gather { axis: 0 }, &[b, one], &["g"]);
                let Ok(b) = b else { continue };
                (Op::Binary(arithmetic(&mut rng)), vec![a, b[0]])
            }
            _ => {
                let b = whole(&mut builder, vec![n(number)]);
                let test = [Binary::Equal, Binary::Less, Binary::GreaterOrEqual][rng.below(3)];
                let is_true = builder.add("", Op::Binary(test), &[a, b], &["t"]).unwrap()[0];
                (Op::Where, vec![is_true, a, b])
            }
        };
        // Extents of 0 and divisors of 0 fail.
        let Ok(result) = builder.add("", op, &operands, &["y"]) else { break };
        made.push(result[0]);
    }
    made.iter().map(|&id| entries(&builder, id)).collect()
}

fn arithmetic(rng: &mut Rng) -> Binary {
    use Binary::{Add, Div, Max, Min, Mod, Mul, Sub};
    [Add, Sub, Mul, Div, Min, Max, Mod][rng.below(7)]
}

#[test]
fn folded_shape_arithmetic_is_that_of_every_batch() {
    let (mut of_batch, mut all) = (0, 0);
    for seed in 0..3000 {
        let symbolic = program(Dimension::BATCH, seed);
        for m in [1, 2, 5] {
            let concrete = program(n(m), seed);
            // Extents of 0 for one batch, or a divisor that is 0 there, end a program early.
            for (found, expected) in symbolic.iter().zip(&concrete) {
                all += 1;
                let Some(found) = found else { continue };
                let at_m: Vec<i64> =
                    found.iter().map(|d| d.of_batch(m as usize).unwrap()).collect();
                let expected: Option<Vec<i64>> =
                    expected.as_ref().and_then(|e| e.iter().map(|d| d.as_known()).collect());
                if let Some(expected) = expected {
                    assert_eq!(at_m, expected, "program {seed} at {m}");
                    of_batch += 1;
                }
            }
        }
    }
    assert!(of_batch * 2 > all, "{of_batch} of {all} are folded");
}
