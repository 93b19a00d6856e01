//! Losses that are wrong in one place each, as found in the wild, and the checks that catch them.

use candle_core::{D, Tensor};

use super::tests::{all_known, data, mean, normal};
use super::*;
use crate::stable::{log_mixture, log_softmax};
use crate::{Distillation, Divergence, Result, TemperatureScale, distillation, divergence};

/// Temperature of the losses below.
const T: f64 = 2.0;
/// A temperature where answers are even to a thousandth.
const HOT: f64 = 1e3;

fn failures(loss: Loss<'_>, mut properties: Vec<Property<'_>>) -> Vec<String> {
    properties.extend([Property::Shift(Role::Student), Property::Shift(Role::Teacher)]);
    let (student, teacher) = (normal(&[4, 3], 0), normal(&[4, 3], 1));
    let report = check(&LossUnderTest { loss, student, teacher, properties });
    report.failures().into_iter().map(str::to_owned).collect()
}

fn divergence_properties<'a>() -> Vec<Property<'a>> {
    let mut properties = mean();
    properties.extend([Property::Nonnegative, Property::ZeroAtTeacher]);
    properties
}

/// Logarithms of the student's and of the teacher's answers at a temperature.
fn log_probabilities(z: &Tensor, batch: &Batch, temperature: f64) -> Result<(Tensor, Tensor)> {
    let log = |x: &Tensor| log_softmax(&(x / temperature)?);
    Ok((log(z)?, log(&batch.teacher.detach())?))
}

/// KL(a ‖ b) of each example.
fn kl(log_a: &Tensor, log_b: &Tensor) -> Result<Tensor> {
    Ok((log_a.exp()? * (log_a - log_b)?)?.sum(1)?)
}

/// KL(s ‖ g) in probabilities, as a textbook has it.
fn textbook(z: &Tensor, batch: &Batch) -> Result<Tensor> {
    let answer = |x: &Tensor| -> Result<Tensor> {
        let powers = (x / T)?.exp()?;
        Ok(powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?)
    };
    let (s, g) = (answer(&batch.teacher.detach())?, answer(z)?);
    Ok((&s * (&s / g)?.log()?)?.sum(1)?.mean_all()?)
}

fn definition<'a>(loss: Loss<'a>) -> Property<'a> {
    let (name, compared) = ("the definition", Compared::All);
    Property::Limit(Limit { name, loss, reference: &textbook, tolerance: EXACT, compared })
}

#[test]
fn a_square_of_the_temperature_too_few_or_too_many_is_caught_by_the_hot_limit() {
    // T² KL and the cross-entropy with T² have the gradient of ½ k⁻¹ Σ (z − v)² of centered logits where T is high.
    let squares = |z: &Tensor, batch: &Batch| {
        let kind = Divergence::CentredLogits;
        divergence(z, &everyone(batch)?, kind, 1.0, TemperatureScale::None)
    };
    for (power, is_right) in [(2, true), (0, false), (1, false), (4, false)] {
        let at = |z: &Tensor, batch: &Batch, temperature: f64| -> Result<Tensor> {
            let (log_g, log_s) = log_probabilities(z, batch, temperature)?;
            Ok((kl(&log_s, &log_g)?.mean_all()? * temperature.powi(power))?)
        };
        let loss = |z: &Tensor, batch: &Batch| at(z, batch, T);
        let hot = |z: &Tensor, batch: &Batch| at(z, batch, HOT);
        let limit = Limit {
            name: "high temperature",
            loss: &hot,
            reference: &squares,
            tolerance: 2e-2,
            compared: Compared::Gradient,
        };
        let mut properties = divergence_properties();
        properties.push(Property::Limit(limit));
        let wanted = if is_right { vec![] } else { vec!["limit: high temperature"] };
        assert_eq!(failures(&loss, properties), wanted, "T to the power {power}");
    }
    // The same of this crate's own loss without its factor.
    for (config, is_right) in
        [(Distillation::hinton(1.0, HOT), true), (Distillation::convex(1.0, HOT), false)]
    {
        let loss = |z: &Tensor, batch: &Batch| distillation(z, &everyone(batch)?, &config);
        let limit = Limit {
            name: "high temperature",
            loss: &loss,
            reference: &squares,
            tolerance: 2e-2,
            compared: Compared::Gradient,
        };
        let report = failures(&loss, vec![Property::Limit(limit)]);
        assert_eq!(report.is_empty(), is_right, "{report:?}");
    }
}

