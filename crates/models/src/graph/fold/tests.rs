//! Chains as exporters write them, functions against closed forms, and what is left for later.

use super::*;
use crate::graph::rules::{reshape_target, slice_range};
use crate::graph::{Binary, Builder, Error, PadMode, Reduction, Unary, ValueId};

/// N examples.
const N: Dimension = Dimension::BATCH;

fn n(fixed: i64) -> Dimension {
    Dimension::known(fixed)
}

fn ints(builder: &mut Builder, shape: &[usize], entries: &[i64]) -> ValueId {
    let entries = Entries::Integers(entries.iter().map(|&entry| n(entry)).collect());
    builder.constant("c", Kind::Int, Numbers { shape: shape.to_vec(), entries })
}

fn floats(builder: &mut Builder, shape: &[usize], entries: &[f64]) -> ValueId {
    let entries = Entries::Floats(entries.to_vec());
    builder.constant("c", Kind::Float, Numbers { shape: shape.to_vec(), entries })
}

/// The only result of an operator.
fn add(builder: &mut Builder, op: Op, operands: &[ValueId]) -> ValueId {
    builder.add("node", op, operands, &["y"]).unwrap()[0]
}

fn known(builder: &Builder, id: ValueId) -> Option<Entries> {
    match &builder.get(id).source {
        Source::Constant(numbers) => Some(numbers.entries.clone()),
        _ => None,
    }
}

fn known_ints(builder: &Builder, id: ValueId) -> Option<Vec<Dimension>> {
    match known(builder, id) {
        Some(Entries::Integers(entries)) => Some(entries),
        _ => None,
    }
}

fn known_floats(builder: &Builder, id: ValueId) -> Option<Vec<f64>> {
    match known(builder, id) {
        Some(Entries::Floats(entries)) => Some(entries),
        _ => None,
    }
}

fn whole_shape(rank: usize) -> Op {
    Op::Shape { start: 0, end: rank }
}

/// What a reader makes of a Reshape: its target must be known.
fn reshaped(builder: &mut Builder, x: ValueId, target: ValueId) -> ValueId {
    let target = known_ints(builder, target).expect("the target is folded");
    let shape = reshape_target(&builder.get(x).shape, &target, false).unwrap();
    add(builder, Op::Reshape { shape }, &[x])
}

#[test]
fn a_view_of_size_of_the_batch_keeps_it() {
    // x.view(x.size(0), -1)
    let mut b = Builder::new();
    let x = b.input("x", Kind::Float, vec![N, n(3), n(4), n(5)]);
    let shape = add(&mut b, whole_shape(4), &[x]);
    let zero = ints(&mut b, &[], &[0]);
    let batch = add(&mut b, Op::Gather { axis: 0 }, &[shape, zero]);
    assert_eq!(b.get(batch).shape, []);
    let batch = add(&mut b, Op::Unsqueeze { axes: vec![0] }, &[batch]);
    let rest = ints(&mut b, &[1], &[-1]);
    let target = add(&mut b, Op::Concat { axis: 0 }, &[batch, rest]);
    let y = reshaped(&mut b, x, target);
    assert_eq!(b.get(y).shape, [N, n(60)]);
    let graph = b.finish(&[y]);
    assert_eq!(graph.nodes().len(), 1);
}

