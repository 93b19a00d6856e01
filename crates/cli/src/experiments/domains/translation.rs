//! The translator between clothes and digits: the source's pairs, what seeds share, and what is generated.

use crate::data::synthetic::legacy::{NumpyRandom, TorchRandom};
use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::{Dataset, Params, Rng};
use domain_adapt::{DomainMap, Translator};
use models::TranslatorNetwork;

use crate::experiments::{Outcome, Task};
use crate::training::{Monitor, train_translator};

/// The source's network.
pub(super) const NETWORK: TranslatorNetwork =
    TranslatorNetwork { n_pixels: 784, n_hidden: 200, n_latent: 64 };
/// The same with a latent space that can be drawn.
pub(super) const FLAT_NETWORK: TranslatorNetwork = TranslatorNetwork { n_latent: 2, ..NETWORK };
/// Seed of the source's pairs.
const PAIR_SEED: u32 = 1234;
/// Seed of its splits of 70 000 generated images: 60 000 and 10 000, of which 59 000 train a teacher.
const SPLIT_SEED: u32 = 42;
/// Of the examples that images are generated from, one in so many is kept for the test.
const TEST_SHARE: usize = 7;

/// The draws of the authors' pairs.
pub(super) fn source_choice() -> impl FnMut(usize) -> usize {
    let mut random = NumpyRandom::new(PAIR_SEED);
    move |n| random.below(n as u32) as usize
}

/// Trains a translator on pairs; also returns the mean loss of every pass.
pub(super) fn train(
    task: &Task,
    network: TranslatorNetwork,
    pairs: &Dataset,
    epochs: usize,
    rng: &Rng,
) -> Result<(Translator, Vec<f64>)> {
    task.expect_epochs(epochs);
    let mut losses = Vec::with_capacity(epochs);
    let on_epoch = |loss| {
        losses.push(loss);
        task.point_done()
    };
    let translator = train_translator(network, pairs, epochs, rng, on_epoch)?;
    Ok((translator, losses))
}

/// Keeps a translator for the parts that follow.
pub(super) fn keep(outcome: &mut Outcome, name: &str, translator: &Translator) {
    for (i, block) in translator.parameters.blocks().iter().enumerate() {
        outcome.tensors.insert(format!("{name}.{i}"), block.clone());
    }
}

/// A translator that [`keep`] kept.
pub(super) fn kept(shared: &Outcome, name: &str, network: TranslatorNetwork) -> Result<Translator> {
    let layout = network.layout();
    let block = |i: usize| {
        let name = format!("{name}.{i}");
        shared.tensors.get(&name).cloned().with_context(|| format!("no tensor {name} was kept"))
    };
    let blocks: Vec<Tensor> = (0..layout.blocks.len()).map(block).collect::<Result<_>>()?;
    Ok(Translator { network, parameters: Params::new(layout, blocks)? })
}

/// GeneratedMNIST of the source: one digit is generated from each example and repeated `n` times; of the repetitions
/// a random part trains and another tests, so that the same image is in both.
///
/// The text says that `n` images are generated. Splits are those of the authors' code where there are 70 000.
pub(super) fn generated_as_in_source(
    poor: &Dataset,
    map: &dyn DomainMap,
    n: usize,
    rng: &mut Rng,
) -> Result<(Dataset, Dataset)> {
    let unique = Dataset::new(map.apply(poor.x(), rng)?, poor.y().clone())?;
    let total = unique.n_examples() * n;
    let (train, big) = (total * 6 / 7, total * 59 / 70);
    let first = TorchRandom::new(SPLIT_SEED).permutation(total as u32);
    let second = TorchRandom::new(SPLIT_SEED).permutation(train as u32);
    let example = |&i: &u32| i as usize / n;
    let kept: Vec<usize> = second[..big].iter().map(|&i| example(&first[i as usize])).collect();
    let test: Vec<usize> = first[train..].iter().map(example).collect();
    Ok((unique.rows(&kept)?, unique.rows(&test)?))
}

/// GeneratedMNIST of distinct images: the examples are split first, and each gives `n` different images, so that no image
/// is in both parts. The translator has seen the labels of all its examples, so the teacher's own test stays an easy one.
pub(super) fn generated(
    poor: &Dataset,
    map: &dyn DomainMap,
    n: usize,
    rng: &Rng,
) -> Result<(Dataset, Dataset)> {
    let order = rng.split("split").permutation(poor.n_examples());
    let (test, train) = order.split_at(poor.n_examples() / TEST_SHARE);
    let mut draws = rng.split("draws");
    let mut images = |examples: &[usize]| -> Result<Dataset> {
        let repeated: Vec<usize> =
            examples.iter().copied().cycle().take(n * examples.len()).collect();
        let examples = poor.rows(&repeated)?;
        Ok(Dataset::new(map.apply(examples.x(), &mut draws)?, examples.y().clone())?)
    };
    Ok((images(train)?, images(test)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::fixtures::{column, examples};
    use candle_core::Device;
    use domain_adapt::{GaussianNoise, Identity};

    #[test]
    fn the_sources_generated_set_leaks_and_ours_does_not() {
        let poor = examples(140, 10);
        let in_both = |(train, test): (Dataset, Dataset)| {
            let train = column(train.x());
            column(test.x()).iter().filter(|x| train.contains(x)).count()
        };
        let source = generated_as_in_source(&poor, &Identity, 70, &mut Rng::new(0)).unwrap();
        assert_eq!((source.0.n_examples(), source.1.n_examples()), (8260, 1400));
        assert!(in_both(source) > 1000);
        let ours = generated(&poor, &Identity, 70, &Rng::new(0)).unwrap();
        assert_eq!((ours.0.n_examples(), ours.1.n_examples()), (8400, 1400));
        assert_eq!(in_both(ours), 0);
        // One draw repeated against a draw each.
        let noise = GaussianNoise { std: 0.1, range: Some([0.0, 1.0]) };
        let distinct = |data: &Dataset| {
            let mut x: Vec<u32> = column(data.x()).iter().map(|x| x.to_bits()).collect();
            x.sort_unstable();
            x.dedup();
            x.len()
        };
        let grayscale = Dataset::classification(vec![0.5; 7], vec![0; 7], 1, &Device::Cpu).unwrap();
        let (repeated, _) =
            generated_as_in_source(&grayscale, &noise, 70, &mut Rng::new(0)).unwrap();
        assert_eq!(distinct(&repeated), 7);
        let (drawn, _) = generated(&grayscale, &noise, 70, &Rng::new(0)).unwrap();
        assert!(distinct(&drawn) > 400);
    }
}
