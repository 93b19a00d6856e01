//! Synthetic data of the papers, rebuilt bit for bit.

use candle_core::{Device, Tensor};

use crate::data::{Dataset, Targets};
use crate::error::Result;
use crate::legacy::NumpyRandom;

/// Features of an object.
pub const N_FEATURES: usize = 10;
/// Classes.
pub const N_CLASSES: usize = 3;
/// Objects to train on.
pub const N_TRAIN: usize = 1000;
/// Objects to test on; the documents print 100, the published accuracies are possible only with 1000.
pub const N_TEST: usize = 1000;

/// Synthetic classification of papers 000 and 004: x ~ N(0, I₁₀), y ~ Cat(softmax(x W)), W ~ N(0, I).
#[derive(Clone, Debug)]
pub struct SyntheticClasses {
    /// x and y of [`N_TRAIN`] objects.
    pub train: Dataset,
    /// x and y of [`N_TEST`] objects.
    pub test: Dataset,
    /// W: the generating scores are x W; shape (10, 3), f32.
    pub weights: Tensor,
}

impl SyntheticClasses {
    /// The data of the papers' code, `numpy.random.seed(0)`.
    ///
    /// Source: Grabovoy & Strijov (2022), synthetic experiment; order of the draws from the authors' code.
    pub fn new(device: &Device) -> Result<Self> {
        let mut numpy = NumpyRandom::new(0);
        let w = numpy.normals(N_FEATURES * N_CLASSES);
        let train = sample(&mut numpy, &w, N_TRAIN, device)?;
        let test = sample(&mut numpy, &w, N_TEST, device)?;
        let weights: Vec<f32> = w.iter().map(|&v| v as f32).collect();
        let weights = Tensor::from_vec(weights, (N_FEATURES, N_CLASSES), device)?;
        Ok(Self { train, test, weights })
    }
}

fn sample(numpy: &mut NumpyRandom, w: &[f64], n: usize, device: &Device) -> Result<Dataset> {
    let x = numpy.normals(n * N_FEATURES);
    let labels = x
        .chunks_exact(N_FEATURES)
        .map(|row| numpy.categorical(&class_probabilities(row, w)) as u32)
        .collect();
    let labels = Tensor::from_vec(labels, n, device)?;
    let x: Vec<f32> = x.iter().map(|&v| v as f32).collect();
    let x = Tensor::from_vec(x, (n, N_FEATURES), device)?;
    Dataset::new(x, Targets::Classes { labels, n_classes: N_CLASSES })
}

/// softmax(x W) of one object.
fn class_probabilities(x: &[f64], w: &[f64]) -> Vec<f64> {
    let score = |k| x.iter().zip(w[k..].iter().step_by(N_CLASSES)).map(|(x, w)| x * w).sum::<f64>();
    let scores: Vec<f64> = (0..N_CLASSES).map(score).collect();
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = scores.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.iter().map(|p| p / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(data: &Dataset) -> [usize; N_CLASSES] {
        let mut counts = [0; N_CLASSES];
        if let Targets::Classes { labels, .. } = data.y() {
            labels.to_vec1::<u32>().unwrap().iter().for_each(|&y| counts[y as usize] += 1);
        }
        counts
    }

    #[test]
    fn has_the_published_objects_and_class_counts() {
        let data = SyntheticClasses::new(&Device::Cpu).unwrap();
        let first = data.train.x().to_vec2::<f32>().unwrap()[0][..3].to_vec();
        let published = [0.154_947_43, 0.378_162_52, -0.887_785_75];
        assert!(first.iter().zip(published).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-7));
        assert_eq!(counts(&data.train), [337, 342, 321]);
        assert_eq!(counts(&data.test), [339, 315, 346]);
    }
}
