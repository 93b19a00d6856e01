//! Measures of a map φ, to judge it by before a student is trained through it.

use std::ops::ControlFlow;

use candle_core::{DType, Tensor};
use core_tensors::kernels::{Activation, features};
use core_tensors::{AdamConfig, Dataset, Error, Expected, Fit, Rng, Targets};
use losses::{Distillation, Predictions, distillation, median_scale, mmd};
use models::{Architecture, Descent, Mlp};

/// Hidden units of the classifier that tells domains apart.
const N_HIDDEN: usize = 32;
/// Its passes over the data, batches and step size.
const EPOCHS: usize = 20;
const BATCH: usize = 50;
const LEARNING_RATE: f64 = 1e-3;
/// Examples of each sample that the median scale looks at.
const MOST_FOR_SCALE: usize = 500;

/// Proxy A-distance between two samples: 2 (1 − 2 ε) ∈ \[−2, 2\], 0 where they cannot be told apart, 2 where always.
///
/// ε is the error of a perceptron with 32 hidden units, trained on every other example of both to name the sample, on
/// the examples that it did not see. `a` and `b` are (m, n) and (m′, n), at least 4 examples each; of the larger as many random
/// examples count as the smaller has, so that guessing errs half the time. What is seen, the start and the batches are drawn
/// from `rng`, afresh at each call. Of samples of one size the rows of one index are seen together or not at all: an example and
/// its own φ(x) are no hint at one another.
///
/// Source: Ben-David et al. (2007), with a perceptron in place of a linear classifier.
///
/// ```
/// use core_tensors::candle_core::{Device, Tensor};
/// use core_tensors::Rng;
/// # fn main() -> losses::Result<()> {
/// let x: Vec<f32> = (0..400).map(|i| i as f32 / 400.0).collect();
/// let a = Tensor::from_slice(&x, (400, 1), &Device::Cpu)?;
/// let same = domain_adapt::proxy_distance(&a, &a, &mut Rng::new(0))?;
/// let far = domain_adapt::proxy_distance(&a, &(&a + 10.0)?, &mut Rng::new(0))?;
/// assert!(same == 0.0 && far > 1.9);
/// # Ok(())
/// # }
/// ```
pub fn proxy_distance(a: &Tensor, b: &Tensor, rng: &mut Rng) -> losses::Result<f64> {
    let (a, b) = (intensities(a)?, intensities(b)?);
    let ((m, n), (other, found)) = (a.dims2()?, b.dims2()?);
    Expected::Exactly(n).check("features of the second sample", found)?;
    let each = m.min(other);
    Expected::AtLeast(4).check("examples of each sample", each)?;
    let order = rng.permutation(m);
    let others = if other == m { order.clone() } else { rng.permutation(other) };
    let x = Tensor::cat(&[selected(&a, &order[..each])?, selected(&b, &others[..each])?], 0)?;
    let labels: Vec<u32> = (0..2 * each).map(|i| u32::from(i >= each)).collect();
    let labels = Tensor::from_vec(labels, 2 * each, x.device())?;
    let both = Dataset::new(x, Targets::Classes { labels, n_classes: 2 })?;
    let half = |from: usize| {
        both.rows(&(0..2 * each).filter(|i| (i % each) % 2 == from).collect::<Vec<_>>())
    };
    let (seen, unseen) = (half(0)?, half(1)?);
    let network = Mlp { widths: vec![n, N_HIDDEN, 2], activation: Activation::Relu, bias: true };
    let w = network.init(rng, both.x().device())?.trainable()?;
    let mut descent = Descent::new(&network, &w, AdamConfig::pytorch(LEARNING_RATE))?;
    let loss = |f: &Tensor, batch: &Dataset| distillation(f, batch, &Distillation::labels_only());
    let keep = |_| Ok::<_, losses::Error>(ControlFlow::Continue(()));
    let fit = Fit { epochs: EPOCHS, batch_size: BATCH };
    descent.fit(fit, &seen, rng, loss, keep)?;
    let Targets::Classes { labels, .. } = unseen.y() else {
        return Err(losses::Error::WantedClasses { what: "proxy distance" });
    };
    let predictions = Predictions::new(&network.forward(&w.frozen(), unseen.x())?)?;
    let error = 1.0 - predictions.accuracy(&labels.to_vec1()?)?;
    Ok(2.0 * (1.0 - 2.0 * error))
}

