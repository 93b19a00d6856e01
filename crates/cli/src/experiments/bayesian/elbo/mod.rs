//! Bayesian distillation under the evidence lower bound: start and prior as separate factors, and teachers whose
//! posterior has more than a diagonal.

/// The teacher's row and those of each student: the 2 × 3 of start and prior, and two of each Laplace posterior.
macro_rules! students {
    ($teacher:expr; $students:tt; $($structure:literal)*) => {
        rows!($teacher; $students {
            { "cold/standard" => ": random start, prior N(0, I)"; }
            against "cold/standard" {
                "cold/teacher-mean" => ": random start, prior around the teacher, variance 1";
                "cold/teacher" => ": random start, prior the teacher's posterior";
                "warm/standard" => ": start at the teacher, prior N(0, I)";
                "warm/teacher-mean" => ": start at the teacher, prior around it, variance 1";
                "warm/teacher" => ": start at the teacher, prior its posterior";
            }
            against "warm/standard" {
                $(
                    concat!($structure, "/start") =>
                        concat!(": start at the mean of a ", $structure, " posterior, prior N(0, I)");
                    concat!($structure, "/start-and-prior") =>
                        concat!(": start at the mean of a ", $structure, " posterior, and that as prior");
                )*
            }
        })
    };
}

/// Rows of a student's line of a table: of gains or of final values, and of starts before training.
macro_rules! line {
    (gains kronecker $id:literal) => {
        names!([$id] ["cold/teacher-mean" "cold/teacher" "warm/standard" "warm/teacher-mean" "warm/teacher"
            "kronecker/start" "kronecker/start-and-prior"])
    };
    (gains all $id:literal) => {
        names!([$id] ["cold/teacher-mean" "cold/teacher" "warm/standard" "warm/teacher-mean" "warm/teacher"
            "kronecker/start" "kronecker/start-and-prior" "low-rank/start" "low-rank/start-and-prior"
            "full/start" "full/start-and-prior"])
    };
    (starts kronecker $id:literal) => {
        names!([$id] ["cold/standard" "warm/standard" "kronecker/start"])
    };
    (starts all $id:literal) => {
        names!([$id] ["cold/standard" "warm/standard" "kronecker/start" "low-rank/start" "full/start"])
    };
}

/// Three tables with a line a student, then curves of a student.
macro_rules! figures {
    (
        $structures:ident $n:literal; $($name:literal $id:literal;)*
        before: $before:literal $start:ident; after: $after:literal $end:ident;
        curves: $($title:literal $metric:ident $student:literal;)*
    ) => {
        &[
            Figure::cross(
                "Gain of area over the random start under N(0, I)",
                metric::AREA_GAIN,
                super::GAIN_COLUMNS.split_at(5 + 2 * $n).0,
                &[$(($name, line!(gains $structures $id))),*],
            ),
            Figure::cross(
                $before,
                metric::$start,
                super::START_COLUMNS.split_at(2 + $n).0,
                &[$(($name, line!(starts $structures $id))),*],
            ),
            Figure::cross(
                $after,
                metric::$end,
                super::GAIN_COLUMNS.split_at(5 + 2 * $n).0,
                &[$(($name, line!(gains $structures $id))),*],
            ),
            $(Figure::curves(
                $title,
                metric::$metric,
                names!([$student] ["cold/standard" "cold/teacher" "warm/standard" "warm/teacher" "kronecker/start"]),
            ),)*
        ]
    };
}

mod fashion;
mod prior;
mod synthetic;

use std::collections::BTreeMap;

use anyhow::Result;
use bayes_posterior::{
    Curvature, Damping, Diagonal, Edit, EditOptions, Estimator, Gaussian, Inference, Laplace,
    Posterior, Prior, VariationalPrior, align, transform, with_posterior,
};
use core_tensors::{Dataset, Fit, Params, Rng};
use losses::Likelihood;
use models::{Architecture, Mlp};

use crate::experiments::base::perceptron;
use crate::experiments::{Outcome, Task};
use crate::ledger::{Curve, Metric, metric};
use crate::training::{VariationalCourse, VariationalStart, area};

pub(in crate::experiments) use fashion::FASHION;
pub(in crate::experiments) use prior::PRIOR;
pub(in crate::experiments) use synthetic::SYNTHETIC;

/// Step size of Adam.
const LEARNING_RATE: f64 = 1e-3;
/// ρ of every parameter at every start, whatever the prior.
const LOG_STD: f64 = -5.0;
/// Precision of the standard prior N(0, I), and of the prior behind a Laplace posterior.
const PRIOR_PRECISION: f64 = 1.0;

/// Columns of the tables of gains; the first seven, five and two of a Kronecker posterior, where there is no other.
const GAIN_COLUMNS: &[&str] = &[
    "cold, teacher's mean as prior",
    "cold, teacher as prior",
    "warm, N(0, I)",
    "warm, teacher's mean as prior",
    "warm, teacher as prior",
    "Kronecker, start",
    "Kronecker, start and prior",
    "low-rank, start",
    "low-rank, start and prior",
    "full, start",
    "full, start and prior",
];
/// Columns of the tables of starts.
const START_COLUMNS: &[&str] = &["random", "selected (diagonal)", "Kronecker", "low-rank", "full"];

