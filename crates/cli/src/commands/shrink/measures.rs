//! The final measures: each student beside the network, and beside the student that is written.

use anyhow::{Context, Result};
use bayes_posterior::Predictive;
use candle_core::Tensor;
use core_tensors::{Params, Rng};
use models::graph::Graph;

use super::case::Case;
use super::split::Split;
use super::train::Made;
use crate::ledger::metric;
use crate::ledger::quality::{Interval, PairedQuality, Predicted, Thumbnail};
use crate::ledger::shrink::Student;
use crate::training::logits;
use crate::training::quality::{
    Calibration, Outputs, TestPart, class_logits, paired_quality, thumbnail,
};

/// Examples on which network and student differ most that a report lists.
const N_DISAGREEMENTS: usize = 12;
/// Draws of the parameters of a Bayesian student that its predictions are averaged over.
const N_DRAWS: usize = 100;

/// What a network puts out for the test examples, and what the validation examples say of its confidence.
struct Answered {
    values: Tensor,
    calibration: Option<Calibration>,
}

impl Answered {
    /// `answer` gives logits or values of examples.
    fn of(
        case: &Case,
        split: &Split,
        mut answer: impl FnMut(&Tensor) -> Result<Tensor>,
    ) -> Result<Self> {
        let mut answer = |x: &Tensor| -> Result<Tensor> {
            let values = answer(x)?;
            // A predictive distribution has a probability for each of two classes, where a network may have one logit.
            Ok(match case.predicts.predicted() {
                Predicted::Classes => class_logits(&values)?,
                Predicted::Values => values,
            })
        };
        let validation = answer(&split.validation.x)?;
        let fitted = |targets| Calibration::fitted(&validation, targets);
        let calibration = split.validation.targets.as_ref().map(fitted).transpose()?;
        Ok(Self { values: answer(&split.test.x)?, calibration })
    }

    fn of_student(case: &Case, split: &Split, made: &Made, rng: &Rng) -> Result<Self> {
        let Some(student) = &made.bayesian else {
            return Self::of(case, split, |x| logits(&made.graph, &made.params, x));
        };
        let said = |x: &Tensor| student.predictive(x, N_DRAWS, &mut rng.split("predictive"));
        let means = |said: &Predictive, x: &Tensor| -> Result<Tensor> {
            let shape = (said.n_examples, said.n_outputs);
            Ok(Tensor::from_slice(&said.mean, shape, x.device())?)
        };
        match case.predicts.predicted() {
            // Logarithms of probabilities are logits; a probability of 0 stays finite.
            Predicted::Classes => Self::of(case, split, |x| {
                Ok(means(&said(x)?, x)?.clamp(f64::MIN_POSITIVE, 1.0)?.log()?)
            }),
            // Of values it says itself how sure it is of each.
            Predicted::Values => {
                let x = &split.test.x;
                let said = said(x)?;
                let values = means(&said, x)?;
                let calibration = Calibration::of_predictive(&said.variance, said.n_outputs);
                Ok(Self { values, calibration: Some(calibration) })
            }
        }
    }

    fn outputs(&self) -> Outputs<'_> {
        Outputs { values: &self.values, calibration: self.calibration.as_ref() }
    }
}

/// All students, that at `chosen` marked.
pub(super) fn students(
    case: &Case,
    split: &Split,
    (graph, params): &(Graph, Params),
    (made, chosen): (&[Made], usize),
    rng: &Rng,
) -> Result<Vec<Student>> {
    let test = &split.test;
    let image = |row: usize| -> Result<Thumbnail> {
        let shape = test.image.context("examples that are images")?;
        thumbnail(&test.x, shape, row)
    };
    let part = TestPart {
        predicted: case.predicts.predicted(),
        targets: test.targets.as_ref(),
        class_names: &test.class_names,
        indices: &split.test_rows,
        n_disagreements: N_DISAGREEMENTS,
        image: test.image.is_some().then_some(&image),
    };
    let paired = |first: &Answered, second: &Answered| {
        paired_quality(first.outputs(), second.outputs(), &part, &mut rng.split("bootstrap"))
    };
    let network = Answered::of(case, split, |x| logits(graph, params, x))?;
    let answered = made.iter().map(|made| Answered::of_student(case, split, made, rng));
    let answered: Vec<Answered> = answered.collect::<Result<_>>()?;
    let student = |(i, (made, own)): (usize, (&Made, &Answered))| -> Result<Student> {
        let is_chosen = i == chosen;
        let beside_chosen = match answered.get(chosen) {
            Some(chosen) if !is_chosen => with_labels(&paired(chosen, own)?),
            _ => None,
        };
        Ok(Student {
            how: made.how.clone(),
            is_chosen,
            training: made.training.clone(),
            quality: paired(&network, own)?,
            beside_chosen,
        })
    };
    made.iter().zip(&answered).enumerate().map(student).collect()
}

/// The difference of accuracy or R²; without labels two students are not compared with one another.
fn with_labels(quality: &PairedQuality) -> Option<Interval> {
    let found = [metric::ACCURACY, metric::R_SQUARED].into_iter();
    found.filter_map(|metric| quality.measure(metric)).map(|measure| measure.difference).next()
}
