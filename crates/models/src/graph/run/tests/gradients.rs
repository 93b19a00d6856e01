//! Every operator's gradients against finite differences, by each of its float operands.

use candle_core::{Tensor, Var};
use core_tensors::Rng;

use super::{distinct, floats, positive, random, results};
use crate::graph::{
    Binary, Dimension, Kind, Norm, Op, PadMode, Reduction, SliceRange, Unary, Window,
};

/// Random attributes and shapes of each operator.
const SEEDS: u64 = 6;
/// Step of the differences: their own error is its square times a third derivative.
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-7;

type Case = (Op, Vec<Tensor>);

#[test]
fn the_gradient_of_every_operator_equals_differences() {
    for seed in 0..SEEDS {
        let mut rng = Rng::new(seed);
        for (op, operands) in cases(&mut rng) {
            check(&op, &operands, seed);
        }
    }
}

/// A weighted sum of all results against differences of it.
fn check(op: &Op, operands: &[Tensor], seed: u64) {
    let mut rng = Rng::new(seed);
    let shapes = results(op, operands).unwrap_or_else(|problem| panic!("{op:?}: {problem}"));
    let weights: Vec<Tensor> = shapes.iter().map(|y| random(&mut rng, y.dims())).collect();
    let loss = |operands: &[Tensor]| {
        let results = results(op, operands).unwrap();
        let terms = results.iter().zip(&weights).map(|(y, w)| (y * w).unwrap().sum_all().unwrap());
        terms.reduce(|a, b| (a + b).unwrap()).unwrap()
    };
    let is_float = |x: &Tensor| x.dtype().is_float();
    let tracked: Vec<Tensor> = operands
        .iter()
        .map(|x| if is_float(x) { Var::from_tensor(x).unwrap().into_inner() } else { x.clone() })
        .collect();
    let store = loss(&tracked).backward().unwrap();
    for (k, operand) in operands.iter().enumerate().filter(|(_, x)| is_float(x)) {
        let gradient = store.get(&tracked[k]).map(floats);
        let gradient = gradient.unwrap_or_else(|| vec![0.0; operand.elem_count()]);
        let values = floats(operand);
        for i in 0..values.len() {
            let moved = |by: f64| {
                let mut values = values.clone();
                values[i] += by;
                let mut operands = operands.to_vec();
                operands[k] = Tensor::from_vec(values, operand.shape(), operand.device()).unwrap();
                loss(&operands).to_scalar::<f64>().unwrap()
            };
            let slope = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let (found, bound) = (gradient[i], TOLERANCE * slope.abs().max(1.0));
            let shapes: Vec<_> = operands.iter().map(Tensor::dims).collect();
            assert!(
                (slope - found).abs() < bound,
                "{op:?} {shapes:?} seed {seed}, operand {k} at {i}: {found}, differences {slope}"
            );
        }
    }
}

/// The place of an operator in the list of all; a new one gets the next number, and a case.
fn place(op: &Op) -> usize {
    match op {
        Op::Gemm { .. } => 0,
        Op::MatMul => 1,
        Op::Conv { .. } => 2,
        Op::BatchNormalization { .. } => 3,
        Op::LayerNormalization { .. } => 4,
        Op::GroupNormalization { .. } => 5,
        Op::PRelu => 6,
        Op::Where => 7,
        Op::Softmax { .. } => 8,
        Op::MaxPool { .. } => 9,
        Op::AveragePool { .. } => 10,
        Op::Flatten { .. } => 11,
        Op::Reshape { .. } => 12,
        Op::Transpose { .. } => 13,
        Op::Squeeze { .. } => 14,
        Op::Unsqueeze { .. } => 15,
        Op::Concat { .. } => 16,
        Op::Split { .. } => 17,
        Op::Slice { .. } => 18,
        Op::Gather { .. } => 19,
        Op::Expand { .. } => 20,
        Op::Tile { .. } => 21,
        Op::Pad { .. } => 22,
        Op::Cast { .. } => 23,
        Op::Normalizer { .. } => 24,
        Op::Scaler { .. } => 25,
        Op::Unary(unary) => 26 + unary_place(*unary),
        Op::Binary(binary) => 55 + binary_place(*binary),
        Op::Reduce { reduction, .. } => 62 + reduction_place(*reduction),
        // No float operand, or no float result that depends on one.
        Op::Shape { .. } | Op::Fill { .. } | Op::Range | Op::LabelEncoder { .. } => 70,
    }
}

