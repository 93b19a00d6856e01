//! Moments of columns: streamed equals dense, in any pieces, with and without targets, for rows and for patches.

use bayes_posterior::surgery::{Moments, SecondMoments};
use candle_core::{DType, Device, Tensor};
use core_tensors::Rng;
use core_tensors::kernels::SlidingWindow;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn normals(n: usize, rng: &mut Rng) -> Vec<f64> {
    (0..n).map(|_| rng.normal()).collect()
}

/// Mean and centered covariance in plain loops.
fn dense(rows: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let m = (rows.len() / n) as f64;
    let mean: Vec<f64> = (0..n).map(|j| rows.chunks(n).map(|r| r[j]).sum::<f64>() / m).collect();
    let at = |i: usize, j: usize| {
        rows.chunks(n).map(|r| (r[i] - mean[i]) * (r[j] - mean[j])).sum::<f64>() / m
    };
    let covariance = (0..n * n).map(|k| at(k / n, k % n)).collect();
    (mean, covariance)
}

/// Largest difference of a covariance, relative to the standard deviations.
fn gap(found: &SecondMoments, wanted: &[f64]) -> f64 {
    let n = found.n_columns();
    let std = |i: usize| wanted[i * n + i].sqrt();
    let of = |k: usize| {
        let (i, j) = (k / n, k % n);
        (found.covariance[(i, j)] - wanted[k]).abs() / (std(i) * std(j))
    };
    (0..n * n).map(of).fold(0.0, f64::max)
}

#[test]
fn streamed_moments_are_dense_ones_in_any_pieces() -> TestResult {
    let mut rng = Rng::new(0);
    let (m, n) = (3000, 7);
    let rows = normals(m * n, &mut rng);
    let (mean, covariance) = dense(&rows, n);
    let mut whole = Moments::new(n);
    whole.add(&Tensor::from_slice(&rows, (m, n), &Device::Cpu)?)?;
    let whole = whole.finish()?;
    assert!(gap(&whole, &covariance) < 1e-13);
    assert!(whole.mean.iter().zip(&mean).all(|(a, b)| (a - b).abs() < 1e-15));
    let mut pieces = Moments::new(n);
    let mut start = 0;
    while start < m {
        let end = m.min(start + 1 + rng.below(200));
        pieces.add_rows(&rows[start * n..end * n])?;
        start = end;
    }
    // Rows wait for whole blocks: the pieces leave no trace.
    assert_eq!(pieces.finish()?.covariance, whole.covariance);
    // Merged moments with large means, of other origins.
    for offset in [0.0, 1e6] {
        let far: Vec<f64> = rows.iter().map(|v| v + offset).collect();
        let back: Vec<f64> = far.iter().map(|v| v - offset).collect();
        let (mut first, mut second) = (Moments::new(n), Moments::new(n));
        first.add_rows(&far[..401 * n])?;
        second.add_rows(&far[401 * n..])?;
        first.merge(&second)?;
        let mut none = Moments::new(n);
        none.merge(&first)?;
        assert_eq!(none.finish()?.covariance, first.finish()?.covariance);
        let wanted = dense(&back, n).1;
        assert!(gap(&first.finish()?, &wanted) < 1e-13);
    }
    let (mut first, mut second) = (Moments::new(n), Moments::new(n));
    first.add_rows(&rows[..401 * n])?;
    second.add_rows(&rows[401 * n..])?;
    first.merge(&second)?;
    let merged = first.finish()?;
    let flat: Vec<f64> = (0..n * n).map(|k| whole.covariance[(k / n, k % n)]).collect();
    assert!(gap(&merged, &flat) < 1e-14, "{:e}", gap(&merged, &flat));
    assert_eq!(merged.n_rows, m as f64);
    // A of f32 is that of the rounded numbers.
    let single = Tensor::from_slice(&rows, (m, n), &Device::Cpu)?.to_dtype(DType::F32)?;
    let mut of_single = Moments::new(n);
    of_single.add(&single)?;
    let rounded: Vec<f64> = rows.iter().map(|&v| f64::from(v as f32)).collect();
    assert!(gap(&of_single.finish()?, &dense(&rounded, n).1) < 1e-13);
    Ok(())
}

#[test]
fn large_means_keep_their_digits() -> TestResult {
    // 200 000 rows are more blocks than are summed apart, and sorted data is what shifts punish.
    let mut rng = Rng::new(1);
    let (m, n) = (200_000, 3);
    let small: Vec<f64> = (0..m * n)
        .map(|k| if k % n == 2 { (k / n) as f64 / m as f64 } else { rng.normal() })
        .collect();
    let (_, wanted) = dense(&small, n);
    for offset in [0.0, 1e6] {
        // Exact: a sum that drops low bits would compare other numbers.
        let rows: Vec<f64> = small.iter().map(|v| v + offset).collect();
        let back: Vec<f64> = rows.iter().map(|v| v - offset).collect();
        let wanted = if offset == 0.0 { wanted.clone() } else { dense(&back, n).1 };
        let mut moments = Moments::new(n);
        moments.add_rows(&rows)?;
        let found = moments.finish()?;
        assert!(gap(&found, &wanted) < 1e-12, "{offset} {:e}", gap(&found, &wanted));
    }
    Ok(())
}

