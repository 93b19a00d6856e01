//! Values of operators against loops and closed forms.

use candle_core::{Device, Tensor};
use core_tensors::Rng;

use super::{close, distinct, floats, positive, random, result};
use crate::graph::{Binary, Dimension, Kind, Norm, Op, PadMode, Reduction, Unary, Window};

#[test]
fn functions_of_one_number_equal_their_formulas() {
    let v = [-40.0, -7.5, -3.0, -1.5, -0.5, -0.0, 0.0, 1e-9, 0.5, 2.0, 2.5, 3.5, 40.0];
    let x = Tensor::new(&v, &Device::Cpu).unwrap();
    let normal = |x: f64| normal_distribution(x);
    let formulas: Vec<(Unary, Box<dyn Fn(f64) -> f64>)> = vec![
        (Unary::Relu, Box::new(|x| x.max(0.0))),
        (Unary::LeakyRelu { slope: 0.25 }, Box::new(|x| if x > 0.0 { x } else { 0.25 * x })),
        (Unary::Elu { alpha: 2.0 }, Box::new(|x| if x > 0.0 { x } else { 2.0 * x.exp_m1() })),
        (
            Unary::Selu { alpha: 2.0, gamma: 0.5 },
            Box::new(|x| 0.5 * if x > 0.0 { x } else { 2.0 * x.exp_m1() }),
        ),
        (
            Unary::Celu { alpha: 2.0 },
            Box::new(|x| x.max(0.0) + (2.0 * (x / 2.0).exp_m1()).min(0.0)),
        ),
        (Unary::ThresholdedRelu { alpha: 2.0 }, Box::new(|x| if x > 2.0 { x } else { 0.0 })),
        (
            Unary::HardSigmoid { alpha: 0.25, beta: 0.5 },
            Box::new(|x| (0.25 * x + 0.5).clamp(0.0, 1.0)),
        ),
        (Unary::HardSwish, Box::new(|x| x * (x / 6.0 + 0.5).clamp(0.0, 1.0))),
        (Unary::Sigmoid, Box::new(|x| 1.0 / (1.0 + (-x).exp()))),
        (Unary::Tanh, Box::new(f64::tanh)),
        (Unary::Gelu, Box::new(move |x| x * normal(x))),
        (
            Unary::GeluTanh,
            Box::new(|x| {
                let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
                0.5 * x * (1.0 + u.tanh())
            }),
        ),
        (Unary::Silu, Box::new(|x| x / (1.0 + (-x).exp()))),
        (Unary::Mish, Box::new(|x| x * x.exp().ln_1p().tanh())),
        (Unary::Softplus, Box::new(|x| x.exp().ln_1p())),
        (Unary::Softsign, Box::new(|x| x / (1.0 + x.abs()))),
        (Unary::Clip { min: Some(-1.0), max: Some(2.0) }, Box::new(|x| x.clamp(-1.0, 2.0))),
        // Bounds that cross: the upper one wins.
        (Unary::Clip { min: Some(2.0), max: Some(-1.0) }, Box::new(|_| -1.0)),
        (Unary::Erf, Box::new(move |x| 2.0 * normal(x * std::f64::consts::SQRT_2) - 1.0)),
        (Unary::Exp, Box::new(f64::exp)),
        (Unary::Log, Box::new(f64::ln)),
        (Unary::Sqrt, Box::new(f64::sqrt)),
        (Unary::Neg, Box::new(|x| -x)),
        (Unary::Reciprocal, Box::new(|x| 1.0 / x)),
        (Unary::Abs, Box::new(f64::abs)),
        (Unary::Sin, Box::new(f64::sin)),
        (Unary::Cos, Box::new(f64::cos)),
        (Unary::Floor, Box::new(f64::floor)),
        (Unary::Ceil, Box::new(f64::ceil)),
        (Unary::Round, Box::new(f64::round_ties_even)),
        (Unary::Sign, Box::new(|x| if x == 0.0 { 0.0 } else { x.signum() })),
        (Unary::Not, Box::new(|x| f64::from(u8::from(x == 0.0)))),
    ];
    for (of, f) in &formulas {
        let wanted: Vec<f64> = v.iter().map(|&x| f(x)).collect();
        close(&floats(&result(&Op::Unary(*of), std::slice::from_ref(&x))), &wanted, of.name());
    }
}

