//! The exact Kronecker Laplace posterior, the factor pairs made of it, and edits by both.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

mod dense;

use bayes_posterior::{
    AnyPosterior, Covariance, Damping, Edit, EditOptions, Gaussian, KroneckerEigen, LayerCurvature,
    Posterior, Spectrum, UnitMatching, transform, transform_kronecker, with_posterior,
};
use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Block, Dataset, Layout, Rng, Targets};
use dense::{
    Matrix, TestResult, distance, f64_params, inverse, log_det, network, normals, product, to_dense,
};
use dense::{random_covariance, vector_distance};
use faer::Mat;
use losses::Likelihood;
use models::{Architecture, Mlp};

const PRECISION: f64 = 0.7;

type Found<T> = Result<T, Box<dyn std::error::Error>>;

fn plain(matrix: &Mat<f64>) -> Matrix {
    (0..matrix.nrows()).map(|i| (0..matrix.ncols()).map(|j| matrix[(i, j)]).collect()).collect()
}

fn full(matrix: &Matrix) -> Mat<f64> {
    Mat::from_fn(matrix.len(), matrix.len(), |i, j| matrix[i][j])
}

fn kronecker(r: &Matrix, c: &Matrix) -> Matrix {
    let (n, m) = (r.len(), c.len());
    let entry = |a: usize, b: usize| r[a / m][b / m] * c[a % m][b % m];
    (0..n * m).map(|a| (0..n * m).map(|b| entry(a, b)).collect()).collect()
}

fn plus(a: &Matrix, by: f64) -> Matrix {
    let mut sum = a.clone();
    (0..a.len()).for_each(|i| sum[i][i] += by);
    sum
}

/// A posterior of one layer [cols (− 1), rows] from its curvature.
fn one_layer(
    g: &Matrix,
    a: &Matrix,
    delta: f64,
    bias: bool,
    mean: &[f64],
) -> Found<Posterior<KroneckerEigen>> {
    let layer = LayerCurvature {
        rows: Spectrum::of(full(g).as_ref())?,
        columns: Spectrum::of(full(a).as_ref())?,
    };
    let model = network(&[a.len() - usize::from(bias), g.len()], bias);
    let covariance = KroneckerEigen::new(vec![layer], delta)?;
    let gaussian = Gaussian::new(model.layout(), mean.to_vec(), covariance)?;
    Ok(Posterior::new(model, gaussian)?)
}

/// KL(N(0, R ⊗ C) ‖ N(0, (G ⊗ A + δI)⁻¹)) from dense matrices.
fn divergence(r: &Matrix, c: &Matrix, precision: &Matrix) -> f64 {
    let q = kronecker(r, c);
    let p = q.len();
    let trace: f64 = (0..p).map(|i| product(precision, &q)[i][i]).sum();
    0.5 * (trace - p as f64 - log_det(precision) - log_det(&q))
}

#[test]
fn a_linear_regression_is_exact_under_kronecker_curvature() -> TestResult {
    // One output: H = xxᵀ/σ² summed is G ⊗ A, so that full and Kronecker are one posterior.
    let mut rng = Rng::new(0);
    let model = network(&[3, 1], true);
    let x = normals(60, &mut rng);
    let data = Dataset::new(
        Tensor::from_slice(&x, (20, 3), &Device::Cpu)?,
        Targets::Values(Tensor::from_slice(&normals(20, &mut rng), (20, 1), &Device::Cpu)?),
    )?;
    let w = f64_params(&model, &normals(4, &mut rng))?;
    for noise in [1e-6, 0.3, 1e6] {
        let normal = Likelihood::Normal { variance: noise };
        let laplace = dense::laplace(&model, &w, &data, &normal, PRECISION);
        let (full, factored) = (laplace.full()?, laplace.kronecker()?);
        let gap = (full.log_evidence - factored.log_evidence).abs();
        assert!(gap < 1e-9 * (1.0 + full.log_evidence.abs()), "{noise}: {gap:e}");
        let covariance = factored.posterior.gaussian().covariance();
        let gap =
            distance(&to_dense(full.posterior.gaussian().covariance()), &to_dense(covariance));
        assert!(gap < 1e-9, "{noise}: {gap:e}");
    }
    Ok(())
}

