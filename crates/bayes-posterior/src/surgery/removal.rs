//! Removing units from all consumers that read them, one by one, each removal exact given those before.

use faer::{Mat, MatRef};

use super::algebra::symmetric_root;
use super::dependencies;
use super::moments::SecondMoments;
use super::order::Step;
use super::side::{Given, Side};
use crate::checks;
use crate::error::{Error, Result};

/// A linear map z = W \[h; 1\] that reads the units.
#[derive(Clone, Debug)]
pub struct Consumer<'a> {
    /// A of its own n columns.
    pub moments: &'a SecondMoments,
    /// W, (o, n), or (o, n + 1) with the bias last ([`Bias::LastColumn`]).
    pub weights: MatRef<'a, f64>,
    /// The columns of each unit, none twice; columns that no unit owns stay, and a unit may have none here.
    pub units: Vec<Vec<usize>>,
    /// G, (o, o), symmetric and positive semi-definite: the second moment of the gradient of −log p by z, or another weight
    /// of the outputs; `None` is the identity, and costs are then half a squared error.
    pub output: Option<Mat<f64>>,
    /// What takes the means of removed units up.
    pub bias: Bias,
}

/// Whether a consumer has a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// The last column of its weights.
    LastColumn,
    /// It has none, but the caller adds the one that comes out (or moves it into the batch norm that follows).
    Added,
    /// It has none and gets none: means stay, and what they leave is told as [`ConsumerWeights::offset`].
    Absent,
}

/// ε of (A + ε)⁻¹.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColumnDamping {
    /// ε ≥ 0 as a share of the mean diagonal of A (the 1 of the bias included).
    pub relative: f64,
    /// Whether the column of ones is damped as well; only for comparison with programs that do.
    pub on_bias: bool,
}

/// A consumer once units were removed.
#[derive(Clone, Debug)]
pub struct ConsumerWeights {
    /// The columns that are left, ascending.
    pub columns: Vec<usize>,
    /// W of these columns, (o, columns).
    pub weights: Mat<f64>,
    /// The bias, (o,), unless it is [`Bias::Absent`].
    pub bias: Option<Vec<f64>>,
    /// E (z − z̃), (o,): what the mean output still lacks; 0 up to rounding where an undamped bias takes it up.
    pub offset: Vec<f64>,
}

/// Σ and W of the consumers of some units, and the cost of removing each.
#[derive(Clone, Debug)]
pub struct Removal {
    pub(super) sides: Vec<Side>,
    bias: Vec<Bias>,
    on_bias: bool,
    is_left: Vec<bool>,
}

impl Consumer<'_> {
    /// Refuses sizes that do not fit, units that share a column, and numbers that are not finite.
    pub(super) fn check(&self) -> Result<()> {
        self.moments.check()?;
        let (n, has_bias) = (self.moments.n_columns(), self.bias == Bias::LastColumn);
        checks::length("columns of a consumer", n + usize::from(has_bias), self.weights.ncols())?;
        checks::at_least("outputs of a consumer", 1, self.weights.nrows())?;
        checks::entries("the weights of a consumer", self.weights)?;
        check_units(&self.units, n)
    }
}

impl ColumnDamping {
    /// A share of the mean diagonal, the bias undamped.
    pub fn relative(relative: f64) -> Self {
        Self { relative, on_bias: false }
    }

    fn check(&self) -> Result<()> {
        if self.relative >= 0.0 && self.relative.is_finite() {
            return Ok(());
        }
        let (name, value) = ("relative damping of columns".into(), self.relative);
        Err(Error::OutOfRange { name, value, range: "[0, ∞)" })
    }
}

impl Removal {
    /// All units in place. Refuses consumers of no or different numbers of units, sizes that do not fit, columns of two units,
    /// numbers that are not finite, and without damping an A that is singular.
    pub fn new(consumers: &[Consumer], damping: ColumnDamping) -> Result<Self> {
        Self::built(consumers, damping, Side::begun)
    }

    /// Some units gone at once, for the weights alone.
    pub(super) fn without(
        consumers: &[Consumer],
        damping: ColumnDamping,
        kept: &[usize],
    ) -> Result<Self> {
        let mut removal = Self::built(consumers, damping, |given| Ok(Side::placed(given)))?;
        let mut is_left = vec![false; removal.n_units()];
        for &unit in kept {
            removal.check_left(unit)?;
            is_left[unit] = true;
        }
        for unit in (0..is_left.len()).filter(|&unit| !is_left[unit]) {
            removal.sides.iter_mut().for_each(|side| side.forget(unit));
        }
        removal.is_left = is_left;
        Ok(removal)
    }

