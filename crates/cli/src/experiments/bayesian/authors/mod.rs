//! Papers 001 and 000, Bayesian distillation under the authors' protocol: a teacher's mean, cut to size, is prior and start.

/// The teacher's row and those of the students with every arm, then of those with the basic ones.
macro_rules! students {
    ($teacher:expr; $of_all:tt $of_basic:tt) => {
        rows!(
            $teacher;
            $of_all {
                { "student" => ": plain, prior around its own start"; }
                against "student" {
                    "distil/scrambled" => ": distil, scrambled (as run)";
                    "distil-all/scrambled" => ": distil-all (variances of the teacher's prior: a bug), scrambled (as run)";
                    "distil/correct" => ": distil, right weights";
                    "distil-all/correct" => ": distil-all (variances of the teacher's prior: a bug), right weights";
                    "zero-prior" => ": plain, prior N(0, I) (as printed)";
                }
            }
            $of_basic {
                { "student" => ": plain, prior around its own start"; }
                against "student" {
                    "distil/scrambled" => ": distil, scrambled (as run)";
                    "distil-all/scrambled" => ": distil-all (variances of the teacher's prior: a bug), scrambled (as run)";
                    "distil/correct" => ": distil, right weights";
                }
            }
        )
    };
}

/// What table 2 prints of a student: areas gained by distil and distil-all, then the areas of the plain student and of
/// those two, and the teacher's.
macro_rules! table_2 {
    (
        $id:literal, [$gain:literal, $gain_all:literal],
        [$plain:literal, $distil:literal, $all:literal] $(, $teacher:ident: $area:literal)?
    ) => {
        &[
            Published::plain(concat!($id, "/distil/scrambled"), metric::AREA_GAIN, $gain),
            Published::plain(concat!($id, "/distil-all/scrambled"), metric::AREA_GAIN, $gain_all),
            Published::plain(concat!($id, "/student"), metric::AREA, $plain),
            Published::plain(concat!($id, "/distil/scrambled"), metric::AREA, $distil),
            Published::plain(concat!($id, "/distil-all/scrambled"), metric::AREA, $all),
            $(Published::plain($teacher, metric::AREA, $area),)?
        ]
    };
}

/// Printed numbers of students' arms, one a line.
macro_rules! printed {
    ($($id:literal $arm:literal $metric:ident $value:literal;)*) => {
        &[$(Published::plain(concat!($id, "/", $arm), metric::$metric, $value),)*]
    };
}

/// An arm of a student is better than the plain one.
macro_rules! beats_plain {
    ($metric:expr, $id:literal, $arm:literal) => {
        Check::better($metric, concat!($id, "/", $arm), concat!($id, "/student"))
    };
}

/// Table 2 with a line a student, then curves of a student and the teacher.
macro_rules! figures {
    ($teacher:ident; $($name:literal $id:literal;)* curves: $($title:literal $metric:ident $student:literal;)*) => {
        &[
            Figure::cross(
                "Table 2 of paper 001: area under the test log-likelihood gained over the plain student",
                metric::AREA_GAIN,
                &[
                    "distil, scrambled (as run)",
                    "distil-all, scrambled (as run)",
                    "distil, right weights",
                    "distil-all, right weights",
                ],
                &[$((
                    $name,
                    names!([$id] ["distil/scrambled" "distil-all/scrambled" "distil/correct" "distil-all/correct"]),
                )),*],
            ),
            $(Figure::curves(
                $title,
                metric::$metric,
                &[
                    $teacher,
                    concat!($student, "/student"),
                    concat!($student, "/distil/scrambled"),
                    concat!($student, "/distil-all/scrambled"),
                    concat!($student, "/distil/correct"),
                ],
            ),)*
        ]
    };
}

mod fashion;
mod selection;
mod synthetic;

use std::collections::BTreeMap;

use anyhow::Result;
use bayes_posterior::GaussianPrior;
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Fit, Params, Rng};
use models::{Architecture, Mlp};
use serde::Serialize;

use crate::experiments::{Outcome, Task};
use crate::ledger::{Check, Curve, Metric, metric};
use crate::training::{BayesCourse, BayesEnd, BayesStart, area, at_most};
use selection::{Cut, Selection};

pub(in crate::experiments) use fashion::FASHION;
pub(in crate::experiments) use synthetic::SYNTHETIC;

/// Examples a batch.
const BATCH: usize = 8;
/// Iterations between two points of a curve.
const EVERY: usize = 100;
/// The point of iteration 1000, from 0.
const EARLY: usize = 9;
/// Slope of negative sums between the layers.
const SLOPE: f64 = 0.01;

/// What is trained.
struct Protocol {
    /// Widths of the teacher.
    teacher: &'static [usize],
    /// Its row.
    teacher_row: &'static str,
    /// Its students.
    students: &'static [Student],
    /// α
    kl_weight: f64,
}

/// What it is trained on.
struct Study<'a> {
    protocol: &'a Protocol,
    epochs: usize,
    train: &'a Dataset,
    test: &'a Dataset,
}

