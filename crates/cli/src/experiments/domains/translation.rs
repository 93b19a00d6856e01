//! The translator between clothes and digits: pairs, training, and what it generates.

use anyhow::{Context, Result, bail};
use candle_core::Tensor;
use core_tensors::legacy::{NumpyRandom, TorchRandom};
use core_tensors::{Adam, AdamConfig, Dataset, Fit, Params, Rng, Targets};
use domain_adapt::{DomainMap, Translator, translation_loss};
use models::TranslatorNetwork;

use crate::experiment::{Outcome, Task};
use crate::schemes::labels;

/// The source's network.
pub(super) const NETWORK: TranslatorNetwork =
    TranslatorNetwork { n_pixels: 784, n_hidden: 200, n_latent: 64 };
/// The same with a latent space that can be drawn.
pub(super) const FLAT_NETWORK: TranslatorNetwork = TranslatorNetwork { n_latent: 2, ..NETWORK };
/// Objects a batch, and step size.
const BATCH: usize = 64;
const LEARNING_RATE: f64 = 1e-3;
/// Seed of the source's pairs.
const PAIR_SEED: u32 = 1234;
/// Seed of its splits of 70 000 generated pictures: 60 000 and 10 000, of which 59 000 train a teacher.
const SPLIT_SEED: u32 = 42;
/// Of the objects that pictures are generated from, one in so many is kept for the test.
const TEST_SHARE: usize = 7;

/// Picks one of n objects.
type Choice<'a> = &'a mut dyn FnMut(usize) -> usize;

/// Every object of `poor`, in order, `n_partners` times over, with a random object of the same class of `rich` as its
/// target values; `choose` draws from a class in the order of `rich`.
pub(super) fn pairs(
    poor: &Dataset,
    rich: &Dataset,
    n_partners: usize,
    choose: Choice,
) -> Result<Dataset> {
    let (wanted, found) = (n_classes(rich)?, n_classes(poor)?);
    if wanted != found {
        bail!("domains to pair: wanted as many classes, found {found} and {wanted}");
    }
    let mut by_class = vec![Vec::new(); wanted];
    for (i, class) in labels(rich)?.into_iter().enumerate() {
        by_class[class as usize].push(i);
    }
    let classes = labels(poor)?;
    let mut partners = Vec::with_capacity(classes.len() * n_partners);
    for _ in 0..n_partners {
        for &class in &classes {
            let candidates = &by_class[class as usize];
            if candidates.is_empty() {
                bail!("domains to pair: wanted partners of class {class}, found none");
            }
            partners.push(candidates[choose(candidates.len())]);
        }
    }
    let repeated: Vec<usize> = (0..partners.len()).map(|i| i % classes.len()).collect();
    let (x, y) = (poor.rows(&repeated)?.x().clone(), rich.rows(&partners)?.x().clone());
    Ok(Dataset::new(x, Targets::Values(y))?)
}

/// The draws of the authors' pairs.
pub(super) fn source_choice() -> impl FnMut(usize) -> usize {
    let mut random = NumpyRandom::new(PAIR_SEED);
    move |n| random.below(n as u32) as usize
}

fn n_classes(data: &Dataset) -> Result<usize> {
    match data.y() {
        Targets::Classes { n_classes, .. } => Ok(*n_classes),
        Targets::Values(_) => bail!("domains to pair: wanted classes, found values"),
    }
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
    let w = network.init(&mut rng.split("start"), &task.session.device)?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(LEARNING_RATE), &w)?;
    let mut draws = rng.split("draws");
    let mut losses = Vec::with_capacity(epochs);
    let loss = |batch: &Dataset| {
        let Targets::Values(partner) = batch.y() else {
            return Err(candle_core::Error::msg("pairs wanted pictures as targets, found classes"));
        };
        translation_loss(&network, &w, batch.x(), partner, &mut draws)
            .map_err(candle_core::Error::wrap)
    };
    let after = |epoch: core_tensors::Epoch| {
        losses.push(epoch.objective);
        task.epoch_done()?;
        Ok::<_, anyhow::Error>(std::ops::ControlFlow::Continue(()))
    };
    let fit = Fit { epochs, batch_size: BATCH };
    fit.minimize(&mut adam, pairs, &mut rng.split("batches"), loss, after)?;
    Ok((Translator { network, parameters: w.frozen() }, losses))
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

