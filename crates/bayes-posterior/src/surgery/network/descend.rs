//! Widths for a loss that is measured: ever smaller networks in turn, until one loses too much.

use super::allocate::{Allocation, Budget, allocate};
use super::curves::Curve;
use crate::error::{Error, Result};

/// The sizes between the whole and the smallest that can be reached, each `ratio` of the one before, the smallest last.
///
/// # Errors
/// For a ratio outside (0, 1), or sizes that are not positive numbers with the smallest first.
pub fn descending_sizes(full: f64, least: f64, ratio: f64) -> Result<Vec<f64>> {
    let refuse =
        |name: &str, value, range| Err(Error::OutOfRange { name: name.to_owned(), value, range });
    if !(ratio > 0.0 && ratio < 1.0) {
        return refuse("ratio of two sizes", ratio, "(0, 1)");
    }
    if !(least > 0.0 && least.is_finite()) {
        return refuse("smallest size", least, "(0, ∞)");
    }
    if !(full >= least && full.is_finite()) {
        return refuse("largest size", full, "[smallest size, ∞)");
    }
    let sizes = std::iter::successors(Some(full * ratio), |size| Some(size * ratio));
    Ok(sizes.take_while(|&size| size > least).chain([least]).collect())
}

/// Allocations for ever smaller sizes, as long as each is accepted: the last is the smallest network that keeps enough.
///
/// `sizes` are tried in their order, which must not depend on the examples that `accept` judges by, and the first refusal ends
/// it. So if `accept` lets a network that loses too much pass with probability at most α, so does the whole descent: to end in
/// such a network the first of them must have passed. That is a test of hypotheses in a fixed sequence (Maurer, Hothorn and
/// Lehmacher 1995); a search for the smallest that passes has no such guarantee. Sizes that give the same widths as the one
/// before are passed over.
///
/// # Errors
/// As [`allocate`], with each of `sizes` in the place of [`Budget::most`]; and those of `accept`.
pub fn descend<E: From<Error>>(
    curves: &[Curve],
    full: &[usize],
    mut size: impl FnMut(&[usize]) -> f64,
    budget: &Budget,
    sizes: &[f64],
    mut accept: impl FnMut(&Allocation) -> std::result::Result<bool, E>,
) -> std::result::Result<Vec<Allocation>, E> {
    let mut accepted: Vec<Allocation> = Vec::new();
    for &most in sizes {
        let budget = Budget { most, ..budget.clone() };
        let next = allocate(curves, full, &mut size, &budget).map_err(E::from)?;
        let before = accepted.last().map_or(full, |last| &last.widths);
        if next.widths == before {
            continue;
        }
        if !accept(&next)? {
            break;
        }
        accepted.push(next);
    }
    Ok(accepted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(group: usize, costs: &[f64]) -> Curve {
        Curve { group, name: format!("group {group}"), costs: costs.to_vec() }
    }

    fn budget() -> Budget {
        Budget { most: f64::INFINITY, multiple: 1, pinned: Vec::new() }
    }

    fn sum(widths: &[usize]) -> f64 {
        widths.iter().sum::<usize>() as f64
    }

    #[test]
    fn sizes_fall_by_the_ratio_and_end_at_the_smallest() {
        assert_eq!(descending_sizes(16.0, 3.0, 0.5).unwrap(), [8.0, 4.0, 3.0]);
        assert_eq!(descending_sizes(16.0, 4.0, 0.5).unwrap(), [8.0, 4.0]);
        assert_eq!(descending_sizes(4.0, 4.0, 0.5).unwrap(), [4.0]);
        for (full, least, ratio) in [
            (4.0, 5.0, 0.5),
            (4.0, 0.0, 0.5),
            (4.0, 1.0, 1.0),
            (4.0, 1.0, 0.0),
            (f64::NAN, 1.0, 0.5),
        ] {
            assert!(descending_sizes(full, least, ratio).is_err());
        }
    }

    #[test]
    fn the_descent_ends_at_the_first_refusal_although_smaller_ones_would_pass() {
        // The second group is cheaper to narrow at first.
        let curves = [curve(0, &[0.0, 3.0, 7.0, 20.0]), curve(1, &[0.0, 1.0, 2.0, 9.0])];
        let mut tried = Vec::new();
        let found =
            descend::<Error>(&curves, &[4, 4], sum, &budget(), &[7.0, 6.0, 5.0, 4.0], |a| {
                tried.push(a.widths.clone());
                Ok(a.widths != [3, 2])
            })
            .unwrap();
        assert_eq!(tried, [vec![4, 3], vec![4, 2], vec![3, 2]]);
        assert_eq!(found.last().unwrap().widths, [4, 2]);
        assert_eq!(found.last().unwrap().cost, 2.0);
        let none = descend::<Error>(&curves, &[4, 4], sum, &budget(), &[7.0], |_| Ok(false));
        assert!(none.unwrap().is_empty());
    }

    #[test]
    fn sizes_between_two_networks_are_not_tried_twice() {
        let curves = [curve(0, &[0.0, 1.0, 2.0, 3.0])];
        let mut n = 0;
        let sizes = [3.9, 3.5, 3.0, 2.9, 2.5];
        let found = descend::<Error>(&curves, &[4], sum, &budget(), &sizes, |_| {
            n += 1;
            Ok(true)
        });
        assert_eq!((n, found.unwrap().len()), (2, 2));
    }

    #[test]
    fn a_test_at_level_alpha_ends_in_a_bad_network_with_probability_alpha_at_most() {
        // Network k of 20 is bad from k = 10 on; the test lets a bad one pass with probability .05, a good one with .9.
        let mut rng = core_tensors::Rng::new(0);
        let costs: Vec<f64> = (0..20).map(f64::from).collect();
        let sizes: Vec<f64> = (1..20).rev().map(f64::from).collect();
        let n = 4000;
        let n_bad = (0..n)
            .filter(|_| {
                let accept = |a: &Allocation| {
                    let p = if a.widths[0] <= 10 { 0.05 } else { 0.9 };
                    Ok(rng.uniform() < p)
                };
                let found =
                    descend::<Error>(&[curve(0, &costs)], &[20], sum, &budget(), &sizes, accept);
                found.unwrap().last().is_some_and(|last| last.widths[0] <= 10)
            })
            .count();
        // The standard error of a share of .05 is .0034.
        assert!((n_bad as f64 / f64::from(n)) < 0.06, "{n_bad}");
    }
}
