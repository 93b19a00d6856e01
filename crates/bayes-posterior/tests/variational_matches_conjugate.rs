//! Mean-field inference of a linear regression ends where the conjugate posterior says.

mod dense;

use bayes_posterior::{
    Diagonal, Estimator, Full, Gaussian, Inference, MeanField, Prior, VariationalPrior,
};
use candle_core::{DType, Device, Tensor};
use core_tensors::{AdamConfig, Dataset, Params, Rng, Targets};
use dense::{Matrix, TestResult, inverse, log_det, network, normals};
use faer::Mat;
use losses::Likelihood;
use models::{Architecture, Mlp};

const NOISE: f64 = 0.5;
const M: usize = 40;

/// q at the end; mean and variances, averaged.
type Inferred = (MeanField, Vec<f64>, Vec<f64>);

struct Regression {
    model: Mlp,
    data: Dataset,
    rows: Matrix,
    y: Vec<f64>,
}

fn regression(rng: &mut Rng) -> Result<Regression, Box<dyn std::error::Error>> {
    let (x, noise) = (normals(3 * M, rng), normals(M, rng));
    let rows: Matrix = x.chunks(3).map(|r| [r, &[1.0]].concat()).collect();
    let y: Vec<f64> = rows
        .iter()
        .zip(noise)
        .map(|(r, e)| r[0] - 0.5 * r[1] + 0.2 * r[2] + 0.3 + NOISE.sqrt() * e)
        .collect();
    let data = Dataset::new(
        Tensor::from_slice(&x, (M, 3), &Device::Cpu)?.to_dtype(DType::F32)?,
        Targets::Values(Tensor::from_slice(&y, (M, 1), &Device::Cpu)?.to_dtype(DType::F32)?),
    )?;
    Ok(Regression { model: network(&[3, 1], true), data, rows, y })
}

impl Regression {
    /// Precision and mean of the posterior under the prior N(m₀, P₀⁻¹).
    fn conjugate(&self, prior_mean: &[f64], prior_precision: &Matrix) -> (Matrix, Vec<f64>) {
        let data = |i: usize, j: usize| self.rows.iter().map(|r| r[i] * r[j]).sum::<f64>() / NOISE;
        let entry = |i: usize, j: usize| prior_precision[i][j] + data(i, j);
        let precision: Matrix = (0..4).map(|i| (0..4).map(|j| entry(i, j)).collect()).collect();
        let right = |i: usize| {
            let prior: f64 = (0..4).map(|j| prior_precision[i][j] * prior_mean[j]).sum();
            prior + self.rows.iter().zip(&self.y).map(|(r, y)| r[i] * y).sum::<f64>() / NOISE
        };
        let right: Vec<f64> = (0..4).map(right).collect();
        let mean = inverse(&precision)
            .into_iter()
            .map(|row| row.iter().zip(&right).map(|(a, b)| a * b).sum());
        (precision, mean.collect())
    }

    fn inference<'a>(&'a self, prior: VariationalPrior<'a>, estimator: Estimator) -> Inference<'a> {
        Inference {
            network: &self.model,
            likelihood: Likelihood::Normal { variance: NOISE },
            prior,
            n_examples: M,
            kl_weight: 1.0,
            estimator,
        }
    }

    /// From one log std on; mean and variances averaged over the last steps, which a constant step size keeps moving.
    fn infer(
        &self,
        prior: VariationalPrior,
        estimator: Estimator,
        log_std: f64,
    ) -> Result<Inferred, Box<dyn std::error::Error>> {
        let inference = self.inference(prior, estimator);
        let mut rng = Rng::new(1);
        let start = Params::from_vec(&self.model.layout(), &[0.0; 4], &Device::Cpu)?;
        let mut q = MeanField::new(AdamConfig::pytorch(1e-2), &start, log_std)?;
        let (mut mean, mut variance) = (vec![0.0; 4], vec![0.0; 4]);
        let (n_steps, n_last) = (6000, 3000);
        for step in 0..n_steps {
            inference.step(&mut q, &self.data, &mut rng)?;
            if step >= n_steps - n_last {
                let add = |sum: &mut [f64], values: &[f64]| {
                    sum.iter_mut().zip(values).for_each(|(s, v)| *s += v / f64::from(n_last));
                };
                add(&mut mean, &q.mean());
                add(&mut variance, &q.variance().iter().map(|v| v.ln()).collect::<Vec<_>>());
            }
        }
        Ok((q, mean, variance.into_iter().map(f64::exp).collect()))
    }
}

