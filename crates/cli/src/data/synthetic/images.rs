//! Stand-ins for FashionMNIST, MNIST and Imagenette, drawn, and for tweets, for when they cannot be had.

mod digits;
mod garments;
mod raster;
pub(in crate::data) mod scenes;
mod shoes;

use candle_core::{Device, Tensor};
use core_tensors::{Dataset, Rng, Targets};

use raster::PIXELS;

/// Classes of either kind, as in the sets they stand for.
const CLASSES: u8 = 10;

/// Which set the images stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Garments in the order of FashionMNIST, from T-shirt to ankle boot.
    Garments,
    /// Handwritten digits 0, …, 9.
    Digits,
}

/// One image of a class: 784 grayscale intensities, row by row.
///
/// Classes count modulo ten. Geometry uses the four operations and square roots alone, so that
/// the same seed gives the same bytes on every platform.
pub(crate) fn draw(kind: Kind, class: u8, rng: &mut Rng) -> [u8; PIXELS] {
    match kind {
        Kind::Garments => garments::draw(class % CLASSES, rng),
        Kind::Digits => digits::draw(class % CLASSES, rng),
    }
}

/// `n` images in random order of classes: n·784 grayscale intensities and n labels.
///
/// Counts of two classes differ by at most one.
pub(crate) fn images(kind: Kind, n: usize, rng: &mut Rng) -> (Vec<u8>, Vec<u8>) {
    let labels = balanced(n, rng);
    let mut intensities = Vec::with_capacity(n * PIXELS);
    for &class in &labels {
        intensities.extend_from_slice(&draw(kind, class, rng));
    }
    (intensities, labels)
}

/// `n` drawn digits for examples and tests: intensities (n, 784) as bytes, and the classes 0 to 9.
///
/// # Errors
/// None for n ≥ 1; of tensors otherwise.
pub fn synthetic_digits(n: usize, rng: &mut Rng) -> candle_core::Result<Dataset> {
    let (intensities, labels) = images(Kind::Digits, n, rng);
    let x = Tensor::from_vec(intensities, (n, PIXELS), &Device::Cpu)?;
    let labels: Vec<u32> = labels.into_iter().map(u32::from).collect();
    let labels = Tensor::from_vec(labels, n, &Device::Cpu)?;
    let y = Targets::Classes { labels, n_classes: usize::from(CLASSES) };
    Dataset::new(x, y).map_err(candle_core::Error::wrap)
}

/// `n` labels in random order; counts of two classes differ by at most one.
fn balanced(n: usize, rng: &mut Rng) -> Vec<u8> {
    rng.permutation(n).into_iter().map(|i| (i % usize::from(CLASSES)) as u8).collect()
}

/// One draw from U[low, high).
fn between(rng: &mut Rng, low: f32, high: f32) -> f32 {
    low + (high - low) * rng.uniform() as f32
}

/// A bell-shaped draw with the given mean and standard deviation, bounded by 2.4 standard deviations.
fn bell(rng: &mut Rng, mean: f32, std: f32) -> f32 {
    // The sum of two uniform draws has variance 1/6, hence the root of six.
    mean + std * 2.449_489_7 * (rng.uniform() + rng.uniform() - 1.0) as f32
}

/// True with the given probability.
pub(super) fn chance(rng: &mut Rng, probability: f64) -> bool {
    rng.uniform() < probability
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 2] = [Kind::Garments, Kind::Digits];

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        for kind in KINDS {
            let first = images(kind, 30, &mut Rng::new(5));
            assert_eq!(first, images(kind, 30, &mut Rng::new(5)));
            assert_ne!(first, images(kind, 30, &mut Rng::new(6)));
        }
    }

    #[test]
    fn labels_are_balanced_up_to_one_and_shuffled() {
        let (intensities, labels) = images(Kind::Digits, 137, &mut Rng::new(0));
        assert_eq!(intensities.len(), 137 * PIXELS);
        for class in 0..CLASSES {
            let count = labels.iter().filter(|&&label| label == class).count();
            assert!(count == 13 || count == 14, "class {class}: {count}");
        }
        assert!(labels.windows(2).any(|pair| pair[0] > pair[1] + 1));
        assert_eq!(images(Kind::Garments, 0, &mut Rng::new(0)), (vec![], vec![]));
    }

    #[test]
    fn an_example_is_lit_and_its_border_is_mostly_dark() {
        for kind in KINDS {
            for seed in 0..400 {
                let image = draw(kind, (seed % 10) as u8, &mut Rng::new(seed));
                let is_edge = |z: usize| z == 0 || z == 27;
                let is_border = |k: usize| is_edge(k % 28) || is_edge(k / 28);
                let lit: Vec<usize> = (0..PIXELS).filter(|&k| image[k] > 40).collect();
                let n_border = lit.iter().filter(|&&k| is_border(k)).count();
                assert!((20..660).contains(&lit.len()), "{kind:?}, seed {seed}: {} lit", lit.len());
                assert!(n_border < 54, "{kind:?}, seed {seed}: {n_border} of 108 lit");
            }
        }
    }

    #[test]
    fn classes_are_neither_trivial_nor_impossible() {
        // The real sets give 0.68 and 0.75 on their first 2000 and 500 images; the standard deviation of
        // an accuracy on 500 is 0.02, so that the margins are four of them.
        for (kind, wanted) in [(Kind::Garments, 0.59..0.76), (Kind::Digits, 0.66..0.83)] {
            for seed in 0..2 {
                let accuracy = nearest_mean_accuracy(kind, seed);
                assert!(wanted.contains(&accuracy), "{kind:?}, seed {seed}: {accuracy}");
            }
        }
    }

    /// Accuracy on 500 images of the rule that takes the nearest of the classes' means over 2000.
    fn nearest_mean_accuracy(kind: Kind, seed: u64) -> f64 {
        let rng = Rng::new(seed);
        let (train, labels) = images(kind, 2000, &mut rng.split("train"));
        let mut means = vec![[0.0; PIXELS]; usize::from(CLASSES)];
        for (image, &label) in train.chunks_exact(PIXELS).zip(&labels) {
            for (mean, &intensity) in means[usize::from(label)].iter_mut().zip(image) {
                *mean += f64::from(intensity) / 200.0;
            }
        }
        let (test, labels) = images(kind, 500, &mut rng.split("test"));
        let is_right = |(image, &label): (&[u8], &u8)| {
            let distance = |class: &usize| -> f64 {
                means[*class].iter().zip(image).map(|(m, &x)| (m - f64::from(x)).powi(2)).sum()
            };
            let nearest = (0..10).min_by(|a, b| distance(a).total_cmp(&distance(b)));
            nearest == Some(usize::from(label))
        };
        test.chunks_exact(PIXELS).zip(&labels).filter(|&pair| is_right(pair)).count() as f64 / 500.0
    }
}
