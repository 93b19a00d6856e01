//! Networks that learn from one another in a row: teacher assistants and born-again generations.

use anyhow::{Context, Result};
use core_tensors::{Dataset, Epoch, Params, Rng};

use crate::training::{Course, Monitor, train, with_teacher};

/// Trains networks one after another, each on the answers of the one before; gives the weights of all.
///
/// The first learns from the answers that `data` hold, or from labels alone where they hold none. With a big teacher's answers
/// and networks that shrink these are teacher assistants; without answers and with one architecture all along, born-again
/// generations, where the first has no teacher.
///
/// Start and batches of the last come from `rng` under the names that every scheme here uses, so that it is paired with
/// students that were taught directly; those of the others have names of their own. `on_epoch` sees the last.
///
/// Source: Mirzadeh et al. (2020), teacher assistants; Furlanello et al. (2018), born-again networks.
pub fn train_chain(
    monitor: &dyn Monitor,
    links: &[Course],
    data: &Dataset,
    rng: &Rng,
    mut on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> Result<Vec<Params>> {
    let mut data = data.clone();
    let mut trained = Vec::new();
    let (last, before) = links.split_last().context("a chain wanted networks, found none")?;
    for (i, link) in before.iter().enumerate() {
        let rng = rng.split(&format!("link {i}"));
        let w = train_link(monitor, link, &data, &rng, |_, _| Ok(()))?;
        data = with_teacher(&data, link.network, &w)?;
        trained.push(w);
    }
    trained.push(train_link(monitor, last, &data, rng, &mut on_epoch)?);
    Ok(trained)
}

fn train_link(
    monitor: &dyn Monitor,
    course: &Course,
    data: &Dataset,
    rng: &Rng,
    on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> Result<Params> {
    let w = course.network.init(&mut rng.split("student"), data.x().device())?.trainable()?;
    train(monitor, course, &w, data, &mut rng.split("student batches"), on_epoch)?;
    Ok(w.frozen())
}

#[cfg(test)]
mod tests {
    use crate::data::synthetic::SyntheticClasses;
    use candle_core::Device;
    use core_tensors::Fit;
    use core_tensors::kernels::Activation;
    use losses::Distillation;
    use models::{Architecture, Mlp};

    use super::*;
    use crate::training::Unwatched;

    const FIT: Fit = Fit { epochs: 3, batch_size: 64 };

    fn perceptron(hidden: usize) -> Mlp {
        Mlp { widths: vec![10, hidden, 3], activation: Activation::Relu, bias: true }
    }

    #[test]
    fn a_link_learns_from_the_one_before_and_from_no_other() {
        let rng = Rng::new(1);
        let data = SyntheticClasses::new(&Device::Cpu).unwrap().train;
        let [teacher, between, student] = [12, 8, 4].map(perceptron);
        let of = |network| Course {
            network,
            fit: FIT,
            learning_rate: 1e-2,
            loss: Distillation::convex(1.0, 2.0),
        };
        let w = teacher.init(&mut rng.split("teacher"), &Device::Cpu).unwrap();
        let taught = with_teacher(&data, &teacher, &w).unwrap();
        let chain =
            train_chain(&Unwatched, &[of(&between), of(&student)], &taught, &rng, |_, _| Ok(()));
        let chain = chain.unwrap();
        // By hand: the assistant alone, then the student on its answers.
        let alone =
            train_chain(&Unwatched, &[of(&between)], &taught, &rng.split("link 0"), |_, _| Ok(()));
        let assistant = alone.unwrap().remove(0);
        assert_eq!(assistant.to_vec().unwrap(), chain[0].to_vec().unwrap());
        let data = with_teacher(&data, &between, &assistant).unwrap();
        let start = student.init(&mut rng.split("student"), &Device::Cpu).unwrap();
        let w = start.trainable().unwrap();
        let mut batches = rng.split("student batches");
        train(&Unwatched, &of(&student), &w, &data, &mut batches, |_, _| Ok(())).unwrap();
        assert_eq!(w.to_vec().unwrap(), chain[1].to_vec().unwrap());
        // Taught by another, it would be another.
        let direct =
            train_chain(&Unwatched, &[of(&student)], &taught, &rng, |_, _| Ok(())).unwrap();
        assert_ne!(direct[0].to_vec().unwrap(), chain[1].to_vec().unwrap());
        let nobody = train_chain(&Unwatched, &[], &taught, &rng, |_, _| Ok(())).unwrap_err();
        assert_eq!(nobody.to_string(), "a chain wanted networks, found none");
    }

    #[test]
    fn the_first_generation_has_labels_alone() {
        let rng = Rng::new(2);
        let data = SyntheticClasses::new(&Device::Cpu).unwrap().train;
        let student = perceptron(4);
        let course = |loss| Course { network: &student, fit: FIT, learning_rate: 1e-2, loss };
        let distilled = course(Distillation::hinton(0.7, 2.0));
        let mut n_epochs = 0;
        let born = train_chain(&Unwatched, &[distilled; 2], &data, &rng, |_, _| {
            n_epochs += 1;
            Ok(())
        });
        let labels = course(Distillation::labels_only());
        let alone = train_chain(&Unwatched, &[labels], &data, &rng.split("link 0"), |_, _| Ok(()));
        assert_eq!(born.unwrap()[0].to_vec().unwrap(), alone.unwrap()[0].to_vec().unwrap());
        assert_eq!(n_epochs, FIT.epochs, "only the last is watched");
    }
}
