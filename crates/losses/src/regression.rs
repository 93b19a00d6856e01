//! Regression with a teacher as a likelihood: values and the teacher's predictions, each with a variance of its own.

use candle_core::{DType, Device, Tensor};

use crate::checks::{check_examples, check_shape};
use crate::error::Result;
use crate::supervision::{Soft, Supervision};

/// How the two variances weigh the squared errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// 1/σ² and 1/σ_s²: the normal densities.
    Likelihood,
    /// σ² and σ_s²: the reading of the papers, whose loss and closed form multiply by them.
    ///
    /// It is the likelihood if the two numbers are precisions; as variances they weigh the noisier source more.
    AsPrinted,
}

/// The options of [`regression`] with a teacher.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Regression {
    /// λ ∈ \[0, 1\]: weight of the teacher's likelihood where its prediction is known; the value's is 1 − λ there.
    pub teacher_weight: f64,
    /// σ² > 0: variance of a value around the student's prediction, in squared units of the target.
    pub label_variance: f64,
    /// σ_s² > 0: variance of the teacher's prediction around the student's, in squared units of the target.
    pub teacher_variance: f64,
    /// Whether the squares are divided by the variances, or multiplied as in the papers.
    pub weights: Weights,
}

/// One target an example in the place of two, with the precision it is known to.
#[derive(Clone, Debug)]
pub struct PseudoTargets {
    precisions: Tensor,
    values: Tensor,
}

impl PseudoTargets {
    /// ωᵢ > 0, (m,), f64 on the CPU: inverse variance of the noise in y''ᵢ.
    pub fn precisions(&self) -> &Tensor {
        &self.precisions
    }

    /// y''ᵢ, (m, k), f64 on the CPU.
    pub fn values(&self) -> &Tensor {
        &self.values
    }
}

/// Negative log-likelihood of values and of the teacher's predictions, averaged over the batch; shape ().
///
/// −(1/m) Σᵢ { aᵢ log N(yᵢ | gᵢ, σ² I)  +  \[i ∈ 𝓘\] λ log N(sᵢ | gᵢ, σ_s² I) },  aᵢ = 1 − λ if i ∈ 𝓘 else 1,
///
/// constants included; the second argument of N is a variance, 1/σ² in its place under [`Weights::AsPrinted`]. g is
/// `prediction`, (m, k); y the values of `data` and s its teacher's predictions, (m, k) too. Without a teacher every
/// example lies outside 𝓘. A number of weight 0 is not looked at: sᵢ outside 𝓘, and yᵢ in it for λ = 1. The gradient
/// reaches `prediction` alone.
///
/// Source: Grabovoy & Strijov (2022), regression, with a weighted likelihood where they have a joint one.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{Regression, Supervision, Weights, regression};
///
/// let column = |values: [f64; 2]| Tensor::new(&values, &Device::Cpu)?.unsqueeze(1);
/// let (prediction, values, teacher) = (column([1.0, 2.0])?, column([0.0, 4.0])?, column([3.0, 5.0])?);
/// let targets = Supervision::values(&values).with_teacher(&teacher, None);
/// let options = Regression {
///     teacher_weight: 0.25,
///     label_variance: 2.0,
///     teacher_variance: 0.5,
///     weights: Weights::Likelihood,
/// };
/// let loss = regression(&prediction, targets, &options)?.to_scalar::<f64>()?;
/// assert!((loss - 3.185975).abs() < 1e-6);
/// # Ok::<(), losses::Error>(())
/// ```
pub fn regression<'a>(
    prediction: &Tensor,
    data: impl Into<Supervision<'a>>,
    options: &Regression,
) -> Result<Tensor> {
    options.check()?;
    let data = data.into();
    let values = values(data)?;
    let (m, k) = prediction.dims2()?;
    check_shape("targets of a regression", &[m, k], values.dims())?;
    let soft = soft(data, m, k)?;
    // Σᵢ wᵢ ½ {π ‖gᵢ − tᵢ‖² − k log(π / 2π)}, π the precision
    let term = |targets: &Tensor, weights: &Tensor, precision: f64| -> Result<Tensor> {
        let targets = targets.detach().to_dtype(prediction.dtype())?;
        let counts = weights.gt(0.0)?.unsqueeze(1)?.broadcast_as((m, k))?;
        let error = (prediction - targets)?;
        let error = counts.where_cond(&error, &error.zeros_like()?)?; // (m, k)
        let log_precision = k as f64 * (precision / std::f64::consts::TAU).ln();
        let each = (error.sqr()?.sum(1)? * precision)?.affine(0.5, -0.5 * log_precision)?; // (m,)
        Ok((each * weights)?.sum_all()?)
    };
    let (label_precision, teacher_precision) = options.precisions();
    let lambda = options.teacher_weight;
    let total = match soft {
        None => {
            let weights = Tensor::ones(m, prediction.dtype(), prediction.device())?;
            term(values, &weights, label_precision)?
        }
        Some(soft) => {
            let mask = soft.mask.to_dtype(prediction.dtype())?; // (m,)
            let labels = term(values, &mask.affine(-lambda, 1.0)?, label_precision)?;
            (labels + term(&soft.logits, &(mask * lambda)?, teacher_precision)?)?
        }
    };
    Ok((total / m as f64)?)
}