/// What is trained and on what.
struct Protocol<'a> {
    /// Beginning of the rows.
    teacher: &'a [usize],
    teacher_row: &'a str,
    students: &'a [Student],
    likelihood: Likelihood,
    /// Passes and batches of the teacher and of the students.
    fits: [Fit; 2],
    /// Iterations between two points of a curve.
    every: usize,
    /// Examples that a Laplace posterior is computed on.
    most_curvature: usize,
    /// Structures of each student that are run.
    n_structures: usize,
    train: &'a Dataset,
    test: &'a Dataset,
}

/// One architecture that the teacher is cut to.
struct Student {
    /// Beginning of its rows.
    id: &'static str,
    widths: &'static [usize],
    /// Hidden layers of the teacher that go.
    drop_layers: &'static [usize],
    /// Laplace posteriors that are carried to it beside the variational one, by the name in their rows.
    structures: &'static [(&'static str, Curvature)],
}

/// Where q starts.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Cold,
    Warm,
}

/// What the prior is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PriorOf {
    /// N(0, I)
    Standard,
    /// N(m, I) with the teacher's mean m
    TeacherMean,
    /// N(m, Ψ)
    Teacher,
}

/// The 2 × 3, the plain student first.
const FACTORS: [(Start, PriorOf, &str); 6] = [
    (Start::Cold, PriorOf::Standard, "cold/standard"),
    (Start::Cold, PriorOf::TeacherMean, "cold/teacher-mean"),
    (Start::Cold, PriorOf::Teacher, "cold/teacher"),
    (Start::Warm, PriorOf::Standard, "warm/standard"),
    (Start::Warm, PriorOf::TeacherMean, "warm/teacher-mean"),
    (Start::Warm, PriorOf::Teacher, "warm/teacher"),
];

impl Protocol<'_> {
    fn course<'a>(
        &self,
        network: &'a Mlp,
        fit: Fit,
        prior: VariationalPrior<'a>,
    ) -> VariationalCourse<'a> {
        let inference = Inference {
            network,
            likelihood: self.likelihood,
            prior,
            n_examples: self.train.n_examples(),
            kl_weight: 1.0,
            estimator: Estimator::Reparametrization,
        };
        VariationalCourse { inference, fit, learning_rate: LEARNING_RATE, every: self.every }
    }

    /// The teacher and every arm of every student of one seed.
    fn run(&self, task: &Task) -> Result<Outcome> {
        let rng = Rng::new(task.part.seed()).split("bayes-elbo");
        let device = &task.session.device;
        let standard = VariationalPrior::Isotropic { precision: PRIOR_PRECISION };
        let teacher = perceptron(self.teacher);
        let course = self.course(&teacher, self.fits[0], standard);
        let n = self.train.n_examples();
        let n_arms = |s: &Student| FACTORS.len() + 2 * s.structures.len().min(self.n_structures);
        let points = self.course(&teacher, self.fits[1], standard).n_points(n);
        let n_runs: usize = self.students.iter().map(n_arms).sum();
        task.expect_epochs(course.n_points(n) + n_runs * points);

        let mut outcome = Outcome::default();
        let mean = teacher.init(&mut rng.split("teacher"), device)?.to_vec()?;
        let start = VariationalStart { mean: &mean, log_std: LOG_STD };
        let end = course.train(task, start, self.train, self.test, &rng.split("teacher run"))?;
        outcome.add(self.teacher_row, with_area(end.curves, &end.at_start, None, self.every));
        let posterior = Posterior::new(teacher, end.posterior.to_gaussian()?)?;
        for student in self.students {
            self.run_student(task, &rng, student, &posterior, &mut outcome)?;
        }
        Ok(outcome)
    }

    /// Arms of one student: one plan of edits, one random start, one order of batches and one noise for all.
    fn run_student(
        &self,
        task: &Task,
        rng: &Rng,
        student: &Student,
        teacher: &Posterior<Diagonal>,
        outcome: &mut Outcome,
    ) -> Result<()> {
        let network = perceptron(student.widths);
        let mut order = rng.split(student.id);
        let random_units =
            |layer: usize| anyhow::Ok(order.permutation(teacher.network().widths[layer]));
        let plan = align(teacher.network(), &network, student.drop_layers, random_units)?;
        let carried = carry(teacher.clone(), &plan)?;
        let random = network
            .init(&mut rng.split(student.id).split("start"), &task.session.device)?
            .to_vec()?;
        let p = random.len();
        let around =
            Gaussian::new(network.layout(), carried.mean().to_vec(), Diagonal::new(vec![1.0; p])?)?;
        let (around, own) = (Prior::new(&around)?, Prior::new(&carried)?);

        let mut plain: Option<BTreeMap<String, Curve>> = None;
        let mut arm = |name: &str, mean: &[f64], prior: VariationalPrior| -> Result<()> {
            let course = self.course(&network, self.fits[1], prior);
            let start = VariationalStart { mean, log_std: LOG_STD };
            let end =
                course.train(task, start, self.train, self.test, &rng.split("student run"))?;
            let curves = with_area(end.curves, &end.at_start, plain.as_ref(), self.every);
            outcome.add(&format!("{}/{name}", student.id), curves.clone());
            plain.get_or_insert(curves);
            Ok(())
        };
        let standard = VariationalPrior::Isotropic { precision: PRIOR_PRECISION };
        for (start, prior, name) in FACTORS {
            let mean = match start {
                Start::Cold => &random[..],
                Start::Warm => carried.mean(),
            };
            let prior = match prior {
                PriorOf::Standard => standard,
                PriorOf::TeacherMean => VariationalPrior::Gaussian(&around),
                PriorOf::Teacher => VariationalPrior::Gaussian(&own),
            };
            arm(name, mean, prior)?;
        }
        for &(name, curvature) in student.structures.iter().take(self.n_structures) {
            let mut part = rng.split("curvature").permutation(self.train.n_examples());
            part.truncate(self.most_curvature);
            let data = self.train.rows(&part)?;
            let mean = teacher.gaussian().mean();
            let weights =
                Params::from_vec(teacher.gaussian().layout(), mean, &task.session.device)?;
            let laplace = Laplace {
                network: teacher.network(),
                weights: &weights,
                data: &data,
                likelihood: self.likelihood,
                prior_precision: PRIOR_PRECISION,
            };
            let big = laplace.fit(curvature)?;
            let (small, _) =
                big.posterior.transform(&plan, &EditOptions::strict(), Damping::numerical())?;
            with_posterior!(&small, posterior => {
                let carried = posterior.gaussian();
                let prior = Prior::new(carried)?;
                arm(&format!("{name}/start"), carried.mean(), standard)?;
                arm(&format!("{name}/start-and-prior"), carried.mean(), VariationalPrior::Gaussian(&prior))?;
            });
        }
        Ok(())
    }
}

