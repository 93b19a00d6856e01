//! The choice of the units of one group that go, over all its consumers.

use faer::Mat;

use super::super::{
    Bias, ColumnDamping, Compensation, Consumer, Greedy, HeldOut, Path, Removal, Score, Snapshot,
    Step, compensate, exchange, follow, greedy, order_by, scores,
};
use super::Order;
use super::operate::State;
use super::reading::{Reading, n_columns, read};
use super::report::GroupReport;
use crate::error::{Error, Result};
use crate::surgery::repair::change;
use core_tensors::Rng;

/// Columns that stay beyond which nothing is exchanged.
const MOST_EXCHANGED: usize = 128;

/// The consumers of a group, ready for removals.
pub(super) struct Choice {
    sides: Vec<SideOf>,
    producers: Vec<f64>,
}

/// One consumer over its columns that are left.
struct SideOf {
    map: usize,
    columns: Vec<usize>,
    /// Of each unit, among `columns`.
    units: Vec<Vec<usize>>,
    weights: Mat<f64>,
    bias: Bias,
    /// Fitted, held out, all.
    reading: [super::super::SecondMoments; 3],
    /// G with its floor, and without.
    output: Option<Mat<f64>>,
    curvature: Option<Mat<f64>>,
}

/// Which moments.
#[derive(Clone, Copy)]
enum Part {
    Fitted = 0,
    HeldOut = 1,
    All = 2,
}

impl Choice {
    /// Reads the inputs of all consumers; those of map `m` may be known.
    pub(super) fn of(state: &State, g: usize, m: usize, known: Option<Reading>) -> Result<Self> {
        let axes = state.network.axes;
        let (group, graph) = (&axes.groups()[g], state.network.graph);
        let mut known = known;
        let mut sides = Vec::with_capacity(group.consumers.len());
        for consumer in &group.consumers {
            let Some(map) = axes.maps().iter().position(|map| map.node == consumer.node) else {
                continue;
            };
            if state.is_skipped[map] {
                continue;
            }
            let reading = match known.take_if(|_| map == m) {
                Some(reading) => reading,
                None => read(&state.passes, &axes.maps()[map], &state.now, None)?,
            };
            let columns = state.left(map);
            let mut place = vec![usize::MAX; n_columns(graph, &axes.maps()[map])];
            columns.iter().enumerate().for_each(|(at, &column)| place[column] = at);
            let of_unit = |unit: &Vec<usize>| -> Vec<usize> {
                unit.iter().map(|&column| place[column]).filter(|&at| at != usize::MAX).collect()
            };
            let Reading { fitted, held_out, all } = reading;
            let pick = |moments: super::super::SecondMoments| {
                if columns.len() == moments.n_columns() {
                    Ok(moments)
                } else {
                    moments.of_columns(&columns)
                }
            };
            let has_bias = axes.maps()[map].bias.is_some();
            sides.push(SideOf {
                map,
                units: consumer.columns.iter().map(of_unit).collect(),
                weights: state.weights(map, &columns)?,
                bias: if has_bias { Bias::LastColumn } else { Bias::Absent },
                reading: [pick(fitted)?, pick(held_out)?, pick(all)?],
                output: state.curvatures.and_then(|all| all.floored(map)),
                curvature: state.curvatures.and_then(|all| all.get(map)).map(|g| g.to_owned()),
                columns,
            });
        }
        let producers = match state.surgery.order {
            Order::Magnitude => producer_norms(state, g)?,
            Order::Greedy | Order::Wanda | Order::Taylor(_) | Order::Random(_) => Vec::new(),
        };
        Ok(Self { sides, producers })
    }

