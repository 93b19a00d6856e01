//! A loss of one's own, judged by the checks that every loss of this crate passes.
//!
//! `cargo run -p losses --example own_loss --features conformance`

#![expect(clippy::print_stdout, reason = "an example says what it found")]

use losses::candle_core::{D, Device, Result, Tensor};
use losses::conformance::{Batch, LossUnderTest, Property, Role, check};
use losses::log_softmax;

/// (1/m) Σᵢ KL(sᵢ ‖ gᵢ) as a textbook has it: the logarithm of a softmax.
fn textbook(logits: &Tensor, batch: &Batch) -> Result<Tensor> {
    let softmax = |z: &Tensor| z.exp()?.broadcast_div(&z.exp()?.sum_keepdim(D::Minus1)?);
    let (g, s) = (softmax(logits)?, softmax(&batch.teacher.detach())?);
    (&s * (&s / g)?.log()?)?.sum(1)?.mean_all()
}

/// The same from log-probabilities.
fn stable(logits: &Tensor, batch: &Batch) -> Result<Tensor> {
    let (log_g, log_s) = (log_softmax(logits)?, log_softmax(&batch.teacher.detach())?);
    (log_s.exp()? * (log_s - log_g)?)?.sum(1)?.mean_all()
}

fn main() -> Result<()> {
    let student = Tensor::new(&[[0.5, -1.0, 0.25], [1.0, 2.0, -0.5]], &Device::Cpu)?;
    let teacher = Tensor::new(&[[1.5, 0.0, -0.75], [0.0, 1.0, 0.5]], &Device::Cpu)?;
    let report = |loss: &dyn Fn(&Tensor, &Batch) -> Result<Tensor>| {
        let mean = Property::Twice { factor: 1.0 };
        let shift = Property::Shift(Role::Student);
        let properties = vec![Property::Nonnegative, Property::ZeroAtTeacher, mean, shift];
        let (student, teacher) = (student.clone(), teacher.clone());
        check(&LossUnderTest { loss, student, teacher, properties })
    };
    let (wrong, right) = (report(&textbook), report(&stable));
    assert_eq!(wrong.failures(), ["finite at extremes"], "{wrong}");
    assert!(right.is_passed(), "{right}");
    println!("the textbook's form fails at `{}`; the stable one passes", wrong.failures()[0]);
    Ok(())
}