/// GeneratedMNIST of the source: one digit is generated from each object and repeated `n` times; of the repetitions
/// a random part trains and another tests, so that the same picture is in both.
///
/// The text says that `n` pictures are generated. Splits are those of the authors' code where there are 70 000.
pub(super) fn generated_as_in_source(
    poor: &Dataset,
    map: &dyn DomainMap,
    n: usize,
    rng: &mut Rng,
) -> Result<(Dataset, Dataset)> {
    let unique = Dataset::new(map.apply(poor.x(), rng)?, poor.y().clone())?;
    let total = unique.n_objects() * n;
    let (train, big) = (total * 6 / 7, total * 59 / 70);
    let first = TorchRandom::new(SPLIT_SEED).permutation(total as u32);
    let second = TorchRandom::new(SPLIT_SEED).permutation(train as u32);
    let object = |&i: &u32| i as usize / n;
    let kept: Vec<usize> = second[..big].iter().map(|&i| object(&first[i as usize])).collect();
    let test: Vec<usize> = first[train..].iter().map(object).collect();
    Ok((unique.rows(&kept)?, unique.rows(&test)?))
}

/// GeneratedMNIST without its leak: the objects are split first, and each gives `n` different pictures.
pub(super) fn generated(
    poor: &Dataset,
    map: &dyn DomainMap,
    n: usize,
    rng: &Rng,
) -> Result<(Dataset, Dataset)> {
    let order = rng.split("split").permutation(poor.n_objects());
    let (test, train) = order.split_at(poor.n_objects() / TEST_SHARE);
    let mut draws = rng.split("draws");
    let mut pictures = |objects: &[usize]| -> Result<Dataset> {
        let repeated: Vec<usize> =
            objects.iter().copied().cycle().take(n * objects.len()).collect();
        let objects = poor.rows(&repeated)?;
        Ok(Dataset::new(map.apply(objects.x(), &mut draws)?, objects.y().clone())?)
    };
    Ok((pictures(train)?, pictures(test)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use domain_adapt::{GaussianNoise, Identity};

    fn objects(n: usize, n_classes: usize) -> Dataset {
        let x = (0..n).map(|i| i as f32).collect();
        let y = (0..n).map(|i| (i % n_classes) as u32).collect();
        Dataset::classification(x, y, n_classes, &Device::Cpu).unwrap()
    }

    fn column(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn partners_share_the_class_and_objects_keep_their_order() {
        let mut choose = source_choice();
        let pairs = pairs(&objects(7, 3), &objects(30, 3), 2, &mut choose).unwrap();
        assert_eq!(column(pairs.x())[..8], [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 0.0]);
        let Targets::Values(partner) = pairs.y() else { unreachable!("values were asked for") };
        let (x, y) = (column(pairs.x()), column(partner));
        assert!(x.iter().zip(&y).all(|(x, y)| x % 3.0 == y % 3.0));
        assert_ne!(y[..7], y[7..]);
    }

    #[test]
    fn domains_that_cannot_be_paired_are_refused() {
        let error = |poor: &Dataset, rich: &Dataset| {
            pairs(poor, rich, 1, &mut |_| 0).unwrap_err().to_string()
        };
        assert_eq!(
            error(&objects(4, 2), &objects(9, 3)),
            "domains to pair: wanted as many classes, found 2 and 3"
        );
        let few = Dataset::classification(vec![0.0], vec![0], 3, &Device::Cpu).unwrap();
        assert_eq!(
            error(&objects(9, 3), &few),
            "domains to pair: wanted partners of class 1, found none"
        );
    }

    #[test]
    fn the_sources_generated_set_leaks_and_ours_does_not() {
        let poor = objects(140, 10);
        let in_both = |(train, test): (Dataset, Dataset)| {
            let train = column(train.x());
            column(test.x()).iter().filter(|x| train.contains(x)).count()
        };
        let source = generated_as_in_source(&poor, &Identity, 70, &mut Rng::new(0)).unwrap();
        assert_eq!((source.0.n_objects(), source.1.n_objects()), (8260, 1400));
        assert!(in_both(source) > 1000);
        let ours = generated(&poor, &Identity, 70, &Rng::new(0)).unwrap();
        assert_eq!((ours.0.n_objects(), ours.1.n_objects()), (8400, 1400));
        assert_eq!(in_both(ours), 0);
        // One draw repeated against a draw each.
        let noise = GaussianNoise { deviation: 0.1 };
        let distinct = |data: &Dataset| {
            let mut x: Vec<u32> = column(data.x()).iter().map(|x| x.to_bits()).collect();
            x.sort_unstable();
            x.dedup();
            x.len()
        };
        let grey = Dataset::classification(vec![0.5; 7], vec![0; 7], 1, &Device::Cpu).unwrap();
        let (repeated, _) = generated_as_in_source(&grey, &noise, 70, &mut Rng::new(0)).unwrap();
        assert_eq!(distinct(&repeated), 7);
        let (drawn, _) = generated(&grey, &noise, 70, &Rng::new(0)).unwrap();
        assert!(distinct(&drawn) > 400);
    }
}
