//! The general convolution against naive loops, its composed form, differences, and itself on several threads.

use candle_core::{DType, Device, Shape, Tensor, Var};

use super::{Grouped, composed, grouped_convolution};
use crate::Rng;
use crate::kernels::SlidingWindow;
use crate::kernels::convolution::passes::Method;
use crate::kernels::convolution::{Window, convolve};

#[derive(Clone, Copy, Debug)]
struct Case {
    /// m, c, h, w of the images.
    images: [usize; 4],
    o: usize,
    groups: usize,
    window: SlidingWindow,
    has_bias: bool,
}

/// A geometry that fits.
fn case(rng: &mut Rng) -> Case {
    let mut below = |n: usize| (rng.uniform() * n as f64) as usize;
    loop {
        let groups = [1, 1, 2, 3, 4][below(5)];
        let channels = [1, 1, 2, 3][below(4)];
        let window = SlidingWindow {
            kernel: [1 + below(4), 1 + below(4)],
            strides: [1 + below(3), 1 + below(3)],
            dilations: [1 + below(3), 1 + below(2)],
            pads: [below(3), below(4), below(3), below(2)],
        };
        let images = [below(6), groups * channels, 1 + below(12), 1 + below(40)];
        if window.output(images[2], images[3]).is_ok() {
            let o = groups * (1 + below(3));
            return Case { images, o, groups, window, has_bias: below(2) == 1 };
        }
    }
}

/// Geometries that the random ones may miss: no window at all, images that are their own unfolded form.
fn special_cases() -> Vec<Case> {
    let window = SlidingWindow { kernel: [1; 2], strides: [1; 2], dilations: [1; 2], pads: [0; 4] };
    let one = Case { images: [9, 6, 8, 7], o: 4, groups: 1, window, has_bias: true };
    vec![
        one,
        Case { groups: 2, has_bias: false, ..one },
        Case { images: [70, 3, 1, 1], ..one },
        Case { images: [2, 6, 8, 7], o: 12, groups: 6, ..one },
        Case { window: SlidingWindow { strides: [2; 2], ..window }, ..one },
        Case { window: SlidingWindow { pads: [1, 0, 0, 2], ..window }, ..one },
        // A plane that is far larger than lanes, and steps beyond the window.
        Case {
            images: [3, 2, 30, 37],
            o: 6,
            groups: 2,
            window: SlidingWindow { kernel: [3, 2], strides: [4, 5], ..window },
            has_bias: true,
        },
    ]
}

fn cases() -> Vec<Case> {
    let mut rng = Rng::new(0);
    let mut cases: Vec<Case> = (0..80).map(|_| case(&mut rng)).collect();
    cases.extend(special_cases());
    cases
}

fn random(shape: impl Into<Shape>, seed: u64, dtype: DType) -> Var {
    let shape = shape.into();
    let mut rng = Rng::new(seed);
    let values: Vec<f64> = (0..shape.elem_count()).map(|_| rng.normal()).collect();
    let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    Var::from_tensor(&values.to_dtype(dtype).unwrap()).unwrap()
}

