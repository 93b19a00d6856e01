//! Papers 000 and 004, the theorem on regression: a distilled linear student is a weighted least-squares fit.

use std::collections::BTreeMap;

use anyhow::Result;
use candle_core::{Device, Tensor};
use core_tensors::linalg::RankPolicy;
use core_tensors::{Dataset, Privileged, Rng, Targets};
use losses::{Regression, Weights};
use serde::Serialize;

use crate::experiments::{Experiment, Outcome, Parts, Task};
use crate::ledger::{Check, Claim, Curve, Metric, Point, Scale, metric};
use crate::training::{CHUNK, linear_student, linear_student_stacked};

const N_EXAMPLES: usize = 100;
const N_FEATURES: usize = 20;
/// Standard deviation of a label from w·x.
const NOISE: f64 = 1.0;
/// Standard deviation of the teacher's feature x* from w·x.
const PRIVILEGED_NOISE: f64 = 0.3;
/// One known answer in so many.
const ONE_IN: usize = 4;
/// λ of the arms that are compared.
const LAMBDA: f64 = 0.5;
/// λ at which the theorem is checked.
const LAMBDAS: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];
/// What the theorem's two sides may differ by: rounding of f64 in a well-posed fit.
const EXACT: f64 = 1e-10;

#[derive(Clone, Copy, Serialize)]
struct Settings {
    examples: usize,
    features: usize,
}

fn config(lambda: f64, weights: Weights) -> Regression {
    Regression {
        teacher_weight: lambda,
        label_variance: NOISE * NOISE,
        teacher_variance: PRIVILEGED_NOISE * PRIVILEGED_NOISE,
        weights,
    }
}

fn column(values: Vec<f64>, width: usize) -> Result<Tensor> {
    let n = values.len() / width;
    Ok(Tensor::from_vec(values, (n, width), &Device::Cpu)?)
}

/// w, and x, y = w·x + ε, x* = w·x + 0.3 ε* of every example.
fn sample(rng: &Rng) -> Result<(Vec<f64>, Privileged)> {
    let mut draws = rng.split("objects");
    let mut normals = |n: usize| -> Vec<f64> { (0..n).map(|_| draws.normal()).collect() };
    let (w, x) = (normals(N_FEATURES), normals(N_EXAMPLES * N_FEATURES));
    let score = |x: &[f64]| x.iter().zip(&w).map(|(x, w)| x * w).sum::<f64>();
    let predictions: Vec<f64> = x.chunks_exact(N_FEATURES).map(score).collect();
    let noisy = |noise: Vec<f64>, std: f64| -> Vec<f64> {
        predictions.iter().zip(noise).map(|(s, e)| s + std * e).collect()
    };
    let (y, x_star) =
        (noisy(normals(N_EXAMPLES), NOISE), noisy(normals(N_EXAMPLES), PRIVILEGED_NOISE));
    let data = Dataset::new(column(x, N_FEATURES)?, Targets::Values(column(y, 1)?))?;
    Ok((w, Privileged::everywhere(data, column(x_star, 1)?)?))
}

fn fit(data: &Dataset, config: &Regression) -> Result<Vec<f64>> {
    let w = linear_student(data, config, 0.0, RankPolicy::Full)?;
    Ok(w.flatten_all()?.to_vec1()?)
}

