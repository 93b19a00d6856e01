//! Finite in, finite out: numbers that are none are refused where they enter, and results that overflow are errors.

mod dense;

use bayes_posterior::{
    AnyPosterior, BlockDiagonal, Covariance, Curvature, Damping, Diagonal, Edit, EditOptions,
    Estimator, Factors, FixedWeights, Full, Gaussian, GaussianDensity, Group, Inference, Kronecker,
    KroneckerEigen, LayerCurvature, LowRank, LowRankForm, MeanField, Posterior, Provenance,
    PruningCriterion, RankInput, Removal, Spectrum, Structure, VariationalPrior,
    log_evidence_change, rank, transform, transform_kronecker,
};
use candle_core::{Device, Tensor};
use core_tensors::{AdamConfig, Dataset, Rng, Targets};
use dense::{TestResult, f64_params, network};
use faer::Mat;
use losses::Likelihood;
use models::{Architecture, Mlp};

fn message<T>(result: Result<T, bayes_posterior::Error>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_default()
}

/// The identity but for one entry.
fn with(n: usize, at: (usize, usize), value: f64) -> Mat<f64> {
    Mat::from_fn(n, n, |i, j| if (i, j) == at { value } else { f64::from(i == j) })
}

#[test]
fn constructors_name_the_number_that_is_none() {
    for (bad, shown) in [(f64::NAN, "NaN"), (f64::INFINITY, "inf"), (-f64::INFINITY, "-inf")] {
        for (i, j) in [(0, 1), (1, 0), (1, 1)] {
            let entry =
                |of: &str| format!("entry ({i}, {j}) of {of} must lie in (−∞, ∞), got {shown}");
            let matrix = with(2, (i, j), bad);
            let one = || Mat::identity(1, 1);
            assert_eq!(message(Full::new(matrix.clone())), entry("a covariance"));
            let blocks = BlockDiagonal::new(Group::Unit, vec![one(), matrix.clone()]);
            assert_eq!(message(blocks), entry("block 1 of a covariance"));
            let rows = Factors::new(matrix.clone(), one());
            assert_eq!(message(rows), entry("the rows of a Kronecker layer"));
            let columns = Factors::new(one(), matrix.clone());
            assert_eq!(message(columns), entry("the columns of a Kronecker layer"));
            let spectrum = Spectrum::new(matrix.clone(), vec![1.0; 2]);
            assert_eq!(message(spectrum), entry("eigenvectors of a curvature"));
            assert_eq!(message(Spectrum::of(matrix.as_ref())), entry("a curvature"));
            let low_rank = LowRank::new(LowRankForm::Precision, matrix, vec![1.0; 2]);
            assert_eq!(message(low_rank), entry("a low-rank factor"));
        }
        let values = vec![1.0, bad];
        let spectrum = Spectrum::new(Mat::identity(2, 2), values.clone());
        assert_eq!(
            message(spectrum),
            format!("eigenvalue 1 of a curvature must lie in [0, ∞), got {shown}")
        );
        let positive = |of: &str| format!("{of} of parameter 1 must lie in (0, ∞), got {shown}");
        assert_eq!(message(Diagonal::new(values.clone())), positive("variance"));
        let low_rank = LowRank::new(LowRankForm::Covariance, Mat::zeros(2, 1), values.clone());
        assert_eq!(message(low_rank), positive("diagonal of a low-rank structure"));
        let layout = network(&[2, 1], false).layout();
        let gaussian = Gaussian::new(layout, values, Full::new(Mat::identity(2, 2)).unwrap());
        assert_eq!(
            message(gaussian),
            format!("mean of parameter 1 must lie in (−∞, ∞), got {shown}")
        );
        assert!(KroneckerEigen::new(vec![], bad).is_err());
    }
    for variance in [0.0, -0.0, -1.0] {
        assert_eq!(
            message(Full::new(with(2, (1, 1), variance))),
            format!("entry (1, 1) of a covariance must lie in (0, ∞), got {variance}")
        );
    }
    // Mirrored up to ∞ ≤ 1e-9 · ∞ where the product of the variances overflows.
    let large = Mat::from_fn(2, 2, |i, j| [[1e300, 1e290], [-1e290, 1e300]][i][j]);
    assert!(Full::new(large).is_ok());
    let large = Mat::from_fn(2, 2, |i, j| [[1e300, 1e299], [-1e299, 1e300]][i][j]);
    assert!(message(Full::new(large)).contains("entry (0, 1) equal to (1, 0)"));
    let curvature = |g: f64| {
        let spectrum = || Spectrum::new(Mat::identity(1, 1), vec![g]).unwrap();
        LayerCurvature { rows: spectrum(), columns: spectrum() }
    };
    assert_eq!(
        message(KroneckerEigen::new(vec![curvature(1.0), curvature(1e200)], 1.0)),
        "largest eigenvalue of the curvature of layer 2 must lie in (−∞, ∞), got inf"
    );
    assert!(message(KroneckerEigen::new(vec![], 1e-310)).contains("1 / prior precision"));
}

