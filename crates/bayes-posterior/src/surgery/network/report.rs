//! What surgery has done.

use super::super::HeldOut;

/// What was done to the groups and maps of a network.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// One a group that lost units, in the order of the surgery.
    pub groups: Vec<GroupReport>,
    /// One a map that saw a change and could be repaired.
    pub maps: Vec<MapReport>,
    /// The last map fitted to the original's softmax, where that was tried.
    pub softmax_fit: Option<SoftmaxFit>,
    /// Nats an example that all removals together were predicted to cost; `None` without curvatures.
    pub predicted: Option<f64>,
    /// Mean KL divergence of the new network's predictions from the original's on the examples held out, which the last fits
    /// have seen, in nats, of one logit with its sigmoid; half the squared error over the variance for regression. `None` without a likelihood.
    pub measured: Option<f64>,
}

/// Units that went.
#[derive(Clone, Debug)]
pub struct GroupReport {
    /// Index of the group.
    pub group: usize,
    /// Its name.
    pub name: String,
    /// Units that stay, ascending.
    pub kept: Vec<usize>,
    /// Units before.
    pub before: usize,
    /// How many of those that went were exact functions of others.
    pub n_dependent: usize,
    /// How many units came back in the place of others after the greedy order.
    pub n_exchanged: usize,
    /// ε of the removal as a share of the mean diagonal of A.
    pub damping: f64,
    /// What was tried, if there was a choice.
    pub tried: Vec<HeldOut>,
    /// Nats an example by the quadratic picture: ½ Σ tr(D A Dᵀ G) over the consumers, D the change of each; `None` without
    /// curvatures.
    pub predicted: Option<f64>,
    /// Nats an example from the original to the network with this group and all before it done.
    pub measured: Option<f64>,
}

/// A map that was fitted anew.
#[derive(Clone, Debug)]
pub struct MapReport {
    /// Its name.
    pub name: String,
    /// Whether it was fitted to a residual sum.
    pub is_sum: bool,
    /// ε as a share of the mean diagonal of A, `None` where no repair was better.
    pub damping: Option<f64>,
    /// E ‖t − z‖² on held-out examples before.
    pub before: f64,
    /// The same after.
    pub after: f64,
}

/// The last map of a classifier, fitted to the original's predictions by softmax, or by sigmoid where it has one logit.
#[derive(Clone, Copy, Debug)]
pub struct SoftmaxFit {
    /// The ridge as a share of the mean diagonal of the Hessian, `None` where no fit was better.
    pub ridge: Option<f64>,
    /// KL divergence from the original in nats on held-out examples before.
    pub before: f64,
    /// The same after.
    pub after: f64,
}
