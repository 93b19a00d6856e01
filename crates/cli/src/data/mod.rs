//! Data: sets by name, whatever a user hands in, and synthetic problems.

pub mod published;
pub mod synthetic;
#[cfg_attr(
    not(test),
    expect(dead_code, unused_imports, reason = "commands on graphs read data by it next")
)]
pub(crate) mod user;
