//! Distillation of an ensemble as a distribution: the student gives a Dirichlet density over class probabilities.

use candle_core::Tensor;
use core_tensors::Expected;
use statrs::function::gamma::{digamma, ln_gamma};

use crate::checks::{check_count, check_temperature};
use crate::error::Result;
use crate::stable::{by_rows, log_softmax};
use crate::supervision::{KnownLogits, Supervision, known_logits_of_members, nothing};

/// Score up to which α is its exponential; a straight line from there, so that none overflows.
const LARGEST: f64 = 30.0;

/// Negative log-likelihood of the members' probabilities under the student's Dirichlet, averaged over batch and members; shape ().
///
/// (1/m) Σᵢ \[i ∈ 𝓘\] (1/e) Σₗ −log Dir(π⁽ˡ⁾(xᵢ) | α(xᵢ)),  αₖ = exp(zₖ / T),  π⁽ˡ⁾ = softmax(v⁽ˡ⁾ / T),
///
/// log Dir(π | α) = log Γ(Σₖ αₖ) − Σₖ log Γ(αₖ) + Σₖ (αₖ − 1) log πₖ.
///
/// `logits` z are the student's, (m, k); it predicts the Dirichlet's mean, softmax(z / T). The teacher of `data` is the logits of
/// the e members side by side, (m, e·k), in any order of members. Where all members agree there is no finite optimum. T > 0 flattens
/// both; Malinin et al. let it fall to 1 in the course of training. There is no factor T² and no mixing of the members' probabilities
/// with a uniform one, both of which public code has. Where zₖ / T exceeds 30, α goes on as a straight line. The loss is
/// a density's, so that it has no sign; the gradient reaches `logits` alone.
///
/// Source: Malinin, Mlodozeniec & Gales (2020), Ensemble Distribution Distillation.
pub fn dirichlet<'a>(
    logits: &Tensor,
    data: impl Into<Supervision<'a>>,
    temperature: f64,
) -> Result<Tensor> {
    check_temperature(temperature)?;
    let data = data.into();
    let known = known_logits_of_members(logits, data)?;
    let Some(KnownLogits { student, teacher, .. }) = known else {
        return nothing(logits);
    };
    let (n, k) = student.dims2()?;
    check_count("classes of a Dirichlet", Expected::AtLeast(2), k >= 2, k)?;
    let teacher = (teacher / temperature)?.reshape((n, (), k))?; // (n, e, k)
    let e = teacher.dim(1)?;
    let log_pi = log_softmax(&teacher.reshape((n * e, k))?)?.reshape((n, e, k))?;
    // Σₗ first: the density is linear in the logarithms.
    let mean_log: Vec<Vec<f64>> = log_pi.mean(1)?.to_dtype(candle_core::DType::F64)?.to_vec2()?;
    let mut examples = mean_log.iter();
    let losses = by_rows(&(student / temperature)?, |logits, derivatives| {
        examples
            .next()
            .map_or(f64::NAN, |mean_log| negative_log_density(logits, mean_log, derivatives))
    })?; // (n,)
    Ok((losses.sum_all()? / data.n_examples() as f64)?)
}

/// −log Dir at the α of these logits and the mean of log π; `derivatives` become those by the logits.
fn negative_log_density(logits: &[f64], mean_log: &[f64], derivatives: &mut [f64]) -> f64 {
    let logs: Vec<f64> = logits.iter().map(|&z| log_concentration(z)).collect();
    let largest = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // The power of the largest is 1: left out of the sum, so that a tiny rest keeps its digits.
    let most = logs.iter().position(|log| *log == largest);
    let others = logs.iter().enumerate().filter(|(k, _)| Some(*k) != most);
    let log_total = largest + others.map(|(_, log)| (log - largest).exp()).sum::<f64>().ln_1p();
    let total = log_total.exp();
    if !total.is_finite() {
        derivatives.fill(f64::NAN);
        return f64::NAN;
    }
    // log Γ(α) = log Γ(1 + α) − log α and ψ(α) = ψ(1 + α) − 1/α: parts that stay finite as α → 0.
    let mut value = log_total - ln_gamma(1.0 + total);
    let psi_total = digamma(1.0 + total);
    for (((&log, &mean_log), derivative), z) in
        logs.iter().zip(mean_log).zip(derivatives).zip(logits)
    {
        let alpha = log.exp();
        value += ln_gamma(1.0 + alpha) - log - (alpha - 1.0) * mean_log;
        let by_log =
            alpha * (digamma(1.0 + alpha) - psi_total - mean_log) + (log - log_total).exp_m1();
        *derivative = by_log / (1.0 + (z - LARGEST).max(0.0));
    }
    value
}

