//! Exchanging units that stay for units that went, each exchange exact, while the reconstruction gains.

use core_tensors::linalg::product;
use faer::Mat;

use super::algebra::{half_solved, small_cholesky};
use super::removal::{ColumnDamping, Consumer, Removal};
use super::side::Side;
use crate::checks;
use crate::error::{Error, Result};

/// A variance given the units that stay, below this share of the unit's own, is rounding: the unit has nothing to add.
const NOTHING_NEW: f64 = 1e-12;
/// A gain below this share of the whole power of the outputs is rounding.
const ROUNDING: f64 = 1e-9;

/// One unit that takes the place of another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exchange {
    /// The unit that goes.
    pub removed: usize,
    /// The unit that comes back.
    pub added: usize,
    /// By how much the costs of all that is gone fall, in the unit of [`Removal::cost`]; positive.
    pub gain: f64,
}

/// What [`exchange`] comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Exchanged {
    /// The units that stay, ascending.
    pub kept: Vec<usize>,
    /// Every exchange, first one first.
    pub exchanges: Vec<Exchange>,
}

/// Exchanges one unit of `kept` for one that is gone, the best of all pairs each time, until no pair gains or `most` are done.
///
/// With Ā = A + ε over the columns (the bias eliminated), G = L Lᵀ, T = Lᵀ W and S the columns that stay, what is lost is
/// ½ tr(T Ā Tᵀ) − ½ tr(T Ā_·S (Ā_SS)⁻¹ Ā_S· Tᵀ), the sum of the greedy costs. With Q = (Ā_SS)⁻¹, B = Q Ā_S· Tᵀ and
/// R_i = Ā_ii − Ā_iS Q Ā_Si, unit i adds
///
/// E_i = R_i^(−½) (Ā_i· Tᵀ − Ā_iS B), C_i = Q Ā_Si R_i^(−½)
///
/// gain = ½ ‖E_i‖², B ← B − C_i E_i, Q ← Q + C_i C_iᵀ
///
/// and unit J of S then goes at ½ tr(B_Jᵀ (Q_JJ)⁻¹ B_J). Greedy removal never looks back: where widths are small an
/// exchange or ten is worth as much as a better curvature. An exchange costs O(|S|³ + |S|²n) and all pairs O(|S| n o).
/// Kept units of different widths are no longer nested. Weights of the result: [`super::compensate`].
pub fn exchange(
    consumers: &[Consumer],
    damping: ColumnDamping,
    kept: &[usize],
    most: usize,
) -> Result<Exchanged> {
    checks::at_least("units that stay", 1, kept.len())?;
    let removal = Removal::without(consumers, damping, kept)?;
    let mut kept = removal.left();
    let lost: Vec<Lost> = removal.sides.iter().map(Lost::new).collect();
    let power: f64 = lost.iter().map(|lost| lost.power).sum();
    let mut exchanges = Vec::new();
    while exchanges.len() < most {
        let gone: Vec<usize> =
            (0..removal.n_units()).filter(|unit| kept.binary_search(unit).is_err()).collect();
        // Change of the loss for every pair, kept unit by kept unit.
        let mut changes = vec![0.0; kept.len() * gone.len()];
        for lost in &lost {
            lost.add_changes(&kept, &gone, &mut changes)?;
        }
        let Some((at, &change)) = changes.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1))
        else {
            break;
        };
        if change >= -ROUNDING * power {
            break;
        }
        let (removed, added) = (kept[at / gone.len()], gone[at % gone.len()]);
        exchanges.push(Exchange { removed, added, gain: -change });
        kept.retain(|&unit| unit != removed);
        let place = kept.partition_point(|&unit| unit < added);
        kept.insert(place, added);
    }
    Ok(Exchanged { kept, exchanges })
}

/// The quadratic of one consumer.
struct Lost<'a> {
    side: &'a Side,
    /// T Ā, (r, n).
    explained: Mat<f64>,
    /// ½ tr(T Ā Tᵀ).
    power: f64,
}

impl<'a> Lost<'a> {
    fn new(side: &'a Side) -> Self {
        let all: Vec<usize> = (0..side.given.kernel.nrows()).collect();
        let w = side.given.original.as_ref();
        let weighted = match &side.given.root {
            Some(root) => product(root.as_ref(), w),
            None => w.to_owned(),
        };
        let explained = product(weighted.as_ref(), side.damped(&all, &all).as_ref());
        let power = 0.5
            * (0..all.len()).map(|j| explained.col(j).transpose() * weighted.col(j)).sum::<f64>();
        Self { side, explained, power }
    }