fn everyone(batch: &Batch) -> Result<Dataset> {
    batch.dataset(&all_known())
}

#[test]
fn a_reversed_divergence_is_caught_by_the_definition() {
    let right = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        Ok(kl(&log_s, &log_g)?.mean_all()?)
    };
    let reversed = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        Ok(kl(&log_g, &log_s)?.mean_all()?)
    };
    let found = |loss| {
        let mut properties = divergence_properties();
        properties.push(definition(loss));
        failures(loss, properties)
    };
    assert!(found(&right).is_empty());
    assert_eq!(found(&reversed), ["limit: the definition"]);
}

#[test]
fn a_sum_in_the_place_of_a_mean_is_caught_by_the_batch_that_comes_twice() {
    let summed = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        Ok(kl(&log_s, &log_g)?.sum_all()?)
    };
    assert_eq!(failures(&summed, divergence_properties()), ["batch twice"]);
    // The mean over classes too, as PyTorch's `reduction="mean"` has it, is a mean over examples: its size gives it away.
    let over_all = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        Ok((kl(&log_s, &log_g)?.mean_all()? / 3.0)?)
    };
    assert!(failures(&over_all, divergence_properties()).is_empty());
    let mut properties = divergence_properties();
    properties.push(definition(&over_all));
    assert_eq!(failures(&over_all, properties), ["limit: the definition"]);
    // No reduction at all.
    let nothing = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        kl(&log_s, &log_g)
    };
    assert_eq!(failures(&nothing, vec![])[0], "one number");
}

#[test]
fn a_gradient_into_the_teacher_is_caught_as_such() {
    let leaking = |z: &Tensor, batch: &Batch| {
        let log = |x: &Tensor| log_softmax(&(x / T)?);
        Ok(kl(&log(&batch.teacher)?, &log(z)?)?.mean_all()?)
    };
    assert_eq!(failures(&leaking, divergence_properties()), ["no gradient to the teacher"]);
    // The other way round: what is detached is the student.
    let detached = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(&z.detach(), batch, T)?;
        Ok(kl(&log_s, &log_g)?.mean_all()?)
    };
    let found = failures(&detached, vec![]);
    assert_eq!(found, ["gradient equals differences", "gradient reaches the student"]);
    // One of two factors is: half of the derivative.
    let half = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        let gap = (log_g.exp()? - log_s.exp()?)?;
        Ok((&gap * gap.detach())?.sum(1)?.mean_all()?)
    };
    assert_eq!(failures(&half, divergence_properties()), ["gradient equals differences"]);
    // What is left of a derivative that cancels: Σ g ∂ log g = 0. Rounding is no gradient.
    let cancelled = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        Ok((log_g.detach().exp()? * (log_g - log_s)?)?.sum(1)?.mean_all()?)
    };
    let found = failures(&cancelled, vec![]);
    assert_eq!(found[..2], ["gradient equals differences", "gradient reaches the student"]);
}

