//! Values that other programs made (tests/reference): laplace-torch, NumPy, mpmath.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod dense;

use bayes_posterior::{
    AnyPosterior, Covariance, Curvature, Damping, Full, Gaussian, KroneckerEigen, LaplacePosterior,
    LayerCurvature, LowRank, LowRankForm, Posterior, Predictive, PruningCriterion, RankInput,
    Spectrum, linearized_predictive, rank, with_posterior,
};
use candle_core::{Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Params, Rng, Targets};
use dense::{TestResult, f64_params, network, to_dense, vector_distance};
use faer::Mat;
use losses::Likelihood;
use models::{Architecture, Mlp};
use serde_json::Value;

type Found<T> = Result<T, Box<dyn std::error::Error>>;

fn cases(name: &str) -> Found<Vec<Value>> {
    let path = format!("{}/../../tests/reference/{name}.json", env!("CARGO_MANIFEST_DIR"));
    Ok(serde_json::from_str(&std::fs::read_to_string(path)?)?)
}

/// The numbers of a value, however deep its lists.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn matrix(value: &Value) -> Mat<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    Mat::from_fn(rows.len(), rows.first().map_or(0, Vec::len), |i, j| rows[i][j])
}

/// A network with data and weights of a reference.
struct Case {
    network: Mlp,
    params: Params,
    data: Dataset,
    likelihood: Likelihood,
    prior_precision: f64,
}

impl Case {
    fn new(case: &Value, widths: &[usize], bias: bool, is_regression: bool) -> Found<Self> {
        let network = Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias };
        let (x, w) = (numbers(&case["x"]), numbers(&case["weights"]));
        let (n, k) = (widths[0], widths[widths.len() - 1]);
        let m = x.len() / n;
        let x = Tensor::from_vec(x, (m, n), &Device::Cpu)?;
        let y = numbers(&case["y"]);
        let (y, likelihood) = if is_regression {
            let variance = number(&case["noise_variance"]);
            let y = Tensor::from_vec(y, (m, k), &Device::Cpu)?;
            (Targets::Values(y), Likelihood::Normal { variance })
        } else {
            let labels: Vec<u32> = y.iter().map(|&y| y as u32).collect();
            let labels = Tensor::from_vec(labels, m, &Device::Cpu)?;
            (Targets::Classes { labels, n_classes: k }, Likelihood::Categorical)
        };
        let params = f64_params(&network, &w)?;
        let prior_precision = number(&case["prior_precision"]);
        Ok(Self { network, params, data: Dataset::new(x, y)?, likelihood, prior_precision })
    }

    fn laplace(&self, curvature: Curvature) -> Found<LaplacePosterior<AnyPosterior>> {
        let Self { network, params, data, likelihood, prior_precision } = self;
        Ok(dense::laplace(network, params, data, likelihood, *prior_precision).fit(curvature)?)
    }
}

fn close(context: &str, found: f64, wanted: f64, tolerance: f64) {
    let gap = (found - wanted).abs();
    assert!(gap <= tolerance * (1.0 + wanted.abs()), "{context}: {found} {wanted}");
}

fn all_close(context: &str, found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len(), "{context}");
    let gap = vector_distance(wanted, found);
    assert!(gap <= tolerance, "{context}: {gap:e}");
}

#[test]
fn laplace_posteriors_equal_laplace_torch() -> TestResult {
    let cases = cases("laplace_torch")?;
    assert_eq!(cases.len(), 36);
    let mut n_compared = 0;
    for case in &cases {
        let widths: Vec<usize> = numbers(&case["widths"]).iter().map(|&n| n as usize).collect();
        let is_regression = case["task"] == "regression";
        let run = Case::new(case, &widths, case["bias"] == true, is_regression)?;
        // At δ = 1e-4 the precision is near singular: rounding times its condition.
        let tolerance = if run.prior_precision < 1e-3 { 1e-7 } else { 1e-10 };
        let x_new = numbers(&case["x_new"]);
        let x_new = Tensor::from_vec(x_new, (3, widths[0]), &Device::Cpu)?;
        for (name, curvature) in [
            ("full", Curvature::Full),
            ("diagonal", Curvature::Diagonal),
            ("kronecker", Curvature::Kronecker),
            ("low_rank_2", Curvature::LowRank { rank: 2 }),
            ("low_rank_5", Curvature::LowRank { rank: 5 }),
        ] {
            let wanted = &case["structures"][name];
            if wanted.is_null() {
                continue;
            }
            n_compared += 1;
            let context = format!("{} {name}, prior {}", case["name"], run.prior_precision);
            let found = run.laplace(curvature)?;
            close(&context, found.log_likelihood, number(&case["log_likelihood"]), 1e-12);
            close(&context, found.log_evidence, number(&wanted["log_evidence"]), tolerance);
            let (v, log_det, predicted) = with_posterior!(&found.posterior, p => {
                let covariance = p.gaussian().covariance();
                let predicted = linearized_predictive(&run.network, p.gaussian(), &x_new, &run.likelihood)?;
                (covariance.diagonal()?, covariance.log_det()?, predicted)
            });
            all_close(&context, &v, &numbers(&wanted["variances"]), tolerance);
            close(&context, log_det, number(&wanted["log_det_covariance"]), tolerance);
            predictions(&context, &predicted, wanted, is_regression, tolerance);
        }
        let AnyPosterior::KroneckerEigen(exact) = run.laplace(Curvature::Kronecker)?.posterior
        else {
            return Err("another structure".into());
        };
        let pair = exact.to_kronecker(Damping::Prior)?;
        let wanted = &case["structures"]["kronecker_projection"];
        let context = format!("{}, nearest pair", case["name"]);
        let v = pair.gaussian().covariance().diagonal()?;
        all_close(&context, &v, &numbers(&wanted["variances"]), tolerance);
        let log_det = pair.gaussian().covariance().log_det()?;
        close(&context, log_det, number(&wanted["log_det_covariance"]), tolerance);
    }
    assert!(n_compared >= 36 * 3, "{n_compared}");
    Ok(())
}

