//! Gorpinich, Bakhteev & Strijov (2022), synthetic data: λ and T by gradient descent on a validation loss.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Fit, Params, Rng};
use losses::{Hyperparameters, TemperatureScale};
use models::{Architecture, Mlp};

use crate::experiments::{Experiment, Outcome, Parts, Task};
use crate::ledger::{Check, Claim, Curve, Figure, Point, Published, metric};
use crate::training::{
    CHUNK, Examination, MetaCourse, MetaDescent, labels, train_with_hyperparameters, with_choice,
};

/// Examples of the teacher, of the student, to validate and to test on.
const SIZES: [usize; 4] = [200, 15, 15, 200];
/// Standard deviation of the noise in the score x₁ x₂ of an example.
const NOISE: f64 = 0.5;
/// Step size of plain gradient descent of teacher and students, each step over all examples.
const LEARNING_RATE: f64 = 1.0;
/// Trials of the random search.
const N_TRIALS: usize = 5;
/// Steps between two points of a trajectory.
const EVERY: usize = 20;
/// How the source moves λ and T.
pub(super) const DESCENT: MetaDescent = MetaDescent {
    rate: 0.1,
    longest: 0.01,
    lambdas: (0.0, 1.0),
    temperatures: (0.1, 10.0),
    stages: (1, 0),
};

settings! {
    steps: usize = 60, 2000;
}

fn at(lambda: f64, temperature: f64) -> Hyperparameters {
    Hyperparameters { lambda, temperature, scale: TemperatureScale::None }
}

/// x₁, x₂ ~ N(0, 1), x₃ = \[both positive\]; y = \[x₁ x₂ + ε > 0\].
fn examples(n: usize, rng: &mut Rng, device: &Device) -> Result<Dataset> {
    let (mut x, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..n {
        let (a, b) = (rng.normal(), rng.normal());
        let is_both = a > 0.0 && b > 0.0;
        x.extend([a as f32, b as f32, f32::from(u8::from(is_both))]);
        labels.push(u32::from(a * b + NOISE * rng.normal() > 0.0));
    }
    Ok(Dataset::classification(x, labels, 2, device)?)
}

/// λ uniform in \[0, 1\], T = 10ᵘ with u uniform in \[−1, 1\].
fn draw(rng: &mut Rng) -> Hyperparameters {
    let lambda = rng.uniform();
    at(lambda, 10f64.powf(2.0 * rng.uniform() - 1.0))
}

/// What all students of a seed share.
struct Study<'a> {
    task: &'a Task<'a>,
    steps: usize,
    network: Mlp,
    start: Params,
    taught: Dataset,
    validation: Dataset,
    exam: Examination,
    rng: Rng,
}

impl Study<'_> {
    /// A student from these λ and T; its metrics, and its cross-entropy on the validation examples.
    fn student(
        &self,
        from: Hyperparameters,
        descent: Option<MetaDescent>,
    ) -> Result<(BTreeMap<String, Curve>, f64)> {
        let fit = Fit { epochs: self.steps, batch_size: self.taught.n_examples() };
        let network = &self.network;
        let course = MetaCourse { network, fit, learning_rate: LEARNING_RATE, descent };
        let (w, path) = train_with_hyperparameters(
            self.task,
            &course,
            &self.start,
            from,
            (&self.taught, &self.validation),
            &mut self.rng.split("batches"),
        )?;
        let metrics = self.exam.once(&self.exam.predictions(network, &w)?)?;
        let last = path.last().copied().unwrap_or(from);
        let mut metrics = with_choice(metrics, last.lambda, last.temperature);
        let every = || path.iter().skip(EVERY - 1).step_by(EVERY);
        metrics.insert(metric::LAMBDA.key(), every().map(|m| m.lambda).collect());
        metrics.insert(metric::TEMPERATURE.key(), every().map(|m| m.temperature).collect());
        let held_out = Examination::new(&self.validation)?;
        let risk = held_out.predictions(network, &w)?.cross_entropy(&labels(&self.validation)?)?;
        Ok((metrics, risk))
    }
}

