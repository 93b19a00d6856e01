//! Fitting a consumer anew to what it gave before something upstream changed, and damping by held-out reconstruction.

use core_tensors::linalg::{Cholesky, product};
use faer::{Mat, MatRef};

use super::algebra::symmetric_root;
use super::moments::{SecondMoments, TargetMoments};
use super::order::{Greedy, Path, greedy};
use super::removal::{Bias, ColumnDamping, Consumer, ConsumerWeights, Removal};
use crate::checks;
use crate::error::{Error, Result};

/// What is fitted anew, to what, and how it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Repair<'a> {
    /// W, (o, n), or (o, n + 1) with the bias last.
    pub weights: MatRef<'a, f64>,
    /// Whether there is a bias.
    pub bias: Bias,
    /// Of the present inputs h̃, with the original outputs as targets t, (o,).
    pub moments: &'a SecondMoments,
    /// The same of other examples.
    pub held_out: &'a SecondMoments,
    /// Shares of the mean diagonal of A to try as ε; "no repair" is always tried.
    pub relative: &'a [f64],
}

/// A consumer after repair.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// W, (o, n).
    pub weights: Mat<f64>,
    /// The bias, (o,), unless it is absent.
    pub bias: Option<Vec<f64>>,
    /// The damping that did best, `None` for no repair.
    pub relative: Option<f64>,
    /// All that was tried, no repair first.
    pub tried: Vec<HeldOut>,
}

/// A damping and how it did on held-out examples.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOut {
    /// ε as a share of the mean diagonal of A; `None` for no repair.
    pub relative: Option<f64>,
    /// E ‖t − z̃‖², with G as its weight where it was given; infinite where the moments are singular at this damping.
    pub error: f64,
}

/// The damping of removal that reconstructs held-out outputs best.
#[derive(Clone, Debug)]
pub struct DampingChoice {
    /// ε as a share of the mean diagonal of A.
    pub relative: f64,
    /// All that was tried, in order.
    pub tried: Vec<HeldOut>,
    /// The removals under the best.
    pub path: Path,
}

/// W ← (E t \[h̃; 1\]ᵀ + ε W)(E \[h̃; 1\]\[h̃; 1\]ᵀ + ε)⁻¹, the bias undamped, with ε by held-out reconstruction.
///
/// It minimizes E ‖t − W̃ \[h̃; 1\]‖² + ε ‖W̃ − W‖². The first of equals is taken, so no repair where nothing is gained.
/// Without a bias ([`Bias::Absent`]) A and C are not centered.
pub fn repair(of: &Repair) -> Result<Repaired> {
    let Repair { weights, bias, moments, held_out, relative } = *of;
    moments.check()?;
    held_out.check()?;
    let (n, o) = (moments.n_columns(), weights.nrows());
    let has_bias = bias == Bias::LastColumn;
    checks::length("columns of a consumer", n + usize::from(has_bias), weights.ncols())?;
    checks::entries("the weights of a consumer", weights)?;
    let targets = targets_of(moments, o)?;
    targets_of(held_out, o)?;
    checks::length("columns of held-out moments", n, held_out.n_columns())?;
    let original = weights.subcols(0, n);
    let of_bias = |i: usize| if has_bias { weights[(i, n)] } else { 0.0 };
    let before: Vec<f64> = (0..o).map(of_bias).collect();
    let error = reconstruction_error(held_out, original, &before)?;
    let mut best = (original.to_owned(), before, None, error);
    let mut tried = vec![HeldOut { relative: None, error }];
    for &share in relative {
        let epsilon = share * moments.scale();
        if !(share >= 0.0 && epsilon.is_finite()) {
            let name = "relative damping of a repair".into();
            return Err(Error::OutOfRange { name, value: share, range: "[0, ∞)" });
        }
        let fitted = fitted(original, bias, moments, targets, epsilon);
        let error = match &fitted {
            Some((weights, bias)) => reconstruction_error(held_out, weights.as_ref(), bias)?,
            None => f64::INFINITY,
        };
        tried.push(HeldOut { relative: Some(share), error });
        if let (Some((weights, bias)), true) = (fitted, error < best.3) {
            best = (weights, bias, Some(share), error);
        }
    }
    let (weights, fitted_bias, relative, _) = best;
    let bias = (bias != Bias::Absent).then_some(fitted_bias);
    Ok(Repaired { weights, bias, relative, tried })
}

/// E ‖t − W h − b‖² from moments with targets; `weights` (o, n), `bias` (o,).
///
/// E ‖t − τ‖² − 2 tr(W C_cᵀ) + tr(W K Wᵀ) + ‖τ − W μ − b‖² with C_c and K centered.
pub fn reconstruction_error(
    moments: &SecondMoments,
    weights: MatRef<f64>,
    bias: &[f64],
) -> Result<f64> {
    let o = weights.nrows();
    let targets = targets_of(moments, o)?;
    checks::length("columns of weights", moments.n_columns(), weights.ncols())?;
    checks::length("numbers of a bias", o, bias.len())?;
    let mut error = targets.power;
    let explained = product(weights, moments.covariance.as_ref()); // (o, n)
    for j in 0..weights.ncols() {
        for i in 0..o {
            error += weights[(i, j)] * (explained[(i, j)] - 2.0 * targets.cross[(i, j)]);
        }
    }
    for i in 0..o {
        let mean: f64 = (0..weights.ncols()).map(|j| weights[(i, j)] * moments.mean[j]).sum();
        error += (targets.mean[i] - mean - bias[i]).powi(2);
    }
    // What is left of a perfect fit is rounding.
    Ok(checks::computed("the error of a reconstruction", error)?.max(0.0))
}

