//! A run's numbers and what they mean: metrics, rows, claims and their verdicts, statistics of paired runs, kept runs.
//!
//! Nothing here knows a tensor: what is judged and reported is numbers by name.

mod claim;
mod experiment;
mod kept;
mod provenance;
mod row;
pub mod stats;

pub use claim::{
    Check, CheckResult, Claim, ClaimResult, FEWEST_SEEDS, Published, RULES, Reference, Rows, Side,
    Verdict, judge,
};
pub use experiment::{Description, Figure, N_UNITS, Part, Point, RowSpec, Scale, Unit};
pub use kept::{Attachment, Kept, Store, folder_in, program_sum};
pub use provenance::{DataSum, Kind, Provenance, Start};
pub use row::{Comparison, Curve, ExperimentRun, FiniteOrNull, Numbers, Row, assemble, compare};
