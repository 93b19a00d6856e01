//! What a map φ is judged by: examples of the teacher's own domain, the teacher, and the way back.

use std::path::Path;

use anyhow::{Result, bail};
use candle_core::{DType, Tensor};
use core_tensors::{Params, Rng};
use domain_adapt::{proxy_distance, round_trip_error, unbiased_mmd};
use losses::Predictions;
use models::graph::Graph;

use super::examples::{Reading, Source};
use super::{After, Arguments, Built, rows, words};
use crate::commands::options::NetworkOptions;
use crate::data::user::labels;
use crate::files::note;
use crate::model_file::Network;
use crate::training::logits;

/// Examples of each domain that measures look at, at most and at least.
const N_MEASURED: usize = 1000;
const FEWEST: usize = 4;

/// What φ(x) will be compared with, opened and found to fit.
pub(super) struct Judges {
    reference: Option<Source>,
    teacher: Option<(Graph, Params)>,
}

/// A number that says what φ does.
pub(super) struct Measured {
    /// Its name for programs.
    pub(super) name: &'static str,
    pub(super) value: f64,
    /// It in words.
    pub(super) line: String,
}

impl Judges {
    /// Opens what the command line names; what does not fit φ(x) or the examples is an error.
    pub(super) fn open(
        arguments: &Arguments,
        source: &Source,
        reading: &Reading,
        after: &After,
    ) -> Result<Self> {
        let reference = arguments.reference.as_ref();
        let reference = reference.map(|word| reference_of(word, source, reading, after));
        let teacher = arguments.teacher.as_ref();
        let teacher = teacher.map(|path| teacher_of(path, &arguments.network, source, after));
        Ok(Self { reference: reference.transpose()?, teacher: teacher.transpose()? })
    }

    /// What the measures say.
    pub(super) fn judge(
        &self,
        source: &Source,
        built: &Built,
        mapped: &Tensor,
        rng: &Rng,
    ) -> Result<Vec<Measured>> {
        let mut found = Vec::new();
        if let Some(reference) = &self.reference {
            let (ours, theirs) = (measured(mapped, rng)?, measured(&reference.x, rng)?);
            let distance = proxy_distance(&ours, &theirs, &mut rng.split("proxy distance"))?;
            let mut draws = rng.split("kernel scale");
            let mmd = unbiased_mmd(&ours, &theirs, &mut draws)?;
            let word = &reference.name;
            let line =
                format!("proxy A-distance to {word}: {distance:.3} (0 alike, 2 always told apart)");
            found.push(Measured { name: "proxy_distance", value: distance, line });
            let line = format!("MMD^2 to {word}: {mmd:.4}");
            found.push(Measured { name: "mmd_squared", value: mmd, line });
        }
        if let Some(translator) = &built.translator {
            let x = measured(&source.x, rng)?;
            let back = translator.round_trip(&x, &mut rng.split("round trip"))?;
            let value = round_trip_error(&x, &back)?;
            let line = format!("round-trip error: {value:.4} a pixel, squared");
            found.push(Measured { name: "round_trip_error", value, line });
        }
        if let (Some((network, w)), Some(labels)) = (&self.teacher, &source.labels) {
            let teacher_predictions = Predictions::new(&logits(network, w, mapped)?)?;
            let value = teacher_predictions.accuracy(labels)?;
            let line = format!("teacher's accuracy through φ: {value:.4}");
            found.push(Measured { name: "teacher_accuracy", value, line });
        }
        Ok(found)
    }
}

/// Random examples, as data often goes by class; of samples of one size, those in the same places.
///
/// Where a domain is compared with itself, an example and its own φ(x) so share a half of the proxy's classifier.
fn measured(x: &Tensor, rng: &Rng) -> Result<Tensor> {
    let mut chosen = rng.split("measured").permutation(x.dim(0)?);
    chosen.truncate(N_MEASURED);
    rows(x, &chosen)
}

fn reference_of(word: &str, source: &Source, reading: &Reading, after: &After) -> Result<Source> {
    let reading = Reading { limit: usize::MAX, ..*reading };
    let reference = Source::open("--reference", word, &reading)?;
    let (n, found) = (after.n, reference.x.dim(1)?);
    if n != found {
        bail!("--reference {word}: wanted objects of {n} numbers, as φ gives, found {found}");
    }
    for sample in [source, &reference] {
        let (found, name) = (sample.x.dim(0)?, &sample.name);
        if found < FEWEST {
            bail!("--reference {word}: wanted at least {FEWEST} objects in {name}, found {found}");
        }
    }
    Ok(reference)
}

fn teacher_of(
    path: &Path,
    options: &NetworkOptions,
    source: &Source,
    after: &After,
) -> Result<(Graph, Params)> {
    let (n, name) = (after.n, path.display());
    let teacher = Network::open(path, &options.expected(Some(n)))?;
    let (wanted, n_outputs) = (teacher.n_inputs(), teacher.n_outputs());
    if wanted != n {
        let found = after.shape.map_or("no image".to_owned(), words);
        bail!("--teacher {name}: takes {wanted} numbers, φ gives {n} ({found})");
    }
    let (labels, data) = (source.classes()?, &source.name);
    if let Some(&most) = labels.iter().max().filter(|&&most| most as usize >= n_outputs) {
        let hint = labels::hint(labels, n_outputs);
        bail!(
            "--teacher {name}: expected an output for each class of {data}, found {n_outputs} outputs and class \
             {most}{hint}"
        );
    }
    if let Some(line) = labels::notices(labels, n_outputs) {
        note(&format!("{data}: {line}"));
    }
    Ok((teacher.graph, in_f32(&teacher.params)?))
}

fn in_f32(w: &Params) -> Result<Params> {
    let blocks = w.blocks().iter().map(|block| block.to_dtype(DType::F32));
    Ok(Params::new(w.layout().clone(), blocks.collect::<candle_core::Result<_>>()?)?)
}
