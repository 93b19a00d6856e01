//! Widths for a budget: how much to remove where.

use super::curves::Curve;
use crate::error::{Error, Result};

/// What the small network may cost.
#[derive(Clone, Debug)]
pub struct Budget {
    /// The largest size that is allowed, in the unit of the size function.
    pub most: f64,
    /// Widths are multiples of this, as far as a group has that many units.
    pub multiple: usize,
    /// What must stay, for the message where the budget cannot be met: [`pinned_groups`](super::pinned_groups).
    pub pinned: Vec<String>,
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

/// Jumps that are looked at from each width, in multiples: far ones see past a hump of a curve or a step of a size; that to
/// the smallest width is looked at as well.
const JUMPS: [usize; 9] = [1, 2, 3, 4, 8, 16, 32, 64, 128];
/// After so many jumps all groups are looked at again; between, those whose jump was cheapest when it was last looked at.
const FRESH: usize = 16;
/// Jumps of an exchange: every small one, so that the end of a step of the size is met.
const EXCHANGES: [usize; 20] =
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 32, 64, 128];
/// Rounds of exchanges at most.
const ROUNDS: usize = 8;

/// Widths whose size is at most the budget's, at a small total cost.
///
/// From the `full` widths on, the jump of a group with the least rise of its curve for what it saves is taken, until the
/// budget is met; then units are given back where the largest fall of cost for its size still fits, and exchanged between
/// two groups as long as that helps. `size` is any function of all widths that falls with each, perhaps in steps:
/// parameters, multiply-adds, bytes, or a measured time.
///
/// # Errors
/// Where the smallest widths are still too large ([`Error::Budget`]), and for sizes that are not finite.
pub fn allocate(
    curves: &[Curve],
    full: &[usize],
    size: impl FnMut(&[usize]) -> f64,
    budget: &Budget,
) -> Result<Allocation> {
    if let Some(curve) = curves.iter().find(|curve| curve.group >= full.len()) {
        let (what, index, n) = ("group of a curve", curve.group, full.len());
        return Err(core_tensors::Error::Index { what, index, n }.into());
    }
    let multiple = budget.multiple.max(1);
    let mut at = At { curves, full, multiple, size, widths: full.to_vec(), now: 0.0 };
    at.now = at.measured()?;
    let whole = at.now;
    let floors: Vec<usize> = curves.iter().map(|curve| multiple.min(full[curve.group])).collect();
    for (curve, &floor) in curves.iter().zip(&floors) {
        at.widths[curve.group] = floor;
    }
    let least = at.measured()?;
    if least > budget.most || budget.most.is_nan() {
        let (most, pinned) = (budget.most, budget.pinned.clone());
        return Err(Error::Budget { most, least, full: whole, pinned });
    }
    at.widths = full.to_vec();
    at.narrow(&floors, budget.most)?;
    at.give_back(budget.most)?;
    at.exchange(budget.most)?;
    let cost = curves.iter().map(|curve| curve.at(at.widths[curve.group])).sum();
    Ok(Allocation { widths: at.widths, size: at.now, cost })
}

/// Widths on their way.
struct At<'a, F> {
    curves: &'a [Curve],
    full: &'a [usize],
    multiple: usize,
    size: F,
    widths: Vec<usize>,
    now: f64,
}

/// Another width of a group.
#[derive(Clone, Copy)]
struct Jump {
    /// The change of cost by the change of size.
    slope: f64,
    target: usize,
    /// The size there.
    then: f64,
}