    /// All removals of a path at once, for the weights alone: dependent units first, without damping.
    pub(super) fn after(
        consumers: &[Consumer],
        damping: ColumnDamping,
        steps: &[Step],
    ) -> Result<Self> {
        let mut removal = Self::built(consumers, damping, |given| Ok(Side::placed(given)))?;
        for step in steps {
            removal.check_left(step.unit)?;
            removal.is_left[step.unit] = false;
        }
        let units = |dependent: bool| -> Vec<usize> {
            let of = steps.iter().filter(|step| step.is_dependent == dependent);
            of.map(|step| step.unit).collect()
        };
        let (dependent, others) = (units(true), units(false));
        for side in &mut removal.sides {
            if !dependent.is_empty() {
                dependencies::absorb(side, &dependent)?;
            }
            others.iter().for_each(|&unit| side.forget(unit));
        }
        Ok(removal)
    }

    fn built(
        consumers: &[Consumer],
        damping: ColumnDamping,
        begin: impl Fn(Given) -> Result<Side>,
    ) -> Result<Self> {
        damping.check()?;
        checks::at_least("consumers of the units", 1, consumers.len())?;
        let n_units = consumers[0].units.len();
        checks::at_least("units", 1, n_units)?;
        let mut sides = Vec::with_capacity(consumers.len());
        for consumer in consumers {
            checks::length("units of a consumer", n_units, consumer.units.len())?;
            sides.push(begin(given(consumer, damping)?)?);
        }
        let bias = consumers.iter().map(|c| c.bias).collect();
        Ok(Self { sides, bias, on_bias: damping.on_bias, is_left: vec![true; n_units] })
    }

    /// How many units there were.
    pub fn n_units(&self) -> usize {
        self.is_left.len()
    }

    /// The units that are left, ascending.
    pub fn left(&self) -> Vec<usize> {
        (0..self.n_units()).filter(|&unit| self.is_left[unit]).collect()
    }

    /// ½ Σ tr(W_Jᵀ G W_J (Σ_JJ)⁻¹) over the consumers: nats an example where G is a curvature; refuses a unit that is gone.
    pub fn cost(&self, unit: usize) -> Result<f64> {
        self.check_left(unit)?;
        Ok(self.sides.iter().map(|side| side.cost(unit)).sum())
    }

    /// The cheapest unit that is left (the first of equals) and its cost.
    ///
    /// A cost that has lost its digits is computed anew before it is believed.
    pub fn cheapest(&mut self) -> Result<Option<(usize, f64)>> {
        loop {
            let mut best = None;
            for unit in (0..self.n_units()).filter(|&unit| self.is_left[unit]) {
                let cost = self.sides.iter().map(|side| side.cost(unit)).sum::<f64>();
                if best.is_none_or(|(_, least)| cost < least) || !cost.is_finite() {
                    best = Some((unit, cost));
                }
                if !cost.is_finite() {
                    break;
                }
            }
            let Some((unit, _)) = best else { return Ok(None) };
            if !self.refresh(unit)? {
                return Ok(best);
            }
        }
    }

    /// Removes a unit from every consumer and returns its cost; O(n²) with n the columns that are left.
    pub fn remove(&mut self, unit: usize) -> Result<f64> {
        self.check_left(unit)?;
        self.refresh(unit)?;
        let cost = self.cost(unit)?;
        self.is_left[unit] = false;
        self.sides.iter_mut().try_for_each(|side| side.remove(unit))?;
        Ok(cost)
    }

    /// Removes at most `most` of the units that every consumer can rebuild exactly from those that stay: constants before a
    /// bias, duplicates, linear combinations. They cost 0 and go without damping; the function of the network stays.
    ///
    /// Which units of a dependent set go is decided by pivoting: those of the largest remaining variance stay. Where some
    /// consumer has no more rows than columns any column is a combination of the others on these rows, which says nothing
    /// about other rows: then only constants go.
    pub fn remove_dependencies(&mut self, most: usize) -> Result<Vec<usize>> {
        let mut gone = dependencies::find(&self.sides, &self.left())?;
        gone.truncate(most);
        if gone.is_empty() {
            return Ok(gone);
        }
        gone.iter().for_each(|&unit| self.is_left[unit] = false);
        for side in &mut self.sides {
            dependencies::absorb(side, &gone)?;
        }
        Ok(gone)
    }

    /// Every consumer as it is now, solved from A at once: the roundings of the single removals do not add up.
    pub fn consumers(&self) -> Result<Vec<ConsumerWeights>> {
        let each = self.sides.iter().zip(&self.bias);
        each.map(|(side, &bias)| finished(side, bias, side.solved()?, self.on_bias)).collect()
    }

