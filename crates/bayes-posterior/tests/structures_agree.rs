//! Every covariance structure equals the dense matrix it stands for: verb by verb, edit by edit, and in sequence.

mod dense;

use bayes_posterior::{
    Covariance, Diagonal, Edit, EditOptions, Full, Gaussian, LowRankForm, Posterior, Prior,
    Removal, Structure, UnitMatching, transform,
};
use core_tensors::{Layout, Rng, Slice};
use dense::{Dense, Matrix, TestResult, distance, inverse, log_det, normals, product, to_dense};
use dense::{network, twin, vector_distance};
use faer::Mat;
use models::Architecture;

/// Relative error of f64 algebra on matrices of condition below 1e3.
const TOLERANCE: f64 = 1e-10;

/// Runs a law for each structure on random covariances of two layouts.
macro_rules! for_every_structure {
    ($law:ident) => {
        for seed in 0..3 {
            let mut rng = Rng::new(seed);
            for bias in [false, true] {
                let layout = network(&[2, 3, 3, 2], bias).layout();
                $law(&layout, &dense::diagonal(&layout, &mut rng), &mut rng)?;
                $law(&layout, &dense::by_layer(&layout, &mut rng), &mut rng)?;
                $law(&layout, &dense::by_unit(&layout, &mut rng), &mut rng)?;
                $law(&layout, &dense::kronecker(&layout, &mut rng), &mut rng)?;
                $law(
                    &layout,
                    &dense::low_rank(LowRankForm::Covariance, &layout, &mut rng),
                    &mut rng,
                )?;
                $law(
                    &layout,
                    &dense::low_rank(LowRankForm::Precision, &layout, &mut rng),
                    &mut rng,
                )?;
                $law(&layout, &dense::full(&layout, &mut rng), &mut rng)?;
            }
        }
    };
}

/// Runs a law that needs no edit for every covariance.
macro_rules! for_every_covariance {
    ($law:ident) => {
        for_every_structure!($law);
        for seed in 0..3 {
            let mut rng = Rng::new(seed);
            for bias in [false, true] {
                let layout = network(&[2, 3, 3, 2], bias).layout();
                $law(&layout, &dense::kronecker_eigen(&layout, &mut rng), &mut rng)?;
            }
        }
    };
}

fn close(what: &str, name: &str, ours: &[f64], wanted: &[f64]) {
    let gap = vector_distance(wanted, ours);
    assert!(gap < TOLERANCE, "{what} of {name}: {gap:e}");
}

#[test]
fn verbs_equal_the_dense_matrix() -> TestResult {
    fn law<S: Covariance>(layout: &Layout, s: &S, rng: &mut Rng) -> TestResult {
        let (psi, p) = (to_dense(s), layout.n_parameters());
        let precision = inverse(&psi);
        let x = normals(p, rng);
        let times = |m: &Matrix| -> Vec<f64> {
            m.iter().map(|row| row.iter().zip(&x).map(|(a, b)| a * b).sum()).collect()
        };
        let diagonal = |m: &Matrix| -> Vec<f64> { (0..p).map(|i| m[i][i]).collect() };
        close("solve", S::NAME, &s.solve(&x)?, &times(&precision));
        close("precision diagonal", S::NAME, &s.precision_diagonal()?, &diagonal(&precision));
        close("diagonal", S::NAME, &s.diagonal()?, &diagonal(&psi));
        close("log-determinant", S::NAME, &[s.log_det()?], &[log_det(&psi)]);
        let quadratic = x.iter().zip(times(&precision)).map(|(a, b)| a * b).sum::<f64>();
        close("quadratic form", S::NAME, &[s.precision_quadratic(&x)?], &[quadratic]);
        for block in 0..layout.blocks.len() {
            let (shape, start) = (layout.blocks[block], layout.ranges()[block].start);
            let ours = s.column_covariance(layout, block)?;
            for (i, j) in [(0, 0), (0, 1), (1, 0), (shape.cols - 1, 0)] {
                let at =
                    |row: usize| psi[start + row * shape.cols + i][start + row * shape.cols + j];
                let wanted = (0..shape.rows).map(at).sum::<f64>() / shape.rows as f64;
                close("column covariance", S::NAME, &[ours[(i, j)] + 10.0], &[wanted + 10.0]);
            }
        }
        Ok(())
    }
    for_every_covariance!(law);
    Ok(())
}

