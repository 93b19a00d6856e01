//! Data: sets by name, whatever a user hands in, and synthetic problems.

pub mod published;
pub mod synthetic;
pub(crate) mod user;