fn inputs(case: Case, seed: u64, dtype: DType) -> [Var; 3] {
    let [m, c, h, w] = case.images;
    let [rows, columns] = case.window.kernel;
    [
        random((m, c, h, w), seed, dtype),
        random((case.o, c / case.groups, rows, columns), seed + 1000, dtype),
        random(case.o, seed + 2000, dtype),
    ]
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

type Form =
    fn(&Tensor, &Tensor, Option<&Tensor>, &SlidingWindow, usize) -> candle_core::Result<Tensor>;

/// Outputs, and the gradients of Σ y² cos(place) by images, filters and bias.
fn all_of(form: Form, case: Case, [x, u, b]: &[Var; 3]) -> Vec<Vec<f64>> {
    let bias = case.has_bias.then_some(b.as_tensor());
    let y = form(x, u, bias, &case.window, case.groups).unwrap();
    let weights = Tensor::arange(0.0, y.elem_count() as f64, &Device::Cpu).unwrap().cos().unwrap();
    let weights = weights.reshape(y.shape()).unwrap().to_dtype(y.dtype()).unwrap();
    let gradients = (y.sqr().unwrap() * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let inputs = [x, u, b].into_iter().take(2 + usize::from(case.has_bias));
    std::iter::once(flat(&y)).chain(inputs.map(|of| flat(gradients.get(of).unwrap()))).collect()
}

/// Largest gap, relative to the largest number.
fn gap(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let size = b.iter().fold(1.0, |size: f64, b| size.max(b.abs()));
    a.iter().zip(b).fold(0.0, |gap: f64, (a, b)| gap.max((a - b).abs())) / size
}

fn naive(case: Case, [x, u, b]: &[Var; 3]) -> Vec<f64> {
    let ([m, c, h, w], [rows, columns]) = (case.images, case.window.kernel);
    let (x, u, b) = (flat(x), flat(u), flat(b));
    let [out_h, out_w] = case.window.output(h, w).unwrap();
    let SlidingWindow { strides, dilations, pads, .. } = case.window;
    let (channels, filters) = (c / case.groups, case.o / case.groups);
    let mut y = Vec::new();
    for (i, a) in (0..m).flat_map(|i| (0..case.o).map(move |a| (i, a))) {
        for (r, s) in (0..out_h).flat_map(|r| (0..out_w).map(move |s| (r, s))) {
            let mut sum = if case.has_bias { b[a] } else { 0.0 };
            for t in 0..channels * rows * columns {
                let (j, p, q) = (t / (rows * columns), t / columns % rows, t % columns);
                let row = (r * strides[0] + p * dilations[0]).checked_sub(pads[0]);
                let column = (s * strides[1] + q * dilations[1]).checked_sub(pads[1]);
                if let (Some(row), Some(column)) = (row, column)
                    && row < h
                    && column < w
                {
                    let channel = a / filters * channels + j;
                    sum += u[a * channels * rows * columns + t]
                        * x[((i * c + channel) * h + row) * w + column];
                }
            }
            y.push(sum);
        }
    }
    y
}

#[test]
fn equals_naive_loops_in_every_geometry() {
    // f32 sums of some hundred terms.
    for (dtype, tolerance) in [(DType::F32, 1e-5), (DType::F64, 1e-13)] {
        for (seed, case) in (0..).zip(cases()) {
            let inputs = inputs(case, seed, dtype);
            let bias = case.has_bias.then_some(inputs[2].as_tensor());
            let (x, u) = (&inputs[0], &inputs[1]);
            let y = grouped_convolution(x, u, bias, &case.window, case.groups).unwrap();
            let [rows, columns] = case.window.output(case.images[2], case.images[3]).unwrap();
            assert_eq!(y.dims(), [case.images[0], case.o, rows, columns]);
            let gap = gap(&flat(&y), &naive(case, &inputs));
            assert!(gap < tolerance, "{case:?} {dtype:?}: {gap:e}");
        }
    }
}

#[test]
fn the_gradients_equal_those_of_the_composed_form() {
    for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F64, 1e-12)] {
        for (seed, case) in (0..).zip(cases()) {
            if case.images[0] == 0 {
                continue;
            }
            let inputs = inputs(case, seed, dtype);
            let fused = all_of(grouped_convolution, case, &inputs);
            let plain = all_of(composed, case, &inputs);
            for (what, (a, b)) in fused.iter().zip(&plain).enumerate() {
                let gap = gap(a, b);
                assert!(gap < tolerance, "{case:?} {dtype:?} {what}: {gap:e}");
            }
        }
    }
}

