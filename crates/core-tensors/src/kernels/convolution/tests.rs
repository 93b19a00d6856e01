//! The convolution against candle's own, naive loops, differences, and itself on two threads.

use super::*;
use crate::Rng;
use candle_core::{Device, Var};

fn random(shape: impl Into<Shape>, seed: u64) -> Var {
    let shape = shape.into();
    let mut rng = Rng::new(seed);
    let values: Vec<f64> = (0..shape.elem_count()).map(|_| rng.normal()).collect();
    Var::from_vec(values, shape, &Device::Cpu).unwrap()
}

#[test]
fn equals_candles_convolution_with_its_gradients() {
    let (x, u) = (random((3, 2, 7, 6), 0), random((4, 2 * 9 + 1), 1));
    let fused = convolve(&x, &u, Window { kernel: 3, padding: 0 }).unwrap();
    let weights = u.narrow(1, 0, 18).unwrap().contiguous().unwrap();
    let bias = u.narrow(1, 18, 1).unwrap().reshape((1, 4, 1, 1)).unwrap();
    let plain = x.conv2d(&weights.reshape((4, 2, 3, 3)).unwrap(), 0, 1, 1, 1).unwrap();
    let plain = plain.broadcast_add(&bias).unwrap();
    let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f64>().unwrap();
    let near =
        |a: &Tensor, b: &Tensor| flat(a).iter().zip(flat(b)).all(|(a, b)| (a - b).abs() < 1e-12);
    assert!(near(&fused, &plain));
    let [a, b] = [fused, plain].map(|y| y.sqr().unwrap().sum_all().unwrap().backward().unwrap());
    for of in [&x, &u] {
        assert!(near(a.get(of).unwrap(), b.get(of).unwrap()));
    }
}

#[test]
fn a_small_case_by_hand() {
    // One 2 × 3 picture, one 2 × 2 kernel (1, 0; 0, −1), bias 10.
    let x = Tensor::new(&[1f32, 2.0, 3.0, 4.0, 5.0, 7.0], &Device::Cpu).unwrap();
    let u = Tensor::new(&[[1f32, 0.0, 0.0, -1.0, 10.0]], &Device::Cpu).unwrap();
    let y =
        convolve(&x.reshape((1, 1, 2, 3)).unwrap(), &u, Window { kernel: 2, padding: 0 }).unwrap();
    assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), [6.0, 5.0]);
}

#[test]
fn wrong_shapes_are_refused() {
    let (x, u) = (random((1, 2, 4, 4), 0), random((4, 19), 1));
    assert!(
        convolve(&x, &u, Window { kernel: 5, padding: 0 })
            .unwrap_err()
            .to_string()
            .contains("found 4 × 4")
    );
    assert!(
        convolve(&x, &u, Window { kernel: 2, padding: 0 })
            .unwrap_err()
            .to_string()
            .contains("wanted 8 columns or one more, found 19")
    );
}
