//! Measures of a map φ, to judge it by before a student is trained through it.

use std::ops::ControlFlow;

use candle_core::{DType, Tensor};
use core_tensors::kernels::{Activation, features};
use core_tensors::{Adam, AdamConfig, Dataset, Error, Fit, Rng, Targets};
use losses::{Distillation, Predictions, discrepancy, distillation, median_scale};
use models::{Architecture, Mlp};

/// Hidden units of the classifier that tells domains apart.
const N_HIDDEN: usize = 32;
/// Its passes over the data, batches and step size.
const EPOCHS: usize = 20;
const BATCH: usize = 50;
const LEARNING_RATE: f64 = 1e-3;
/// Objects of each sample that the median scale looks at.
const MOST_FOR_SCALE: usize = 500;

/// Proxy A-distance between two samples: 2 (1 − 2 ε) ∈ \[−2, 2\], 0 where they cannot be told apart, 2 where always.
///
/// ε is the error of a perceptron with 32 hidden units, trained on every other object of both to name the sample, on
/// the objects that it did not see. `a` and `b` are (m, n) and (m′, n), at least 4 objects each; the larger counts as
/// many objects as the smaller, so that guessing errs half the time.
///
/// Source: Ben-David et al. (2007), with a perceptron in place of a linear classifier.
pub fn proxy_distance(a: &Tensor, b: &Tensor, rng: &mut Rng) -> losses::Result<f64> {
    let (a, b) = (levels(a)?, levels(b)?);
    let ((m, n), (other, found)) = (a.dims2()?, b.dims2()?);
    if found != n {
        return Err(Error::mismatch("features of the second sample", n, found).into());
    }
    let each = m.min(other);
    if each < 4 {
        return Err(Error::mismatch("objects of each sample", "at least 4", each).into());
    }
    let x = Tensor::cat(&[a.narrow(0, 0, each)?, b.narrow(0, 0, each)?], 0)?;
    let labels: Vec<u32> = (0..2 * each).map(|i| u32::from(i >= each)).collect();
    let labels = Tensor::from_vec(labels, 2 * each, x.device())?;
    let both = Dataset::new(x, Targets::Classes { labels, n_classes: 2 })?;
    let half = |from: usize| {
        both.rows(&(0..2 * each).filter(|i| (i % each) % 2 == from).collect::<Vec<_>>())
    };
    let (seen, unseen) = (half(0)?, half(1)?);
    let network = Mlp { widths: vec![n, N_HIDDEN, 2], activation: Activation::Relu, bias: true };
    let w = network.init(&mut rng.split("start"), both.x().device())?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(LEARNING_RATE), &w)?;
    let loss = |batch: &Dataset| {
        let scores = network.forward(&w, batch.x()).map_err(candle_core::Error::wrap)?;
        distillation(&scores, batch, &Distillation::labels_only()).map_err(candle_core::Error::wrap)
    };
    let keep = |_| Ok::<_, losses::Error>(ControlFlow::Continue(()));
    let fit = Fit { epochs: EPOCHS, batch_size: BATCH };
    fit.minimize(&mut adam, &seen, &mut rng.split("batches"), loss, keep)?;
    let Targets::Classes { labels, .. } = unseen.y() else {
        return Err(losses::Error::WantedClasses { what: "proxy distance" });
    };
    let answers = Predictions::new(&network.forward(&w.frozen(), unseen.x())?)?;
    let error = 1.0 - answers.accuracy(&labels.to_vec1()?)?;
    Ok(2.0 * (1.0 - 2.0 * error))
}

/// Squared maximum mean discrepancy of two samples under one Gaussian kernel of the median scale; unbiased, so that it
/// can fall below 0 where they are alike.
///
/// `a` and `b` are (m, n) and (m′, n), bytes or numbers, at least 2 objects each. See [`losses::discrepancy`].
pub fn kernel_discrepancy(a: &Tensor, b: &Tensor) -> losses::Result<f64> {
    let (a, b) = (levels(a)?.to_dtype(DType::F64)?, levels(b)?.to_dtype(DType::F64)?);
    let scale = median_scale(&a, &b, MOST_FOR_SCALE)?;
    if scale <= 0.0 {
        return Ok(0.0);
    }
    Ok(discrepancy(&a, &b, &[scale])?.to_scalar()?)
}

/// Mean over objects and features of (back − x)²: what a map and its way back lose of x; both (m, n).
pub fn round_trip_error(x: &Tensor, back: &Tensor) -> core_tensors::Result<f64> {
    let (x, back) = (levels(x)?, levels(back)?);
    if x.dims() != back.dims() {
        let (wanted, found) = (format!("{:?}", x.dims()), format!("{:?}", back.dims()));
        return Err(Error::mismatch("objects that came back", wanted, found));
    }
    Ok((x - back)?.sqr()?.to_dtype(DType::F64)?.mean_all()?.to_scalar()?)
}

fn levels(x: &Tensor) -> core_tensors::Result<Tensor> {
    Ok(features(x)?.flatten_from(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn normals(m: usize, shift: f64, seed: u64) -> Tensor {
        let mut rng = Rng::new(seed);
        let values: Vec<f32> = (0..m * 5).map(|_| (shift + rng.normal()) as f32).collect();
        Tensor::from_vec(values, (m, 5), &Device::Cpu).unwrap()
    }

    #[test]
    fn samples_of_one_distribution_are_at_no_distance_and_far_ones_at_two() {
        let mut rng = Rng::new(0);
        let same =
            proxy_distance(&normals(1000, 0.0, 1), &normals(1200, 0.0, 2), &mut rng).unwrap();
        // 1000 objects judge, each right with probability ½: four deviations of 4 ε are 0.25.
        assert!(same.abs() < 0.25, "{same}");
        let far = proxy_distance(&normals(1000, 0.0, 1), &normals(1000, 3.0, 2), &mut rng).unwrap();
        assert!(far > 1.95, "{far}");
        assert!(kernel_discrepancy(&normals(500, 0.0, 1), &normals(500, 0.0, 2)).unwrap() < 0.01);
        assert!(kernel_discrepancy(&normals(500, 0.0, 1), &normals(500, 3.0, 2)).unwrap() > 0.3);
    }

    #[test]
    fn the_error_of_the_best_classifier_sets_the_distance() {
        // N(0, 1) and N(δ, 1) in each of 5 features: the best error is Φ(−δ√5 / 2), 0.2119 for δ = 0.7155.
        let (a, b) = (normals(6000, 0.0, 3), normals(6000, 0.7155, 4));
        let found = proxy_distance(&a, &b, &mut Rng::new(1)).unwrap();
        let wanted = 2.0 * (1.0 - 2.0 * 0.2119);
        // A deviation of 4 ε over 6000 objects is 0.021; a trained classifier is a little worse than the best.
        assert!((found - wanted).abs() < 0.08, "{found} {wanted}");
    }

    #[test]
    fn a_round_trip_by_hand_and_foreign_shapes() {
        let x = Tensor::new(&[[0u8, 255]], &Device::Cpu).unwrap();
        let back = Tensor::new(&[[0.5f32, 1.0]], &Device::Cpu).unwrap();
        assert_eq!(round_trip_error(&x, &back).unwrap(), 0.125);
        assert!(round_trip_error(&normals(3, 0.0, 0), &back).is_err());
        let wide = Tensor::zeros((9, 4), DType::F32, &Device::Cpu).unwrap();
        let message = proxy_distance(&normals(9, 0.0, 0), &wide, &mut Rng::new(0)).unwrap_err();
        assert_eq!(message.to_string(), "features of the second sample: wanted 5, found 4");
    }
}