    /// Adds the change of the loss where a unit of `kept` (rows) goes for a unit of `gone` (columns).
    fn add_changes(&self, kept: &[usize], gone: &[usize], changes: &mut [f64]) -> Result<()> {
        let units = &self.side.given.units;
        let (stay, of_kept) = places(units, kept);
        let (rest, of_gone) = places(units, gone);
        // Columns that no unit owns stay as well.
        let mut is_owned = vec![false; self.side.given.kernel.nrows()];
        units.iter().flatten().for_each(|&column| is_owned[column] = true);
        let stay: Vec<usize> =
            stay.into_iter().chain((0..is_owned.len()).filter(|&j| !is_owned[j])).collect();
        let r = self.explained.nrows();
        let columns = |of: &[usize]| Mat::from_fn(r, of.len(), |i, j| self.explained[(i, of[j])]);
        let q = self.side.factor(&stay)?.inverse();
        let against = self.side.damped(&stay, &rest); // (s, m)
        let reached = product(q.as_ref(), against.as_ref()); // (s, m)
        let b = product(columns(&stay).as_ref(), q.as_ref()); // (r, s)
        let mut missing = columns(&rest); // (r, m)
        missing -= product(b.as_ref(), against.as_ref());
        for (i, added) in of_gone.iter().enumerate() {
            let own = Mat::from_fn(added.len(), added.len(), |x, y| {
                let (x, y) = (added[x], added[y]);
                let explained = against.col(x).transpose() * reached.col(y);
                self.side.damped(&[rest[x]], &[rest[y]])[(0, 0)] - explained
            });
            let Some(root) = root_of_new(&own, |x| {
                self.side.damped(&[rest[added[x]]], &[rest[added[x]]])[(0, 0)]
            }) else {
                (0..kept.len()).for_each(|j| changes[j * gone.len() + i] = f64::INFINITY);
                continue;
            };
            let e = half_solved(missing.as_ref(), added, &root); // (r, k)
            let c = half_solved(reached.as_ref(), added, &root); // (s, k)
            let gain = 0.5 * e.squared_norm_l2();
            for (j, removed) in of_kept.iter().enumerate() {
                let at = j * gone.len() + i;
                changes[at] += self.cost_after(&q, &b, &e, &c, removed)? - gain;
            }
        }
        Ok(())
    }

    /// ½ tr(B_Jᵀ (Q_JJ)⁻¹ B_J) once a unit is back.
    fn cost_after(
        &self,
        q: &Mat<f64>,
        b: &Mat<f64>,
        e: &Mat<f64>,
        c: &Mat<f64>,
        removed: &[usize],
    ) -> Result<f64> {
        let (k, added) = (removed.len(), 0..e.ncols());
        let block = (0..k * k).map(|at| {
            let (x, y) = (removed[at % k], removed[at / k]);
            q[(x, y)] + added.clone().map(|i| c[(x, i)] * c[(y, i)]).sum::<f64>()
        });
        let lower = small_cholesky(block.collect(), k).ok_or_else(|| Error::Refused {
            edit: "exchange of units".into(),
            reason: "the moments are singular: use a larger damping".into(),
        })?;
        let mut now = Mat::from_fn(b.nrows(), k, |x, y| b[(x, removed[y])]);
        for y in 0..k {
            for i in added.clone() {
                let share = c[(removed[y], i)];
                (0..b.nrows()).for_each(|x| now[(x, y)] -= share * e[(x, i)]);
            }
        }
        let all: Vec<usize> = (0..k).collect();
        Ok(0.5 * half_solved(now.as_ref(), &all, &lower).squared_norm_l2())
    }
}

/// The Cholesky factor of R_i unless that is rounding.
fn root_of_new(own: &Mat<f64>, before: impl Fn(usize) -> f64) -> Option<Vec<f64>> {
    let k = own.nrows();
    let lower = small_cholesky((0..k * k).map(|at| own[(at % k, at / k)]).collect(), k)?;
    let is_new = |x: usize| lower[x * k + x].powi(2) > NOTHING_NEW * before(x);
    (0..k).all(is_new).then_some(lower)
}

/// The columns of some units one after another, and where those of each stand.
fn places(units: &[Vec<usize>], some: &[usize]) -> (Vec<usize>, Vec<Vec<usize>>) {
    let columns: Vec<usize> = some.iter().flat_map(|&unit| units[unit].iter().copied()).collect();
    let mut from = 0;
    let each = some.iter().map(|&unit| {
        let to = from + units[unit].len();
        (std::mem::replace(&mut from, to)..to).collect()
    });
    (columns, each.collect())
}
