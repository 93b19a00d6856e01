//! Removal of units from consumers equals dense least squares, brute force and the edits of a Kronecker posterior.

use bayes_posterior::surgery::{
    Bias, ColumnDamping, Compensation, Consumer, ConsumerWeights, Greedy, Removal, SecondMoments,
    compensate, greedy,
};
use bayes_posterior::{Factors, Gaussian, Kronecker};
use core_tensors::linalg::{Cholesky, RankPolicy, least_squares, product};
use core_tensors::{Block, Layout, Rng, Slice};
use faer::{Mat, MatRef};

type TestResult = Result<(), Box<dyn std::error::Error>>;

fn random(m: usize, n: usize, rng: &mut Rng) -> Mat<f64> {
    Mat::from_fn(m, n, |_, _| rng.normal())
}

fn units(n: usize, k: usize) -> Vec<Vec<usize>> {
    (0..n).map(|u| (u * k..(u + 1) * k).collect()).collect()
}

/// Moments whose covariance has about this condition, and its root R (R Rᵀ = covariance).
fn moments(n: usize, condition: f64, rng: &mut Rng) -> (SecondMoments, Mat<f64>) {
    let basis = random(n, n, rng);
    let q = basis.qr().compute_Q();
    let size = |i: usize| condition.powf(-0.5 * i as f64 / (n.max(2) - 1) as f64);
    let root = Mat::from_fn(n, n, |i, j| q[(i, j)] * size(j));
    let raw = product(root.as_ref(), root.transpose());
    let covariance = Mat::from_fn(n, n, |i, j| 0.5 * (raw[(i, j)] + raw[(j, i)]));
    let mean = (0..n).map(|_| rng.normal()).collect();
    (SecondMoments { n_rows: 1000.0, mean, covariance, targets: None }, root)
}

fn consumer<'a>(m: &'a SecondMoments, w: &'a Mat<f64>, units: Vec<Vec<usize>>) -> Consumer<'a> {
    let bias = if w.ncols() > m.n_columns() { Bias::LastColumn } else { Bias::Added };
    Consumer { moments: m, weights: w.as_ref(), units, output: None, bias }
}

fn distance(a: MatRef<f64>, b: MatRef<f64>) -> f64 {
    (a - b).norm_l2() / b.norm_l2()
}

/// ½ E Δzᵀ G Δz + ½ ε ‖ΔW‖² (over the columns without the bias) of a change, by the whole of A.
fn increase(
    m: &SecondMoments,
    w: &Mat<f64>,
    now: &ConsumerWeights,
    g: Option<&Mat<f64>>,
    epsilon: f64,
) -> f64 {
    let n = m.n_columns();
    let mut d = w.clone();
    for (j, &column) in now.columns.iter().enumerate() {
        (0..w.nrows()).for_each(|i| d[(i, column)] -= now.weights[(i, j)]);
    }
    if let Some(bias) = &now.bias {
        (0..w.nrows()).for_each(|i| d[(i, n)] -= bias[i]);
    }
    let mut a = m.second();
    (0..n).for_each(|i| a[(i, i)] += epsilon);
    let through = product(product(d.as_ref(), a.as_ref()).as_ref(), d.transpose());
    let o = w.nrows();
    let g = |i: usize, j: usize| g.map_or(f64::from(u8::from(i == j)), |g| g[(i, j)]);
    0.5 * (0..o * o).map(|k| g(k / o, k % o) * through[(k % o, k / o)]).sum::<f64>()
}

