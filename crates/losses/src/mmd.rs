//! Maximum mean discrepancy: how far apart two samples lie in the feature space of a kernel.

use candle_core::{DType, Device, Tensor};
use core_tensors::Expected;

use crate::checks::{check_count, check_range};
use crate::error::{Error, Result};
use crate::stable::by_rows;

/// Numbers whose squares are summed side by side, for which processors have instructions.
const LANES: usize = 8;
/// Features of a row that are looked at together.
const BLOCK: usize = 256;

/// Unbiased estimate of the squared maximum mean discrepancy of two samples; shape (). It can fall below 0.
///
/// (m(m−1))⁻¹ Σ_{i≠j} k(aᵢ, aⱼ) + (n(n−1))⁻¹ Σ_{i≠j} k(bᵢ, bⱼ) − 2(mn)⁻¹ Σᵢⱼ k(aᵢ, bⱼ)
///
/// with k(x, y) the mean of exp(−‖x − y‖² / v) over `scales` v > 0, in squared units of the samples. `a` is (m, d), `b`
/// (n, d), m, n ≥ 2; the gradient reaches both. On any device the arithmetic is f64 on the CPU, from the differences of two
/// examples and not from their products: so far from the origin, and within clusters far apart, no digit is lost. It takes
/// (m + n)² d steps.
///
/// Source: Gretton et al. (2012), lemma 6; sums of kernels as in Long et al. (2015).
///
/// ```
/// use losses::candle_core::{Device, Tensor};
/// use losses::{median_scale, mmd};
///
/// let (a, b) = (Tensor::new(&[[0.0], [1.0]], &Device::Cpu)?, Tensor::new(&[[2.0], [5.0]], &Device::Cpu)?);
/// assert!((mmd(&a, &b, &[8.0])?.to_scalar::<f64>()? - 0.372999).abs() < 1e-6);
/// assert_eq!(median_scale(&a, &b)?, 3.25); // half the median of 1, 1, 4, 9, 16, 25
/// # Ok::<(), losses::Error>(())
/// ```
pub fn mmd(a: &Tensor, b: &Tensor, scales: &[f64]) -> Result<Tensor> {
    let (m, n, d) = sizes(a, b)?;
    let fewer = m.min(n);
    check_count("examples of each sample", Expected::AtLeast(2), fewer >= 2, fewer)?;
    let n_scales = scales.len();
    check_count("scales of a kernel", Expected::AtLeast(1), n_scales > 0, n_scales)?;
    for &scale in scales {
        let is_inside = scale > 0.0 && scale.is_finite();
        check_range("scale of a kernel", scale, is_inside, "(0, ∞)")?;
    }
    let both = Tensor::cat(&[a, &b.to_dtype(a.dtype())?], 0)?; // (m + n, d)
    let has_gradient = both.track_op();
    let estimate = by_rows(&both.flatten_all()?.unsqueeze(0)?, |rows, derivatives| {
        let derivatives = if has_gradient { derivatives } else { &mut [] };
        estimate(rows, d, (m, n), scales, derivatives)
    })?; // (1,)
    Ok(estimate.squeeze(0)?)
}

/// Half the median of the squared distances > 0 between two examples of both samples: exp(−r²/v) is e⁻² there.
///
/// ½ median {‖xᵢ − xⱼ‖² > 0, i < j},  x the examples of `a` and `b`, the mean of the middle two of an even number
///
/// `a` is (m, d), `b` (n, d). It takes (m + n)² d steps: of large samples pass random examples. Where all examples are equal
/// it is [`Error::OnePoint`].
///
/// Source: the median heuristic, Gretton et al. (2012), section 8. Their published code takes the first 100 examples of
/// both samples in a row, and σ = √(½ median) in exp(−r² / 2σ²): v is the median there, twice ours.
pub fn median_scale(a: &Tensor, b: &Tensor) -> Result<f64> {
    let (m, n, d) = sizes(a, b)?;
    let rows = |x: &Tensor| {
        x.to_device(&Device::Cpu)?.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()
    };
    let rows = [rows(a)?, rows(b)?].concat();
    let mut squares = squared_distances(&rows, d);
    for &square in &squares {
        check_range("squared distance", square, square.is_finite(), "[0, ∞)")?;
    }
    squares.retain(|square| *square > 0.0);
    if squares.is_empty() {
        return Err(Error::OnePoint { n_examples: m + n });
    }
    let (middle, is_even) = (squares.len() / 2, squares.len().is_multiple_of(2));
    let (below, &mut upper, _) = squares.select_nth_unstable_by(middle, f64::total_cmp);
    let lower = if is_even { below.iter().copied().fold(0.0, f64::max) } else { upper };
    Ok(0.25 * lower + 0.25 * upper)
}

