//! Operators that candle does not have, and every refusal once.

use std::borrow::Borrow;
use std::slice::from_ref;

use crate::graph::{
    Binary, Builder, Dimension, Entries, Error, Kind, Norm, Numbers, Op, PadMode, Reduction,
    SliceRange, Source, Unary, Value, ValueId, Window,
};

/// N examples.
const N: Dimension = Dimension::BATCH;
/// What stands for N in a shape that is written as numbers.
const BATCH: i64 = -1;

fn n(fixed: i64) -> Dimension {
    Dimension::known(fixed)
}

fn shape(extents: &[i64]) -> Vec<Dimension> {
    extents.iter().map(|&extent| if extent == BATCH { N } else { n(extent) }).collect()
}

fn float(extents: &[i64]) -> (Kind, Vec<Dimension>) {
    (Kind::Float, shape(extents))
}

fn int(extents: &[i64]) -> (Kind, Vec<Dimension>) {
    (Kind::Int, shape(extents))
}

fn truth(extents: &[i64]) -> (Kind, Vec<Dimension>) {
    (Kind::Bool, shape(extents))
}

/// The first result of an operator on inputs.
fn first(op: &Op, operands: &[(Kind, Vec<Dimension>)]) -> Result<Value, Error> {
    let mut builder = Builder::new();
    let ids: Vec<ValueId> =
        operands.iter().map(|(kind, shape)| builder.input("x", *kind, shape.clone())).collect();
    let names = if let Op::Split { sizes, .. } = op { sizes.len() } else { 1 };
    let results = builder.add("node", op.clone(), &ids, &vec!["y"; names])?;
    Ok(builder.get(results[0]).clone())
}

fn gives(
    op: &Op,
    operands: &[(Kind, Vec<Dimension>)],
    expected: impl Borrow<(Kind, Vec<Dimension>)>,
) {
    let value = first(op, operands).unwrap();
    assert_eq!(&(value.kind, value.shape), expected.borrow(), "{op:?}");
}

fn fails(op: &Op, operands: &[(Kind, Vec<Dimension>)], part: &str) {
    let text = match first(op, operands) {
        Ok(value) => panic!("{op:?} of {operands:?} gives {value:?}"),
        Err(error) => error.to_string(),
    };
    assert!(text.starts_with("node `node` (") && text.contains(part), "{text}");
}

fn window(kernel: [usize; 2]) -> Window {
    Window { kernel, strides: [1, 1], dilations: [1, 1], pads: [0; 4], ceil: false }
}

fn conv(kernel: [usize; 2], groups: usize) -> Op {
    Op::Conv { window: window(kernel), groups }
}

fn gemm(transpose_a: bool, transpose_b: bool) -> Op {
    Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a, transpose_b }
}

fn sliced(start: i64, step: i64, len: Dimension) -> Op {
    Op::Slice { ranges: vec![SliceRange { axis: 0, start: n(start), step, len }] }
}

#[test]
fn products_of_vectors_are_those_of_numpy() {
    let op = Op::MatMul;
    gives(&op, &[float(&[3]), float(&[3])], float(&[]));
    gives(&op, &[float(&[3]), float(&[3, 4])], float(&[4]));
    gives(&op, &[float(&[BATCH, 3]), float(&[3])], float(&[BATCH]));
    gives(&op, &[float(&[3]), float(&[5, 3, 4])], float(&[5, 4]));
    gives(&op, &[float(&[BATCH, 1, 2, 3]), float(&[7, 3, 4])], float(&[BATCH, 7, 2, 4]));
    gives(&gemm(true, true), &[float(&[3, BATCH]), float(&[4, 3])], float(&[BATCH, 4]));
    let summed = [float(&[BATCH, 3]), float(&[3, 4]), float(&[BATCH, 1])];
    gives(&gemm(false, false), &summed, float(&[BATCH, 4]));
    fails(&op, &[float(&[]), float(&[3])], "expected vectors or matrices");
    fails(&op, &[float(&[2, 3]), float(&[2, 3])], "inner extent: found shapes [2, 3] and [2, 3]");
    fails(&op, &[float(&[2, 2, 3]), float(&[3, 3, 4])], "other axes broadcast");
    fails(&op, &[int(&[2, 3]), float(&[3, 4])], "operand 0 (from 0) holds Int numbers");
    fails(&op, &[float(&[2, 3])], "expected 2 operands, found 1");
    let op = gemm(false, false);
    fails(&op, &[float(&[2, 3])], "expected 2 or 3 operands, found 1");
    fails(&op, &[float(&[2, 3]), float(&[3])], "expected two matrices");
    fails(&op, &[float(&[2, 3]), float(&[2, 3])], "inner extent");
    fails(&op, &[float(&[2, 3]), float(&[3, 4]), float(&[3])], "broadcasts to the product");
}