#[test]
fn heads_of_attention_and_their_scale_are_known() {
    let mut b = Builder::new();
    let (m, tokens, width, heads) = (N, 7, 32, 4);
    let x = b.input("x", Kind::Float, vec![m, n(tokens), n(width)]);
    let shape = add(&mut b, whole_shape(3), &[x]);
    let range = slice_range(0, n(3), n(0), n(-1), 1).unwrap();
    let front = add(&mut b, Op::Slice { ranges: vec![range] }, &[shape]);
    let last = ints(&mut b, &[1], &[2]);
    let width_of = add(&mut b, Op::Gather { axis: 0 }, &[shape, last]);
    let heads_of = ints(&mut b, &[1], &[heads]);
    let per_head = add(&mut b, Op::Binary(Binary::Div), &[width_of, heads_of]);
    let target = add(&mut b, Op::Concat { axis: 0 }, &[front, heads_of, per_head]);
    let split = reshaped(&mut b, x, target);
    assert_eq!(b.get(split).shape, [m, n(tokens), n(heads), n(8)]);
    let q = add(&mut b, Op::Transpose { order: vec![0, 2, 1, 3] }, &[split]);
    // 1/√d of the last extent.
    let shape = add(&mut b, whole_shape(4), &[q]);
    let range = slice_range(0, n(4), n(-1), n(i64::MAX), 1).unwrap();
    let d = add(&mut b, Op::Slice { ranges: vec![range] }, &[shape]);
    let d = add(&mut b, Op::Cast { to: Kind::Float }, &[d]);
    let root = add(&mut b, Op::Unary(Unary::Sqrt), &[d]);
    let scale = add(&mut b, Op::Unary(Unary::Reciprocal), &[root]);
    let scale = add(&mut b, Op::Unary(Unary::Sqrt), &[scale]);
    let one_over = 1.0 / f64::from(8f32.sqrt());
    assert_eq!(known_floats(&b, scale), Some(vec![f64::from((one_over as f32).sqrt())]));
    let q = add(&mut b, Op::Binary(Binary::Mul), &[q, scale]);
    assert_eq!(b.get(q).shape, [m, n(heads), n(tokens), n(8)]);
    let q = add(&mut b, Op::Transpose { order: vec![0, 2, 1, 3] }, &[q]);
    let rest = ints(&mut b, &[1], &[-1]);
    let target = add(&mut b, Op::Concat { axis: 0 }, &[front, rest]);
    let y = reshaped(&mut b, q, target);
    assert_eq!(b.get(y).shape, [m, n(tokens), n(width)]);
    let graph = b.finish(&[y]);
    let names: Vec<&str> = graph.nodes().iter().map(|node| node.op.name()).collect();
    assert_eq!(names, ["Reshape", "Transpose", "Mul", "Transpose", "Reshape"]);
}

#[test]
fn a_class_token_expands_to_the_batch() {
    // token.expand(x.size(0), -1, -1): where the asked shape is −1, 1.
    let mut b = Builder::new();
    let x = b.input("x", Kind::Float, vec![N, n(16), n(8)]);
    let shape = add(&mut b, whole_shape(3), &[x]);
    let first = slice_range(0, n(3), n(0), n(1), 1).unwrap();
    let batch = add(&mut b, Op::Slice { ranges: vec![first] }, &[shape]);
    let rest = ints(&mut b, &[2], &[-1, -1]);
    let asked = add(&mut b, Op::Concat { axis: 0 }, &[batch, rest]);
    let minus = ints(&mut b, &[1], &[-1]);
    let is_open = add(&mut b, Op::Binary(Binary::Equal), &[asked, minus]);
    let ones = add(&mut b, Op::Fill { shape: vec![n(3)], value: 1.0, kind: Kind::Int }, &[]);
    let target = add(&mut b, Op::Where, &[is_open, ones, asked]);
    assert_eq!(known_ints(&b, target), Some(vec![N, n(1), n(1)]));
    let token = floats(&mut b, &[1, 1, 8], &[0.5; 8]);
    let shape = known_ints(&b, target).unwrap();
    let tokens = add(&mut b, Op::Expand { shape }, &[token]);
    // As many as there are examples: not before the data.
    assert_eq!(known(&b, tokens), None);
    let joined = add(&mut b, Op::Concat { axis: 1 }, &[tokens, x]);
    assert_eq!(b.get(joined).shape, [N, n(17), n(8)]);
}

