//! Maximum mean discrepancy: how far apart two samples lie in the feature space of a kernel.

use candle_core::{D, DType, Tensor};
use core_tensors::Error;

use crate::error::Result;

/// Unbiased estimate of the squared maximum mean discrepancy of two samples; shape (). It can fall below 0.
///
/// (m(m−1))⁻¹ Σ_{i≠j} k(aᵢ, aⱼ) + (n(n−1))⁻¹ Σ_{i≠j} k(bᵢ, bⱼ) − 2(mn)⁻¹ Σᵢⱼ k(aᵢ, bⱼ)
///
/// with k(x, y) the mean of exp(−‖x − y‖² / v) over `scales` v > 0, in squared units of the samples. `a` is (m, d), `b`
/// (n, d), m, n ≥ 2; the gradient reaches both.
///
/// Source: Gretton et al. (2012), lemma 6; sums of kernels as in Long et al. (2015).
pub fn discrepancy(a: &Tensor, b: &Tensor, scales: &[f64]) -> Result<Tensor> {
    let ((m, d), (n, other)) = (a.dims2()?, b.dims2()?);
    if d != other {
        return Err(Error::mismatch("features of the second sample", d, other).into());
    }
    if m < 2 || n < 2 {
        return Err(Error::mismatch("objects of each sample", "at least 2", m.min(n)).into());
    }
    if scales.is_empty() {
        return Err(Error::mismatch("scales of a kernel", "at least 1", 0).into());
    }
    if let Some(&value) = scales.iter().find(|v| !(**v > 0.0 && v.is_finite())) {
        return Err(Error::OutOfRange { name: "scale of a kernel", value, range: "(0, ∞)" }.into());
    }
    let (m, n) = (m as f64, n as f64);
    // Every object is at distance 0 from itself, where each kernel is 1.
    let within = |x: &Tensor, m: f64| {
        Ok::<_, crate::Error>((kernel_sum(x, x, scales)?.affine(1.0, -m)? / (m * (m - 1.0)))?)
    };
    let between = (kernel_sum(a, b, scales)? * (2.0 / (m * n)))?;
    Ok(((within(a, m)? + within(b, n)?)? - between)?)
}

/// Half the median of the squared distances between different objects of both samples: exp(−r²/v) is then e⁻² there.
///
/// At most `most` objects of each sample are looked at. Source: the median heuristic, Gretton et al. (2012), section 8.
pub fn median_scale(a: &Tensor, b: &Tensor, most: usize) -> Result<f64> {
    let part = |x: &Tensor| x.narrow(0, 0, x.dim(0)?.min(most))?.to_dtype(DType::F64);
    let joint = Tensor::cat(&[part(a)?, part(b)?], 0)?;
    let squares = squared_distances(&joint, &joint)?.to_vec2::<f64>()?;
    let above = squares.iter().enumerate().flat_map(|(i, row)| &row[i + 1..]);
    let mut above: Vec<f64> = above.copied().collect();
    if above.is_empty() {
        return Err(Error::mismatch("objects of both samples", "at least 2", joint.dim(0)?).into());
    }
    let middle = above.len() / 2;
    let (_, median, _) = above.select_nth_unstable_by(middle, f64::total_cmp);
    Ok(0.5 * *median)
}

/// ‖aᵢ − bⱼ‖² ≥ 0 of the rows of a (…, m, d) and b (…, n, d); (…, m, n).
pub(crate) fn squared_distances(a: &Tensor, b: &Tensor) -> candle_core::Result<Tensor> {
    let norms = |x: &Tensor| x.sqr()?.sum_keepdim(D::Minus1);
    let products = a.matmul(&b.t()?)?; // (m, n)
    let sums = norms(a)?.broadcast_add(&norms(b)?.t()?)?;
    (sums - (products * 2.0)?)?.relu()
}

