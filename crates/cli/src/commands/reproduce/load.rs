//! What a reproduction needs before its first run: a device, data sets, weights.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use candle_core::Device;

use super::{Arguments, DeviceKind};
use crate::data::published::bert::{BERT_BASE, Bert, MINILM, OnTweets};
use crate::data::published::networks::{NETWORKS, Networks};
use crate::data::published::tweets::{self, Texts};
use crate::data::published::weights::{VGG19, Weights};
use crate::data::published::{IMAGENETTE, Images, Places, from_environment};
use crate::experiments::Experiment;
use crate::experiments::Session;
use crate::files::warn;
use crate::ledger::Scale;

pub(super) fn open(kind: DeviceKind) -> Result<Device> {
    match kind {
        DeviceKind::Cpu => Ok(Device::Cpu),
        DeviceKind::Cuda if cfg!(feature = "cuda") => {
            Device::new_cuda(0).context("--device: wanted a CUDA device, found none")
        }
        DeviceKind::Cuda => {
            bail!("--device: wanted a build with the feature `cuda`, found one without it")
        }
    }
}

/// Loads the data sets and weights that the experiments name, each once.
pub(super) fn load(
    arguments: &Arguments,
    experiments: &[&Experiment],
    device: Device,
) -> Result<Session> {
    let said = arguments.data.clone().map(|folder| ("--data".to_owned(), folder));
    let explicit = said.or_else(from_environment);
    let places = Places { explicit, cache: arguments.cache.clone() };
    let mut notice = |line: String| warn(&line);
    let ids: BTreeSet<&str> = experiments.iter().flat_map(|e| e.data).copied().collect();
    let (mut data, mut texts, mut weights) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut networks = None;
    let is_optional = |id: &str| [BERT_BASE.name, MINILM.name].contains(&id);
    for &id in ids.iter().filter(|id| !is_optional(id)) {
        let side = arguments.scale.side();
        if id == VGG19 {
            let loaded = Weights::load(&places, &device, &mut notice)?;
            weights.insert(id.to_owned(), loaded);
        } else if id == NETWORKS {
            networks = Some(Networks::load(&places, &mut notice)?);
        } else if id == tweets::ID {
            texts.insert(id.to_owned(), Texts::load(&places, &mut notice)?);
        } else if id == IMAGENETTE {
            let images = Images::imagenette(&places, side, &device, &mut notice)?;
            data.insert(id.to_owned(), images);
        } else {
            data.insert(id.to_owned(), Images::load(id, &places, &device, &mut notice)?);
        }
    }
    // Last, so that nobody is told of it whose data are missing.
    let bert = if ids.contains(BERT_BASE.name) { bert(arguments, &places)? } else { None };
    let wanted = texts.get(tweets::ID).filter(|_| ids.contains(MINILM.name));
    let found = wanted.map(|texts| OnTweets::find(&MINILM, &places, texts)).transpose()?;
    let on_tweets = found.and_then(present);
    let session = Session::new(arguments.scale, device, data);
    let session = session.with_texts(texts).with_weights(weights).with_networks(networks);
    Ok(session.with_bert_on_tweets(on_tweets).with_bert(bert, places.cache))
}

/// The BERT of the tweets, where it is at hand; at smoke scale nobody waits for 440 MB.
fn bert(arguments: &Arguments, places: &Places) -> Result<Option<Bert>> {
    let find = if arguments.scale == Scale::Smoke { Bert::on_disk } else { Bert::find };
    Ok(present(find(&BERT_BASE, places)?))
}

/// What was found, or a warning of what is missing.
fn present<T>(found: Result<T, String>) -> Option<T> {
    found.map_err(|reason| warn(&format!("{reason}; its rows are not run"))).ok()
}