/// m, n and d of two samples of the same features.
fn sizes(a: &Tensor, b: &Tensor) -> Result<(usize, usize, usize)> {
    let ((m, d), (n, other)) = (a.dims2()?, b.dims2()?);
    check_count("features of the second sample", Expected::Exactly(d), d == other, other)?;
    check_count("features of a sample", Expected::AtLeast(1), d > 0, d)?;
    Ok((m, n, d))
}

/// The estimate for the m + n rows of both samples; adds its derivatives to `derivatives`, unless that is empty.
fn estimate(
    rows: &[f64],
    d: usize,
    (m, n): (usize, usize),
    scales: &[f64],
    derivatives: &mut [f64],
) -> f64 {
    let share = |i: usize, j: usize| match (i < m, j < m) {
        (true, true) => 2.0 / (m as f64 * (m as f64 - 1.0)),
        (false, false) => 2.0 / (n as f64 * (n as f64 - 1.0)),
        (true, false) | (false, true) => -2.0 / (m as f64 * n as f64),
    };
    let mut squares = squared_distances(rows, d).into_iter();
    let mut total = 0.0;
    for (i, x) in rows.chunks_exact(d).enumerate() {
        let later = rows.chunks_exact(d).enumerate().skip(i + 1);
        for ((j, y), square) in later.zip(squares.by_ref()) {
            let (k, derivative) = kernel(square, scales);
            let share = share(i, j);
            total += share * k;
            if derivatives.is_empty() {
                continue;
            }
            for (at, (x, y)) in x.iter().zip(y).enumerate() {
                let step = 2.0 * share * derivative * (x - y);
                derivatives[i * d + at] += step;
                derivatives[j * d + at] -= step;
            }
        }
    }
    total
}

/// k − 1 and its derivative by r². All shares sum to 0, so that the 1 drops out, and with it the digits it would cost.
fn kernel(square: f64, scales: &[f64]) -> (f64, f64) {
    let sum = scales.iter().fold((0.0, 0.0), |(value, derivative), scale| {
        let power = (-square / scale).exp_m1();
        (value + power, derivative - (1.0 + power) / scale)
    });
    let each = 1.0 / scales.len() as f64;
    (each * sum.0, each * sum.1)
}

/// ‖xᵢ − xⱼ‖² of all rows i < j of d numbers, in order of i, then of j.
fn squared_distances(rows: &[f64], d: usize) -> Vec<f64> {
    let n = rows.len() / d;
    let mut squares = vec![0.0; n * n.saturating_sub(1) / 2];
    // Some features of all rows at a time, which stay in the processor's cache.
    for start in (0..d).step_by(BLOCK) {
        let part = |i: usize| &rows[i * d + start..i * d + d.min(start + BLOCK)];
        let pairs = (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j)));
        for (square, (i, j)) in squares.iter_mut().zip(pairs) {
            *square += squared_distance(part(i), part(j));
        }
    }
    squares
}

