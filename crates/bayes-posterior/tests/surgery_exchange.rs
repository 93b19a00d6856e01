//! Exchanging units against trying every pair by single removals.

use bayes_posterior::surgery::{
    Bias, ColumnDamping, Consumer, Greedy, Moments, Removal, SecondMoments, exchange, greedy,
};
use core_tensors::Rng;
use core_tensors::linalg::product;
use faer::Mat;

type TestResult = Result<(), Box<dyn std::error::Error>>;

/// Two roundings of sums of some hundred terms, conditioned by 1e4.
const TOLERANCE: f64 = 1e-8;

fn random(m: usize, n: usize, rng: &mut Rng) -> Mat<f64> {
    Mat::from_fn(m, n, |_, _| rng.normal())
}

/// Correlated columns with means.
fn moments(n: usize, rng: &mut Rng) -> bayes_posterior::Result<SecondMoments> {
    let h = product(random(90, n, rng).as_ref(), random(n, n, rng).as_ref());
    let mut moments = Moments::new(n);
    let rows: Vec<f64> =
        (0..90).flat_map(|i| (0..n).map(move |j| (i, j))).map(|at| h[at] + 0.5).collect();
    moments.add_rows(&rows)?;
    moments.finish()
}

/// The sum of the costs of all that is not kept, one removal after another.
fn loss(c: &[Consumer], damping: ColumnDamping, kept: &[usize]) -> bayes_posterior::Result<f64> {
    let mut removal = Removal::new(c, damping)?;
    let gone = (0..removal.n_units()).filter(|unit| !kept.contains(unit)).collect::<Vec<_>>();
    gone.into_iter().map(|unit| removal.remove(unit)).sum()
}

fn exchanged(kept: &[usize], removed: usize, added: usize) -> Vec<usize> {
    let stay = kept.iter().copied().filter(|&unit| unit != removed);
    let mut kept: Vec<usize> = stay.chain([added]).collect();
    kept.sort_unstable();
    kept
}

#[test]
fn every_exchange_is_the_best_of_all_pairs_and_the_last_leaves_none() -> TestResult {
    let mut n_exchanges = 0;
    for seed in 0..4 {
        let mut rng = Rng::new(seed);
        // A dense consumer with a bias and G; one of two columns a unit without bias, and a column that no unit owns.
        let (a, b) = (moments(8, &mut rng)?, moments(17, &mut rng)?);
        let (u, v) = (random(3, 9, &mut rng), random(2, 17, &mut rng));
        let half = random(3, 3, &mut rng);
        let g = product(half.as_ref(), half.transpose());
        let dense = Consumer {
            moments: &a,
            weights: u.as_ref(),
            units: (0..8).map(|unit| vec![unit]).collect(),
            output: Some(g),
            bias: Bias::LastColumn,
        };
        let units = (0..8).map(|unit| vec![unit, 16 - unit]).collect();
        let bias = Bias::Absent;
        let paired = Consumer { moments: &b, weights: v.as_ref(), units, output: None, bias };
        for c in [vec![dense.clone()], vec![paired.clone()], vec![dense, paired]] {
            let damping = ColumnDamping::relative(1e-4);
            let mut kept = vec![0, 1, 2];
            let all = exchange(&c, damping, &kept, 100)?;
            for step in &all.exchanges {
                let before = loss(&c, damping, &kept)?;
                let mut best = f64::INFINITY;
                for &removed in &kept {
                    for added in (0..8).filter(|unit| !kept.contains(unit)) {
                        best = best.min(loss(&c, damping, &exchanged(&kept, removed, added))?);
                    }
                }
                kept = exchanged(&kept, step.removed, step.added);
                let after = loss(&c, damping, &kept)?;
                assert!((after - best).abs() < TOLERANCE * before, "{after} {best}");
                assert!((before - after - step.gain).abs() < TOLERANCE * before, "{step:?}");
                n_exchanges += 1;
            }
            assert_eq!(kept, all.kept);
            let least = loss(&c, damping, &kept)?;
            for &removed in &kept {
                for added in (0..8).filter(|unit| !kept.contains(unit)) {
                    let other = loss(&c, damping, &exchanged(&kept, removed, added))?;
                    assert!(other > least * (1.0 - TOLERANCE), "{other} {least}");
                }
            }
            assert_eq!(exchange(&c, damping, &all.kept, 100)?.exchanges, []);
            assert_eq!(exchange(&c, damping, &[0, 1, 2], 0)?.kept, [0, 1, 2]);
        }
    }
    assert!(n_exchanges > 8, "{n_exchanges}");
    Ok(())
}

#[test]
fn exchanges_never_lose_on_greedy_choices_and_win_on_some() -> TestResult {
    let mut n_better = 0;
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let (m, w) = (moments(24, &mut rng)?, random(6, 25, &mut rng));
        let c = [Consumer {
            moments: &m,
            weights: w.as_ref(),
            units: (0..24).map(|unit| vec![unit]).collect(),
            output: None,
            bias: Bias::LastColumn,
        }];
        let damping = ColumnDamping::relative(1e-6);
        let options = Greedy { widths: vec![4], n_examples: 1.0, dependencies: false };
        let path = greedy(Removal::new(&c, damping)?, &options)?;
        let spent: f64 = path.steps.iter().map(|step| step.cost).sum();
        let all = exchange(&c, damping, &path.snapshots[0].kept, 100)?;
        let gained: f64 = all.exchanges.iter().map(|step| step.gain).sum();
        let now = loss(&c, damping, &all.kept)?;
        assert!((spent - gained - now).abs() < TOLERANCE * spent);
        assert!(all.exchanges.iter().all(|step| step.gain > 0.0));
        n_better += usize::from(!all.exchanges.is_empty());
    }
    assert!(n_better > 2, "{n_better}");
    Ok(())
}

#[test]
fn exchange_refuses_units_that_are_not_there() -> TestResult {
    let mut rng = Rng::new(1);
    let (m, w) = (moments(3, &mut rng)?, random(1, 4, &mut rng));
    let units = (0..3).map(|unit| vec![unit]).collect();
    let bias = Bias::LastColumn;
    let c = [Consumer { moments: &m, weights: w.as_ref(), units, output: None, bias }];
    let damping = ColumnDamping::relative(1e-6);
    assert!(exchange(&c, damping, &[], 1).is_err());
    assert!(exchange(&c, damping, &[0, 3], 1).is_err());
    assert_eq!(exchange(&c, damping, &[0, 1, 2], 1)?.kept, [0, 1, 2]);
    Ok(())
}