/// Averages of 3000 correlated steps of size 1e-2: a few hundredths of a standard deviation for the mean, and a few per cent
/// for a variance.
const OF_A_STD: f64 = 0.1;
const OF_A_VARIANCE: f64 = 0.08;

fn check(mean: &[f64], variance: &[f64], exact_mean: &[f64], precision: &Matrix) {
    for i in 0..4 {
        let v = 1.0 / precision[i][i];
        let gap = (mean[i] - exact_mean[i]).abs() / v.sqrt();
        assert!(gap < OF_A_STD, "mean {i}: {} {} ({gap} deviations)", mean[i], exact_mean[i]);
        assert!((variance[i] / v).ln().abs() < OF_A_VARIANCE, "variance {i}: {} {v}", variance[i]);
    }
}

#[test]
fn both_estimators_reach_the_best_independent_gaussian() -> TestResult {
    let r = regression(&mut Rng::new(0))?;
    let identity: Matrix =
        (0..4).map(|i| (0..4).map(|j| 2.0 * f64::from(i == j)).collect()).collect();
    let (precision, exact) = r.conjugate(&[0.0; 4], &identity);
    for estimator in [Estimator::Reparametrization, Estimator::LocalReparametrization] {
        let prior = VariationalPrior::Isotropic { precision: 2.0 };
        let (q, mean, variance) = r.infer(prior, estimator, -2.0)?;
        check(&mean, &variance, &exact, &precision);

        // The bound lies below the evidence log N(y; 0, X Xᵀ/a + σ² I), by KL(q ‖ exact) and the draws' error.
        let inference = r.inference(prior, estimator);
        let bound = inference.bound(&q, &r.data, 400, &mut Rng::new(2))?;
        let covariance: Matrix = (0..M)
            .map(|i| {
                let dot = |j: usize| {
                    r.rows[i].iter().zip(&r.rows[j]).map(|(a, b)| a * b).sum::<f64>() / 2.0
                };
                (0..M).map(|j| dot(j) + if i == j { NOISE } else { 0.0 }).collect()
            })
            .collect();
        let inverted = inverse(&covariance);
        let pairs = (0..M).flat_map(|i| (0..M).map(move |j| (i, j)));
        let quadratic: f64 = pairs.map(|(i, j)| r.y[i] * inverted[i][j] * r.y[j]).sum();
        let evidence =
            -0.5 * (quadratic + log_det(&covariance) + M as f64 * std::f64::consts::TAU.ln());
        let posterior = Gaussian::new(
            r.model.layout(),
            exact.clone(),
            Full::new(Mat::from_fn(4, 4, |i, j| inverse(&precision)[i.min(j)][i.max(j)]))?,
        )?;
        let gap = Prior::new(&posterior)?.divergence_of(&q.to_gaussian()?)?.value;
        let wanted = evidence - gap;
        // The log-likelihood of a draw deviates by about √(p/2) nats; 400 draws, five errors.
        assert!((bound.log_evidence() - wanted).abs() < 0.4, "{} {wanted}", bound.log_evidence());
        assert!(bound.divergence > 0.0 && bound.log_evidence() < evidence + 0.4);
    }
    Ok(())
}

#[test]
fn any_gaussian_can_be_the_prior() -> TestResult {
    let r = regression(&mut Rng::new(3))?;
    let mut rng = Rng::new(4);
    let layout = r.model.layout();
    let prior_mean = normals(4, &mut rng);
    let full = Gaussian::new(layout.clone(), prior_mean.clone(), dense::full(&layout, &mut rng))?;
    let prior_precision = inverse(&dense::to_dense(full.covariance()));
    let (precision, exact) = r.conjugate(&prior_mean, &prior_precision);
    let prior = Prior::new(&full)?;
    let (_, mean, variance) =
        r.infer(VariationalPrior::Gaussian(&prior), Estimator::Reparametrization, -2.0)?;
    check(&mean, &variance, &exact, &precision);

    // A diagonal prior takes the short way through f32 and must end at the same place.
    let v: Vec<f64> = (0..4).map(|i| 0.05 + 0.1 * i as f64).collect();
    let diagonal = Gaussian::new(layout, prior_mean.clone(), Diagonal::new(v.clone())?)?;
    let matrix =
        (0..4).map(|i| (0..4).map(|j| if i == j { 1.0 / v[i] } else { 0.0 }).collect()).collect();
    let (precision, exact) = r.conjugate(&prior_mean, &matrix);
    let prior = Prior::new(&diagonal)?;
    let (_, mean, variance) =
        r.infer(VariationalPrior::Gaussian(&prior), Estimator::LocalReparametrization, -2.0)?;
    check(&mean, &variance, &exact, &precision);
    Ok(())
}

