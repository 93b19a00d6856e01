//! The convolution against candle's own, naive loops, differences, and itself on two threads.

use candle_core::{DType, Device, Shape, Tensor, Var};

use super::geometry::Extents;
use super::{Window, composed, convolve, convolve_relu_max_pool};
use crate::Rng;
use crate::kernels::relu_max_pool;

type Layer = fn(&Tensor, &Tensor, Window) -> candle_core::Result<Tensor>;

fn random(shape: impl Into<Shape>, seed: u64, dtype: DType) -> Var {
    let shape = shape.into();
    let mut rng = Rng::new(seed);
    let values: Vec<f64> = (0..shape.elem_count()).map(|_| rng.normal()).collect();
    let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    Var::from_tensor(&values.to_dtype(dtype).unwrap()).unwrap()
}

/// Outputs, and the gradients of Σ y² cos(place) by images and filters.
fn all_of(layer: Layer, x: &Tensor, u: &Tensor, window: Window) -> [Vec<f64>; 3] {
    let y = layer(x, u, window).unwrap();
    let weights = Tensor::arange(0.0, y.elem_count() as f64, &Device::Cpu).unwrap().cos().unwrap();
    let weights = weights.reshape(y.shape()).unwrap().to_dtype(y.dtype()).unwrap();
    let loss = (y.sqr().unwrap() * weights).unwrap().sum_all().unwrap();
    let gradients = loss.backward().unwrap();
    [&y, gradients.get(x).unwrap(), gradients.get(u).unwrap()]
        .map(|t| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap())
}

/// Largest gap, relative to the largest number.
fn gap(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let size = b.iter().fold(1.0, |size: f64, b| size.max(b.abs()));
    a.iter().zip(b).fold(0.0, |gap: f64, (a, b)| gap.max((a - b).abs())) / size
}

/// m, c, h, w, o, k, padding, whether there is a bias. Batches and images straddle groups, parts and bands.
const CASES: [([usize; 7], bool); 16] = [
    ([3, 2, 7, 6, 4, 3, 0], true),
    ([1, 1, 5, 5, 2, 5, 0], false),
    ([5, 3, 6, 9, 2, 3, 1], false),
    ([67, 2, 9, 8, 3, 2, 0], true),
    ([9, 40, 5, 5, 6, 3, 1], true),
    ([2, 60, 30, 33, 5, 3, 1], true),
    ([5, 80, 23, 20, 3, 5, 0], false),
    ([2, 1, 3, 4, 2, 5, 3], true),
    ([1, 2, 1, 2, 3, 2, 3], false),
    // Rows of 24, 8, 26 and 11 outputs, which have a way of their own.
    ([6, 2, 28, 28, 3, 5, 0], true),
    ([7, 3, 12, 12, 4, 5, 0], true),
    ([2, 1, 9, 28, 2, 5, 0], false),
    ([2, 20, 28, 28, 2, 5, 0], true),
    ([37, 3, 12, 12, 4, 5, 0], true),
    ([3, 60, 28, 28, 2, 3, 0], true),
    ([7, 3, 13, 13, 4, 3, 0], false),
];

#[test]
fn equals_candles_convolution_with_its_gradients() {
    let pooled: Layer = |x, u, window| relu_max_pool(&composed(x, u, window)?);
    let pairs: [(Layer, Layer); 2] = [(convolve, composed), (convolve_relu_max_pool, pooled)];
    // f32 sums of some thousand terms.
    for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F64, 1e-12)] {
        for (seed, ([m, c, h, w, o, k, padding], bias)) in (0..).zip(CASES) {
            let x = random((m, c, h, w), seed, dtype);
            let u = random((o, c * k * k + usize::from(bias)), seed + 100, dtype);
            let window = Window { kernel: k, padding };
            for (is_pooled, (fused, plain)) in pairs.into_iter().enumerate() {
                // In f32 a window with two numbers that nearly agree may choose either.
                if is_pooled == 1 && dtype == DType::F32 && m > 9 {
                    continue;
                }
                let (fused, plain) = (all_of(fused, &x, &u, window), all_of(plain, &x, &u, window));
                for (what, (a, b)) in fused.iter().zip(&plain).enumerate() {
                    let gap = gap(a, b);
                    assert!(gap < tolerance, "case {seed}, {what}, pooled {is_pooled}: {gap}");
                }
            }
        }
    }
}

#[test]
fn the_cases_straddle_the_cut() {
    let cuts = CASES.map(|([m, c, h, w, _, k, padding], _)| {
        let window = Window { kernel: k, padding }.on(h, w).unwrap();
        let e = Extents::new((c, h, w), window, 1).unwrap();
        let bands: Vec<_> = e.bands(m, e.cut(m, true)).collect();
        let n_parts = m.div_ceil(e.cut(m, true).part);
        (bands.iter().map(|b| b.images.len()).max(), bands.len() > m, n_parts)
    });
    assert!(cuts.iter().any(|c| c.0 > Some(1) && c.2 > 1), "several groups: {cuts:?}");
    assert!(cuts.iter().any(|c| c.1 && c.2 > 1), "several bands an image: {cuts:?}");
}

