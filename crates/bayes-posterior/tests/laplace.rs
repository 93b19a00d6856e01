//! Laplace posteriors, predictives and evidence against closed forms and finite differences.

mod dense;

use bayes_posterior::{
    Curvature, Edit, EditOptions, FixedWeights, Gaussian, Group, Posterior, Prior,
    PruningCriterion, linearized_predictive, log_evidence_change, monte_carlo, removal_path,
    transform, with_posterior,
};
use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Dataset, Rng, Slice, Targets};
use dense::{
    Matrix, TestResult, distance, f64_params, inverse, log_det, network, normals, to_dense,
    vector_distance,
};
use losses::Likelihood;
use models::{Architecture, Mlp};

const NOISE: f64 = 0.3;
const PRECISION: f64 = 0.7;

/// Examples of n features with values, and their rows with a last 1.
fn regression(
    m: usize,
    n: usize,
    rng: &mut Rng,
) -> Result<(Dataset, Matrix, Vec<f64>), Box<dyn std::error::Error>> {
    let (x, y) = (normals(m * n, rng), normals(m, rng));
    let rows = x.chunks(n).map(|row| [row, &[1.0]].concat()).collect();
    let data = Dataset::new(
        Tensor::from_slice(&x, (m, n), &Device::Cpu)?,
        Targets::Values(Tensor::from_slice(&y, (m, 1), &Device::Cpu)?),
    )?;
    Ok((data, rows, y))
}

/// XᵀX/σ² + a I, and the posterior mean.
fn conjugate(rows: &Matrix, y: &[f64]) -> (Matrix, Vec<f64>) {
    let p = rows[0].len();
    let entry = |i: usize, j: usize| rows.iter().map(|r| r[i] * r[j]).sum::<f64>() / NOISE;
    let precision: Matrix = (0..p)
        .map(|i| (0..p).map(|j| entry(i, j) + if i == j { PRECISION } else { 0.0 }).collect())
        .collect();
    let right: Vec<f64> =
        (0..p).map(|i| rows.iter().zip(y).map(|(r, y)| r[i] * y).sum::<f64>() / NOISE).collect();
    let mean =
        inverse(&precision).into_iter().map(|row| row.iter().zip(&right).map(|(a, b)| a * b).sum());
    (precision.clone(), mean.collect())
}

/// log N(y; 0, X Xᵀ/a + σ² I)
fn exact_log_evidence(rows: &Matrix, y: &[f64]) -> f64 {
    let m = y.len();
    let entry = |i: usize, j: usize| {
        let dot: f64 = rows[i].iter().zip(&rows[j]).map(|(a, b)| a * b).sum();
        dot / PRECISION + if i == j { NOISE } else { 0.0 }
    };
    let covariance: Matrix = (0..m).map(|i| (0..m).map(|j| entry(i, j)).collect()).collect();
    let precision = inverse(&covariance);
    let pairs = (0..m).flat_map(|i| (0..m).map(move |j| (i, j)));
    let quadratic: f64 = pairs.map(|(i, j)| y[i] * precision[i][j] * y[j]).sum();
    -0.5 * (quadratic + log_det(&covariance) + m as f64 * std::f64::consts::TAU.ln())
}

#[test]
fn a_linear_regression_has_its_conjugate_posterior_and_evidence() -> TestResult {
    let mut rng = Rng::new(0);
    let model = network(&[3, 1], true);
    let (data, rows, y) = regression(20, 3, &mut rng)?;
    let (precision, mean) = conjugate(&rows, &y);
    let covariance = inverse(&precision);
    let w = f64_params(&model, &mean)?;
    let normal = Likelihood::Normal { variance: NOISE };
    let laplace = dense::laplace(&model, &w, &data, &normal, PRECISION);

    let full = laplace.full()?;
    assert!(distance(&covariance, &to_dense(full.posterior.gaussian().covariance())) < 1e-12);
    let evidence = exact_log_evidence(&rows, &y);
    assert!((full.log_evidence - evidence).abs() < 1e-10 * evidence.abs(), "{}", full.log_evidence);

    // One layer is one block, and one output one unit.
    for group in [Group::Layer, Group::Unit] {
        let blocks = laplace.block_diagonal(group)?;
        assert_eq!(
            to_dense(blocks.posterior.gaussian().covariance()),
            to_dense(full.posterior.gaussian().covariance())
        );
        assert_eq!(blocks.log_evidence, full.log_evidence);
    }

    // Four directions hold all of H; the rest of the precision is a I.
    let low_rank = laplace.low_rank(4)?.posterior;
    assert!(distance(&covariance, &to_dense(low_rank.gaussian().covariance())) < 1e-10);
    // Fewer keep the diagonal of the precision exact.
    for curvature in [Curvature::LowRank { rank: 2 }, Curvature::Diagonal] {
        let posterior = laplace.fit(curvature)?.posterior;
        let ours = with_posterior!(&posterior, p => {
            bayes_posterior::Covariance::precision_diagonal(p.gaussian().covariance())?
        });
        let wanted: Vec<f64> = (0..4).map(|i| precision[i][i]).collect();
        assert!(vector_distance(&wanted, &ours) < 1e-12, "{curvature:?}");
    }
    Ok(())
}