fn unary_place(unary: Unary) -> usize {
    match unary {
        Unary::Relu => 0,
        Unary::LeakyRelu { .. } => 1,
        Unary::Elu { .. } => 2,
        Unary::Selu { .. } => 3,
        Unary::Celu { .. } => 4,
        Unary::ThresholdedRelu { .. } => 5,
        Unary::HardSigmoid { .. } => 6,
        Unary::HardSwish => 7,
        Unary::Sigmoid => 8,
        Unary::Tanh => 9,
        Unary::Gelu => 10,
        Unary::GeluTanh => 11,
        Unary::Silu => 12,
        Unary::Mish => 13,
        Unary::Softplus => 14,
        Unary::Softsign => 15,
        Unary::Clip { .. } => 16,
        Unary::Erf => 17,
        Unary::Exp => 18,
        Unary::Log => 19,
        Unary::Sqrt => 20,
        Unary::Neg => 21,
        Unary::Reciprocal => 22,
        Unary::Abs => 23,
        Unary::Sin => 24,
        Unary::Cos => 25,
        Unary::Floor => 26,
        Unary::Ceil => 27,
        // Round and Sign are constant between their steps, as are Floor and Ceil.
        Unary::Round | Unary::Sign => 28,
        // The gradient of a rounding is that of x itself: a test of its own.
        Unary::Not | Unary::ToF16 | Unary::ToBf16 => 44,
    }
}

fn binary_place(binary: Binary) -> usize {
    match binary {
        Binary::Add => 0,
        Binary::Sub => 1,
        Binary::Mul => 2,
        Binary::Div => 3,
        Binary::Pow => 4,
        Binary::Min => 5,
        Binary::Max => 6,
        Binary::Equal
        | Binary::Greater
        | Binary::GreaterOrEqual
        | Binary::Less
        | Binary::LessOrEqual
        | Binary::And
        | Binary::Or
        | Binary::Xor
        | Binary::Mod => 15,
    }
}

fn reduction_place(reduction: Reduction) -> usize {
    match reduction {
        Reduction::Mean => 0,
        Reduction::Sum => 1,
        Reduction::Max => 2,
        Reduction::Min => 3,
        Reduction::Prod => 4,
        Reduction::L1 => 5,
        Reduction::L2 => 6,
        Reduction::SumSquare => 7,
    }
}

#[test]
fn every_operator_of_floats_has_a_case() {
    let places: Vec<usize> = cases(&mut Rng::new(0)).iter().map(|(op, _)| place(op)).collect();
    for wanted in 0..70 {
        assert!(places.contains(&wanted), "the operator of place {wanted} has no case");
    }
}

fn cases(rng: &mut Rng) -> Vec<Case> {
    let mut cases = products(rng);
    cases.extend(windows(rng));
    cases.extend(normalizations(rng));
    cases.extend(unaries(rng));
    cases.extend(pairs(rng));
    cases.extend(reductions(rng));
    cases.extend(shapes(rng));
    cases.extend(picks(rng));
    cases
}

fn flip(rng: &mut Rng) -> bool {
    rng.below(2) == 1
}