/// A network of two weights in, two hidden units, one out, without biases.
fn posterior<S: Covariance>(
    mean: [f64; 6],
    covariance: S,
) -> Result<Posterior<S>, bayes_posterior::Error> {
    let model = network(&[2, 2, 1], false);
    let gaussian = Gaussian::new(model.layout(), mean.to_vec(), covariance)?;
    Posterior::new(model, gaussian)
}

fn edited<S: Structure>(mean: [f64; 6], covariance: S, removal: Removal) -> String {
    let plan = [Edit::RemoveUnits { layer: 1, units: vec![1] }];
    let options = EditOptions { removal, ..EditOptions::strict() };
    message(posterior(mean, covariance).and_then(|p| transform(p, &plan, &options)))
}

#[test]
fn edits_that_overflow_say_of_what() -> TestResult {
    let mut mean = [1.0; 6];
    mean[5] = 1e200;
    let beyond = ", wanted one in (−∞, ∞): the numbers it is made of are too large, too small or too nearly dependent for f64";
    for removal in [Removal::Marginal, Removal::ConditionAll] {
        let text = edited(mean, Diagonal::new(vec![1.0; 6])?, removal);
        let of = "the quadratic form of the numbers that an edit fixes came out as inf";
        assert_eq!(text, format!("{of}{beyond}"));
    }
    // A mean of 1.7e308 moves by 9e153 · 1e154.
    (mean[4], mean[5]) = (1.7e308, -1e154);
    let mut dependent = with(6, (4, 4), 1.7e308);
    (dependent[(4, 5)], dependent[(5, 4)]) = (9e153, 9e153);
    let text = edited(mean, Full::new(dependent)?, Removal::Marginal);
    let of = "mean of parameter 2, of what an edit leaves, came out as inf";
    assert_eq!(text, format!("{of}{beyond}"));
    // What fixing leaves of a variance is none: 1 − 1² / 1.
    let mut certain = Mat::identity(6, 6);
    (certain[(4, 5)], certain[(5, 4)]) = (1.0, 1.0);
    let text = edited([1.0; 6], Full::new(certain)?, Removal::Marginal);
    let of =
        "entry (2, 2) of a covariance, of what an edit leaves, came out as 0, wanted one in (0, ∞)";
    assert!(text.starts_with(of), "{text}");
    Ok(())
}

#[test]
fn pairs_of_factors_that_overflow_are_errors() -> TestResult {
    let spectrum = |n: usize, value: f64| Spectrum::new(Mat::identity(n, n), vec![value; n]);
    let layer = |n, c, value| -> Result<LayerCurvature, bayes_posterior::Error> {
        Ok(LayerCurvature { rows: spectrum(n, value)?, columns: spectrum(c, value)? })
    };
    let mut n_refused = 0;
    for value in [0.0, 1e-300, 1e-160, 1.0, 1e150] {
        for precision in [1e-307, 1.0, 1e307] {
            let layers = vec![layer(2, 2, value)?, layer(1, 2, value)?];
            let exact = posterior([1.0; 6], KroneckerEigen::new(layers, precision)?)?;
            let plan = [Edit::RemoveUnits { layer: 1, units: vec![1] }];
            for damping in
                [Damping::Prior, Damping::numerical(), Damping::Numerical { epsilon: 1e300 }]
            {
                let written = |any: AnyPosterior| -> TestResult {
                    AnyPosterior::from_bytes(&any.to_bytes(&Provenance::default())?)?;
                    Ok(())
                };
                if let Ok(pair) = exact.to_kronecker(damping) {
                    written(AnyPosterior::Kronecker(pair))?;
                }
                match transform_kronecker(&exact, &plan, &EditOptions::strict(), damping) {
                    Ok(left) => {
                        written(AnyPosterior::Kronecker(left.posterior))?;
                        assert!(left.fixed[0].density.log_density().is_finite());
                    }
                    Err(error) => {
                        n_refused += 1;
                        assert!(!error.to_string().is_empty());
                    }
                }
            }
        }
    }
    assert!((1..45).contains(&n_refused), "{n_refused}");
    // G A is 1, but what the prior adds to A, 10 / G, is beyond f64.
    let layer = |n| -> Result<LayerCurvature, bayes_posterior::Error> {
        Ok(LayerCurvature { rows: spectrum(n, 1e-308)?, columns: spectrum(2, 1e308)? })
    };
    let exact = posterior([1.0; 6], KroneckerEigen::new(vec![layer(2)?, layer(1)?], 10.0)?)?;
    let text = message(exact.to_kronecker(Damping::Prior));
    assert!(text.contains("Kronecker layer 1, of the pair of factors, came out as "), "{text}");
    Ok(())
}

