//! Ablations of a teacher: logits as uncertain as its own that know less, so that a gain can be put down to what it knows.

use anyhow::{Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use core_tensors::Rng;
use losses::Predictions;

use crate::ledger::stats::mean;

/// Halvings of the interval of ε: far below the last digit of f32.
const N_HALVINGS: usize = 60;
/// Smallest probability of a smoothed label: log 0 has no place in a tensor of logits.
const SMALLEST: f64 = 1e-30;

/// What an ablation leaves of a teacher's logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ablation {
    /// The logits of another example of the same class: what classes look like, not what examples do.
    SameClass,
    /// The probability of the label, the others in random order: how sure the teacher is, not what it confuses.
    OtherClasses,
    /// The logits of any other example: the entropies and nothing else.
    AnyExample,
    /// Smoothed labels (1 − ε) \[k = y\] + ε / K with the mean entropy of the teacher's softmax: no teacher at all.
    SmoothedLabels,
}

impl Ablation {
    /// All of them, from the one that keeps most.
    pub const ALL: [Self; 4] =
        [Self::SameClass, Self::OtherClasses, Self::AnyExample, Self::SmoothedLabels];

    /// Logits (m, k), f32, to use in place of those of a teacher that has these `logits` (m, k) at temperature T.
    ///
    /// The entropies of softmax(logits / T) are those of the teacher as a whole, example by example for
    /// [`Ablation::OtherClasses`], and equal their mean for [`Ablation::SmoothedLabels`]. `labels` are one class an example.
    pub fn of(
        self,
        logits: &Tensor,
        labels: &[u32],
        temperature: f64,
        rng: &mut Rng,
    ) -> Result<Tensor> {
        let (m, k) = logits.dims2()?;
        ensure!(m > 0, "logits of an ablation: expected at least one row, found none");
        check(labels, m, k, temperature)?;
        let values: Vec<f32> = logits.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?;
        let row = |i: usize| values[i * k..(i + 1) * k].iter().copied();
        let new: Vec<f32> = match self {
            Self::SameClass => {
                let mut order: Vec<usize> = (0..m).collect();
                for class in 0..k as u32 {
                    let members: Vec<usize> = (0..m).filter(|&i| labels[i] == class).collect();
                    let drawn = rng.permutation(members.len());
                    members.iter().zip(drawn).for_each(|(&i, j)| order[i] = members[j]);
                }
                order.into_iter().flat_map(row).collect()
            }
            Self::OtherClasses => {
                let mut new = values.clone();
                for (row, &label) in new.chunks_exact_mut(k).zip(labels) {
                    let others: Vec<usize> = (0..k).filter(|&j| j != label as usize).collect();
                    let old = row.to_vec();
                    let drawn = rng.permutation(others.len());
                    others.iter().zip(drawn).for_each(|(&to, from)| row[to] = old[others[from]]);
                }
                new
            }
            Self::AnyExample => rng.permutation(m).into_iter().flat_map(row).collect(),
            Self::SmoothedLabels => {
                let entropy = mean(&entropies(logits, temperature)?);
                smoothed(labels, k, smoothing(entropy, k), temperature)
            }
        };
        Ok(Tensor::from_vec(new, (m, k), logits.device())?)
    }
}

/// Logits (m, k), f32, of smoothed labels (1 − ε) \[k = y\] + ε / K, which are their softmax at T = 1; ε in \[0, 1\].
///
/// Source: Szegedy et al. (2016), section 7.
pub fn smoothed_labels(
    labels: &[u32],
    n_classes: usize,
    share: f64,
    device: &Device,
) -> Result<Tensor> {
    check(labels, labels.len(), n_classes, 1.0)?;
    ensure!(
        (0.0..=1.0).contains(&share),
        "share of smoothed labels must lie in [0, 1], got {share}"
    );
    let logits = smoothed(labels, n_classes, share, 1.0);
    Ok(Tensor::from_vec(logits, (labels.len(), n_classes), device)?)
}

fn smoothed(labels: &[u32], k: usize, share: f64, temperature: f64) -> Vec<f32> {
    let (rest, moved) = shares(share, k);
    let other = (temperature * rest.max(SMALLEST).ln()) as f32;
    // Of one class nothing can be moved; of more, what is left is never below ε / K.
    let own = (temperature * (-moved).ln_1p()) as f32;
    let of = |&label: &u32| (0..k as u32).map(move |j| if j == label { own } else { other });
    labels.iter().flat_map(of).collect()
}