/// Φ(x) by Simpson's rule over the density; the tails end where they are 0 to 1e-15.
fn normal_distribution(x: f64) -> f64 {
    let x = x.clamp(-9.0, 9.0);
    let n = 4000;
    let h = x / f64::from(n);
    let density = |t: f64| (-0.5 * t * t).exp() / (2.0 * std::f64::consts::PI).sqrt();
    let weight = |i: i32| {
        if i == 0 || i == n {
            1.0
        } else if i % 2 == 1 {
            4.0
        } else {
            2.0
        }
    };
    let sum: f64 = (0..=n).map(|i| weight(i) * density(h * f64::from(i))).sum();
    0.5 + h / 3.0 * sum
}

#[test]
fn products_of_matrices_equal_loops() {
    let mut rng = Rng::new(0);
    let (a, b, c) = (random(&mut rng, &[3, 4]), random(&mut rng, &[4, 2]), random(&mut rng, &[2]));
    let (x, y, z) = (floats(&a), floats(&b), floats(&c));
    let product = |i: usize, j: usize| (0..4).map(|k| x[i * 4 + k] * y[k * 2 + j]).sum::<f64>();
    let places = || (0..3).flat_map(|i| (0..2).map(move |j| (i, j)));
    let plain: Vec<f64> = places().map(|(i, j)| product(i, j)).collect();
    close(&floats(&result(&Op::MatMul, &[a.clone(), b.clone()])), &plain, "MatMul");
    for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
        let turned = |x: &Tensor, is| if is { x.t().unwrap() } else { x.clone() };
        let op = Op::Gemm { alpha: 0.5, beta: -2.0, transpose_a, transpose_b };
        let wanted: Vec<f64> = places().map(|(i, j)| 0.5 * product(i, j) - 2.0 * z[j]).collect();
        let operands = [turned(&a, transpose_a), turned(&b, transpose_b), c.clone()];
        close(&floats(&result(&op, &operands)), &wanted, "Gemm");
    }
    // A stack of products, the second factor shared and its own.
    let stack = random(&mut rng, &[2, 3, 4]);
    let own = random(&mut rng, &[2, 4, 2]);
    for (right, is_own) in [(&b, false), (&own, true)] {
        let y = result(&Op::MatMul, &[stack.clone(), right.clone()]);
        assert_eq!(y.dims(), [2, 3, 2]);
        for s in 0..2 {
            let factor = if is_own { right.get(s).unwrap() } else { right.clone() };
            let wanted = stack.get(s).unwrap().matmul(&factor).unwrap();
            close(&floats(&y.get(s).unwrap()), &floats(&wanted), "stacked MatMul");
        }
    }
    assert!(result(&Op::MatMul, &[c.clone(), c]).dims().is_empty());
}

/// What a window sees at output place (r, s) of an image: entries inside, as (row, column, place in the window).
fn seen(window: &Window, size: [usize; 2], at: [usize; 2]) -> Vec<([usize; 2], usize)> {
    let mut seen = Vec::new();
    for p in 0..window.kernel[0] {
        for q in 0..window.kernel[1] {
            let place = |axis: usize, k: usize| {
                (at[axis] * window.strides[axis] + k * window.dilations[axis])
                    .checked_sub(window.pads[axis])
                    .filter(|&i| i < size[axis])
            };
            if let (Some(row), Some(column)) = (place(0, p), place(1, q)) {
                seen.push(([row, column], p * window.kernel[1] + q));
            }
        }
    }
    seen
}