#[test]
fn evidence_that_overflows() {
    let of = |quadratic, log_det, squared_values| FixedWeights {
        density: GaussianDensity { n: 1, quadratic, log_det },
        squared_values,
    };
    for fixed in [of(f64::INFINITY, 0.0, 0.0), of(0.0, f64::NAN, 0.0), of(0.0, 0.0, f64::INFINITY)]
    {
        let text = message(log_evidence_change(&fixed, 1.0));
        assert!(text.starts_with("the change of the log evidence came out as "), "{text}");
    }
    assert!(log_evidence_change(&of(0.0, 0.0, 1e200), 1e200).is_err());
    assert!(log_evidence_change(&of(1.0, 1.0, 1.0), 1.0).is_ok());
}

fn regression(x: f64, y: f64) -> Result<Dataset, Box<dyn std::error::Error>> {
    let of = |value: f64, n: usize| Tensor::full(value, (3, n), &Device::Cpu);
    Ok(Dataset::new(of(x, 2)?, Targets::Values(of(y, 1)?))?)
}

#[test]
fn a_likelihood_or_evidence_that_overflows() -> TestResult {
    let model = network(&[2, 2, 1], false);
    let normal = Likelihood::Normal { variance: 1.0 };
    let curvatures = [
        Curvature::Diagonal,
        Curvature::Kronecker,
        Curvature::LowRank { rank: 2 },
        Curvature::Full,
    ];
    for curvature in curvatures {
        let of =
            |w: f64, x: f64, y: f64, precision: f64| -> Result<_, Box<dyn std::error::Error>> {
                let params = f64_params(&model, &[w; 6])?;
                Ok(dense::laplace(&model, &params, &regression(x, y)?, &normal, precision)
                    .fit(curvature))
            };
        for (x, y) in
            [(1.0, 1e200), (1.0, f64::INFINITY), (1e160, 1.0), (1e308, 1.0), (f64::NAN, 1.0)]
        {
            let text = message(of(1.0, x, y, 1.0)?);
            assert!(text.starts_with("the log-likelihood of the data came out as "), "{text}");
        }
        let text = message(of(f64::NAN, 1.0, 1.0, 1.0)?);
        assert_eq!(text, "weight of parameter 0 must lie in (−∞, ∞), got NaN");
        // −½ a ‖w‖², with a ReLU that is never on so that the fit is finite.
        let text = message(of(-1e10, 1.0, 1.0, 1e300)?);
        assert!(text.starts_with("the log evidence came out as -inf"), "{text}");
        assert!(of(1.0, 1.0, 1.0, 1.0)?.is_ok());
    }
    Ok(())
}

#[test]
fn a_bound_that_overflows() -> TestResult {
    let model = network(&[2, 1], false);
    let q = |mean: f64| {
        let (layout, mean) = (model.layout(), [mean; 2]);
        MeanField::from_vectors(AdamConfig::pytorch(1e-3), &layout, &mean, &[1e-6; 2], &Device::Cpu)
    };
    let inference = |precision| Inference {
        network: &model,
        likelihood: Likelihood::Normal { variance: 1e-300 },
        prior: VariationalPrior::Isotropic { precision },
        n_examples: 3,
        kl_weight: 1.0,
        estimator: Estimator::Reparametrization,
    };
    let x = Tensor::ones((3, 2), candle_core::DType::F32, &Device::Cpu)?;
    let y = Targets::Values(Tensor::full(1e30f32, (3, 1), &Device::Cpu)?);
    let data = Dataset::new(x, y)?;
    let text = message(inference(1.0).bound(&q(0.0)?, &data, 2, &mut Rng::new(0)));
    assert!(text.starts_with("the expected log-likelihood of a bound came out as "), "{text}");
    let text = message(inference(1e300).divergence(&q(1e30)?));
    assert!(text.starts_with("KL(q ‖ p) came out as inf"), "{text}");
    Ok(())
}