fn products(rng: &mut Rng) -> Vec<Case> {
    let (m, k, n) = (1 + rng.below(4), 1 + rng.below(4), 1 + rng.below(4));
    let (transpose_a, transpose_b) = (flip(rng), flip(rng));
    let shape = |is, a, b| if is { vec![b, a] } else { vec![a, b] };
    let gemm = Op::Gemm { alpha: 0.5, beta: 1.5, transpose_a, transpose_b };
    let c = [vec![m, n], vec![n], vec![1, n], vec![m, 1], vec![]][rng.below(5)].clone();
    let (a, b) = (random(rng, &shape(transpose_a, m, k)), random(rng, &shape(transpose_b, k, n)));
    let mut cases =
        vec![(gemm.clone(), vec![a.clone(), b.clone(), random(rng, &c)]), (gemm, vec![a, b])];
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[m, k], &[k, n]),
        (&[2, m, k], &[k, n]),
        (&[2, 3, m, k], &[3, k, n]),
        (&[m, k], &[2, k, n]),
        (&[k], &[k, n]),
        (&[2, m, k], &[k]),
        (&[k], &[k]),
    ];
    for (a, b) in shapes {
        cases.push((Op::MatMul, vec![random(rng, a), random(rng, b)]));
    }
    cases
}

fn random_window(rng: &mut Rng, is_flat: bool) -> Window {
    let mut of = |from: usize, n: usize| {
        let pair = [from + rng.below(n), from + rng.below(n)];
        if is_flat { [from, pair[1]] } else { pair }
    };
    let (kernel, strides, dilations) = (of(1, 3), of(1, 3), of(1, 2));
    // No pad as large as the kernel: a window must see something.
    let mut pad = |axis: usize| {
        if is_flat && axis == 0 { 0 } else { rng.below(kernel[axis]) }
    };
    Window { kernel, strides, dilations, pads: [pad(0), pad(1), pad(0), pad(1)], ceil: false }
}

fn windows(rng: &mut Rng) -> Vec<Case> {
    let mut cases = Vec::new();
    for is_flat in [false, true] {
        let places = |h: usize, w: usize| if is_flat { vec![w] } else { vec![h, w] };
        let shape = |m: usize, c: usize, places: Vec<usize>| [vec![m, c], places].concat();
        let window = random_window(rng, is_flat);
        for groups in [1, 2] {
            let x = random(rng, &shape(2, 2 * groups, places(6, 7)));
            let [h, w] = window.kernel;
            let n_filters = groups * (1 + rng.below(2));
            let filters = random(rng, &shape(n_filters, 2, places(h, w)));
            let bias = random(rng, &[filters.dims()[0]]);
            let op = Op::Conv { window, groups };
            cases.push((op.clone(), vec![x.clone(), filters.clone()]));
            cases.push((op, vec![x, filters, bias]));
        }
        let window = Window { ceil: flip(rng), ..random_window(rng, is_flat) };
        let x = distinct(rng, &shape(2, 2, places(6, 7)));
        cases.push((Op::MaxPool { window }, vec![x.clone()]));
        let window = Window { ceil: flip(rng), ..random_window(rng, is_flat) };
        cases.push((Op::AveragePool { window, counts_padding: flip(rng) }, vec![x]));
    }
    cases
}

fn normalizations(rng: &mut Rng) -> Vec<Case> {
    let epsilon = 1e-3;
    let mut cases = Vec::new();
    for shape in [vec![3, 4], vec![2, 4, 3], vec![2, 4, 2, 3]] {
        let x = random(rng, &shape);
        let four = [0, 1, 2].map(|_| random(rng, &[4]));
        let [scale, shift, mean] = four;
        let variance = positive(rng, &[4]);
        let batch = vec![x.clone(), scale.clone(), shift.clone(), mean, variance];
        cases.push((Op::BatchNormalization { epsilon }, batch));
        let axis = 1 + rng.below(shape.len() - 1);
        let layer = Op::LayerNormalization { axis, epsilon };
        let [a, b] = [0, 1].map(|_| random(rng, &shape[axis..]));
        cases.push((layer.clone(), vec![x.clone(), a.clone()]));
        cases.push((layer, vec![x.clone(), a, b]));
        let groups = if shape.len() == 2 { 2 } else { [1, 2, 4][rng.below(3)] };
        let group = Op::GroupNormalization { groups, epsilon };
        cases.push((group, vec![x.clone(), scale, shift]));
        for is_log in [false, true] {
            for to_end in [false, true] {
                let axis = rng.below(shape.len());
                cases.push((Op::Softmax { axis, to_end, is_log }, vec![x.clone()]));
            }
        }
    }
    for norm in [Norm::L1, Norm::L2] {
        cases.push((Op::Normalizer { norm }, vec![random(rng, &[3, 4])]));
    }
    cases.push((Op::Normalizer { norm: Norm::Max }, vec![distinct(rng, &[3, 5])]));
    let scaler = |n: usize| Op::Scaler { offset: vec![0.5; n], scale: vec![-2.0; n] };
    cases.push((scaler(4), vec![random(rng, &[3, 4])]));
    cases.push((scaler(1), vec![random(rng, &[3, 4])]));
    cases
}