#[test]
fn divergences_equal_the_dense_formula() -> TestResult {
    fn law<S: Covariance>(layout: &Layout, s: &S, rng: &mut Rng) -> TestResult {
        let p = layout.n_parameters();
        let prior = Gaussian::new(layout.clone(), normals(p, rng), s.clone())?;
        let q = Gaussian::new(layout.clone(), normals(p, rng), dense::diagonal(layout, rng))?;
        let (psi, precision) = (to_dense(s), inverse(&to_dense(s)));
        let gap: Vec<f64> = q.mean().iter().zip(prior.mean()).map(|(a, b)| a - b).collect();
        let dense_value = |phi: &Matrix| {
            let trace: f64 = (0..p).map(|i| product(&precision, phi)[i][i]).sum();
            let pairs = (0..p).flat_map(|i| (0..p).map(move |j| (i, j)));
            let quadratic: f64 = pairs.map(|(i, j)| gap[i] * precision[i][j] * gap[j]).sum();
            0.5 * (trace + quadratic - p as f64 + log_det(&psi) - log_det(phi))
        };
        let ours = Prior::new(&prior)?.divergence_of(&q)?;
        close("divergence", S::NAME, &[ours.value], &[dense_value(&to_dense(q.covariance()))]);
        // The gradient against central differences, which carry ε² of the third derivative.
        let (step, v) = (1e-4, q.covariance().variance().to_vec());
        let value = |m: &[f64], v: &[f64]| {
            Ok::<_, bayes_posterior::Error>(Prior::new(&prior)?.divergence(m, v)?.value)
        };
        for i in [0, p / 2, p - 1] {
            let moved = |of: &[f64], by: f64| {
                let mut of = of.to_vec();
                of[i] += by;
                of
            };
            let by_mean = (value(&moved(q.mean(), step), &v)?
                - value(&moved(q.mean(), -step), &v)?)
                / (2.0 * step);
            let by_variance = (value(q.mean(), &moved(&v, step))?
                - value(q.mean(), &moved(&v, -step))?)
                / (2.0 * step);
            assert!(
                (by_mean - ours.mean_gradient[i]).abs() < 1e-5 * (1.0 + by_mean.abs()),
                "{}",
                S::NAME
            );
            assert!(
                (by_variance - ours.variance_gradient[i]).abs() < 1e-4 * (1.0 + by_variance.abs())
            );
        }
        Ok(())
    }
    for_every_covariance!(law);
    Ok(())
}

#[test]
fn divergences_within_a_structure_equal_the_dense_one() -> TestResult {
    fn law<S: Structure>(layout: &Layout, [s, t]: [S; 2], rng: &mut Rng) -> TestResult {
        let p = layout.n_parameters();
        let (m, n) = (normals(p, rng), normals(p, rng));
        let to_full = |s: &S| {
            let psi = to_dense(s);
            Full::new(Mat::from_fn(p, p, |i, j| 0.5 * (psi[i][j] + psi[j][i])))
        };
        let ours = Gaussian::new(layout.clone(), m.clone(), s.clone())?
            .divergence_from(&Gaussian::new(layout.clone(), n.clone(), t.clone())?)?;
        let dense = Gaussian::new(layout.clone(), m, to_full(&s)?)?
            .divergence_from(&Gaussian::new(layout.clone(), n, to_full(&t)?)?)?;
        close("divergence", S::NAME, &[ours], &[dense]);
        Ok(())
    }
    let mut rng = Rng::new(7);
    let layout = network(&[2, 3, 2], true).layout();
    let (l, r) = (&layout, &mut rng);
    law(l, [dense::diagonal(l, r), dense::diagonal(l, r)], r)?;
    law(l, [dense::by_layer(l, r), dense::by_layer(l, r)], r)?;
    law(l, [dense::by_unit(l, r), dense::by_unit(l, r)], r)?;
    law(l, [dense::kronecker(l, r), dense::kronecker(l, r)], r)?;
    for (a, b) in [
        (LowRankForm::Covariance, LowRankForm::Covariance),
        (LowRankForm::Precision, LowRankForm::Covariance),
        (LowRankForm::Covariance, LowRankForm::Precision),
        (LowRankForm::Precision, LowRankForm::Precision),
    ] {
        law(l, [dense::low_rank(a, l, r), dense::low_rank(b, l, r)], r)?;
    }
    Ok(())
}

#[test]
fn pins_are_marginal_densities() -> TestResult {
    fn law<S: Structure>(layout: &Layout, s: &S, rng: &mut Rng) -> TestResult {
        let g = Gaussian::new(layout.clone(), normals(layout.n_parameters(), rng), s.clone())?;
        let psi = to_dense(g.covariance());
        for slice in [
            Slice::Rows { block: 0, rows: vec![2, 0] },
            Slice::Cols { block: 1, cols: vec![1] },
            Slice::Block { block: 1 },
        ] {
            let (at, _) = layout.split(&slice)?;
            let values = normals(at.len(), rng);
            let part: Matrix =
                at.iter().map(|&i| at.iter().map(|&j| psi[i][j]).collect()).collect();
            let precision = inverse(&part);
            let r: Vec<f64> = at.iter().zip(&values).map(|(&i, v)| v - g.mean()[i]).collect();
            let pairs = (0..r.len()).flat_map(|i| (0..r.len()).map(move |j| (i, j)));
            let quadratic: f64 = pairs.map(|(i, j)| r[i] * precision[i][j] * r[j]).sum();
            let wanted =
                -0.5 * (r.len() as f64 * std::f64::consts::TAU.ln() + log_det(&part) + quadratic);
            for density in [g.marginal_density(&slice, &values)?, g.condition(&slice, &values)?.1] {
                close("density", S::NAME, &[density.log_density()], &[wanted]);
                close("cost", S::NAME, &[density.cost()], &[0.5 * quadratic]);
            }
        }
        Ok(())
    }
    for_every_structure!(law);
    Ok(())
}