fn predictions(
    context: &str,
    found: &Predictive,
    wanted: &Value,
    is_regression: bool,
    tolerance: f64,
) {
    all_close(context, &found.entropy, &numbers(&wanted["entropy"]), tolerance);
    let information = numbers(&wanted["mutual_information"]);
    all_close(context, &found.mutual_information, &information, tolerance);
    if is_regression {
        let variance = numbers(&wanted["predictive_variance"]);
        all_close(context, &found.variance, &variance, tolerance);
    } else {
        all_close(context, &found.mean, &numbers(&wanted["probit_mean"]), tolerance);
    }
}

#[test]
fn a_linear_model_where_kronecker_is_exact() -> TestResult {
    for case in &cases("case27")? {
        let p = numbers(&case["weights"]).len();
        let n = numbers(&case["x"]).len() / numbers(&case["y"]).len();
        let run = Case::new(case, &[n, 1], p > n, true)?;
        for (name, curvature) in [
            ("full", Curvature::Full),
            ("kronecker", Curvature::Kronecker),
            ("diagonal", Curvature::Diagonal),
        ] {
            let found = run.laplace(curvature)?;
            let wanted = &case[name];
            close(name, found.log_likelihood, number(&case["log_likelihood"]), 1e-12);
            close(name, found.log_evidence, number(&wanted["log_evidence"]), 1e-12);
            let v = with_posterior!(&found.posterior, p => p.gaussian().covariance().diagonal()?);
            all_close(name, &v, &numbers(&wanted["variances"]), 1e-11);
        }
    }
    Ok(())
}

#[test]
fn nearest_pairs_equal_those_of_mpmath() -> TestResult {
    let cases = cases("kronecker_projection")?;
    for case in &cases {
        let n = number(&case["N"]);
        let g = matrix(&case["G"]) * faer::Scale(n);
        let a = matrix(&case["A"]);
        let (rows, cols) = (g.nrows(), a.nrows());
        // Diagonal factors over many decades: an eigenvalue found from the matrix has the rounding of the largest.
        let spectrum = |m: &Mat<f64>| {
            let values = (0..m.nrows()).map(|i| m[(i, i)]).collect();
            match case["covariance"].is_null() {
                true => Spectrum::new(Mat::identity(m.nrows(), m.nrows()), values),
                false => Spectrum::of(m.as_ref()),
            }
        };
        let layer = LayerCurvature { rows: spectrum(&g)?, columns: spectrum(&a)? };
        let exact = KroneckerEigen::new(vec![layer], number(&case["prior_precision"]))?;
        let model = network(&[cols, rows], false);
        let gaussian = Gaussian::new(model.layout(), vec![0.0; rows * cols], exact)?;
        let pair = Posterior::new(model, gaussian)?.to_kronecker(Damping::Prior)?;
        let found = pair.gaussian().covariance();
        let context = case["name"].to_string();
        if case["covariance"].is_null() {
            let wanted = numbers(&case["diagonal"]);
            for (found, wanted) in found.diagonal()?.iter().zip(&wanted) {
                // Where no iteration converges (no count of steps) the divergence is all but flat: ε over a slope of 1e-8.
                let tolerance = if case["sinkhorn_steps"].is_null() { 1e-6 } else { 1e-9 };
                assert!(
                    (found / wanted - 1.0).abs() < tolerance,
                    "{context}: {found:e} {wanted:e}"
                );
            }
        } else {
            let dense: Vec<f64> = to_dense(found).into_iter().flatten().collect();
            all_close(&context, &dense, &numbers(&case["covariance"]), 1e-8);
            close(&context, found.log_det()?, number(&case["log_det_covariance"]), 1e-8);
        }
    }
    assert_eq!(cases.len(), 13);
    Ok(())
}