#[test]
fn removal_in_sequence_is_dense_least_squares() -> TestResult {
    let mut rng = Rng::new(0);
    for (n_units, k, n_gone) in [(40, 1, 25), (30, 9, 20), (200, 1, 160)] {
        for condition in [1e2, 1e5, 1e8] {
            let n = n_units * k;
            let (m, root) = moments(n, condition, &mut rng);
            let w = random(5, n + 1, &mut rng);
            let mut removal =
                Removal::new(&[consumer(&m, &w, units(n_units, k))], ColumnDamping::relative(0.0))?;
            let gone = rng.permutation(n_units)[..n_gone].to_vec();
            gone.iter().try_for_each(|&unit| removal.remove(unit).map(drop))?;
            let found = removal.consumers()?.remove(0);
            // Rows are directions of the root: Z = Rᵀ Wᵀ on the kept columns of Rᵀ.
            let design = Mat::from_fn(n, found.columns.len(), |i, j| root[(found.columns[j], i)]);
            let z = product(root.transpose(), w.as_ref().subcols(0, n).transpose());
            let wanted = least_squares(design.as_ref(), z.as_ref(), 0.0, RankPolicy::Full)?;
            let gap = distance(found.weights.as_ref(), wanted.transpose());
            assert!(gap < 1e-9, "{n_units} {k} {condition:e}: {gap:e}");
            let snapshot = compensate(
                &[consumer(&m, &w, units(n_units, k))],
                &removal.left(),
                Compensation::LeastSquares(ColumnDamping::relative(0.0)),
            )?;
            assert_eq!(snapshot.consumers[0].weights, found.weights);
            // The mean output is kept by the bias.
            let bias = found.bias.as_ref().ok_or("a bias")?;
            for i in 0..5 {
                let before: f64 = (0..n).map(|j| w[(i, j)] * m.mean[j]).sum::<f64>() + w[(i, n)];
                let kept = found.columns.iter().enumerate();
                let after: f64 = kept.map(|(j, &c)| found.weights[(i, j)] * m.mean[c]).sum();
                assert!((before - after - bias[i]).abs() < 1e-9 * before.abs().max(1.0));
            }
            assert!(found.offset.iter().all(|o| *o == 0.0));
        }
    }
    Ok(())
}

#[test]
fn costs_are_the_increase_of_the_quadratic() -> TestResult {
    let mut rng = Rng::new(1);
    for (n_units, k) in [(30, 1), (8, 9), (180, 1)] {
        for (relative, has_g) in [(0.0, false), (1e-2, true), (1e-4, false), (0.0, true)] {
            let n = n_units * k;
            let (m, _) = moments(n, 1e4, &mut rng);
            let w = random(4, n + 1, &mut rng);
            let half = random(4, 3, &mut rng);
            let g = has_g.then(|| product(half.as_ref(), half.transpose()));
            let mut c = consumer(&m, &w, units(n_units, k));
            c.output = g.clone();
            let mut removal = Removal::new(&[c], ColumnDamping::relative(relative))?;
            let (mut total, epsilon) = (0.0, relative * m.scale());
            while removal.left().len() > n_units / 4 {
                let Some((unit, cost)) = removal.cheapest()? else { break };
                assert_eq!(removal.remove(unit)?, cost);
                total += cost;
                let now = removal.consumers()?.remove(0);
                let wanted = increase(&m, &w, &now, g.as_ref(), epsilon);
                assert!((total - wanted).abs() < 1e-8 * wanted, "{n_units} {k}: {total} {wanted}");
            }
        }
    }
    Ok(())
}