fn targets_of(moments: &SecondMoments, o: usize) -> Result<&TargetMoments> {
    match &moments.targets {
        Some(targets) => {
            checks::length("targets of a consumer", o, targets.mean.len())?;
            Ok(targets)
        }
        None => Err(Error::Refused {
            edit: "repair".into(),
            reason: "the moments have no targets: gather them with targets".into(),
        }),
    }
}

/// The fit at one damping; `None` where A + ε is singular.
fn fitted(
    original: MatRef<f64>,
    bias: Bias,
    moments: &SecondMoments,
    targets: &TargetMoments,
    epsilon: f64,
) -> Option<(Mat<f64>, Vec<f64>)> {
    let (o, n) = (original.nrows(), original.ncols());
    let (mu, tau) = (&moments.mean, &targets.mean);
    let of_means = if bias == Bias::Absent { 1.0 } else { 0.0 };
    let a = Mat::from_fn(n, n, |i, j| {
        let damping = if i == j { epsilon } else { 0.0 };
        moments.covariance[(i, j)] + of_means * mu[i] * mu[j] + damping
    });
    let c = |i: usize, j: usize| {
        targets.cross[(i, j)] + of_means * tau[i] * mu[j] + epsilon * original[(i, j)]
    };
    let mut solved = Mat::from_fn(n, o, |j, i| c(i, j));
    Cholesky::in_place(a).ok()?.solve(solved.as_mut());
    let weights = solved.transpose().to_owned();
    let mean = |i: usize| (0..n).map(|j| weights[(i, j)] * mu[j]).sum::<f64>();
    let bias = (0..o).map(|i| (1.0 - of_means) * (tau[i] - mean(i))).collect();
    let is_finite = weights.col_iter().all(|column| column.iter().all(|v| v.is_finite()));
    is_finite.then_some((weights, bias))
}

/// The greedy removal to the smallest of the widths under each damping, judged there by E ‖z − z̃‖² (weighted by G) on
/// held-out moments, one for each consumer; the first of equals is taken.
pub fn choose_damping(
    consumers: &[Consumer],
    held_out: &[&SecondMoments],
    relative: &[f64],
    options: &Greedy,
) -> Result<DampingChoice> {
    checks::length("held-out moments", consumers.len(), held_out.len())?;
    checks::at_least("dampings to try", 1, relative.len())?;
    let mut tried = Vec::with_capacity(relative.len());
    let mut best: Option<(f64, f64, Path)> = None;
    for &share in relative {
        let path = Removal::new(consumers, ColumnDamping::relative(share))
            .and_then(|removal| greedy(removal, options));
        let path = match path {
            Ok(path) => path,
            // Singular at this damping, or the options are wrong: the others tell.
            Err(error) if tried.len() + 1 == relative.len() && best.is_none() => return Err(error),
            Err(_) => {
                tried.push(HeldOut { relative: Some(share), error: f64::INFINITY });
                continue;
            }
        };
        let mut error = 0.0;
        if let Some(last) = path.snapshots.last() {
            for ((consumer, held_out), now) in consumers.iter().zip(held_out).zip(&last.consumers) {
                error += change(consumer, held_out, now)?;
            }
        }
        tried.push(HeldOut { relative: Some(share), error });
        if best.as_ref().is_none_or(|(_, least, _)| error < *least) {
            best = Some((share, error, path));
        }
    }
    match best {
        Some((relative, _, path)) => Ok(DampingChoice { relative, tried, path }),
        None => Err(Error::Refused {
            edit: "surgery".into(),
            reason: "every damping that was tried left singular moments: try larger ones".into(),
        }),
    }
}

/// tr(D A Dᵀ G) for the change D of weights and bias.
pub(super) fn change(
    consumer: &Consumer,
    moments: &SecondMoments,
    now: &ConsumerWeights,
) -> Result<f64> {
    let n = consumer.moments.n_columns();
    checks::length("columns of held-out moments", n, moments.n_columns())?;
    moments.check()?;
    let o = consumer.weights.nrows();
    let mut d = consumer.weights.subcols(0, n).to_owned();
    for (j, &column) in now.columns.iter().enumerate() {
        (0..o).for_each(|i| d[(i, column)] -= now.weights[(i, j)]);
    }
    let old = |i: usize| match consumer.bias {
        Bias::LastColumn => consumer.weights[(i, n)],
        Bias::Added | Bias::Absent => 0.0,
    };
    let new = |i: usize| now.bias.as_ref().map_or(0.0, |bias| bias[i]);
    let mean =
        |i: usize| (0..n).map(|j| d[(i, j)] * moments.mean[j]).sum::<f64>() + old(i) - new(i);
    let mut means = Mat::from_fn(o, 1, |i, _| mean(i));
    if let Some(g) = &consumer.output {
        let root = symmetric_root(g.as_ref())?;
        (d, means) = (product(root.as_ref(), d.as_ref()), product(root.as_ref(), means.as_ref()));
    }
    let through = product(d.as_ref(), moments.covariance.as_ref());
    let of_column = |j: usize| through.col(j).transpose() * d.col(j);
    Ok((0..n).map(of_column).sum::<f64>() + means.squared_norm_l2())
}