#[test]
fn equals_naive_loops() {
    let (x, u) = (random((2, 2, 4, 5), 0, DType::F64), random((3, 2 * 9 + 1), 1, DType::F64));
    let y = convolve(&x, &u, Window { kernel: 3, padding: 1 }).unwrap();
    assert_eq!(y.dims(), [2, 3, 4, 5]);
    let y = y.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let x = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let u = u.to_vec2::<f64>().unwrap();
    let pixel = |i: usize, j: usize, r: usize, s: usize| match (r, s) {
        (1..=4, 1..=5) => x[((i * 2 + j) * 4 + r - 1) * 5 + s - 1],
        _ => 0.0,
    };
    for (place, y) in y.iter().enumerate() {
        let (i, a, r, s) = (place / 60, place / 20 % 3, place / 5 % 4, place % 5);
        let mut sum = u[a][18];
        for t in 0..18 {
            sum += u[a][t] * pixel(i, t / 9, r + t / 3 % 3, s + t % 3);
        }
        assert!((y - sum).abs() < 1e-12, "{i} {a} {r} {s}: {y} against {sum}");
    }
}

#[test]
fn the_gradients_equal_differences() {
    let window = Window { kernel: 3, padding: 1 };
    let (x, u) = (random((2, 1, 4, 4), 5, DType::F64), random((2, 10), 6, DType::F64));
    for layer in [convolve as Layer, convolve_relu_max_pool] {
        let loss =
            |x: &Tensor, u: &Tensor| layer(x, u, window).unwrap().sqr().unwrap().sum_all().unwrap();
        let gradients = loss(&x, &u).backward().unwrap();
        for of in [&x, &u] {
            let gradient =
                gradients.get(of).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let values = of.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for i in 0..values.len() {
                let [up, down] = [1e-6, -1e-6].map(|step| {
                    let mut values = values.clone();
                    values[i] += step;
                    let moved = Tensor::from_vec(values, of.shape(), &Device::Cpu).unwrap();
                    let loss =
                        if of.dims().len() == 4 { loss(&moved, &u) } else { loss(&x, &moved) };
                    loss.to_scalar::<f64>().unwrap()
                });
                let slope = (up - down) / 2e-6;
                assert!((slope - gradient[i]).abs() < 1e-6, "{i}: {slope} against {}", gradient[i]);
            }
        }
    }
}

#[test]
fn one_thread_and_three_give_the_same_bits() {
    let at = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            [(67, 2, 9, 2), (5, 80, 20, 5)].map(|(m, c, side, k)| {
                let x = random((m, c, side, side), 0, DType::F32);
                let u = random((3, c * k * k + 1), 1, DType::F32);
                let window = Window { kernel: k, padding: 1 };
                [convolve as Layer, convolve_relu_max_pool].map(|l| all_of(l, &x, &u, window))
            })
        })
    };
    assert_eq!(at(1), at(3));
}

#[test]
fn a_small_case_by_hand() {
    // One 2 × 3 image, one 2 × 2 kernel (1, 0; 0, −1), bias 10.
    let x = Tensor::new(&[1f32, 2.0, 3.0, 4.0, 5.0, 7.0], &Device::Cpu).unwrap();
    let u = Tensor::new(&[[1f32, 0.0, 0.0, -1.0, 10.0]], &Device::Cpu).unwrap();
    let window = Window { kernel: 2, padding: 0 };
    let y = convolve(&x.reshape((1, 1, 2, 3)).unwrap(), &u, window).unwrap();
    assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [6.0, 5.0]);
}

#[test]
fn pooling_keeps_a_number_that_is_none_and_nothing_of_negative_windows() {
    let x = Tensor::new(&[1f32, f32::NAN, -1.0, -2.0, 0.0, 3.0, -3.0, -1.0], &Device::Cpu).unwrap();
    let (x, u) = (x.reshape((1, 1, 2, 4)).unwrap(), Tensor::new(&[[1f32]], &Device::Cpu).unwrap());
    let x = Var::from_tensor(&x).unwrap();
    let y = convolve_relu_max_pool(&x, &u, Window { kernel: 1, padding: 0 }).unwrap();
    let values = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(values[0].is_nan() && values[1] == 0.0);
    let gradients = y.sum_all().unwrap().backward().unwrap();
    let gradient = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(gradient, [0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
}

#[test]
fn wrong_shapes_are_refused() {
    let (x, u) = (random((1, 2, 4, 4), 0, DType::F64), random((4, 19), 1, DType::F64));
    let message =
        |kernel, padding| convolve(&x, &u, Window { kernel, padding }).unwrap_err().to_string();
    assert!(message(7, 1).contains("found 6 × 6"));
    assert!(message(2, 0).contains("wanted 8 columns or one more, found 19"));
}
