//! Operations whose values and derivatives are finite for finite numbers of any size.

use candle_core::{D, DType, Device, Result, Tensor};
use core_tensors::kernels::log_1p;

/// Largest coordinate of a vector that counts as null, the floor of PyTorch's `normalize`.
const SMALLEST_LENGTH: f64 = 1e-12;

/// Logarithm of the softmax over classes, (m, k) → (m, k): the log-probabilities of logits of any size.
///
/// log gₖ = zₖ − log Σⱼ exp zⱼ
///
/// Where one class is all but certain, its logarithm keeps the digits of what it lacks to 0. For losses of your own.
///
/// ```
/// use losses::candle_core::{Device, Tensor};
///
/// let logits = Tensor::new(&[[3f64.ln(), 0.0], [1e6, 0.0]], &Device::Cpu)?;
/// let log_g = losses::log_softmax(&logits)?.to_vec2::<f64>()?;
/// assert!((log_g[0][1] - 0.25f64.ln()).abs() < 1e-15);
/// assert_eq!(log_g[1], [0.0, -1e6]);
/// # Ok::<(), losses::Error>(())
/// ```
pub fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
    shifted.broadcast_sub(&log_sum_of_shifted(&shifted)?)
}

/// log Σₖ exp xₖ along the last dimension, (…, k) → (…, 1).
pub(crate) fn log_sum_exp(x: &Tensor) -> Result<Tensor> {
    let largest = x.max_keepdim(D::Minus1)?.detach();
    log_sum_of_shifted(&x.broadcast_sub(&largest)?)? + largest
}

/// log Σₖ exp xₖ where the largest xₖ is 0, (…, k) → (…, 1).
///
/// Its power is 1, beside which a tiny rest would round away: it is left out of the sum, and x itself, which is 0, stands there
/// for its derivative.
fn log_sum_of_shifted(x: &Tensor) -> Result<Tensor> {
    let is_largest = x.detach().eq(0.0)?;
    let rest = is_largest.where_cond(x, &x.exp()?)?.sum_keepdim(D::Minus1)?;
    let n_largest = is_largest.to_dtype(x.dtype())?.sum_keepdim(D::Minus1)?;
    log_1p(&(rest + (n_largest - 1.0)?)?)
}

/// One number for each row of logits, (m, k) → (m,), on any device; the arithmetic is f64 on the CPU.
///
/// `of_row` gets a row and fills in the derivatives by its numbers. The gradient rides on a term that is zero:
/// v + Σₖ ∂v/∂zₖ (zₖ − zₖ) with all but the first zₖ constants.
pub(crate) fn by_rows(
    logits: &Tensor,
    mut of_row: impl FnMut(&[f64], &mut [f64]) -> f64,
) -> Result<Tensor> {
    let (m, k) = logits.dims2()?;
    let fixed = logits.detach();
    let rows = fixed.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.to_vec2()?;
    let mut derivatives = vec![0.0; m * k];
    let pairs = rows.iter().zip(derivatives.chunks_exact_mut(k));
    let values: Vec<f64> = pairs.map(|(row, derivatives)| of_row(row, derivatives)).collect();
    let back = |tensor: Tensor| tensor.to_dtype(logits.dtype())?.to_device(logits.device());
    let values = back(Tensor::from_vec(values, m, &Device::Cpu)?)?; // (m,)
    let derivatives = back(Tensor::from_vec(derivatives, (m, k), &Device::Cpu)?)?; // (m, k)
    values + (derivatives * (logits - fixed)?)?.sum(1)? // (m,)
}

/// log(w p + (1 − w) q) from logarithms; w in (0, 1).
pub(crate) fn log_mixture(log_p: &Tensor, log_q: &Tensor, w: f64) -> Result<Tensor> {
    let (a, b) = ((log_p + w.ln())?, (log_q + (-w).ln_1p())?);
    log_sum_exp(&Tensor::stack(&[a, b], D::Minus1)?)?.squeeze(D::Minus1)
}

/// √x for x ≥ 0, with the derivative ½ at 0, where that of x itself is to vanish.
pub(crate) fn root(x: &Tensor) -> Result<Tensor> {
    let is_zero = x.detach().eq(0.0)?.to_dtype(x.dtype())?;
    (x + &is_zero)?.sqrt()? - is_zero
}