#[test]
fn a_wrong_mixture_is_caught_by_the_limits_of_its_weight() {
    // The weights of s and g exchanged in the mixture, but not before its terms.
    let js = |z: &Tensor, batch: &Batch, beta: f64, in_mixture: f64| -> Result<Tensor> {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        let log_r = log_mixture(&log_s, &log_g, in_mixture)?;
        let each = ((kl(&log_s, &log_r)? * beta)? + (kl(&log_g, &log_r)? * (1.0 - beta))?)?;
        Ok((each.mean_all()? / beta)?)
    };
    let found = |is_right: bool| {
        let weight = |beta: f64| if is_right { beta } else { 1.0 - beta };
        let loss = |z: &Tensor, batch: &Batch| js(z, batch, 0.3, weight(0.3));
        let near = |z: &Tensor, batch: &Batch| js(z, batch, 1e-6, weight(1e-6));
        let limit = Limit {
            name: "β → 0",
            loss: &near,
            reference: &textbook,
            tolerance: 1e-3,
            compared: Compared::All,
        };
        let mut properties = divergence_properties();
        properties.push(Property::Limit(limit));
        failures(&loss, properties)
    };
    assert!(found(true).is_empty());
    assert_eq!(found(false), ["limit: β → 0"]);
    // A mean of logits in the place of one of answers is no mixture: its limit is right, its value is another.
    let of_logits = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        let log_r = log_softmax(&((&log_g + &log_s)? * 0.5)?)?;
        Ok(((kl(&log_s, &log_r)? + kl(&log_g, &log_r)?)?.mean_all()? * 0.5)?)
    };
    let reference = |z: &Tensor, batch: &Batch| {
        let kind = Divergence::JensenShannon { teacher_weight: 0.5 };
        divergence(z, &everyone(batch)?, kind, T, TemperatureScale::None)
    };
    let (name, compared) = ("Jensen–Shannon", Compared::All);
    let limit = Limit { name, loss: &of_logits, reference: &reference, tolerance: EXACT, compared };
    let mut properties = divergence_properties();
    properties.push(Property::Limit(limit));
    assert_eq!(failures(&of_logits, properties), ["limit: Jensen–Shannon"]);
}

#[test]
fn probabilities_before_logarithms_are_caught_at_the_extremes() {
    assert_eq!(failures(&textbook, mean()), ["finite at extremes"]);
    // As often repaired: a floor under the logarithm keeps it finite, and bends it.
    let floored = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        let log = |log_p: &Tensor| (log_p.exp()? + 1e-3)?.log();
        Ok((log_s.exp()? * (log(&log_s)? - log(&log_g)?)?)?.sum(1)?.mean_all()?)
    };
    let mut properties = divergence_properties();
    properties.push(definition(&floored));
    assert_eq!(failures(&floored, properties), ["limit: the definition"]);
}

#[test]
fn rows_that_meet_the_wrong_targets_are_caught_by_another_order() {
    let data = data();
    let crossed = |z: &Tensor, batch: &Batch| {
        // Labels in the order of the file, whatever the order of the batch.
        let n = batch.examples.len();
        let fixed =
            Batch { teacher: batch.teacher.clone(), examples: (0..n).map(|i| i % 4).collect() };
        distillation(z, &fixed.dataset(&data)?, &Distillation::labels_only())
    };
    assert_eq!(failures(&crossed, mean()), ["order of examples"]);
}

#[test]
fn a_divergence_that_is_none_is_caught_by_its_sign_and_its_zero() {
    // The cross-entropy: right derivatives, but not 0 at the teacher, nor what it is said to be.
    let entropy = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        Ok((log_s.exp()? * log_g)?.sum(1)?.mean_all()?.neg()?)
    };
    let mut properties = divergence_properties();
    properties.push(definition(&entropy));
    assert_eq!(failures(&entropy, properties), ["zero at the teacher", "limit: the definition"]);
    let (name, compared, tolerance) = ("its derivatives", Compared::Gradient, EXACT);
    let limit = Limit { name, loss: &entropy, reference: &textbook, tolerance, compared };
    assert!(failures(&entropy, vec![Property::Limit(limit)]).is_empty());
    // The order of a quotient's two logarithms.
    let negative = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        Ok((log_s.exp()? * (log_g - &log_s)?)?.sum(1)?.mean_all()?)
    };
    assert_eq!(failures(&negative, divergence_properties()), ["nonnegative"]);
}

