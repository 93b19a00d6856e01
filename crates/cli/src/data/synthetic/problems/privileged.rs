//! The four synthetic experiments on privileged information of Lopez-Paz et al. (2016).

use candle_core::{Device, Tensor};

use core_tensors::{Dataset, Privileged, Result, Rng};

/// Features of an example.
const N_FEATURES: usize = 50;
/// Features that matter in [`LopezPaz::RelevantFeatures`] and [`LopezPaz::SampleDependentFeatures`].
const N_RELEVANT: usize = 3;

/// What the teacher is told of an example x ~ N(0, I₅₀) that a hyperplane α ~ N(0, I₅₀) classifies.
///
/// Source: Lopez-Paz, Bottou, Schölkopf & Vapnik (2016), section 6.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LopezPaz {
    /// Experiment 1: x* = α·x, the clean score; y = \[α·x + ε > 0\], ε ~ N(0, 1).
    CleanLabels,
    /// Experiment 2: x* is what the student sees with noise, x = x* + N(0, I); y = \[α·x* > 0\].
    CleanFeatures,
    /// Experiment 3: x* = the 3 features that matter, the same of every example; y = \[α_J·x_J > 0\].
    RelevantFeatures,
    /// Experiment 4: x* = the 3 features that matter, others of every example.
    SampleDependentFeatures,
}

impl LopezPaz {
    /// All four, in the paper's order.
    pub const ALL: [Self; 4] = [
        Self::CleanLabels,
        Self::CleanFeatures,
        Self::RelevantFeatures,
        Self::SampleDependentFeatures,
    ];

    /// One problem: so many examples to train on and to test on, from one hyperplane; x is (m, 50).
    pub fn sample(
        self,
        n_train: usize,
        n_test: usize,
        rng: &Rng,
        device: &Device,
    ) -> Result<(Privileged, Privileged)> {
        let alpha = normals(N_FEATURES, &mut rng.split("hyperplane"));
        let mut order = rng.split("relevant features").permutation(N_FEATURES);
        order.truncate(N_RELEVANT);
        let problem = Problem { kind: self, alpha, relevant: order };
        let train = problem.examples(n_train, &mut rng.split("train"), device)?;
        Ok((train, problem.examples(n_test, &mut rng.split("test"), device)?))
    }
}

struct Problem {
    kind: LopezPaz,
    alpha: Vec<f64>,
    /// J, where it is the same for every example.
    relevant: Vec<usize>,
}