/// x / ‖x‖₂ along the last dimension; a null vector stays as it is.
///
/// The length is measured in units of the largest coordinate, so that no square overflows.
pub(crate) fn unit(x: &Tensor) -> Result<Tensor> {
    unit_above(x, SMALLEST_LENGTH)
}

/// [`unit`] where a vector counts as null up to this largest coordinate.
fn unit_above(x: &Tensor, null: f64) -> Result<Tensor> {
    let largest = x.detach().abs()?.max_keepdim(D::Minus1)?;
    let is_null = largest.le(null)?.to_dtype(x.dtype())?;
    let scaled = x.broadcast_div(&(largest + &is_null)?)?;
    let squares = scaled.sqr()?.sum_keepdim(D::Minus1)?;
    scaled.broadcast_div(&(squares + is_null)?.sqrt()?)
}

/// (x − x̄) / ‖x − x̄‖₂ along the last dimension; zeros without a derivative where x is constant up to rounding.
pub(crate) fn unit_stds(x: &Tensor) -> Result<Tensor> {
    // 64 units of rounding of the largest number: what the mean of a long row can be wrong by.
    let rounding =
        if x.dtype() == DType::F64 { 64.0 * f64::EPSILON } else { 64.0 * f64::from(f32::EPSILON) };
    let largest = |x: &Tensor| x.detach().abs()?.max_keepdim(D::Minus1);
    let centered = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let is_constant = largest(&centered)?.le(&(largest(x)? * rounding)?)?;
    let is_constant = is_constant.broadcast_as(x.shape())?;
    unit_above(&is_constant.where_cond(&centered.zeros_like()?, &centered)?, 0.0)
}