/// Squared maximum mean discrepancy of two samples under one Gaussian kernel of the median scale; unbiased, so that it
/// can fall below 0 where they are alike.
///
/// `a` and `b` are (m, n) and (m′, n), bytes or numbers, at least 2 examples each, not all of them equal. The scale is that of
/// at most 500 random examples of each. See [`losses::mmd`].
///
/// ```
/// use core_tensors::candle_core::{Device, Tensor};
/// use core_tensors::Rng;
/// # fn main() -> losses::Result<()> {
/// let x: Vec<f32> = (0..100).map(|i| i as f32 / 100.0).collect();
/// let a = Tensor::from_slice(&x, (100, 1), &Device::Cpu)?;
/// let same = domain_adapt::unbiased_mmd(&a, &a, &mut Rng::new(0))?;
/// let far = domain_adapt::unbiased_mmd(&a, &(&a + 3.0)?, &mut Rng::new(0))?;
/// assert!(same < 0.0 && far > 0.3); // unbiased: of equal samples a little below 0
/// # Ok(())
/// # }
/// ```
pub fn unbiased_mmd(a: &Tensor, b: &Tensor, rng: &mut Rng) -> losses::Result<f64> {
    let (a, b) = (intensities(a)?.to_dtype(DType::F64)?, intensities(b)?.to_dtype(DType::F64)?);
    let mut part = |x: &Tensor| -> losses::Result<Tensor> {
        let mut chosen = rng.permutation(x.dim(0)?);
        chosen.truncate(MOST_FOR_SCALE);
        selected(x, &chosen)
    };
    let scale = median_scale(&part(&a)?, &part(&b)?)?;
    Ok(mmd(&a, &b, &[scale])?.to_scalar()?)
}

/// Mean over examples and features of (back − x)²: what a map and its way back lose of x; both (m, n), m ≥ 1.
pub fn round_trip_error(x: &Tensor, back: &Tensor) -> core_tensors::Result<f64> {
    let (x, back) = (intensities(x)?, intensities(back)?);
    if x.dims() != back.dims() {
        let (expected, found) = (x.dims().to_vec(), back.dims().to_vec());
        return Err(Error::Shape { what: "examples that came back", expected, found });
    }
    Expected::AtLeast(1).check("numbers that came back", x.elem_count())?;
    Ok((x - back)?.to_dtype(DType::F64)?.sqr()?.mean_all()?.to_scalar()?)
}

/// Rows of x.
fn selected(x: &Tensor, rows: &[usize]) -> losses::Result<Tensor> {
    let rows: Vec<u32> = rows.iter().map(|&i| i as u32).collect();
    Ok(x.contiguous()?.index_select(&Tensor::new(rows, x.device())?, 0)?)
}