/// Σᵢⱼ k(aᵢ, bⱼ).
fn kernel_sum(a: &Tensor, b: &Tensor, scales: &[f64]) -> Result<Tensor> {
    let squares = squared_distances(a, b)?;
    let mut total: Option<Tensor> = None;
    for scale in scales {
        let sum = (&squares * (-1.0 / scale))?.exp()?.sum_all()?;
        total = Some(match total {
            Some(total) => (total + sum)?,
            None => sum,
        });
    }
    match total {
        Some(total) => Ok((total / scales.len() as f64)?),
        None => Err(Error::mismatch("scales of a kernel", "at least 1", 0).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use core_tensors::Rng;

    fn normals(m: usize, d: usize, shift: f64, rng: &mut Rng) -> Var {
        let values: Vec<f64> = (0..m * d).map(|_| shift + rng.normal()).collect();
        Var::from_vec(values, (m, d), &Device::Cpu).unwrap()
    }

    fn naive(a: &Tensor, b: &Tensor, scales: &[f64]) -> f64 {
        let (a, b) = (a.to_vec2::<f64>().unwrap(), b.to_vec2::<f64>().unwrap());
        let k = |x: &[f64], y: &[f64]| {
            let square: f64 = x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum();
            scales.iter().map(|v| (-square / v).exp()).sum::<f64>() / scales.len() as f64
        };
        let within = |x: &[Vec<f64>]| {
            let (mut sum, m) = (0.0, x.len());
            for i in 0..m {
                sum += (0..m).filter(|&j| j != i).map(|j| k(&x[i], &x[j])).sum::<f64>();
            }
            sum / (m * (m - 1)) as f64
        };
        let between: f64 = a.iter().flat_map(|x| b.iter().map(|y| k(x, y))).sum();
        within(&a) + within(&b) - 2.0 * between / (a.len() * b.len()) as f64
    }

    #[test]
    fn equals_the_naive_sum() {
        let mut rng = Rng::new(0);
        let (a, b) = (normals(7, 3, 0.0, &mut rng), normals(5, 3, 0.5, &mut rng));
        let found = discrepancy(&a, &b, &[1.0, 4.0]).unwrap().to_scalar::<f64>().unwrap();
        assert!((found - naive(&a, &b, &[1.0, 4.0])).abs() < 1e-13);
    }

    #[test]
    fn its_mean_over_samples_of_normals_is_the_closed_form() {
        // E k = (v / (v + 2s²))^{d/2} exp(−δ² / (v + 2s²)) for differences N(δ, s² = 2) in each of d coordinates.
        let (v, d, shift, n) = (3.0, 2, 0.7, 400);
        let k = |delta: f64| (v / (v + 4.0)) * (-(d as f64) * delta * delta / (v + 4.0)).exp();
        let wanted = 2.0 * k(0.0) - 2.0 * k(shift);
        let rng = Rng::new(1);
        let draws: Vec<f64> = (0..n)
            .map(|i| {
                let mut rng = rng.split(&i.to_string());
                let (a, b) = (normals(20, d, 0.0, &mut rng), normals(30, d, shift, &mut rng));
                discrepancy(&a, &b, &[v]).unwrap().to_scalar::<f64>().unwrap()
            })
            .collect();
        let mean = core_tensors::stats::mean(&draws);
        let error = core_tensors::stats::population_deviation(&draws) / (n as f64 - 1.0).sqrt();
        assert!((mean - wanted).abs() < 4.0 * error, "{mean} ± {error}, wanted {wanted}");
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let mut rng = Rng::new(2);
        let (a, b) = (normals(4, 2, 0.0, &mut rng), normals(3, 2, 1.0, &mut rng));
        let value = |a: &Tensor| naive(a, &b, &[2.0]);
        let gradients = discrepancy(&a, &b, &[2.0]).unwrap().backward().unwrap();
        let found = gradients.get(&a).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let at = a.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for (i, found) in found.iter().enumerate() {
            let moved = |step: f64| {
                let mut values = at.clone();
                values[i] += step;
                value(&Tensor::from_vec(values, (4, 2), &Device::Cpu).unwrap())
            };
            let wanted = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((found - wanted).abs() < 1e-8, "{i}: {found} {wanted}");
        }
    }

    #[test]
    fn the_median_of_three_points_by_hand() {
        let a = Tensor::new(&[[0.0], [1.0]], &Device::Cpu).unwrap();
        let b = Tensor::new(&[[3.0]], &Device::Cpu).unwrap();
        // Squared distances 1, 4, 9.
        assert_eq!(median_scale(&a, &b, 10).unwrap(), 2.0);
    }

    #[test]
    fn samples_that_cannot_be_compared_are_refused() {
        let mut rng = Rng::new(3);
        let (a, b) = (normals(4, 2, 0.0, &mut rng), normals(4, 3, 0.0, &mut rng));
        let message = discrepancy(&a, &b, &[1.0]).unwrap_err().to_string();
        assert_eq!(message, "features of the second sample: wanted 2, found 3");
        assert!(discrepancy(&a, &a, &[]).is_err() && discrepancy(&a, &a, &[0.0]).is_err());
        let one = normals(1, 2, 0.0, &mut rng);
        assert!(discrepancy(&a, &one, &[1.0]).is_err());
    }
}
