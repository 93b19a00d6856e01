//! Why a graph cannot be narrowed.

use super::super::Error;

/// A failure of [`super::Axes::narrow`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AxesError {
    /// There is no such group.
    #[error("there is no group {found}: the graph has {n_groups}, counted from 0")]
    NoGroup {
        /// What was asked for.
        found: usize,
        /// How many there are.
        n_groups: usize,
    },
    /// A group is named twice.
    #[error("group `{group}` is named twice")]
    GroupTwice {
        /// The group.
        group: String,
    },
    /// The units of a group must all stay.
    #[error("the {n_units} units of `{group}` are pinned by {reason}")]
    Pinned {
        /// The group.
        group: String,
        /// How many units it has.
        n_units: usize,
        /// By what.
        reason: String,
    },
    /// There is no such unit.
    #[error("group `{group}` has no unit {found}: it has {n_units}, counted from 0")]
    NoUnit {
        /// The group.
        group: String,
        /// What was asked for.
        found: usize,
        /// How many there are.
        n_units: usize,
    },
    /// A unit is named twice.
    #[error("unit {unit} of group `{group}` is named twice")]
    UnitTwice {
        /// The group.
        group: String,
        /// The unit.
        unit: usize,
    },
    /// No unit would be left.
    #[error("none of the {n_units} units of group `{group}` is kept; expected at least 1")]
    NoneKept {
        /// The group.
        group: String,
        /// How many units it has.
        n_units: usize,
    },
    /// A tensor that has only some of a group's units would have none left.
    #[error("nothing would be left of `{value}`, which has {n} entries along axis {axis}")]
    NothingLeft {
        /// The tensor.
        value: String,
        /// Along which axis.
        axis: usize,
        /// How many entries it has there.
        n: usize,
    },
    /// The graph is not the one that the groups were found in.
    #[error("the groups are those of a graph of {expected} values, found one of {found}")]
    OtherGraph {
        /// How many values.
        expected: usize,
        /// How many the graph has.
        found: usize,
    },
    /// The narrower graph does not fit together, or parameters are those of another graph.
    #[error(transparent)]
    Graph(#[from] Error),
}

impl From<core_tensors::Error> for AxesError {
    fn from(error: core_tensors::Error) -> Self {
        Self::Graph(error.into())
    }
}