/// ε / K, and ε (K − 1) / K, which the label lacks to 1: its logarithm is taken from that, as 1 − ε + ε / K has no digits of
/// a small ε.
fn shares(share: f64, k: usize) -> (f64, f64) {
    let rest = share / k as f64;
    (rest, rest * (k - 1) as f64)
}

/// Entropy −Σₖ sₖ log sₖ of softmax(logits / T) of each example, in nats.
pub fn entropies(logits: &Tensor, temperature: f64) -> Result<Vec<f64>> {
    Ok(Predictions::tempered(logits, temperature)?.entropies())
}

/// ε of smoothed labels of k classes with this entropy, by bisection: the entropy rises with ε from 0 to log k.
fn smoothing(entropy: f64, k: usize) -> f64 {
    let of = |share: f64| {
        let (rest, moved) = shares(share, k);
        let others = if rest > 0.0 { (k - 1) as f64 * -rest * rest.ln() } else { 0.0 };
        (moved - 1.0) * (-moved).ln_1p() + others
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..N_HALVINGS {
        let middle = 0.5 * (low + high);
        if of(middle) < entropy { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

fn check(labels: &[u32], m: usize, k: usize, temperature: f64) -> Result<()> {
    ensure!(k > 0, "classes of an ablation: expected at least 1, found 0");
    ensure!(labels.len() == m, "labels of an ablation: expected {m}, found {}", labels.len());
    if let Some(label) = labels.iter().find(|&&y| y as usize >= k) {
        bail!("label of an ablation: expected a class below {k}, found {label}");
    }
    let is_inside = temperature > 0.0 && temperature.is_finite();
    ensure!(is_inside, "teacher temperature must lie in (0, ∞), got {temperature}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: f64 = 2.0;

    fn teacher(m: usize, k: usize) -> (Tensor, Vec<u32>) {
        let mut rng = Rng::new(5);
        let logits: Vec<f32> = (0..m * k).map(|_| 3.0 * rng.normal() as f32).collect();
        let labels = (0..m).map(|_| rng.below(k) as u32).collect();
        (Tensor::from_vec(logits, (m, k), &Device::Cpu).unwrap(), labels)
    }

    #[test]
    fn smoothed_labels_are_probabilities() {
        let cpu = Device::Cpu;
        let p = smoothed_labels(&[1, 0], 4, 0.2, &cpu).unwrap().exp().unwrap();
        let p: Vec<f32> = p.flatten_all().unwrap().to_vec1().unwrap();
        for (found, wanted) in p.iter().zip([0.05, 0.85, 0.05, 0.05, 0.85, 0.05, 0.05, 0.05]) {
            assert!((found - wanted).abs() < 1e-6, "{p:?}");
        }
        assert!(smoothed_labels(&[4], 4, 0.2, &cpu).is_err());
        assert!(smoothed_labels(&[1], 4, 1.2, &cpu).is_err());
    }

    fn sorted(mut values: Vec<f64>) -> Vec<f64> {
        values.sort_by(f64::total_cmp);
        values
    }

    fn gap(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn every_ablation_is_as_uncertain_as_the_teacher() {
        let (logits, labels) = teacher(60, 4);
        let own = entropies(&logits, T).unwrap();
        for ablation in Ablation::ALL {
            let new = ablation.of(&logits, &labels, T, &mut Rng::new(0)).unwrap();
            let found = entropies(&new, T).unwrap();
            let worst = match ablation {
                Ablation::SameClass | Ablation::AnyExample => {
                    gap(&sorted(own.clone()), &sorted(found))
                }
                Ablation::OtherClasses => gap(&own, &found),
                // The same entropy for all: the mean.
                Ablation::SmoothedLabels => gap(&[mean(&own); 60], &found),
            };
            // Logits are f32.
            assert!(worst < 1e-6, "{ablation:?}: {worst}");
            let rows = |t: &Tensor| t.to_vec2::<f32>().unwrap();
            assert_ne!(rows(&new), rows(&logits), "{ablation:?}");
        }
    }

    #[test]
    fn what_an_ablation_keeps_it_keeps() {
        let (logits, labels) = teacher(60, 4);
        let rows = logits.to_vec2::<f32>().unwrap();
        let of = |ablation: Ablation| {
            let new = ablation.of(&logits, &labels, T, &mut Rng::new(1)).unwrap();
            new.to_vec2::<f32>().unwrap()
        };
        for (i, row) in of(Ablation::SameClass).iter().enumerate() {
            let source = rows.iter().position(|r| r == row).unwrap();
            assert_eq!(labels[source], labels[i]);
        }
        let mut n_moved = 0;
        for ((row, old), &y) in of(Ablation::OtherClasses).iter().zip(&rows).zip(&labels) {
            assert_eq!(row[y as usize], old[y as usize]);
            n_moved += usize::from(row != old);
        }
        assert!(
            n_moved > 40,
            "three other classes stay in place in one of six examples, {n_moved}"
        );
        for row in of(Ablation::AnyExample) {
            assert!(rows.contains(&row));
        }
        for (row, &y) in of(Ablation::SmoothedLabels).iter().zip(&labels) {
            assert!((0..4).all(|j| j == y as usize || row[j] < row[y as usize]));
        }
    }

    #[test]
    fn entropies_by_hand() {
        // At T = 2 the logits 2 log 3 and 0 have the probabilities ¾ and ¼.
        let logits = Tensor::new(&[[2.0 * 3f64.ln(), 0.0], [1.0, 1.0]], &Device::Cpu).unwrap();
        let wanted = [0.75 * (4.0 / 3.0f64).ln() + 0.25 * 4f64.ln(), 2f64.ln()];
        assert!(gap(&entropies(&logits, T).unwrap(), &wanted) < 1e-14);
        assert!((smoothing(2f64.ln(), 2) - 1.0).abs() < 1e-6, "even labels");
        assert!(smoothing(0.0, 3) < 1e-12, "hard labels");
    }

    #[test]
    fn smoothed_labels_of_a_sure_teacher_keep_their_digits() {
        // −(1 − u) log(1 − u) − 2 r log r with u = 2 r: for a small r it is 2 r (1 − log r), to r² and its like.
        for r in [1e-6f64, 1e-10, 1e-14] {
            let share = smoothing(2.0 * r * (1.0 - r.ln()), 3);
            assert!((share / (3.0 * r) - 1.0).abs() < 1e-5, "{r}: {share}");
            let own = smoothed(&[0], 3, share, 1.0)[0];
            assert!((f64::from(own) / (-2.0 * r) - 1.0).abs() < 1e-5, "{r}: {own}");
        }
        // Even labels, and one class.
        assert!(
            smoothed(&[1], 2, 1.0, 1.0).iter().all(|z| (f64::from(*z) + 2f64.ln()).abs() < 1e-7)
        );
        assert_eq!(smoothed(&[0], 1, 0.5, 1.0), [0.0]);
        // Hard ones: the others are at the floor.
        let hard = smoothed(&[0], 2, 0.0, 2.0);
        assert_eq!(hard[0], 0.0);
        // 2 log 1e-30
        assert!((f64::from(hard[1]) + 138.155_106).abs() < 1e-4);
    }

    #[test]
    fn nothing_is_refused() {
        let none = |m: usize, k: usize| Tensor::zeros((m, k), DType::F32, &Device::Cpu).unwrap();
        for ablation in Ablation::ALL {
            let message =
                ablation.of(&none(0, 3), &[], T, &mut Rng::new(0)).unwrap_err().to_string();
            assert_eq!(message, "logits of an ablation: expected at least one row, found none");
        }
        let message = smoothed_labels(&[], 0, 0.1, &Device::Cpu).unwrap_err().to_string();
        assert_eq!(message, "classes of an ablation: expected at least 1, found 0");
        assert_eq!(smoothed_labels(&[], 3, 0.1, &Device::Cpu).unwrap().dims(), [0, 3]);
        let message = entropies(&none(2, 3), 0.0).unwrap_err().to_string();
        assert_eq!(message, "temperature must lie in (0, ∞), got 0");
    }

    #[test]
    fn a_certain_teacher_has_finite_ablations() {
        let logits = Tensor::new(&[[1e6f32, 0.0, -1e6]], &Device::Cpu).unwrap();
        for ablation in Ablation::ALL {
            let new = ablation.of(&logits, &[0], 1.0, &mut Rng::new(0)).unwrap();
            assert!(
                new.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().all(|v| v.is_finite())
            );
        }
        assert!(Ablation::AnyExample.of(&logits, &[3], 1.0, &mut Rng::new(0)).is_err());
        assert!(Ablation::AnyExample.of(&logits, &[0, 1], 1.0, &mut Rng::new(0)).is_err());
        let few = Ablation::AnyExample.of(&logits, &[], 1.0, &mut Rng::new(0)).unwrap_err();
        assert_eq!(few.to_string(), "labels of an ablation: expected 1, found 0");
        assert!(Ablation::AnyExample.of(&logits, &[0], 0.0, &mut Rng::new(0)).is_err());
    }
}
