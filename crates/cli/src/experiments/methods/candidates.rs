//! The methods and the settings that are tried of each: as many for one as for another.

use core_tensors::Schedule;
use losses::features::NstKernel;
use losses::{Dist, Distillation, Divergence, Dkd, GanLoss, TemperatureScale};
use models::Cnn;

use super::{assistant, student};
use crate::training::{Ablation, Imitation, Strength};

/// Settings that are tried of a method; labels alone have nothing to try.
pub(super) const N_SETTINGS: usize = 4;
/// λ and T of terms that stand in for the labels, (1 − λ) CE + λ · term.
const LAMBDAS: [f64; 2] = [0.3, 0.9];
const TEMPERATURES: [f64; 2] = [1.0, 4.0];
/// Sizes of terms that stand beside the labels, in units of the labels' loss at the start.
const RATIOS: [f64; N_SETTINGS] = [0.03, 0.2, 1.0, 5.0];
/// A likelihood of 400 numbers has no zero to measure from: its weight is a ratio times this, of the order of CE / 400.
const OF_LIKELIHOOD: f64 = 0.01;
/// ε of smoothed labels.
const SMOOTHINGS: [f64; N_SETTINGS] = [0.05, 0.1, 0.2, 0.4];
/// Generations of born-again networks, the first without a teacher.
const GENERATIONS: usize = 3;
/// Outputs of the teacher whose channels and places count, and those of its last hidden layer.
const MAPS: usize = 1;
const LAST_HIDDEN: usize = 2;

/// A method by its row.
pub(super) struct Method {
    pub(super) row: &'static str,
    pub(super) settings: Vec<Setting>,
}

/// What a student is shown and how it learns from it.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) taught: Taught,
    pub(super) training: Training,
    /// λ, ε, a ratio or a weight, as the report shows it.
    pub(super) weight: f64,
    /// T, or the one it falls from.
    pub(super) temperature: Option<f64>,
}

/// What answers a student's examples have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Taught {
    Nothing,
    /// The teacher's logits.
    Logits,
    /// Those of a network of the teacher's shape as it was drawn.
    Untrained,
    /// A part of what the teacher knows.
    Ablation(Ablation),
    /// (1 − ε) \[k = y\] + ε / K with this ε.
    Smoothed(f64),
    /// One of the teacher's outputs.
    Hidden(usize),
    /// The logits of all teachers side by side.
    Members,
    /// Their mean probabilities.
    Ensemble,
}

/// How a student is trained.
#[derive(Clone, Debug)]
pub(super) enum Training {
    /// Networks one after another, the student last, on this loss.
    Chain(Vec<Cnn>, Distillation),
    /// Labels and one more term.
    Imitation { what: Imitation, label_weight: f64, strength: Strength },
    /// Two students on labels and one another's answers.
    Mutual { weight: f64, temperature: f64 },
    /// Labels and a discriminator of logits.
    Adversarial { gan_loss: GanLoss, weight: f64, is_conditional: bool },
}

impl Training {
    /// Networks that are trained one after another.
    pub(super) fn n_links(&self) -> usize {
        match self {
            Self::Chain(links, _) => links.len(),
            _ => 1,
        }
    }
}

/// All methods, ablations first.
pub(super) fn methods() -> Vec<Method> {
    let none = Setting {
        taught: Taught::Nothing,
        training: Training::Chain(vec![student()], Distillation::labels_only()),
        weight: 0.0,
        temperature: None,
    };
    let smoothed = |&share: &f64| {
        let training = Training::Chain(vec![student()], Distillation::convex(1.0, 1.0));
        Setting { taught: Taught::Smoothed(share), training, weight: share, temperature: None }
    };
    let plain = |row, taught| method(row, hinton(taught, &[student()]));
    let of_divergence = |row, kind| {
        let term = |t| Imitation::Divergence(kind, t);
        method(row, convex(Taught::Logits, term))
    };
    let of_labels: fn(f64) -> Strength = Strength::OfLabels;
    let maps = |row, what| method(row, beside(Taught::Hidden(MAPS), what, of_labels));
    let rows = |row, what| method(row, beside(Taught::Hidden(LAST_HIDDEN), what, of_labels));
    let logits = Imitation::Divergence(Divergence::Logits, 1.0);
    let weighed = |ratio| Strength::Weight(OF_LIKELIHOOD * ratio);
    vec![
        method("none", vec![none]),
        method("smoothed-labels", SMOOTHINGS.iter().map(smoothed).collect()),
        plain("untrained", Taught::Untrained),
        plain("any-object", Taught::Ablation(Ablation::AnyExample)),
        plain("forward", Taught::Logits),
        of_divergence("reverse", Divergence::ReverseKl),
        of_divergence("jensen-shannon", Divergence::JensenShannon { teacher_weight: 0.5 }),
        of_divergence("skew", Divergence::Skew { teacher_weight: 0.1 }),
        of_divergence("renyi", Divergence::Renyi { order: 0.5 }),
        of_divergence("variation", Divergence::TotalVariation),
        of_divergence("hellinger", Divergence::SquaredHellinger),
        // T cancels.
        method("logits", beside(Taught::Logits, logits, of_labels)),
        method("decoupled", dkd()),
        method("correlation", dist()),
        method("standardised", convex(Taught::Logits, Imitation::Ls)),
        maps("hint", Imitation::FitNets),
        maps("attention", Imitation::At),
        maps("selectivity-linear", Imitation::Nst(NstKernel::Linear)),
        maps(
            "selectivity-polynomial",
            Imitation::Nst(NstKernel::Polynomial { degree: 2, constant: 0.0 }),
        ),
        maps("selectivity-gaussian", Imitation::Nst(NstKernel::Gaussian { scale: 1.0 })),
        method("information", beside(Taught::Hidden(MAPS), Imitation::Vid, weighed)),
        rows("similarity", Imitation::Sp),
        rows("relational-distance", Imitation::RkdDistance),
        rows("relational-angle", Imitation::RkdAngle),
        rows("probabilistic", Imitation::Pkt),
        method("adversarial", adversarial()),
        method("assistant", hinton(Taught::Logits, &[assistant(), student()])),
        method("born-again", hinton(Taught::Nothing, &vec![student(); GENERATIONS])),
        plain("ensemble", Taught::Ensemble),
        method("ensemble-distribution", members()),
        method("mutual", mutual()),
    ]
}