/// What a rule says of a covariance over the six weights.
fn ranked<S: Covariance>(
    order: PruningCriterion,
    covariance: S,
) -> Result<Result<(), bayes_posterior::Error>, Box<dyn std::error::Error>> {
    let p = posterior([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], covariance)?;
    let (network, weights) = (p.network(), p.gaussian().mean());
    let input = RankInput { network, weights, posterior: Some(p.gaussian()), data: None };
    let mut rng = Rng::new(0);
    Ok(rank(order, &input, 1, &mut rng).map(|ranked| {
        assert!(ranked.iter().all(|r| r.score.is_finite()));
    }))
}

/// The rules that read a covariance.
const READERS: [PruningCriterion; 6] = [
    PruningCriterion::OptimalBrainDamage,
    PruningCriterion::Density,
    PruningCriterion::SignalToNoise,
    PruningCriterion::Belsley,
    PruningCriterion::BelsleyCovariance,
    PruningCriterion::Greedy,
];

#[test]
fn rules_refuse_a_covariance_that_is_not_positive_definite() -> TestResult {
    let matrix = |n: usize, a: usize, b: usize| {
        let off = |i, j| (i, j) == (a, b) || (i, j) == (b, a);
        Mat::from_fn(n, n, |i, j| if off(i, j) { 2.0 } else { f64::from(i == j) })
    };
    let of = |part: &str, index: usize, size: usize| {
        format!(
            "{part} is not positive definite: pivot {index} of {size} (from 0) is -3e0, beside 1e0 on the diagonal \
            there; wanted a positive one"
        )
    };
    for order in READERS {
        // Wherever it lies: among the outgoing weights, 4 and 5, or not.
        for (a, b) in [(4, 5), (0, 3)] {
            let text = message(ranked(order, Full::new(matrix(6, a, b))?)?);
            assert_eq!(text, of("the covariance", b, 6), "{order:?}");
        }
        let unit = |i| if i == 1 { matrix(2, 0, 1) } else { Mat::identity(2, 2) };
        let blocks = BlockDiagonal::new(Group::Unit, (0..3).map(unit).collect())?;
        assert_eq!(message(ranked(order, blocks)?), of("block 1 of a covariance", 1, 2));
        for (is_rows, part) in [(true, "rows"), (false, "columns")] {
            let (good, bad) = (Mat::identity(2, 2), matrix(2, 0, 1));
            let first = if is_rows { Factors::new(bad, good)? } else { Factors::new(good, bad)? };
            let second = Factors::new(Mat::identity(1, 1), Mat::identity(2, 2))?;
            let text = message(ranked(order, Kronecker::new(vec![first, second]))?);
            assert_eq!(text, of(&format!("the {part} of Kronecker layer 1"), 1, 2));
        }
        // Of the others what is not positive definite cannot be made.
        for form in [LowRankForm::Covariance, LowRankForm::Precision] {
            assert!(
                LowRank::new(form, Mat::zeros(6, 1), vec![1.0, 1.0, 1.0, 1.0, 1.0, -1.0]).is_err()
            );
            assert!(ranked(order, LowRank::new(form, Mat::zeros(6, 1), vec![1.0; 6])?)?.is_ok());
        }
        assert!(Diagonal::new(vec![1.0, 1.0, 1.0, 1.0, 1.0, -1.0]).is_err());
        assert!(ranked(order, Full::new(Mat::identity(6, 6))?)?.is_ok());
    }
    Ok(())
}