#[test]
fn the_cases_take_every_way() {
    let mut found = [0; 3];
    for case in cases() {
        let op = Grouped { window: case.window, groups: case.groups };
        let [m, c, h, w] = case.images;
        let [rows, columns] = case.window.kernel;
        let filters = Shape::from((case.o, c / case.groups, rows, columns));
        match op.sizes(&(m, c, h, w).into(), &filters, None).unwrap().method {
            Method::Unfolded => found[0] += 1,
            Method::Pointwise => found[1] += 1,
            Method::Depthwise => found[2] += 1,
        }
    }
    assert!(found[0] > 20 && found[1] > 1 && found[2] > 20, "{found:?}");
}

#[test]
fn the_gradients_equal_differences() {
    let window =
        SlidingWindow { kernel: [2, 3], strides: [2, 1], dilations: [1, 2], pads: [1, 0, 0, 2] };
    let unfolded = Case { images: [2, 4, 4, 5], o: 2, groups: 2, window, has_bias: true };
    let pointwise = SlidingWindow { kernel: [1; 2], strides: [1; 2], ..window };
    let pointwise = SlidingWindow { dilations: [1; 2], pads: [0; 4], ..pointwise };
    let pointwise = Case { images: [1, 4, 6, 6], window: pointwise, ..unfolded };
    let depthwise = Case { images: [2, 2, 4, 5], o: 4, ..unfolded };
    for case in [unfolded, pointwise, depthwise] {
        let inputs = inputs(case, 3, DType::F64);
        let loss = |[x, u, b]: [&Tensor; 3]| {
            let y = grouped_convolution(x, u, Some(b), &case.window, case.groups).unwrap();
            y.sqr().unwrap().sum_all().unwrap()
        };
        let gradients = loss([&inputs[0], &inputs[1], &inputs[2]]).backward().unwrap();
        for (which, of) in inputs.iter().enumerate() {
            let gradient = flat(gradients.get(of).unwrap());
            for i in 0..gradient.len() {
                let [up, down] = [1e-5, -1e-5].map(|step| {
                    let mut values = flat(of);
                    values[i] += step;
                    let moved = Tensor::from_vec(values, of.shape(), &Device::Cpu).unwrap();
                    let mut tensors = [&inputs[0], &inputs[1], &inputs[2]].map(Var::as_tensor);
                    tensors[which] = &moved;
                    loss(tensors).to_scalar::<f64>().unwrap()
                });
                let slope = (up - down) / 2e-5;
                let gap = (slope - gradient[i]).abs();
                assert!(gap < 1e-6, "{case:?} {which} {i}: {slope} against {}", gradient[i]);
            }
        }
    }
}

#[test]
fn only_what_is_tracked_gets_a_gradient() {
    for case in cases().into_iter().filter(|case| case.has_bias && case.images[0] > 0).take(20) {
        let vars = inputs(case, 0, DType::F32);
        let whole = all_of(grouped_convolution, case, &vars);
        for tracked in 0..3 {
            let tensors: Vec<Tensor> = vars
                .iter()
                .enumerate()
                .map(|(i, var)| if i == tracked { var.as_tensor().clone() } else { var.detach() })
                .collect();
            let [x, u, b] = [&tensors[0], &tensors[1], &tensors[2]];
            let y = grouped_convolution(x, u, Some(b), &case.window, case.groups).unwrap();
            let places = Tensor::arange(0f32, y.elem_count() as f32, &Device::Cpu).unwrap();
            let places = places.to_dtype(DType::F64).unwrap().cos().unwrap();
            let places = places.reshape(y.shape()).unwrap().to_dtype(DType::F32).unwrap();
            let loss = (y.sqr().unwrap() * places).unwrap().sum_all().unwrap();
            let gradients = loss.backward().unwrap();
            for (i, tensor) in tensors.iter().enumerate() {
                match gradients.get(tensor) {
                    Some(gradient) if i == tracked => {
                        assert_eq!(flat(gradient), whole[1 + i], "{case:?} {i}");
                    }
                    found => assert!(found.is_none() && i != tracked, "{case:?} {i}"),
                }
            }
        }
    }
}