#[test]
fn removal_is_the_edit_of_a_kronecker_posterior() -> TestResult {
    let mut rng = Rng::new(2);
    let (n, o) = (9, 3);
    for on_bias in [false, true] {
        let (m, _) = moments(n, 1e3, &mut rng);
        let w = random(o, n + 1, &mut rng);
        let half = random(o, o, &mut rng);
        let g = product(half.as_ref(), half.transpose());
        let damping = ColumnDamping { relative: 1e-3, on_bias };
        let mut c = consumer(&m, &w, units(n, 1));
        c.output = Some(g.clone());
        let mut removal = Removal::new(&[c], damping)?;
        let mut a = m.second();
        let epsilon = 1e-3 * m.scale();
        (0..n + usize::from(on_bias)).for_each(|i| a[(i, i)] += epsilon);
        let symmetric =
            |x: Mat<f64>| Mat::from_fn(x.nrows(), x.ncols(), |i, j| 0.5 * (x[(i, j)] + x[(j, i)]));
        let columns = symmetric(Cholesky::new(a.as_ref())?.inverse());
        let rows = symmetric(Cholesky::new(g.as_ref())?.inverse());
        let mean = (0..o * (n + 1)).map(|k| w[(k / (n + 1), k % (n + 1))]).collect();
        let layout = Layout { blocks: vec![Block { rows: o, cols: n + 1 }] };
        let covariance = Kronecker::new(vec![Factors::new(rows, columns)?]);
        let mut gaussian = Gaussian::new(layout, mean, covariance)?;
        for unit in [4, 0, 7] {
            let place = removal.left().iter().position(|&u| u == unit).ok_or("a unit")?;
            let slice = Slice::Cols { block: 0, cols: vec![place] };
            let (next, density) = gaussian.condition(&slice, &vec![0.0; o])?;
            let cost = removal.remove(unit)?;
            assert!((cost - density.cost()).abs() < 1e-9 * cost, "{cost} {}", density.cost());
            gaussian = next;
            let now = removal.consumers()?.remove(0);
            let bias = now.bias.as_ref().ok_or("a bias")?;
            let n_left = now.columns.len();
            for i in 0..o {
                for j in 0..=n_left {
                    let found = if j == n_left { bias[i] } else { now.weights[(i, j)] };
                    let wanted = gaussian.mean()[i * (n_left + 1) + j];
                    assert!((found - wanted).abs() < 1e-9 * wanted.abs().max(1.0));
                }
            }
        }
    }
    Ok(())
}

#[test]
fn the_first_removals_are_the_best_by_brute_force() -> TestResult {
    let mut rng = Rng::new(3);
    for _ in 0..10 {
        let (m, _) = moments(6, 50.0, &mut rng);
        let w = random(3, 7, &mut rng);
        let c = consumer(&m, &w, units(6, 1));
        let mut removal = Removal::new(std::slice::from_ref(&c), ColumnDamping::relative(0.0))?;
        let mut left: Vec<usize> = (0..6).collect();
        let mut costs = vec![];
        while left.len() > 1 {
            let least_squares = Compensation::LeastSquares(ColumnDamping::relative(0.0));
            let mut best = (0, f64::INFINITY);
            for &unit in &left {
                let kept: Vec<usize> = left.iter().copied().filter(|&u| u != unit).collect();
                let snapshot = compensate(std::slice::from_ref(&c), &kept, least_squares)?;
                let cost = increase(&m, &w, &snapshot.consumers[0], None, 0.0);
                if cost < best.1 {
                    best = (unit, cost);
                }
            }
            let (unit, cost) = removal.cheapest()?.ok_or("a unit")?;
            assert_eq!(unit, best.0);
            removal.remove(unit)?;
            costs.push(cost);
            assert!((costs.iter().sum::<f64>() - best.1).abs() < 1e-10 * best.1);
            left.retain(|&u| u != unit);
        }
    }
    Ok(())
}

/// Rows of activations as moments, by naive sums.
fn of_rows(rows: &Mat<f64>) -> Result<SecondMoments, bayes_posterior::Error> {
    let mut moments = bayes_posterior::surgery::Moments::new(rows.ncols());
    let row = |i: usize| (0..rows.ncols()).map(move |j| rows[(i, j)]).collect::<Vec<f64>>();
    (0..rows.nrows()).try_for_each(|i| moments.add_rows(&row(i)))?;
    moments.finish()
}

fn outputs(rows: &Mat<f64>, now: &ConsumerWeights) -> Mat<f64> {
    let h = Mat::from_fn(rows.nrows(), now.columns.len(), |i, j| rows[(i, now.columns[j])]);
    let z = product(h.as_ref(), now.weights.transpose());
    let bias = |j: usize| now.bias.as_ref().map_or(0.0, |b| b[j]);
    Mat::from_fn(z.nrows(), z.ncols(), |i, j| z[(i, j)] + bias(j))
}