/// ‖x − y‖² of two rows of one length.
fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    let (x, y) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest = x.remainder().iter().zip(y.remainder());
    let rest: f64 = rest.map(|(x, y)| (x - y) * (x - y)).sum();
    let mut sums = [0.0; LANES];
    for (x, y) in x.zip(y) {
        for (sum, (x, y)) in sums.iter_mut().zip(x.iter().zip(y)) {
            *sum += (x - y) * (x - y);
        }
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Var;
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
        let found = mmd(&a, &b, &[1.0, 4.0]).unwrap().to_scalar::<f64>().unwrap();
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
                mmd(&a, &b, &[v]).unwrap().to_scalar::<f64>().unwrap()
            })
            .collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let squares: f64 = draws.iter().map(|draw| (draw - mean).powi(2)).sum();
        let error = (squares / (n as f64 * (n as f64 - 1.0))).sqrt();
        assert!((mean - wanted).abs() < 4.0 * error, "{mean} ± {error}, wanted {wanted}");
    }

    #[test]
    fn gradients_are_those_of_differences() {
        let mut rng = Rng::new(2);
        let (a, b) = (normals(4, 2, 0.0, &mut rng), normals(3, 2, 1.0, &mut rng));
        let value = |a: &Tensor| naive(a, &b, &[2.0]);
        let other = |b: &Tensor| naive(&a, b, &[2.0]);
        let gradients = mmd(&a, &b, &[2.0]).unwrap().backward().unwrap();
        let check = |x: &Var, value: &dyn Fn(&Tensor) -> f64| {
            let found = gradients.get(x).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let at = x.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (i, found) in found.iter().enumerate() {
                let moved = |step: f64| {
                    let mut values = at.clone();
                    values[i] += step;
                    value(&Tensor::from_vec(values, x.shape(), &Device::Cpu).unwrap())
                };
                let wanted = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!((found - wanted).abs() < 1e-8, "{i}: {found} {wanted}");
            }
        };
        check(&a, &value);
        check(&b, &other);
    }

    fn column(values: &[f64]) -> Tensor {
        Tensor::from_slice(values, (values.len(), 1), &Device::Cpu).unwrap()
    }

    #[test]
    fn medians_by_hand() {
        let of = |a: &[f64], b: &[f64]| median_scale(&column(a), &column(b)).unwrap();
        // Squared distances 1, 4, 9; then 1, 4, 9, 16, 36, 49.
        assert_eq!(of(&[0.0, 1.0], &[3.0]), 2.0);
        assert_eq!(of(&[0.0, 1.0], &[3.0, 7.0]), 6.25);
        // Equal examples have no distance: 1, 4, 9 three times each, then one of 2.
        assert_eq!(of(&[0.0, 0.0, 0.0], &[1.0, 3.0]), 2.0);
        assert_eq!(of(&[1.0], &[3.0]), 2.0);
    }

    #[test]
    fn samples_of_two_types_are_compared_in_the_first() {
        let (a, b) = (column(&[0.0, 1.0, 3.0]), column(&[2.0, 5.0]));
        let single = b.to_dtype(DType::F32).unwrap();
        let [both, mixed] =
            [&b, &single].map(|b| mmd(&a, b, &[2.0]).unwrap().to_scalar::<f64>().unwrap());
        assert_eq!(both, mixed);
    }

    #[test]
    fn samples_that_share_a_point_are_told_apart() {
        let (a, b) =
            (column(&[0.0; 10]), column(&[0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 5.0, 5.0, 5.0]));
        let scale = median_scale(&a, &b).unwrap();
        assert_eq!(scale, 12.5);
        // With e = exp(−2): 1 + (30 + 12 + 48 e) / 90 − 2 (60 + 40 e) / 100.
        let e = (-2f64).exp();
        let wanted = 1.0 + (42.0 + 48.0 * e) / 90.0 - 1.2 - 0.8 * e;
        let found = mmd(&a, &b, &[scale]).unwrap().to_scalar::<f64>().unwrap();
        assert!((found - wanted).abs() < 1e-14 && (found - 0.2306).abs() < 5e-5, "{found}");
    }

    #[test]
    fn one_point_has_no_scale_and_no_number_has_none() {
        let error = |a: &[f64], b: &[f64]| median_scale(&column(a), &column(b)).unwrap_err();
        let message = error(&[2.0, 2.0], &[2.0]).to_string();
        assert_eq!(
            message,
            "scale of a kernel: wanted two examples that differ, found 3 equal ones"
        );
        assert_eq!(error(&[], &[1.0]).to_string().split(", found ").last(), Some("1 equal ones"));
        let message = error(&[f64::NAN, 0.0], &[1.0]).to_string();
        assert_eq!(message, "squared distance must lie in [0, ∞), got NaN");
        assert!(error(&[f64::INFINITY, 0.0], &[1.0]).to_string().ends_with("got inf"));
        let wide = Tensor::zeros((2, 3), DType::F64, &Device::Cpu).unwrap();
        let message = median_scale(&column(&[1.0]), &wide).unwrap_err().to_string();
        assert_eq!(message, "features of the second sample: expected 1, found 3");
        let none = Tensor::zeros((2, 0), DType::F64, &Device::Cpu).unwrap();
        let message = median_scale(&none, &none).unwrap_err().to_string();
        assert_eq!(message, "features of a sample: expected at least 1, found 0");
    }

    /// Value and gradient of samples in f32, b 0.75 away from a, at an offset where every number is one of f32.
    fn at_offset(offset: f64, apart: f64) -> (f64, Vec<f64>, f64) {
        let mut rng = Rng::new(4);
        let mut draw = |m: usize, shift: f64| {
            // Steps of 1/16, which f32 has up to 2²⁰.
            let values = (0..m * 11).map(|i| {
                let far = if i / 11 % 2 == 0 { 0.0 } else { apart };
                offset + far + shift + (8.0 * rng.normal()).round() / 16.0
            });
            Tensor::from_vec(values.collect::<Vec<f64>>(), (m, 11), &Device::Cpu).unwrap()
        };
        let (a, b) = (draw(9, 0.0), draw(6, 0.75));
        let wanted = naive(&a, &b, &[6.0, 12.0]);
        let single = |x: &Tensor| Var::from_tensor(&x.to_dtype(DType::F32).unwrap()).unwrap();
        let (a, b) = (single(&a), single(&b));
        let found = mmd(&a, &b, &[6.0, 12.0]).unwrap();
        let gradients = found.backward().unwrap();
        let derivatives = [&a, &b].map(|x| gradients.get(x).unwrap().to_dtype(DType::F64).unwrap());
        let derivatives = derivatives.map(|x| x.flatten_all().unwrap().to_vec1::<f64>().unwrap());
        (f64::from(found.to_scalar::<f32>().unwrap()), derivatives.concat(), wanted)
    }

    #[test]
    fn far_from_the_origin_and_in_clusters_far_apart_no_digit_is_lost() {
        for apart in [0.0, 4096.0, 524_288.0] {
            let (_, derivatives, _) = at_offset(0.0, apart);
            for offset in [0.0, 4096.0, 8192.0, 262_144.0] {
                let (found, far, wanted) = at_offset(offset, apart);
                // The last digit of f32.
                assert!((found - wanted).abs() < 1e-7 * wanted.abs(), "{offset}: {found} {wanted}");
                assert_eq!(derivatives, far, "{offset}");
            }
        }
        // Numbers of f32 at 1e6 lie 1/16 apart.
        let (found, _, wanted) = at_offset(1e6, 0.0);
        assert!((found - wanted).abs() < 1e-7 * wanted, "{found} {wanted}");
    }

    #[test]
    fn clusters_at_the_end_of_double_precision_keep_their_digits() {
        let mut rng = Rng::new(6);
        let mut clusters = |shift: f64| {
            let near = normals(6, 11, shift, &mut rng);
            Tensor::cat(&[near.as_tensor(), &(near.as_tensor() + 1e8).unwrap()], 0).unwrap()
        };
        let (a, b) = (clusters(0.0), clusters(0.5));
        let found = mmd(&a, &b, &[20.0]).unwrap().to_scalar::<f64>().unwrap();
        assert!((found - naive(&a, &b, &[20.0])).abs() < 1e-14, "{found}");
    }

    #[test]
    fn a_wide_kernel_keeps_the_digits_of_a_small_estimate() {
        // For scales v far above all r² the estimate is the second moments' over v: 2 (ā − b̄)² / v, unbiased.
        let (a, b) = (column(&[0.0, 1.0]), column(&[2.0, 5.0]));
        let found = mmd(&a, &b, &[1e14]).unwrap().to_scalar::<f64>().unwrap();
        // −1 − 9 + 2 (4 + 25 + 1 + 16) / 4 = 13
        assert!((found * 1e14 - 13.0).abs() < 1e-11, "{found}");
    }

    #[test]
    fn more_features_than_lanes_and_blocks_are_all_counted() {
        let row = |n: usize| -> Vec<f64> { (1..=n).map(|i| i as f64).collect() };
        for n in [1, 7, 8, 9, 16, 21, 256, 257, 600] {
            let sum = (n * (n + 1) * (2 * n + 1) / 6) as f64;
            let rows = [row(n), vec![0.0; n], vec![1.0; n]].concat();
            let gap = (n * (n - 1) * (2 * n).saturating_sub(1) / 6) as f64;
            assert_eq!(squared_distances(&rows, n), [sum, gap, n as f64], "{n}");
        }
    }

    #[test]
    fn samples_that_cannot_be_compared_are_refused() {
        let mut rng = Rng::new(3);
        let (a, b) = (normals(4, 2, 0.0, &mut rng), normals(4, 3, 0.0, &mut rng));
        let message = mmd(&a, &b, &[1.0]).unwrap_err().to_string();
        assert_eq!(message, "features of the second sample: expected 2, found 3");
        assert!(mmd(&a, &a, &[]).is_err() && mmd(&a, &a, &[0.0]).is_err());
        let one = normals(1, 2, 0.0, &mut rng);
        for (x, y) in [(&a, &one), (&one, &a)] {
            let message = mmd(x, y, &[1.0]).unwrap_err().to_string();
            assert_eq!(message, "examples of each sample: expected at least 2, found 1");
        }
        let message = mmd(&a, &a, &[1.0, f64::INFINITY]).unwrap_err().to_string();
        assert_eq!(message, "scale of a kernel must lie in (0, ∞), got inf");
    }
}
