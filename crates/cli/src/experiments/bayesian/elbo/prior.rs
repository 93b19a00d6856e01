//! When the prior itself helps: a student with few examples under a teacher's posterior, or without it.

/// Rows of one arm by number of examples.
macro_rules! by_examples {
    ($sd:literal, $arm:literal) => {
        &[
            concat!("prior/sd-", $sd, "/n-20/", $arm),
            concat!("prior/sd-", $sd, "/n-100/", $arm),
            concat!("prior/sd-", $sd, "/n-300/", $arm),
            concat!("prior/sd-", $sd, "/n-1000/", $arm),
        ]
    };
}

/// Tables of one noise each: lines are arms, columns numbers of examples.
macro_rules! tables {
    ($($title:literal $metric:ident $sd:literal;)*) => {
        &[$(Figure::cross(
            concat!($title, $sd),
            metric::$metric,
            &["20 objects", "100", "300", "1000"],
            &[
                ("N(0, I)", by_examples!($sd, "standard")),
                ("N(0, I), start at the teacher", by_examples!($sd, "start")),
                ("around the teacher, variance 1", by_examples!($sd, "center")),
                ("variational posterior", by_examples!($sd, "diagonal")),
                ("variational posterior, tempered", by_examples!($sd, "tempered")),
                ("Kronecker posterior", by_examples!($sd, "kronecker")),
                ("full posterior", by_examples!($sd, "full")),
                ("teacher of the same objects", by_examples!($sd, "same-data")),
            ],
        ),)*]
    };
}

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use bayes_posterior::{
    Curvature, Damping, Diagonal, EditOptions, Estimator, Gaussian, Inference, Laplace, MeanField,
    Posterior, Prior, VariationalPrior, align, monte_carlo, with_posterior,
};
use candle_core::{Device, Tensor};
use core_tensors::{AdamConfig, Dataset, Fit, Params, Rng, Targets};
use losses::Likelihood;
use models::{Architecture, Mlp};

use super::{PRIOR_PRECISION, carry};
use crate::experiments::base::perceptron;
use crate::experiments::{Experiment, Outcome, Parts, Task};
use crate::ledger::{Figure, Point, metric};
use crate::training::Monitor;

const TEACHER: [usize; 4] = [10, 30, 10, 1];
const STUDENT: [usize; 4] = [10, 10, 10, 1];
const N_FEATURES: usize = 10;
/// Examples of the teacher, none of which the student sees.
const N_TEACHER: usize = 1000;
const N_TEST: usize = 1000;
/// Deviations of the noise, and their names in the rows.
const NOISES: [(f64, &str); 2] = [(0.1, "0.1"), (1.0, "1")];
/// Numbers of examples of the student.
const SIZES: [usize; 4] = [20, 100, 300, 1000];
const BATCH: usize = 100;
/// Step size of Adam: runs are short, and each ends at a bound that no longer rises.
const LEARNING_RATE: f64 = 3e-3;
/// ρ at every start: the way to a prior of variance 1 is not far.
const LOG_STD: f64 = -3.0;
/// Draws of a predictive distribution.
const N_SAMPLES: usize = 100;
/// β of the tempered prior.
const TEMPERED: f64 = 0.1;

settings! {
    /// Steps of an inference.
    n_steps: usize = 60, 2000, 6000;
    /// Sizes that are run.
    n_sizes: usize = 1, SIZES.len();
}