/// A sequence with unsorted units, both edits, both sides of a layer.
fn check_sequence<S: Structure>(
    name: &str,
    s: &S,
    mean: Vec<f64>,
    bias: bool,
    removal: Removal,
) -> TestResult {
    let teacher = network(&[2, 3, 3, 2], bias);
    let mut dense = twin(&teacher, &mean, s);
    let gaussian = Gaussian::new(teacher.layout(), mean, s.clone())?;
    let options = EditOptions { removal, nonnegative_inputs: true, ..EditOptions::strict() };
    let mut posterior = Posterior::new(teacher, gaussian)?;
    let all = removal == Removal::ConditionAll;
    type Step = (Edit, Box<dyn Fn(&Dense) -> Dense>);
    let steps: [Step; 4] = [
        (
            Edit::RemoveUnits { layer: 2, units: vec![1] },
            Box::new(move |d| d.remove_units(2, &[1], all)),
        ),
        (
            Edit::RemoveUnits { layer: 1, units: vec![2] },
            Box::new(move |d| d.remove_units(1, &[2], all)),
        ),
        (
            Edit::RemoveLayer { layer: 2, matching: UnitMatching::Identity },
            Box::new(|d| d.remove_layer(2, &[0, 1])),
        ),
        (
            Edit::RemoveLayer { layer: 1, matching: UnitMatching::Identity },
            Box::new(|d| d.remove_layer(1, &[0, 1])),
        ),
    ];
    for (edit, naive) in steps {
        dense = naive(&dense);
        posterior = transform(posterior, std::slice::from_ref(&edit), &options)?.posterior;
        assert_eq!(posterior.network().widths, dense.widths);
        let what = format!("mean after {edit:?}");
        close(&what, name, posterior.gaussian().mean(), &dense.mean);
        let gap = distance(&dense.covariance, &to_dense(posterior.gaussian().covariance()));
        assert!(gap < TOLERANCE, "covariance of {name} after {edit:?}: {gap:e}");
    }
    Ok(())
}

#[test]
fn edits_equal_dense_edits_in_sequence() -> TestResult {
    fn law<S: Structure>(layout: &Layout, s: &S, rng: &mut Rng) -> TestResult {
        let bias = layout.blocks[0].cols > 2;
        for removal in [Removal::Marginal, Removal::ConditionAll] {
            let mean = normals(layout.n_parameters(), rng);
            check_sequence(S::NAME, s, mean, bias, removal)?;
        }
        Ok(())
    }
    for_every_structure!(law);
    Ok(())
}

#[test]
fn the_remainder_is_the_inverse_of_a_part_of_the_precision() -> TestResult {
    fn law<S: Structure>(layout: &Layout, s: &S, _: &mut Rng) -> TestResult {
        let precision = inverse(&to_dense(s));
        for slice in [Slice::Cols { block: 1, cols: vec![0, 2] }, Slice::Block { block: 2 }] {
            let (fixed, kept) = layout.split(&slice)?;
            let left = s.condition(layout, &slice, &vec![0.0; fixed.len()])?.covariance;
            let part =
                kept.iter().map(|&i| kept.iter().map(|&j| precision[i][j]).collect()).collect();
            let gap = distance(&inverse(&part), &to_dense(&left));
            assert!(gap < TOLERANCE, "{}: {gap:e}", S::NAME);
        }
        Ok(())
    }
    for_every_structure!(law);
    Ok(())
}

