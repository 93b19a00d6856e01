//! Mutual learning: students of no teacher that learn from one another.

use anyhow::{Result, ensure};
use candle_core::Tensor;
use core_tensors::{Dataset, Epoch, Fit, Params, Rng};
use losses::{Distillation, Divergence, TemperatureScale, distillation, divergence};
use models::Architecture;

use crate::training::{Monitor, joined, train_on};

/// How several students are trained together.
#[derive(Clone, Copy)]
pub struct MutualCourse<'a> {
    /// The students, two or more; they may differ.
    pub students: &'a [&'a dyn Architecture],
    /// Passes and batches, shared.
    pub fit: Fit,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// ≥ 0: weight of what a student takes over from the others; 1 in the source.
    pub weight: f64,
    /// T > 0 of both sides, with T²; 1 in the source.
    pub temperature: f64,
}

/// Trains students on CEⱼ + w / (n − 1) · Σ_{l ≠ j} T² KL(gₗ ‖ gⱼ) each, none with a gradient to another.
///
/// All take their step at once, on one batch, where the source lets them take turns. The first starts as every scheme's student
/// does, so that it is paired with them; `on_epoch` sees it alone. Gives the weights of all.
///
/// Source: Zhang et al. (2018), deep mutual learning, equation 6.
pub fn train_mutually(
    monitor: &dyn Monitor,
    course: &MutualCourse,
    data: &Dataset,
    rng: &Rng,
    mut on_epoch: impl FnMut(&Params, Epoch) -> Result<()>,
) -> Result<Vec<Params>> {
    let n = course.students.len();
    ensure!(n > 1, "students that learn from one another: wanted at least 2, found {n}");
    let start = |(j, student): (usize, &&dyn Architecture)| -> Result<Params> {
        let role = if j == 0 { "student".to_owned() } else { format!("student {j}") };
        Ok(student.init(&mut rng.split(&role), data.x().device())?.trainable()?)
    };
    let students = course.students.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
    let loss = |batch: &Dataset| -> Result<Tensor> {
        let score = |(network, w): (&&dyn Architecture, &Params)| network.forward(w, batch.x());
        let logits: Vec<Tensor> = course
            .students
            .iter()
            .zip(&students)
            .map(score)
            .collect::<core_tensors::Result<_>>()?;
        let mut total = Tensor::zeros((), logits[0].dtype(), logits[0].device())?;
        let weight = course.weight / (n - 1) as f64;
        for (j, own) in logits.iter().enumerate() {
            let alone = batch.without_teacher();
            total = (total + distillation(own, &alone, &Distillation::labels_only())?)?;
            for (_, other) in logits.iter().enumerate().filter(|&(l, _)| l != j) {
                let taught =
                    alone.clone().with_teacher(batch.n_examples(), |_| other.contiguous())?;
                let (kind, scale) = (Divergence::ForwardKl, TemperatureScale::Squared);
                let term = divergence(own, &taught, kind, course.temperature, scale)?;
                total = (total + (term * weight)?)?;
            }
        }
        Ok(total)
    };
    let first = students[0].frozen();
    let all = joined(&students.iter().collect::<Vec<_>>())?;
    let (how, mut batches) = ((course.fit, course.learning_rate), rng.split("student batches"));
    train_on(monitor, how, &all, data, &mut batches, loss, |_, epoch| on_epoch(&first, epoch))?;
    Ok(students.iter().map(Params::frozen).collect())
}

#[cfg(test)]
mod tests {
    use crate::data::synthetic::SyntheticClasses;
    use candle_core::Device;
    use core_tensors::kernels::Activation;
    use losses::Predictions;
    use models::Mlp;

    use super::*;
    use crate::training::Unwatched;
    use crate::training::{Course, logits, train};

    const FIT: Fit = Fit { epochs: 3, batch_size: 64 };
    const RATE: f64 = 1e-2;