#[test]
fn convolutions_and_pools_equal_loops() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut pair = |from: usize, n: usize| [from + rng.below(n), from + rng.below(n)];
        let (kernel, strides, dilations) = (pair(1, 3), pair(1, 3), pair(1, 2));
        let pads = [0, 1, 0, 1].map(|axis: usize| rng.below(kernel[axis]));
        let window = Window { kernel, strides, dilations, pads, ceil: false };
        let (groups, size) = (1 + rng.below(3), [5 + rng.below(3), 5 + rng.below(3)]);
        let (c, o) = (2 * groups, groups * (1 + rng.below(2)));
        let x = distinct(&mut rng, &[2, c, size[0], size[1]]);
        let u = random(&mut rng, &[o, 2, kernel[0], kernel[1]]);
        let b = random(&mut rng, &[o]);
        let (xs, us, bs) = (floats(&x), floats(&u), floats(&b));
        let pixel = |i: usize, j: usize, at: [usize; 2]| {
            xs[((i * c + j) * size[0] + at[0]) * size[1] + at[1]]
        };
        let n = kernel[0] * kernel[1];
        let y = result(&Op::Conv { window, groups }, &[x.clone(), u, b]);
        let extents = |ceil: bool| {
            [0, 1].map(|axis: usize| {
                let reach = (kernel[axis] - 1) * dilations[axis] + 1;
                let starts = (0..100).map(|i| i * strides[axis]);
                let padded = pads[axis] + size[axis] + pads[axis + 2];
                starts
                    .filter(|start| {
                        let is_inside = start + reach <= padded;
                        // Partly inside: reaches the input from behind the last whole one.
                        let is_partly = *start < size[axis] + pads[axis]
                            && start + reach < padded + strides[axis];
                        if ceil { is_inside || is_partly } else { is_inside }
                    })
                    .count()
            })
        };
        let [h, w] = extents(false);
        assert_eq!(y.dims(), [2, o, h, w], "{window:?} on {size:?}");
        let mut wanted = Vec::new();
        for (i, a, r, s) in places([2, o, h, w]) {
            let first = a / (o / groups) * 2;
            let sum: f64 = (0..2)
                .flat_map(|j| seen(&window, size, [r, s]).into_iter().map(move |of| (j, of)))
                .map(|(j, (at, k))| pixel(i, first + j, at) * us[(a * 2 + j) * n + k])
                .sum();
            wanted.push(bs[a] + sum);
        }
        close(&floats(&y), &wanted, "Conv");
        for ceil in [false, true] {
            let window = Window { ceil, ..window };
            let [h, w] = extents(ceil);
            let values = |at: [usize; 4]| -> Vec<f64> {
                let [i, j, r, s] = at;
                seen(&window, size, [r, s]).iter().map(|(at, _)| pixel(i, j, *at)).collect()
            };
            let all: Vec<Vec<f64>> =
                places([2, c, h, w]).map(|(i, j, r, s)| values([i, j, r, s])).collect();
            let largest: Vec<f64> =
                all.iter().map(|v| v.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
            let y = result(&Op::MaxPool { window }, std::slice::from_ref(&x));
            assert_eq!(y.dims(), [2, c, h, w], "{window:?} on {size:?}");
            close(&floats(&y), &largest, "MaxPool");
            for counts_padding in [false, true] {
                let op = Op::AveragePool { window, counts_padding };
                let places = places([2, c, h, w]);
                let mean = |(v, (_, _, r, s)): (&Vec<f64>, (usize, usize, usize, usize))| {
                    let padded = [0, 1].map(|axis: usize| {
                        let start = [r, s][axis] * strides[axis];
                        let end = pads[axis] + size[axis] + pads[axis + 2];
                        (0..kernel[axis]).filter(|k| start + k * dilations[axis] < end).count()
                    });
                    let area = if counts_padding { padded[0] * padded[1] } else { v.len() };
                    v.iter().sum::<f64>() / area as f64
                };
                let wanted: Vec<f64> = all.iter().zip(places).map(mean).collect();
                close(&floats(&result(&op, std::slice::from_ref(&x))), &wanted, "AveragePool");
            }
        }
    }
}

fn places([m, c, h, w]: [usize; 4]) -> impl Iterator<Item = (usize, usize, usize, usize)> {
    (0..m * c * h * w).map(move |i| (i / (c * h * w), i / (h * w) % c, i / w % h, i % w))
}

#[test]
fn one_axis_is_a_row_of_an_image() {
    let mut rng = Rng::new(3);
    let (x, u) = (random(&mut rng, &[2, 3, 9]), random(&mut rng, &[2, 3, 3]));
    let window = Window {
        kernel: [1, 3],
        strides: [1, 2],
        dilations: [1, 2],
        pads: [0, 1, 0, 2],
        ceil: false,
    };
    let image = |x: &Tensor| x.unsqueeze(2).unwrap();
    for (op, operands) in [
        (Op::Conv { window, groups: 1 }, vec![x.clone(), u]),
        (Op::MaxPool { window }, vec![x.clone()]),
        (Op::AveragePool { window, counts_padding: false }, vec![x]),
    ] {
        let images: Vec<Tensor> = operands.iter().map(image).collect();
        let (flat, wide) = (result(&op, &operands), result(&op, &images));
        assert_eq!(image(&flat).dims(), wide.dims());
        close(&floats(&flat), &floats(&wide), "one axis");
    }
}

