//! Laws of the losses of features: golden values, what each ignores, degenerate batches, refusals.

use candle_core::{Device, Var};

use super::*;
use crate::golden::{assert_golden, n_of_features, ramp};

/// Rounding of sums of a few dozen terms.
const EXACT: f64 = 1e-12;

fn value(loss: Result<Tensor>) -> f64 {
    loss.unwrap().to_scalar().unwrap()
}

#[test]
fn every_loss_of_features_equals_pytorch() {
    let (s, t) = (ramp(5, 1, (4, 3)), ramp(7, 3, (4, 2)));
    let (a, b) = (ramp(5, 2, (2, 3, 2, 2)), ramp(7, 1, (2, 2, 2, 2)));
    let projection = ramp(3, 4, (2, 4));
    let alpha = Var::new(&[0.0, -1.5], &Device::Cpu).unwrap();
    let mut n = 0;
    let mut check = |name: &str, loss: Result<Tensor>, by: &Var| {
        assert_golden(name, &loss.unwrap(), by);
        n += 1;
    };
    check("fitnets", fitnets(&s, &t, Some(&projection)), &s);
    check("fitnets, projection", fitnets(&s, &t, Some(&projection)), &projection);
    check("at", at(&a, &b, 2.0, AtGap::Norm), &a);
    check("at, cubes", at(&a, &b, 3.0, AtGap::MeanSquare), &a);
    check("nst, linear", nst(&a, &b, NstKernel::Linear), &a);
    let polynomial = NstKernel::Polynomial { degree: 3, constant: 0.5 };
    check("nst, polynomial", nst(&a, &b, polynomial), &a);
    check("nst, Gaussian", nst(&a, &b, NstKernel::Gaussian { scale: 1.5 }), &a);
    check("sp", sp(&s, &t), &s);
    check("rkd distance", rkd_distance(&s, &t), &s);
    check("rkd angle", rkd_angle(&s, &t), &s);
    check("pkt", pkt(&s, &t), &s);
    let mean = || a.narrow(1, 0, 2).unwrap();
    check("vid", vid(&mean(), &b, &alpha, 1e-5), &a);
    check("vid, variances", vid(&mean(), &b, &alpha, 1e-5), &alpha);
    assert_eq!(n, n_of_features());
}

#[test]
fn relations_survive_a_turn_and_a_shift() {
    // The plane turned by the angle of 3-4-5 and moved: all distances and angles stay.
    let s = ramp(5, 1, (4, 2));
    let turn = Tensor::new(&[[0.6, 0.8], [-0.8, 0.6]], &Device::Cpu).unwrap();
    let shift = Tensor::new(&[[7.0, -3.0]], &Device::Cpu).unwrap();
    let turned = s.matmul(&turn).unwrap();
    let moved = turned.broadcast_add(&shift).unwrap();
    assert!(value(rkd_distance(&s, &(&moved * 2.0).unwrap())) < EXACT);
    assert!(value(rkd_angle(&s, &(&moved * 2.0).unwrap())) < EXACT);
    // Products of examples know the origin.
    assert!(value(sp(&s, &turned)) < EXACT && value(sp(&s, &moved)) > 0.1);
    assert!(value(pkt(&s, &turned)) < EXACT && value(pkt(&s, &moved)) > 0.01);
}

#[test]
fn channels_have_no_order() {
    let (a, b) = (ramp(5, 2, (2, 3, 4)), ramp(7, 1, (2, 2, 4)));
    let order = Tensor::new(&[2u32, 0, 1], &Device::Cpu).unwrap();
    let mixed = a.index_select(&order, 1).unwrap();
    for kernel in [
        NstKernel::Linear,
        NstKernel::Polynomial { degree: 2, constant: 0.0 },
        NstKernel::Gaussian { scale: 1.0 },
    ] {
        assert!(value(nst(&mixed, &a, kernel)).abs() < EXACT, "{kernel:?}");
        let (one, other) = (nst(&mixed, &b, kernel), nst(&a, &b, kernel));
        assert!((value(one) - value(other)).abs() < EXACT);
    }
    assert!(value(at(&mixed, &a, 2.0, AtGap::Norm)) < EXACT);
    // The linear kernel compares mean channels: of opposite ones, nothing.
    let both = Tensor::cat(&[a.as_tensor(), &a.neg().unwrap()], 1).unwrap();
    let zeros = both.zeros_like().unwrap();
    assert!(value(nst(&both, &zeros, NstKernel::Linear)).abs() < EXACT);
    assert!(value(nst(&both, &zeros, NstKernel::Polynomial { degree: 2, constant: 0.0 })) > 0.1);
}

