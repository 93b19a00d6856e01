//! Synthetic data of the papers: those of the authors rebuilt bit for bit, those of Lopez-Paz et al. drawn anew.

mod privileged;

use candle_core::{Device, Tensor};

use core_tensors::{Dataset, Result, Targets};

use super::legacy::{NumpyRandom, TorchRandom};

pub use privileged::LopezPaz;

/// Features of an example.
pub const N_FEATURES: usize = 10;
/// Classes.
pub const N_CLASSES: usize = 3;
/// Examples to train on.
pub const N_TRAIN: usize = 1000;
/// Examples to test on; the documents print 100, the published accuracies are possible only with 1000.
pub const N_TEST: usize = 1000;

/// Synthetic classification of papers 000 and 004: x ~ N(0, I₁₀), y ~ Cat(softmax(x W)), W ~ N(0, I).
#[derive(Clone, Debug)]
pub struct SyntheticClasses {
    /// x and y of [`N_TRAIN`] examples.
    pub train: Dataset,
    /// x and y of [`N_TEST`] examples.
    pub test: Dataset,
    /// W: the generating logits are x W; shape (10, 3), f32.
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

/// Features of an example of [`SyntheticLinear`].
const N_LINEAR_FEATURES: usize = 10;
/// Its examples, the first [`N_LINEAR_TRAIN`] of them to train on.
const N_LINEAR: usize = 1024;
/// Its examples to train on.
const N_LINEAR_TRAIN: usize = 900;
/// β: the documents' "variance" is a standard deviation in the code.
const NOISE_STD: f64 = 0.1;

/// Synthetic regression of papers 000 and 001: x ~ N(0, I₁₀), y = x·w + 0.1 ε, w ~ N(0, I), ε ~ N(0, 1).
#[derive(Clone, Debug)]
pub struct SyntheticLinear {
    /// x, (900, 10), and y, (900, 1).
    pub train: Dataset,
    /// x, (124, 10), and y, (124, 1).
    pub test: Dataset,
    /// w, (10, 1), f32.
    pub weights: Tensor,
}

impl SyntheticLinear {
    /// The data of the papers' code, `numpy.random.seed(0)`.
    ///
    /// Source: Grabovoy & Strijov (2021), synthetic experiment; order of the draws from the authors' code.
    pub fn new(device: &Device) -> Result<Self> {
        let mut numpy = NumpyRandom::new(0);
        let x = numpy.normals(N_LINEAR * N_LINEAR_FEATURES);
        let w = numpy.normals(N_LINEAR_FEATURES);
        let y: Vec<f64> = x
            .chunks_exact(N_LINEAR_FEATURES)
            .map(|x| x.iter().zip(&w).map(|(x, w)| x * w).sum::<f64>())
            .zip(numpy.normals(N_LINEAR))
            .map(|(y, noise)| y + NOISE_STD * noise)
            .collect();
        let tensor = |values: &[f64], columns: usize| {
            let values: Vec<f32> = values.iter().map(|&v| v as f32).collect();
            let n = values.len() / columns;
            Tensor::from_vec(values, (n, columns), device)
        };
        let part = |range: std::ops::Range<usize>| {
            let (first, last) = (range.start * N_LINEAR_FEATURES, range.end * N_LINEAR_FEATURES);
            let x = tensor(&x[first..last], N_LINEAR_FEATURES)?;
            Dataset::new(x, Targets::Values(tensor(&y[range], 1)?))
        };
        Ok(Self {
            train: part(0..N_LINEAR_TRAIN)?,
            test: part(N_LINEAR_TRAIN..N_LINEAR)?,
            weights: tensor(&w, 1)?,
        })
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

/// softmax(x W) of one example.
fn class_probabilities(x: &[f64], w: &[f64]) -> Vec<f64> {
    let score = |k| x.iter().zip(w[k..].iter().step_by(N_CLASSES)).map(|(x, w)| x * w).sum::<f64>();
    let logits: Vec<f64> = (0..N_CLASSES).map(score).collect();
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.iter().map(|s| (s - largest).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.iter().map(|p| p / total).collect()
}

/// Examples and features of [`DomainRegression`], and the sizes of its splits.
const N_DOMAIN: usize = 10_000;
const N_DOMAIN_FEATURES: usize = 100;
const N_DOMAIN_TRAIN: usize = 9000;
const N_DOMAIN_BIG: usize = 8700;
/// Seeds of its numbers and of its splits.
const DOMAIN_SEED: u32 = 42;
const DOMAIN_SPLIT_SEED: u32 = 1234;

/// Regression data of paper 003: x = (1, 99 draws of N(0, 1)), and a target that is one more such draw.
///
/// The target is independent of the features: no function is there to be learned.
#[derive(Clone, Debug)]
pub struct DomainRegression {
    /// x of all examples, (10 000, 100), f32.
    pub x: Tensor,
    /// y of all examples.
    pub targets: Vec<f64>,
    /// Indices of Big, 8700 of the 9000 training examples.
    pub big: Vec<usize>,
    /// Indices of Small, the other 300.
    pub small: Vec<usize>,
    /// Indices of the 1000 test examples.
    pub test: Vec<usize>,
}

impl DomainRegression {
    /// The data of the paper's code: numpy's `RandomState(42)`, and torch's random splits with seed 1234.
    ///
    /// Source: paper 003, regression; order of the draws from the authors' code.
    pub fn new(device: &Device) -> Result<Self> {
        let draws = NumpyRandom::new(DOMAIN_SEED).normals(N_DOMAIN * N_DOMAIN_FEATURES);
        let rows = draws.chunks_exact(N_DOMAIN_FEATURES);
        let targets = rows.clone().map(|row| row[0]).collect();
        let x: Vec<f32> = rows
            .flat_map(|row| std::iter::once(1.0).chain(row[1..].iter().map(|&v| v as f32)))
            .collect();
        let permutation = |n: usize| -> Vec<usize> {
            let order = TorchRandom::new(DOMAIN_SPLIT_SEED).permutation(n as u32);
            order.into_iter().map(|i| i as usize).collect()
        };
        let order = permutation(N_DOMAIN);
        let (train, test) = order.split_at(N_DOMAIN_TRAIN);
        let inner: Vec<usize> = permutation(N_DOMAIN_TRAIN).into_iter().map(|i| train[i]).collect();
        let (big, small) = inner.split_at(N_DOMAIN_BIG);
        Ok(Self {
            x: Tensor::from_vec(x, (N_DOMAIN, N_DOMAIN_FEATURES), device)?,
            targets,
            big: big.to_vec(),
            small: small.to_vec(),
            test: test.to_vec(),
        })
    }

    /// x with these values of the target, (m, 1): the examples of `indices`, in this order.
    pub fn part(&self, values: &[f64], indices: &[usize]) -> Result<Dataset> {
        let y: Vec<f32> = values.iter().map(|&v| v as f32).collect();
        let y = Tensor::from_vec(y, (values.len(), 1), self.x.device())?;
        Dataset::new(self.x.clone(), Targets::Values(y))?.rows(indices)
    }
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

    fn values(data: &Dataset) -> Vec<f32> {
        match data.y() {
            Targets::Values(y) => y.flatten_all().unwrap().to_vec1().unwrap(),
            Targets::Classes { .. } => Vec::new(),
        }
    }

    #[test]
    fn the_regression_has_the_printed_examples_and_variances() {
        let data = SyntheticLinear::new(&Device::Cpu).unwrap();
        let (y, y_test) = (values(&data.train), values(&data.test));
        assert_eq!((y.len(), y_test.len()), (900, 124));
        let near = |found: &[f32], wanted: &[f64], tolerance: f64| {
            let gap = found.iter().zip(wanted).map(|(a, b)| (f64::from(*a) - b).abs());
            assert!(gap.fold(0.0, f64::max) < tolerance, "{found:?} against {wanted:?}");
        };
        let x = data.train.x().to_vec2::<f32>().unwrap();
        near(&x[0][..3], &[1.764_052_35, 0.400_157_21, 0.978_737_98], 2e-7);
        let w = data.weights.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let printed = [
            -0.760_677, 3.220_502, 0.220_943, -0.062_912, -0.629_887, -1.073_209, 0.001_056,
            -1.017_721, -1.574_328, -1.635_432,
        ];
        near(&w, &printed, 1e-6);
        near(&y[..3], &[-0.288_959_84, 5.144_863_53, -0.375_762_89], 1e-6);
        let variance = |y: &[f32]| {
            let y: Vec<f64> = y.iter().map(|&y| f64::from(y)).collect();
            crate::ledger::stats::population_std(&y).powi(2)
        };
        assert!((variance(&y) - 18.476).abs() < 5e-4, "{}", variance(&y));
        assert!((variance(&y_test) - 18.001).abs() < 5e-4, "{}", variance(&y_test));
        let exact = data.test.x().matmul(&data.weights).unwrap().flatten_all().unwrap();
        let exact = exact.to_vec1::<f32>().unwrap();
        let squares: Vec<f64> =
            exact.iter().zip(&y_test).map(|(a, b)| f64::from(b - a).powi(2)).collect();
        let noise = crate::ledger::stats::mean(&squares);
        assert!((noise - 0.009_376).abs() < 5e-7, "{noise}");
    }

    #[test]
    fn has_the_published_examples_and_class_counts() {
        let data = SyntheticClasses::new(&Device::Cpu).unwrap();
        let first = data.train.x().to_vec2::<f32>().unwrap()[0][..3].to_vec();
        let published = [0.154_947_43, 0.378_162_52, -0.887_785_75];
        assert!(first.iter().zip(published).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-7));
        assert_eq!(counts(&data.train), [337, 342, 321]);
        assert_eq!(counts(&data.test), [339, 315, 346]);
    }

    #[test]
    fn the_regression_of_paper_003_is_rebuilt() {
        let data = DomainRegression::new(&Device::Cpu).unwrap();
        // Values printed by numpy and torch.
        for (y, wanted) in data.targets.iter().zip([0.49671415, -1.41537074, 0.35778736]) {
            assert!((y - wanted).abs() < 5e-9);
        }
        let row = data.x.get(0).unwrap().to_vec1::<f32>().unwrap();
        // Rounded to single precision.
        let printed = [1.0, -0.138_264_3, 0.647_688_54, 1.523_029_9];
        assert!(row.iter().zip(printed).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-6));
        assert_eq!(data.test[..5], [4169, 8351, 6346, 8600, 6266]);
        assert_eq!(data.small[..5], [7935, 7134, 147, 6095, 5634]);
        assert_eq!((data.big.len(), data.small.len(), data.test.len()), (8700, 300, 1000));
        // A constant at the training mean has the variance of the test targets as its risk.
        let mean_of =
            |part: &[usize]| part.iter().map(|&i| data.targets[i]).sum::<f64>() / part.len() as f64;
        let train: Vec<usize> = data.big.iter().chain(&data.small).copied().collect();
        let constant = mean_of(&train);
        let risk = data.test.iter().map(|&i| (data.targets[i] - constant).powi(2)).sum::<f64>();
        assert!((risk / 1000.0 - 1.064_361).abs() < 1e-6, "{risk}");
    }
}
