//! Linear students, and linear teachers.

pub(super) mod classes;
pub(super) mod regression;
pub(super) mod student;