#[test]
fn a_logistic_regression_has_the_precision_of_its_formula() -> TestResult {
    let mut rng = Rng::new(31);
    let model = network(&[2, 1], true);
    let (x, w) = (normals(40, &mut rng), normals(3, &mut rng));
    let labels: Vec<u32> = (0..20u32).map(|i| i % 2).collect();
    let targets = Targets::Classes { labels: Tensor::new(labels, &Device::Cpu)?, n_classes: 2 };
    let data = Dataset::new(Tensor::from_slice(&x, (20, 2), &Device::Cpu)?, targets)?;
    let params = f64_params(&model, &w)?;
    let laplace = dense::laplace(&model, &params, &data, &Likelihood::Bernoulli, PRECISION);
    let full = laplace.full()?;
    // Σᵢ p (1 − p) aᵢ aᵢᵀ + δ I with aᵢ = [xᵢ; 1], and Σᵢ log p(yᵢ).
    let (mut precision, mut log_likelihood) = (vec![vec![0.0; 3]; 3], 0.0);
    for (i, x) in x.chunks_exact(2).enumerate() {
        let a = [x[0], x[1], 1.0];
        let f: f64 = a.iter().zip(&w).map(|(a, w)| a * w).sum();
        let p = 1.0 / (1.0 + (-f).exp());
        log_likelihood += if i % 2 == 1 { p.ln() } else { (1.0 - p).ln() };
        for (r, c) in (0..3).flat_map(|r| (0..3).map(move |c| (r, c))) {
            precision[r][c] += p * (1.0 - p) * a[r] * a[c];
        }
    }
    (0..3).for_each(|r| precision[r][r] += PRECISION);
    let found = to_dense(full.posterior.gaussian().covariance());
    assert!(distance(&inverse(&precision), &found) < 1e-10);
    assert!((full.log_likelihood - log_likelihood).abs() < 1e-10);
    Ok(())
}

#[test]
fn a_block_diagonal_posterior_inverts_the_blocks_of_the_whole_precision() -> TestResult {
    let mut rng = Rng::new(21);
    let model = network(&[2, 3, 2], true);
    let x = Tensor::from_vec(normals(40, &mut rng), (20, 2), &Device::Cpu)?;
    let labels = Tensor::from_vec((0..20u32).map(|i| i % 2).collect(), 20, &Device::Cpu)?;
    let data = Dataset::new(x, Targets::Classes { labels, n_classes: 2 })?;
    let params = f64_params(&model, &normals(model.layout().n_parameters(), &mut rng))?;
    let laplace = dense::laplace(&model, &params, &data, &Likelihood::Categorical, PRECISION);
    let whole = inverse(&to_dense(laplace.full()?.posterior.gaussian().covariance()));
    // Rows of a unit of the first layer are 3 long, of the second 4.
    let by_unit = [(0..3), (3..6), (6..9), (9..13), (13..17)].to_vec();
    for (group, ranges) in [(Group::Layer, vec![(0..9), (9..17)]), (Group::Unit, by_unit)] {
        let found = laplace.block_diagonal(group)?;
        let covariance = found.posterior.gaussian().covariance();
        assert_eq!(covariance.blocks().len(), ranges.len());
        for (block, range) in covariance.blocks().iter().zip(ranges) {
            let part: Matrix = range.clone().map(|i| whole[i][range.clone()].to_vec()).collect();
            assert!(distance(&inverse(&part), &to_dense(block)) < 1e-10, "{group:?}");
        }
        let any = laplace.fit(Curvature::BlockDiagonal(group))?;
        assert_eq!((any.posterior.structure(), any.log_evidence), ("block", found.log_evidence));
    }
    Ok(())
}