#[test]
fn windows_keep_the_batch() {
    let mut w = window([3, 2]);
    (w.pads, w.strides) = ([1, 0, 1, 1], [2, 1]);
    let op = Op::Conv { window: w, groups: 2 };
    let operands = [float(&[BATCH, 4, 9, 8]), float(&[6, 2, 3, 2]), float(&[6])];
    gives(&op, &operands, float(&[BATCH, 6, 5, 8]));
    gives(&conv([1, 3], 1), &[float(&[BATCH, 2, 8]), float(&[5, 2, 3])], float(&[BATCH, 5, 6]));
    w.ceil = true;
    let pool = Op::AveragePool { window: w, counts_padding: true };
    gives(&pool, &[float(&[BATCH, 4, 10, 8])], float(&[BATCH, 4, 6, 8]));
    gives(&Op::MaxPool { window: w }, &[float(&[BATCH, 4, 9, 8])], float(&[BATCH, 4, 5, 8]));
}

#[test]
fn windows_that_do_not_fit_are_refused() {
    let image = float(&[BATCH, 4, 8, 8]);
    let with = |filters: &[i64]| [image.clone(), float(filters)];
    let op = conv([3, 3], 2);
    fails(&op, &with(&[6, 2, 3, 2]), "those of the kernel");
    fails(&op, &with(&[6, 2, 3]), "those of the kernel");
    fails(&op, &with(&[6, 3, 3, 3]), "expected filters (o, c/groups, …) for an input");
    fails(&op, &with(&[5, 2, 3, 3]), "groups: expected a divisor of the 5 filters, found 2");
    fails(&op, &with(&[6]), "expected filters (o, c/groups, …)");
    fails(&op, &with(&[BATCH, 2, 3, 3]), "filters of known extents");
    fails(&conv([3, 3], 0), &with(&[6, 2, 3, 3]), "groups: expected 1 or more");
    fails(&conv([9, 3], 1), &with(&[6, 4, 9, 3]), "at most the padded input's 8, found 9");
    let biased = [image.clone(), float(&[6, 2, 3, 3]), float(&[1, 6])];
    fails(&op, &biased, "bias of one number a filter");
    fails(&op, from_ref(&image), "expected 2 or 3 operands, found 1");
    let open = [float(&[BATCH, 4, BATCH, 8]), float(&[6, 2, 3, 3])];
    fails(&op, &open, "known extents behind axis 1");
    let channels = [float(&[4, BATCH, 8, 8]), float(&[6, 2, 3, 3])];
    fails(&op, &channels, "known number of channels");
    let mut w = window([3, 3]);
    w.ceil = true;
    fails(&Op::Conv { window: w, groups: 2 }, &with(&[6, 2, 3, 3]), "expected down, found up");
    w.pads = [0, 3, 0, 0];
    let pool = |window| Op::MaxPool { window };
    fails(&pool(w), from_ref(&image), "a padding of a pool: expected at most 2, found 3");
    w.pads = [0; 4];
    fails(&pool(w), &[float(&[BATCH, 4, 8])], "rows of a window over one axis");
    fails(&pool(w), &[float(&[BATCH, 8])], "known extents behind axis 1");
    w.strides = [1, 0];
    fails(&pool(w), &[image], "a stride: expected 1 or more, found 0");
}