#[test]
fn exact_dependencies_cost_nothing_and_leave_no_trace() -> TestResult {
    let mut rng = Rng::new(4);
    let n = 12;
    for round_to_f32 in [false, true] {
        let mut rows = random(400, n, &mut rng);
        for i in 0..400 {
            rows[(i, 1)] = 7.0; // constant
            rows[(i, 4)] = 0.0; // dead
            rows[(i, 5)] = rows[(i, 2)]; // duplicate
            rows[(i, 6)] = 1e-3 * rows[(i, 2)]; // and a small one
            rows[(i, 9)] = 2.0 * rows[(i, 0)] - 0.5 * rows[(i, 3)] + 1.0; // combination
            if round_to_f32 {
                (0..n).for_each(|j| rows[(i, j)] = f64::from(rows[(i, j)] as f32));
            }
        }
        let m = of_rows(&rows)?;
        let w = random(4, n + 1, &mut rng);
        let c = consumer(&m, &w, units(n, 1));
        let all: Vec<usize> = (0..n).collect();
        let whole = compensate(std::slice::from_ref(&c), &all, Compensation::Off)?;
        let before = outputs(&rows, &whole.consumers[0]);
        for n_gone in [2, 5] {
            let removal = Removal::new(std::slice::from_ref(&c), ColumnDamping::relative(1e-4))?;
            let options =
                Greedy { widths: vec![n - n_gone], n_examples: 400.0, dependencies: true };
            let path = greedy(removal, &options)?;
            assert!(path.steps.iter().all(|s| s.cost == 0.0 && s.is_dependent), "{:?}", path.steps);
            let after = outputs(&rows, &path.snapshots[0].consumers[0]);
            let gap = distance(after.as_ref(), before.as_ref());
            let rounding = if round_to_f32 { 1e-6 } else { 1e-10 };
            assert!(gap < rounding, "{n_gone} {gap:e}");
        }
        // No more than the five, and the sixth costs something.
        let mut removal = Removal::new(std::slice::from_ref(&c), ColumnDamping::relative(1e-4))?;
        assert_eq!(removal.remove_dependencies(n)?.len(), 5);
        assert!(removal.cheapest()?.ok_or("a unit")?.1 > 1e-3);
        // Without damping A is singular, and that is said.
        assert!(Removal::new(std::slice::from_ref(&c), ColumnDamping::relative(0.0)).is_err());
        // A consumer that gets no bias keeps the constant.
        let only = w.as_ref().subcols(0, n).to_owned();
        let mut absent = consumer(&m, &only, units(n, 1));
        absent.bias = Bias::Absent;
        let mut removal = Removal::new(&[absent], ColumnDamping::relative(1e-4))?;
        let gone = removal.remove_dependencies(n)?;
        assert_eq!(gone.len(), 4, "{gone:?}");
        let found = removal.consumers()?.remove(0);
        let before = product(rows.as_ref(), only.transpose());
        let gap = distance(outputs(&rows, &found).as_ref(), before.as_ref());
        assert!(gap < 1e-6, "{gap:e}");
    }
    Ok(())
}

#[test]
fn groups_depend_only_as_a_whole() -> TestResult {
    let mut rng = Rng::new(5);
    let mut rows = random(300, 8, &mut rng);
    for i in 0..300 {
        // Unit 1 = (a, b) repeats unit 0; unit 2 shares one column only.
        for k in 0..2 {
            rows[(i, 2 + k)] = rows[(i, k)] - 3.0;
        }
        rows[(i, 4)] = rows[(i, 6)];
    }
    let m = of_rows(&rows)?;
    let w = random(3, 9, &mut rng);
    let c = consumer(&m, &w, units(4, 2));
    let mut removal = Removal::new(std::slice::from_ref(&c), ColumnDamping::relative(1e-6))?;
    let gone = removal.remove_dependencies(4)?;
    assert!(gone == [0] || gone == [1], "{gone:?}");
    let whole = compensate(&[c], &[0, 1, 2, 3], Compensation::Off)?;
    let (before, after) =
        (outputs(&rows, &whole.consumers[0]), outputs(&rows, &removal.consumers()?[0]));
    assert!(distance(after.as_ref(), before.as_ref()) < 1e-10);
    // A second consumer, which sees other inputs, needs both.
    let other = of_rows(&random(300, 4, &mut rng))?;
    let v = random(2, 5, &mut rng);
    let both = [consumer(&m, &w, units(4, 2)), consumer(&other, &v, units(4, 1))];
    let mut removal = Removal::new(&both, ColumnDamping::relative(1e-6))?;
    assert_eq!(removal.remove_dependencies(4)?, [0usize; 0]);
    // Their costs add, and each is compensated alone.
    let mut alone = [0, 1].map(|i| Removal::new(&both[i..=i], ColumnDamping::relative(1e-6)));
    let mut sum = 0.0;
    for removal in &mut alone {
        sum += removal.as_mut().map_err(|e| e.to_string())?.remove(3)?;
    }
    assert!((removal.remove(3)? - sum).abs() < 1e-12 * sum);
    for (found, alone) in removal.consumers()?.iter().zip(alone) {
        assert_eq!(found.weights, alone?.consumers()?[0].weights);
    }
    Ok(())
}