/// The study.
pub(in crate::experiments) static PRIOR: Experiment = Experiment {
    id: "bayes-prior",
    title: "When a teacher's posterior helps as a prior",
    source: "",
    summary: "Not in the papers. y = x·w + noise with ten features; w, objects and noise are drawn anew for every seed. The \
        teacher [10, 30, 10, 1] sees 1000 objects, the student [10, 10, 10, 1] another 20 to 1000 (in the rows \"same \
        objects\" a teacher sees those of the student alone, and its posterior as the prior counts them twice). Every arm \
        starts at the same random weights but the one named so, sees the same batches in the same order and differs by its \
        prior alone. Risk is the mean squared distance of the predictive mean (100 draws) from the noise-free function on \
        1000 test objects; log density is that of noisy test targets under a normal distribution of the predictive mean \
        and variance. Gains are over N(0, I), seed by seed: the prior helps where the interval in brackets lies above 0.",
    data: &[],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(20, 50),
    run,
    rows: rows!(
        [
            ("prior/sd-0.1/n-20", "noise 0.1, 20 objects: ")
            ("prior/sd-0.1/n-100", "noise 0.1, 100 objects: ")
            ("prior/sd-0.1/n-300", "noise 0.1, 300 objects: ")
            ("prior/sd-0.1/n-1000", "noise 0.1, 1000 objects: ")
            ("prior/sd-1/n-20", "noise 1, 20 objects: ")
            ("prior/sd-1/n-100", "noise 1, 100 objects: ")
            ("prior/sd-1/n-300", "noise 1, 300 objects: ")
            ("prior/sd-1/n-1000", "noise 1, 1000 objects: ")
        ] {
            { "standard" => "N(0, I)"; }
            against "standard" {
                "start" => "N(0, I), start at the teacher";
                "center" => "around the teacher, variance 1";
                "diagonal" => "the teacher's variational posterior";
                "tempered" => "the same, tempered by 0.1";
                "kronecker" => "its Kronecker posterior";
                "full" => "its full posterior";
                "same-data" => "the posterior of a teacher of the same objects";
            }
        }
    ),
    point: Point::Epoch,
    claims: &[],
    figures: tables!(
        "Risk, noise of deviation " RISK "0.1";
        "Risk below that under N(0, I), noise of deviation " RISK_GAIN "0.1";
        "Log density above that under N(0, I), noise of deviation " DENSITY_GAIN "0.1";
        "Risk, noise of deviation " RISK "1";
        "Risk below that under N(0, I), noise of deviation " RISK_GAIN "1";
        "Log density above that under N(0, I), noise of deviation " DENSITY_GAIN "1";
    ),
};

/// Examples with noisy targets, and the function behind them.
struct Objects {
    data: Dataset,
    truth: Vec<f64>,
}

fn examples(n: usize, w: &[f64], std: f64, rng: &mut Rng) -> Result<Objects> {
    let x: Vec<f64> = (0..n * N_FEATURES).map(|_| rng.normal()).collect();
    let truth: Vec<f64> =
        x.chunks_exact(N_FEATURES).map(|x| x.iter().zip(w).map(|(x, w)| x * w).sum()).collect();
    let y: Vec<f32> = truth.iter().map(|f| (f + std * rng.normal()) as f32).collect();
    let x: Vec<f32> = x.into_iter().map(|x| x as f32).collect();
    let x = Tensor::from_vec(x, (n, N_FEATURES), &Device::Cpu)?;
    let data = Dataset::new(x, Targets::Values(Tensor::from_vec(y, (n, 1), &Device::Cpu)?))?;
    Ok(Objects { data, truth })
}

/// One inference: everything but the prior and the start is shared by the arms of a cell.
struct Cell<'a> {
    network: &'a Mlp,
    data: &'a Dataset,
    likelihood: Likelihood,
    n_steps: usize,
    rng: Rng,
}

impl Cell<'_> {
    fn infer(
        &self,
        start: &[f64],
        prior: VariationalPrior,
        weight: f64,
    ) -> Result<Gaussian<Diagonal>> {
        let inference = Inference {
            network: self.network,
            likelihood: self.likelihood,
            prior,
            n_examples: self.data.n_examples(),
            kl_weight: weight,
            estimator: Estimator::Reparametrization,
        };
        let layout = self.network.layout();
        let variance = vec![(2.0 * LOG_STD).exp(); layout.n_parameters()];
        let config = AdamConfig::pytorch(LEARNING_RATE);
        let mut q = MeanField::from_vectors(config, &layout, start, &variance, &Device::Cpu)?;
        let mut noise = self.rng.split("noise");
        let n_batches = self.data.n_examples().div_ceil(BATCH);
        let fit = Fit { epochs: self.n_steps.div_ceil(n_batches), batch_size: BATCH };
        let step =
            |batch: &Dataset| Ok::<_, anyhow::Error>(inference.step(&mut q, batch, &mut noise)?);
        let on_epoch = |_| Ok(std::ops::ControlFlow::Continue(()));
        fit.run(self.data, &mut self.rng.split("batches"), step, on_epoch)?;
        Ok(q.to_gaussian()?)
    }
}