fn unaries(rng: &mut Rng) -> Vec<Case> {
    let all = [
        Unary::Relu,
        Unary::LeakyRelu { slope: 0.3 },
        Unary::Elu { alpha: 1.5 },
        Unary::Selu { alpha: 1.6, gamma: 1.05 },
        Unary::Celu { alpha: 0.7 },
        Unary::ThresholdedRelu { alpha: 0.05 },
        Unary::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Unary::HardSwish,
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::Gelu,
        Unary::GeluTanh,
        Unary::Silu,
        Unary::Mish,
        Unary::Softplus,
        Unary::Softsign,
        Unary::Clip { min: Some(-0.05), max: None },
        Unary::Clip { min: None, max: Some(0.05) },
        Unary::Erf,
        Unary::Exp,
        Unary::Neg,
        Unary::Reciprocal,
        Unary::Abs,
        Unary::Sin,
        Unary::Cos,
    ];
    let mut cases: Vec<Case> =
        all.iter().map(|&of| (Op::Unary(of), vec![random(rng, &[2, 5])])).collect();
    for of in [Unary::Log, Unary::Sqrt] {
        cases.push((Op::Unary(of), vec![positive(rng, &[2, 5])]));
    }
    // Steps lie at whole numbers and halves; these numbers do not.
    let between = Tensor::new(&[-1.3, -0.7, 0.2, 0.8, 3.4], &candle_core::Device::Cpu).unwrap();
    for of in [Unary::Floor, Unary::Ceil, Unary::Round, Unary::Sign] {
        cases.push((Op::Unary(of), vec![between.clone()]));
    }
    cases
}

fn pairs(rng: &mut Rng) -> Vec<Case> {
    let shapes: [(&[usize], &[usize]); 5] =
        [(&[2, 3], &[2, 3]), (&[2, 3], &[3]), (&[3, 1], &[2, 1, 4]), (&[], &[2, 2]), (&[4], &[1])];
    let mut cases = Vec::new();
    for (a, b) in shapes {
        for of in [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div] {
            cases.push((Op::Binary(of), vec![random(rng, a), random(rng, b)]));
        }
        for of in [Binary::Min, Binary::Max] {
            // No two within a step of each other.
            let other = (distinct(rng, b) + 0.013).unwrap();
            cases.push((Op::Binary(of), vec![distinct(rng, a), other]));
        }
        // No quotient within a step of a whole number.
        let quotient = ((random(rng, b).tanh().unwrap() * 0.4).unwrap() + 1.5).unwrap();
        let divisor = (positive(rng, &[]) + 1.0).unwrap();
        let dividend = quotient.broadcast_mul(&divisor).unwrap();
        cases.push((Op::Binary(Binary::Mod), vec![dividend, divisor]));
        cases.push((Op::Binary(Binary::Pow), vec![positive(rng, a), random(rng, b)]));
        let condition = random(rng, b).gt(0.0).unwrap();
        cases.push((Op::Where, vec![condition, random(rng, a), random(rng, &[1])]));
    }
    cases.push((Op::PRelu, vec![random(rng, &[2, 3, 4]), random(rng, &[3, 1])]));
    cases.push((Op::PRelu, vec![random(rng, &[2, 3]), random(rng, &[1])]));
    cases
}

