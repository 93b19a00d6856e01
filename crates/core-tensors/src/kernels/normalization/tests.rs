//! Normalizations against naive formulas, their composed forms and differences.

use candle_core::{DType, Device, Result, Shape, Tensor, Var};

use super::{affine_channels, batch_norm, channels, layer, layer_norm, softmax};
use super::{log_softmax_last, softmax_last};
use crate::Rng;

const EPSILON: f64 = 1e-5;
/// Rows shorter and longer than the lanes, and with a rest.
const SHAPES: [&[usize]; 6] = [&[1], &[3, 1], &[4, 7], &[2, 3, 16], &[5, 37], &[2, 2, 2, 70]];

fn random(shape: impl Into<Shape>, seed: u64, dtype: DType) -> Var {
    let shape = shape.into();
    let mut rng = Rng::new(seed);
    let values: Vec<f64> = (0..shape.elem_count()).map(|_| 1.0 + 2.0 * rng.normal()).collect();
    let values = Tensor::from_vec(values, shape, &Device::Cpu).unwrap();
    Var::from_tensor(&values.to_dtype(dtype).unwrap()).unwrap()
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Σ y² cos(place), whose gradient has no symmetry.
fn loss(y: &Tensor) -> Tensor {
    let weights = Tensor::arange(0.0, y.elem_count() as f64, &Device::Cpu).unwrap().cos().unwrap();
    let weights = weights.reshape(y.shape()).unwrap().to_dtype(y.dtype()).unwrap();
    (y.sqr().unwrap() * weights).unwrap().sum_all().unwrap()
}

/// Outputs and the gradients by all inputs.
fn all_of(form: impl Fn(&[Tensor]) -> Result<Tensor>, inputs: &[Var]) -> Vec<Vec<f64>> {
    let tensors: Vec<Tensor> = inputs.iter().map(|var| var.as_tensor().clone()).collect();
    let y = form(&tensors).unwrap();
    let gradients = loss(&y).backward().unwrap();
    let by = tensors.iter().map(|of| flat(gradients.get(of).unwrap()));
    std::iter::once(flat(&y)).chain(by).collect()
}

fn gap(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let size = b.iter().fold(1.0, |size: f64, b| size.max(b.abs()));
    a.iter().zip(b).fold(0.0, |gap: f64, (a, b)| gap.max((a - b).abs())) / size
}

/// The two forms agree in both precisions, and the fused one's gradients with differences in f64.
fn check(
    what: &str,
    shapes: &[Vec<usize>],
    fused: &dyn Fn(&[Tensor]) -> Result<Tensor>,
    plain: &dyn Fn(&[Tensor]) -> Result<Tensor>,
) {
    for (dtype, tolerance) in [(DType::F32, 2e-5), (DType::F64, 1e-12)] {
        let inputs: Vec<Var> =
            shapes.iter().zip(0..).map(|(shape, seed)| random(&shape[..], seed, dtype)).collect();
        let (found, wanted) = (all_of(fused, &inputs), all_of(plain, &inputs));
        for (i, (a, b)) in found.iter().zip(&wanted).enumerate() {
            assert!(gap(a, b) < tolerance, "{what} {shapes:?} {dtype:?} {i}: {:e}", gap(a, b));
        }
        if dtype == DType::F32 {
            continue;
        }
        for (which, gradient) in found[1..].iter().enumerate() {
            for i in (0..gradient.len()).step_by(3) {
                let [up, down] = [1e-5, -1e-5].map(|step| {
                    let mut values = flat(&inputs[which]);
                    values[i] += step;
                    let mut tensors: Vec<Tensor> =
                        inputs.iter().map(|var| var.as_tensor().clone()).collect();
                    tensors[which] =
                        Tensor::from_vec(values, tensors[which].shape(), &Device::Cpu).unwrap();
                    loss(&fused(&tensors).unwrap()).to_scalar::<f64>().unwrap()
                });
                let slope = (up - down) / 2e-5;
                let gap = (slope - gradient[i]).abs() / gradient[i].abs().max(1.0);
                assert!(gap < 1e-5, "{what} {shapes:?} {which} {i}: {slope} {}", gradient[i]);
            }
        }
    }
}

#[test]
fn layer_norms_equal_their_composed_form_and_differences() {
    for shape in SHAPES {
        let n = shape[shape.len() - 1];
        // The slope at a row of one number is 0 by difference and by formula but for rounding of √ε.
        let shapes = [shape.to_vec(), vec![n], vec![n]];
        let epsilon = if n == 1 { 1.0 } else { EPSILON };
        check("layer norm", &shapes, &|t| layer_norm(&t[0], &t[1], Some(&t[2]), epsilon), &|t| {
            layer::composed(&t[0], &t[1], Some(&t[2]), epsilon)
        });
        check(
            "layer norm without shift",
            &shapes[..2],
            &|t| layer_norm(&t[0], &t[1], None, epsilon),
            &|t| layer::composed(&t[0], &t[1], None, epsilon),
        );
    }
}

#[test]
fn softmaxes_equal_their_composed_form_and_differences() {
    for shape in SHAPES {
        let shapes = [shape.to_vec()];
        check("softmax", &shapes, &|t| softmax_last(&t[0]), &|t| softmax::composed(&t[0], false));
        check("log-softmax", &shapes, &|t| log_softmax_last(&t[0]), &|t| {
            softmax::composed(&t[0], true)
        });
    }
}

#[test]
fn batch_norms_equal_their_formula_and_differences() {
    for shape in [&[4, 3][..], &[2, 3, 5], &[3, 2, 4, 5], &[1, 5, 7, 9]] {
        let c = shape[1];
        let shapes = [shape.to_vec(), vec![c], vec![c], vec![c], vec![c]];
        // The variances are squares, which are positive.
        check(
            "batch norm",
            &shapes,
            &|t| batch_norm(&t[0], &t[1], &t[2], &t[3], &t[4].sqr()?, 0.1),
            &|t| {
                let mut wide = vec![1; shape.len()];
                wide[1] = c;
                let [scale, shift, mean, std] =
                    [&t[1], &t[2], &t[3], &t[4]].map(|t| t.reshape(&wide[..]));
                let std = (std?.sqr()? + 0.1)?.sqrt()?;
                let y = t[0].broadcast_sub(&mean?)?.broadcast_div(&std)?;
                y.broadcast_mul(&scale?)?.broadcast_add(&shift?)
            },
        );
        check("affine channels", &shapes[..3], &|t| affine_channels(&t[0], &t[1], &t[2]), &|t| {
            channels::composed(&t[0], &t[1], &t[2])
        });
    }
}

#[test]
fn values_by_hand() {
    // Mean 2, variance 2/3 and ε = 1/3: the divisor is 1.
    let x = Tensor::new(&[[1.0, 2.0, 3.0]], &Device::Cpu).unwrap();
    let scale = Tensor::new(&[2.0, 3.0, 4.0], &Device::Cpu).unwrap();
    let y = flat(&layer_norm(&x, &scale, Some(&scale), 1.0 / 3.0).unwrap());
    assert!(gap(&y, &[0.0, 3.0, 8.0]) < 1e-15, "{y:?}");
    let logits = Tensor::new(&[[0.0, 3f64.ln(), f64::NEG_INFINITY]], &Device::Cpu).unwrap();
    assert!(gap(&flat(&softmax_last(&logits).unwrap()), &[0.25, 0.75, 0.0]) < 1e-15);
    let logs = flat(&log_softmax_last(&logits).unwrap());
    assert!(gap(&logs[..2], &[0.25f64.ln(), 0.75f64.ln()]) < 1e-15 && logs[2] == f64::NEG_INFINITY);
    let single = logits.to_dtype(DType::F32).unwrap();
    assert!(gap(&flat(&softmax_last(&single).unwrap()), &[0.25, 0.75, 0.0]) < 1e-6);
}

#[test]
fn far_numbers_stay_finite_and_nan_stays() {
    let x = Tensor::new(&[[1e6f32, -1e6, 1e6], [f32::NAN, 0.0, 1.0]], &Device::Cpu).unwrap();
    let y = flat(&softmax_last(&x).unwrap());
    assert!(gap(&y[..3], &[0.5, 0.0, 0.5]) < 1e-6 && y[3..].iter().all(|y| y.is_nan()));
    let logs = flat(&log_softmax_last(&x).unwrap());
    assert!(logs[..3].iter().all(|y| y.is_finite()) && logs[3..].iter().all(|y| y.is_nan()));
    let scale = Tensor::ones(3, DType::F32, &Device::Cpu).unwrap();
    let y = flat(&layer_norm(&x, &scale, None, EPSILON).unwrap());
    assert!(y[..3].iter().all(|y| y.is_finite()) && y[3..].iter().all(|y| y.is_nan()));
}

#[test]
fn only_what_is_tracked_gets_a_gradient() {
    let shapes = [vec![4, 5], vec![5], vec![5]];
    let vars: Vec<Var> = shapes.iter().map(|s| random(&s[..], 0, DType::F32)).collect();
    for tracked in 0..3 {
        let tensors: Vec<Tensor> = (0..3)
            .map(|i| if i == tracked { vars[i].as_tensor().clone() } else { vars[i].detach() })
            .collect();
        let [x, a, b] = [&tensors[0], &tensors[1], &tensors[2]];
        for y in [layer_norm(x, a, Some(b), EPSILON), affine_channels(x, a, b)] {
            let gradients = loss(&y.unwrap()).backward().unwrap();
            for (i, tensor) in tensors.iter().enumerate() {
                assert_eq!(gradients.get(tensor).is_some(), i == tracked);
            }
        }
    }
}

#[test]
fn other_shapes_and_epsilons_are_refused() {
    let x = random((2, 3), 0, DType::F32);
    let (three, two) = (random(3, 1, DType::F32), random(2, 1, DType::F32));
    let message = layer_norm(&x, &two, None, EPSILON).unwrap_err().to_string();
    assert!(message.contains("wanted shape [3], found [2]"), "{message}");
    let message = layer_norm(&x, &three, Some(&two), EPSILON).unwrap_err().to_string();
    assert!(message.contains("shift of a layer norm"), "{message}");
    assert!(layer_norm(&x, &three, None, f64::NAN).is_err());
    assert!(batch_norm(&x, &three, &three, &three, &two, EPSILON).is_err());
    assert!(batch_norm(&x, &three, &three, &three, &three, -1.0).is_err());
    assert!(affine_channels(&three, &three, &three).is_err());
    let none = Tensor::zeros((2, 0), DType::F32, &Device::Cpu).unwrap();
    let message = softmax_last(&none).unwrap_err().to_string();
    assert!(message.contains("at least one number, found shape [2, 0]"), "{message}");
    let empty = Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(softmax_last(&empty).unwrap().dims(), [0, 3]);
    assert_eq!(affine_channels(&empty, &three, &three).unwrap().dims(), [0, 3]);
    let no_channels = Tensor::zeros((2, 0, 4), DType::F32, &Device::Cpu).unwrap();
    let nothing = Tensor::zeros(0, DType::F32, &Device::Cpu).unwrap();
    assert_eq!(affine_channels(&no_channels, &nothing, &nothing).unwrap().dims(), [2, 0, 4]);
}