fn method(row: &'static str, settings: Vec<Setting>) -> Method {
    Method { row, settings }
}

/// (1 − λ) CE + λ T² soft CE along a chain.
fn hinton(taught: Taught, links: &[Cnn]) -> Vec<Setting> {
    pairs(LAMBDAS, TEMPERATURES, |lambda, t| {
        let training = Training::Chain(links.to_vec(), Distillation::hinton(lambda, t));
        Setting { taught, training, weight: lambda, temperature: Some(t) }
    })
}

/// (1 − λ) CE + λ · a term at T.
fn convex(taught: Taught, term: impl Fn(f64) -> Imitation) -> Vec<Setting> {
    pairs(LAMBDAS, TEMPERATURES, |lambda, t| {
        let (what, strength) = (term(t), Strength::Weight(lambda));
        let training = Training::Imitation { what, label_weight: 1.0 - lambda, strength };
        Setting { taught, training, weight: lambda, temperature: Some(t) }
    })
}

/// CE + a term of one size or another.
fn beside(taught: Taught, what: Imitation, strength: fn(f64) -> Strength) -> Vec<Setting> {
    let of = |ratio| {
        let training = Training::Imitation { what, label_weight: 1.0, strength: strength(ratio) };
        Setting { taught, training, weight: ratio, temperature: None }
    };
    RATIOS.into_iter().map(of).collect()
}

fn dkd() -> Vec<Setting> {
    pairs([1.0, 8.0], TEMPERATURES, |others_weight, temperature| {
        let scale = TemperatureScale::Squared;
        let config = Dkd { label_weight: 1.0, others_weight, temperature, scale };
        of_weight_one(Imitation::Dkd(config), others_weight, temperature)
    })
}

fn dist() -> Vec<Setting> {
    pairs([1.0, 4.0], TEMPERATURES, |weight, temperature| {
        let scale = TemperatureScale::Squared;
        let config = Dist { example_weight: weight, class_weight: weight, temperature, scale };
        of_weight_one(Imitation::Dist(config), weight, temperature)
    })
}

fn of_weight_one(what: Imitation, weight: f64, temperature: f64) -> Setting {
    let strength = Strength::Weight(1.0);
    let training = Training::Imitation { what, label_weight: 1.0, strength };
    Setting { taught: Taught::Logits, training, weight, temperature: Some(temperature) }
}

/// CE + w · the Dirichlet's term, whose slopes are some tens of the labels'; T stays or falls to 1.
fn members() -> Vec<Setting> {
    pairs([0.03, 0.3], [2.0, 10.0], |weight, t| {
        let falls = Schedule::Linear { from: t, to: 1.0 };
        let schedule = if t > 2.0 { falls } else { Schedule::Constant(t) };
        let (what, strength) = (Imitation::Dirichlet(schedule), Strength::Weight(weight));
        let training = Training::Imitation { what, label_weight: 1.0, strength };
        Setting { taught: Taught::Members, training, weight, temperature: Some(t) }
    })
}

fn adversarial() -> Vec<Setting> {
    let of = |weight, is_conditional| {
        let training =
            Training::Adversarial { gan_loss: GanLoss::NonSaturating, weight, is_conditional };
        Setting { taught: Taught::Nothing, training, weight, temperature: None }
    };
    pairs([0.05, 0.5], [false, true], of)
}

fn mutual() -> Vec<Setting> {
    pairs([0.3, 2.0], TEMPERATURES, |weight, temperature| {
        let training = Training::Mutual { weight, temperature };
        Setting { taught: Taught::Nothing, training, weight, temperature: Some(temperature) }
    })
}

/// Every pair, the first number slowest.
fn pairs<T: Copy>(weights: [f64; 2], with: [T; 2], of: impl Fn(f64, T) -> Setting) -> Vec<Setting> {
    weights.into_iter().flat_map(|weight| with.map(|with| of(weight, with))).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::experiments::methods::METHODS;

    #[test]
    fn every_method_has_as_many_settings_and_rows_on_both_data_sets() {
        let all = methods();
        for method in &all {
            let wanted = if method.row == "none" { 1 } else { N_SETTINGS };
            assert_eq!(method.settings.len(), wanted, "{}", method.row);
            let different: BTreeSet<String> =
                method.settings.iter().map(|setting| format!("{setting:?}")).collect();
            assert_eq!(different.len(), wanted, "{}", method.row);
        }
        for data in ["fashion", "mnist"] {
            let declared: BTreeSet<String> = METHODS
                .rows
                .iter()
                .filter_map(|row| row.id.strip_prefix(&format!("methods/{data}/")))
                .map(str::to_owned)
                .collect();
            let named: BTreeSet<String> = all.iter().map(|method| method.row.to_owned()).collect();
            assert_eq!(declared, named);
        }
    }
}