#[test]
fn logits_in_the_place_of_probabilities_are_caught_by_a_shift_and_probabilities_by_a_scale() {
    let of_logits =
        |z: &Tensor, batch: &Batch| Ok((z - batch.teacher.detach())?.sqr()?.mean_all()?);
    let found = failures(&of_logits, divergence_properties());
    assert_eq!(found, ["shift of the student", "shift of the teacher"]);
    let of_probabilities = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        Ok(kl(&log_s, &log_g)?.mean_all()?)
    };
    let scales = vec![Property::Scale(Role::Student), Property::Scale(Role::Teacher)];
    assert_eq!(
        failures(&of_probabilities, scales),
        ["scale of the student", "scale of the teacher"]
    );
}

#[test]
fn numbers_that_do_not_fit_are_caught_by_single_precision_and_the_extremes() {
    let cancelling = |z: &Tensor, batch: &Batch| {
        let z = ((z + 1e5)? - 1e5)?;
        let (log_g, log_s) = log_probabilities(&z, batch, T)?;
        Ok(kl(&log_s, &log_g)?.mean_all()?)
    };
    assert_eq!(failures(&cancelling, mean()), ["single precision"]);
    let gap = |z: &Tensor, batch: &Batch| -> Result<Tensor> {
        let centered = |x: &Tensor| x.broadcast_sub(&x.mean_keepdim(1)?);
        Ok((centered(z)? - centered(&batch.teacher.detach())?)?.sqr()?)
    };
    // A root has no derivative where student and teacher are one.
    let distance = |z: &Tensor, batch: &Batch| Ok(gap(z, batch)?.sum(1)?.sqrt()?.mean_all()?);
    assert_eq!(failures(&distance, mean()), ["finite at extremes"]);
    // The eighth power of 1e6 is a number of f64 alone.
    let power = |z: &Tensor, batch: &Batch| Ok(gap(z, batch)?.sqr()?.sqr()?.mean_all()?);
    assert_eq!(failures(&power, mean()), ["finite at extremes"]);
}

#[test]
fn a_mask_that_multiplies_is_caught_by_what_stands_outside() {
    let data = data();
    // 0 · NaN is NaN, and 0 · ∞ too.
    let multiplied = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        let known: Vec<f64> =
            batch.examples.iter().map(|&i| if i == 2 { 0.0 } else { 1.0 }).collect();
        let known = Tensor::new(known, z.device())?.to_dtype(z.dtype())?;
        Ok((kl(&log_s, &log_g)? * known)?.mean_all()?)
    };
    let masked = || vec![Property::Mask { known: vec![0, 1, 3] }];
    assert_eq!(failures(&multiplied, masked()), ["mask"]);
    let in_single = |z: &Tensor, batch: &Batch| match z.dtype() {
        candle_core::DType::F32 => multiplied(z, batch),
        _ => {
            divergence(z, &batch.dataset(&data)?, Divergence::ForwardKl, T, TemperatureScale::None)
        }
    };
    assert_eq!(failures(&in_single, masked()), ["mask"]);
    // A mask that is not looked at, though all numbers are finite.
    let unmasked = |z: &Tensor, batch: &Batch| {
        let (log_g, log_s) = log_probabilities(z, batch, T)?;
        Ok(kl(&log_s, &log_g)?.mean_all()?)
    };
    assert_eq!(failures(&unmasked, masked()), ["mask"]);
    // One that picks is right, and a mask of everybody is no question.
    let picked = |z: &Tensor, batch: &Batch| {
        divergence(z, &batch.dataset(&data)?, Divergence::ForwardKl, T, TemperatureScale::None)
    };
    assert!(failures(&picked, masked()).is_empty());
    let everyone = vec![Property::Mask { known: vec![0, 1, 2, 3] }];
    assert_eq!(failures(&picked, everyone), ["mask"]);
}