/// One architecture that the teacher is cut to.
struct Student {
    /// Beginning of its rows.
    id: &'static str,
    /// How it comes from the teacher.
    cut: Cut,
    /// What it is trained from.
    arms: &'static [Arm],
}

/// What a student starts from, and its prior.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arm {
    /// Random weights; they are the mean of the prior, its variance is 1.
    Plain,
    /// The same weights under a prior N(0, I), as the documents have it.
    ZeroPrior,
    /// Selected weights of the teacher, which are the mean of the prior; its variance is 1.
    Distilled(Selection),
    /// The same, with the variances of the teacher's prior.
    DistilledAll(Selection),
}

/// Every arm.
const ALL_ARMS: &[Arm] = &[
    Arm::Plain,
    Arm::Distilled(Selection::Scrambled),
    Arm::DistilledAll(Selection::Scrambled),
    Arm::Distilled(Selection::Correct),
    Arm::DistilledAll(Selection::Correct),
    Arm::ZeroPrior,
];
/// Those that the authors ran, and the selection they meant.
const BASIC_ARMS: &[Arm] = &[
    Arm::Plain,
    Arm::Distilled(Selection::Scrambled),
    Arm::DistilledAll(Selection::Scrambled),
    Arm::Distilled(Selection::Correct),
];

/// What is cut at smoke scale.
#[derive(Clone, Copy, Serialize)]
struct Settings {
    epochs: usize,
    /// At most so many examples to train and to test on.
    most_examples: Option<[usize; 2]>,
}

impl Arm {
    /// End of its row.
    fn name(self) -> &'static str {
        match self {
            Self::Plain => "student",
            Self::ZeroPrior => "zero-prior",
            Self::Distilled(Selection::Correct) => "distil/correct",
            Self::Distilled(Selection::Scrambled) => "distil/scrambled",
            Self::DistilledAll(Selection::Correct) => "distil-all/correct",
            Self::DistilledAll(Selection::Scrambled) => "distil-all/scrambled",
        }
    }
}

impl Student {
    fn row(&self, arm: Arm) -> String {
        format!("{}/{}", self.id, arm.name())
    }
}

fn network(widths: &[usize]) -> Mlp {
    let activation = Activation::LeakyRelu { slope: SLOPE };
    Mlp { widths: widths.to_vec(), activation, bias: true }
}

/// Weights whose prior is centered on themselves, with variance 1.
fn own_prior(weights: Params) -> Result<BayesStart> {
    let mean = weights.clone();
    let log_variance = constant(&weights, 0.0)?;
    Ok(BayesStart { weights, prior: GaussianPrior { mean, log_variance } })
}

fn constant(like: &Params, value: f64) -> Result<Params> {
    let layout = like.layout();
    let values = vec![value; layout.n_parameters()];
    Ok(Params::from_vec(layout, &values, like.blocks()[0].device())?)
}

impl Protocol {
    /// The teacher and every arm of every student of one seed.
    fn run(
        &self,
        task: &Task,
        settings: Settings,
        train: &Dataset,
        test: &Dataset,
    ) -> Result<Outcome> {
        let Settings { epochs, most_examples } = settings;
        let [most_train, most_test] = most_examples.unwrap_or([usize::MAX; 2]);
        let (train, test) = (&at_most(train, most_train)?, &at_most(test, most_test)?);
        Study { protocol: self, epochs, train, test }.run(task)
    }

    /// Every row of the teacher and the students.
    #[cfg(test)]
    fn rows(&self) -> Vec<String> {
        let arms = |student: &Student| student.arms.iter().map(|&arm| student.row(arm)).collect();
        let mut rows: Vec<Vec<String>> = self.students.iter().map(arms).collect();
        rows.push(vec![self.teacher_row.to_owned()]);
        rows.concat()
    }
}