#[test]
fn normalizations_equal_loops() {
    let mut rng = Rng::new(1);
    let x = random(&mut rng, &[2, 4, 3]);
    let v = floats(&x);
    let [scale, shift, mean] = [0, 1, 2].map(|_| random(&mut rng, &[4]));
    let variance = positive(&mut rng, &[4]);
    let [a, b, m, s] = [&scale, &shift, &mean, &variance].map(floats);
    let epsilon = 0.25;
    let channel = |i: usize| i / 3 % 4;
    let wanted: Vec<f64> = v
        .iter()
        .enumerate()
        .map(|(i, x)| (channel(i), x))
        .map(|(c, x)| a[c] * (x - m[c]) / (s[c] + 0.25).sqrt() + b[c])
        .collect();
    let op = Op::BatchNormalization { epsilon };
    let operands = [x.clone(), scale.clone(), shift.clone(), mean, variance];
    close(&floats(&result(&op, &operands)), &wanted, op.name());

    let standard = |part: &[f64]| -> Vec<f64> {
        let n = part.len() as f64;
        let mean = part.iter().sum::<f64>() / n;
        let variance = part.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        part.iter().map(|x| (x - mean) / (variance + 0.25).sqrt()).collect()
    };
    // Groups of two channels: six numbers; the last axis: three.
    let grouped: Vec<f64> = v.chunks(6).flat_map(standard).collect();
    let wanted: Vec<f64> =
        grouped.iter().enumerate().map(|(i, x)| a[channel(i)] * x + b[channel(i)]).collect();
    let op = Op::GroupNormalization { groups: 2, epsilon };
    close(&floats(&result(&op, &[x.clone(), scale, shift])), &wanted, op.name());
    let rows: Vec<f64> = v.chunks(3).flat_map(standard).collect();
    let last = random(&mut rng, &[3]);
    let factors = floats(&last);
    let wanted: Vec<f64> = rows.iter().enumerate().map(|(i, x)| factors[i % 3] * x).collect();
    let op = Op::LayerNormalization { axis: 2, epsilon };
    close(&floats(&result(&op, &[x.clone(), last])), &wanted, op.name());

    let exp = |part: &[f64]| -> Vec<f64> {
        let sum: f64 = part.iter().map(|x| x.exp()).sum();
        part.iter().map(|x| x.exp() / sum).collect()
    };
    for (to_end, n) in [(true, 12), (false, 0)] {
        let op = |is_log| Op::Softmax { axis: 1, to_end, is_log };
        let p = floats(&result(&op(false), std::slice::from_ref(&x)));
        let wanted: Vec<f64> = if to_end {
            v.chunks(n).flat_map(exp).collect()
        } else {
            let column = |i: usize, k: usize| exp(&[0, 1, 2, 3].map(|c| v[(i * 4 + c) * 3 + k]));
            (0..24).map(|j| column(j / 12, j % 3)[channel(j)]).collect()
        };
        close(&p, &wanted, "Softmax");
        let log: Vec<f64> = wanted.iter().map(|p| p.ln()).collect();
        close(&floats(&result(&op(true), std::slice::from_ref(&x))), &log, "LogSoftmax");
    }
}

#[test]
fn a_softmax_of_large_logits_is_finite() {
    let x = Tensor::new(&[[1e6, -1e6, 1e6]], &Device::Cpu).unwrap();
    let op = |is_log| Op::Softmax { axis: 1, to_end: false, is_log };
    let p = floats(&result(&op(false), std::slice::from_ref(&x)));
    close(&p, &[0.5, 0.0, 0.5], "Softmax");
    let log = floats(&result(&op(true), &[x]));
    close(&log, &[0.5f64.ln(), -2e6 - 2f64.ln(), 0.5f64.ln()], "LogSoftmax");
}