#[test]
fn neighborhoods_by_hand() {
    // Right angles for the teacher: K = ½, ½ of each other. The student: 1 and 2 alike, both opposite to 3.
    let t =
        Tensor::new(&[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], &Device::Cpu).unwrap();
    let s = Tensor::new(&[[1.0], [3.0], [-2.0]], &Device::Cpu).unwrap();
    // q = (1, ε) / (1 + ε) for the first two, (½, ½) for the third, ε = 1e-7.
    let row = 0.5 * (0.5 * (1.0 + 1e-7f64)).ln() + 0.5 * (0.5 * (1.0 + 1e-7) / 1e-7f64).ln();
    assert!((value(pkt(&s, &t)) - 2.0 * row / 3.0).abs() < EXACT);
}

#[test]
fn tiny_variances_keep_their_digits_in_single_precision() {
    // With t = μ + d the loss is ½ log σ² + d² / 2σ², σ² = log(1 + exp α) of 1e-35 to 80.
    let at = |alpha: f64, dtype| {
        let single = |x: f64| Tensor::new(&[x], &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let alpha = Var::from_tensor(&single(alpha)).unwrap();
        let (mean, teacher) =
            (single(0.0).unsqueeze(0).unwrap(), single(1e-4).unsqueeze(0).unwrap());
        let loss = vid(&mean, &teacher, &alpha, 1e-300).unwrap();
        let derivative =
            loss.backward().unwrap().get(&alpha).unwrap().to_dtype(candle_core::DType::F64);
        let loss: f64 = loss.to_dtype(candle_core::DType::F64).unwrap().to_scalar().unwrap();
        [loss, derivative.unwrap().to_vec1::<f64>().unwrap()[0]]
    };
    for alpha in [-80.0f64, -40.0, -17.0, -16.0, -5.0, 0.0, 5.0, 17.0, 80.0] {
        let variance = alpha.max(0.0) + (-alpha.abs()).exp().ln_1p();
        let wanted = 0.5 * variance.ln() + 0.5e-8 / variance;
        let derivative = 0.5 / (1.0 + (-alpha).exp()) * (1.0 - 1e-8 / variance) / variance;
        for (dtype, rounding) in [(candle_core::DType::F64, EXACT), (candle_core::DType::F32, 1e-5)]
        {
            // A variance below 1e-19 has no square in f32, and the derivative wants one.
            if alpha < -40.0 && dtype == candle_core::DType::F32 {
                continue;
            }
            let [found, found_derivative] = at(alpha, dtype);
            assert!(
                (found / wanted - 1.0).abs() < rounding,
                "{dtype:?} {alpha}: {found:e} {wanted:e}"
            );
            assert!((found_derivative / derivative - 1.0).abs() < rounding, "{dtype:?} {alpha}");
        }
    }
}

#[test]
fn near_and_opposite_features_keep_their_digits_in_single_precision() {
    let both = |loss: &dyn Fn(&Tensor, &Tensor) -> Result<Tensor>, s: &Tensor, t: &Tensor| {
        let at = |dtype| -> f64 {
            // Numbers of f32 either way.
            let [s, t] =
                [s, t].map(|x| x.to_dtype(candle_core::DType::F32).unwrap().to_dtype(dtype));
            let loss = loss(&s.unwrap(), &t.unwrap()).unwrap();
            assert_eq!(loss.dtype(), dtype);
            loss.to_dtype(candle_core::DType::F64).unwrap().to_scalar().unwrap()
        };
        [at(candle_core::DType::F64), at(candle_core::DType::F32)]
    };
    let close = |[double, single]: [f64; 2]| {
        assert!(double > 0.0 && (single / double - 1.0).abs() < 1e-5, "{double:e} {single:e}");
    };
    let (a, b) = (ramp(5, 2, (2, 3, 4)), ramp(7, 1, (2, 3, 4)));
    let near = (a.as_tensor() + (b.as_tensor() * 1e-4).unwrap()).unwrap();
    for kernel in [
        NstKernel::Linear,
        NstKernel::Polynomial { degree: 2, constant: 0.5 },
        NstKernel::Gaussian { scale: 1e-3 },
    ] {
        close(both(&|s, t| nst(s, t, kernel), &near, &a));
    }
    // Cosines 5e-7 from −1, where ½ (1 + cos) is 2.5 times its floor.
    let s = Tensor::new(&[[1.0, 0.0], [-1.0, 1e-3], [-1.0, -2e-3]], &Device::Cpu).unwrap();
    close(both(&pkt, &s, &ramp(7, 3, (3, 2))));
}

#[test]
fn examples_that_coincide_have_finite_slopes() {
    let t = ramp(7, 3, (4, 3));
    for s in [
        Tensor::ones((4, 3), candle_core::DType::F64, &Device::Cpu).unwrap(),
        t.zeros_like().unwrap(),
    ] {
        let s = Var::from_tensor(&s).unwrap();
        let losses = [
            rkd_distance(&s, &t),
            rkd_angle(&s, &t),
            sp(&s, &t),
            pkt(&s, &t),
            fitnets(&s, &t, None),
        ];
        for (i, loss) in losses.into_iter().enumerate() {
            let gradients = loss.unwrap().backward().unwrap();
            let derivatives =
                gradients.get(&s).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            assert!(
                derivatives.iter().all(|derivative| derivative.abs() < 100.0),
                "{i}: {derivatives:?}"
            );
        }
    }
}

#[test]
fn a_twin_batch_has_half_the_similarity_loss() {
    let (s, t) = (ramp(5, 1, (4, 3)), ramp(7, 3, (4, 2)));
    let twice = |x: &Tensor| Tensor::cat(&[x, x], 0).unwrap();
    let both = value(sp(&twice(&s), &twice(&t)));
    assert!((both - 0.5 * value(sp(&s, &t))).abs() < EXACT);
}

#[test]
fn features_that_do_not_fit_are_refused() {
    let (s, t) = (ramp(5, 1, (4, 3)), ramp(7, 3, (4, 2)));
    let (a, b) = (ramp(5, 2, (2, 3, 2, 2)), ramp(7, 1, (2, 2, 3, 2)));
    let message = |loss: Result<Tensor>| loss.unwrap_err().to_string();
    assert_eq!(
        message(fitnets(&s, &t, None)),
        "features of the student: expected shape [4, 2], found [4, 3]"
    );
    assert_eq!(
        message(at(&a, &b, 2.0, AtGap::Norm)),
        "positions of the student's map: expected 6, found 4"
    );
    assert_eq!(message(sp(&s, &a)), "examples of the student: expected 2, found 4");
    assert_eq!(
        message(nst(&s, &t, NstKernel::Linear)),
        "dimensions of a map: expected at least 3, found 2"
    );
    let one = s.narrow(0, 0, 1).unwrap();
    for loss in [pkt, sp, rkd_distance, rkd_angle] {
        assert_eq!(
            message(loss(&one, &one)),
            "examples of a batch that are compared: expected at least 2, found 1"
        );
    }
    assert!(at(&a, &a, 0.5, AtGap::Norm).is_err());
    assert!(nst(&a, &a, NstKernel::Polynomial { degree: 0, constant: 0.0 }).is_err());
    assert!(nst(&a, &a, NstKernel::Gaussian { scale: 0.0 }).is_err());
    assert!(vid(&t, &t, &one, 1e-5).is_err() && vid(&t, &s, &one, 1e-5).is_err());
    let nobody = s.narrow(0, 0, 0).unwrap();
    assert!(sp(&nobody, &nobody).is_err());
}
