//! Baselines, greedy paths, repair and the choice of damping.

use bayes_posterior::surgery::{
    Bias, ColumnDamping, Compensation, Consumer, Greedy, Moments, Removal, Repair, Score,
    SecondMoments, choose_damping, compensate, greedy, order_by, reconstruction_error, repair,
    scores,
};
use core_tensors::Rng;
use core_tensors::linalg::{RankPolicy, least_squares, product};
use faer::Mat;

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn random(m: usize, n: usize, rng: &mut Rng) -> Mat<f64> {
    Mat::from_fn(m, n, |_, _| rng.normal())
}

fn flat(rows: &Mat<f64>) -> Vec<f64> {
    (0..rows.nrows()).flat_map(|i| (0..rows.ncols()).map(move |j| rows[(i, j)])).collect()
}

fn of_rows(h: &Mat<f64>) -> bayes_posterior::Result<SecondMoments> {
    let mut moments = Moments::new(h.ncols());
    moments.add_rows(&flat(h))?;
    moments.finish()
}

fn with_targets(h: &Mat<f64>, t: &Mat<f64>) -> Result<SecondMoments, Box<dyn std::error::Error>> {
    use candle_core::{Device, Tensor};
    let tensor = |x: &Mat<f64>| Tensor::from_vec(flat(x), x.shape(), &Device::Cpu);
    let mut moments = Moments::with_targets(h.ncols(), t.ncols());
    moments.add_with_target(&tensor(h)?, &tensor(t)?)?;
    Ok(moments.finish()?)
}

fn units(n: usize, k: usize) -> Vec<Vec<usize>> {
    (0..n).map(|u| (u * k..(u + 1) * k).collect()).collect()
}

fn consumer<'a>(m: &'a SecondMoments, w: &'a Mat<f64>, k: usize) -> Consumer<'a> {
    let units = units(m.n_columns() / k, k);
    Consumer { moments: m, weights: w.as_ref(), units, output: None, bias: Bias::LastColumn }
}

#[test]
fn scores_are_what_users_know() -> TestResult {
    let h = Mat::from_fn(2, 4, |i, j| (i + 2 * j) as f64);
    let (m, w) = (of_rows(&h)?, Mat::from_fn(2, 5, |i, j| if i == 0 { j as f64 } else { 1.0 }));
    let c = [consumer(&m, &w, 2)];
    // ‖W_j‖² = 1, 2, 5, 10; E h_j² = (4j² + (2j + 1)²) / 2 = .5, 6.5, 20.5, 42.5
    let wanda = scores(&c, Score::Wanda)?;
    let wanted = [(0.5f64 + 13.0).sqrt(), (102.5f64 + 425.0).sqrt()];
    assert!(wanda.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12), "{wanda:?}");
    let magnitude = scores(&c, Score::Magnitude { producer: &[2.0, 0.5] })?;
    let wanted = [2.0 * 3f64.sqrt(), 0.5 * 15f64.sqrt()];
    assert!(magnitude.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-12));
    assert_eq!(scores(&c, Score::Taylor { saliency: &[3.0, 1.0] })?, [3.0, 1.0]);
    let draw = |seed| scores(&c, Score::Random(&mut Rng::new(seed)));
    assert_eq!(draw(1)?, draw(1)?);
    assert_ne!(draw(1)?, draw(2)?);
    // Two consumers: squares add.
    let both = scores(&[c[0].clone(), c[0].clone()], Score::Wanda)?;
    assert!((both[0] - 2f64.sqrt() * wanda[0]).abs() < 1e-12);
    assert_eq!(order_by(&[2.0, 1.0, 1.0, 0.0]), [3, 2, 1, 0]);
    assert!(scores(&c, Score::Taylor { saliency: &[1.0] }).is_err());
    assert!(scores(&c, Score::Taylor { saliency: &[1.0, f64::NAN] }).is_err());
    Ok(())
}