impl Problem {
    fn examples(&self, n: usize, rng: &mut Rng, device: &Device) -> Result<Privileged> {
        let (mut x, mut x_star, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..n {
            let (own, privileged, is_positive) = self.example(rng);
            x.extend(own.into_iter().map(|v| v as f32));
            x_star.extend(privileged.into_iter().map(|v| v as f32));
            labels.push(u32::from(is_positive));
        }
        let width = x_star.len().checked_div(n).unwrap_or(1);
        let x_star = Tensor::from_vec(x_star, (n, width), device)?;
        Privileged::everywhere(Dataset::classification(x, labels, 2, device)?, x_star)
    }

    /// x, x* and whether y = 1.
    fn example(&self, rng: &mut Rng) -> (Vec<f64>, Vec<f64>, bool) {
        let clean = normals(N_FEATURES, rng);
        let score = |features: &[usize]| features.iter().map(|&j| self.alpha[j] * clean[j]).sum();
        let all: Vec<usize> = (0..N_FEATURES).collect();
        match self.kind {
            LopezPaz::CleanLabels => {
                let score: f64 = score(&all);
                let is_positive = score + rng.normal() > 0.0;
                (clean, vec![score], is_positive)
            }
            LopezPaz::CleanFeatures => {
                let score: f64 = score(&all);
                let noisy = clean.iter().map(|v| v + rng.normal()).collect();
                (noisy, clean, score > 0.0)
            }
            LopezPaz::RelevantFeatures => {
                let score: f64 = score(&self.relevant);
                let told = self.relevant.iter().map(|&j| clean[j]).collect();
                (clean, told, score > 0.0)
            }
            LopezPaz::SampleDependentFeatures => {
                let mut own = rng.permutation(N_FEATURES);
                own.truncate(N_RELEVANT);
                let score: f64 = score(&own);
                let told = own.iter().map(|&j| clean[j]).collect();
                (clean, told, score > 0.0)
            }
        }
    }
}

fn normals(n: usize, rng: &mut Rng) -> Vec<f64> {
    (0..n).map(|_| rng.normal()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_tensors::Targets;

    fn labels(data: &Dataset) -> Vec<u32> {
        match data.y() {
            Targets::Classes { labels, .. } => labels.to_vec1().unwrap(),
            Targets::Values(_) => Vec::new(),
        }
    }

    #[test]
    fn the_teachers_features_say_what_the_papers_says_they_do() {
        for seed in 0..3 {
            let rng = Rng::new(seed);
            let sample = |kind: LopezPaz| kind.sample(200, 10_000, &rng, &Device::Cpu).unwrap().1;
            // 1: the sign of x* is the label but for the noise: P = 1 − arctan(1 / |α|) / π, |α| near 7.
            let clean = sample(LopezPaz::CleanLabels);
            let x_star = clean.x_star().flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let equal = |(s, y): (&f32, u32)| u32::from(*s > 0.0) == y;
            let n = x_star.iter().zip(labels(clean.data())).filter(|&(s, y)| equal((s, y))).count();
            assert!((9300..9700).contains(&n), "{n}");
            // 2: the student's features are the teacher's with noise of variance 1.
            let noisy = sample(LopezPaz::CleanFeatures);
            let gap =
                (noisy.data().x() - noisy.x_star()).unwrap().sqr().unwrap().mean_all().unwrap();
            assert!((gap.to_scalar::<f32>().unwrap() - 1.0).abs() < 0.01);
            // 3: the teacher's features are three columns of the student's.
            let relevant = sample(LopezPaz::RelevantFeatures);
            let (x, told) = (relevant.data().x().t().unwrap(), relevant.x_star().t().unwrap());
            let columns = x.to_vec2::<f32>().unwrap();
            for column in told.to_vec2::<f32>().unwrap() {
                assert_eq!(columns.iter().filter(|c| **c == column).count(), 1);
            }
            // 4: of every example three features, and not always the same.
            let own = sample(LopezPaz::SampleDependentFeatures);
            let (x, told) = (own.data().x().to_vec2::<f32>(), own.x_star().to_vec2::<f32>());
            let places: Vec<Vec<Option<usize>>> = x
                .unwrap()
                .iter()
                .zip(&told.unwrap())
                .take(50)
                .map(|(x, told)| told.iter().map(|v| x.iter().position(|u| u == v)).collect())
                .collect();
            assert!(places.iter().flatten().all(Option::is_some));
            assert!(places.iter().any(|place| *place != places[0]));
        }
    }

    #[test]
    fn train_and_test_share_the_hyperplane_and_nothing_else() {
        let (train, test) =
            LopezPaz::RelevantFeatures.sample(2000, 2000, &Rng::new(1), &Device::Cpu).unwrap();
        assert_ne!(
            train.data().x().to_vec2::<f32>().unwrap()[0],
            test.data().x().to_vec2::<f32>().unwrap()[0]
        );
        // The mean of x* given y points along α_J: its direction agrees between the two parts.
        let direction = |part: &Privileged| -> Vec<f64> {
            let rows = part.x_star().to_vec2::<f32>().unwrap();
            let mut sum = vec![0.0; N_RELEVANT];
            for (row, y) in rows.iter().zip(labels(part.data())) {
                let sign = if y == 1 { 1.0 } else { -1.0 };
                sum.iter_mut().zip(row).for_each(|(s, v)| *s += sign * f64::from(*v));
            }
            let norm = sum.iter().map(|s| s * s).sum::<f64>().sqrt();
            sum.into_iter().map(|s| s / norm).collect()
        };
        let cosine: f64 = direction(&train).iter().zip(direction(&test)).map(|(a, b)| a * b).sum();
        assert!(cosine > 0.99, "{cosine}");
    }
}