#[test]
fn a_and_c_are_the_uncentered_ones() -> TestResult {
    let mut rng = Rng::new(2);
    let (m, n, d) = (1500, 5, 3);
    let (h, t) = (normals(m * n, &mut rng), normals(m * d, &mut rng));
    let mut moments = Moments::with_targets(n, d);
    moments.add_with_target(
        &Tensor::from_slice(&h, (m, n), &Device::Cpu)?,
        &Tensor::from_slice(&t, (m, d), &Device::Cpu)?,
    )?;
    let found = moments.finish()?;
    let one = |row: &[f64], j: usize| if j == n { 1.0 } else { row[j] };
    let a = found.second();
    let again = SecondMoments::from_second(a.as_ref(), m as f64)?;
    for i in 0..=n {
        for j in 0..=n {
            let sum: f64 = h.chunks(n).map(|r| one(r, i) * one(r, j)).sum();
            assert!((a[(i, j)] - sum / m as f64).abs() < 1e-13);
        }
    }
    assert!((&again.covariance - &found.covariance).norm_max() < 1e-14);
    let targets = found.targets.as_ref().ok_or("targets")?;
    let mut power = 0.0;
    for i in 0..d {
        power += t.chunks(d).map(|t| t[i] * t[i]).sum::<f64>() / m as f64;
        power -= targets.mean[i] * targets.mean[i];
        for j in 0..n {
            let sum: f64 = h.chunks(n).zip(t.chunks(d)).map(|(h, t)| t[i] * h[j]).sum();
            let c = targets.cross[(i, j)] + targets.mean[i] * found.mean[j];
            assert!((c - sum / m as f64).abs() < 1e-13);
        }
    }
    assert!((targets.power - power).abs() < 1e-12);
    Ok(())
}

#[test]
fn patches_are_unfolded_in_the_order_channel_row_column() -> TestResult {
    let mut rng = Rng::new(3);
    let (m, c, h, w, d) = (3, 2, 7, 6, 2);
    let x = normals(m * c * h * w, &mut rng);
    let image = Tensor::from_slice(&x, (m, c, h, w), &Device::Cpu)?;
    let windows = [
        SlidingWindow { kernel: [3, 3], strides: [1, 1], dilations: [1, 1], pads: [1, 1, 1, 1] },
        SlidingWindow { kernel: [3, 2], strides: [2, 1], dilations: [1, 2], pads: [0, 1, 2, 1] },
        SlidingWindow { kernel: [1, 1], strides: [2, 3], dilations: [1, 1], pads: [0; 4] },
        SlidingWindow { kernel: [2, 3], strides: [1, 1], dilations: [3, 1], pads: [3, 0, 0, 4] },
    ];
    for window in windows {
        let [rows, columns] = window.output(h, w)?;
        let [kr, kc] = window.kernel;
        let n = c * kr * kc;
        let t = normals(m * d * rows * columns, &mut rng);
        let (mut flat, mut flat_t) = (Vec::new(), Vec::new());
        for i in 0..m {
            for r in 0..rows {
                for s in 0..columns {
                    for channel in 0..c {
                        for p in 0..kr {
                            for q in 0..kc {
                                let y = (r * window.strides[0] + p * window.dilations[0]) as i64;
                                let z = (s * window.strides[1] + q * window.dilations[1]) as i64;
                                let (y, z) = (y - window.pads[0] as i64, z - window.pads[1] as i64);
                                let inside =
                                    (0..h as i64).contains(&y) && (0..w as i64).contains(&z);
                                let at =
                                    ((i * c + channel) * h) as i64 * w as i64 + y * w as i64 + z;
                                flat.push(if inside { x[at as usize] } else { 0.0 });
                            }
                        }
                    }
                    flat_t.extend((0..d).map(|a| t[((i * d + a) * rows + r) * columns + s]));
                }
            }
        }
        let mut naive = Moments::with_targets(n, d);
        let n_rows = flat.len() / n;
        naive.add_with_target(
            &Tensor::from_slice(&flat, (n_rows, n), &Device::Cpu)?,
            &Tensor::from_slice(&flat_t, (n_rows, d), &Device::Cpu)?,
        )?;
        let naive = naive.finish()?;
        let mut unfolded = Moments::with_targets(n, d);
        let t = Tensor::from_slice(&t, (m, d, rows, columns), &Device::Cpu)?;
        unfolded.add_patches_with_target(&image, &window, &t)?;
        let unfolded = unfolded.finish()?;
        assert_eq!((&unfolded.mean, &unfolded.covariance), (&naive.mean, &naive.covariance));
        let cross = |m: &SecondMoments| m.targets.as_ref().map(|t| t.cross.clone());
        assert_eq!(cross(&unfolded), cross(&naive));
        let mut alone = Moments::new(n);
        alone.add_patches(&image, &window)?;
        assert!((&alone.finish()?.covariance - &naive.covariance).norm_max() < 1e-13);
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> TestResult {
    let mut moments = Moments::new(2);
    assert!(moments.finish().is_err());
    assert!(moments.add_rows(&[1.0, 2.0, 3.0]).is_err());
    assert!(moments.add_rows(&[1.0, f64::NAN]).is_err());
    let wide = Tensor::zeros((3, 3), DType::F32, &Device::Cpu)?;
    assert!(moments.add(&wide).is_err());
    assert!(moments.add_with_target(&wide, &wide).is_err());
    assert!(moments.merge(&Moments::new(3)).is_err());
    assert!(Moments::with_targets(3, 3).add(&wide).is_err());
    assert!(Moments::new(3).add(&Tensor::zeros((3, 3), DType::U32, &Device::Cpu)?).is_err());
    Ok(())
}
