//! λ and T by gradient descent on a validation loss, one step of the student ahead.

use std::ops::ControlFlow;

use anyhow::Result;
use core_tensors::{Dataset, Epoch, Fit, Params, Rng};
use losses::{Distillation, Gradients, Hyperparameters, distillation};
use models::Architecture;

use crate::training::Monitor;

/// Length of the step by which mixed derivatives are taken, in the norm of the weights.
///
/// Far above the rounding of f32 weights, and short where a loss bends on the scale of 1.
const RADIUS: f64 = 1e-2;

/// How λ and T move while a student is trained.
#[derive(Clone, Copy, Debug)]
pub struct MetaDescent {
    /// Step size of λ and T.
    pub rate: f64,
    /// Longest gradient by (λ, T); a longer one is shortened to it.
    pub longest: f64,
    /// Where λ stays.
    pub lambdas: (f64, f64),
    /// Where T stays.
    pub temperatures: (f64, f64),
    /// Steps by the gradient, and steps along a line fitted through those, in turn; no line where the second is 0.
    pub stages: (usize, usize),
}

/// A student under gradient descent whose λ and T may move.
#[derive(Clone, Copy)]
pub struct MetaCourse<'a> {
    /// f(x, ·).
    pub network: &'a dyn Architecture,
    /// Passes and batches.
    pub fit: Fit,
    /// γ: step size of the student's plain gradient descent.
    pub learning_rate: f64,
    /// How λ and T move; they stay where there is none.
    pub descent: Option<MetaDescent>,
}

/// d L_val(w − γ ∇L(w; λ, T)) / d(λ, T): the slope of the validation loss after one step of the student.
///
/// = −γ ∂/∂(λ, T) {∇L(w; λ, T)·v},  v = ∇L_val(w − γ ∇L),
///
/// the mixed derivative as a central difference of ∂L/∂(λ, T) along v. `w` is trainable.
///
/// Source: Luketina et al. (2016); Gorpinich, Bakhteev & Strijov (2022).
pub fn hypergradient(
    course: &MetaCourse,
    w: &Params,
    train: &Dataset,
    validation: &Dataset,
    m: &Hyperparameters,
) -> Result<Gradients> {
    let ahead = step(course, w, train, m)?.trainable()?;
    let logits = course.network.forward(&ahead, validation.x())?;
    let direction =
        ahead.gradient(&distillation(&logits, validation, &Distillation::labels_only())?)?;
    let length = direction.to_vec()?.iter().map(|v| v * v).sum::<f64>().sqrt();
    if length == 0.0 {
        return Ok(Gradients { lambda: 0.0, temperature: 0.0 });
    }
    let radius = RADIUS / length;
    let at = |factor: f64| -> Result<Gradients> {
        let moved = w.moved(&direction, factor)?;
        Ok(m.gradients(&course.network.forward(&moved, train.x())?, train)?)
    };
    let (after, before) = (at(radius)?, at(-radius)?);
    let mixed = |after: f64, before: f64| -course.learning_rate * (after - before) / (2.0 * radius);
    Ok(Gradients {
        lambda: mixed(after.lambda, before.lambda),
        temperature: mixed(after.temperature, before.temperature),
    })
}

/// w − γ ∇L(w; λ, T).
fn step(course: &MetaCourse, w: &Params, data: &Dataset, m: &Hyperparameters) -> Result<Params> {
    let logits = course.network.forward(w, data.x())?;
    let gradient = w.gradient(&distillation(&logits, data, &m.loss())?)?;
    Ok(w.moved(&gradient, -course.learning_rate)?)
}

/// Trains a student from `start`; gives its parameters, and λ and T after every step.
///
/// Before each step of the student λ and T make one of theirs by [`MetaDescent`], on the labels of `validation`.
pub fn train_with_hyperparameters(
    monitor: &dyn Monitor,
    course: &MetaCourse,
    start: &Params,
    from: Hyperparameters,
    (train, validation): (&Dataset, &Dataset),
    rng: &mut Rng,
) -> Result<(Params, Vec<Hyperparameters>)> {
    let mut w = start.trainable()?;
    let (mut m, mut path) = (from, Vec::new());
    let update = |batch: &Dataset| -> Result<f64> {
        if let Some(descent) = &course.descent {
            m = descent.next(&path, m, |m| hypergradient(course, &w, batch, validation, m))?;
        }
        w = step(course, &w, batch, &m)?.trainable()?;
        path.push(m);
        Ok(0.0)
    };
    let after = |_: Epoch| {
        monitor.point_done()?;
        Ok(ControlFlow::Continue(()))
    };
    course.fit.run(train, rng, update, after)?;
    Ok((w.frozen(), path))
}

impl MetaDescent {
    /// λ and T of the next step after those of `path`, the last of which are `m`.
    fn next(
        &self,
        path: &[Hyperparameters],
        m: Hyperparameters,
        gradients: impl FnOnce(&Hyperparameters) -> Result<Gradients>,
    ) -> Result<Hyperparameters> {
        let (by_gradient, by_line) = self.stages;
        let place = path.len() % (by_gradient + by_line).max(1);
        let (lambda, temperature) = if place < by_gradient || by_line == 0 {
            let s = gradients(&m)?;
            let length = s.lambda.hypot(s.temperature);
            let rate = self.rate * if length > self.longest { self.longest / length } else { 1.0 };
            (m.lambda - rate * s.lambda, m.temperature - rate * s.temperature)
        } else {
            // The line through the steps by gradient of this stage, from where it began.
            let mask = &path[path.len() - place..path.len() - place + by_gradient];
            let ahead = (place - by_gradient + 1) as f64;
            let line = |of: fn(&Hyperparameters) -> f64| {
                let values: Vec<f64> = mask.iter().map(of).collect();
                of(&path[path.len() - place + by_gradient - 1]) + ahead * slope(&values)
            };
            (line(|m| m.lambda), line(|m| m.temperature))
        };
        Ok(Hyperparameters {
            lambda: lambda.clamp(self.lambdas.0, self.lambdas.1),
            temperature: temperature.clamp(self.temperatures.0, self.temperatures.1),
            ..m
        })
    }
}

