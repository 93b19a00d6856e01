//! Privileged information: the limits in which it is something that is known already.

use candle_core::{DType, Device, Tensor};
use core_tensors::{Dataset, Privileged, Rng};
use losses::{Distillation, distillation};

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Rounding of f64 sums of some dozen terms.
const EXACT: f64 = 1e-12;
/// Bound of the term of order 1/T that the limit drops: logits of a few units, over m K.
const NEXT_TERM: f64 = 1.0;
const N_EXAMPLES: usize = 12;
const N_CLASSES: usize = 4;

fn normals(rows: usize, cols: usize, rng: &mut Rng) -> candle_core::Result<Tensor> {
    let values: Vec<f64> = (0..rows * cols).map(|_| rng.normal()).collect();
    Tensor::from_vec(values, (rows, cols), &Device::Cpu)
}

/// Examples with x (m, 3), x* (|𝓘|, 5) for the examples of 𝓘, and a student's logits.
fn examples(
    mask: &[usize],
    rng: &mut Rng,
) -> Result<(Privileged, Tensor), Box<dyn std::error::Error>> {
    let x = normals(N_EXAMPLES, 3, rng)?;
    let labels: Vec<u32> = (0..N_EXAMPLES).map(|_| rng.below(N_CLASSES) as u32).collect();
    let labels = Tensor::from_vec(labels, N_EXAMPLES, &Device::Cpu)?;
    let y = core_tensors::Targets::Classes { labels, n_classes: N_CLASSES };
    let data = Dataset::new(x, y)?;
    let x_star = normals(mask.len(), 5, rng)?;
    let logits = normals(N_EXAMPLES, N_CLASSES, rng)?;
    Ok((Privileged::new(data, x_star, mask.to_vec())?, logits))
}

fn loss(
    logits: &Tensor,
    data: &Dataset,
    config: &Distillation,
) -> Result<f64, Box<dyn std::error::Error>> {
    Ok(distillation(logits, data, config)?.to_dtype(DType::F64)?.to_scalar::<f64>()?)
}

#[test]
fn nobody_privileged_is_maximum_likelihood() -> TestResult {
    let mut rng = Rng::new(0);
    let (examples, logits) = examples(&[], &mut rng)?;
    let taught =
        examples.with_teacher::<core_tensors::Error>(5, |_| unreachable!("nobody is asked"))?;
    let labels_only = loss(&logits, examples.data(), &Distillation::labels_only())?;
    for lambda in [0.0, 0.3, 1.0] {
        let found = loss(&logits, &taught, &Distillation::convex(lambda, 2.0))?;
        assert!((found - labels_only).abs() < EXACT, "λ = {lambda}");
    }
    Ok(())
}

#[test]
fn the_ends_of_lambda_are_labels_and_imitation() -> TestResult {
    let mut rng = Rng::new(1);
    let all: Vec<usize> = (0..N_EXAMPLES).collect();
    let (examples, logits) = examples(&all, &mut rng)?;
    let weights = normals(5, N_CLASSES, &mut rng)?;
    let taught = examples.with_teacher(5, |x_star| x_star.matmul(&weights))?;
    let labels_only = loss(&logits, examples.data(), &Distillation::labels_only())?;
    assert!((loss(&logits, &taught, &Distillation::convex(0.0, 3.0))? - labels_only).abs() < EXACT);
    // Other labels change nothing where λ = 1.
    let flipped = examples.data().y().clone();
    let core_tensors::Targets::Classes { labels, n_classes } = flipped else {
        return Err("values".into());
    };
    let other = labels.to_vec1::<u32>()?.into_iter().map(|y| (y + 1) % n_classes as u32);
    let labels = Tensor::from_vec(other.collect::<Vec<_>>(), N_EXAMPLES, &Device::Cpu)?;
    let y = core_tensors::Targets::Classes { labels, n_classes };
    let other = Dataset::new(examples.data().x().clone(), y)?;
    let other = Privileged::everywhere(other, examples.x_star().clone())?;
    let other = other.with_teacher(5, |x_star| x_star.matmul(&weights))?;
    let imitation = Distillation::convex(1.0, 3.0);
    assert!(
        (loss(&logits, &taught, &imitation)? - loss(&logits, &other, &imitation)?).abs() < EXACT
    );
    Ok(())
}

#[test]
fn a_teacher_that_sees_what_the_student_sees_is_hintons() -> TestResult {
    let mut rng = Rng::new(2);
    let all: Vec<usize> = (0..N_EXAMPLES).collect();
    let (examples, logits) = examples(&all, &mut rng)?;
    let weights = normals(3, N_CLASSES, &mut rng)?;
    let data = examples.data().clone();
    let same = Privileged::everywhere(data.clone(), data.x().clone())?;
    let privileged = same.with_teacher(5, |x_star| x_star.matmul(&weights))?;
    let hinton = data.with_teacher(7, |x| x.matmul(&weights))?;
    let config = Distillation::hinton(0.4, 2.0);
    assert!(
        (loss(&logits, &privileged, &config)? - loss(&logits, &hinton, &config)?).abs() < EXACT
    );
    Ok(())
}

#[test]
fn a_hot_teacher_with_the_square_of_t_matches_centered_logits() -> TestResult {
    let mut rng = Rng::new(3);
    let all: Vec<usize> = (0..N_EXAMPLES).collect();
    let (examples, logits) = examples(&all, &mut rng)?;
    let weights = normals(5, N_CLASSES, &mut rng)?;
    let taught = examples.with_teacher(5, |x_star| x_star.matmul(&weights))?;
    let z = candle_core::Var::from_tensor(&logits)?;
    let t = 1e4;
    let loss = distillation(&z, &taught, &Distillation::hinton(1.0, t))?;
    let gradients = loss.backward()?;
    let found = gradients.get(&z).ok_or("no gradient")?.to_vec2::<f64>()?;
    // ∂/∂z of (1/2mK) Σ ‖z̃ − ṽ‖² with both centered: (z̃ − ṽ) / (mK); the next term is 1/T of it.
    let v = taught.soft().ok_or("no answers")?.logits();
    let centered = |t: &Tensor| t.broadcast_sub(&t.mean_keepdim(1)?);
    let wanted = (centered(&logits)? - centered(v)?)?;
    let wanted = (wanted / (N_EXAMPLES * N_CLASSES) as f64)?.to_vec2::<f64>()?;
    for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
        assert!((found - wanted).abs() < NEXT_TERM / t, "{found} against {wanted}");
    }
    Ok(())
}