#[test]
fn normalizations_keep_the_shape() {
    let (x, c) = (float(&[BATCH, 6, 5]), float(&[6]));
    let batch = Op::BatchNormalization { epsilon: 1e-5 };
    let of_channels = |x: &(Kind, Vec<Dimension>), n: usize| {
        let mut operands = vec![x.clone()];
        operands.resize(n, c.clone());
        operands
    };
    gives(&batch, &of_channels(&x, 5), x.clone());
    fails(&batch, &of_channels(&x, 4), "expected 5 operands, found 4");
    fails(&batch, &of_channels(&float(&[BATCH, 5]), 5), "one coefficient a channel");
    fails(&batch, &of_channels(&c, 5), "known number of channels");
    let group = |groups| Op::GroupNormalization { groups, epsilon: 1e-5 };
    gives(&group(3), &of_channels(&x, 3), x.clone());
    fails(&group(4), &of_channels(&x, 3), "a divisor of the 6 channels, found 4");
    fails(&group(0), &of_channels(&x, 3), "a divisor of the 6 channels, found 0");
    let layer = |axis| Op::LayerNormalization { axis, epsilon: 1e-5 };
    gives(&layer(1), &[x.clone(), float(&[6, 5])], x.clone());
    gives(&layer(2), &[x.clone(), float(&[5]), float(&[5])], x.clone());
    fails(&layer(3), &[x.clone(), float(&[5])], "an axis: expected 0 ≤ axis < 3, found 3");
    fails(&layer(2), &[x.clone(), float(&[6, 5])], "shape of the last axes");
    let softmax = |axis| Op::Softmax { axis, to_end: false, is_log: false };
    gives(&softmax(2), from_ref(&x), x.clone());
    fails(&softmax(3), from_ref(&x), "an axis");
    let rows = float(&[BATCH, 4]);
    gives(&Op::Normalizer { norm: Norm::L2 }, from_ref(&rows), rows.clone());
    fails(&Op::Normalizer { norm: Norm::L2 }, &[x], "expected a matrix");
    let scaler = |offsets| Op::Scaler { offset: vec![0.0; offsets], scale: vec![1.0] };
    gives(&scaler(4), from_ref(&rows), rows.clone());
    gives(&scaler(1), from_ref(&rows), rows.clone());
    fails(&scaler(3), &[rows], "offsets: expected 1 or 4, found 3");
}

#[test]
fn kinds_are_kept_apart() {
    let [f, i, b] = [float(&[BATCH, 2]), int(&[BATCH, 2]), truth(&[BATCH, 2])];
    let two = |op, a: &(Kind, _), b: &(Kind, _)| (Op::Binary(op), [a.clone(), b.clone()]);
    let check = |(op, operands): (Op, [(Kind, Vec<Dimension>); 2]), expected: Kind| {
        gives(&op, &operands, (expected, shape(&[BATCH, 2])));
    };
    let refuse = |(op, operands): (Op, [(Kind, Vec<Dimension>); 2])| fails(&op, &operands, "holds");
    check(two(Binary::Add, &i, &i), Kind::Int);
    check(two(Binary::Pow, &f, &i), Kind::Float);
    check(two(Binary::Pow, &i, &f), Kind::Int);
    check(two(Binary::Equal, &b, &b), Kind::Bool);
    check(two(Binary::Less, &i, &i), Kind::Bool);
    check(two(Binary::Xor, &b, &b), Kind::Bool);
    check(two(Binary::Mod, &i, &i), Kind::Int);
    refuse(two(Binary::Add, &b, &b));
    refuse(two(Binary::Add, &f, &i));
    refuse(two(Binary::Pow, &f, &b));
    refuse(two(Binary::Equal, &i, &f));
    refuse(two(Binary::Less, &b, &b));
    refuse(two(Binary::And, &b, &i));
    check(two(Binary::Mod, &f, &f), Kind::Float);
    refuse(two(Binary::Mod, &f, &i));
    let one = |unary, x: &(Kind, Vec<Dimension>)| (Op::Unary(unary), [x.clone()]);
    let (op, x) = one(Unary::Neg, &i);
    gives(&op, &x, i.clone());
    let (op, x) = one(Unary::Not, &b);
    gives(&op, &x, b.clone());
    for (op, x) in [one(Unary::Exp, &i), one(Unary::Not, &f), one(Unary::Neg, &b)] {
        fails(&op, &x, "holds");
    }
    gives(&Op::Where, &[b.clone(), i.clone(), i.clone()], i.clone());
    fails(&Op::Where, &[f.clone(), i.clone(), i.clone()], "operand 0");
    fails(&Op::Where, &[b.clone(), i.clone(), f.clone()], "operand 2");
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![1], keep: false };
    fails(&mean, from_ref(&i), "operand 0 (from 0) holds Int numbers, expected Float");
    fails(&Op::Concat { axis: 0 }, &[f.clone(), i.clone()], "operand 1");
    fails(&Op::Gather { axis: 0 }, &[f.clone(), f.clone()], "operand 1");
    gives(&Op::Cast { to: Kind::Bool }, from_ref(&f), b.clone());
    let table = |values| Op::LabelEncoder {
        keys: vec![0.0],
        values: vec![1.0; values],
        default: 0.0,
        kind: Kind::Int,
    };
    gives(&table(1), from_ref(&f), i);
    fails(&table(2), from_ref(&f), "values of a table: expected 1, one a key, found 2");
    fails(&table(1), &[b], "holds Bool");
    gives(&Op::PRelu, &[f.clone(), float(&[2])], f.clone());
    fails(&Op::PRelu, &[float(&[2]), f.clone()], "slope that broadcasts");
    fails(&Op::Binary(Binary::Add), &[f.clone(), float(&[3])], "expected shapes that broadcast");
    fails(&Op::Unary(Unary::Exp), &[f.clone(), f], "expected 1 operands, found 2");
}

