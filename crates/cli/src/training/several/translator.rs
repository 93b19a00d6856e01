//! Pairs of examples of two domains, and the translator that is trained on them.

use std::ops::ControlFlow;

use anyhow::{Result, bail};
use core_tensors::{Adam, AdamConfig, Dataset, Epoch, Fit, Rng, Targets};
use domain_adapt::{Translator, translation_loss};
use models::TranslatorNetwork;

use crate::training::labels;

/// Examples a batch, and step size, of paper 003.
const BATCH: usize = 64;
const LEARNING_RATE: f64 = 1e-3;

/// Picks one of n examples.
pub type ChoosePartner<'a> = &'a mut dyn FnMut(usize) -> usize;

/// Every example of `poor`, in order, `n_partners` times over, with a random example of the same class of `rich` as its
/// target values; `choose` draws from a class in the order of `rich`.
pub fn pairs(
    poor: &Dataset,
    rich: &Dataset,
    n_partners: usize,
    choose: ChoosePartner,
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

/// Trains a translator on pairs, whose target values are the partners; `on_epoch` sees the mean loss of every pass.
pub fn train_translator(
    network: TranslatorNetwork,
    pairs: &Dataset,
    epochs: usize,
    rng: &Rng,
    mut on_epoch: impl FnMut(f64) -> Result<()>,
) -> Result<Translator> {
    let w = network.init(&mut rng.split("start"), pairs.x().device())?.trainable()?;
    let mut adam = Adam::new(AdamConfig::pytorch(LEARNING_RATE), &w)?;
    let mut draws = rng.split("draws");
    let loss = |batch: &Dataset| {
        let Targets::Values(partner) = batch.y() else {
            bail!("pairs wanted pictures as targets, found classes");
        };
        Ok(translation_loss(&network, &w, batch.x(), partner, &mut draws)?)
    };
    let after = |epoch: Epoch| {
        on_epoch(epoch.objective)?;
        Ok::<_, anyhow::Error>(ControlFlow::Continue(()))
    };
    let fit = Fit { epochs, batch_size: BATCH };
    fit.minimize(&mut adam, pairs, &mut rng.split("batches"), loss, after)?;
    Ok(Translator { network, parameters: w.frozen() })
}

fn n_classes(data: &Dataset) -> Result<usize> {
    match data.y() {
        Targets::Classes { n_classes, .. } => Ok(*n_classes),
        Targets::Values(_) => bail!("domains to pair: wanted classes, found values"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::fixtures::{column, examples};
    use candle_core::Device;

    #[test]
    fn partners_share_the_class_and_examples_keep_their_order() {
        let mut rng = Rng::new(0);
        let pairs = pairs(&examples(7, 3), &examples(30, 3), 2, &mut |n| rng.below(n)).unwrap();
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
            error(&examples(4, 2), &examples(9, 3)),
            "domains to pair: wanted as many classes, found 2 and 3"
        );
        let few = Dataset::classification(vec![0.0], vec![0], 3, &Device::Cpu).unwrap();
        assert_eq!(
            error(&examples(9, 3), &few),
            "domains to pair: wanted partners of class 1, found none"
        );
    }
}
