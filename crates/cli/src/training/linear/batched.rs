//! Several linear students in one matrix: the arms of a seed for little more than the price of one.

use std::cell::RefCell;
use std::ops::ControlFlow;

use anyhow::Result;
use candle_core::{DType, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Adam, AdamConfig, Dataset, Epoch, Fit, Params, Rng};
use losses::{Distillation, Predictions, distillation_batched};
use models::{Architecture, Mlp};

use crate::training::{Monitor, logits};

/// Linear students that share features, start and batch order, and differ in what they minimize.
///
/// Their layers are stacked into one: no weight of one enters another's loss and Adam works weight by weight, so each
/// is trained as if it were alone, and arms are paired by construction.
#[derive(Clone, Copy)]
pub struct LinearStudents<'a> {
    /// One student, a single layer.
    pub student: &'a Mlp,
    /// Passes and batches.
    pub fit: Fit,
    /// Step size of Adam.
    pub learning_rate: f64,
    /// What each minimizes.
    pub losses: &'a [Distillation],
}

impl LinearStudents<'_> {
    /// Trains every student from one start.
    ///
    /// `on_epoch` sees their predictions on `test` and their epochs, both in the order of the losses.
    pub fn train(
        &self,
        monitor: &dyn Monitor,
        start: &Params,
        data: &Dataset,
        rng: &mut Rng,
        test: &Tensor,
        mut on_epoch: impl FnMut(Vec<(Predictions, Epoch)>) -> Result<()>,
    ) -> Result<Vec<Params>> {
        let n_students = self.losses.len();
        let (n, k) = match self.student.widths[..] {
            [n, k] => (n, k),
            _ => anyhow::bail!("wanted students of one layer, found {:?}", self.student.widths),
        };
        if *start.layout() != self.student.layout() {
            anyhow::bail!("wanted a start for {:?}, found {:?}", self.student, start.layout());
        }
        let activation = Activation::Identity;
        let stacked = Mlp { widths: vec![n, n_students * k], activation, bias: self.student.bias };
        let u = Tensor::cat(&vec![&start.blocks()[0]; n_students], 0)?; // (a·k, n + 1)
        let w = Params::new(stacked.layout(), vec![u])?.trainable()?;
        let mut adam = Adam::new(AdamConfig::pytorch(self.learning_rate), &w)?;

        let n_batches = data.n_examples().div_ceil(self.fit.batch_size.max(1));
        let objectives = RefCell::new(vec![0.0; n_students]);
        let step = |batch: &Dataset| -> Result<f64> {
            let logits = stacked.forward(&w, batch.x())?; // (m, a·k)
            let losses = distillation_batched(&logits, batch, self.losses)?; // (a,)
            adam.step(&losses.sum_all()?.backward()?)?;
            let losses: Vec<f64> = losses.to_dtype(DType::F64)?.to_vec1()?;
            let mut objectives = objectives.borrow_mut();
            objectives.iter_mut().zip(&losses).for_each(|(sum, loss)| *sum += loss);
            Ok(losses.iter().sum())
        };
        let after = |epoch: Epoch| -> Result<ControlFlow<()>> {
            let sums = objectives.replace(vec![0.0; n_students]);
            let epochs = sums
                .into_iter()
                .map(|sum| Epoch { index: epoch.index, objective: sum / n_batches as f64 });
            let together = logits(&stacked, &w, test)?; // (m, a·k)
            let apart =
                (0..n_students).map(|a| Ok(Predictions::new(&together.narrow(1, a * k, k)?)?));
            let predictions = apart.collect::<Result<Vec<_>>>()?;
            on_epoch(predictions.into_iter().zip(epochs).collect())?;
            monitor.point_done()?;
            Ok(ControlFlow::Continue(()))
        };
        self.fit.run(data, rng, step, after)?;
        self.apart(&w)
    }

    /// Copies of each student's own parameters.
    fn apart(&self, w: &Params) -> Result<Vec<Params>> {
        let layout = self.student.layout();
        let k = layout.blocks[0].rows;
        (0..self.losses.len())
            .map(|a| {
                let block = w.blocks()[0].detach().narrow(0, a * k, k)?.copy()?;
                Ok(Params::new(layout.clone(), vec![block])?)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::data::synthetic::SyntheticClasses;
    use candle_core::Device;

    use crate::training::Unwatched;
    use crate::training::{Course, train};

    /// Adam divides by the root of a sum of f32 squares; five epochs of steps of 1e-3 stay this close.
    const TOLERANCE: f64 = 1e-5;

    #[test]
    fn students_in_one_matrix_are_students_alone() {
        let data = SyntheticClasses::new(&Device::Cpu).unwrap();
        let taught = data.train.with_teacher(100, |x| x.matmul(&data.weights)).unwrap();
        let student = Mlp { widths: vec![10, 3], activation: Activation::Identity, bias: true };
        let start = student.init(&mut Rng::new(1), &Device::Cpu).unwrap();
        let losses = [Distillation::labels_only(), Distillation::hinton(0.7, 3.0)];
        let fit = Fit { epochs: 5, batch_size: 64 };

        let mut objectives = Vec::new();
        let students =
            LinearStudents { student: &student, fit, learning_rate: 1e-3, losses: &losses };
        let together = students
            .train(&Unwatched, &start, &taught, &mut Rng::new(2), data.test.x(), |students| {
                objectives
                    .push(students.iter().map(|(_, epoch)| epoch.objective).collect::<Vec<_>>());
                Ok(())
            })
            .unwrap();
        for (a, loss) in losses.into_iter().enumerate() {
            let course = Course { network: &student, fit, learning_rate: 1e-3, loss };
            let w = start.trainable().unwrap();
            train(&Unwatched, &course, &w, &taught, &mut Rng::new(2), |_, epoch| {
                assert!((epoch.objective - objectives[epoch.index][a]).abs() < TOLERANCE);
                Ok(())
            })
            .unwrap();
            let (found, wanted) = (together[a].to_vec().unwrap(), w.to_vec().unwrap());
            assert!(found.iter().zip(wanted).all(|(f, w)| (f - w).abs() < TOLERANCE));
        }
    }
}