    /// Every consumer with the columns of removed units dropped and nothing else changed.
    pub(super) fn uncompensated(&self) -> Vec<ConsumerWeights> {
        let each = self.sides.iter().zip(&self.bias);
        each.map(|(side, &bias)| {
            let columns = side.live_columns();
            let kept = |i: usize, j: usize| side.given.original[(i, columns[j])];
            let weights = Mat::from_fn(side.given.original.nrows(), columns.len(), kept);
            let offset = side.mean_change(&columns, weights.as_ref());
            let bias = (bias != Bias::Absent).then(|| side.given.bias.clone());
            ConsumerWeights { columns, weights, bias, offset }
        })
        .collect()
    }

    /// Computes the numbers of a unit anew where they have lost digits; whether it had to.
    fn refresh(&mut self, unit: usize) -> Result<bool> {
        let mut had_to = false;
        for side in self.sides.iter_mut().filter(|side| side.is_worn(unit)) {
            side.refresh()?;
            if side.is_worn(unit) {
                checks::computed("the cost of a unit", f64::NAN)?;
            }
            had_to = true;
        }
        Ok(had_to)
    }

    fn check_left(&self, unit: usize) -> Result<()> {
        match self.is_left.get(unit) {
            Some(true) => Ok(()),
            Some(false) => Err(Error::Refused {
                edit: format!("removal of unit {unit}"),
                reason: "it is gone already".into(),
            }),
            None => {
                let n = self.n_units();
                Err(core_tensors::Error::Index { what: "unit", index: unit, n }.into())
            }
        }
    }
}

fn finished(side: &Side, bias: Bias, weights: Mat<f64>, on_bias: bool) -> Result<ConsumerWeights> {
    let columns = side.live_columns();
    checks::entries("the weights that removal leaves", weights.as_ref())?;
    let mut offset = side.mean_change(&columns, weights.as_ref());
    let bias = (bias != Bias::Absent).then(|| {
        // With a damped column of ones a part of the mean stays.
        let share = if on_bias { 1.0 / (1.0 + side.given.damping) } else { 1.0 };
        let moved: Vec<f64> = offset.iter().map(|o| o * share).collect();
        offset.iter_mut().zip(&moved).for_each(|(o, m)| *o -= m);
        side.given.bias.iter().zip(&moved).map(|(b, m)| b + m).collect()
    });
    Ok(ConsumerWeights { columns, weights, bias, offset })
}

fn given(consumer: &Consumer, damping: ColumnDamping) -> Result<Given> {
    consumer.check()?;
    let Consumer { moments, weights, units, output, bias } = consumer;
    let (n, has_bias) = (moments.n_columns(), *bias == Bias::LastColumn);
    let root = match output {
        None => None,
        Some(g) => {
            checks::length("rows of an output weight", weights.nrows(), g.nrows())?;
            checks::length("columns of an output weight", weights.nrows(), g.ncols())?;
            checks::entries("an output weight", g.as_ref())?;
            Some(symmetric_root(g.as_ref())?)
        }
    };
    let epsilon = damping.relative * moments.scale();
    // What is left of the column of ones once it is conditioned on: nothing if it is not damped.
    let (of_means, damped_means) = match bias {
        Bias::Absent => (1.0, 0.0),
        _ if damping.on_bias => (0.0, epsilon / (1.0 + epsilon)),
        _ => (0.0, 0.0),
    };
    let mu = &moments.mean;
    let kernel = match of_means {
        0.0 => moments.covariance.clone(),
        _ => Mat::from_fn(n, n, |i, j| moments.covariance[(i, j)] + mu[i] * mu[j]),
    };
    let of_bias = |i: usize| if has_bias { weights[(i, n)] } else { 0.0 };
    Ok(Given {
        bias: (0..weights.nrows()).map(of_bias).collect(),
        original: weights.subcols(0, n).to_owned(),
        mean: mu.clone(),
        kernel,
        damping: epsilon,
        damped_means,
        n_rows: moments.n_rows,
        root,
        units: units.clone(),
    })
}

fn check_units(units: &[Vec<usize>], n: usize) -> Result<()> {
    let mut is_taken = vec![false; n];
    for unit in units {
        for &column in unit {
            match is_taken.get_mut(column) {
                Some(taken) if !*taken => *taken = true,
                Some(_) => {
                    return Err(Error::Repeated { what: "columns of units", value: column });
                }
                None => {
                    return Err(
                        core_tensors::Error::Index { what: "column", index: column, n }.into()
                    );
                }
            }
        }
    }
    Ok(())
}