    fn consumers(&self, part: Part) -> Vec<Consumer<'_>> {
        self.sides.iter().map(|side| of_side(side, part)).collect()
    }

    /// The removals of a group down to a width, cheapest first, on all examples.
    pub(super) fn path(
        &self,
        state: &State,
        g: usize,
        width: usize,
        relative: f64,
    ) -> Result<Path> {
        let n_units = self.sides.first().map_or(0, |side| side.units.len());
        let consumers = self.consumers(Part::All);
        let score = match &state.surgery.order {
            Order::Greedy => {
                let options = Greedy {
                    widths: vec![width],
                    n_examples: 1.0,
                    dependencies: state.surgery.dependencies,
                };
                return greedy(
                    Removal::new(&consumers, ColumnDamping::relative(relative))?,
                    &options,
                );
            }
            Order::Magnitude => scores(&consumers, Score::Magnitude { producer: &self.producers })?,
            Order::Wanda => scores(&consumers, Score::Wanda)?,
            Order::Taylor(saliencies) => {
                let saliency = saliencies.get(g).map_or(&[][..], Vec::as_slice);
                scores(&consumers, Score::Taylor { saliency })?
            }
            Order::Random(seed) => {
                let mut rng = Rng::new(*seed).split(&format!("surgery/group-{g}"));
                scores(&consumers, Score::Random(&mut rng))?
            }
        };
        let step = |unit| Step { unit, cost: f64::NAN, is_dependent: false };
        let gone = order_by(&score).into_iter().take(n_units - width);
        Ok(Path { steps: gone.map(step).collect(), snapshots: Vec::new() })
    }

    /// The path with units that went back in the place of others, where that gains, and how many did.
    fn exchanged(&self, state: &State, path: Path, relative: f64) -> Result<(Path, usize)> {
        let mut is_left = vec![true; self.sides.first().map_or(0, |side| side.units.len())];
        path.steps.iter().for_each(|step| is_left[step.unit] = false);
        let kept: Vec<usize> = (0..is_left.len()).filter(|&unit| is_left[unit]).collect();
        let most = state.surgery.exchanges;
        let n_gone = |side: &SideOf| {
            path.steps.iter().map(|step| side.units[step.unit].len()).sum::<usize>()
        };
        let n_columns = |side: &SideOf| side.columns.len() - n_gone(side);
        let is_small = self.sides.iter().all(|side| n_columns(side) <= MOST_EXCHANGED);
        // Exact functions of others have cost nothing: nothing can be won back.
        let has_lost = path.steps.iter().any(|step| !step.is_dependent);
        let is_greedy = matches!(state.surgery.order, Order::Greedy);
        if most == 0 || !is_small || !has_lost || !is_greedy {
            return Ok((path, 0));
        }
        let damping = ColumnDamping::relative(relative);
        let exchanged = exchange(&self.consumers(Part::All), damping, &kept, most)?;
        let mut is_left = vec![false; is_left.len()];
        exchanged.kept.iter().for_each(|&unit| is_left[unit] = true);
        let dependent = path.steps.iter().filter(|step| step.is_dependent);
        let mut steps: Vec<Step> = dependent.filter(|step| !is_left[step.unit]).copied().collect();
        steps.iter().for_each(|step| is_left[step.unit] = true);
        let others = (0..is_left.len()).filter(|&unit| !is_left[unit]);
        // What a unit cost is no longer told apart from the others.
        steps.extend(others.map(|unit| Step { unit, cost: f64::NAN, is_dependent: false }));
        Ok((Path { steps, snapshots: Vec::new() }, exchanged.exchanges.len()))
    }

    /// The cost of each removal of a path given those before: known of the greedy one, found by removal for other orders.
    pub(super) fn costs(&self, path: &Path, relative: f64) -> Result<Vec<f64>> {
        if path.steps.iter().all(|step| step.cost.is_finite()) {
            return Ok(path.steps.iter().map(|step| step.cost).collect());
        }
        let consumers = self.consumers(Part::All);
        let mut removal = Removal::new(&consumers, ColumnDamping::relative(relative))?;
        path.steps.iter().map(|step| removal.remove(step.unit)).collect()
    }

    /// Narrows the group to a width.
    pub(super) fn make(&self, state: &mut State, g: usize, width: usize) -> Result<()> {
        let relative = state.surgery.order_damping();
        let (path, n_exchanged) =
            self.exchanged(state, self.path(state, g, width, relative)?, relative)?;
        let (damping, tried) = self.damping(state, &path, relative)?;
        let snapshot = self.snapshot(state, &path, Part::All, damping)?;
        let group = &state.network.axes.groups()[g];
        let predicted = self.predicted(&snapshot)?;
        state.report.groups.push(GroupReport {
            group: g,
            name: group.name.clone(),
            kept: snapshot.kept.clone(),
            before: group.n_units,
            n_dependent: path.steps.iter().filter(|step| step.is_dependent).count(),
            n_exchanged,
            damping,
            tried,
            predicted,
            measured: None,
        });
        for (side, now) in self.sides.iter().zip(&snapshot.consumers) {
            let n = state.gone[side.map].len();
            let columns: Vec<usize> = now.columns.iter().map(|&at| side.columns[at]).collect();
            state.replace(side.map, n, &columns, now.weights.as_ref(), now.bias.as_deref())?;
            let is_gone = &mut state.gone[side.map];
            is_gone.fill(true);
            columns.iter().for_each(|&column| is_gone[column] = false);
        }
        Ok(())
    }

    fn snapshot(&self, state: &State, path: &Path, part: Part, relative: f64) -> Result<Snapshot> {
        let consumers = self.consumers(part);
        match state.surgery.compensation(relative) {
            Compensation::LeastSquares(damping) => follow(&consumers, damping, path),
            Compensation::Off => {
                let mut is_left = vec![true; self.sides.first().map_or(0, |side| side.units.len())];
                path.steps.iter().for_each(|step| is_left[step.unit] = false);
                let kept: Vec<usize> = (0..is_left.len()).filter(|&unit| is_left[unit]).collect();
                compensate(&consumers, &kept, Compensation::Off)
            }
        }
    }

    /// The damping that reconstructs held-out outputs best for these removals, and all that was tried.
    fn damping(&self, state: &State, path: &Path, first: f64) -> Result<(f64, Vec<HeldOut>)> {
        let dampings = &state.surgery.dampings;
        let has_choice = dampings.len() > 1 && state.surgery.least_squares;
        if !has_choice {
            return Ok((first, Vec::new()));
        }
        let consumers = self.consumers(Part::Fitted);
        let mut tried = Vec::with_capacity(dampings.len());
        for &relative in dampings {
            let error = match self.snapshot(state, path, Part::Fitted, relative) {
                Ok(snapshot) => {
                    let mut error = 0.0;
                    for ((side, consumer), now) in
                        self.sides.iter().zip(&consumers).zip(&snapshot.consumers)
                    {
                        error += change(consumer, &side.reading[Part::HeldOut as usize], now)?;
                    }
                    error
                }
                // Singular at this damping: larger ones are tried as well.
                Err(Error::Refused { .. }) => f64::INFINITY,
                Err(error) => return Err(error),
            };
            tried.push(HeldOut { relative: Some(relative), error });
        }
        let best = tried.iter().min_by(|a, b| a.error.total_cmp(&b.error));
        let best = best.filter(|best| best.error.is_finite()).and_then(|best| best.relative);
        Ok((best.unwrap_or(first), tried))
    }

    /// ½ Σ tr(D A Dᵀ G): nats an example.
    fn predicted(&self, snapshot: &Snapshot) -> Result<Option<f64>> {
        let mut sum = 0.0;
        for (side, now) in self.sides.iter().zip(&snapshot.consumers) {
            let Some(g) = &side.curvature else { return Ok(None) };
            let consumer = Consumer { output: Some(g.clone()), ..of_side(side, Part::All) };
            sum += 0.5 * change(&consumer, consumer.moments, now)?;
        }
        Ok(Some(sum))
    }
}

fn of_side(side: &SideOf, part: Part) -> Consumer<'_> {
    Consumer {
        moments: &side.reading[part as usize],
        weights: side.weights.as_ref(),
        units: side.units.clone(),
        output: side.output.clone(),
        bias: side.bias,
    }
}

/// ‖u_j‖ of each unit over its rows in all producers.
fn producer_norms(state: &State, g: usize) -> Result<Vec<f64>> {
    let axes = state.network.axes;
    let group = &axes.groups()[g];
    let mut squares = vec![0.0; group.n_units];
    for producer in &group.producers {
        let Some(m) = axes.maps().iter().position(|map| map.node == producer.node) else {
            continue;
        };
        let columns: Vec<usize> = (0..state.gone[m].len()).collect();
        let weights = state.weights(m, &columns)?;
        for (square, rows) in squares.iter_mut().zip(&producer.entries) {
            for &row in rows {
                *square += (0..columns.len()).map(|j| weights[(row, j)].powi(2)).sum::<f64>();
            }
        }
    }
    Ok(squares.into_iter().map(f64::sqrt).collect())
}
