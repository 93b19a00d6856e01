//! What a checkpoint belongs to: sums of everything that the bits of a training depend on.

use std::collections::BTreeMap;
use std::fmt::Debug;

use anyhow::Result;
use candle_core::{DType, Tensor};
use core_tensors::{Params, Rng, Targets};
use models::graph::Graph;
use sha2::{Digest, Sha256};

use super::taught::Taught;

/// Sums by what they are of, in words of a message.
pub(super) type Fingerprint = BTreeMap<String, String>;

/// The sums of a training.
pub(super) fn fingerprint(
    (graph, start): (&Graph, &Params),
    (calibration, validation): (&Taught, &Taught),
    course: &impl Debug,
    rng: &Rng,
) -> Result<Fingerprint> {
    let mut network = Sha256::new();
    for node in graph.nodes() {
        network.update(format!("{:?} {:?} {:?}\n", node.op, node.operands, node.results));
    }
    let mut parameters = Sha256::new();
    parameters.update(start.to_bytes()?);
    let mut options = Sha256::new();
    options.update(format!("{course:?}"));
    let mut seed = Sha256::new();
    seed.update(rng.split("fingerprint").uniform().to_le_bytes());
    let mut version = Sha256::new();
    version.update(env!("CARGO_PKG_VERSION"));
    let all = [
        ("the small network", network),
        ("its parameters before training", parameters),
        ("the calibration examples", of_examples(calibration)?),
        ("the validation examples", of_examples(validation)?),
        ("the options of training", options),
        ("the seed", seed),
        ("the version of this program", version),
    ];
    Ok(all.into_iter().map(|(what, sum)| (what.to_owned(), hexadecimal(sum))).collect())
}

fn of_examples(examples: &Taught) -> Result<Sha256> {
    let mut sum = Sha256::new();
    let targets = match &examples.targets {
        None => None,
        Some(Targets::Classes { labels, n_classes }) => {
            sum.update(n_classes.to_le_bytes());
            Some(labels)
        }
        Some(Targets::Values(values)) => Some(values),
    };
    for tensor in [Some(&examples.x), Some(&examples.teacher), targets].into_iter().flatten() {
        sum.update(format!("{:?} {:?}", tensor.dims(), tensor.dtype()));
        add_numbers(&mut sum, &tensor.flatten_all()?)?;
    }
    Ok(sum)
}

/// Numbers as they are, some at a time.
fn add_numbers(sum: &mut Sha256, flat: &Tensor) -> Result<()> {
    const MOST: usize = 1 << 20;
    let n = flat.elem_count();
    for from in (0..n).step_by(MOST) {
        let part = flat.narrow(0, from, MOST.min(n - from))?;
        match part.dtype() {
            DType::U8 => sum.update(part.to_vec1::<u8>()?),
            DType::F32 => {
                part.to_vec1::<f32>()?.iter().for_each(|number| sum.update(number.to_le_bytes()));
            }
            _ => {
                let numbers = part.to_dtype(DType::F64)?.to_vec1::<f64>()?;
                numbers.iter().for_each(|number| sum.update(number.to_le_bytes()));
            }
        }
    }
    Ok(())
}

fn hexadecimal(sum: Sha256) -> String {
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
