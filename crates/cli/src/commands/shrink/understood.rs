//! What was understood of a network and its data, and whether the one fits the other.

use anyhow::{Result, bail};
use candle_core::Tensor;
use core_tensors::{Params, Targets};
use models::graph::Graph;

use super::account::budget_words;
use super::arguments::Arguments;
use super::case::{Case, Predicts};
use super::split::{Split, filled_in_words};
use crate::data::user::{Prepared, duplicates_across};
use crate::files::{printable, warn};
use crate::ledger::quality::FitMeasure;
use crate::ledger::{Better, metric};
use crate::training::logits;
use crate::training::quality::{fit_check, fit_reasons, right};

/// Names of classes that are listed.
const MOST_NAMES: usize = 10;
/// Accuracy that looks like that of training data, of so many examples at least.
const PERFECT: f64 = 0.995;
const FEWEST: f64 = 100.0;
/// Share of the errors of the best constant from which a network is said to be poor.
const POOR: f64 = 0.5;
/// Standard errors of a difference that is no chance.
const CLEARLY: f64 = 3.0;

/// The five lines at the start of a run.
pub(super) fn lines(arguments: &Arguments, case: &Case, split: &Split) -> Result<String> {
    let budget = budget_words(&arguments.size.budget()?);
    let mut lines = sentences(arguments, case, split);
    lines.push(format!("Goal: {budget}."));
    Ok(lines.join("\n") + "\n")
}

/// The same for the report, without the goal.
pub(super) fn sentences(arguments: &Arguments, case: &Case, split: &Split) -> Vec<String> {
    let graph = &case.network.graph;
    let inputs = graph.inputs().iter().map(|&id| {
        let value = graph.value(id);
        let shape: Vec<String> = value.shape.iter().map(ToString::to_string).collect();
        format!("`{}` [{}]", printable(&value.name), shape.join(", "))
    });
    let parts = split.parts;
    let own = |is_own, words| if is_own { "of their own file" } else { words };
    let mut sentences = vec![
        format!(
            "Network: {}, {} parameters, {} multiply-adds an example, input {}, {}.",
            arguments.model.display(),
            graph.layout().n_parameters(),
            graph.n_products_in_all(),
            inputs.collect::<Vec<_>>().join(", "),
            match case.network.n_outputs() {
                1 => "1 output".to_owned(),
                n => format!("{n} outputs"),
            }
        ),
        format!("Task: {}.", task(case)),
        format!(
            "Data: {}, {} examples{}.",
            case.data.name,
            case.data.n_examples(),
            if case.data.targets.is_some() { " with labels" } else { " without labels" }
        ),
        format!(
            "Split: {} examples to fit, {} to choose by ({}), {} to measure with ({}).",
            parts.calibration,
            parts.validation,
            own(case.validation.is_some(), "a part of the data"),
            parts.test,
            own(parts.has_own_test, "a part of the data")
        ),
    ];
    if let Some(steps) = &case.data.images {
        sentences.push(format!("Images: {}; the student's files say so, too.", steps.words()));
    }
    if !split.filled_in.is_empty() {
        sentences.push(format!("Missing values: {}.", filled_in_words(&split.filled_in)));
    }
    sentences
}

fn task(case: &Case) -> String {
    let names = &case.data.class_names;
    let listed = match names.len() {
        0 => String::new(),
        n if n > MOST_NAMES => format!(" ({}, …)", names[..MOST_NAMES].join(", ")),
        _ => format!(" ({})", names.join(", ")),
    };
    match case.predicts {
        Predicts::Classes(k) => format!("classification, {k} classes{listed}"),
        Predicts::TwoClasses => {
            format!("classification, one logit for the second of 2 classes{listed}")
        }
        Predicts::Values(1) => "regression of one value".to_owned(),
        Predicts::Values(k) => format!("regression of {k} values"),
    }
}

/// What a reader of the measures must know of the data.
pub(super) fn warnings(
    case: &Case,
    split: &Split,
    network: &(Graph, Params),
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if !split.parts.has_own_test {
        warnings.push(
            "The test examples are a part of the data: if the network was trained on them, what it had before is \
             flattering, and so is the loss. Give examples that it has not seen by --test."
                .to_owned(),
        );
    }
    warnings.extend(looks_like_training_data(split, case.validation.is_some(), network)?);
    if case.data.targets.is_none() {
        warnings.push(match case.test.as_ref().is_some_and(|test| test.targets.is_some()) {
            true => {
                "The data have no labels: nothing was chosen by labels, those of the test examples serve the measures alone."
                    .to_owned()
            }
            false => {
                "There are no labels: the student is compared with the network, and nothing is known of the errors that \
                 both make."
                    .to_owned()
            }
        });
    }
    let parts = [&split.calibration, &split.validation, &split.test];
    let x: Vec<&Tensor> = parts.iter().map(|part| &part.x).collect();
    let all = Prepared { x: Tensor::cat(&x, 0)?, targets: None, ..split.test.clone() };
    let mut next = 0;
    let rows = parts.map(|part| {
        let first = next;
        next += part.n_examples();
        (first..next).collect::<Vec<_>>()
    });
    let n = duplicates_across(&all, &rows)?;
    if n > 0 {
        warnings.push(format!(
            "{n} examples equal one of another part number by number, so that what is measured on them was seen before."
        ));
    }
    Ok(warnings)
}