#[test]
fn samples_have_the_mean_and_covariance() -> TestResult {
    fn law<S: Covariance>(layout: &Layout, s: &S, rng: &mut Rng) -> TestResult {
        let psi = to_dense(s);
        let g = Gaussian::new(layout.clone(), normals(layout.n_parameters(), rng), s.clone())?;
        let n = 20_000;
        let pairs = [(0, 0), (0, 1), (3, 3), (2, layout.n_parameters() - 1)];
        let (mut sums, mut means) = ([0.0; 4], [0.0; 4]);
        for _ in 0..n {
            let w = g.sample(rng)?;
            for (k, (i, j)) in pairs.iter().enumerate() {
                let (a, b) = (w[*i] - g.mean()[*i], w[*j] - g.mean()[*j]);
                sums[k] += a * b / f64::from(n);
                means[k] += a / f64::from(n);
            }
        }
        for (k, &(i, j)) in pairs.iter().enumerate() {
            // Five standard errors: var(ab) = Ψᵢᵢ Ψⱼⱼ + Ψᵢⱼ².
            let error = ((psi[i][i] * psi[j][j] + psi[i][j].powi(2)) / f64::from(n)).sqrt();
            assert!((sums[k] - psi[i][j]).abs() < 5.0 * error, "{}: {i}, {j}", S::NAME);
            assert!(means[k].abs() < 5.0 * (psi[i][i] / f64::from(n)).sqrt(), "{}", S::NAME);
        }
        Ok(())
    }
    let mut rng = Rng::new(11);
    let layout = network(&[2, 2, 1], true).layout();
    let (l, r) = (&layout, &mut rng);
    law(l, &dense::diagonal(l, r), r)?;
    law(l, &dense::by_layer(l, r), r)?;
    law(l, &dense::by_unit(l, r), r)?;
    law(l, &dense::kronecker(l, r), r)?;
    law(l, &dense::kronecker_eigen(l, r), r)?;
    law(l, &dense::low_rank(LowRankForm::Covariance, l, r), r)?;
    law(l, &dense::low_rank(LowRankForm::Precision, l, r), r)?;
    law(l, &dense::full(l, r), r)?;
    Ok(())
}

#[test]
fn conditioning_equals_monte_carlo_near_the_pinned_value() -> TestResult {
    // Draws whose fixed number falls within 0.02 of its value have the conditional mean, up to the standard error
    // and the slope within the window.
    let mut rng = Rng::new(5);
    let layout = network(&[1, 2, 1], false).layout();
    let g = Gaussian::new(layout.clone(), normals(4, &mut rng), dense::full(&layout, &mut rng))?;
    let slice = Slice::Cols { block: 1, cols: vec![1] };
    let (conditioned, _) = g.condition(&slice, &[0.0])?;
    let (mut sums, mut n) = ([0.0; 3], 0.0);
    for _ in 0..400_000 {
        let w = g.sample(&mut rng)?;
        if w[3].abs() < 0.02 {
            n += 1.0;
            (0..3).for_each(|i| sums[i] += w[i]);
        }
    }
    assert!(n > 500.0, "{n}");
    let variance = conditioned.covariance().diagonal()?;
    for i in 0..3 {
        let error = (variance[i] / n).sqrt();
        assert!((sums[i] / n - conditioned.mean()[i]).abs() < 4.0 * error + 0.005, "{i}");
    }
    Ok(())
}

#[test]
fn the_number_of_threads_changes_no_bit() -> TestResult {
    let mut rng = Rng::new(3);
    let layout = network(&[10, 30, 20, 1], false).layout(); // p = 920
    let g = Gaussian::new(layout.clone(), normals(920, &mut rng), dense::full(&layout, &mut rng))?;
    let slice = Slice::Cols { block: 1, cols: (0..17).collect() };
    let edit = |threads: usize| -> Result<_, Box<dyn std::error::Error>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        Ok(pool.install(|| g.condition(&slice, &vec![0.0; 340]))?.0)
    };
    let (one, two) = (edit(1)?, edit(2)?);
    assert_eq!(one.mean(), two.mean());
    assert_eq!(one.covariance().matrix(), two.covariance().matrix());
    Ok(())
}

#[test]
fn what_is_no_covariance_is_refused() -> TestResult {
    let matrix = |b: f64| Mat::from_fn(2, 2, |i, j| if i == j { 1.0 } else { b });
    let message = |e: bayes_posterior::Error| e.to_string();
    let indefinite = Full::new(matrix(2.0))?;
    let text = message(indefinite.log_det().unwrap_err());
    assert!(text.contains("positive definite: pivot 1 of its 2"), "{text}");
    assert_eq!(
        message(Full::new(matrix(f64::NAN)).unwrap_err()),
        "entry (1, 0) of a covariance must lie in (−∞, ∞), got NaN"
    );
    let skew = Mat::from_fn(2, 2, |i, j| [[1.0, 0.5], [0.4, 1.0]][i][j]);
    assert!(message(Full::new(skew).unwrap_err()).contains("found 0.5 and 0.4"));
    let zero = Diagonal::new(vec![1.0, 0.0]).unwrap_err();
    assert_eq!(message(zero), "variance of parameter 1 must lie in (0, ∞), got 0");
    let short =
        Gaussian::new(network(&[1, 2], false).layout(), vec![0.0; 2], Diagonal::new(vec![1.0])?);
    assert_eq!(message(short.unwrap_err()), "parameters of a covariance: expected 2, found 1");
    Ok(())
}