#[test]
fn layouts_that_do_not_fit_are_refused() {
    let x = [float(&[BATCH, 3, 4])];
    let reduce =
        |axes: &[usize]| Op::Reduce { reduction: Reduction::Sum, axes: axes.to_vec(), keep: true };
    fails(&reduce(&[1, 1]), &x, "axes: expected ascending numbers, none twice, found [1, 1]");
    fails(&reduce(&[3]), &x, "an axis");
    gives(
        &Op::Flatten { axis: 2 },
        &x,
        (Kind::Float, vec![Dimension { fixed: 0, per_example: 3 }, n(4)]),
    );
    fails(&Op::Flatten { axis: 4 }, &x, "expected 0 ≤ axis ≤ 3, found 4");
    fails(&Op::Flatten { axis: 2 }, &[float(&[BATCH, BATCH, 4])], "linear function of the batch");
    let reshape = |extents: &[i64]| Op::Reshape { shape: shape(extents) };
    gives(&reshape(&[4, BATCH, 3]), &x, float(&[4, BATCH, 3]));
    fails(&reshape(&[BATCH, 13]), &x, "as many entries: found shapes [N, 3, 4] and [N, 13]");
    fails(&reshape(&[-2, -6]), &[float(&[3, 4])], "an extent of the result: expected 0 or more");
    fails(&Op::Transpose { order: vec![0, 2, 2] }, &x, "each of the 3 axes once, found [0, 2, 2]");
    fails(&Op::Transpose { order: vec![0, 1] }, &x, "each of the 3 axes once");
    fails(&Op::Squeeze { axes: vec![0] }, &x, "expected extents of 1");
    fails(&Op::Squeeze { axes: vec![3] }, &x, "an axis");
    fails(&Op::Unsqueeze { axes: vec![5] }, &x, "an axis: expected 0 ≤ axis < 4, found 5");
    gives(&Op::Expand { shape: shape(&[BATCH]) }, &[float(&[2, 1])], float(&[2, BATCH]));
    fails(&Op::Expand { shape: shape(&[5]) }, &x, "expected shapes that broadcast");
    let tile = |repeats: Vec<Dimension>| Op::Tile { repeats };
    gives(&tile(vec![N, n(2)]), &[float(&[1, 3])], float(&[BATCH, 6]));
    fails(&tile(vec![n(1)]), &x, "repeats: expected 3, one an axis, found 1");
    fails(&tile(vec![n(1), n(-3), n(1)]), &x, "expected 0 or more for every batch, found -3");
    fails(&tile(vec![N, n(1), n(1)]), &x, "linear function");
    fails(&Op::Shape { start: 2, end: 1 }, &x, "found 2 to 1");
    fails(&Op::Shape { start: 0, end: 4 }, &x, "axes of a shape: expected 0 ≤ start ≤ end ≤ 3");
    let fill = |extents: &[i64]| Op::Fill { shape: shape(extents), value: 0.0, kind: Kind::Int };
    gives(&fill(&[BATCH, 2]), &[], int(&[BATCH, 2]));
    fails(&fill(&[-2]), &[], "0 or more for every batch, found -2");
    fails(&fill(&[2]), &x, "expected 0 operands, found 1");
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let x = [float(&[BATCH, 3])];
    let concat = Op::Concat { axis: 0 };
    let sum = (Kind::Float, vec![Dimension { fixed: 2, per_example: 1 }, n(3)]);
    gives(&concat, &[x[0].clone(), float(&[2, 3])], sum);
    fails(&concat, &[], "expected at least 1 operands, found 0");
    fails(&concat, &[x[0].clone(), float(&[2, 4])], "equal but for the joined axis");
    fails(&concat, &[x[0].clone(), float(&[2])], "equal but for the joined axis");
    fails(&Op::Concat { axis: 2 }, &x, "an axis");
    let split = |sizes: &[i64]| Op::Split { axis: 1, sizes: shape(sizes) };
    gives(&split(&[1, 2]), &x, float(&[BATCH, 1]));
    fails(&split(&[1, 1]), &x, "the sizes of a split: expected a sum of 3, found 2");
    fails(&split(&[5, -2]), &x, "0 or more for every batch");
    fails(&split(&[]), &x, "a sum of 3, found 0");
    let rest = Dimension { fixed: -1, per_example: 1 };
    gives(&sliced(1, 1, rest), &x, (Kind::Float, vec![rest, n(3)]));
    fails(&sliced(1, 1, N), &x, "a slice: expected entries of the N of its axis, found N from 1");
    fails(&sliced(0, -1, n(2)), &x, "a slice");
    fails(&sliced(0, 0, n(2)), &x, "a step");
    fails(&sliced(1, 1, n(1)), &x, "a slice");
    fails(&sliced(-1, 1, n(1)), &x, "a slice");
    let range = SliceRange { axis: 1, start: n(0), step: 1, len: n(1) };
    fails(&Op::Slice { ranges: vec![range, range] }, &x, "axes of a slice: expected none twice");
    fails(&Op::Slice { ranges: vec![SliceRange { axis: 2, ..range }] }, &x, "an axis");
    let indices = (Kind::Int, vec![n(2), N]);
    gives(&Op::Gather { axis: 1 }, &[x[0].clone(), indices], float(&[BATCH, 2, BATCH]));
    fails(&Op::Gather { axis: 2 }, &[x[0].clone(), int(&[])], "an axis");
    let pad = |mode, pads: &[(i64, i64)]| Op::Pad { mode, pads: pads.to_vec() };
    let zeros = PadMode::Constant(0.0);
    gives(&pad(zeros, &[(0, 0), (2, -1)]), &x, float(&[BATCH, 4]));
    gives(&pad(PadMode::Reflect, &[(0, 0), (2, 1)]), &x, float(&[BATCH, 6]));
    fails(&pad(zeros, &[(0, 0)]), &x, "pairs of pads: expected 2, one an axis, found 1");
    fails(&pad(zeros, &[(0, 0), (5, -4)]), &x, "no more than the extent 3 cut off, found 5 and -4");
    fails(&pad(PadMode::Reflect, &[(0, 0), (3, 0)]), &x, "that an extent of 3 can fill");
    fails(&pad(PadMode::Reflect, &[(1, 0), (0, 0)]), &x, "that an extent of N can fill");
    fails(&pad(PadMode::Edge, &[(1, 0)]), &[float(&[0])], "that an extent of 0 can fill");
}