/// Whether the network is better on these examples, by chance or not.
fn seems_better(measure: &FitMeasure) -> bool {
    let FitMeasure { metric, network, constant } = *measure;
    match metric.better {
        Better::Higher => network > constant,
        Better::Lower => network < constant,
        Better::Neither => false,
    }
}

/// Whether the network makes more than half of the errors of the best constant.
fn is_poor(measure: &FitMeasure) -> bool {
    let FitMeasure { metric, network, constant } = *measure;
    [metric::ACCURACY, metric::R_SQUARED].contains(&metric)
        && 1.0 - network > POOR * (1.0 - constant)
}

/// Whether the network's accuracy is that of data that it was trained on: perfect, or clearly better than on a test file.
fn looks_like_training_data(
    split: &Split,
    has_own_validation: bool,
    (graph, params): &(Graph, Params),
) -> Result<Option<String>> {
    let share = |part: &Prepared| -> Result<Option<(f64, f64)>> {
        let Some(targets @ Targets::Classes { .. }) = &part.targets else { return Ok(None) };
        let right = right(&logits(graph, params, &part.x)?, targets)?;
        let n = right.len() as f64;
        Ok(Some((right.iter().filter(|is_right| **is_right).count() as f64 / n, n)))
    };
    let (Some((data, m)), Some((test, n))) = (share(&split.calibration)?, share(&split.test)?)
    else {
        return Ok(None);
    };
    if !split.parts.has_own_test {
        return Ok((data >= PERFECT && m >= FEWEST).then(|| {
            format!(
                "The network is right on {:.2} % of the data: that looks like data that it was trained on.",
                100.0 * data
            )
        }));
    }
    let pooled = (data * m + test * n) / (m + n);
    let error = (pooled * (1.0 - pooled) * (1.0 / m + 1.0 / n)).sqrt();
    Ok((data - test > CLEARLY * error && error > 0.0).then(|| {
        format!(
            "The network is right on {:.2} % of the data and on {:.2} % of the test examples: the data look like what it \
             was trained on{}.",
            100.0 * data,
            100.0 * test,
            if has_own_validation {
                ""
            } else {
                ", so that choices by a part of them may be too trusting; --validation takes others"
            }
        )
    }))
}

/// Stops where the network is no better on the data, or on a file of the user's own, than a constant.
pub(super) fn check_fit(
    arguments: &Arguments,
    case: &Case,
    split: &Split,
    network: &(Graph, Params),
) -> Result<()> {
    // Nothing is fitted to the calibration part yet, and it is the largest.
    let mut parts = vec![&split.calibration];
    parts.extend(case.validation.is_some().then_some(&split.validation));
    parts.extend(case.test.is_some().then_some(&split.test));
    parts.into_iter().try_for_each(|part| check_part(arguments, part, network))
}

fn check_part(
    arguments: &Arguments,
    part: &Prepared,
    (graph, params): &(Graph, Params),
) -> Result<()> {
    let Some(targets) = &part.targets else { return Ok(()) };
    let outputs = logits(graph, params, &part.x)?;
    let check = fit_check(&outputs, targets)?;
    for measure in &check.measures {
        arguments.tell(&format!(
            "Fit: {} of the network {}, of the best constant {}, on {} examples of {}.\n",
            measure.metric.label,
            measure.metric.text(measure.network),
            measure.metric.text(measure.constant),
            check.n_examples,
            part.name
        ))?;
    }
    let is_poor = check.measures.iter().any(is_poor);
    if check.is_better && !is_poor {
        return Ok(());
    }
    let name = &part.name;
    let mut run = |x: &Tensor| logits(graph, params, x);
    let reasons = fit_reasons(&outputs, targets, &part.class_names, &part.x, &mut run)?.join(" ");
    if check.is_better || check.measures.iter().all(seems_better) {
        let how = if check.is_better { "not much" } else { "not certainly" };
        warn(&format!(
            "{name}: the network is {how} better on these examples than a constant prediction. {reasons}"
        ));
        return Ok(());
    }
    let message = format!(
        "{name}: the network is no better on these examples than a constant prediction. {reasons}"
    );
    if arguments.task.force {
        warn(&message);
        return Ok(());
    }
    bail!("{message} Mend the data, or go on with --force.")
}