fn run(task: &Task) -> Result<Outcome> {
    let Settings { n_steps, n_sizes } = settings(task.session.scale);
    let rng = Rng::new(task.part.seed()).split("bayes-prior");
    task.expect_epochs(NOISES.len() * n_sizes);
    let mut outcome = Outcome::default();
    for (std, name) in NOISES {
        let mut draws = rng.split(name);
        let w: Vec<f64> = (0..N_FEATURES).map(|_| draws.normal()).collect();
        let big = examples(N_TEACHER, &w, std, &mut draws)?;
        let test = examples(N_TEST, &w, std, &mut draws)?;
        let noise = Noise { std, n_steps, rng: rng.split(name) };
        let teacher = noise.teacher(&big.data)?;
        for n in &SIZES[..n_sizes] {
            let small = examples(*n, &w, std, &mut draws)?;
            let id = format!("prior/sd-{name}/n-{n}");
            noise.cell(&id, &teacher, &big.data, &small.data, &test, &mut outcome)?;
            task.point_done()?;
        }
    }
    Ok(outcome)
}

/// Everything at one level of noise.
struct Noise {
    std: f64,
    n_steps: usize,
    rng: Rng,
}

impl Noise {
    fn likelihood(&self) -> Likelihood {
        Likelihood::Normal { variance: self.std * self.std }
    }

    fn teacher(&self, data: &Dataset) -> Result<Posterior<Diagonal>> {
        let network = perceptron(&TEACHER);
        let rng = self.rng.split("teacher");
        let start = network.init(&mut rng.split("start"), &Device::Cpu)?.to_vec()?;
        let cell = Cell {
            network: &network,
            data,
            likelihood: self.likelihood(),
            n_steps: self.n_steps,
            rng,
        };
        let standard = VariationalPrior::Isotropic { precision: PRIOR_PRECISION };
        let gaussian = cell.infer(&start, standard, 1.0)?;
        Ok(Posterior::new(network, gaussian)?)
    }

    /// Every arm on one set of examples.
    fn cell(
        &self,
        id: &str,
        teacher: &Posterior<Diagonal>,
        big: &Dataset,
        data: &Dataset,
        test: &Objects,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let student = perceptron(&STUDENT);
        let rng = self.rng.split("student");
        let mut order = rng.split("units");
        let random = |layer: usize| anyhow::Ok(order.permutation(TEACHER[layer]));
        let plan = align(teacher.network(), &student, &[], random)?;
        let start = student.init(&mut rng.split("start"), &Device::Cpu)?.to_vec()?;
        let cell = Cell {
            network: &student,
            data,
            likelihood: self.likelihood(),
            n_steps: self.n_steps,
            rng,
        };

        let mut plain: Option<[f64; 2]> = None;
        let mut arm =
            |name: &str, start: &[f64], prior: VariationalPrior, weight: f64| -> Result<()> {
                let posterior = cell.infer(start, prior, weight)?;
                let mut draws = cell.rng.split("predictive");
                let found = self.judge(&student, &posterior, test, &mut draws)?;
                let first = *plain.get_or_insert(found);
                let mut metrics = BTreeMap::from([
                    ("risk".to_owned(), vec![found[0]]),
                    ("density".to_owned(), vec![found[1]]),
                ]);
                if name != "standard" {
                    metrics.insert(metric::RISK_GAIN.key(), vec![first[0] - found[0]]);
                    metrics.insert(metric::DENSITY_GAIN.key(), vec![found[1] - first[1]]);
                }
                outcome.add(&format!("{id}/{name}"), metrics);
                Ok(())
            };
        let standard = VariationalPrior::Isotropic { precision: PRIOR_PRECISION };
        let carried = carry(teacher.clone(), &plan)?;
        let n = carried.mean().len();
        let around =
            Gaussian::new(student.layout(), carried.mean().to_vec(), Diagonal::new(vec![1.0; n])?)?;
        let (around, own) = (Prior::new(&around)?, Prior::new(&carried)?);
        arm("standard", &start, standard, 1.0)?;
        arm("start", carried.mean(), standard, 1.0)?;
        arm("center", &start, VariationalPrior::Gaussian(&around), 1.0)?;
        arm("diagonal", &start, VariationalPrior::Gaussian(&own), 1.0)?;
        arm("tempered", &start, VariationalPrior::Gaussian(&own), TEMPERED)?;
        let weights =
            Params::from_vec(teacher.gaussian().layout(), teacher.gaussian().mean(), &Device::Cpu)?;
        for (name, curvature) in [("kronecker", Curvature::Kronecker), ("full", Curvature::Full)] {
            let laplace = Laplace {
                network: teacher.network(),
                weights: &weights,
                data: big,
                likelihood: self.likelihood(),
                prior_precision: PRIOR_PRECISION,
            };
            let big = laplace.fit(curvature)?;
            let (small, _) =
                big.posterior.transform(&plan, &EditOptions::strict(), Damping::numerical())?;
            with_posterior!(&small, posterior => {
                let prior = Prior::new(posterior.gaussian())?;
                arm(name, &start, VariationalPrior::Gaussian(&prior), 1.0)?;
            });
        }
        let carried = carry(self.teacher(data)?, &plan)?;
        let prior = Prior::new(&carried)?;
        arm("same-data", &start, VariationalPrior::Gaussian(&prior), 1.0)
    }