#[test]
fn indices_and_ranges_are_checked_where_they_are_known() {
    let integers = |entries: &[i64]| Numbers {
        shape: if entries.len() == 1 { vec![] } else { vec![entries.len()] },
        entries: Entries::Integers(shape(entries)),
    };
    let gather = |extent: i64, index: i64| {
        let mut builder = Builder::new();
        let x = builder.input("x", Kind::Float, shape(&[extent, 2]));
        let numbers = Numbers { shape: vec![], entries: Entries::Integers(vec![n(index)]) };
        let index = builder.constant("i", Kind::Int, numbers);
        builder.add("", Op::Gather { axis: 0 }, &[x, index], &["y"]).map_err(|e| e.to_string())
    };
    assert!(gather(3, 2).is_ok() && gather(3, -3).is_ok() && gather(BATCH, 0).is_ok());
    let text = "node `y` (Gather): an index: expected −3 ≤ index < 3, found ";
    assert_eq!(gather(3, 3).unwrap_err(), format!("{text}3"));
    assert_eq!(gather(3, -4).unwrap_err(), format!("{text}-4"));
    assert!(gather(BATCH, 1).is_err() && gather(BATCH, -2).is_err());

    let range = |bounds: [Numbers; 3], kind| {
        let mut builder = Builder::new();
        let ids = bounds.map(|numbers| builder.constant("x", kind, numbers));
        let results = builder.add("node", Op::Range, &ids, &["y"])?;
        Ok::<_, Error>(builder.get(results[0]).clone())
    };
    let ints = |bounds: [i64; 3]| range(bounds.map(|bound| integers(&[bound])), Kind::Int);
    let to_batch = ints([0, BATCH, 2]);
    assert!(to_batch.unwrap_err().to_string().contains("linear function"));
    let to_batch = ints([0, BATCH, 1]).unwrap();
    assert_eq!(to_batch.shape, [N]);
    assert!(matches!(to_batch.source, Source::Node { .. }));
    assert_eq!(ints([2, 9, 3]).unwrap().shape, [n(3)]);
    assert!(ints([0, 5, 0]).unwrap_err().to_string().contains("a step"));
    assert!(ints([0, i64::MAX, 1]).unwrap_err().to_string().contains("beyond"));
    let floats = |bounds: [f64; 3]| {
        range(
            bounds.map(|bound| Numbers { shape: vec![], entries: Entries::Floats(vec![bound]) }),
            Kind::Float,
        )
    };
    assert_eq!(floats([0.0, 1.0, 0.25]).unwrap().shape, [n(4)]);
    assert_eq!(floats([0.0, -1.0, 0.25]).unwrap().shape, [n(0)]);
    for wrong in [[0.0, 1.0, 0.0], [0.0, f64::NAN, 1.0], [0.0, f64::INFINITY, 1.0]] {
        assert!(floats(wrong).unwrap_err().to_string().contains("beyond"), "{wrong:?}");
    }
    let long = [integers(&[0, 1]), integers(&[2]), integers(&[2])];
    assert!(range(long, Kind::Int).unwrap_err().to_string().contains("expected 1, found 2"));
    fails(&Op::Range, &[int(&[]), int(&[]), int(&[])], "a bound of the range depends on the data");
    fails(&Op::Range, &[int(&[]), float(&[]), int(&[])], "holds Float");
    fails(&Op::Range, &[truth(&[]), truth(&[]), truth(&[])], "holds Bool");
}