/// log α: the logit z, and log(1 + z − 30) more than 30 beyond 30.
fn log_concentration(z: f64) -> f64 {
    z.min(LARGEST) + (z - LARGEST).max(0.0).ln_1p()
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use core_tensors::{Dataset, Targets};

    use super::*;

    fn data(members: &[&[f64]]) -> Dataset {
        let (m, width) = (members.len(), members[0].len());
        let x = Tensor::zeros((m, 1), DType::F64, &Device::Cpu).unwrap();
        let labels = Tensor::zeros(m, DType::U32, &Device::Cpu).unwrap();
        let data = Dataset::new(x, Targets::Classes { labels, n_classes: 2 }).unwrap();
        let logits = Tensor::new(members.concat(), &Device::Cpu).unwrap();
        data.with_teacher(m, |_| logits.reshape((m, width))).unwrap()
    }

    fn value(logits: [f64; 2], data: &Dataset, temperature: f64) -> f64 {
        let logits = Tensor::new(&[logits], &Device::Cpu).unwrap();
        dirichlet(&logits, data, temperature).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn a_beta_density_by_hand() {
        // Beta(2, 3) at .4 has the density 12 · .4 · .6² = 1.728, at .5 that of 1.5.
        let logit = |p: f64| (p / (1.0 - p)).ln();
        let data = data(&[&[logit(0.4), 0.0, logit(0.5), 0.0]]);
        let found = value([2f64.ln(), 3f64.ln()], &data, 1.0);
        let wanted = -0.5 * (1.728f64.ln() + 1.5f64.ln());
        assert!((found - wanted).abs() < 1e-12, "{found} {wanted}");
        // With every logit twice as large and T = 2 nothing changes.
        let doubled = self::data(&[&[2.0 * logit(0.4), 0.0, 2.0 * logit(0.5), 0.0]]);
        let found = value([2.0 * 2f64.ln(), 2.0 * 3f64.ln()], &doubled, 2.0);
        assert!((found - wanted).abs() < 1e-12);
    }

    #[test]
    fn its_optimum_is_the_density_that_the_members_were_drawn_from() {
        // Dir(1, 1): log π is exponential of mean −1, that of log(1 − π) too; E log π = ψ(1) − ψ(2) = −1.
        let mut members = Vec::new();
        for i in 0..2000 {
            let p = (f64::from(i) + 0.5) / 2000.0;
            members.extend([p.ln(), (1.0 - p).ln()]);
        }
        let data = data(&[&members]);
        let at = |a: f64, b: f64| value([a, b], &data, 1.0);
        let least = at(0.0, 0.0);
        assert!(least.abs() < 1e-9, "the density of Dir(1, 1) is 1, found {least}");
        for (a, b) in [(0.05, 0.0), (0.0, -0.05), (0.05, 0.05), (-0.05, -0.05)] {
            assert!(at(a, b) > least + 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn answers_that_are_no_members_are_refused() {
        let logits = Tensor::zeros((1, 2), DType::F64, &Device::Cpu).unwrap();
        let error = |data: &Dataset, t: f64| dirichlet(&logits, data, t).unwrap_err().to_string();
        let three = data(&[&[0.0, 1.0, 2.0]]);
        assert_eq!(
            error(&three, 1.0),
            "columns of the members' logits: expected a multiple of 2, found 3"
        );
        assert_eq!(error(&three, 0.0), "temperature must lie in (0, ∞), got 0");
        let one = Tensor::zeros((1, 1), DType::F64, &Device::Cpu).unwrap();
        let error = dirichlet(&one, &three, 1.0).unwrap_err().to_string();
        assert_eq!(error, "classes of a Dirichlet: expected at least 2, found 1");
    }
}