#[test]
fn a_layer_without_curvature_keeps_its_prior_and_nothing_jumps() -> TestResult {
    // The unit is off (bias −1, inputs 0), so nothing depends on any weight but the last bias.
    let model = network(&[1, 1, 1], true);
    let data = Dataset::new(
        Tensor::zeros((5, 1), DType::F64, &Device::Cpu)?,
        Targets::Values(Tensor::zeros((5, 1), DType::F64, &Device::Cpu)?),
    )?;
    let normal = Likelihood::Normal { variance: 1.0 };
    let delta = 0.01;
    let run = |w: &[f64]| -> Found<(Vec<f64>, f64)> {
        let found =
            dense::laplace(&model, &f64_params(&model, w)?, &data, &normal, delta).kronecker()?;
        let v = found.posterior.gaussian().covariance().diagonal()?;
        let square: f64 = w.iter().map(|w| w * w).sum();
        // What is left of the evidence beside the likelihood and the weights' own prior.
        Ok((v, found.log_evidence - found.log_likelihood + 0.5 * delta * square))
    };
    let (off, rest) = run(&[0.0, -1.0, 0.0, 0.0])?;
    for v in &off[..3] {
        assert!((v - 100.0).abs() < 1e-10, "{off:?}");
    }
    // The last bias has seen five examples; the others give nats 0.
    assert!((off[3] - 1.0 / 5.01).abs() < 1e-12);
    assert!((rest - 0.5 * (0.01f64 / 5.01).ln()).abs() < 1e-10, "{rest}");
    // A unit that is on with an outgoing weight of 1e-8 is all but without curvature.
    let (on, _) = run(&[0.0, 1.0, 1e-8, 0.0])?;
    assert!((on[0] - 100.0).abs() < 1e-9 && (on[1] - 100.0).abs() < 1e-9, "{on:?}");
    Ok(())
}