#[test]
fn greedy_paths_have_every_width_and_beat_the_baselines() -> TestResult {
    let mut rng = Rng::new(1);
    let h = product(random(300, 20, &mut rng).as_ref(), random(20, 20, &mut rng).as_ref());
    let (m, w) = (of_rows(&h)?, random(4, 21, &mut rng));
    let c = [consumer(&m, &w, 1)];
    let damping = ColumnDamping::relative(1e-8);
    let options = Greedy { widths: vec![5, 12, 12, 20], n_examples: 300.0, dependencies: true };
    let path = greedy(Removal::new(&c, damping)?, &options)?;
    assert_eq!(path.steps.len(), 15);
    let widths: Vec<usize> = path.snapshots.iter().map(|s| s.kept.len()).collect();
    assert_eq!(widths, [20, 12, 5]);
    // E ‖Δz‖² over the rows themselves.
    let error = |snapshot: &bayes_posterior::surgery::Snapshot| {
        let now = &snapshot.consumers[0];
        let bias = now.bias.clone().unwrap_or_default();
        let mut sum = 0.0;
        for i in 0..300 {
            for a in 0..4 {
                let z: f64 = (0..20).map(|j| w[(a, j)] * h[(i, j)]).sum::<f64>() + w[(a, 20)];
                let kept = now.columns.iter().enumerate();
                let new: f64 = kept.map(|(j, &col)| now.weights[(a, j)] * h[(i, col)]).sum();
                sum += (z - new - bias[a]).powi(2);
            }
        }
        sum
    };
    for snapshot in &path.snapshots[1..] {
        let n_gone = 20 - snapshot.kept.len();
        let ours = error(snapshot);
        let predicted: f64 = path.steps[..n_gone].iter().map(|s| s.cost).sum();
        assert!((2.0 * predicted - ours).abs() < 1e-4 * ours, "{predicted} {ours}");
        for score in [Score::Wanda, Score::Random(&mut rng)] {
            let order = order_by(&scores(&c, score)?);
            let kept = &order[n_gone..];
            let fitted = error(&compensate(&c, kept, Compensation::LeastSquares(damping))?);
            let plain = error(&compensate(&c, kept, Compensation::Off)?);
            assert!(ours <= fitted && fitted < plain, "{ours} {fitted} {plain}");
        }
    }
    for widths in [vec![0], vec![21]] {
        let options = Greedy { widths, n_examples: 1.0, dependencies: true };
        assert!(greedy(Removal::new(&c, damping)?, &options).is_err());
    }
    Ok(())
}

#[test]
fn repair_is_ridge_regression_towards_the_original() -> TestResult {
    let mut rng = Rng::new(2);
    let (rows, n, o) = (80, 6, 3);
    for bias in [Bias::LastColumn, Bias::Added, Bias::Absent] {
        let h = Mat::from_fn(rows, n, |_, _| rng.normal() + 2.0);
        let truth = random(o, n, &mut rng);
        let noise = random(rows, o, &mut rng);
        let t = product(h.as_ref(), truth.transpose()) + faer::Scale(0.3) * noise;
        let t = Mat::from_fn(rows, o, |i, j| t[(i, j)] + 1.0);
        let moments = with_targets(&h, &t)?;
        let has_bias = bias == Bias::LastColumn;
        let w = random(o, n + usize::from(has_bias), &mut rng);
        let relative = 0.05;
        let found = repair(&Repair {
            weights: w.as_ref(),
            bias,
            moments: &moments,
            held_out: &moments,
            relative: &[relative],
        })?;
        assert_eq!(found.relative, Some(relative));
        // Rows of h (and a one), then √(N ε) I with targets √(N ε) W.
        let root = (rows as f64 * relative * moments.scale()).sqrt();
        let free = usize::from(bias != Bias::Absent);
        let a = Mat::from_fn(rows + n, n + free, |i, j| match i.checked_sub(rows) {
            None => {
                if j == n {
                    1.0
                } else {
                    h[(i, j)]
                }
            }
            Some(k) => {
                if k == j {
                    root
                } else {
                    0.0
                }
            }
        });
        let b = Mat::from_fn(rows + n, o, |i, j| match i.checked_sub(rows) {
            None => t[(i, j)],
            Some(k) => root * w[(j, k)],
        });
        let wanted = least_squares(a.as_ref(), b.as_ref(), 0.0, RankPolicy::Full)?;
        for i in 0..o {
            for j in 0..n {
                assert!((found.weights[(i, j)] - wanted[(j, i)]).abs() < 1e-10);
            }
            match &found.bias {
                Some(b) => assert!((b[i] - wanted[(n, i)]).abs() < 1e-10),
                None => assert_eq!(bias, Bias::Absent),
            }
        }
        // The error is that of the rows.
        let b = found.bias.clone().unwrap_or(vec![0.0; o]);
        let z = product(h.as_ref(), found.weights.transpose());
        let squares =
            |i: usize| (0..o).map(|j| (t[(i, j)] - z[(i, j)] - b[j]).powi(2)).sum::<f64>();
        let naive = (0..rows).map(squares).sum::<f64>() / rows as f64;
        assert!((found.tried[1].error - naive).abs() < 1e-10 * naive);
        assert_eq!(
            reconstruction_error(&moments, found.weights.as_ref(), &b)?,
            found.tried[1].error
        );
    }
    Ok(())
}