#[test]
fn comparisons_are_known_where_every_batch_agrees() {
    let mut b = Builder::new();
    let x = b.input("x", Kind::Float, vec![N, n(3)]);
    let shape = add(&mut b, whole_shape(2), &[x]);
    let mut with = |op, number: i64| {
        let number = ints(&mut b, &[1], &[number]);
        let result = add(&mut b, Op::Binary(op), &[shape, number]);
        let found = known_ints(&b, result)?;
        Some(found.iter().map(|d| d.as_known().unwrap()).collect::<Vec<i64>>())
    };
    assert_eq!(with(Binary::Equal, 0), Some(vec![0, 0]));
    assert_eq!(with(Binary::Equal, -1), Some(vec![0, 0]));
    assert_eq!(with(Binary::Equal, 3), None);
    assert_eq!(with(Binary::Greater, 0), Some(vec![1, 1]));
    assert_eq!(with(Binary::Greater, 1), None);
    assert_eq!(with(Binary::GreaterOrEqual, 1), Some(vec![1, 1]));
    assert_eq!(with(Binary::Less, 1), Some(vec![0, 0]));
    assert_eq!(with(Binary::LessOrEqual, 0), Some(vec![0, 0]));
    let itself = add(&mut b, Op::Binary(Binary::Equal), &[shape, shape]);
    assert_eq!(known_ints(&b, itself), Some(vec![n(1), n(1)]));
    let any = add(&mut b, Op::Cast { to: Kind::Bool }, &[shape]);
    assert_eq!(known_ints(&b, any), Some(vec![n(1), n(1)]));
    assert_eq!(b.get(any).kind, Kind::Bool);
    // The batch as a float, or its square, is known for no batch.
    let float = add(&mut b, Op::Cast { to: Kind::Float }, &[shape]);
    let square = add(&mut b, Op::Binary(Binary::Mul), &[shape, shape]);
    assert_eq!((known(&b, float), known(&b, square)), (None, None));
}

#[test]
fn sizes_decide_what_is_computed_beforehand() {
    let mut b = Builder::new();
    let fill = |len| Op::Fill { shape: vec![len], value: 2.0, kind: Kind::Float };
    let largest = add(&mut b, fill(n(1_000_000)), &[]);
    let beyond = add(&mut b, fill(n(1_000_001)), &[]);
    let batch = add(&mut b, fill(N), &[]);
    assert_eq!(known(&b, largest).unwrap().len(), 1_000_000);
    assert_eq!((known(&b, beyond), known(&b, batch)), (None, None));
    let given = floats(&mut b, &[500_000], &vec![1.0; 500_000]);
    let fourfold = add(&mut b, Op::Tile { repeats: vec![n(4)] }, &[given]);
    let more = add(&mut b, Op::Tile { repeats: vec![n(5)] }, &[given]);
    assert_eq!((known(&b, fourfold).map(|e| e.len()), known(&b, more)), (Some(2_000_000), None));
    // Few nodes do not ask for any number of them: 4 million, and 4 times what was given.
    let mut small = Builder::new();
    let sizes = |known: Option<Entries>| known.map(|entries| entries.len());
    for i in 0..6 {
        let y = add(&mut small, fill(n(1_000_000)), &[]);
        assert_eq!(sizes(known(&small, y)), (i < 4).then_some(1_000_000));
    }
    let shape = add(&mut small, fill(n(64)), &[]);
    assert_eq!(sizes(known(&small, shape)), Some(64));
    small.parameter("w", &[500, 500]);
    let y = add(&mut small, fill(n(999_000)), &[]);
    assert_eq!(sizes(known(&small, y)), Some(999_000));
    // Extents of 0 hide loops over the others.
    let none = Numbers { shape: vec![0, 1 << 40], entries: Entries::Floats(vec![]) };
    let none = b.constant("none", Kind::Float, none);
    let turned = b.add("", Op::Transpose { order: vec![1, 0] }, &[none], &["y"]);
    assert!(turned.is_err());
    // Entries that do not fill a shape are none.
    let wrong = Numbers { shape: vec![3], entries: Entries::Floats(vec![1.0]) };
    let wrong = b.constant("wrong", Kind::Float, wrong);
    let same = add(&mut b, Op::Unary(Unary::Neg), &[wrong]);
    assert_eq!(known(&b, same), None);
    let empty = floats(&mut b, &[0, 3], &[]);
    for (reduction, expected) in [
        (Reduction::Sum, Some(vec![0.0; 3])),
        (Reduction::Prod, Some(vec![1.0; 3])),
        (Reduction::Max, None),
    ] {
        let op = Op::Reduce { reduction, axes: vec![0], keep: false };
        let y = add(&mut b, op, &[empty]);
        assert_eq!(known_floats(&b, y), expected);
    }
}

