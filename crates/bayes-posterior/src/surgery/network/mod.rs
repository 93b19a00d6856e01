//! Surgery of whole networks: units of a graph removed group by group, and what is behind fitted anew.
//!
//! 1. [`Calibration`] holds examples without labels; some are held out.
//! 2. [`output_curvatures`] gives G of every linear map, from the network's own predictions.
//! 3. [`curves`] tells what each group of units costs at each width, and [`allocate`] finds widths for a budget of
//!    anything that is a function of widths, [`descend`] for a loss that is measured.
//! 4. [`operate`] goes through the maps from the input on: each that sees a change is repaired, each group is decided at the
//!    first map that reads it, and the moments of later ones are those of the network as it is by then. In the end the last
//!    map of a classifier is fitted to the original's softmax.
//! 5. What comes out is a narrower graph of the same operators, and a [`Report`] of what was done and what it cost.
//! 6. Residual blocks are units as well: [`block_costs`] and [`operate_without`].
//!
//! The parameters change in place, columns of removed units becoming 0, and the graph is cut once at the end: a unit whose
//! columns are 0 in all consumers leaves without a change.

mod allocate;
mod calibration;
mod curvature;
mod curves;
mod descend;
mod flow;
mod group;
mod operate;
mod passes;
mod polish;
mod posterior;
mod reading;
mod report;
mod rows;
mod softmax_fit;
mod taylor;

pub use allocate::{Allocation, Budget, allocate};
pub use calibration::{Calibration, Cutting};
pub use curvature::{OutputCurvatures, enough_directions, output_curvatures};
pub use curves::{Curve, curves};
pub use descend::{descend, descending_sizes};
pub use operate::{Network, Operated, block_costs, operate, operate_without, pinned_groups};
pub use polish::{Polish, PolishMethod, PolishStep, PolishTrial, Polished, polish};
pub use posterior::{MapPosterior, kronecker_posterior};
pub use report::{GroupReport, MapReport, Report, SoftmaxFit};
pub use taylor::taylor_saliencies;

use super::Compensation;

/// ε under which the order is found where it is to be chosen: in the middle of what is usually best.
const ORDER_DAMPING: f64 = 1e-4;

/// How surgery is done.
#[derive(Clone, Debug)]
pub struct Surgery {
    /// Which unit goes first.
    pub order: Order,
    /// Whether the columns that stay take over what they can from those that go.
    pub least_squares: bool,
    /// ε of removal to choose from by held-out reconstruction, as shares of the mean diagonal of A; one alone is taken.
    pub dampings: Vec<f64>,
    /// ε of repair to choose from, beside no repair, by held-out reconstruction; none: no repair at all.
    pub repairs: Vec<f64>,
    /// Whether exact functions of other units go first, without damping.
    pub dependencies: bool,
    /// Exchanges of a unit that stays for one that went, after the greedy order, at most; each gains on the quadratic. Left out
    /// where more than 128 columns stay: there they gain next to nothing.
    pub exchanges: usize,
    /// Whether the last map of a classifier is fitted to the original's softmax in the end, or to its sigmoid where there is one
    /// logit.
    pub softmax_fit: bool,
}

/// Which unit goes first.
#[derive(Clone, Debug)]
pub enum Order {
    /// The cheapest given those that are gone, outputs weighted by G where curvatures are given.
    Greedy,
    /// ‖row of the producer‖ · ‖columns of the consumers‖.
    Magnitude,
    /// ‖columns‖ · √A_jj.
    Wanda,
    /// |E gradient × activation|, one list of saliencies a group, as [`taylor_saliencies`] gives them.
    Taylor(Vec<Vec<f64>>),
    /// U\[0, 1), from this seed.
    Random(u64),
}

impl Surgery {
    /// The plain reference: greedy with one small damping, without repair.
    pub fn plain() -> Self {
        Self {
            order: Order::Greedy,
            least_squares: true,
            dampings: vec![1e-6],
            repairs: Vec::new(),
            dependencies: true,
            exchanges: 0,
            softmax_fit: false,
        }
    }

    /// Greedy, with dampings and repair chosen by held-out reconstruction, and the last map of a classifier fitted to the
    /// original's softmax.
    pub fn held_out() -> Self {
        Self {
            dampings: vec![1e-6, 1e-5, 1e-4, 1e-3, 1e-2],
            repairs: vec![1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1],
            exchanges: 100,
            softmax_fit: true,
            ..Self::plain()
        }
    }

    /// A score that looks at each unit alone, with least squares for the choice or without.
    pub fn baseline(order: Order, least_squares: bool) -> Self {
        Self { order, least_squares, ..Self::plain() }
    }

    /// ε under which the order is found.
    fn order_damping(&self) -> f64 {
        match self.dampings[..] {
            [one] => one,
            _ => ORDER_DAMPING,
        }
    }

    fn compensation(&self, relative: f64) -> Compensation {
        if self.least_squares {
            Compensation::LeastSquares(super::ColumnDamping::relative(relative))
        } else {
            Compensation::Off
        }
    }
}