#[test]
fn held_out_examples_choose_the_damping_or_no_repair() -> TestResult {
    let mut rng = Rng::new(3);
    let (n, o) = (30, 2);
    let w = random(o, n + 1, &mut rng);
    let outputs = |h: &Mat<f64>, noise: f64, rng: &mut Rng| {
        Mat::from_fn(h.nrows(), o, |i, a| {
            (0..n).map(|j| w[(a, j)] * h[(i, j)]).sum::<f64>() + w[(a, n)] + noise * rng.normal()
        })
    };
    let (few, other) = (random(36, n, &mut rng), random(500, n, &mut rng));
    let (t_few, t_other) = (outputs(&few, 1.0, &mut rng), outputs(&other, 1.0, &mut rng));
    let (moments, held_out) = (with_targets(&few, &t_few)?, with_targets(&other, &t_other)?);
    let of = |weights: &Mat<f64>, relative: &[f64]| {
        repair(&Repair {
            weights: weights.as_ref(),
            bias: Bias::LastColumn,
            moments: &moments,
            held_out: &held_out,
            relative,
        })
    };
    // The true weights cannot be bettered by 36 noisy rows.
    let found = of(&w, &[1e-6, 1e-2])?;
    assert_eq!(found.relative, None);
    assert_eq!(found.weights, w.as_ref().subcols(0, n).to_owned());
    assert!(found.tried[1].error > 2.0 * found.tried[0].error);
    // Weights that are a little off: much damping beats none, and both beat nothing only if right.
    let off = &w + faer::Scale(0.4) * random(o, n + 1, &mut rng);
    let found = of(&off, &[1e-6, 0.3])?;
    assert_eq!(found.relative, Some(0.3), "{:?}", found.tried);
    // Removal: the choice is the smallest of the errors it tells.
    let c = [consumer(&moments, &w, 1)];
    let options = Greedy { widths: vec![10], n_examples: 1.0, dependencies: true };
    let choice = choose_damping(&c, &[&held_out], &[1e-6, 1e-2, 0.5], &options)?;
    let least = choice.tried.iter().map(|t| t.error).fold(f64::INFINITY, f64::min);
    let chosen = choice.tried.iter().find(|t| t.relative == Some(choice.relative)).ok_or("one")?;
    assert_eq!(chosen.error, least);
    let now = &choice.path.snapshots[0].consumers[0];
    let bias = now.bias.as_ref().ok_or("a bias")?;
    let mut naive = 0.0;
    for i in 0..500 {
        for a in 0..o {
            let z: f64 = (0..n).map(|j| w[(a, j)] * other[(i, j)]).sum::<f64>() + w[(a, n)];
            let kept = now.columns.iter().enumerate();
            let new: f64 = kept.map(|(j, &col)| now.weights[(a, j)] * other[(i, col)]).sum();
            naive += (z - new - bias[a]).powi(2) / 500.0;
        }
    }
    assert!((least - naive).abs() < 1e-10 * naive, "{least} {naive}");
    Ok(())
}

