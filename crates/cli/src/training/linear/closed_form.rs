//! The linear student of a regression with a teacher in closed form.

use anyhow::{Result, bail, ensure};
use candle_core::{DType, Device, Tensor};
use core_tensors::linalg::{RankPolicy, least_squares};
use core_tensors::{Dataset, Targets};
use faer::MatRef;
use losses::{Regression, pseudo_targets};

/// Weights W of the student g(x) = Wᵀx that minimize m times [`losses::regression`] + ½ `ridge` ‖W‖²; (n, k), f64, CPU.
///
/// W = (XᵀΩX + ridge I)⁻¹ XᵀΩy'',  ω and y'' of [`losses::pseudo_targets`],
///
/// by an orthogonal factor of Ω^{1/2} X, never by the inverse. X of `data` is (m, n); a constant belongs to it as a
/// column of ones, which the ridge then shrinks too. Where the columns are dependent, `rank` refuses with their number
/// and the rank, or takes the shortest W.
///
/// A teacher that is the least-squares fit to the same X and y, known everywhere, changes nothing, whatever λ.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use core_tensors::{Dataset, Targets, linalg::RankPolicy};
/// use cli::training::linear_student;
/// use losses::{Regression, Weights};
///
/// let column = |values: &[f64]| Tensor::from_slice(values, (values.len(), 1), &Device::Cpu);
/// let data = Dataset::new(column(&[1.0, 2.0])?, Targets::Values(column(&[2.0, 4.0])?))?;
/// let data = data.with_teacher(2, |x| x * 5.0)?; // the labels say 2, the teacher 5
/// let config = Regression {
///     teacher_weight: 0.5,
///     label_variance: 1.0,
///     teacher_variance: 0.5,
///     weights: Weights::Likelihood,
/// };
/// let w = linear_student(&data, &config, 0.0, RankPolicy::Full)?.to_vec2::<f64>()?;
/// assert!((w[0][0] - 4.0).abs() < 1e-12); // twice as close to the source of half the variance
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// Source: Grabovoy & Strijov (2022), theorem on regression.
pub fn linear_student(
    data: &Dataset,
    config: &Regression,
    ridge: f64,
    rank: RankPolicy,
) -> Result<Tensor> {
    let targets = pseudo_targets(data, config)?;
    let x = design(data)?;
    let omega: Vec<f64> = targets.precisions().to_vec1()?;
    let values: Vec<Vec<f64>> = targets.values().to_vec2()?;
    let rows = x.iter().zip(omega.into_iter().zip(&values));
    solve(rows.map(|(x, (omega, y))| (omega, x.as_slice(), y.as_slice())), ridge, rank)
}

/// [`linear_student`] from a row for each label and one for each known answer, each with its own weight.
///
/// Σᵢ aᵢ/σ² ‖yᵢ − Wᵀxᵢ‖² + Σ_{i ∈ 𝓘} λ/σ_s² ‖sᵢ − Wᵀxᵢ‖²,  m + |𝓘| rows,
///
/// the same W by another way, at more cost.
pub fn linear_student_stacked(
    data: &Dataset,
    config: &Regression,
    ridge: f64,
    rank: RankPolicy,
) -> Result<Tensor> {
    // Refuses what the other form refuses.
    pseudo_targets(data, config)?;
    let Targets::Values(values) = data.y() else {
        bail!("a linear student wanted values, found classes")
    };
    let numbers = |x: &Tensor| x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec2::<f64>();
    let (x, y, m) = (design(data)?, numbers(values)?, data.n_examples());
    let (s, known) = match data.soft() {
        Some(soft) => (numbers(soft.logits())?, soft.mask().to_vec1::<f32>()?),
        None => (y.clone(), vec![0.0; m]),
    };
    let (label_precision, teacher_precision) = config.precisions();
    let lambda = config.teacher_weight;
    let a = known.iter().map(|&i| if i == 0.0 { 1.0 } else { 1.0 - lambda });
    let b = known.iter().map(|&i| if i == 0.0 { 0.0 } else { lambda });
    let labels = a.map(|a| a * label_precision).zip(x.iter().zip(&y));
    let rows = labels.chain(b.map(|b| b * teacher_precision).zip(x.iter().zip(&s)));
    solve(rows.map(|(weight, (x, y))| (weight, x.as_slice(), y.as_slice())), ridge, rank)
}

/// X as rows, m of n numbers; bytes are grayscale intensities.
fn design(data: &Dataset) -> Result<Vec<Vec<f64>>> {
    let x = core_tensors::kernels::features(data.x())?;
    let dims = x.dims();
    ensure!(
        dims.len() == 2,
        "features of a linear student: expected examples by features, found {dims:?}"
    );
    Ok(x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec2()?)
}

/// argmin Σ weight ‖y − Wᵀx‖² + ridge ‖W‖² over rows (weight, x, y); those of weight 0 are left out.
fn solve<'a>(
    rows: impl Iterator<Item = (f64, &'a [f64], &'a [f64])>,
    ridge: f64,
    rank: RankPolicy,
) -> Result<Tensor> {
    let (mut design, mut targets) = (Vec::new(), Vec::new());
    let (mut m, mut n, mut k) = (0, 0, 0);
    for (weight, x, y) in rows.filter(|(weight, ..)| *weight > 0.0) {
        let root = weight.sqrt();
        design.extend(x.iter().map(|x| root * x));
        targets.extend(y.iter().map(|y| root * y));
        (m, n, k) = (m + 1, x.len(), y.len());
    }
    let design = MatRef::from_row_major_slice(&design, m, n);
    let targets = MatRef::from_row_major_slice(&targets, m, k);
    let w = least_squares(design, targets, ridge, rank)?;
    let values: Vec<f64> = (0..n * k).map(|at| w[(at / k, at % k)]).collect();
    Ok(Tensor::from_vec(values, (n, k), &Device::Cpu)?)
}

#[cfg(test)]
mod tests;
