//! FashionMNIST: all orders under a diagonal and a Kronecker posterior.

use anyhow::Result;
use bayes_posterior::{
    Curvature, Damping, Laplace, PruningCriterion, with_posterior, with_structure,
};
use core_tensors::{Fit, Rng};
use losses::Likelihood;

use super::{Curves, Settings, Walks, push, trained};
use crate::experiments::base::perceptron;
use crate::experiments::{Outcome, Task};
use crate::training::{Examination, Monitor, at_most};

pub(super) const TEACHER_ROW: &str = "orders/teacher";
const POSTERIORS: [(&str, Curvature, Damping); 3] = [
    ("diagonal", Curvature::Diagonal, Damping::Prior),
    ("kronecker", Curvature::Kronecker, Damping::Prior),
    ("kronecker-numerical", Curvature::Kronecker, Damping::numerical()),
];

fn row(posterior: &str, order: PruningCriterion) -> String {
    format!("orders/{posterior}/{}", order.name())
}

/// Epochs and walks.
pub(super) fn n_steps(settings: &Settings) -> usize {
    settings.fashion_epochs + POSTERIORS.len() * PruningCriterion::ALL.len()
}

/// The teacher of one seed and every order under both posteriors.
pub(super) fn run(task: &Task, settings: &Settings, outcome: &mut Outcome) -> Result<()> {
    let rng = Rng::new(task.part.seed()).split("bayes-orders");
    let images = task.session.images("fashion-mnist")?;
    let [most_train, most_test] = settings.fashion_most_examples.unwrap_or([usize::MAX; 2]);
    let train = at_most(&images.train, most_train)?;
    let exam = Examination::new(&at_most(&images.test, most_test)?)?;
    let network = perceptron(settings.fashion_teacher);
    let fit = Fit { epochs: settings.fashion_epochs, batch_size: settings.fashion_batch };
    let weights = trained(task, &network, Likelihood::Categorical, fit, &train, &rng)?;

    let mut part = rng.split("curvature").permutation(train.n_examples());
    part.truncate(settings.fashion_curvature_examples);
    let data = train.rows(&part)?;
    let walks = Walks {
        data: &data,
        likelihood: Likelihood::Categorical,
        sizes: settings.fashion_sizes,
        prior_precision: settings.fashion_prior_precision,
        rng: &rng,
        device: &task.session.device,
        measure: &|network, w| exam.once(&exam.predictions(network, w)?),
    };
    let mut teacher: Curves = (walks.measure)(&network, &weights)?;
    for (name, curvature, damping) in POSTERIORS {
        let a = settings.fashion_prior_precision;
        let likelihood = Likelihood::Categorical;
        let laplace = Laplace {
            network: &network,
            weights: &weights,
            data: &data,
            likelihood,
            prior_precision: a,
        };
        let found = laplace.fit(curvature)?;
        if damping == Damping::Prior {
            push(&mut teacher, &format!("log_evidence/{name}"), found.log_evidence);
        }
        for order in PruningCriterion::ALL {
            let ranked = with_posterior!(&found.posterior, p => walks.ranked(p, order)?);
            let curves = with_structure!(&found.posterior, damping, p => {
                walks.walk(p, &ranked, damping, |_| Ok(()))?
            });
            outcome.add(&row(name, order), curves);
            task.point_done()?;
        }
    }
    outcome.add(TEACHER_ROW, teacher);
    Ok(())
}

/// Names of all rows that a run fills.
#[cfg(test)]
pub(super) fn rows() -> impl Iterator<Item = String> {
    let of = |(name, ..): (&'static str, Curvature, Damping)| {
        PruningCriterion::ALL.map(|order| row(name, order))
    };
    POSTERIORS.into_iter().flat_map(of).chain([TEACHER_ROW.to_owned()])
}
