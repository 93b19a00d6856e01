//! Maxima and means of any window against naive loops, their composed forms, differences, and themselves on several threads.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::planes::Planes;
use super::{average, average_pool, max, max_pool};
use crate::Rng;
use crate::kernels::SlidingWindow;

#[derive(Clone, Copy, Debug)]
struct Case {
    /// m, c, h, w of the images.
    images: [usize; 4],
    window: SlidingWindow,
    ceil: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Max,
    Mean { counts_padding: bool },
}

const KINDS: [Kind; 3] =
    [Kind::Max, Kind::Mean { counts_padding: false }, Kind::Mean { counts_padding: true }];

/// Random geometries that fit, and windows of 2 × 2 side by side.
fn cases() -> Vec<Case> {
    let mut rng = Rng::new(0);
    let mut below = |n: usize| (rng.uniform() * n as f64) as usize;
    let mut cases = Vec::new();
    while cases.len() < 80 {
        let window = SlidingWindow {
            kernel: [1 + below(4), 1 + below(4)],
            strides: [1 + below(4), 1 + below(3)],
            dilations: [1 + below(2), 1 + below(3)],
            pads: [below(3), below(3), below(3), below(2)],
        };
        let images = [below(4), 1 + below(3), 1 + below(10), 1 + below(40)];
        let ceil = below(2) == 1;
        let x = Tensor::zeros(&images, DType::F32, &Device::Cpu).unwrap();
        if Planes::new(&x, &window, ceil).is_ok() {
            cases.push(Case { images, window, ceil });
        }
    }
    let window = SlidingWindow { kernel: [2; 2], strides: [2; 2], dilations: [1; 2], pads: [0; 4] };
    for (h, w, ceil) in [(6, 70, false), (5, 7, false), (5, 7, true), (4, 8, true)] {
        cases.push(Case { images: [2, 3, h, w], window, ceil });
    }
    cases
}

fn apply(kind: Kind, x: &Tensor, case: Case) -> Result<Tensor> {
    match kind {
        Kind::Max => max_pool(x, &case.window, case.ceil),
        Kind::Mean { counts_padding } => average_pool(x, &case.window, case.ceil, counts_padding),
    }
}

fn plain(kind: Kind, x: &Tensor, case: Case) -> Result<Tensor> {
    let planes = Planes::new(x, &case.window, case.ceil)?;
    match kind {
        Kind::Max => max::composed(x, &planes),
        Kind::Mean { counts_padding } => average::composed(x, &planes, counts_padding),
    }
}

fn random(case: Case, seed: u64, dtype: DType) -> Var {
    let mut rng = Rng::new(seed);
    let values: Vec<f64> = (0..case.images.iter().product()).map(|_| rng.normal()).collect();
    let values = Tensor::from_vec(values, &case.images, &Device::Cpu).unwrap();
    Var::from_tensor(&values.to_dtype(dtype).unwrap()).unwrap()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Outputs, and the gradient of Σ y² cos(place).
fn all_of(y: &Tensor, x: &Tensor) -> [Vec<f64>; 2] {
    let weights = Tensor::arange(0.0, y.elem_count() as f64, &Device::Cpu).unwrap().cos().unwrap();
    let weights = weights.reshape(y.shape()).unwrap().to_dtype(y.dtype()).unwrap();
    // A window of nothing but padding has no finite maximum.
    let finite = y.clamp(-1e3, 1e3).unwrap();
    let loss = (finite.sqr().unwrap() * weights).unwrap().sum_all().unwrap();
    [flat(y), flat(loss.backward().unwrap().get(x).unwrap())]
}

fn naive(kind: Kind, x: &[f64], case: Case) -> Vec<f64> {
    let ([m, c, h, w], SlidingWindow { kernel, strides, dilations, pads }) =
        (case.images, case.window);
    let [out_h, out_w] = case.window.output_rounded(h, w, case.ceil).unwrap();
    let mut y = Vec::new();
    for (plane, r) in (0..m * c).flat_map(|i| (0..out_h).map(move |r| (i, r))) {
        for s in 0..out_w {
            let (mut seen, mut n_padded) = (Vec::new(), 0);
            for (p, q) in (0..kernel[0]).flat_map(|p| (0..kernel[1]).map(move |q| (p, q))) {
                let (row, column) =
                    (r * strides[0] + p * dilations[0], s * strides[1] + q * dilations[1]);
                if row < pads[0] + h + pads[2] && column < pads[1] + w + pads[3] {
                    n_padded += 1;
                }
                if (pads[0]..pads[0] + h).contains(&row) && (pads[1]..pads[1] + w).contains(&column)
                {
                    seen.push(x[(plane * h + row - pads[0]) * w + column - pads[1]]);
                }
            }
            let sum = seen.iter().sum::<f64>();
            y.push(match kind {
                Kind::Max => seen.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Kind::Mean { counts_padding: true } => sum / f64::from(n_padded.max(1)),
                Kind::Mean { counts_padding: false } => sum / seen.len().max(1) as f64,
            });
        }
    }
    y
}

fn close(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    let near = |(a, b): (&f64, &f64)| a == b || (a - b).abs() < tolerance;
    a.len() == b.len() && a.iter().zip(b).all(near)
}

#[test]
fn equal_naive_loops_and_composed_gradients_in_every_geometry() {
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-13)] {
        for (seed, case) in (0..).zip(cases()) {
            let x = random(case, seed, dtype);
            for kind in KINDS {
                let y = apply(kind, &x, case).unwrap();
                let [rows, columns] =
                    case.window.output_rounded(case.images[2], case.images[3], case.ceil).unwrap();
                assert_eq!(y.dims(), [case.images[0], case.images[1], rows, columns]);
                let wanted = naive(kind, &flat(&x), case);
                assert!(close(&flat(&y), &wanted, tolerance), "{kind:?} {case:?} {dtype:?}");
                // What is not tracked may take another way.
                let untracked = apply(kind, &x.detach(), case).unwrap();
                assert_eq!(flat(&untracked), flat(&y), "{kind:?} {case:?}");
                if case.images[0] > 0 {
                    let [a, b] = [y, plain(kind, &x, case).unwrap()].map(|y| all_of(&y, &x));
                    assert!(close(&a[0], &b[0], tolerance), "{kind:?} {case:?} {dtype:?}");
                    assert!(close(&a[1], &b[1], 20.0 * tolerance), "{kind:?} {case:?} {dtype:?}");
                }
            }
        }
    }
}

