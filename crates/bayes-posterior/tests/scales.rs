//! Low-rank covariances whose diagonal and directions lie up to twenty-four orders of magnitude apart.

mod dense;

use bayes_posterior::{Covariance, Gaussian, LowRank, LowRankForm, Structure};
use candle_core::{Device, Tensor};
use core_tensors::{Block, Dataset, Layout, Params, Rng, Slice, Targets};
use dense::{TestResult, network, normals};
use faer::Mat;
use losses::Likelihood;
use models::Architecture;

/// Roundings of a few dozen operations.
const TOLERANCE: f64 = 1e-11;

const SCALES: [f64; 7] = [1e-12, 1e-8, 1e-4, 1.0, 1e4, 1e8, 1e12];

fn near(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= TOLERANCE * wanted.abs()
}

/// (D + f fᵀ)⁻¹ in closed form, sums of positive terms alone; b = D^{−½} f and y = D^{−½} x.
struct RankOne {
    b: Vec<f64>,
    d: Vec<f64>,
}

impl RankOne {
    fn new(f: &[f64], d: &[f64]) -> Self {
        Self { b: f.iter().zip(d).map(|(f, d)| f / d.sqrt()).collect(), d: d.to_vec() }
    }

    fn without(&self, i: usize) -> f64 {
        let others = self.b.iter().enumerate().filter(|(j, _)| *j != i);
        1.0 + others.map(|(_, b)| b * b).sum::<f64>()
    }

    fn all(&self) -> f64 {
        1.0 + self.b.iter().map(|b| b * b).sum::<f64>()
    }

    fn diagonal(&self) -> Vec<f64> {
        (0..self.b.len()).map(|i| self.without(i) / (self.d[i] * self.all())).collect()
    }

    fn log_det(&self) -> f64 {
        self.all().ln() + self.d.iter().map(|d| d.ln()).sum::<f64>()
    }

    /// Lagrange's identity: ‖y‖² (1 + ‖b‖²) − (bᵀy)² = ‖y‖² + Σ_{i<j} (yᵢ bⱼ − yⱼ bᵢ)².
    fn quadratic(&self, x: &[f64]) -> f64 {
        let y: Vec<f64> = x.iter().zip(&self.d).map(|(x, d)| x / d.sqrt()).collect();
        let p = y.len();
        let pairs = (0..p).flat_map(|i| (i + 1..p).map(move |j| (i, j)));
        let cross: f64 = pairs.map(|(i, j)| (y[i] * self.b[j] - y[j] * self.b[i]).powi(2)).sum();
        (y.iter().map(|y| y * y).sum::<f64>() + cross) / self.all()
    }

    /// Entry (i, j) off the diagonal.
    fn entry(&self, i: usize, j: usize) -> f64 {
        -self.b[i] * self.b[j] / (self.d[i] * self.d[j]).sqrt() / self.all()
    }
}

#[test]
fn inverses_have_all_their_digits_at_every_scale() -> TestResult {
    for seed in 0..6 {
        let mut rng = Rng::new(seed);
        for (f_scale, d_scale) in SCALES.iter().flat_map(|f| SCALES.map(|d| (*f, d))) {
            let layout = Layout { blocks: vec![Block { rows: 1, cols: 4 }] };
            // One row far above the others, one without a direction.
            let mut f: Vec<f64> = normals(4, &mut rng).iter().map(|f| f * f_scale).collect();
            f[0] *= 1e3;
            f[3] = 0.0;
            let d: Vec<f64> = (0..4).map(|_| d_scale * (0.2 + rng.uniform())).collect();
            let naive = RankOne::new(&f, &d);
            let factor = Mat::from_fn(4, 1, |i, _| f[i]);
            let precision = LowRank::new(LowRankForm::Precision, factor.clone(), d.clone())?;
            let covariance = LowRank::new(LowRankForm::Covariance, factor, d.clone())?;
            let context = format!("F {f_scale:e}, D {d_scale:e}");
            for (found, wanted) in precision.diagonal()?.iter().zip(naive.diagonal()) {
                assert!(near(*found, wanted), "{context}: {found:e} {wanted:e}");
            }
            assert_eq!(precision.diagonal()?, covariance.precision_diagonal()?);
            let gap = covariance.log_det()? - naive.log_det();
            assert!(gap.abs() < 1e-11 * (1.0 + naive.log_det().abs()), "{context}");
            // A point where the quadratic form sees every direction, and the direction itself.
            for x in [normals(4, &mut rng), f.clone()] {
                let (found, wanted) = (covariance.precision_quadratic(&x)?, naive.quadratic(&x));
                // Moving x by its own rounding moves the form by so much.
                let rounding = |(x, d): (&f64, &f64)| (1e-15 * x).powi(2) / d;
                let rounding: f64 = x.iter().zip(&d).map(rounding).sum();
                assert!(
                    (found - wanted).abs() <= TOLERANCE * wanted + rounding,
                    "{context}: {found:e} {wanted:e}"
                );
            }
            // Columns of the covariance.
            let columns = precision.column_covariance(&layout, 0)?;
            for i in 0..4 {
                let mut unit = [0.0; 4];
                unit[i] = 1.0;
                let column = precision.apply(&unit)?;
                for j in (0..4).filter(|&j| j != i) {
                    let wanted = naive.entry(j, i);
                    assert!(near(column[j], wanted), "{context}: {:e} {wanted:e}", column[j]);
                    assert!(near(columns[(j, i)], wanted), "{context}");
                }
                assert!(near(column[i], naive.diagonal()[i]) && near(columns[(i, i)], column[i]));
            }
            // Fixing one number under the precision form costs r²/Ψᵢᵢ and moves the others by Ψⱼᵢ/Ψᵢᵢ r.
            let slice = Slice::Cols { block: 0, cols: vec![1] };
            let left = precision.condition(&layout, &slice, &[2.0])?;
            let v = naive.diagonal()[1];
            assert!(near(left.density.quadratic, 4.0 / v), "{context}");
            for (place, j) in [0, 2, 3].into_iter().enumerate() {
                let wanted = 2.0 * naive.entry(j, 1) / v;
                assert!(near(left.shift[place], wanted), "{context}: {:?} {wanted:e}", left.shift);
            }
        }
    }
    Ok(())
}

