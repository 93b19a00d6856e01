//! Lopez-Paz et al. (2016), section 6.1: when privileged features help, on four synthetic problems.

use crate::data::synthetic::LopezPaz;
use crate::ledger::{Check, Claim, Point, RowSpec, Scale, metric};
use anyhow::Result;
use candle_core::Tensor;
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Fit, Params, Rng};
use losses::Distillation;
use models::{Architecture, Mlp};
use serde::Serialize;

use crate::experiments::{Experiment, Outcome, Task};
use crate::training::{CHUNK, Course, Examination, train};

/// Objects to train on, one batch of them.
const N_TRAIN: usize = 200;
/// Step size of Adam.
const LEARNING_RATE: f64 = 1e-2;
/// λ and T of the paper's synthetic experiments: the teacher's answers alone, as they are.
const LAMBDA: f64 = 1.0;
const TEMPERATURE: f64 = 1.0;
/// A gain of accuracy below it counts as none.
const NO_GAIN: f64 = 0.02;

#[derive(Clone, Copy, Serialize)]
struct Settings {
    n_test: usize,
    epochs: usize,
}

fn settings(scale: Scale) -> Settings {
    match scale {
        Scale::Smoke => Settings { n_test: 500, epochs: 30 },
        Scale::Quick | Scale::Paper => Settings { n_test: 10_000, epochs: 1000 },
    }
}

/// Rows of one problem: teacher, regular student, distilled student.
fn rows(kind: LopezPaz) -> [&'static str; 3] {
    match kind {
        LopezPaz::CleanLabels => [
            "privileged/clean-labels/teacher",
            "privileged/clean-labels/regular",
            "privileged/clean-labels/distilled",
        ],
        LopezPaz::CleanFeatures => [
            "privileged/clean-features/teacher",
            "privileged/clean-features/regular",
            "privileged/clean-features/distilled",
        ],
        LopezPaz::RelevantFeatures => [
            "privileged/relevant/teacher",
            "privileged/relevant/regular",
            "privileged/relevant/distilled",
        ],
        LopezPaz::SampleDependentFeatures => [
            "privileged/sample-dependent/teacher",
            "privileged/sample-dependent/regular",
            "privileged/sample-dependent/distilled",
        ],
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
        let [teacher, regular, distilled] = rows(kind);

        let view = train.teachers_view()?;
        let model = logistic(view.x())?;
        let start = model.init(&mut rng.split("teacher"), device)?;
        let w = fit(task, settings, &model, &start, &view, Distillation::labels_only(), &rng)?;
        let exam = Examination::new(&test.teachers_view()?)?;
        let teacher_predictions = exam.predictions(&model, &w)?;
        outcome.add(teacher, exam.once(&teacher_predictions)?);

        let ask = |x_star: &Tensor| model.forward(&w, x_star);
        let taught = train.with_teacher(CHUNK, ask)?;
        let student = logistic(taught.x())?;
        let start = student.init(&mut rng.split("student"), device)?;
        let exam = Examination::new(test.data())?.with_teacher(teacher_predictions);
        let arms = [
            (regular, Distillation::labels_only()),
            (distilled, Distillation::convex(LAMBDA, TEMPERATURE)),
        ];
        for (row, loss) in arms {
            let w = fit(task, settings, &student, &start, &taught, loss, &rng)?;
            outcome.add(row, exam.once(&exam.predictions(&student, &w)?)?);
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
    n_seeds: |scale| match scale {
        Scale::Smoke => 2,
        Scale::Quick => 20,
        Scale::Paper => 100,
    },
    extra_parts: &[],
    run,
    rows: &[
        RowSpec::seeds("privileged/clean-labels/teacher", "1, clean labels: the teacher on x*"),
        RowSpec::seeds("privileged/clean-labels/regular", "1: student on labels"),
        RowSpec::seeds("privileged/clean-labels/distilled", "1: student of the teacher")
            .against("privileged/clean-labels/regular"),
        RowSpec::seeds("privileged/clean-features/teacher", "2, clean features: the teacher on x*"),
        RowSpec::seeds("privileged/clean-features/regular", "2: student on labels"),
        RowSpec::seeds("privileged/clean-features/distilled", "2: student of the teacher")
            .against("privileged/clean-features/regular"),
        RowSpec::seeds("privileged/relevant/teacher", "3, relevant features: the teacher on x*"),
        RowSpec::seeds("privileged/relevant/regular", "3: student on labels"),
        RowSpec::seeds("privileged/relevant/distilled", "3: student of the teacher")
            .against("privileged/relevant/regular"),
        RowSpec::seeds(
            "privileged/sample-dependent/teacher",
            "4, features that matter differ: the teacher on x*",
        ),
        RowSpec::seeds("privileged/sample-dependent/regular", "4: student on labels"),
        RowSpec::seeds("privileged/sample-dependent/distilled", "4: student of the teacher")
            .against("privileged/sample-dependent/regular"),
    ],
    claims: &[
        Claim {
            id: "L1",
            text: "Clean labels as privileged information: the distilled student is clearly better than the regular one.",
            published: &[],
            min_seeds: 10,
            checks: &[better(
                "privileged/clean-labels/distilled",
                "privileged/clean-labels/regular",
            )],
        },
        Claim {
            id: "L2",
            text: "Clean features as privileged information: little or no gain (less than 2 points of accuracy).",
            published: &[],
            min_seeds: 10,
            checks: &[no_gain(
                "privileged/clean-features/distilled",
                "privileged/clean-features/regular",
            )],
        },
        Claim {
            id: "L3",
            text: "The relevant features as privileged information: the distilled student is clearly better.",
            published: &[],
            min_seeds: 10,
            checks: &[better("privileged/relevant/distilled", "privileged/relevant/regular")],
        },
        Claim {
            id: "L4",
            text: "Features whose relevance depends on the object: little or no gain (less than 2 points of accuracy).",
            published: &[],
            min_seeds: 10,
            checks: &[no_gain(
                "privileged/sample-dependent/distilled",
                "privileged/sample-dependent/regular",
            )],
        },
    ],
    point: Point::Epoch,
    figures: &[],
};

const fn better(row: &'static str, than: &'static str) -> Check {
    Check::better(metric::ACCURACY, row, than)
}

const fn no_gain(row: &'static str, over: &'static str) -> Check {
    Check::no_gain(metric::ACCURACY, row, over, NO_GAIN)
}