#[test]
fn wrong_whole_numbers_are_refused() {
    let mut b = Builder::new();
    let [one, zero] = [1, 0].map(|number| ints(&mut b, &[], &[number]));
    let (huge, least) = (ints(&mut b, &[], &[i64::MAX]), ints(&mut b, &[], &[i64::MIN]));
    let minus = ints(&mut b, &[], &[-1]);
    let two = ints(&mut b, &[], &[2]);
    let mut fails = |op: Op, operands: &[ValueId], part: &str| {
        let text = match b.add("node", op, operands, &["y"]) {
            Err(error @ Error::Node { .. }) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert!(text.contains(part), "{text}");
    };
    fails(Op::Binary(Binary::Div), &[one, zero], "a divisor: expected a number other than 0");
    fails(Op::Binary(Binary::Mod), &[one, zero], "a divisor");
    for (binary, x, y) in [
        (Binary::Add, huge, one),
        (Binary::Sub, least, one),
        (Binary::Mul, huge, two),
        (Binary::Div, least, minus),
        (Binary::Pow, two, huge),
        (Binary::Pow, huge, two),
    ] {
        fails(Op::Binary(binary), &[x, y], "beyond");
    }
    fails(Op::Unary(Unary::Neg), &[least], "beyond");
    fails(Op::Unary(Unary::Abs), &[least], "beyond");
    let sum = |reduction| Op::Reduce { reduction, axes: vec![0], keep: false };
    let pair = ints(&mut b, &[2], &[i64::MAX, i64::MAX]);
    for reduction in [Reduction::Sum, Reduction::Prod, Reduction::L1, Reduction::SumSquare] {
        assert!(b.add("node", sum(reduction), &[pair], &["y"]).is_err());
    }
}

#[test]
fn whole_numbers_divide_towards_zero_and_wrap_with_the_divisor() {
    let mut b = Builder::new();
    let x = ints(&mut b, &[6], &[7, -7, 7, -7, 6, 0]);
    let y = ints(&mut b, &[6], &[2, 2, -2, -2, -3, 5]);
    let mut of = |binary| {
        let id = add(&mut b, Op::Binary(binary), &[x, y]);
        known_ints(&b, id).unwrap().iter().map(|d| d.fixed).collect::<Vec<i64>>()
    };
    assert_eq!(of(Binary::Div), [3, -3, -3, 3, -2, 0]);
    // numpy.mod
    assert_eq!(of(Binary::Mod), [1, 1, -1, -1, 0, 0]);
    let x = ints(&mut b, &[5], &[2, -3, 5, -1, 0]);
    let exponents = ints(&mut b, &[5], &[10, 3, 0, i64::MAX, i64::MAX]);
    let powers = add(&mut b, Op::Binary(Binary::Pow), &[x, exponents]);
    let expected: Vec<Dimension> = [1024, -27, 1, -1, 0].map(n).to_vec();
    assert_eq!(known_ints(&b, powers), Some(expected));
    let half = floats(&mut b, &[1], &[0.5]);
    let squares = ints(&mut b, &[3], &[0, 4, 10]);
    let roots = add(&mut b, Op::Binary(Binary::Pow), &[squares, half]);
    assert_eq!(known_ints(&b, roots), Some([0, 2, 3].map(n).to_vec()));
}

#[test]
fn functions_of_floats_are_their_formulas() {
    let points = [-30.0, -3.5, -2.5, -1.0, -0.25, 0.0, 0.5, 1.0, 2.0, 2.5, 30.0];
    let plus = |x: f64| (1.0 + x.exp()).ln();
    type Formula = Box<dyn Fn(f64) -> f64>;
    let formulas: Vec<(Unary, Formula)> = vec![
        (Unary::LeakyRelu { slope: 0.25 }, Box::new(|x| x.max(0.25 * x))),
        (
            Unary::Selu { alpha: 1.5, gamma: 2.0 },
            Box::new(|x| 2.0 * if x > 0.0 { x } else { 1.5 * (x.exp() - 1.0) }),
        ),
        (
            Unary::Celu { alpha: 2.0 },
            Box::new(|x| x.max(0.0) + (2.0 * ((x / 2.0).exp() - 1.0)).min(0.0)),
        ),
        (Unary::ThresholdedRelu { alpha: 1.0 }, Box::new(|x| if x > 1.0 { x } else { 0.0 })),
        (
            Unary::HardSigmoid { alpha: 0.25, beta: 0.5 },
            Box::new(|x| (0.25 * x + 0.5).clamp(0.0, 1.0)),
        ),
        (Unary::HardSwish, Box::new(|x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0)),
        (Unary::Mish, Box::new(move |x| x * plus(x).tanh())),
        (Unary::Softplus, Box::new(plus)),
        (Unary::Softsign, Box::new(|x| x / (1.0 + x.abs()))),
        (
            Unary::Round,
            Box::new(|x| {
                let down = x.floor();
                let is_up = x - down > 0.5 || (x - down == 0.5 && down % 2.0 != 0.0);
                if is_up { down + 1.0 } else { down }
            }),
        ),
        (
            Unary::Erf,
            Box::new(|x: f64| {
                // Simpson's rule on 2/√π ∫ e^{−t²}.
                let x = x.clamp(-6.0, 6.0);
                let (steps, h) = (2000, x / 2000.0);
                let weight = |j: usize| {
                    if j.is_multiple_of(steps) { 1.0 } else { 2.0 + 2.0 * (j % 2) as f64 }
                };
                let f = |j: usize| weight(j) * (-(j as f64 * h).powi(2)).exp();
                (0..=steps).map(f).sum::<f64>() * h / 3.0 * std::f64::consts::FRAC_2_SQRT_PI
            }),
        ),
    ];
    let mut b = Builder::new();
    let x = floats(&mut b, &[points.len()], &points);
    for (unary, formula) in formulas {
        let y = add(&mut b, Op::Unary(unary), &[x]);
        for (x, y) in points.iter().zip(known_floats(&b, y).unwrap()) {
            let expected = formula(*x);
            assert!((y - expected).abs() <= 1e-7 * expected.abs().max(1e-5), "{unary:?} {x} {y}");
        }
    }
    let nan = floats(&mut b, &[], &[f64::NAN]);
    for unary in [Unary::Relu, Unary::Sign, Unary::Clip { min: Some(0.0), max: Some(1.0) }] {
        let y = add(&mut b, Op::Unary(unary), &[nan]);
        assert!(known_floats(&b, y).unwrap()[0].is_nan(), "{unary:?}");
    }
    for binary in [Binary::Min, Binary::Max] {
        for operands in [[nan, x], [x, nan]] {
            let y = add(&mut b, Op::Binary(binary), &operands);
            assert!(known_floats(&b, y).unwrap().iter().all(|y| y.is_nan()), "{binary:?}");
        }
    }
}

#[test]
fn whole_numbers_keep_within_bounds_that_no_batch_decides() {
    let mut b = Builder::new();
    let x = b.input("x", Kind::Float, vec![N, n(3)]);
    let shape = add(&mut b, whole_shape(2), &[x]);
    let mut clip = |min, max| {
        let y = add(&mut b, Op::Unary(Unary::Clip { min, max }), &[shape]);
        known_ints(&b, y)
    };
    assert_eq!(clip(Some(1.0), None), Some(vec![N, n(3)]));
    assert_eq!(clip(None, Some(0.0)), Some(vec![n(0), n(0)]));
    assert_eq!(clip(Some(2.0), None), None);
    assert_eq!(clip(Some(0.5), None), None);
}

#[test]
fn pads_and_ranges_are_computed() {
    let mut b = Builder::new();
    let x = ints(&mut b, &[2, 3], &[1, 2, 3, 4, 5, 6]);
    let pads = vec![(1, 0), (-1, 1)];
    let y = add(&mut b, Op::Pad { mode: PadMode::Constant(9.0), pads: pads.clone() }, &[x]);
    let expected = [9, 9, 9, 2, 3, 9, 5, 6, 9].map(n).to_vec();
    assert_eq!(known_ints(&b, y), Some(expected));
    let y = add(&mut b, Op::Pad { mode: PadMode::Edge, pads }, &[x]);
    assert_eq!(known(&b, y), None);
    let [start, limit, step] = [10, 1, -4].map(|number| ints(&mut b, &[], &[number]));
    let y = add(&mut b, Op::Range, &[start, limit, step]);
    assert_eq!(known_ints(&b, y), Some([10, 6, 2].map(n).to_vec()));
    let [start, limit, step] = [0.0, 0.5, 0.2].map(|number| floats(&mut b, &[], &[number]));
    let y = add(&mut b, Op::Range, &[start, limit, step]);
    let expected: Vec<f64> = [0.0, 0.2, 0.4].map(|y: f64| f64::from(y as f32)).to_vec();
    assert_eq!(known_floats(&b, y), Some(expected));
}
