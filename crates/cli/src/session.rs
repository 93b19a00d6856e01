//! What every part of a reproduction shares: scale, device, data, and the wish to stop.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};
use candle_core::Device;
use core_tensors::Dataset;
use core_tensors::legacy::TorchRandom;
use serde::Serialize;

use crate::datasets::Pictures;

/// Seed of the split of paper 003.
const SPLIT_SEED: u32 = 1234;
/// Objects of its larger part.
const N_BIG: usize = 59_000;

/// How much of an experiment is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// Every code path in under a minute; epochs and objects are cut, so no claim can be decided.
    Smoke,
    /// The source's sizes and epochs with about ten seeds (three where one takes long), minutes on two cores.
    Quick,
    /// The source's sizes and epochs with twenty seeds (ten where one takes long).
    Paper,
}

/// The setting of one reproduction.
pub struct Session {
    /// How much is run.
    pub scale: Scale,
    /// Where networks live.
    pub device: Device,
    data: BTreeMap<String, Pictures>,
    split: OnceLock<(Dataset, Dataset)>,
    is_interrupted: AtomicBool,
}

impl Session {
    /// A session over loaded data.
    pub fn new(scale: Scale, device: Device, data: BTreeMap<String, Pictures>) -> Self {
        let (split, is_interrupted) = (OnceLock::new(), AtomicBool::new(false));
        Self { scale, device, data, split, is_interrupted }
    }

    /// The data sets by name.
    pub fn data(&self) -> &BTreeMap<String, Pictures> {
        &self.data
    }

    /// One data set.
    pub fn pictures(&self, id: &str) -> Result<&Pictures> {
        self.data.get(id).with_context(|| format!("data set {id} was not loaded"))
    }

    /// FashionMNIST-Big and -Small of paper 003: 59 000 and 1000 of the 60 000 objects (fewer where the set is smaller).
    ///
    /// Source: `random_split([59000, 1000])` after `torch.manual_seed(1234)` in the author's code.
    pub fn big_and_small(&self) -> Result<&(Dataset, Dataset)> {
        if let Some(split) = self.split.get() {
            return Ok(split);
        }
        let train = &self.pictures("fashion-mnist")?.train;
        let (big, small) = split(train.n_objects());
        let split = (train.rows(&big)?, train.rows(&small)?);
        Ok(self.split.get_or_init(|| split))
    }

    /// Indices of the larger part of that split, of any data set with so many objects.
    pub fn big_indices(n_objects: usize) -> Vec<usize> {
        split(n_objects).0
    }

    /// Asks every part to stop after its current epoch.
    pub fn interrupt(&self) {
        self.is_interrupted.store(true, Ordering::Relaxed);
    }

    /// Whether [`Session::interrupt`] was called.
    pub fn is_interrupted(&self) -> bool {
        self.is_interrupted.load(Ordering::Relaxed)
    }
}

/// The split of paper 003: indices of the larger part, of the smaller one.
fn split(n_objects: usize) -> (Vec<usize>, Vec<usize>) {
    let order = TorchRandom::new(SPLIT_SEED).permutation(n_objects as u32);
    let mut big: Vec<usize> = order.into_iter().map(|i| i as usize).collect();
    let small = big.split_off(N_BIG.min(big.len()));
    (big, small)
}
