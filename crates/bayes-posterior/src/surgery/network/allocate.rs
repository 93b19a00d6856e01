//! Widths for a budget: how much to remove where.

use super::curves::Curve;
use crate::error::{Error, Result};

/// What the small network may cost.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The largest size that is allowed, in the unit of the size function.
    pub most: f64,
    /// Widths are multiples of this, as far as a group has that many units.
    pub multiple: usize,
}

/// Widths that meet a budget.
#[derive(Clone, Debug)]
pub struct Allocation {
    /// One a group of the network.
    pub widths: Vec<usize>,
    /// The size there.
    pub size: f64,
    /// Σ of the costs of the curves there, in nats an example.
    pub cost: f64,
}

/// Jumps that are looked at from each width, in multiples: far ones see past a hump of a curve.
const JUMPS: [usize; 9] = [1, 2, 3, 4, 8, 16, 32, 64, 128];

/// Widths whose size is at most the budget's, at a small total cost.
///
/// From the `full` widths on, the jump of a group with the least rise of its curve for what it saves is taken, until the
/// budget is met; then units are given back where the largest fall of cost for its size still fits. `size` is any function
/// of all widths that falls with each: parameters, multiply-adds, bytes, or a measured time.
///
/// # Errors
/// Where the smallest widths are still too large ([`Error::Budget`]), and for sizes that are not finite.
pub fn allocate(
    curves: &[Curve],
    full: &[usize],
    mut size: impl FnMut(&[usize]) -> f64,
    budget: Budget,
) -> Result<Allocation> {
    let multiple = budget.multiple.max(1);
    let mut widths = full.to_vec();
    let mut measured = |widths: &[usize]| {
        let size = size(widths);
        crate::checks::computed("the size of a network", size)
    };
    let mut now = measured(&widths)?;
    let smallest: Vec<usize> = at_floor(curves, full, multiple);
    let least = measured(&smallest)?;
    if least > budget.most {
        return Err(Error::Budget { most: budget.most, least, full: now });
    }
    while now > budget.most {
        let mut best: Option<(f64, usize, usize, f64)> = None;
        for curve in curves {
            let width = widths[curve.group];
            for jump in JUMPS {
                let Some(target) = below(width, jump, multiple) else { break };
                let mut tried = widths.clone();
                tried[curve.group] = target;
                let then = measured(&tried)?;
                let saved = now - then;
                if saved <= 0.0 {
                    continue;
                }
                let slope = (curve.at(target) - curve.at(width)) / saved;
                if best.is_none_or(|(least, ..)| slope < least) {
                    best = Some((slope, curve.group, target, then));
                }
            }
        }
        let Some((_, group, target, then)) = best else {
            return Err(Error::Budget { most: budget.most, least: now, full: now });
        };
        widths[group] = target;
        now = then;
    }
    // Give back what still fits.
    loop {
        let mut best: Option<(f64, usize, usize, f64)> = None;
        for curve in curves {
            let width = widths[curve.group];
            let target = above(width, multiple).min(full[curve.group]);
            if target == width {
                continue;
            }
            let mut tried = widths.clone();
            tried[curve.group] = target;
            let then = measured(&tried)?;
            if then > budget.most {
                continue;
            }
            let gain = curve.at(width) - curve.at(target);
            let slope = gain / (then - now).max(f64::MIN_POSITIVE);
            if gain > 0.0 && best.is_none_or(|(most, ..)| slope > most) {
                best = Some((slope, curve.group, target, then));
            }
        }
        let Some((_, group, target, then)) = best else { break };
        widths[group] = target;
        now = then;
    }
    let cost = curves.iter().map(|curve| curve.at(widths[curve.group])).sum();
    Ok(Allocation { widths, size: now, cost })
}

impl Curve {
    /// The cost at a width.
    pub fn at(&self, width: usize) -> f64 {
        // costs[k] is that of k units gone; there are as many units as entries.
        let n_gone = self.costs.len().saturating_sub(width);
        self.costs.get(n_gone).or(self.costs.last()).copied().unwrap_or(0.0)
    }
}

/// The width that many multiples below, at least one multiple, or one unit of a group that has fewer.
fn below(width: usize, jump: usize, multiple: usize) -> Option<usize> {
    let steps = width.div_ceil(multiple).checked_sub(jump)?;
    let target = if steps == 0 { return None } else { steps * multiple };
    (target < width).then_some(target)
}

/// The next multiple.
fn above(width: usize, multiple: usize) -> usize {
    (width / multiple + 1) * multiple
}

fn at_floor(curves: &[Curve], full: &[usize], multiple: usize) -> Vec<usize> {
    let mut widths = full.to_vec();
    for curve in curves {
        widths[curve.group] = multiple.min(full[curve.group]);
    }
    widths
}
