//! Steps of perceptrons equal those of tensor operations, on any number of threads.

use std::sync::Mutex;

use super::*;
use crate::kernels::linear;
use crate::{Adam, AdamConfig, Block, Layout, Params, Rng};

const ACTIVATIONS: [Activation; 4] = [
    Activation::Relu,
    Activation::LeakyRelu { slope: 0.01 },
    Activation::Tanh,
    Activation::Sigmoid,
];

fn start(widths: &[usize], has_bias: bool, seed: u64) -> Params {
    let cols = |n| n + usize::from(has_bias);
    let blocks = widths.windows(2).map(|w| Block { rows: w[1], cols: cols(w[0]) }).collect();
    let bounds: Vec<f64> = widths.iter().map(|&n| 1.0 / (n as f64).sqrt()).collect();
    let layout = Layout { blocks };
    let bounds = &bounds[..layout.blocks.len()];
    Params::uniform(&layout, bounds, &mut Rng::new(seed), &Device::Cpu)
        .unwrap()
        .trainable()
        .unwrap()
}

fn normal(shape: (usize, usize), seed: u64) -> Tensor {
    let mut draws = vec![0f32; shape.0 * shape.1];
    Rng::new(seed).fill_normal(&mut draws);
    Tensor::from_vec(draws, shape, &Device::Cpu).unwrap()
}

/// f(x, w) in tensor operations.
fn composed(x: &Tensor, w: &Params, activation: Activation) -> Tensor {
    let depth = w.blocks().len();
    w.blocks().iter().enumerate().fold(x.clone(), |z, (t, u)| {
        let activation = if t + 1 == depth { Activation::Identity } else { activation };
        linear(&z, u, activation).unwrap()
    })
}

/// Keeps the gradients that it is given.
struct Kept<'a> {
    w: &'a Params,
    gradients: Vec<Vec<f32>>,
}

impl Weights for Kept<'_> {
    fn read(&self, t: usize, see: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        see(&self.w.blocks()[t].flatten_all()?.to_vec1()?)
    }

    fn descend(&mut self, t: usize, gradient: &Gradient) -> Result<()> {
        let n = self.w.layout().blocks[t].n_parameters();
        let parts = n.div_ceil(gradient.numbers_at_a_time());
        let kept = Mutex::new(vec![Vec::new(); parts]);
        gradient.share_out(&Buffers::default(), (0..parts).collect(), |part, i| {
            kept.lock().unwrap()[i] = part.to_vec();
            Ok(())
        })?;
        self.gradients[t] = kept.into_inner().unwrap().concat();
        Ok(())
    }
}

/// Shapes in one part and in several, by rows of the batch and by units.
const SHAPES: [(&[usize], usize); 4] =
    [(&[5, 1], 3), (&[9, 7, 4], 1), (&[200, 300, 40, 3], 130), (&[700, 900, 20], 100)];

#[test]
fn outputs_and_gradients_equal_those_of_tensor_operations() {
    for (seed, activation) in ACTIVATIONS.into_iter().enumerate() {
        for (widths, m) in SHAPES {
            let (seed, has_bias) = (seed as u64, seed % 2 == 0);
            let w = start(widths, has_bias, seed);
            let x = normal((m, widths[0]), seed + 10);
            let target = normal((m, widths[widths.len() - 1]), seed + 20);
            let loss = |f: &Tensor| Ok::<_, Error>((f - &target)?.sqr()?.mean_all()?);
            let plain = composed(&x, &w, activation);
            let wanted = w.gradient(&loss(&plain).unwrap()).unwrap();

            let mut perceptron = Perceptron::new(widths, activation, has_bias).unwrap();
            let mut kept = Kept { w: &w, gradients: vec![Vec::new(); w.blocks().len()] };
            let value = perceptron.step(&x, &mut kept, loss).unwrap();
            let expected: f32 = loss(&plain).unwrap().to_scalar().unwrap();
            assert!((value - f64::from(expected)).abs() < 1e-5 * f64::from(expected));
            for (found, wanted) in kept.gradients.iter().zip(wanted.blocks()) {
                let wanted: Vec<f32> = wanted.flatten_all().unwrap().to_vec1().unwrap();
                assert_eq!(found.len(), wanted.len());
                let largest = wanted.iter().fold(0f32, |most, g| most.max(g.abs()));
                for (a, b) in found.iter().zip(&wanted) {
                    assert!((a - b).abs() <= 1e-5 * largest, "{activation:?}, {widths:?}: {a} {b}");
                }
            }
        }
    }
}