#[test]
fn savage_dickey_is_the_exact_change_of_evidence() -> TestResult {
    let mut rng = Rng::new(1);
    let model = network(&[3, 1], true);
    let (data, rows, y) = regression(15, 3, &mut rng)?;
    let w = f64_params(&model, &conjugate(&rows, &y).1)?;
    let normal = Likelihood::Normal { variance: NOISE };
    let full = dense::laplace(&model, &w, &data, &normal, PRECISION).full()?.posterior;
    let density =
        full.gaussian().marginal_density(&Slice::Cols { block: 0, cols: vec![1] }, &[0.0])?;
    let change = log_evidence_change(&FixedWeights { density, squared_values: 0.0 }, PRECISION)?;
    let without: Matrix = rows.iter().map(|r| vec![r[0], r[2], r[3]]).collect();
    let wanted = exact_log_evidence(&without, &y) - exact_log_evidence(&rows, &y);
    assert!((change - wanted).abs() < 1e-10, "{change} {wanted}");
    Ok(())
}

#[test]
fn savage_dickey_holds_at_a_value_that_is_not_zero() -> TestResult {
    // w₁ fixed at 1.5 is the regression of y − 1.5 x₁ on the others.
    let mut rng = Rng::new(11);
    let model = network(&[3, 1], true);
    let (data, rows, y) = regression(15, 3, &mut rng)?;
    let w = f64_params(&model, &conjugate(&rows, &y).1)?;
    let normal = Likelihood::Normal { variance: NOISE };
    let full = dense::laplace(&model, &w, &data, &normal, PRECISION).full()?.posterior;
    let value = 1.5;
    let density =
        full.gaussian().marginal_density(&Slice::Cols { block: 0, cols: vec![1] }, &[value])?;
    let fixed = FixedWeights { density, squared_values: value * value };
    let change = log_evidence_change(&fixed, PRECISION)?;
    let without: Matrix = rows.iter().map(|r| vec![r[0], r[2], r[3]]).collect();
    let rest: Vec<f64> = rows.iter().zip(&y).map(|(r, y)| y - value * r[1]).collect();
    let wanted = exact_log_evidence(&without, &rest) - exact_log_evidence(&rows, &y);
    assert!((change - wanted).abs() < 1e-9, "{change} {wanted}");
    assert!(log_evidence_change(&fixed, 0.0).is_err());
    Ok(())
}

#[test]
fn a_removed_layer_counts_the_ones_it_was_pinned_at() -> TestResult {
    let mut rng = Rng::new(12);
    let model = network(&[2, 3, 3, 1], true);
    let layout = model.layout();
    let mean = normals(layout.n_parameters(), &mut rng);
    let gaussian = Gaussian::new(layout.clone(), mean, dense::full(&layout, &mut rng))?;
    let posterior = Posterior::new(model, gaussian)?;
    let plan = [Edit::RemoveLayer { layer: 2, matching: bayes_posterior::UnitMatching::Identity }];
    let left = transform(posterior.clone(), &plan, &EditOptions::strict())?;
    assert_eq!((left.fixed[0].squared_values, left.fixed[0].density.n), (3.0, 12));
    let plan = [Edit::RemoveUnits { layer: 2, units: vec![1] }];
    let left = transform(posterior, &plan, &EditOptions::strict())?;
    assert_eq!((left.fixed[0].squared_values, left.fixed[0].density.n), (0.0, 1));
    Ok(())
}

/// J by central differences of the network in f64, (m k) rows of p.
fn jacobian(network: &Mlp, w: &[f64], x: &Tensor) -> Result<Matrix, Box<dyn std::error::Error>> {
    let step = 1e-6;
    let logits = |w: &[f64]| -> Result<Vec<f64>, Box<dyn std::error::Error>> {
        Ok(network.forward(&f64_params(network, w)?, x)?.flatten_all()?.to_vec1()?)
    };
    let mut columns = Vec::new();
    for i in 0..w.len() {
        let (mut up, mut down) = (w.to_vec(), w.to_vec());
        up[i] += step;
        down[i] -= step;
        let pairs = logits(&up)?.into_iter().zip(logits(&down)?);
        columns.push(pairs.map(|(a, b)| (a - b) / (2.0 * step)).collect::<Vec<_>>());
    }
    Ok((0..columns[0].len()).map(|r| columns.iter().map(|c| c[r]).collect()).collect())
}