    /// Risk and log density on the test examples.
    fn judge(
        &self,
        network: &Mlp,
        posterior: &Gaussian<Diagonal>,
        test: &Objects,
        rng: &mut Rng,
    ) -> Result<[f64; 2]> {
        let x = test.data.x();
        let found = monte_carlo(network, posterior, x, &self.likelihood(), N_SAMPLES, rng)?;
        let Targets::Values(y) = test.data.y() else {
            return Err(anyhow::anyhow!("classes")).context("a regression wanted values");
        };
        let y = y.flatten_all()?.to_vec1::<f32>()?;
        let n = test.truth.len() as f64;
        let risk =
            found.mean.iter().zip(&test.truth).map(|(m, f)| (m - f).powi(2)).sum::<f64>() / n;
        let term = |((m, v), y): ((&f64, &f64), &f32)| {
            -0.5 * ((f64::from(*y) - m).powi(2) / v + (std::f64::consts::TAU * v).ln())
        };
        let density = found.mean.iter().zip(&found.variance).zip(&y).map(term).sum::<f64>() / n;
        Ok([risk, density])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_follow_the_function_and_its_noise() {
        let w: Vec<f64> = (0..N_FEATURES).map(|i| i as f64 - 4.5).collect();
        let found = examples(4000, &w, 0.5, &mut Rng::new(0)).unwrap();
        let Targets::Values(y) = found.data.y() else { panic!("classes") };
        let y = y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let mean = |of: &dyn Fn(usize) -> f64| (0..4000).map(of).sum::<f64>() / 4000.0;
        let noise = mean(&|i| (f64::from(y[i]) - found.truth[i]).powi(2));
        // Five standard errors of a variance: 0.25 · √(2 / 4000).
        assert!((noise - 0.25).abs() < 5.0 * 0.25 * (2.0f64 / 4000.0).sqrt(), "{noise}");
        let size: f64 = w.iter().map(|w| w * w).sum();
        let spread = mean(&|i| found.truth[i].powi(2));
        assert!((spread - size).abs() < 5.0 * size * (2.0f64 / 4000.0).sqrt(), "{spread} {size}");
    }

    #[test]
    fn every_cell_has_its_rows() {
        let mut wanted = Vec::new();
        for (_, noise) in NOISES {
            for n in SIZES {
                for arm in [
                    "standard",
                    "start",
                    "center",
                    "diagonal",
                    "tempered",
                    "kronecker",
                    "full",
                    "same-data",
                ] {
                    wanted.push(format!("prior/sd-{noise}/n-{n}/{arm}"));
                }
            }
        }
        let listed: Vec<&str> = PRIOR.rows.iter().map(|row| row.id).collect();
        assert_eq!(listed, wanted);
    }
}