impl Study<'_> {
    fn course<'a>(&self, network: &'a Mlp) -> BayesCourse<'a> {
        let fit = Fit { epochs: self.epochs, batch_size: BATCH };
        BayesCourse { network, fit, kl_weight: self.protocol.kl_weight, every: EVERY }
    }

    fn run(&self, task: &Task) -> Result<Outcome> {
        let Protocol { teacher: widths, teacher_row, students, .. } = *self.protocol;
        let rng = Rng::new(task.part.seed()).split("bayes-authors");
        let device = &task.session.device;
        let teacher = network(widths);
        let course = self.course(&teacher);
        let n_runs = 1 + students.iter().map(|student| student.arms.len()).sum::<usize>();
        task.expect_epochs(n_runs * course.n_points(self.train.n_examples()));

        let mut outcome = Outcome::default();
        let start = own_prior(teacher.init(&mut rng.split("teacher"), device)?)?;
        let mut batches = rng.split("teacher batches");
        let BayesEnd { last: taught, curves } =
            course.train(task, &start, self.train, self.test, &mut batches)?;
        outcome.add(teacher_row, with_areas(curves, None));
        for student in students {
            self.run_student(task, &rng, student, &taught, &mut outcome)?;
        }
        Ok(outcome)
    }

    /// Arms of one student: one start for those at random, one order of batches for all.
    fn run_student(
        &self,
        task: &Task,
        rng: &Rng,
        student: &Student,
        taught: &BayesStart,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let cut = &student.cut;
        let widths = self.protocol.teacher;
        let (teacher, network) = (network(widths), network(cut.student));
        let course = self.course(&network);
        let random = network.init(&mut rng.split(student.id), &task.session.device)?;
        let kept = cut.kept_units(widths, task.part.seed() as u32)?;
        // The code takes the variances of the teacher's prior; those of its posterior are never used.
        let taught = (taught.weights.to_vec()?, taught.prior.log_variance.to_vec()?);
        let select = |selection, with_variances: bool| -> Result<BayesStart> {
            let both = (&taught.0[..], &taught.1[..]);
            let (mean, log_variance) = cut.select((&teacher, &network), &kept, selection, both)?;
            let params =
                |values: &[f64]| Params::from_vec(&network.layout(), values, &task.session.device);
            let mut start = own_prior(params(&mean)?)?;
            if with_variances {
                start.prior.log_variance = params(&log_variance)?;
            }
            Ok(start)
        };
        let mut plain: Option<BTreeMap<String, Curve>> = None;
        for &arm in student.arms {
            let start = match arm {
                Arm::Plain => own_prior(random.clone())?,
                Arm::ZeroPrior => {
                    let own = own_prior(random.clone())?;
                    let mean = constant(&random, 0.0)?;
                    BayesStart { prior: GaussianPrior { mean, ..own.prior }, ..own }
                }
                Arm::Distilled(selection) => select(selection, false)?,
                Arm::DistilledAll(selection) => select(selection, true)?,
            };
            let mut batches = rng.split("student batches");
            let end = course.train(task, &start, self.train, self.test, &mut batches)?;
            outcome.add(&student.row(arm), with_areas(end.curves.clone(), plain.as_ref()));
            if arm == Arm::Plain {
                plain = Some(end.curves);
            }
        }
        Ok(())
    }
}

/// Curves of one run with what is derived from them and from the plain student's of the same seed:
///
/// `area` and `divergence_area`, the integrals over the iterations from the first point to the last; `area_gain`, its
/// area minus the plain student's; `remaining_gap`, the distance of the two test likelihoods at the end as a share of
/// that at iteration 1000.
fn with_areas(
    mut curves: BTreeMap<String, Curve>,
    plain: Option<&BTreeMap<String, Curve>>,
) -> BTreeMap<String, Curve> {
    let curve = |of: &BTreeMap<String, Curve>, metric: Metric| {
        of.get(metric.name).cloned().unwrap_or_default()
    };
    let own = curve(&curves, metric::LOG_LIKELIHOOD);
    let mut derived = vec![
        (metric::AREA, area(&own, EVERY)),
        (metric::DIVERGENCE_AREA, area(&curve(&curves, metric::DIVERGENCE), EVERY)),
    ];
    if let Some(plain) = plain {
        let plain = curve(plain, metric::LOG_LIKELIHOOD);
        let gap = |at: Option<usize>| {
            let points = at.and_then(|at| own.get(at).zip(plain.get(at)));
            points.map_or(f64::NAN, |(a, b)| (a - b).abs())
        };
        derived.push((metric::AREA_GAIN, area(&own, EVERY) - area(&plain, EVERY)));
        derived.push((metric::REMAINING_GAP, gap(own.len().checked_sub(1)) / gap(Some(EARLY))));
    }
    curves.extend(derived.into_iter().map(|(metric, value)| (metric.key(), vec![value])));
    curves
}

/// At most half of the gap of iteration 1000 is left: a share from 0 to 0.5.
const fn gap_closes(row: &'static str) -> Check {
    Check::in_range(metric::REMAINING_GAP, row, 0.25, 0.25)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_and_gaps_by_hand() {
        let of = |values: Vec<f64>| -> BTreeMap<String, Curve> {
            [(metric::LOG_LIKELIHOOD.key(), values), (metric::DIVERGENCE.key(), vec![1.0; 11])]
                .into()
        };
        let mut distilled = vec![-1.0; 11];
        distilled[EARLY] = -2.0;
        let plain = of([vec![-4.0; 10], vec![-1.5]].concat());
        let found = with_areas(of(distilled), Some(&plain));
        // Ten intervals of 100 iterations; at iteration 1000 −2 against −4, at the end −1 against −1.5.
        assert_eq!(found[metric::AREA.name], [-1100.0]);
        assert_eq!(found[metric::DIVERGENCE_AREA.name], [1000.0]);
        assert_eq!(found[metric::AREA_GAIN.name], [-1100.0 + 3875.0]);
        assert_eq!(found[metric::REMAINING_GAP.name], [0.25]);
    }

    #[test]
    fn every_row_of_the_tables_is_run_and_no_other() {
        for (experiment, protocol) in
            [(&SYNTHETIC, &synthetic::PROTOCOL), (&FASHION, &fashion::PROTOCOL)]
        {
            let mut run = protocol.rows();
            let mut listed: Vec<&str> = experiment.rows.iter().map(|row| row.id).collect();
            run.sort_unstable();
            listed.sort_unstable();
            assert_eq!(run, listed);
        }
    }
}