    #[test]
    fn students_without_a_bond_are_students_alone_and_a_bond_draws_them_together() {
        let rng = Rng::new(4);
        let data = SyntheticClasses::new(&Device::Cpu).unwrap().train;
        let [first, second] = [6, 4].map(|hidden| Mlp {
            widths: vec![10, hidden, 3],
            activation: Activation::Relu,
            bias: true,
        });
        let run = |weight: f64| {
            let course = MutualCourse {
                students: &[&first, &second],
                fit: FIT,
                learning_rate: RATE,
                weight,
                temperature: 1.0,
            };
            train_mutually(&Unwatched, &course, &data, &rng, |_, _| Ok(())).unwrap()
        };
        let apart = run(0.0);
        let loss = Distillation::labels_only();
        let course = Course { network: &first, fit: FIT, learning_rate: RATE, loss };
        let w = first.init(&mut rng.split("student"), &Device::Cpu).unwrap().trainable().unwrap();
        let mut batches = rng.split("student batches");
        train(&Unwatched, &course, &w, &data, &mut batches, |_, _| Ok(())).unwrap();
        // A term of weight 0 adds 0 to each slope.
        assert_eq!(apart[0].to_vec().unwrap(), w.to_vec().unwrap());
        let divergence = |w: &[Params]| {
            let [a, b] = [(&first, &w[0]), (&second, &w[1])]
                .map(|(n, w)| Predictions::new(&logits(n, w, data.x()).unwrap()).unwrap());
            a.divergence_from(&b).unwrap()
        };
        assert!(divergence(&run(10.0)) < 0.5 * divergence(&apart));
    }

    #[test]
    fn each_learns_from_the_mean_over_the_others() {
        let rng = Rng::new(5);
        let data = SyntheticClasses::new(&Device::Cpu).unwrap().train;
        let networks = [6, 4, 5].map(|hidden| Mlp {
            widths: vec![10, hidden, 3],
            activation: Activation::Relu,
            bias: true,
        });
        let students: &[&dyn Architecture] = &[&networks[0], &networks[1], &networks[2]];
        // One batch of all examples: the objective is that at the start.
        let fit = Fit { epochs: 1, batch_size: data.n_examples() };
        let (weight, temperature) = (3.0, 1.0);
        let course = MutualCourse { students, fit, learning_rate: RATE, weight, temperature };
        let mut objective = 0.0;
        train_mutually(&Unwatched, &course, &data, &rng, |_, epoch| {
            objective = epoch.objective;
            Ok(())
        })
        .unwrap();
        let p: Vec<Predictions> = ["student", "student 1", "student 2"]
            .into_iter()
            .zip(&networks)
            .map(|(role, network)| {
                let w = network.init(&mut rng.split(role), &Device::Cpu).unwrap();
                Predictions::new(&logits(network, &w, data.x()).unwrap()).unwrap()
            })
            .collect();
        let y = crate::training::labels(&data).unwrap();
        let mut wanted = 0.0;
        for j in 0..3 {
            wanted += p[j].cross_entropy(&y).unwrap();
            for l in (0..3).filter(|&l| l != j) {
                wanted += 0.5 * weight * p[j].divergence_from(&p[l]).unwrap();
            }
        }
        assert!((objective - wanted).abs() < 1e-5 * wanted, "{objective} {wanted}");
    }

    #[test]
    fn one_student_has_nobody_to_learn_from() {
        let rng = Rng::new(4);
        let data = SyntheticClasses::new(&Device::Cpu).unwrap().train;
        let alone = Mlp { widths: vec![10, 3], activation: Activation::Relu, bias: true };
        let students: &[&dyn Architecture] = &[&alone];
        let course =
            MutualCourse { students, fit: FIT, learning_rate: RATE, weight: 1.0, temperature: 1.0 };
        let error = train_mutually(&Unwatched, &course, &data, &rng, |_, _| Ok(()));
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "students that learn from one another: wanted at least 2, found 1");
    }
}