#[test]
fn the_curvature_of_a_classifier_equals_finite_differences() -> TestResult {
    let activations = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.1 },
        Activation::Tanh,
        Activation::Sigmoid,
        Activation::Silu,
        Activation::Gelu,
    ];
    for (seed, activation) in (0..).zip(activations) {
        let mut rng = Rng::new(seed);
        let model = Mlp { activation, ..network(&[2, 4, 3, 3], true) };
        let (m, k, p) = (300, 3, model.layout().n_parameters()); // two chunks
        let x = Tensor::from_vec(normals(2 * m, &mut rng), (m, 2), &Device::Cpu)?;
        let labels = Tensor::from_vec((0..m as u32).map(|i| i % 3).collect(), m, &Device::Cpu)?;
        let data = Dataset::new(x.clone(), Targets::Classes { labels, n_classes: 3 })?;
        let w = normals(p, &mut rng);
        let params = f64_params(&model, &w)?;
        let j = jacobian(&model, &w, &x)?;
        let logits: Vec<f64> = model.forward(&params, &x)?.flatten_all()?.to_vec1()?;
        let mut h = vec![vec![0.0; p]; p];
        let mut log_likelihood = 0.0;
        for i in 0..m {
            let e: Vec<f64> = logits[i * k..(i + 1) * k].iter().map(|s| s.exp()).collect();
            let total: f64 = e.iter().sum();
            let prob: Vec<f64> = e.iter().map(|e| e / total).collect();
            log_likelihood += prob[i % 3].ln();
            for (a, b) in (0..k).flat_map(|a| (0..k).map(move |b| (a, b))) {
                let curvature = prob[a] * (f64::from(a == b) - prob[b]);
                for r in 0..p {
                    for c in 0..p {
                        h[r][c] += curvature * j[i * k + a][r] * j[i * k + b][c];
                    }
                }
            }
        }
        (0..p).for_each(|i| h[i][i] += PRECISION);
        let laplace = dense::laplace(&model, &params, &data, &Likelihood::Categorical, PRECISION);
        // Differences are exact between kinks or to the square of their step, but for rounding of size 1e-16 / 1e-6.
        let full = laplace.full()?;
        let precision = inverse(&to_dense(full.posterior.gaussian().covariance()));
        assert!(distance(&h, &precision) < 1e-6, "{:e}", distance(&h, &precision));
        assert!((full.log_likelihood - log_likelihood).abs() < 1e-9 * log_likelihood.abs());
        let low_rank = laplace.low_rank(p)?;
        let precision = inverse(&to_dense(low_rank.posterior.gaussian().covariance()));
        assert!(distance(&h, &precision) < 1e-6);

        // The leading direction of a rank-1 approximation carries the largest eigenvalue but for what merging loses.
        let one = laplace.low_rank(1)?.posterior;
        let direction: Vec<f64> =
            one.gaussian().covariance().factor().col(0).iter().copied().collect();
        let size: f64 = direction.iter().map(|d| d * d).sum();
        let mut v = direction.clone();
        let mut largest = 0.0;
        for _ in 0..500 {
            v = h.iter().map(|row| row.iter().zip(&v).map(|(a, b)| a * b).sum()).collect();
            largest = v.iter().map(|v| v * v).sum::<f64>().sqrt();
            v.iter_mut().for_each(|v| *v /= largest);
        }
        let largest = largest - PRECISION;
        assert!(size <= largest * 1.0001 && size > 0.9 * largest, "{size} {largest}");
    }
    Ok(())
}