/// A teacher's posterior in the shape of the student.
fn carry(teacher: Posterior<Diagonal>, plan: &[Edit]) -> Result<Gaussian<Diagonal>> {
    Ok(transform(teacher, plan, &EditOptions::strict())?.posterior.into_gaussian())
}

/// Curves of one run with `area`, the integral of the likelihood over the iterations, `area_gain` over the plain
/// student's of the same seed, and the metrics before the first step as `start_…`.
fn with_area(
    mut curves: BTreeMap<String, Curve>,
    at_start: &[(Metric, f64)],
    plain: Option<&BTreeMap<String, Curve>>,
    every: usize,
) -> BTreeMap<String, Curve> {
    let own = area(curves.get(metric::LOG_LIKELIHOOD.name).map_or(&[], |c| &c[..]), every);
    curves.insert(metric::AREA.key(), vec![own]);
    if let Some(plain) = plain.and_then(|plain| plain.get(metric::AREA.name)).and_then(|c| c.last())
    {
        curves.insert(metric::AREA_GAIN.key(), vec![own - plain]);
    }
    curves.extend(at_start.iter().map(|(metric, value)| (format!("start_{metric}"), vec![*value])));
    curves
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::Experiment;

    #[test]
    fn every_row_of_the_tables_is_run_and_no_other() {
        let check = |experiment: &Experiment, teacher: &str, students: &[Student]| {
            let mut run = vec![teacher.to_owned()];
            for student in students {
                let factors = FACTORS.iter().map(|(.., name)| (*name).to_owned());
                let arms = ["start", "start-and-prior"];
                let structured = student.structures.iter();
                let structured =
                    structured.flat_map(|(name, _)| arms.map(|arm| format!("{name}/{arm}")));
                run.extend(factors.chain(structured).map(|name| format!("{}/{name}", student.id)));
            }
            let mut listed: Vec<&str> = experiment.rows.iter().map(|row| row.id).collect();
            run.sort_unstable();
            listed.sort_unstable();
            assert_eq!(run, listed);
        };
        check(&SYNTHETIC, synthetic::TEACHER_ROW, &synthetic::STUDENTS);
        check(&FASHION, fashion::TEACHER_ROW, &fashion::STUDENTS);
    }

    #[test]
    fn gains_are_over_the_plain_students_area() {
        let curve =
            |values: &[f64]| BTreeMap::from([(metric::LOG_LIKELIHOOD.key(), values.to_vec())]);
        let plain = with_area(curve(&[-2.0, -1.0]), &[(metric::LOG_LIKELIHOOD, -9.0)], None, 100);
        assert_eq!(plain[metric::AREA.name], [-150.0]);
        assert_eq!(plain[metric::START_LOG_LIKELIHOOD.name], [-9.0]);
        assert!(!plain.contains_key(metric::AREA_GAIN.name));
        let other = with_area(curve(&[-1.0, -1.0]), &[], Some(&plain), 100);
        assert_eq!(other[metric::AREA_GAIN.name], [50.0]);
    }
}
