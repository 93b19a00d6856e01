//! Linear students.

mod batched;

pub use batched::LinearStudents;
