//! A run's numbers and what they mean: metrics, rows, claims and their verdicts, statistics of paired runs, kept runs.
//!
//! Nothing here knows a tensor: what is judged and reported is numbers by name.

mod claim;
mod experiment;
mod judge;
mod kept;
pub mod metric;
mod provenance;
pub mod quality;
mod row;
pub mod shrink;
pub mod stats;

pub use claim::{
    Check, CheckResult, Claim, ClaimResult, FEWEST_SEEDS, Published, RULES, Reference, Verdict,
};
pub use experiment::{Description, Figure, Part, Point, RowSpec, Scale, Unit};
pub use judge::{Rows, judge};
pub use kept::{Attachment, Kept, Store, folder_in, program_sum};
pub use metric::{Better, Metric, Shown};
pub use provenance::{DataSum, Kind, Provenance, Start};
pub use row::{Comparison, Curve, ExperimentRun, FiniteOrNull, Numbers, Row, assemble, compare};
