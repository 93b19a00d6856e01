//! The final measures: each student beside the network, and beside the student that is written.

use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::{Params, Rng};
use models::graph::Graph;

use super::case::Case;
use super::split::Split;
use super::train::Made;
use crate::ledger::metric;
use crate::ledger::quality::{Interval, PairedMeasure, PairedQuality, Thumbnail};
use crate::ledger::shrink::Student;
use crate::training::logits;
use crate::training::quality::{Calibration, Outputs, TestPart, paired_quality, thumbnail};

/// Examples on which network and student differ most that a report lists.
const N_DISAGREEMENTS: usize = 12;

/// What a network puts out for the test examples, and what the validation examples say of its confidence.
struct Answered {
    values: Tensor,
    calibration: Option<Calibration>,
}

impl Answered {
    fn of(split: &Split, graph: &Graph, params: &Params) -> Result<Self> {
        let fitted =
            |targets| Calibration::fitted(&logits(graph, params, &split.validation.x)?, targets);
        let calibration = split.validation.targets.as_ref().map(fitted).transpose()?;
        Ok(Self { values: logits(graph, params, &split.test.x)?, calibration })
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
    let network = Answered::of(split, graph, params)?;
    let answered = made.iter().map(|made| Answered::of(split, &made.graph, &made.params));
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

/// The measure that a reader looks at first: accuracy, R², or agreement without labels.
pub(super) fn main_measure(quality: &PairedQuality) -> Option<PairedMeasure> {
    let found = [metric::ACCURACY, metric::R_SQUARED, metric::AGREEMENT].into_iter();
    found.filter_map(|metric| quality.measure(metric).copied()).next()
}