/// Weights after ten steps of Adam, on batches of changing size.
fn trained(fast: bool, activation: Activation) -> Vec<f64> {
    let widths = [300, 200, 100, 3];
    let w = start(&widths, true, 1);
    let mut adam = Adam::new(AdamConfig::pytorch(1e-3), &w).unwrap();
    let mut perceptron = Perceptron::new(&widths, activation, true).unwrap();
    for step in 0..10 {
        let m = [600, 160][step as usize % 2];
        let (x, target) = (normal((m, 300), 2 * step), normal((m, 3), 2 * step + 1));
        let loss = |f: &Tensor| Ok::<_, Error>((f - &target)?.sqr()?.mean_all()?);
        if fast {
            perceptron.step(&x, &mut adam, loss).unwrap();
        } else {
            let loss = loss(&composed(&x, &w, activation)).unwrap();
            adam.step(&loss.backward().unwrap()).unwrap();
        }
    }
    w.to_vec().unwrap()
}

#[test]
fn ten_steps_of_adam_end_where_tensor_operations_end() {
    for activation in ACTIVATIONS {
        let (fast, plain) = (trained(true, activation), trained(false, activation));
        let gap = fast.iter().zip(&plain).fold(0f64, |gap, (a, b)| gap.max((a - b).abs()));
        assert!(gap < 1e-4, "{activation:?}: {gap}");
    }
}

#[test]
fn the_number_of_threads_does_not_change_a_bit() {
    let on = |n| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
        pool.install(|| trained(true, Activation::Relu))
    };
    let alone = on(1);
    for n in [2, 3, 5, 16] {
        assert_eq!(alone, on(n), "{n} threads");
    }
}

#[test]
fn parts_are_never_so_small_that_they_are_summed_in_another_order() {
    // Many inputs and few units: products of up to 256 numbers take another way.
    for (widths, m) in [([65_536, 2], 160), ([12_288, 10], 160)] {
        let (w, x) = (start(&widths, true, 3), normal((m, widths[0]), 4));
        let on = |n| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap();
            let adam = Adam::new(AdamConfig::pytorch(1e-3), &w).unwrap();
            let x: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
            pool.install(|| {
                let mut perceptron = Perceptron::new(&widths, Activation::Relu, true).unwrap();
                perceptron.forward(&x, &adam).unwrap().to_vec()
            })
        };
        let alone = on(1);
        for n in [2, 4, 8, 17] {
            assert_eq!(alone, on(n), "{widths:?} on {n} threads");
        }
    }
    for n in 1..400 {
        for (cols, parts) in [(1, 2), (10, 8), (300, 17), (300, 32)] {
            let rows = Layer::rows_of_a_part(n, cols, parts);
            let last = n - (n - 1) / rows * rows;
            assert!(rows == n || last >= 16 && last * cols > 256, "{n} rows of {cols}: {rows}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    assert!(Perceptron::new(&[3, 2], Activation::Gelu, true).is_none());
    assert!(Perceptron::new(&[3], Activation::Relu, true).is_none());
    assert!(Perceptron::new(&[3, 2], Activation::LeakyRelu { slope: -1.0 }, true).is_none());
    let mut perceptron = Perceptron::new(&[3, 2], Activation::Relu, true).unwrap();
    let w = start(&[3, 2], true, 0);
    let mut adam = Adam::new(AdamConfig::pytorch(1e-3), &w).unwrap();
    let message = perceptron.forward(&[0.0; 4], &adam).unwrap_err().to_string();
    assert_eq!(message, "features of a batch: expected a multiple of 3, found 4");
    perceptron.forward(&[0.0; 6], &adam).unwrap();
    assert!(perceptron.backward(&[0.0; 6], &[0.0; 3], &mut adam).is_err());
    assert!(perceptron.backward(&[0.0; 3], &[0.0; 4], &mut adam).is_err());
    // Twice the features are no batch of twice the examples.
    let x = Tensor::zeros((4, 6), DType::F32, &Device::Cpu).unwrap();
    let step = perceptron.step(&x, &mut adam, |f| Ok::<_, Error>(f.sqr()?.mean_all()?));
    assert!(step.unwrap_err().to_string().contains("[4, 3]"));
    let other = start(&[4, 2], true, 0);
    let adam = Adam::new(AdamConfig::pytorch(1e-3), &other).unwrap();
    assert!(perceptron.forward(&[0.0; 6], &adam).is_err());
}