fn intensities(x: &Tensor) -> core_tensors::Result<Tensor> {
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
        // 1000 examples judge, each right with probability ½: four standard deviations of 4 ε are 0.25.
        assert!(same.abs() < 0.25, "{same}");
        let far = proxy_distance(&normals(1000, 0.0, 1), &normals(1000, 3.0, 2), &mut rng).unwrap();
        assert!(far > 1.95, "{far}");
        let mut apart =
            |shift| unbiased_mmd(&normals(600, 0.0, 1), &normals(500, shift, 2), &mut rng).unwrap();
        assert!(apart(0.0) < 0.01 && apart(3.0) > 0.3);
    }

    /// 1000 examples of N(0, 1), and 8000 of N(3, 1) behind 1000 of N(0, 1).
    fn in_order() -> (Tensor, Tensor) {
        let b = Tensor::cat(&[normals(1000, 0.0, 6), normals(8000, 3.0, 7)], 0).unwrap();
        (normals(1000, 0.0, 5), b)
    }

    #[test]
    fn the_order_of_a_larger_sample_does_not_matter() {
        let (a, b) = in_order();
        let [front, back] = [b.narrow(0, 0, 1000).unwrap(), b.narrow(0, 1000, 8000).unwrap()];
        let turned = Tensor::cat(&[back, front], 0).unwrap();
        // One in nine of b is as a: the best classifier errs in 1/18 of the cases, 2 (1 − 1/9) = 1.78. A standard deviation of
        // 4 ε of 1000 judged examples is 0.03, and training may cost as much; with the first rows of b it is 0 or 2.
        let mut rng = Rng::new(2);
        let mut found = Vec::new();
        for _ in 0..3 {
            for (a, b) in [(&a, &b), (&a, &turned), (&b, &a)] {
                found.push(proxy_distance(a, b, &mut rng).unwrap());
            }
        }
        assert!(found.iter().all(|d| (d - 1.78).abs() < 0.15), "{found:?}");
        // Each call draws afresh, also of samples of one size; the same seed repeats.
        found.dedup();
        assert!(found.len() > 4, "{found:?}");
        let (a, b) = (normals(100, 0.0, 1), normals(100, 0.5, 2));
        let mut rng = Rng::new(3);
        let [first, second] = [(); 2].map(|()| proxy_distance(&a, &b, &mut rng).unwrap());
        assert_ne!(first, second);
        assert_eq!(first, proxy_distance(&a, &b, &mut Rng::new(3)).unwrap());
    }

    #[test]
    fn an_example_and_its_twin_are_seen_together() {
        // Were a twin seen under the other name, the classifier would err more often than by guessing.
        let a = normals(401, 0.0, 1);
        let wide = Tensor::cat(&[&a; 8], 1).unwrap();
        let far = (&wide * 5.0).unwrap();
        let found = proxy_distance(&far, &far, &mut Rng::new(4)).unwrap();
        // Every unseen example is once right and once wrong.
        assert_eq!(found, 0.0);
    }

    #[test]
    fn the_scale_is_that_of_random_examples() {
        // 700 equal examples in front: the first 500 of them set no scale.
        let front = |x: Tensor| {
            let equal = Tensor::zeros((700, 5), DType::F32, &Device::Cpu).unwrap();
            Tensor::cat(&[equal, x], 0).unwrap()
        };
        let (a, b) = (front(normals(300, 0.0, 1)), front(normals(300, 3.0, 2)));
        let mut rng = Rng::new(5);
        let [first, second] = [(); 2].map(|()| unbiased_mmd(&a, &b, &mut rng).unwrap());
        // The median lies between near and far pairs, and swings.
        assert!(first > 0.05 && second > 0.05 && first != second, "{first} {second}");
    }

    #[test]
    fn bytes_far_from_black_are_compared_as_numbers() {
        // {250, 251} against {250, 255} / 255: with u = 255⁻², r² of 1, 25, 0, 25, 1, 16 times u, the median 16 u.
        let column = |x: [u8; 2]| Tensor::new(&[[x[0]], [x[1]]], &Device::Cpu).unwrap();
        let found = unbiased_mmd(&column([250, 251]), &column([250, 255]), &mut Rng::new(0));
        let k = |square: f64| (-square / 8.0).exp();
        let wanted = k(1.0) + k(25.0) - 0.5 * (1.0 + k(25.0) + k(1.0) + k(16.0));
        assert!((found.unwrap() - wanted).abs() < 1e-5);
    }

    #[test]
    fn the_error_of_the_best_classifier_sets_the_distance() {
        // N(0, 1) and N(δ, 1) in each of 5 features: the best error is Φ(−δ√5 / 2), 0.2119 for δ = 0.7155.
        let (a, b) = (normals(6000, 0.0, 3), normals(6000, 0.7155, 4));
        let found = proxy_distance(&a, &b, &mut Rng::new(1)).unwrap();
        let wanted = 2.0 * (1.0 - 2.0 * 0.2119);
        // A standard deviation of 4 ε over 6000 examples is 0.021; a trained classifier is a little worse than the best.
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
        assert_eq!(message.to_string(), "features of the second sample: expected 5, found 4");
        let message = proxy_distance(&normals(9, 0.0, 0), &normals(3, 0.0, 0), &mut Rng::new(0));
        assert_eq!(
            message.unwrap_err().to_string(),
            "examples of each sample: expected at least 4, found 3"
        );
        assert!(proxy_distance(&normals(4, 0.0, 0), &normals(4, 0.0, 1), &mut Rng::new(0)).is_ok());
        let message = unbiased_mmd(&normals(9, 0.0, 0), &wide, &mut Rng::new(0)).unwrap_err();
        assert_eq!(message.to_string(), "features of the second sample: expected 5, found 4");
        let (one, nobody) = (normals(1, 0.0, 0), normals(0, 0.0, 0));
        let message = unbiased_mmd(&normals(9, 0.0, 0), &one, &mut Rng::new(0)).unwrap_err();
        assert_eq!(message.to_string(), "examples of each sample: expected at least 2, found 1");
        let message = round_trip_error(&nobody, &nobody).unwrap_err().to_string();
        assert_eq!(message, "numbers that came back: expected at least 1, found 0");
        let still = wide.narrow(0, 0, 5).unwrap();
        let message = unbiased_mmd(&still, &still, &mut Rng::new(0)).unwrap_err().to_string();
        assert_eq!(
            message,
            "scale of a kernel: wanted two examples that differ, found 10 equal ones"
        );
    }
}