#[test]
fn rows_of_norm_zero_stay() {
    let x = Tensor::new(&[[3.0, -4.0], [0.0, 0.0]], &Device::Cpu).unwrap();
    for (norm, first) in [
        (Norm::Max, [1.0, -4.0 / 3.0]),
        (Norm::L1, [3.0 / 7.0, -4.0 / 7.0]),
        (Norm::L2, [0.6, -0.8]),
    ] {
        let y = floats(&result(&Op::Normalizer { norm }, std::slice::from_ref(&x)));
        close(&y, &[first[0], first[1], 0.0, 0.0], &format!("{norm:?}"));
    }
    let scaler = Op::Scaler { offset: vec![1.0, 2.0], scale: vec![0.5] };
    close(&floats(&result(&scaler, &[x])), &[1.0, -3.0, -0.5, -1.0], "Scaler");
}

#[test]
fn reductions_by_hand() {
    let x = Tensor::new(&[[1.0, -2.0, 4.0], [0.5, 3.0, -1.0]], &Device::Cpu).unwrap();
    let of = |reduction, axes: &[usize], keep| {
        let op = Op::Reduce { reduction, axes: axes.to_vec(), keep };
        let y = result(&op, std::slice::from_ref(&x));
        (y.dims().to_vec(), floats(&y))
    };
    assert_eq!(of(Reduction::Sum, &[1], false), (vec![2], vec![3.0, 2.5]));
    assert_eq!(of(Reduction::Mean, &[0], true), (vec![1, 3], vec![0.75, 0.5, 1.5]));
    assert_eq!(of(Reduction::Max, &[0, 1], true), (vec![1, 1], vec![4.0]));
    assert_eq!(of(Reduction::Min, &[0, 1], false), (vec![], vec![-2.0]));
    assert_eq!(of(Reduction::Prod, &[1], false), (vec![2], vec![-8.0, -1.5]));
    assert_eq!(of(Reduction::L1, &[1], false), (vec![2], vec![7.0, 4.5]));
    assert_eq!(of(Reduction::SumSquare, &[1], false), (vec![2], vec![21.0, 10.25]));
    assert_eq!(of(Reduction::L2, &[0], false).1[1], 13f64.sqrt());
    assert_eq!(of(Reduction::Max, &[], false).1, floats(&x));
}

#[test]
fn powers_have_the_right_signs() {
    let power = |a: &[f64], b: &[f64]| {
        let [a, b] = [a, b].map(|v| Tensor::new(v, &Device::Cpu).unwrap());
        floats(&result(&Op::Binary(Binary::Pow), &[a, b]))
    };
    for exponent in [-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.7, 2.0, 3.0, 4.0, 5.0] {
        let a = [-2.0, -0.5, 0.0, 1.5];
        let wanted: Vec<f64> = a.iter().map(|a: &f64| a.powf(exponent)).collect();
        close(&power(&a, &[exponent]), &wanted, &format!("to the {exponent}"));
        close(&power(&a, &[exponent; 4]), &wanted, "one exponent each");
    }
}

#[test]
fn pads_and_repeats_by_hand() {
    let x = Tensor::new(&[[1.0, 2.0, 3.0]], &Device::Cpu).unwrap();
    let pad = |mode, pads| floats(&result(&Op::Pad { mode, pads }, std::slice::from_ref(&x)));
    assert_eq!(pad(PadMode::Reflect, vec![(0, 0), (2, 1)]), [3., 2., 1., 2., 3., 2.]);
    assert_eq!(pad(PadMode::Edge, vec![(0, 1), (2, 0)]), [1., 1., 1., 2., 3., 1., 1., 1., 2., 3.]);
    assert_eq!(pad(PadMode::Constant(9.0), vec![(1, 0), (-1, 1)]), [9., 9., 9., 2., 3., 9.]);
    assert_eq!(pad(PadMode::Constant(9.0), vec![(0, 0), (-3, 2)]), [9., 9.]);
    let repeats = vec![Dimension::known(2), Dimension::known(2)];
    let tiled = result(&Op::Tile { repeats }, std::slice::from_ref(&x));
    assert_eq!(tiled.dims(), [2, 6]);
    assert_eq!(floats(&tiled), [1., 2., 3., 1., 2., 3., 1., 2., 3., 1., 2., 3.]);
    let shape = vec![Dimension::BATCH, Dimension::known(2)];
    let filled = result(&Op::Fill { shape, value: 2.5, kind: Kind::Float }, &[]);
    assert_eq!((filled.dims(), floats(&filled)), (&[3, 2][..], vec![2.5; 6]));
}
