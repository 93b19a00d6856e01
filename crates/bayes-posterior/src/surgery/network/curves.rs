//! What each group of units costs at each width, before anything is changed.

use super::Surgery;
use super::calibration::Calibration;
use super::curvature::OutputCurvatures;
use super::group::Choice;
use super::operate::{Network, State, pinned};
use crate::error::Result;

/// The cost of narrowing one group of an otherwise unchanged network.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Index of the group.
    pub group: usize,
    /// Its name.
    pub name: String,
    /// Nats an example of removing k units, for k = 0, 1, …: rising from 0. Half a squared error of z without curvatures.
    pub costs: Vec<f64>,
}

/// The curves of all groups that can lose units, in the order of the surgery, at one damping and with least squares.
///
/// # Errors
/// For examples that the graph does not take.
pub fn curves(
    network: &Network,
    calibration: &Calibration,
    surgery: &Surgery,
    curvatures: Option<&OutputCurvatures>,
) -> Result<Vec<Curve>> {
    let axes = network.axes;
    let mut state = State::begun(network, calibration, surgery, curvatures, None)?;
    let mut curves = Vec::new();
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (g, group) in axes.groups().iter().enumerate() {
        let nodes = group.consumers.iter().map(|consumer| consumer.node);
        if let (None, Some(first)) = (pinned(axes, group), nodes.min())
            && group.n_units > 1
        {
            order.push((first, g));
        }
    }
    order.sort_unstable();
    for (first, g) in order {
        state.advance(first)?;
        let group = &axes.groups()[g];
        let choice = Choice::of(&state, g, usize::MAX, None)?;
        let path = choice.path(&state, g, 1, surgery.order_damping())?;
        let mut costs = vec![0.0];
        let mut sum = 0.0;
        for cost in choice.costs(&path, surgery.order_damping())? {
            // Rounding may leave a cost slightly below 0.
            sum += cost.max(0.0);
            costs.push(sum);
        }
        curves.push(Curve { group: g, name: group.name.clone(), costs });
    }
    Ok(curves)
}