fn reductions(rng: &mut Rng) -> Vec<Case> {
    let all = [
        Reduction::Mean,
        Reduction::Sum,
        Reduction::Max,
        Reduction::Min,
        Reduction::Prod,
        Reduction::L1,
        Reduction::L2,
        Reduction::SumSquare,
    ];
    let mut cases = Vec::new();
    for axes in [vec![0], vec![1], vec![2], vec![0, 2], vec![1, 2], vec![0, 1, 2], vec![]] {
        for reduction in all {
            let extreme = matches!(reduction, Reduction::Max | Reduction::Min);
            let x = if extreme { distinct(rng, &[2, 3, 2]) } else { random(rng, &[2, 3, 2]) };
            let op = Op::Reduce { reduction, axes: axes.clone(), keep: flip(rng) };
            cases.push((op, vec![x]));
        }
    }
    // Zero factors: one, and two in a row.
    let zeros = Tensor::new(&[[0.0, 2.0, 3.0], [0.0, 0.0, 5.0]], &candle_core::Device::Cpu);
    let product = Op::Reduce { reduction: Reduction::Prod, axes: vec![1], keep: false };
    cases.push((product, vec![zeros.unwrap()]));
    cases
}

fn shapes(rng: &mut Rng) -> Vec<Case> {
    let known = Dimension::known;
    let x = random(rng, &[3, 2, 4]);
    let order = rng.permutation(3);
    vec![
        (Op::Flatten { axis: rng.below(4) }, vec![x.clone()]),
        (Op::Reshape { shape: vec![known(2), Dimension::BATCH, known(4)] }, vec![x.clone()]),
        (Op::Transpose { order }, vec![x.clone()]),
        (Op::Squeeze { axes: vec![0, 2] }, vec![random(rng, &[1, 3, 1])]),
        (Op::Unsqueeze { axes: vec![0, 2] }, vec![random(rng, &[3, 2])]),
        (Op::Concat { axis: 1 }, vec![x.clone(), random(rng, &[3, 1, 4]), random(rng, &[3, 0, 4])]),
        (Op::Split { axis: 2, sizes: vec![known(1), known(0), known(3)] }, vec![x.clone()]),
        (
            Op::Expand { shape: vec![Dimension::BATCH, known(1), known(4)] },
            vec![random(rng, &[2, 1])],
        ),
        (Op::Tile { repeats: vec![known(2), known(1), Dimension::BATCH] }, vec![x.clone()]),
        (Op::Cast { to: Kind::Float }, vec![x]),
    ]
}

fn picks(rng: &mut Rng) -> Vec<Case> {
    let known = Dimension::known;
    let x = random(rng, &[3, 5, 4]);
    let range =
        |axis, start, step, len| SliceRange { axis, start: known(start), step, len: known(len) };
    let indices = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        let values: Vec<i64> = (0..n as i64).map(|i| i % 9 - 4).map(|i| i.clamp(-5, 4)).collect();
        Tensor::from_vec(values, shape, &candle_core::Device::Cpu).unwrap()
    };
    let mut cases = vec![
        (Op::Slice { ranges: vec![range(1, 1, 1, 3), range(2, 3, -2, 2)] }, vec![x.clone()]),
        (Op::Slice { ranges: vec![range(0, 2, -1, 3), range(1, 0, 2, 3)] }, vec![x.clone()]),
    ];
    for shape in [vec![], vec![3], vec![2, 4]] {
        cases.push((Op::Gather { axis: 1 }, vec![x.clone(), indices(&shape)]));
    }
    for mode in [PadMode::Constant(1.5), PadMode::Reflect, PadMode::Edge] {
        for pads in [vec![(0, 0), (1, 2), (3, 0)], vec![(0, -1), (-2, 1), (0, 0)]] {
            cases.push((Op::Pad { mode, pads }, vec![x.clone()]));
        }
    }
    cases
}