#[test]
fn belsleys_orders_equal_numpy() -> TestResult {
    let cases = cases("belsley")?;
    for case in &cases {
        let units = matrix(&case["covariance"]);
        let n = units.nrows();
        let model = network(&[1, n, 1], false);
        let covariance =
            Mat::from_fn(2 * n, 2 * n, |i, j| match (i.checked_sub(n), j.checked_sub(n)) {
                (Some(i), Some(j)) => units[(i, j)],
                _ => f64::from(i == j),
            });
        let gaussian = Gaussian::new(model.layout(), vec![1.0; 2 * n], Full::new(covariance)?)?;
        let input = RankInput {
            network: &model,
            weights: gaussian.mean(),
            posterior: Some(&gaussian),
            data: None,
        };
        for (removal, order) in [
            ("published", PruningCriterion::Belsley),
            ("ascending", PruningCriterion::BelsleyCovariance),
        ] {
            let ranked = rank(order, &input, 1, &mut Rng::new(0))?;
            let context = format!("{} {removal}", case["name"]);
            let found: Vec<f64> = ranked.iter().map(|r| r.unit as f64).collect();
            assert_eq!(found, numbers(&case[removal]["order"]), "{context}");
            let indices: Vec<f64> = ranked.iter().map(|r| -r.score).collect();
            all_close(&context, &indices, &numbers(&case[removal]["indices"]), 1e-9);
        }
    }
    assert_eq!(cases.len(), 6);
    Ok(())
}

#[test]
fn low_rank_inverses_equal_those_of_160_digits() -> TestResult {
    let cases = cases("low_rank")?;
    for case in &cases {
        let (d, x) = (numbers(&case["d"]), numbers(&case["x"]));
        let factor = matrix(&case["F"]);
        let precision = LowRank::new(LowRankForm::Precision, factor.clone(), d.clone())?;
        let covariance = LowRank::new(LowRankForm::Covariance, factor, d.clone())?;
        let context = case["name"].to_string();
        let each = |what: &str, found: Vec<f64>, wanted: &str| {
            for (found, wanted) in found.iter().zip(numbers(&case[wanted])) {
                let gap = (found - wanted).abs();
                assert!(gap <= 1e-10 * wanted.abs(), "{context}, {what}: {found:e} {wanted:e}");
            }
        };
        each("diagonal", precision.diagonal()?, "inverse_diagonal");
        each("precision diagonal", covariance.precision_diagonal()?, "inverse_diagonal");
        each("sum", precision.precision_diagonal()?, "sum_diagonal");
        each("quadratic", vec![precision.precision_quadratic(&x)?], "quadratic");
        each("inverse quadratic", vec![covariance.precision_quadratic(&x)?], "inverse_quadratic");
        close(&context, covariance.log_det()?, number(&case["log_det"]), 1e-11);
        // A number of the product moves by what the rounding of x moves it: its own variance times ε |x|, and more.
        let inverse = precision.diagonal()?;
        let wanted = numbers(&case["inverse_times_x"]);
        for (i, found) in precision.apply(&x)?.iter().enumerate() {
            let rounding: f64 =
                (0..x.len()).map(|j| (inverse[i] * inverse[j]).sqrt() * x[j].abs()).sum();
            let gap = (found - wanted[i]).abs();
            assert!(gap <= 1e-12 * rounding, "{context}, product: {found:e} {:e}", wanted[i]);
        }
    }
    assert_eq!(cases.len(), 17);
    Ok(())
}

#[test]
fn the_information_of_a_linearized_classifier_equals_numpy() -> TestResult {
    let mut n_negative = 0;
    for case in &cases("mutual_information")? {
        let f = numbers(&case["f"]);
        let model = network(&[1, f.len()], false);
        let covariance = Full::new(matrix(&case["covariance"]))?;
        let gaussian = Gaussian::new(model.layout(), f, covariance)?;
        let x = Tensor::ones((1, 1), candle_core::DType::F64, &Device::Cpu)?;
        let found = linearized_predictive(&model, &gaussian, &x, &Likelihood::Categorical)?;
        let wanted = &case["probit"];
        let context = case["name"].to_string();
        all_close(&context, &found.mean, &numbers(&wanted["mean"]), 1e-12);
        close(&context, found.entropy[0], number(&wanted["entropy"]), 1e-12);
        let information = number(&wanted["mutual_information"]);
        close(&context, found.mutual_information[0], information, 1e-12);
        n_negative += usize::from(number(&wanted["entropy_difference"]) < -0.1);
    }
    assert!(n_negative > 0);
    Ok(())
}