#[test]
fn the_smallest_case_by_hand() -> TestResult {
    // Ψ⁻¹ = 1e-10 + 1e8.
    let one = LowRank::new(LowRankForm::Precision, Mat::from_fn(1, 1, |_, _| 1e4), vec![1e-10])?;
    assert!(near(one.diagonal()?[0], 1e-8));
    assert!(near(one.apply(&[3.0])?[0], 3e-8));
    assert!(near(one.log_det()?, -(1e8f64).ln()));
    Ok(())
}

#[test]
fn divergences_of_low_rank_posteriors_are_traces_of_positive_terms() -> TestResult {
    // KL of a Gaussian from itself is 0, so its trace is p however far apart the scales lie.
    let mut rng = Rng::new(1);
    for scale in SCALES {
        for form in [LowRankForm::Covariance, LowRankForm::Precision] {
            let factor = Mat::from_fn(6, 2, |_, _| scale * rng.normal());
            let own = LowRank::new(form, factor, (0..6).map(|_| 0.2 + rng.uniform()).collect())?;
            let trace = own.trace_ratio(&own)?;
            // The directions are known to their rounding, which the diagonal magnifies.
            let tolerance = 1e-9 + 12.0 * (1e-15 * scale).powi(2) / 0.2;
            assert!((trace - 6.0).abs() < tolerance, "{form:?} {scale:e}: {trace}");
        }
    }
    Ok(())
}

#[test]
fn a_laplace_posterior_of_low_rank_keeps_a_small_prior() -> TestResult {
    // Two of three inputs matter and are large: with rank 2 the rest of the precision is the prior alone.
    let model = network(&[3, 1], false);
    let delta = 1e-6;
    let x = [[1e6, 0.0, 0.0], [0.0, 2e6, 0.0], [3e6, 1e6, 0.0], [1e6, 1e6, 0.0]];
    let data = Dataset::new(
        Tensor::new(&x, &Device::Cpu)?,
        Targets::Values(Tensor::new(&[[1.0], [2.0], [3.0], [0.5]], &Device::Cpu)?),
    )?;
    let w = Params::new(model.layout(), vec![Tensor::new(&[[0.1, 0.2, 0.3]], &Device::Cpu)?])?;
    let normal = Likelihood::Normal { variance: 1.0 };
    let found = dense::laplace(&model, &w, &data, &normal, delta).low_rank(2)?;
    let posterior = found.posterior;
    let v = posterior.gaussian().covariance().diagonal()?;
    // H = [[11, 4], [4, 6]] · 1e12, whose inverse has the diagonal [6, 11] / 50 · 1e-12.
    for (found, wanted) in v.iter().zip([0.12e-12, 0.22e-12, 1e6]) {
        assert!((found / wanted - 1.0).abs() < 1e-6, "{found:e} {wanted:e}");
    }
    let full = dense::laplace(&model, &w, &data, &normal, delta).full()?;
    assert!((found.log_evidence - full.log_evidence).abs() < 1e-6 * full.log_evidence.abs());
    // A signal-to-noise ratio is a number.
    assert!(posterior.gaussian().mean().iter().zip(&v).all(|(m, v)| (m / v.sqrt()).is_finite()));
    Ok(())
}

#[test]
fn draws_of_a_precision_have_its_small_variances() -> TestResult {
    let layout = Layout { blocks: vec![Block { rows: 1, cols: 3 }] };
    let (f, d) = ([1e4, 1.0, 0.0], [1e-4, 1.0, 1e4]);
    let naive = RankOne::new(&f, &d);
    let covariance =
        LowRank::new(LowRankForm::Precision, Mat::from_fn(3, 1, |i, _| f[i]), d.to_vec())?;
    let gaussian = Gaussian::new(layout, vec![0.0; 3], covariance)?;
    let (mut rng, n) = (Rng::new(2), 20_000);
    let mut squares = [0.0; 3];
    for _ in 0..n {
        let w = gaussian.sample(&mut rng)?;
        (0..3).for_each(|i| squares[i] += w[i] * w[i] / f64::from(n));
    }
    for (square, v) in squares.iter().zip(naive.diagonal()) {
        // Five standard errors.
        assert!((square / v - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt(), "{square:e} {v:e}");
    }
    Ok(())
}