#[test]
fn a_consumer_without_a_bias_gets_one_or_tells_what_it_lacks() -> TestResult {
    let mut rng = Rng::new(4);
    let h = Mat::from_fn(200, 6, |_, _| rng.normal() + 3.0);
    let (m, with) = (of_rows(&h)?, random(2, 7, &mut rng));
    let w = with.as_ref().subcols(0, 6).to_owned();
    let c = |bias| Consumer {
        moments: &m,
        weights: w.as_ref(),
        units: units(6, 1),
        output: None,
        bias,
    };
    let damping = Compensation::LeastSquares(ColumnDamping::relative(0.0));
    let kept = [0, 2, 5];
    let of_last = compensate(&[consumer(&m, &with, 1)], &kept, damping)?.consumers.remove(0);
    let added = compensate(&[c(Bias::Added)], &kept, damping)?.consumers.remove(0);
    assert_eq!(added.weights, of_last.weights);
    let (last, more) = (of_last.bias.ok_or("a bias")?, added.bias.ok_or("a bias")?);
    for i in 0..2 {
        assert!((last[i] - more[i] - with[(i, 6)]).abs() < 1e-12);
    }
    let absent = compensate(&[c(Bias::Absent)], &kept, damping)?.consumers.remove(0);
    assert!(absent.bias.is_none());
    // Least squares through the origin, and the mean of what it leaves.
    let design = Mat::from_fn(200, 3, |i, j| h[(i, kept[j])]);
    let z = product(h.as_ref(), w.transpose());
    let wanted = least_squares(design.as_ref(), z.as_ref(), 0.0, RankPolicy::Full)?;
    assert!((&absent.weights - wanted.transpose()).norm_max() < 1e-10);
    let left = z - product(design.as_ref(), wanted.as_ref());
    for i in 0..2 {
        let mean = (0..200).map(|r| left[(r, i)]).sum::<f64>() / 200.0;
        assert!((absent.offset[i] - mean).abs() < 1e-10);
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> TestResult {
    let mut rng = Rng::new(5);
    let (m, w) = (of_rows(&random(50, 4, &mut rng))?, random(2, 5, &mut rng));
    let good = consumer(&m, &w, 1);
    let damping = ColumnDamping::relative(1e-6);
    let narrow = random(2, 4, &mut rng);
    let bad = [
        Consumer { weights: narrow.as_ref(), ..good.clone() },
        Consumer { units: vec![vec![0], vec![0]], ..good.clone() },
        Consumer { units: vec![vec![4]], ..good.clone() },
        Consumer { units: vec![], ..good.clone() },
        Consumer { output: Some(Mat::zeros(3, 3)), ..good.clone() },
    ];
    for consumer in bad {
        assert!(Removal::new(std::slice::from_ref(&consumer), damping).is_err(), "{consumer:?}");
    }
    assert!(Removal::new(&[], damping).is_err());
    assert!(Removal::new(std::slice::from_ref(&good), ColumnDamping::relative(-1.0)).is_err());
    let mut removal = Removal::new(&[good], damping)?;
    removal.remove(1)?;
    assert!(removal.remove(1).is_err() && removal.remove(4).is_err() && removal.cost(1).is_err());
    // The last unit may go as well: the bias stays.
    [0, 2, 3].into_iter().try_for_each(|unit| removal.remove(unit).map(drop))?;
    assert_eq!(removal.cheapest()?, None);
    assert_eq!(removal.consumers()?[0].columns, [0usize; 0]);
    Ok(())
}