#[test]
fn huge_sizes_are_refused() {
    let huge = 1i64 << 62;
    for extents in [&[huge][..], &[huge, huge], &[0, huge, huge], &[1 << 20, 1 << 20]] {
        let fill = Op::Fill { shape: shape(extents), value: 0.0, kind: Kind::Int };
        fails(&fill, &[], "a size of it is beyond what a computer holds");
    }
    let x = [float(&[1 << 20])];
    let beyond = |op: &Op, operands: &[(Kind, Vec<Dimension>)]| fails(op, operands, "beyond");
    beyond(&Op::Tile { repeats: vec![n(huge)] }, &x);
    beyond(&Op::Expand { shape: shape(&[1 << 20, 1]) }, &x);
    beyond(&Op::Pad { mode: PadMode::Constant(0.0), pads: vec![(i64::MAX, i64::MAX)] }, &x);
    beyond(&Op::Pad { mode: PadMode::Constant(0.0), pads: vec![(i64::MAX, 0)] }, &x);
    fails(
        &Op::Pad { mode: PadMode::Constant(0.0), pads: vec![(i64::MIN, i64::MIN)] },
        &x,
        "beyond",
    );
    beyond(&sliced(0, i64::MAX, n(3)), &x);
    beyond(&Op::Split { axis: 0, sizes: vec![n(i64::MAX), n(i64::MAX)] }, &x);
    beyond(&Op::Concat { axis: 0 }, &[float(&[i64::MAX]), float(&[i64::MAX])]);
    beyond(&Op::Flatten { axis: 2 }, &[float(&[i64::MAX, 3])]);
    beyond(&Op::Reshape { shape: shape(&[huge, 4]) }, &x);
    let outer = [float(&[1 << 20, 1]), float(&[1, 1 << 20])];
    beyond(&Op::Binary(Binary::Add), &outer);
    beyond(&Op::MatMul, &outer);
    let steep = vec![Dimension { fixed: i64::MAX, per_example: i64::MAX }];
    beyond(&Op::Unary(Unary::Relu), &[(Kind::Float, steep)]);
    let mut wide = window([1, 3]);
    wide.pads = [0, usize::MAX, 0, 1];
    let filters = float(&[1, 1, 1, 3]);
    beyond(&Op::Conv { window: wide, groups: 1 }, &[float(&[1, 1, 1, 5]), filters]);
}