impl<F: FnMut(&[usize]) -> f64> At<'_, F> {
    fn measured(&mut self) -> Result<f64> {
        crate::checks::computed("the size of a network", (self.size)(&self.widths))
    }

    /// The size with another width of a group.
    fn with(&mut self, group: usize, target: usize) -> Result<f64> {
        let width = std::mem::replace(&mut self.widths[group], target);
        let then = self.measured();
        self.widths[group] = width;
        then
    }

    /// Takes jumps until the size is met. What was found for a group holds until it is looked at again: where sizes are
    /// products of widths a jump saves less the narrower the others are, so that it is then too cheap and is looked at first.
    fn narrow(&mut self, floors: &[usize], most: f64) -> Result<()> {
        let mut jumps: Vec<Option<Jump>> = vec![None; self.curves.len()];
        let mut n_left = 0;
        while self.now > most {
            if n_left == 0 {
                for (c, jump) in jumps.iter_mut().enumerate() {
                    *jump = self.cheapest(c, floors[c])?;
                }
                n_left = FRESH;
            }
            let Some(c) = least(&jumps) else {
                // No width alone makes a difference any more: a step of the size spans several groups.
                for (c, &floor) in floors.iter().enumerate() {
                    self.widths[self.curves[c].group] = floor;
                }
                self.now = self.measured()?;
                break;
            };
            jumps[c] = self.cheapest(c, floors[c])?;
            if let (Some(jump), true) = (jumps[c], least(&jumps) == Some(c)) {
                self.widths[self.curves[c].group] = jump.target;
                self.now = jump.then;
                jumps[c] = self.cheapest(c, floors[c])?;
                n_left -= 1;
            }
        }
        Ok(())
    }

    /// The jump of a group with the least rise of its curve for what it saves.
    fn cheapest(&mut self, c: usize, floor: usize) -> Result<Option<Jump>> {
        let curve = &self.curves[c];
        let width = self.widths[curve.group];
        let targets = JUMPS.iter().map_while(|&jump| below(width, jump, self.multiple));
        let mut targets: Vec<usize> = targets.collect();
        if targets.last().is_none_or(|&last| last > floor) && floor < width {
            targets.push(floor);
        }
        let mut best: Option<Jump> = None;
        for target in targets {
            let then = self.with(curve.group, target)?;
            let saved = self.now - then;
            let slope = (curve.at(target) - curve.at(width)) / saved;
            if saved > 0.0 && best.is_none_or(|best| slope < best.slope) {
                best = Some(Jump { slope, target, then });
            }
        }
        Ok(best)
    }

    /// Widens the groups where it helps most for its size, as long as it fits.
    fn give_back(&mut self, most: f64) -> Result<()> {
        loop {
            let mut best: Option<(Jump, usize)> = None;
            for curve in self.curves {
                let width = self.widths[curve.group];
                let target = above(width, self.multiple).min(self.full[curve.group]);
                if target == width {
                    continue;
                }
                let then = self.with(curve.group, target)?;
                let gain = curve.at(width) - curve.at(target);
                let slope = gain / (then - self.now).max(f64::MIN_POSITIVE);
                let is_best = best.is_none_or(|(best, _)| slope > best.slope);
                if then <= most && gain > 0.0 && is_best {
                    best = Some((Jump { slope, target, then }, curve.group));
                }
            }
            let Some((jump, group)) = best else { return Ok(()) };
            self.widths[group] = jump.target;
            self.now = jump.then;
        }
    }
}

impl<F: FnMut(&[usize]) -> f64> At<'_, F> {
    /// Narrows one group for the sake of another where that costs less and fits.
    fn exchange(&mut self, most: f64) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut is_better = false;
            for from in self.curves {
                for to in self.curves.iter().filter(|to| to.group != from.group) {
                    is_better |= self.exchange_between(from, to, most)?;
                }
            }
            if !is_better {
                break;
            }
            self.give_back(most)?;
        }
        Ok(())
    }

    /// The first pair of jumps, down and up, that costs less and fits; whether there was one.
    fn exchange_between(&mut self, from: &Curve, to: &Curve, most: f64) -> Result<bool> {
        let (old, narrow) = (self.widths[from.group], self.widths[to.group]);
        let (full, multiple) = (self.full[to.group], self.multiple);
        for down in EXCHANGES {
            let Some(target) = below(old, down, multiple) else { break };
            let loss = from.at(target) - from.at(old);
            for up in EXCHANGES {
                let wide = (above(narrow, multiple) + (up - 1) * multiple).min(full);
                let gain = to.at(narrow) - to.at(wide);
                // A rounding is no gain: exchanges would go on for ever.
                if wide == narrow || gain <= loss + 1e-12 * to.at(narrow) {
                    continue;
                }
                self.widths[from.group] = target;
                let then = self.with(to.group, wide)?;
                if then <= most {
                    (self.widths[to.group], self.now) = (wide, then);
                    return Ok(true);
                }
                self.widths[from.group] = old;
                // Wider ones are larger still.
                break;
            }
        }
        Ok(false)
    }
}

/// The group whose jump is cheapest.
fn least(jumps: &[Option<Jump>]) -> Option<usize> {
    let known = jumps.iter().enumerate().filter_map(|(c, jump)| Some((c, (*jump)?.slope)));
    known.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(c, _)| c)
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
