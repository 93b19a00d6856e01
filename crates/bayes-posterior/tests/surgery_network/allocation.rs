//! Widths for a budget, against all widths by brute force.

use std::time::Instant;

use bayes_posterior::surgery::network::{Allocation, Budget, Curve, Surgery, allocate, curves};
use core_tensors::Rng;

use crate::growing::Outcome;
use crate::naive::{calibration, case};

type TestResult = Outcome<()>;

fn budget(most: f64, multiple: usize) -> Budget {
    Budget { most, multiple, pinned: Vec::new() }
}

/// Rising convex costs of n units: sums of rising steps.
fn convex(group: usize, n: usize, rng: &mut Rng) -> Curve {
    let (scale, power) = (rng.uniform() + 0.2, 1.0 + 2.0 * rng.uniform());
    let mut costs = vec![0.0];
    let mut sum = 0.0;
    for k in 1..n {
        sum += scale * (k as f64 / n as f64).powf(power) * (1.0 + 0.01 * rng.uniform());
        costs.push(sum);
    }
    Curve { group, name: format!("g{group}"), costs }
}

/// The least cost of all widths that fit.
fn brute(
    curves: &[Curve],
    full: &[usize],
    size: &dyn Fn(&[usize]) -> f64,
    most: f64,
    multiple: usize,
) -> f64 {
    let mut best = f64::INFINITY;
    let choices = |g: usize| -> Vec<usize> {
        let some = (1..=full[g]).filter(|w| w.is_multiple_of(multiple) || *w == full[g]);
        some.collect()
    };
    let mut widths = vec![full.to_vec()];
    for curve in curves {
        let g = curve.group;
        let with = |w: &Vec<usize>| {
            let one = |width: usize| {
                let mut w = w.clone();
                w[g] = width;
                w
            };
            choices(g).into_iter().map(one).collect::<Vec<_>>()
        };
        widths = widths.iter().flat_map(with).collect();
    }
    for w in widths {
        if size(&w) <= most {
            best = best.min(curves.iter().map(|c| c.at(w[c.group])).sum::<f64>());
        }
    }
    best
}

type Size = Box<dyn Fn(&[usize]) -> f64>;

fn sizes() -> Vec<(&'static str, Size)> {
    let product = |w: &[usize]| {
        let w: Vec<f64> = w.iter().map(|&w| w as f64).collect();
        w.windows(2).map(|p| p[0] * p[1]).sum::<f64>() + 7.0 * w[0] + 3.0 * w[w.len() - 1]
    };
    let steps = |w: &[usize]| {
        let tile = |w: usize| w.div_ceil(8) as f64;
        1.0 + w.iter().map(|&w| tile(w)).sum::<f64>() + 0.1 * tile(w[0]) * tile(w[1])
    };
    vec![
        ("separable", Box::new(|w: &[usize]| 5.0 * w[0] as f64 + 3.0 * w[1] as f64 + w[2] as f64)),
        ("products", Box::new(product)),
        ("steps", Box::new(steps)),
    ]
}

fn checked(
    found: &Allocation,
    curves: &[Curve],
    full: &[usize],
    size: &dyn Fn(&[usize]) -> f64,
    (most, multiple): (f64, usize),
) {
    assert!(found.size <= most && found.size == size(&found.widths), "{found:?}");
    let cost: f64 = curves.iter().map(|c| c.at(found.widths[c.group])).sum();
    assert_eq!(found.cost, cost);
    for (&width, &full) in found.widths.iter().zip(full) {
        assert!((1..=full).contains(&width));
        assert!(width.is_multiple_of(multiple) || width == full, "{found:?}");
    }
}

#[test]
fn costs_are_near_the_best_by_brute_force() -> TestResult {
    let (mut ratios, mut worst) = (Vec::new(), 0.0f64);
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let full = [21 + rng.below(10), 12 + rng.below(20), 9 + rng.below(12), 5];
        let curves: Vec<Curve> = (0..3).map(|g| convex(g, full[g], &mut rng)).collect();
        for (name, size) in sizes() {
            for share in [0.2, 0.35, 0.5, 0.8] {
                for multiple in [1, 4] {
                    let most = share * size(&full);
                    let wanted = brute(&curves, &full, &size, most, multiple);
                    let found = allocate(&curves, &full, &size, &budget(most, multiple));
                    if wanted.is_infinite() {
                        assert!(found.is_err(), "{name} {share}");
                        continue;
                    }
                    let found = found?;
                    checked(&found, &curves, &full, &size, (most, multiple));
                    let ratio = (found.cost + 1e-12) / (wanted + 1e-12);
                    ratios.push(ratio);
                    worst = worst.max(ratio);
                    assert!(ratio < 1.8, "{name} {share} {multiple}: {found:?} {wanted}");
                }
            }
        }
    }
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    assert!(mean < 1.08, "{mean} {worst}");
    Ok(())
}

#[test]
fn budgets_are_used_up_where_units_are_fine() -> TestResult {
    let mut rng = Rng::new(3);
    let full = [200, 300, 150];
    let curves: Vec<Curve> = (0..3).map(|g| convex(g, full[g], &mut rng)).collect();
    let size = |w: &[usize]| (50 * w[0] + w[0] * w[1] + w[1] * w[2] + 10 * w[2]) as f64;
    for share in [0.1, 0.25, 0.5, 0.75, 0.99] {
        let most = share * size(&full);
        let found = allocate(&curves, &full, size, &budget(most, 1))?;
        assert!(found.size <= most && found.size > 0.98 * most, "{share} {}", found.size / most);
    }
    // Nothing to do.
    let found = allocate(&curves, &full, size, &budget(size(&full), 8))?;
    assert_eq!((found.widths.as_slice(), found.cost), (&full[..], 0.0));
    Ok(())
}