#[test]
fn variances_are_exact_over_twenty_four_orders_of_magnitude() -> TestResult {
    // Diagonal factors: the variance of weight (i, j) is 1 / (gᵢ aⱼ + δ).
    let scales = [1e-12, 1e-6, 1.0, 1e6, 1e12];
    for delta in scales {
        for size in scales {
            let (g, a) = ([size, 0.0, 3.0 * size], [1.0, size, 0.0, 2.5]);
            let matrix = |v: &[f64]| -> Matrix {
                (0..v.len())
                    .map(|i| (0..v.len()).map(|j| if i == j { v[i] } else { 0.0 }).collect())
                    .collect()
            };
            let exact = one_layer(&matrix(&g), &matrix(&a), delta, false, &[0.0; 12])?;
            let found = exact.gaussian().covariance().diagonal()?;
            let mut log_det = 0.0;
            for (at, v) in found.iter().enumerate() {
                let wanted = 1.0 / (g[at / 4] * a[at % 4] + delta);
                log_det += wanted.ln();
                assert!((v / wanted - 1.0).abs() < 1e-12, "{delta:e} {size:e}: {v:e} {wanted:e}");
            }
            let gap = exact.gaussian().covariance().log_det()? - log_det;
            assert!(gap.abs() < 1e-12 * (1.0 + log_det.abs()));
            for damping in [Damping::Prior, Damping::numerical()] {
                let pair = exact.to_kronecker(damping)?;
                let v = pair.gaussian().covariance().diagonal()?;
                assert!(v.iter().all(|v| *v > 0.0 && v.is_finite()), "{delta:e} {size:e} {v:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn the_nearest_pair_minimizes_the_divergence() -> TestResult {
    let mut rng = Rng::new(2);
    for (rows, cols, delta) in [(2, 3, 0.5), (3, 2, 20.0), (3, 4, 1e-3), (1, 3, 1.0)] {
        let g = plain(&random_covariance(rows, &mut rng));
        let mut a = plain(&random_covariance(cols, &mut rng));
        // An input that is always 0.
        (0..cols).for_each(|i| (a[0][i], a[i][0]) = (0.0, 0.0));
        let exact = one_layer(&g, &a, delta, false, &vec![0.0; rows * cols])?;
        let pair = exact.to_kronecker(Damping::Prior)?;
        let factors = &pair.gaussian().covariance().layers()[0];
        let (r, c) = (to_dense(&factors.rows), to_dense(&factors.columns));
        let precision = plus(&kronecker(&g, &a), delta);
        let least = divergence(&r, &c, &precision);
        assert!(least >= 0.0);
        // Moving both factors either way is worse, and as much worse: the slope vanishes.
        for _ in 0..20 {
            let directions = [normals(rows * rows, &mut rng), normals(cols * cols, &mut rng)];
            let moved = |m: &Matrix, direction: &[f64], step: f64| -> Matrix {
                let n = m.len();
                let entry = |i: usize, j: usize| f64::from(i == j) + step * direction[i * n + j];
                let t: Matrix = (0..n).map(|i| (0..n).map(|j| entry(i, j)).collect()).collect();
                let turned = (0..n).map(|i| (0..n).map(|j| entry(j, i)).collect()).collect();
                product(&product(&t, m), &turned)
            };
            let rise = |step: f64| {
                let (r, c) = (moved(&r, &directions[0], step), moved(&c, &directions[1], step));
                divergence(&r, &c, &precision) - least
            };
            let (up, down) = (rise(1e-4), rise(-1e-4));
            assert!(
                up > 0.0 && down > 0.0 && (up - down).abs() < 0.05 * (up + down),
                "{up} {down}"
            );
        }
        // The inverse of the column factor is c (A + λI), that of the row factor c' (G + λ'I).
        for (inverse, curvature) in [(inverse(&c), &a), (inverse(&r), &g)] {
            let n = curvature.len();
            if n < 2 {
                continue;
            }
            // c from an entry off the diagonal, then λ from one on it.
            let (i, j) = (n - 2, n - 1);
            let scale = inverse[i][j] / curvature[i][j];
            let lambda = inverse[i][i] / scale - curvature[i][i];
            let scaled: Matrix = plus(curvature, lambda)
                .iter()
                .map(|row| row.iter().map(|x| scale * x).collect())
                .collect();
            if (i, j) != (0, 1) || curvature[i][j] != 0.0 {
                assert!(distance(&inverse, &scaled) < 1e-9 && lambda > 0.0);
            }
        }
    }
    Ok(())
}

#[test]
fn the_nearest_pair_equals_the_alternating_iteration() -> TestResult {
    // u = n / Hv and v = m / Hᵀu by plain iteration, on eigenvalues that spread; δ beside them small and large.
    let g = [0.0, 1e-3, 1.0, 40.0];
    let a = [0.0, 1e-2, 0.3, 7.0, 900.0];
    let matrix = |v: &[f64]| -> Matrix {
        (0..v.len())
            .map(|i| (0..v.len()).map(|j| if i == j { v[i] } else { 0.0 }).collect())
            .collect()
    };
    for delta in [1e-2, 1.0, 1e3] {
        let h = |i: usize, j: usize| g[i] * a[j] + delta;
        let (mut u, mut v) = ([1.0; 4], [1.0; 5]);
        for _ in 0..20_000 {
            u = std::array::from_fn(|i| 5.0 / (0..5).map(|j| h(i, j) * v[j]).sum::<f64>());
            v = std::array::from_fn(|j| 4.0 / (0..4).map(|i| h(i, j) * u[i]).sum::<f64>());
        }
        let exact = one_layer(&matrix(&g), &matrix(&a), delta, false, &[0.0; 20])?;
        let found = exact.to_kronecker(Damping::Prior)?.gaussian().covariance().diagonal()?;
        for (at, found) in found.iter().enumerate() {
            let wanted = u[at / 5] * v[at % 5];
            assert!((found / wanted - 1.0).abs() < 1e-8, "{delta} {at}: {found:e} {wanted:e}");
        }
    }
    Ok(())
}

#[test]
fn numerical_damping_leaves_the_bias_alone_and_moves_by_least_squares() -> TestResult {
    // z = W [h; 1] fitted by the units that stay, with ε on their squares: dense normal equations.
    let mut rng = Rng::new(3);
    let (n, m, epsilon) = (4, 3, 0.05);
    let examples: Vec<Vec<f64>> =
        (0..30).map(|_| [normals(n, &mut rng), vec![1.0]].concat()).collect();
    let entry = |i: usize, j: usize| examples.iter().map(|z| z[i] * z[j]).sum::<f64>() / 30.0;
    let a: Matrix = (0..=n).map(|i| (0..=n).map(|j| entry(i, j)).collect()).collect();
    let g = plain(&random_covariance(m, &mut rng));
    let w = normals(m * (n + 1), &mut rng);
    let exact = one_layer(&g, &a, 50.0, true, &w)?;
    let damping = Damping::Numerical { epsilon };
    let pair = exact.to_kronecker(damping)?;
    let added = epsilon * (0..n).map(|i| a[i][i]).sum::<f64>() / n as f64;
    let mut damped = a.clone();
    (0..n).for_each(|i| damped[i][i] += added);
    let factors = &pair.gaussian().covariance().layers()[0];
    assert!(distance(&inverse(&to_dense(&factors.columns)), &damped) < 1e-9);
    // The rows' factor is G⁻¹ up to its own tiny damping.
    assert!(distance(&inverse(&to_dense(&factors.rows)), &g) < 1e-6);

    let slice = core_tensors::Slice::Cols { block: 0, cols: vec![1, 2] };
    let (left, _) = pair.gaussian().condition(&slice, &[0.0; 6])?;
    let kept = [0, 3, 4];
    let gram: Matrix = kept.iter().map(|&i| kept.iter().map(|&j| damped[i][j]).collect()).collect();
    let gram = inverse(&gram);
    for row in 0..m {
        let w = &w[row * (n + 1)..(row + 1) * (n + 1)];
        // W_k + (A_kk + ε)⁻¹ A_kd W_d: the target less what the penalty asks for, written as a move from W.
        let right: Vec<f64> = kept.iter().map(|&i| a[i][1] * w[1] + a[i][2] * w[2]).collect();
        for (place, &i) in kept.iter().enumerate() {
            let shift: f64 = gram[place].iter().zip(&right).map(|(g, r)| g * r).sum();
            assert!((left.mean()[row * 3 + place] - w[i] - shift).abs() < 1e-9);
        }
    }
    assert!(exact.to_kronecker(Damping::Numerical { epsilon: 0.0 }).is_err());
    Ok(())
}

/// A network, its exact posterior on data, and those data.
fn trained(widths: &[usize], bias: bool, seed: u64) -> Found<(Posterior<KroneckerEigen>, Dataset)> {
    let mut rng = Rng::new(seed);
    let model = network(widths, bias);
    let (m, n, k) = (40, widths[0], widths[widths.len() - 1]);
    let x = Tensor::from_vec(normals(m * n, &mut rng), (m, n), &Device::Cpu)?;
    let labels = Tensor::from_vec((0..m as u32).map(|i| i % k as u32).collect(), m, &Device::Cpu)?;
    let data = Dataset::new(x, Targets::Classes { labels, n_classes: k })?;
    let w = f64_params(&model, &normals(model.layout().n_parameters(), &mut rng))?;
    let found =
        dense::laplace(&model, &w, &data, &Likelihood::Categorical, PRECISION).kronecker()?;
    Ok((found.posterior, data))
}

#[test]
fn edits_take_the_mean_of_one_pair_and_the_covariance_of_the_other() -> TestResult {
    for bias in [false, true] {
        let (exact, _) = trained(&[3, 4, 4, 3], bias, 5)?;
        let plan = [
            Edit::RemoveUnits { layer: 2, units: vec![1] },
            Edit::RemoveUnits { layer: 1, units: vec![0] },
            Edit::RemoveLayer { layer: 2, matching: UnitMatching::Density },
        ];
        let options = EditOptions::strict();
        let by = |damping| transform_kronecker(&exact, &plan, &options, damping);
        let (prior, both) = (by(Damping::Prior)?, by(Damping::numerical())?);
        let same = transform(exact.to_kronecker(Damping::Prior)?, &plan, &options)?;
        assert_eq!(prior.posterior.gaussian().mean(), same.posterior.gaussian().mean());
        assert_eq!(prior.fixed, both.fixed);
        let covariance = |t: &bayes_posterior::Transformed<bayes_posterior::Kronecker>| {
            to_dense(t.posterior.gaussian().covariance())
        };
        assert_eq!(covariance(&prior), covariance(&both));
        // The mean alone, without the layer, whose permutation the other pair may choose differently.
        let plan = &plan[..2];
        let by_hand = transform(exact.to_kronecker(Damping::numerical())?, plan, &options)?;
        let both = transform_kronecker(&exact, plan, &options, Damping::numerical())?;
        assert_eq!(by_hand.posterior.gaussian().mean(), both.posterior.gaussian().mean());
        let gap =
            vector_distance(prior.posterior.gaussian().mean(), same.posterior.gaussian().mean());
        assert!(gap == 0.0 && both.posterior.kept() == by_hand.posterior.kept());
    }
    Ok(())
}

#[test]
fn the_posterior_of_any_structure_is_transformed_by_one_call() -> TestResult {
    let (exact, _) = trained(&[3, 4, 3], true, 6)?;
    let plan = [Edit::RemoveUnits { layer: 1, units: vec![2] }];
    let any = AnyPosterior::KroneckerEigen(exact.clone());
    let (left, fixes) = any.transform(&plan, &EditOptions::strict(), Damping::Prior)?;
    assert_eq!((left.structure(), fixes.len()), ("kronecker", 1));
    let same = transform_kronecker(&exact, &plan, &EditOptions::strict(), Damping::Prior)?;
    assert_eq!(
        with_posterior!(&left, p => p.gaussian().mean().to_vec()),
        same.posterior.gaussian().mean()
    );
    Ok(())
}

#[test]
fn curvatures_that_are_none_are_refused() {
    let matrix = |rows: [[f64; 2]; 2]| Mat::from_fn(2, 2, |i, j| rows[i][j]);
    assert!(Spectrum::of(matrix([[1.0, 0.0], [0.0, -0.1]]).as_ref()).is_err());
    assert!(Spectrum::of(Mat::<f64>::zeros(2, 3).as_ref()).is_err());
    assert!(Spectrum::of(matrix([[f64::NAN, 0.0], [0.0, 1.0]]).as_ref()).is_err());
    assert!(Spectrum::new(Mat::identity(2, 2), vec![1.0]).is_err());
    assert!(Spectrum::new(Mat::identity(2, 2), vec![1.0, f64::INFINITY]).is_err());
    let spectrum = || Spectrum::new(Mat::identity(1, 1), vec![1.0]).unwrap();
    let layer = LayerCurvature { rows: spectrum(), columns: spectrum() };
    assert!(KroneckerEigen::new(vec![layer.clone()], 0.0).is_err());
    let covariance = KroneckerEigen::new(vec![layer], 1.0).unwrap();
    let layout = Layout { blocks: vec![Block { rows: 1, cols: 2 }] };
    assert!(covariance.check(&layout).is_err());
    let wide = Mlp { widths: vec![1, 1], activation: Activation::Relu, bias: true };
    assert!(Gaussian::new(wide.layout(), vec![0.0; 2], covariance).is_err());
}