/// The targets whose weighted squares differ from [`regression`] by a constant alone.
///
/// ωᵢ = 1/σ², y''ᵢ = yᵢ for i ∉ 𝓘;  ωᵢ = (1 − λ)/σ² + λ/σ_s², y''ᵢ = \[(1 − λ) yᵢ/σ² + λ sᵢ/σ_s²\] / ωᵢ for i ∈ 𝓘,
///
/// by a(y − g)² + b(s − g)² = (a + b)(g − (ay + bs)/(a + b))² + ab/(a + b) (y − s)². Any student, linear or not, that
/// minimizes Σ ωᵢ ‖gᵢ − y''ᵢ‖² minimizes the likelihood. σ² and σ_s² stand inverted under [`Weights::AsPrinted`].
///
/// Source: Grabovoy & Strijov (2022), theorem on regression, whose closed form has a spurious factor 2.
pub fn pseudo_targets<'a>(
    data: impl Into<Supervision<'a>>,
    options: &Regression,
) -> Result<PseudoTargets> {
    let Terms { k, labels, teacher } = terms(data.into(), options)?;
    let mut precisions = Vec::with_capacity(labels.len());
    let mut values = Vec::with_capacity(labels.len() * k);
    for ((a, y), (b, s)) in labels.iter().zip(&teacher) {
        let omega = a + b;
        precisions.push(omega);
        // A weight of 0 hides whatever stands there, infinite or no number.
        let mean = |(y, s): (&f64, &f64)| match (*a, *b) {
            (0.0, _) => *s,
            (_, 0.0) => *y,
            (a, b) => (a / omega) * y + (b / omega) * s,
        };
        values.extend(y.iter().zip(s).map(mean));
    }
    let m = precisions.len();
    let precisions = Tensor::from_vec(precisions, m, &Device::Cpu)?;
    Ok(PseudoTargets { precisions, values: Tensor::from_vec(values, (m, k), &Device::Cpu)? })
}

impl Regression {
    /// What multiplies the squares of values and of the teacher's predictions: 1/σ² and 1/σ_s², or σ² and σ_s² as printed.
    pub fn precisions(&self) -> (f64, f64) {
        match self.weights {
            Weights::Likelihood => (1.0 / self.label_variance, 1.0 / self.teacher_variance),
            Weights::AsPrinted => (self.label_variance, self.teacher_variance),
        }
    }

    fn check(&self) -> Result<()> {
        let out =
            |name, value, range| Err(core_tensors::Error::OutOfRange { name, value, range }.into());
        if !(0.0..=1.0).contains(&self.teacher_weight) {
            return out("teacher weight", self.teacher_weight, "[0, 1]");
        }
        let variances =
            [("label variance", self.label_variance), ("teacher variance", self.teacher_variance)];
        for (name, value) in variances {
            // The inverse of a subnormal number is infinite.
            if !(value > 0.0 && value.is_normal()) {
                return out(name, value, "(0, ∞)");
            }
        }
        Ok(())
    }
}

/// Weights and targets of both terms, example by example.
struct Terms {
    k: usize,
    labels: Vec<(f64, Vec<f64>)>,
    teacher: Vec<(f64, Vec<f64>)>,
}

/// The terms of [`regression`] as numbers in f64; without a teacher its predictions are the values, with weight 0.
fn terms(data: Supervision<'_>, options: &Regression) -> Result<Terms> {
    options.check()?;
    let y = values(data)?;
    let (m, k) = y.dims2()?;
    let soft = soft(data, m, k)?;
    let rows = |tensor: &Tensor| -> Result<Vec<Vec<f64>>> {
        Ok(tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec2()?)
    };
    let y = rows(y)?;
    let (s, mask) = match soft {
        Some(soft) => (rows(&soft.logits)?, soft.mask.to_vec1::<f32>()?),
        None => (y.clone(), vec![0.0; m]),
    };
    let lambda = options.teacher_weight;
    let (label_precision, teacher_precision) = options.precisions();
    let a = mask.iter().map(|&i| if i == 0.0 { 1.0 } else { 1.0 - lambda });
    let b = mask.iter().map(|&i| if i == 0.0 { 0.0 } else { lambda });
    let labels = a.map(|a| a * label_precision).zip(y).collect();
    let teacher = b.map(|b| b * teacher_precision).zip(s).collect();
    Ok(Terms { k, labels, teacher })
}

fn values(data: Supervision<'_>) -> Result<&Tensor> {
    let values = data.values_of("regression")?;
    check_examples(data.n_examples())?;
    Ok(values)
}

fn soft(data: Supervision<'_>, m: usize, k: usize) -> Result<Option<Soft>> {
    let soft = data.soft()?;
    if let Some(soft) = &soft {
        check_shape("predictions of the teacher", &[m, k], soft.logits.dims())?;
    }
    Ok(soft)
}

#[cfg(test)]
mod tests;