#[test]
fn few_rows_make_no_dependencies() -> TestResult {
    let mut rng = Rng::new(7);
    let mut rows = random(20, 30, &mut rng);
    (0..20).for_each(|i| rows[(i, 3)] = 2.0);
    let (m, w) = (of_rows(&rows)?, random(2, 31, &mut rng));
    let mut removal =
        Removal::new(&[consumer(&m, &w, units(30, 1))], ColumnDamping::relative(0.1))?;
    assert_eq!(removal.remove_dependencies(30)?, [3]);
    Ok(())
}

#[test]
fn units_of_different_sizes_and_columns_that_stay() -> TestResult {
    let mut rng = Rng::new(8);
    let n = 420;
    let (m, root) = moments(n, 1e4, &mut rng);
    let w = random(3, n + 1, &mut rng);
    // One unit larger than what waits for a product, and twenty columns of none.
    let mut all: Vec<Vec<usize>> = vec![(0..150).rev().collect(), (150..220).collect()];
    all.extend((220..400).step_by(6).map(|start| (start..start + 6).collect()));
    let mut removal = Removal::new(&[consumer(&m, &w, all)], ColumnDamping::relative(0.0))?;
    let mut total = 0.0;
    for unit in [5, 0, 31, 1, 20, 7] {
        total += removal.remove(unit)?;
    }
    let found = removal.consumers()?.remove(0);
    let wanted = increase(&m, &w, &found, None, 0.0);
    assert!((total - wanted).abs() < 1e-9 * wanted, "{total} {wanted}");
    assert!((400..n).all(|column| found.columns.contains(&column)));
    let design = Mat::from_fn(n, found.columns.len(), |i, j| root[(found.columns[j], i)]);
    let z = product(root.transpose(), w.as_ref().subcols(0, n).transpose());
    let wanted = least_squares(design.as_ref(), z.as_ref(), 0.0, RankPolicy::Full)?;
    assert!(distance(found.weights.as_ref(), wanted.transpose()) < 1e-9);
    Ok(())
}

#[test]
fn near_duplicates_do_not_cost_digits() -> TestResult {
    // Pairs whose difference has 1e-11 of their variance: once one is gone, Σ of the other falls by eleven orders of
    // magnitude, and what is left of it is rounding unless it is computed anew.
    let mut rng = Rng::new(6);
    let n = 40;
    let mut rows = random(500, n, &mut rng);
    for i in 0..500 {
        for j in 0..n / 2 {
            rows[(i, n / 2 + j)] = rows[(i, j)] + 3e-6 * rows[(i, n / 2 + j)];
        }
    }
    let m = of_rows(&rows)?;
    let w = random(3, n + 1, &mut rng);
    let mut removal = Removal::new(&[consumer(&m, &w, units(n, 1))], ColumnDamping::relative(0.0))?;
    (0..n / 2).try_for_each(|unit| removal.remove(unit + n / 2 * (unit % 2)).map(drop))?;
    let mut before = increase(&m, &w, &removal.consumers()?[0], None, 0.0);
    while removal.left().len() > 4 {
        let (unit, cost) = removal.cheapest()?.ok_or("a unit")?;
        assert_eq!(removal.remove(unit)?, cost);
        let after = increase(&m, &w, &removal.consumers()?[0], None, 0.0);
        assert!((cost - (after - before)).abs() < 1e-6 * cost, "{cost:e} {:e}", after - before);
        before = after;
    }
    Ok(())
}