#[test]
fn scores_that_overflow_are_no_scores() -> TestResult {
    for order in READERS {
        // 36 / 1e-320, and an eigenvalue that rounds to 0; the root of 1e-320 is a good number.
        let mut variance = vec![1.0; 6];
        variance[5] = 1e-320;
        let text = message(ranked(order, Diagonal::new(variance)?)?);
        let is_root = order == PruningCriterion::SignalToNoise;
        assert_eq!(text.is_empty(), is_root, "{order:?}: {text}");
        assert!(is_root || text.contains(" came out as "), "{order:?}: {text}");
    }
    for form in [LowRankForm::Covariance, LowRankForm::Precision] {
        // A variance of 1e320, or of 1e-320.
        let factor = Mat::from_fn(6, 1, |i, _| if i == 5 { 1e160 } else { 0.0 });
        for order in [PruningCriterion::Density, PruningCriterion::SignalToNoise] {
            let text = message(ranked(order, LowRank::new(form, factor.clone(), vec![1.0; 6])?)?);
            assert!(text.contains(" came out as ") || form == LowRankForm::Precision, "{text}");
        }
    }
    Ok(())
}

#[test]
fn what_could_not_be_read_back_is_not_written() -> TestResult {
    let good = posterior([1.0; 6], Diagonal::new(vec![1.0; 6])?)?;
    let refused = |posterior: Posterior<Diagonal>, provenance: Provenance| {
        let mut bytes = Vec::new();
        let result = AnyPosterior::Diagonal(posterior).write(&provenance, &mut bytes);
        assert!(bytes.is_empty());
        message(result)
    };
    let plain = Provenance::default;
    let nan = Some(f64::NAN);
    let origins = [
        (
            Provenance { log_likelihood: nan, ..plain() },
            "`log_likelihood` must lie in (−∞, ∞), got NaN",
        ),
        (
            Provenance { log_likelihood: Some(f64::NEG_INFINITY), ..plain() },
            "`log_likelihood` must lie in (−∞, ∞), got -inf",
        ),
        (
            Provenance { noise_variance: nan, ..plain() },
            "`noise_variance` must lie in (0, ∞), got NaN",
        ),
        (
            Provenance { prior_precision: Some(0.0), ..plain() },
            "`prior_precision` must lie in (0, ∞), got 0",
        ),
        (
            Provenance { damping: Some(Damping::Numerical { epsilon: f64::INFINITY }), ..plain() },
            "numerical damping must lie in (0, ∞), got inf",
        ),
        (
            Provenance { n_examples: Some(0), ..plain() },
            "`n_examples`: expected at least 1, or null, found 0",
        ),
        (
            Provenance { parent: Some("a\nb".into()), ..plain() },
            "`parent`: expected at most 64 hexadecimal digits, or null, found `a\\nb`",
        ),
    ];
    for (provenance, wanted) in origins {
        assert_eq!(refused(good.clone(), provenance), wanted);
    }
    let posterior = |network: &Mlp, kept: &[Vec<usize>]| {
        let gaussian = good.gaussian().clone();
        Posterior::with_history(network.clone(), gaussian, kept.to_vec(), false)
    };
    let twice = posterior(good.network(), &[vec![0, 1], vec![3, 3], vec![0]]).unwrap_err();
    assert!(twice.to_string().contains("each once, found 3 twice"), "{twice}");
    let wide = Mlp { widths: vec![3, 1, 1], ..good.network().clone() };
    let error = posterior(&wide, good.kept()).unwrap_err().to_string();
    assert!(error.starts_with("a posterior: expected blocks of ("), "{error}");
    let activation = core_tensors::kernels::Activation::LeakyRelu { slope: f64::NAN };
    let steep = posterior(&Mlp { activation, ..good.network().clone() }, good.kept())?;
    assert!(refused(steep, plain()).contains("leaky_relu with slope NaN, wanted one in (0, 1)"));
    Ok(())
}

#[test]
fn a_student_has_no_log_likelihood_of_its_parent() {
    let teacher = Provenance {
        noise_variance: Some(0.01),
        prior_precision: Some(1.0),
        n_examples: Some(20),
        log_likelihood: Some(22.3),
        damping: Some(Damping::Prior),
        parent: Some("aa".into()),
        ..Provenance::default()
    };
    let student = teacher.clone().of_student("bb".into(), Some(Damping::numerical()));
    let wanted = Provenance {
        log_likelihood: None,
        damping: Some(Damping::numerical()),
        parent: Some("bb".into()),
        ..teacher.clone()
    };
    assert_eq!(student, wanted);
    assert_eq!(teacher.of_student("cc".into(), None).damping, Some(Damping::Prior));
}