#[test]
fn one_thread_and_three_give_the_same_bits() {
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.images[0] > 1).collect();
    let at = |n_threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
        pool.install(|| {
            let all = cases
                .iter()
                .map(|&case| all_of(grouped_convolution, case, &inputs(case, 7, DType::F32)));
            all.collect::<Vec<_>>()
        })
    };
    assert_eq!(at(1), at(3));
}

#[test]
fn equals_the_special_convolution_in_its_bits() {
    let (x, u) = (random((9, 3, 12, 11), 0, DType::F32), random((4, 28), 1, DType::F32));
    let special = convolve(&x, &u, Window { kernel: 3, padding: 1 }).unwrap();
    let filters = u.narrow(1, 0, 27).unwrap().contiguous().unwrap().reshape((4, 3, 3, 3)).unwrap();
    let bias = u.narrow(1, 27, 1).unwrap().contiguous().unwrap().reshape(4).unwrap();
    let window = SlidingWindow { kernel: [3; 2], strides: [1; 2], dilations: [1; 2], pads: [1; 4] };
    let general = grouped_convolution(&x, &filters, Some(&bias), &window, 1).unwrap();
    assert_eq!(flat(&special), flat(&general));
}

#[test]
fn bad_geometry_is_refused_with_its_numbers() {
    let window = SlidingWindow { kernel: [2; 2], strides: [1; 2], dilations: [1; 2], pads: [0; 4] };
    let x = random((2, 6, 4, 4), 0, DType::F32);
    let refusal = |filters: [usize; 4], bias: Option<usize>, window: SlidingWindow, groups| {
        let filters = random(filters.to_vec(), 1, DType::F32);
        let bias = bias.map(|n| random(n, 2, DType::F32));
        let bias = bias.as_ref().map(Var::as_tensor);
        grouped_convolution(&x, &filters, bias, &window, groups).unwrap_err().to_string()
    };
    let cases = [
        (refusal([4, 6, 2, 2], None, window, 0), "6 channels are not divisible into 0 groups"),
        (refusal([4, 6, 2, 2], None, window, 4), "6 channels are not divisible into 4 groups"),
        (refusal([4, 2, 2, 2], None, window, 3), "4 filters are not divisible into 3 groups"),
        (refusal([4, 6, 2, 3], None, window, 1), "wanted shape (o, 6, 2, 2), found [4, 6, 2, 3]"),
        (refusal([4, 5, 2, 2], None, window, 1), "wanted shape (o, 6, 2, 2), found [4, 5, 2, 2]"),
        (refusal([4, 6, 2, 2], Some(3), window, 1), "the bias of 4 filters wanted shape [4]"),
        (
            refusal([4, 6, 5, 2], None, SlidingWindow { kernel: [5, 2], ..window }, 1),
            "spans 5 rows wanted padded images at least as large, found 4",
        ),
        (
            refusal([4, 6, 2, 2], None, SlidingWindow { pads: [usize::MAX / 8; 4], ..window }, 1),
            "larger than memory",
        ),
    ];
    for (found, wanted) in cases {
        assert!(found.contains(wanted), "{found} / {wanted}");
    }
    let none = Tensor::zeros((2, 0, 4, 4), DType::F32, &Device::Cpu).unwrap();
    let filters = Tensor::zeros((2, 0, 2, 2), DType::F32, &Device::Cpu).unwrap();
    let message = grouped_convolution(&none, &filters, None, &window, 1).unwrap_err().to_string();
    assert!(
        message.contains("at least one channel, row and column, found 0, 4 and 4"),
        "{message}"
    );
    let mixed = random((4, 6, 2, 2), 1, DType::F64);
    assert!(grouped_convolution(&x, &mixed, None, &window, 1).is_err());
}
