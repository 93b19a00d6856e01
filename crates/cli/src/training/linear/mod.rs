//! Linear students: in closed form, and several of them in one matrix.

mod batched;
mod closed_form;

pub use batched::LinearStudents;
pub use closed_form::{linear_student, linear_student_stacked};