/// Row i of (m, k) without its column `skipped`\[i\]; (m, k − 1).
pub(crate) fn without(x: &Tensor, skipped: &[u32]) -> Result<Tensor> {
    let (m, k) = x.dims2()?;
    let others = |&skipped: &u32| (0..k as u32).filter(move |&j| j != skipped);
    let columns: Vec<u32> = skipped.iter().flat_map(others).collect();
    x.contiguous()?.gather(&Tensor::from_vec(columns, (m, k.saturating_sub(1)), x.device())?, 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;

    /// Value and derivatives of a function of numbers, in one precision.
    fn at(x: &[f64], dtype: DType, f: impl Fn(&Tensor) -> Result<Tensor>) -> [Vec<f64>; 2] {
        let x = Tensor::new(x, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
        let x = Var::from_tensor(&x).unwrap();
        let y = f(&x).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let flat = |t: &Tensor| t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1();
        [flat(&y).unwrap(), flat(gradients.get(&x).unwrap()).unwrap()]
    }

    /// Types and the rounding of a handful of operations in them.
    const TYPES: [(DType, f64); 2] = [(DType::F64, 1e-15), (DType::F32, 5e-7)];

    #[test]
    fn a_sure_softmax_keeps_the_digits_of_its_doubt() {
        for (dtype, rounding) in &TYPES {
            for d in [10.0f64, 20.0, 40.0, 60.0] {
                // The largest stands second, and twice.
                let [log, _] =
                    at(&[0.0, d, 0.0], *dtype, |x| log_softmax(&x.unsqueeze(0)?)?.narrow(1, 1, 1));
                let wanted = -(2.0 * (-d).exp()).ln_1p();
                assert!((log[0] / wanted - 1.0).abs() < 20.0 * rounding, "{dtype:?} {d}: {log:?}");
                let [log, _] = at(&[d, 0.0, d], *dtype, |x| log_softmax(&x.unsqueeze(0)?));
                let wanted = -(1.0 + (-d).exp()).ln_1p();
                assert!((log[0] - wanted).abs() < *rounding && log[0] == log[2], "{log:?}");
            }
        }
    }

    #[test]
    fn slopes_of_a_sum_of_powers_are_the_softmax_whichever_is_largest() {
        for x in
            [[1.0, 2.0, 3.0], [3.0, 1.0, 2.0], [2.0, 2.0, 1.0], [1.0, 1.0, 1.0], [1e6, 0.0, 1e6]]
        {
            let [value, derivatives] = at(&x, DType::F64, |x| log_sum_exp(&x.unsqueeze(0)?));
            let powers = x.map(|z| (z - x[0].max(x[1]).max(x[2])).exp());
            let sum: f64 = powers.iter().sum();
            assert!((value[0] - sum.ln() - x[0].max(x[1]).max(x[2])).abs() < 1e-14);
            for (derivative, power) in derivatives.iter().zip(powers) {
                assert!((derivative - power / sum).abs() < 1e-15, "{x:?}: {derivatives:?}");
            }
        }
    }

    #[test]
    fn mixtures_by_hand() {
        let log = |p: f64| Tensor::new(&[[p.ln()]], &Device::Cpu).unwrap();
        for (p, q, w) in [(0.5, 0.1, 0.25), (0.1, 0.5, 0.25), (0.3, 0.3, 0.9), (1.0, 1e-300, 1e-12)]
        {
            let found = log_mixture(&log(p), &log(q), w).unwrap();
            assert_eq!(found.dims(), [1, 1]);
            let found = found.flatten_all().unwrap().to_vec1::<f64>().unwrap()[0];
            assert!((found - (w * p + (1.0 - w) * q).ln()).abs() < 1e-14, "{p} {q} {w}");
        }
        // log(1 − w), to its own digits.
        let found = log_mixture(&log(1e-300), &log(1.0), 1e-12).unwrap();
        let found = found.flatten_all().unwrap().to_vec1::<f64>().unwrap()[0];
        assert!((found / (-1e-12f64).ln_1p() - 1.0).abs() < 1e-14, "{found:e}");
    }

    #[test]
    fn lengths_and_stds_by_hand() {
        let x = Tensor::new(&[[3.0, 4.0], [0.0, 0.0], [1e300, 0.0], [1e-13, 0.0]], &Device::Cpu);
        let found = unit(&x.unwrap()).unwrap().to_vec2::<f64>().unwrap();
        let wanted = [[0.6, 0.8], [0.0, 0.0], [1.0, 0.0], [1e-13, 0.0]];
        for (found, wanted) in found.concat().iter().zip(wanted.concat()) {
            assert!((found - wanted).abs() < 1e-15, "{found} {wanted}");
        }
        let x = Tensor::new(&[[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]], &Device::Cpu).unwrap();
        let found = unit_stds(&x).unwrap().to_vec2::<f64>().unwrap();
        assert!((found[0][2] - 0.5f64.sqrt()).abs() < 1e-15 && found[0][1].abs() < 1e-15);
        assert_eq!(found[1], [0.0; 3]);
        // The mean of equal numbers is another by its rounding.
        for dtype in [DType::F64, DType::F32] {
            let x = Tensor::full(0.1, (1, 1000), &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
            let centered = x.broadcast_sub(&x.mean_keepdim(1).unwrap()).unwrap();
            let largest = |x: &Tensor| {
                x.abs().unwrap().max_all().unwrap().to_dtype(DType::F64).unwrap().to_scalar::<f64>()
            };
            assert!(largest(&centered).unwrap() > 0.0, "{dtype:?}");
            assert_eq!(largest(&unit_stds(&x).unwrap()).unwrap(), 0.0, "{dtype:?}");
        }
        // A standard deviation a thousand times the rounding is one.
        let x = Tensor::new(&[[1.0, 1.0 + 1e-12]], &Device::Cpu).unwrap();
        let found = unit_stds(&x).unwrap().to_vec2::<f64>().unwrap();
        assert!((found[0][1] - 0.5f64.sqrt()).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn a_root_and_a_row_without_a_column_by_hand() {
        let [values, derivatives] = at(&[0.0, 4.0], DType::F64, root);
        assert_eq!((values, derivatives), (vec![0.0, 2.0], vec![0.5, 0.25]));
        let x = Tensor::new(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], &Device::Cpu).unwrap();
        let found = without(&x, &[0, 2]).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(found, [[2.0, 3.0], [4.0, 5.0]]);
    }
}
