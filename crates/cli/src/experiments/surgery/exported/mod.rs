//! Networks as PyTorch exports them: inner units of every block to a share, and widths by what units cost.

mod claims;

use anyhow::Result;
use bayes_posterior::surgery::network::{Budget, Curve, allocate};
use core_tensors::Rng;

use crate::experiments::surgery::methods::Method;
use crate::experiments::surgery::study::{SMALL_RATE, Study};
use crate::experiments::surgery::{Rows, after, opened};
use crate::experiments::{Outcome, Task};
use crate::ledger::Part;
use crate::training::at_most;

pub(in crate::experiments) use claims::EXPORTED;

/// The networks were trained on the images before this one.
const FIRST_IMAGE: usize = 20_000;
/// Names of shares of units in rows.
const SHARES: [(&str, f64); 3] = [("half", 0.5), ("quarter", 0.25), ("eighth", 0.125)];
/// The ways of the exported networks.
const METHODS: [Method; 5] =
    [Method::Surgery, Method::Plain, Method::Wanda, Method::Magnitude, Method::Random];
/// The way in which widths are chosen by the curves of all groups.
const BY_CURVES: &str = "by-curves";

settings! {
    /// Folders of the networks.
    networks: &'static [&'static str] = &["fmnist-resnet"],
        &["fmnist-mlp", "fmnist-cnn-bn", "fmnist-resnet", "fmnist-encoder", "fmnist-mobile"];
    /// Those that are distilled afterwards.
    distilled: &'static [&'static str] = &[], &["fmnist-resnet", "fmnist-encoder"];
    /// How many shares of inner units, from a half down.
    n_shares: usize = 1, SHARES.len();
    /// Images that a network is narrowed and trained by.
    n_images: usize = 100, 2000;
    /// Epochs of distillation after the surgery.
    epochs: usize = 1;
    /// At most so many images to test on.
    most_test: Option<usize> = Some(200), None;
}

fn run(task: &Task) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let (true, Some(networks)) = (task.part == Part::Shared, task.session.networks()) else {
        return Ok(outcome);
    };
    let settings = settings(task.session.scale);
    let images = task.session.images("fashion-mnist")?;
    let test = at_most(&images.test, settings.most_test.unwrap_or(usize::MAX))?;
    let rows: Vec<usize> = (FIRST_IMAGE..FIRST_IMAGE + settings.n_images).collect();
    let data = images.train.rows(&rows)?;
    for &name in settings.networks {
        let Some(files) = networks.get(name) else { continue };
        let epochs = if settings.distilled.contains(&name) { settings.epochs } else { 0 };
        let rng = Rng::new(task.part.seed()).split("surgery").split(name);
        let study = Study::new(task, opened(files)?, (&data, settings.n_images), &test, &rng)?;
        let mut rows = Rows::new(&mut outcome, name);
        rows.whole(study.whole()?);
        let curves = study.curves()?;
        for (size, share) in &SHARES[..settings.n_shares] {
            task.expect_epochs((METHODS.len() + 1) * (1 + epochs));
            narrow(&study, (size, *share), &curves, epochs, &mut rows)?;
        }
        rows.finish();
    }
    Ok(outcome)
}

/// One share of inner units, every way.
fn narrow(
    study: &Study,
    (size, share): (&str, f64),
    curves: &[Curve],
    epochs: usize,
    rows: &mut Rows,
) -> Result<()> {
    let widths = study.inner_widths(share);
    let budget = Budget { most: study.n_parameters(&widths), multiple: 1, pinned: Vec::new() };
    let by_curves =
        allocate(curves, &study.full(), |widths| study.n_parameters(widths), &budget)?.widths;
    let ways = METHODS.map(|method| (method.name(), method, &widths, method.learning_rate()));
    let last = (BY_CURVES, Method::Surgery, &by_curves, SMALL_RATE);
    for (way, method, wanted, learning_rate) in ways.into_iter().chain([last]) {
        let small = study.narrowed(method, wanted)?;
        if way == BY_CURVES {
            study.check_not_larger(&small.0, &widths)?;
        } else {
            study.check_size(&small.0, &widths)?;
        }
        rows.add(size, way, study.measure(&small.0, &small.1)?);
        if epochs > 0 {
            let later = study.distilled(&small, epochs, learning_rate)?;
            rows.add(size, &after(way), study.measure(&later.0, &later.1)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Scale;

    #[test]
    fn every_way_of_every_share_is_listed_and_no_other() {
        let mut run: Vec<String> = Vec::new();
        for name in settings(Scale::Quick).networks {
            run.push(format!("surgery/{name}/whole"));
            let ways = METHODS.map(Method::name).into_iter().chain([BY_CURVES]);
            for way in ways.flat_map(|way| [way.to_owned(), after(way)]) {
                let sizes = SHARES.map(|(size, _)| size).into_iter().chain(["by-size"]);
                run.extend(sizes.map(|size| format!("surgery/{name}/{size}/{way}")));
            }
        }
        let mut listed: Vec<&str> = EXPORTED.rows.iter().map(|row| row.id).collect();
        run.sort_unstable();
        listed.sort_unstable();
        assert_eq!(run, listed);
    }
}