#[test]
fn kronecker_factors_equal_naive_sums() -> TestResult {
    let mut rng = Rng::new(4);
    let model = network(&[2, 3, 2], true);
    let m = 30;
    let x = Tensor::from_vec(normals(2 * m, &mut rng), (m, 2), &Device::Cpu)?;
    let labels = Tensor::from_vec((0..m as u32).map(|i| i % 2).collect(), m, &Device::Cpu)?;
    let data = Dataset::new(x.clone(), Targets::Classes { labels, n_classes: 2 })?;
    let w = normals(model.layout().n_parameters(), &mut rng);
    let params = f64_params(&model, &w)?;
    let found =
        dense::laplace(&model, &params, &data, &Likelihood::Categorical, PRECISION).kronecker()?;
    let precision = inverse(&to_dense(found.posterior.gaussian().covariance()));
    // The last layer: inputs are relu(U₁x + b) and 1; G is the sum of softmax Hessians.
    let hidden = Mlp { widths: vec![2, 3], activation: Activation::Identity, bias: true };
    let sums = hidden.forward(&f64_params(&hidden, &w[..9])?, &x)?.relu()?.to_vec2::<f64>()?;
    let logits = model.forward(&params, &x)?.to_vec2::<f64>()?;
    let (mut a, mut g) = (vec![vec![0.0; 4]; 4], vec![vec![0.0; 2]; 2]);
    for i in 0..m {
        let z = [&sums[i][..], &[1.0]].concat();
        (0..4).for_each(|r| (0..4).for_each(|c| a[r][c] += z[r] * z[c] / m as f64));
        let p = 1.0 / (1.0 + (logits[i][1] - logits[i][0]).exp());
        let h = p * (1.0 - p);
        (0..2).for_each(|r| (0..2).for_each(|c| g[r][c] += if r == c { h } else { -h }));
    }
    // Ψ⁻¹ = G ⊗ A + δI over the last layer's 2 × 4 weights, and nothing between layers.
    for (r, c) in (0..8).flat_map(|r| (0..8).map(move |c| (r, c))) {
        let prior = if r == c { PRECISION } else { 0.0 };
        let wanted = g[r / 4][c / 4] * a[r % 4][c % 4] + prior;
        assert!((precision[9 + r][9 + c] - wanted).abs() < 1e-10, "{r} {c}");
        assert!(precision[9 + r][c].abs() < 1e-12);
    }
    Ok(())
}

#[test]
fn predictives_of_a_linear_regression_are_exact() -> TestResult {
    let mut rng = Rng::new(5);
    let model = network(&[3, 1], true);
    let layout = model.layout();
    let gaussian =
        Gaussian::new(layout.clone(), normals(4, &mut rng), dense::full(&layout, &mut rng))?;
    let normal = Likelihood::Normal { variance: NOISE };
    let x = Tensor::from_vec(normals(6, &mut rng), (2, 3), &Device::Cpu)?.to_dtype(DType::F32)?;
    let exact = linearized_predictive(&model, &gaussian, &x, &normal)?;
    let psi = to_dense(gaussian.covariance());
    for (i, row) in x.to_vec2::<f32>()?.iter().enumerate() {
        let row: Vec<f64> = row.iter().map(|&v| f64::from(v)).chain([1.0]).collect();
        let mean: f64 = row.iter().zip(gaussian.mean()).map(|(a, b)| a * b).sum();
        let pairs = (0..4).flat_map(|a| (0..4).map(move |b| (a, b)));
        let variance: f64 = pairs.map(|(a, b)| row[a] * psi[a][b] * row[b]).sum();
        assert!(
            (exact.mean[i] - mean).abs() < 1e-12
                && (exact.variance[i] - variance - NOISE).abs() < 1e-12
        );
        let information = 0.5 * ((variance + NOISE) / NOISE).ln();
        assert!((exact.mutual_information[i] - information).abs() < 1e-12);
    }
    let n = 4000;
    let drawn = monte_carlo(&model, &gaussian, &x, &normal, n, &mut rng)?;
    for i in 0..2 {
        // Five standard errors of a mean and of a variance.
        let v = exact.variance[i] - NOISE;
        assert!((drawn.mean[i] - exact.mean[i]).abs() < 5.0 * (v / n as f64).sqrt());
        assert!((drawn.variance[i] - exact.variance[i]).abs() < 5.0 * v * (2.0 / n as f64).sqrt());
    }
    Ok(())
}