/// Slope of the least-squares line through values at 0, 1, …; 0 of fewer than two.
fn slope(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let middle = (n - 1.0) / 2.0;
    let (mut up, mut down) = (0.0, 0.0);
    for (i, value) in values.iter().enumerate() {
        up += (i as f64 - middle) * value;
        down += (i as f64 - middle).powi(2);
    }
    if down > 0.0 { up / down } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};
    use core_tensors::kernels::Activation;
    use losses::TemperatureScale;
    use models::Mlp;

    /// The same numbers in f64, so that differences are exact enough.
    fn doubled(w: &Params) -> Params {
        let blocks = w.blocks().iter().map(|b| b.to_dtype(DType::F64).unwrap()).collect();
        Params::new(w.layout().clone(), blocks).unwrap().trainable().unwrap()
    }

    fn data(n: usize, rng: &mut Rng) -> Dataset {
        let x: Vec<f64> = (0..n * 3).map(|_| rng.normal()).collect();
        let x = Tensor::from_vec(x, (n, 3), &Device::Cpu).unwrap();
        let labels = (0..n).map(|_| rng.below(2) as u32).collect::<Vec<_>>();
        let labels = Tensor::from_vec(labels, n, &Device::Cpu).unwrap();
        let y = core_tensors::Targets::Classes { labels, n_classes: 2 };
        let logits: Vec<f64> = (0..n * 2).map(|_| 2.0 * rng.normal()).collect();
        let logits = Tensor::from_vec(logits, (n, 2), &Device::Cpu).unwrap();
        let all: Vec<usize> = (0..n).collect();
        Dataset::new(x, y).unwrap().with_logits(&logits, &all).unwrap()
    }

    #[test]
    fn a_hypergradient_is_the_difference_of_the_loss_one_step_ahead() {
        for seed in 0..3 {
            let mut rng = Rng::new(seed);
            let (train, validation) = (data(9, &mut rng), data(6, &mut rng));
            let network = Mlp {
                widths: vec![3, 4, 2],
                activation: Activation::LeakyRelu { slope: 0.5 },
                bias: true,
            };
            let w = doubled(&network.init(&mut rng, &Device::Cpu).unwrap());
            let fit = Fit { epochs: 1, batch_size: 9 };
            let course = MetaCourse { network: &network, fit, learning_rate: 0.7, descent: None };
            let at = |lambda, temperature| Hyperparameters {
                lambda,
                temperature,
                scale: TemperatureScale::None,
            };
            let risk = |m: Hyperparameters| {
                let ahead = step(&course, &w, &train, &m).unwrap();
                let logits = network.forward(&ahead, validation.x()).unwrap();
                let loss = distillation(&logits, &validation, &Distillation::labels_only());
                loss.unwrap().to_scalar::<f64>().unwrap()
            };
            let (lambda, t, h) = (0.4, 1.3, 1e-4);
            let by_lambda = (risk(at(lambda + h, t)) - risk(at(lambda - h, t))) / (2.0 * h);
            let by_t = (risk(at(lambda, t + h)) - risk(at(lambda, t - h))) / (2.0 * h);
            let found = hypergradient(&course, &w, &train, &validation, &at(lambda, t)).unwrap();
            // The step along v is 1e-2 long: its square times a third derivative of order one.
            assert!(
                (found.lambda - by_lambda).abs() < 2e-4 * by_lambda.abs().max(0.1),
                "{found:?} {by_lambda}"
            );
            assert!(
                (found.temperature - by_t).abs() < 2e-4 * by_t.abs().max(0.1),
                "{found:?} {by_t}"
            );
        }
    }

    #[test]
    fn steps_are_shortened_kept_in_range_and_continued_along_a_line() {
        let descent = MetaDescent {
            rate: 0.1,
            longest: 0.01,
            lambdas: (0.0, 1.0),
            temperatures: (0.1, 10.0),
            stages: (3, 2),
        };
        let from = Hyperparameters { lambda: 0.5, temperature: 1.0, scale: TemperatureScale::None };
        let (mut m, mut path, mut n_asked) = (from, Vec::new(), 0);
        for _ in 0..5 {
            m = descent
                .next(&path, m, |_| {
                    n_asked += 1;
                    Ok(Gradients { lambda: 30.0, temperature: -40.0 })
                })
                .unwrap();
            path.push(m);
        }
        // Gradients of length 50 become 0.01 long: steps (−0.0006, +0.0008), three asked for and two along the line.
        assert_eq!(n_asked, 3);
        assert!((m.lambda - (0.5 - 5.0 * 0.0006)).abs() < 1e-12, "{m:?}");
        assert!((m.temperature - (1.0 + 5.0 * 0.0008)).abs() < 1e-12, "{m:?}");
        let low = Hyperparameters { lambda: 0.0, temperature: 10.0, ..from };
        let far = Gradients { lambda: 1.0, temperature: -1.0 };
        let kept = descent.next(&[], low, |_| Ok(far)).unwrap();
        assert_eq!((kept.lambda, kept.temperature), (0.0, 10.0));
    }
}