#[test]
fn the_gradients_equal_differences() {
    let window =
        SlidingWindow { kernel: [3, 2], strides: [2, 1], dilations: [1, 2], pads: [1, 0, 2, 1] };
    let case = Case { images: [1, 2, 5, 4], window, ceil: true };
    let x = random(case, 1, DType::F64);
    for kind in KINDS {
        let gradient = all_of(&apply(kind, &x, case).unwrap(), &x)[1].clone();
        for i in 0..gradient.len() {
            let [up, down] = [1e-6, -1e-6].map(|step| {
                let mut values = flat(&x);
                values[i] += step;
                let moved = Tensor::from_vec(values, x.shape(), &Device::Cpu).unwrap();
                let y = flat(&apply(kind, &moved, case).unwrap());
                y.iter().enumerate().map(|(i, y)| y * y * (i as f64).cos()).sum::<f64>()
            });
            let slope = (up - down) / 2e-6;
            assert!((slope - gradient[i]).abs() < 1e-7, "{kind:?} {i}: {slope} {}", gradient[i]);
        }
    }
}

#[test]
fn one_thread_and_three_give_the_same_bits() {
    let window = SlidingWindow { kernel: [3; 2], strides: [2; 2], dilations: [1; 2], pads: [1; 4] };
    let case = Case { images: [9, 4, 120, 130], window, ceil: false };
    let at = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            let x = random(case, 0, DType::F32);
            KINDS.map(|kind| all_of(&apply(kind, &x, case).unwrap(), &x))
        })
    };
    assert_eq!(at(1), at(3));
}

#[test]
fn nan_wins_the_first_among_equals_gets_the_gradient_and_lowest_numbers_too() {
    let low = f64::NEG_INFINITY;
    // Side by side, and sliding over each other.
    for (stride, wanted) in [(2, [1.0, 0.0, 1.0, 0.0]), (1, [1.0, 1.0, 1.0, 0.0])] {
        let window =
            SlidingWindow { kernel: [1, 2], strides: [1, stride], dilations: [1; 2], pads: [0; 4] };
        for values in [[3.0, 3.0, 3.0, 3.0], [low; 4]] {
            let x = Var::from_vec(values.to_vec(), (1, 1, 1, 4), &Device::Cpu).unwrap();
            let y = max_pool(&x, &window, false).unwrap();
            assert_eq!(flat(y.backward().unwrap().get(&x).unwrap()), wanted);
        }
        let x = Tensor::new(&[[[[1.0, f64::NAN, 2.0, 0.0]]]], &Device::Cpu).unwrap();
        let y = flat(&max_pool(&x, &window, false).unwrap());
        assert!(y[0].is_nan() && !y[y.len() - 1].is_nan());
    }
    let window = SlidingWindow { kernel: [2; 2], strides: [2; 2], dilations: [1; 2], pads: [0; 4] };
    let x = Var::from_vec(vec![-2.0, -2.0, -3.0, -2.0], (1, 1, 2, 2), &Device::Cpu).unwrap();
    let y = max_pool(&x, &window, false).unwrap();
    assert_eq!(flat(&y), [-2.0]);
    assert_eq!(flat(y.backward().unwrap().get(&x).unwrap()), [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn bad_geometry_is_refused_with_its_numbers() {
    let x = Tensor::zeros((1, 1, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let window = SlidingWindow { kernel: [2; 2], strides: [1; 2], dilations: [1; 2], pads: [0; 4] };
    let cases = [
        (SlidingWindow { kernel: [0, 1], ..window }, "at least 1, got [0, 1]"),
        (SlidingWindow { kernel: [2, 5], ..window }, "spans 5 columns"),
        (SlidingWindow { pads: [0, 2, 0, 0], ..window }, "spans 2 columns, got [0, 2, 0, 0]"),
        (SlidingWindow { strides: [0, 1], ..window }, "at least 1, got [2, 2], [0, 1]"),
    ];
    for (window, part) in cases {
        let text = max_pool(&x, &window, false).unwrap_err().to_string();
        assert!(text.contains(part), "{text} / {part}");
        assert!(average_pool(&x, &window, true, true).is_err());
    }
    let none = Tensor::zeros((1, 1, 0, 4), DType::F32, &Device::Cpu).unwrap();
    assert!(max_pool(&none, &window, false).is_err());
    assert!(max_pool(&x.flatten_all().unwrap(), &window, false).is_err());
}