#[test]
fn predictives_of_a_classifier_equal_quadrature() -> TestResult {
    // Two logits w₀ x and w₁ x with x = 1: their difference is N(δ, v), and E p₁ is one integral.
    let mut rng = Rng::new(6);
    let model = network(&[1, 2], false);
    let covariance = bayes_posterior::Diagonal::new(vec![1.5, 2.5])?;
    let gaussian = Gaussian::new(model.layout(), vec![0.3, 1.2], covariance)?;
    let x = Tensor::ones((1, 1), DType::F32, &Device::Cpu)?;
    let (delta, v) = (0.9, 4.0f64);
    let (mut p, mut h) = (0.0, 0.0);
    let entropy = |q: f64| -q * q.ln() - (1.0 - q) * (1.0 - q).ln();
    let step = 1e-3;
    for i in -12_000..12_000 {
        let z = f64::from(i) * step;
        let weight = (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt() * step;
        let q = 1.0 / (1.0 + (-(delta + v.sqrt() * z)).exp());
        p += weight * q;
        h += weight * entropy(q.clamp(1e-15, 1.0 - 1e-15));
    }
    let n = 20_000;
    let drawn = monte_carlo(&model, &gaussian, &x, &Likelihood::Categorical, n, &mut rng)?;
    // Probabilities and entropies deviate by less than ½ and ln 2: five standard errors.
    let tolerance = 5.0 * 0.5 / f64::from(n as u32).sqrt();
    assert!((drawn.mean[1] - p).abs() < tolerance, "{} {p}", drawn.mean[1]);
    assert!((drawn.mutual_information[0] - (entropy(p) - h)).abs() < 1.5 * tolerance);
    assert!((drawn.entropy[0] - entropy(p)).abs() < 1.5 * tolerance);
    // Probit by its formula.
    let scaled = |f: f64, v: f64| f / (1.0 + std::f64::consts::PI * v / 8.0).sqrt();
    let difference = scaled(1.2, 2.5) - scaled(0.3, 1.5);
    let wanted = 1.0 / (1.0 + (-difference).exp());
    let approximate = linearized_predictive(&model, &gaussian, &x, &Likelihood::Categorical)?;
    assert!((approximate.mean[1] - wanted).abs() < 1e-12);
    Ok(())
}

#[test]
fn a_removal_path_adds_up_to_one_edit() -> TestResult {
    let mut rng = Rng::new(8);
    let model = network(&[2, 6, 2], true);
    let layout = model.layout();
    let p = layout.n_parameters();
    let gaussian =
        Gaussian::new(layout.clone(), normals(p, &mut rng), dense::full(&layout, &mut rng))?;
    let posterior = Posterior::new(model, gaussian)?;
    let sizes = [5, 3, 3, 1];
    let path =
        removal_path(&posterior, 1, PruningCriterion::Greedy, None, &sizes, PRECISION, &mut rng)?;
    let all: Vec<usize> = path.iter().flat_map(|s| s.removed.clone()).collect();
    assert_eq!(all.len(), 5);
    let plan = [Edit::RemoveUnits { layer: 1, units: all }];
    let once = transform(posterior.clone(), &plan, &EditOptions::strict())?;
    let wanted = log_evidence_change(&once.fixed[0], PRECISION)?;
    assert!((path[3].log_evidence - wanted).abs() < 1e-9 * wanted.abs());
    assert!((path[3].cost - once.fixed[0].density.cost()).abs() < 1e-9 * path[3].cost);
    assert_eq!(path[1].log_evidence, path[2].log_evidence);
    let error =
        removal_path(&posterior, 1, PruningCriterion::Greedy, None, &[0], PRECISION, &mut rng);
    assert!(error.unwrap_err().to_string().contains("sizes of a removal path"));
    Ok(())
}

#[test]
fn the_divergence_of_a_posterior_from_itself_is_the_mean_field_gap() -> TestResult {
    // The diagonal q closest to N(m, Ψ) has the inverse precision diagonal, and its gradient vanishes there.
    let mut rng = Rng::new(9);
    let layout = network(&[2, 3, 1], true).layout();
    let p = layout.n_parameters();
    let prior =
        Gaussian::new(layout.clone(), normals(p, &mut rng), dense::full(&layout, &mut rng))?;
    let precision = bayes_posterior::Covariance::precision_diagonal(prior.covariance())?;
    let v: Vec<f64> = precision.iter().map(|p| 1.0 / p).collect();
    let at = Prior::new(&prior)?.divergence(prior.mean(), &v)?;
    assert!(at.value > 0.0);
    assert!(at.mean_gradient.iter().chain(&at.variance_gradient).all(|g| g.abs() < 1e-9));
    Ok(())
}