fn run(task: &Task) -> Result<Outcome> {
    let Settings { steps } = settings(task.session.scale);
    task.expect_epochs((6 + N_TRIALS) * steps);
    let device = &task.session.device;
    let rng = Rng::new(task.part.seed()).split("metaparameters");
    let part = |purpose: &str, n: usize| examples(n, &mut rng.split(purpose), device);
    let [n_teacher, n_student, n_validation, n_test] = SIZES;
    let (of_teacher, own) = (part("teacher's", n_teacher)?, part("student's", n_student)?);
    let (validation, test) = (part("validation", n_validation)?, part("test", n_test)?);
    let network = Mlp { widths: vec![3, 2], activation: Activation::Identity, bias: true };
    let mut outcome = Outcome::default();

    let fit = Fit { epochs: steps, batch_size: n_teacher };
    let course = MetaCourse { network: &network, fit, learning_rate: LEARNING_RATE, descent: None };
    let start = network.init(&mut rng.split("teacher"), device)?;
    let mut batches = rng.split("teacher's batches");
    let pair = (&of_teacher, &validation);
    let (w, _) =
        train_with_hyperparameters(task, &course, &start, at(0.0, 1.0), pair, &mut batches)?;
    let exam = Examination::new(&test)?;
    let teacher_predictions = exam.predictions(&network, &w)?;
    outcome.add("meta/teacher", exam.once(&teacher_predictions)?);

    let ask = |x: &Tensor| network.forward(&w, x);
    let study = Study {
        task,
        steps,
        start: network.init(&mut rng.split("student"), device)?,
        taught: own.with_teacher(CHUNK, ask)?,
        network: network.clone(),
        validation,
        exam: exam.with_teacher(teacher_predictions),
        rng: rng.clone(),
    };
    let mut draws = rng.split("random metaparameters");
    let random = draw(&mut draws);
    let predicted = MetaDescent { stages: (10, 10), ..DESCENT };
    for (row, from, descent) in [
        ("meta/none", at(0.0, 1.0), None),
        ("meta/naive", at(0.5, 1.0), None),
        ("meta/random", random, None),
        ("meta/gradient", random, Some(DESCENT)),
        ("meta/predicted", random, Some(predicted)),
    ] {
        outcome.add(row, study.student(from, descent)?.0);
    }
    let trials = (0..N_TRIALS).map(|_| study.student(draw(&mut draws), None));
    let trials = trials.collect::<Result<Vec<_>>>()?;
    let best = trials.into_iter().min_by(|(_, a), (_, b)| a.total_cmp(b));
    outcome.add("meta/search", best.context("the random search made no trial")?.0);
    Ok(outcome)
}

/// Synthetic data.
pub(super) static HYPERPARAMETERS: Experiment = Experiment {
    id: "hyperparameters",
    title: "λ and T by gradient descent on a validation loss",
    source: "Gorpinich et al. 2022",
    summary: "x₁, x₂ ~ N(0, 1), x₃ = [both positive], y = [x₁ x₂ + 0.5 ε > 0]; 200 objects of the teacher, 15 of the student, 15 to \
        validate, 200 to test, drawn anew by every seed (the source has one draw, so that its ten runs share 15 objects). \
        Logistic models, plain gradient descent over all objects with step 1, 2000 steps; the source's step size on these data \
        is not known. λ and T make one step of 0.1 before each of the student's, by the gradient of the validation \
        cross-entropy one step of the student ahead, shortened to 0.01; λ stays in [0, 1], T in [0.1, 10]. They begin at random, \
        where the row without descent stays. Predicted: ten steps by gradient, then ten along a line through them, in turn. The \
        random search keeps the best of five trials by validation cross-entropy.",
    data: &[],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(20, 100),
    run,
    rows: rows!(
        [("meta")] {
            {
                "teacher" => "the teacher";
                "none" => "no teacher";
            }
            against "none" {
                "naive" => "λ = 1/2, T = 1";
                "random" => "random λ and T";
                "gradient" => "λ and T by gradient descent";
                "predicted" => "λ and T by gradient and predicted, in turn";
                "search" => "random search of five trials";
            }
        }
    ),
    claims: &[Claim {
        id: "M1",
        text: "λ and T found by gradient descent make the student more accurate than none, λ = 1/2 with T = 1, and random ones. \
            (The source's values are of one draw of the data.)",
        published: &[
            Published::plain("meta/gradient", metric::ACCURACY, 0.77),
            Published::plain("meta/none", metric::ACCURACY, 0.63),
            Published::plain("meta/naive", metric::ACCURACY, 0.63),
            Published::plain("meta/random", metric::ACCURACY, 0.64),
            Published::plain("meta/predicted", metric::ACCURACY, 0.76),
            Published::plain("meta/search", metric::ACCURACY, 0.77),
        ],
        min_seeds: 10,
        checks: &[
            Check::better(metric::ACCURACY, "meta/gradient", "meta/none"),
            Check::better(metric::ACCURACY, "meta/gradient", "meta/naive"),
            Check::better(metric::ACCURACY, "meta/gradient", "meta/random"),
        ],
    }],
    point: Point::Iterations(EVERY),
    figures: &[
        Figure::curves("λ on the way", metric::LAMBDA, &["meta/gradient", "meta/predicted"]),
        Figure::curves("T on the way", metric::TEMPERATURE, &["meta/gradient", "meta/predicted"]),
    ],
};
