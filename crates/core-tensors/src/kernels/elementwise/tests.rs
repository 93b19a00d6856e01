//! The functions against the standard library, statrs and differences, in both precisions.

use candle_core::{DType, Device, Tensor, Var};
use statrs::distribution::{ContinuousCDF, Normal};

use super::function::Function;
use super::{apply, composed, hard_sigmoid};
use crate::Rng;

const ALL: [Function; 9] = [
    Function::Tanh,
    Function::Sigmoid,
    Function::Erf,
    Function::Gelu,
    Function::GeluTanh,
    Function::Silu,
    Function::HardSwish,
    Function::HardSigmoid { alpha: 0.2, beta: 0.5 },
    Function::HardSigmoid { alpha: -1.5, beta: 0.25 },
];

fn closed_form(function: Function, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match function {
        Function::Tanh => x.tanh(),
        Function::Sigmoid => sigmoid(x),
        Function::Erf => statrs::function::erf::erf(x),
        Function::Gelu => x * Normal::standard().cdf(x),
        Function::GeluTanh => {
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
            0.5 * x * (1.0 + u.tanh())
        }
        Function::Silu => x * sigmoid(x),
        Function::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
        Function::HardSigmoid { alpha, beta } => (alpha * x + beta).clamp(0.0, 1.0),
    }
}

fn flat(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// Values and derivatives, fused and composed, in one precision.
fn at(function: Function, x: &[f64], dtype: DType) -> [[Vec<f64>; 2]; 2] {
    let x = Tensor::new(x, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    [apply as fn(&Tensor, Function) -> _, composed].map(|form| {
        let x = Var::from_tensor(&x).unwrap();
        let y: Tensor = form(&x, function).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        [flat(&y), flat(gradients.get(&x).unwrap())]
    })
}

/// Numbers of f32 around 0 and far from it, none of them a kink.
fn arguments() -> Vec<f64> {
    let mut rng = Rng::new(0);
    let mut x: Vec<f64> = (0..2000).map(|_| f64::from((3.0 * rng.normal()) as f32)).collect();
    x.extend([0.0, 0.01, -0.01, 1e-6, 0.999, 1.001, 12.0, -12.0, 30.0, -30.0]);
    x
}

#[test]
fn values_equal_closed_forms_and_slopes_equal_differences() {
    let x = arguments();
    // f32 rounds a few times, relative to values above 1; statrs has erf to some 1e-11.
    for (dtype, tolerance) in [(DType::F32, 4e-7), (DType::F64, 1e-10)] {
        for function in ALL {
            let forms = at(function, &x, dtype);
            for (i, &x) in x.iter().enumerate() {
                let wanted = closed_form(function, x);
                let step = 1e-5;
                let [up, down] = [x + step, x - step].map(|x| closed_form(function, x));
                let slope = (up - down) / (2.0 * step);
                for (form, [values, slopes]) in forms.iter().enumerate() {
                    let gap = (values[i] - wanted).abs() / wanted.abs().max(1.0);
                    assert!(gap < tolerance, "{function:?} {dtype:?} {form} at {x}: {gap:e}");
                    let gap = (slopes[i] - slope).abs();
                    // The differences themselves are good to 1e-9, a slope in f32 to some roundings of 1.
                    assert!(gap < 2e-6, "{function:?} {dtype:?} {form} at {x}: {gap:e}");
                }
            }
        }
    }
}

/// x of single precision and erf(x): `mpmath.erf(float(numpy.float32(x)))` with 30 digits.
const ERF: [(f64, f64); 10] = [
    (1.0000000031710769e-30, 1.1283791706736896e-30),
    (9.99999993922529e-9, 1.1283791602378209e-8),
    (0.0010000000474974513, 0.0011283788445643173),
    (0.10000000149011612, 0.11246291768297051),
    (0.5, 0.5204998778130465),
    (0.9999989867210388, 0.8427003723295949),
    (1.0, 0.8427007929497149),
    (1.5, 0.9661051464753108),
    (2.5, 0.999593047982555),
    (4.0, 0.9999999845827421),
];
/// x and x Φ(x): `x * mpmath.ncdf(x)` with 30 digits.
const GELU: [(f64, f64); 3] =
    [(-2.0, -0.04550026389635842), (-5.0, -1.4332578593959695e-6), (-10.0, -7.619853024160526e-23)];

#[test]
fn erf_keeps_its_digits_near_zero_and_gelu_those_of_its_tail() {
    let both = ERF.iter().flat_map(|&(x, y)| [(x, y), (-x, -y)]);
    let erf = both.map(|case| (Function::Erf, case, [4e-7, 1e-15]));
    // A power is rounded by as many units as its argument has.
    let gelu = GELU.map(|case| (Function::Gelu, case, [1e-5, 1e-14]));
    for (function, (x, wanted), tolerances) in erf.chain(gelu) {
        for (dtype, tolerance) in [DType::F32, DType::F64].into_iter().zip(tolerances) {
            let found = at(function, &[x], dtype)[0][0][0];
            let gap = (found / wanted - 1.0).abs();
            assert!(gap < tolerance, "{function:?} {dtype:?} at {x}: {gap:e}");
        }
    }
}

#[test]
fn far_numbers_stay_finite_with_their_slopes_and_nan_stays() {
    for function in ALL {
        for dtype in [DType::F32, DType::F64] {
            for x in [1e4, -1e4, 1e30, -1e30] {
                let [[y, slope], _] = at(function, &[x], dtype);
                assert!(y[0].is_finite() && slope[0].is_finite(), "{function:?} {dtype:?} {x}");
                assert!((-1e-6..1.0 + 1e-6).contains(&slope[0]), "{function:?} {dtype:?} {x}");
            }
            assert!(at(function, &[f64::NAN], dtype)[0][0][0].is_nan(), "{function:?}");
        }
    }
}

#[test]
fn a_transposed_view_and_an_empty_tensor_are_taken() {
    let x = Tensor::arange(0f32, 6.0, &Device::Cpu).unwrap().reshape((2, 3)).unwrap();
    let y = super::silu(&x.t().unwrap()).unwrap();
    assert_eq!(flat(&y), flat(&super::silu(&x).unwrap().t().unwrap().contiguous().unwrap()));
    let none = Tensor::zeros((0, 3), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(super::gelu(&none).unwrap().dims(), [0, 3]);
}

#[test]
fn a_ramp_without_numbers_is_refused() {
    let x = Tensor::new(&[1f32], &Device::Cpu).unwrap();
    assert!(hard_sigmoid(&x, f64::NAN, 0.5).is_err());
    assert!(hard_sigmoid(&x, 0.2, f64::INFINITY).is_err());
}