#[test]
fn groups_keep_a_unit_or_a_multiple() -> TestResult {
    let mut rng = Rng::new(4);
    let full = [40, 3, 9];
    let curves: Vec<Curve> = (0..2).map(|g| convex(g, full[g], &mut rng)).collect();
    let size = |w: &[usize]| w.iter().sum::<usize>() as f64;
    // Group 2 has no curve: it stays, whatever it costs.
    let found = allocate(&curves, &full, size, &budget(11.0, 1))?;
    assert_eq!(found.widths, [1, 1, 9]);
    let found = allocate(&curves, &full, size, &budget(20.0, 8))?;
    assert_eq!(found.widths, [8, 3, 9]);
    let pinned = vec!["`c` (9 units: softmax)".to_owned(), "`d` (2 units: output)".to_owned()];
    let tight = Budget { most: 10.0, multiple: 1, pinned };
    let error = allocate(&curves, &full, size, &tight).err().ok_or("an error")?.to_string();
    let words = "a budget of 10: smallest reachable: 11, 21.2 % of 52, because these must stay: \
        `c` (9 units: softmax), `d` (2 units: output)";
    assert_eq!(error, words);
    Ok(())
}

#[test]
fn long_plateaus_of_a_size_are_crossed() -> TestResult {
    let mut rng = Rng::new(5);
    let full = [1000, 1000];
    let curves: Vec<Curve> = (0..2).map(|g| convex(g, full[g], &mut rng)).collect();
    // A time that falls at 500 units only, and one that falls when both groups are small.
    let one = |w: &[usize]| w.iter().map(|&w| if w > 500 { 2.0 } else { 1.0 }).sum::<f64>();
    let both = |w: &[usize]| if w.iter().all(|&w| w <= 500) { 1.0 } else { 2.0 };
    let found = allocate(&curves, &full, one, &budget(3.0, 1))?;
    assert!(found.widths.contains(&500) && found.widths.contains(&1000), "{found:?}");
    let found = allocate(&curves, &full, one, &budget(2.0, 1))?;
    assert_eq!(found.widths, [500, 500]);
    let found = allocate(&curves, &full, both, &budget(1.0, 1))?;
    assert_eq!(found.widths, [500, 500]);
    Ok(())
}

/// The largest λ-bound min Σ (cost + λ size) − λ most of sizes that are sums over the groups: no widths can cost less.
fn bound(curves: &[Curve], each: &[f64], most: f64) -> f64 {
    let at = |lambda: f64| {
        let of = |curve: &Curve| {
            let widths = 1..=curve.costs.len();
            let cost = |w: usize| curve.at(w) + lambda * each[curve.group] * w as f64;
            widths.map(cost).fold(f64::INFINITY, f64::min)
        };
        curves.iter().map(of).sum::<f64>() - lambda * most
    };
    (0..4000).map(|k| at(10f64.powf(-9.0 + k as f64 / 400.0))).fold(0.0, f64::max)
}

#[test]
fn wide_groups_of_unlike_units_meet_the_bound() -> TestResult {
    for seed in 0..6 {
        let mut rng = Rng::new(100 + seed);
        let full = [800, 500, 900, 700, 300];
        let curves: Vec<Curve> = (0..5).map(|g| convex(g, full[g], &mut rng)).collect();
        let each = [900.0, 3.0, 50.0, 300.0, 10.0];
        let size = |w: &[usize]| w.iter().zip(each).map(|(&w, each)| w as f64 * each).sum::<f64>();
        for share in [0.1, 0.3, 0.6, 0.9] {
            let most = share * size(&full);
            let found = allocate(&curves, &full, size, &budget(most, 1))?;
            let least = bound(&curves, &each, most);
            assert!(found.cost < 1.02 * least, "{seed} {share}: {} {least}", found.cost);
        }
    }
    Ok(())
}

#[test]
fn twelve_wide_groups_take_less_than_a_second() -> TestResult {
    let mut rng = Rng::new(6);
    let full = [1536; 12];
    let curves: Vec<Curve> = (0..12).map(|g| convex(g, full[g], &mut rng)).collect();
    let size = |w: &[usize]| 1e6 + w.iter().map(|&w| 769.0 * w as f64).sum::<f64>();
    for share in [0.3, 0.6] {
        let most = share * size(&full);
        let start = Instant::now();
        let found = allocate(&curves, &full, size, &budget(most, 1))?;
        let took = start.elapsed();
        assert!(found.size > 0.98 * most);
        assert!(took.as_secs_f64() < 1.0, "{took:?}");
    }
    Ok(())
}

#[test]
fn sizes_of_a_graph_are_met() -> TestResult {
    for name in ["convolutional", "residual", "encoder"] {
        let net = case(name, 0)?;
        let examples = calibration(&net.examples(1, 60)?, 5)?;
        let curves = curves(&net.network(), &examples, &Surgery::plain(), None)?;
        let sizes = net.axes.sizes(&net.graph);
        let full = sizes.n_parameters(&net.full());
        let found =
            allocate(&curves, &net.full(), |w| sizes.n_parameters(w), &budget(0.7 * full, 1))?;
        let x = net.examples(1, 60)?;
        let done = bayes_posterior::surgery::network::operate(
            &net.network(),
            &calibration(&x, 5)?,
            &found.widths,
            &Surgery::plain(),
            None,
            None,
        )?;
        let n = done.graph.layout().n_parameters() as f64;
        assert_eq!(n, found.size, "{name}");
        assert!(n <= 0.7 * full, "{n} {full}");
    }
    Ok(())
}