/// Largest difference of two vectors.
fn gap(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

fn run(task: &Task) -> Result<Outcome> {
    let rng = Rng::new(task.part.seed()).split("linear regression");
    let (truth, examples) = sample(&rng)?;
    // The teacher knows that x* is the score but for noise.
    let taught = examples.with_teacher(CHUNK, Tensor::contiguous)?;
    let order = rng.split("known").permutation(N_EXAMPLES);
    let some = taught.clone().known_for(&order[..N_EXAMPLES / ONE_IN])?;
    let mut outcome = Outcome::default();
    let mut add = |row: &str, metric: Metric, value: f64| {
        outcome.add(row, BTreeMap::from([(metric.key(), Curve::from([value]))]));
    };

    let mut forms = 0.0f64;
    for lambda in LAMBDAS {
        for weights in [Weights::Likelihood, Weights::AsPrinted] {
            let config = config(lambda, weights);
            let stacked = linear_student_stacked(&some, &config, 0.0, RankPolicy::Full)?;
            let stacked = stacked.flatten_all()?.to_vec1::<f64>()?;
            forms = forms.max(gap(&fit(&some, &config)?, &stacked));
        }
    }
    add("linear-regression/two-forms", metric::GAP, forms);

    let alone = fit(examples.data(), &config(0.0, Weights::Likelihood))?;
    let solution = column(alone.clone(), 1)?;
    let imitated = examples.data().clone().with_teacher(CHUNK, |x| x.matmul(&solution))?;
    let mut change = 0.0f64;
    for lambda in LAMBDAS {
        change = change.max(gap(&fit(&imitated, &config(lambda, Weights::Likelihood))?, &alone));
    }
    add("linear-regression/own-fit", metric::GAP, change);

    // E (x·ŵ − x·w)² for x ~ N(0, I).
    let excess = |w: &[f64]| w.iter().zip(&truth).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
    add("linear-regression/none", metric::EXCESS, excess(&alone));
    for (row, data, weights) in [
        ("linear-regression/all", &taught, Weights::Likelihood),
        ("linear-regression/quarter", &some, Weights::Likelihood),
        ("linear-regression/all-literal", &taught, Weights::AsPrinted),
        ("linear-regression/quarter-literal", &some, Weights::AsPrinted),
    ] {
        add(row, metric::EXCESS, excess(&fit(data, &config(LAMBDA, weights))?));
    }
    Ok(outcome)
}

/// The theorem, and what the variances are worth.
pub(in crate::experiments) static LINEAR_REGRESSION: Experiment = Experiment {
    id: "linear-regression",
    title: "Linear regression with a teacher in closed form",
    source: "004, 000",
    summary: "100 objects x ~ N(0, I) with 20 features, y = w·x + ε, ε of deviation 1; the teacher is told x* = w·x + ε*, ε* of \
        deviation 0.3, and answers with it, for all objects or for a quarter. The student minimises the likelihood with \
        λ = 1/2 and the true variances in closed form; the literal rows multiply by the variances, as the papers' formula \
        does. Two forms of the solution, by pseudo-targets and by stacked rows, must agree at every λ, and a teacher that is \
        the least-squares fit itself must change nothing.",
    data: &[],
    settings: |_: Scale| {
        let settings = Settings { examples: N_EXAMPLES, features: N_FEATURES };
        Ok(serde_json::to_value(settings)?)
    },
    parts: Parts::USUAL,
    run,
    rows: rows!(
        [("linear-regression")] {
            {
                "two-forms" => "pseudo-targets against stacked rows";
                "own-fit" => "teacher = the least-squares fit: change";
                "none" => "no teacher";
            }
            against "none" {
                "all" => "teacher of all objects";
                "quarter" => "teacher of a quarter";
            }
            against "all" { "all-literal" => "teacher of all, the papers' weights"; }
            against "quarter" { "quarter-literal" => "teacher of a quarter, the papers' weights"; }
        }
    ),
    claims: &[Claim {
        id: "C15",
        text: "A distilled linear regression is the weighted least-squares fit to pseudo-targets, and a teacher that is the \
            least-squares fit to the same data changes nothing. (With the variances as variances.)",
        published: &[],
        min_seeds: 3,
        checks: &[
            Check::exact(metric::GAP, "linear-regression/two-forms", 0.0, EXACT),
            Check::exact(metric::GAP, "linear-regression/own-fit", 0.0, EXACT),
        ],
    }],
    point: Point::Epoch,
    figures: &[],
};