#[test]
fn a_strong_prior_is_met_at_its_variance_in_every_form() -> TestResult {
    let r = regression(&mut Rng::new(7))?;
    let (layout, a) = (r.model.layout(), 1e9);
    let diagonal = Gaussian::new(layout.clone(), vec![0.0; 4], Diagonal::new(vec![1.0 / a; 4])?)?;
    let covariance = Mat::from_fn(4, 4, |i, j| if i == j { 1.0 / a } else { 0.0 });
    let full = Gaussian::new(layout, vec![0.0; 4], Full::new(covariance)?)?;
    let (diagonal, full) = (Prior::new(&diagonal)?, Prior::new(&full)?);
    for prior in [
        VariationalPrior::Isotropic { precision: a },
        VariationalPrior::Gaussian(&diagonal),
        VariationalPrior::Gaussian(&full),
    ] {
        for estimator in [Estimator::Reparametrization, Estimator::LocalReparametrization] {
            // The data add some eighty to a precision of 1e9.
            // From v a = 2 on: Adam is long in forgetting the gradients of a start further off.
            for v in r.infer(prior, estimator, -10.0)?.2 {
                assert!((v * a).ln().abs() < OF_A_VARIANCE, "{estimator:?}: v a = {}", v * a);
            }
        }
    }
    Ok(())
}

#[test]
fn one_step_equals_adam_on_the_formula() -> TestResult {
    // The first step of Adam is the learning rate times the sign of the gradient: signs by hand from the draw.
    let r = regression(&mut Rng::new(5))?;
    let start = Params::from_vec(&r.model.layout(), &[0.4, -0.3, 0.2, 0.1], &Device::Cpu)?;
    let rate = 1e-3;
    let mut q = MeanField::new(AdamConfig::pytorch(rate), &start, -1.0)?;
    let (before, v) = (q.mean(), q.variance()[0]);
    let w = q.sample(&mut Rng::new(6))?.to_vec()?;
    let inference = Inference {
        network: &r.model,
        likelihood: Likelihood::Normal { variance: NOISE },
        prior: VariationalPrior::Isotropic { precision: 3.0 },
        n_examples: 100,
        kl_weight: 0.7,
        estimator: Estimator::Reparametrization,
    };
    let log_likelihood = inference.step(&mut q, &r.data, &mut Rng::new(6))?;
    let residual: Vec<f64> = r
        .rows
        .iter()
        .zip(&r.y)
        .map(|(x, y)| y - x.iter().zip(&w).map(|(a, b)| a * b).sum::<f64>())
        .collect();
    let squares: f64 = residual.iter().map(|e| e * e).sum();
    let wanted = -0.5 * squares / (NOISE * M as f64) - 0.5 * (std::f64::consts::TAU * NOISE).ln();
    assert!((log_likelihood - wanted).abs() < 1e-5 * wanted.abs(), "{log_likelihood} {wanted}");
    for i in 0..4 {
        let data: f64 =
            residual.iter().zip(&r.rows).map(|(e, x)| -e * x[i] / (NOISE * M as f64)).sum();
        let scale = 0.7 / 100.0;
        let by_mean = data + scale * 3.0 * before[i];
        let by_rho = data * (w[i] - before[i]) + scale * (3.0 * v - 1.0);
        let moved = q.mean()[i] - before[i];
        assert!((moved + rate * by_mean.signum()).abs() < 1e-6, "mean {i}: {moved} {by_mean}");
        let turned = 0.5 * (q.variance()[i].ln() - v.ln());
        assert!((turned + rate * by_rho.signum()).abs() < 1e-6, "deviation {i}: {turned} {by_rho}");
    }
    Ok(())
}
