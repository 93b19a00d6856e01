//! Lopez-Paz et al. (2016), section 6.1: when privileged features help, on four synthetic problems.

use crate::data::synthetic::LopezPaz;
use crate::ledger::{Check, Claim, Point, metric};
use anyhow::Result;
use candle_core::Tensor;
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Fit, Params, Rng};
use losses::Distillation;
use models::{Architecture, Mlp};

use crate::experiments::{Experiment, Outcome, Parts, Task};
use crate::training::{CHUNK, Course, Examination, train};

/// Examples to train on, one batch of them.
const N_TRAIN: usize = 200;
/// Step size of Adam.
const LEARNING_RATE: f64 = 1e-2;
/// λ and T of the paper's synthetic experiments: the teacher's answers alone, as they are.
const LAMBDA: f64 = 1.0;
const TEMPERATURE: f64 = 1.0;
/// A gain of accuracy below it counts as none.
const NO_GAIN: f64 = 0.02;

settings! {
    n_test: usize = 500, 10_000;
    epochs: usize = 30, 1000;
}

/// Beginning of the rows of one problem.
fn family(kind: LopezPaz) -> &'static str {
    match kind {
        LopezPaz::CleanLabels => "privileged/clean-labels",
        LopezPaz::CleanFeatures => "privileged/clean-features",
        LopezPaz::RelevantFeatures => "privileged/relevant",
        LopezPaz::SampleDependentFeatures => "privileged/sample-dependent",
    }
}

fn run(task: &Task) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    task.expect_epochs(3 * LopezPaz::ALL.len() * settings.epochs);
    let device = &task.session.device;
    let rng = Rng::new(task.part.seed()).split("privileged synthetic");
    let mut outcome = Outcome::default();
    for kind in LopezPaz::ALL {
        let (train, test) =
            kind.sample(N_TRAIN, settings.n_test, &rng.split(&format!("{kind:?}")), device)?;
        let family = family(kind);

        let view = train.teachers_view()?;
        let model = logistic(view.x())?;
        let start = model.init(&mut rng.split("teacher"), device)?;
        let w = fit(task, settings, &model, &start, &view, Distillation::labels_only(), &rng)?;
        let exam = Examination::new(&test.teachers_view()?)?;
        let teacher_predictions = exam.predictions(&model, &w)?;
        outcome.add(&format!("{family}/teacher"), exam.once(&teacher_predictions)?);

        let ask = |x_star: &Tensor| model.forward(&w, x_star);
        let taught = train.with_teacher(CHUNK, ask)?;
        let student = logistic(taught.x())?;
        let start = student.init(&mut rng.split("student"), device)?;
        let exam = Examination::new(test.data())?.with_teacher(teacher_predictions);
        let arms = [
            ("regular", Distillation::labels_only()),
            ("distilled", Distillation::convex(LAMBDA, TEMPERATURE)),
        ];
        for (row, loss) in arms {
            let w = fit(task, settings, &student, &start, &taught, loss, &rng)?;
            outcome.add(&format!("{family}/{row}"), exam.once(&exam.predictions(&student, &w)?)?);
        }
    }
    Ok(outcome)
}

/// Logistic regression on these features, as a softmax of two classes.
fn logistic(x: &Tensor) -> Result<Mlp> {
    let widths = vec![x.dims2()?.1, 2];
    Ok(Mlp { widths, activation: Activation::Identity, bias: true })
}

fn fit(
    task: &Task,
    settings: Settings,
    model: &Mlp,
    start: &Params,
    data: &Dataset,
    loss: Distillation,
    rng: &Rng,
) -> Result<Params> {
    let fit = Fit { epochs: settings.epochs, batch_size: N_TRAIN };
    let course = Course { network: model, fit, learning_rate: LEARNING_RATE, loss };
    let w = start.trainable()?;
    train(task, &course, &w, data, &mut rng.split("batches"), |_, _| Ok(()))?;
    Ok(w.frozen())
}

/// Synthetic experiments 1 to 4.
pub(in crate::experiments) static SYNTHETIC: Experiment = Experiment {
    id: "privileged-synthetic",
    title: "Privileged features on synthetic data",
    source: "Lopez-Paz et al. 2016",
    summary: "x ~ N(0, I) with 50 features, a hyperplane α ~ N(0, I), 200 objects to train on and 10 000 to test on; every seed \
        draws its own. Logistic models throughout: the teacher on x*, the regular student on x and labels, the distilled one \
        on x and the teacher's answers alone (λ = 1, T = 1); both students share start and data. Experiment 1: x* is the \
        score α·x before noise. 2: x* are the features before noise. 3: x* are the three features that matter. 4: three \
        features of each object matter, others of every object, and x* are those.",
    data: &[],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(20, 100),
    run,
    rows: rows!(
        [("privileged")] {
            {
                "clean-labels/teacher" => "1, clean labels: the teacher on x*";
                "clean-labels/regular" => "1: student on labels";
            }
            against "clean-labels/regular" { "clean-labels/distilled" => "1: student of the teacher"; }
            {
                "clean-features/teacher" => "2, clean features: the teacher on x*";
                "clean-features/regular" => "2: student on labels";
            }
            against "clean-features/regular" { "clean-features/distilled" => "2: student of the teacher"; }
            {
                "relevant/teacher" => "3, relevant features: the teacher on x*";
                "relevant/regular" => "3: student on labels";
            }
            against "relevant/regular" { "relevant/distilled" => "3: student of the teacher"; }
            {
                "sample-dependent/teacher" => "4, features that matter differ: the teacher on x*";
                "sample-dependent/regular" => "4: student on labels";
            }
            against "sample-dependent/regular" { "sample-dependent/distilled" => "4: student of the teacher"; }
        }
    ),
    claims: &[
        Claim {
            id: "L1",
            text: "Clean labels as privileged information: the distilled student is clearly better than the regular one.",
            published: &[],
            min_seeds: 10,
            checks: &[Check::better(
                metric::ACCURACY,
                "privileged/clean-labels/distilled",
                "privileged/clean-labels/regular",
            )],
        },
        Claim {
            id: "L2",
            text: "Clean features as privileged information: little or no gain (less than 2 points of accuracy).",
            published: &[],
            min_seeds: 10,
            checks: &[Check::no_gain(
                metric::ACCURACY,
                "privileged/clean-features/distilled",
                "privileged/clean-features/regular",
                NO_GAIN,
            )],
        },
        Claim {
            id: "L3",
            text: "The relevant features as privileged information: the distilled student is clearly better.",
            published: &[],
            min_seeds: 10,
            checks: &[Check::better(
                metric::ACCURACY,
                "privileged/relevant/distilled",
                "privileged/relevant/regular",
            )],
        },
        Claim {
            id: "L4",
            text: "Features whose relevance depends on the object: little or no gain (less than 2 points of accuracy).",
            published: &[],
            min_seeds: 10,
            checks: &[Check::no_gain(
                metric::ACCURACY,
                "privileged/sample-dependent/distilled",
                "privileged/sample-dependent/regular",
                NO_GAIN,
            )],
        },
    ],
    point: Point::Epoch,
    figures: &[],
};
