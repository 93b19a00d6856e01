//! What `distill shrink` starts from: a network, examples in its shape, and what it predicts.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use bayes_posterior::Task;
use core_tensors::Targets;

use super::arguments::Arguments;
use crate::commands::posterior::TaskName;
use crate::commands::quality::image_options;
use crate::data::user::{Examples, NamesFrom, Options, Prepared, Request};
use crate::files::note;
use crate::ledger::quality::Predicted;
use crate::model_file::Network;

/// A network and the examples that it is narrowed by and judged on.
pub(super) struct Case {
    /// The network as its file has it.
    pub(super) network: Network,
    /// The examples of `--data`.
    pub(super) data: Prepared,
    /// Those of `--validation`.
    pub(super) validation: Option<Prepared>,
    /// Those of `--test`.
    pub(super) test: Option<Prepared>,
    /// What the network predicts.
    pub(super) predicts: Predicts,
}

/// What a network predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predicts {
    /// Logits of so many classes.
    Classes(usize),
    /// One logit: that of the second of two classes.
    TwoClasses,
    /// So many values.
    Values(usize),
}

impl Case {
    /// Opens what the command line names; says what was assumed.
    pub(super) fn open(arguments: &Arguments) -> Result<Self> {
        let network = Network::open(&arguments.model, &arguments.network.expected(None))?;
        if let Some(n) = network.graph.fixed_batch() {
            bail!(
                "{}: its batch of {n} is built into the network, which surgery cannot do with; export it with an open batch \
                 (torch.onnx.export takes dynamic_shapes, or dynamic_axes where dynamo=False)",
                arguments.model.display()
            );
        }
        if network.graph.inputs().len() > 1 {
            let error = network.input_shape().err().unwrap_or_else(|| anyhow!("several inputs"));
            return Err(error.context(format!(
                "{}: this command narrows networks with one input; the library narrows those with several, such as token ids \
                 and a mask: bayes_posterior::surgery::network::operate (docs/surgery.md)",
                arguments.model.display()
            )));
        }
        let shape = network.input_shape().with_context(|| arguments.model.display().to_string())?;
        let n_outputs = network.n_outputs();
        let said = arguments.task.task.map(|name| match name {
            TaskName::Classification => Task::Classification,
            TaskName::Regression => Task::Regression,
        });
        let is_only = arguments.validation.is_none() && arguments.test.is_none();
        // What is missing is filled in when it is known which examples are there to fit.
        let options = Options { keeps_missing: true, ..arguments.options.clone() };
        let model: &Path = &arguments.model;
        let images = image_options(&[(model, &network)], &arguments.images, &arguments.data)?;
        let open = |flag: &'static str, word: &str, options: &Options, task| -> Result<Prepared> {
            let options = (options, &images);
            let cache = &arguments.task.cache;
            let request = Request::of_network(word, cache, options, Some(&shape));
            let request = Request { flag, is_only, ..request };
            Examples::open(&request)?.prepared(&shape, n_outputs, task)
        };
        let data = open("--data", &arguments.data, &options, said)?;
        let predicts = predicts(&data, n_outputs, said);
        if data.targets.is_none() && said.is_none() {
            let what = match predicts {
                Predicts::Classes(k) => format!("logits of {k} classes"),
                Predicts::TwoClasses => "the logit of the second of two classes".to_owned(),
                Predicts::Values(k) => format!("{k} predicted values"),
            };
            note(&format!("without labels the outputs are taken as {what}; --task overrules"));
        }
        // The same task for all files: one of them may hold too few classes to tell.
        let task = match predicts {
            Predicts::Classes(_) | Predicts::TwoClasses => Task::Classification,
            Predicts::Values(_) => Task::Regression,
        };
        // Another file may lack a class; the order of all is that of the data.
        let mut of_others = options.clone();
        if data.targets.is_some() && options.classes.is_empty() && !data.class_names.is_empty() {
            of_others.classes.clone_from(&data.class_names);
            of_others.classes_from = NamesFrom::Data;
        }
        let also = |flag, word: &Option<String>| -> Result<Option<Prepared>> {
            let Some(word) = word else { return Ok(None) };
            let other =
                open(flag, word, &of_others, Some(task)).with_context(|| flag.to_owned())?;
            match (data.targets.is_some(), other.targets.is_some()) {
                (true, false) => {
                    bail!("{flag} {word}: expected labels, as --data has, found none")
                }
                // Nothing is chosen by labels that the calibration part does not have.
                (false, true) if flag == "--validation" => {
                    return Ok(Some(Prepared { targets: None, ..other }));
                }
                (true, true) | (false, true | false) => {}
            }
            if data.targets.is_some() && other.class_names != data.class_names {
                bail!(
                    "{flag} {word}: expected classes by number, as in --data, found names: {}; --classes gives the names in the \
                     order of the numbers",
                    other.class_names.join(", ")
                );
            }
            Ok(Some(other))
        };
        let (validation, test) =
            (also("--validation", &arguments.validation)?, also("--test", &arguments.test)?);
        Ok(Self { network, data, validation, test, predicts })
    }
}

fn predicts(data: &Prepared, n_outputs: usize, said: Option<Task>) -> Predicts {
    let is_classes = match (&data.targets, said) {
        (Some(Targets::Classes { .. }), _) | (None, Some(Task::Classification)) => true,
        (Some(Targets::Values(_)), _) | (None, Some(Task::Regression)) => false,
        // Several outputs without a word are taken as logits.
        (None, None) => n_outputs > 1,
    };
    match (is_classes, n_outputs) {
        (true, 1) => Predicts::TwoClasses,
        (true, k) => Predicts::Classes(k),
        (false, k) => Predicts::Values(k),
    }
}

impl Predicts {
    /// Classes or values.
    pub(super) fn predicted(self) -> Predicted {
        match self {
            Self::Classes(_) | Self::TwoClasses => Predicted::Classes,
            Self::Values(_) => Predicted::Values,
        }
    }
}
