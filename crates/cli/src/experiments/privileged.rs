//! Privileged information: teachers that see features x* of their own.

mod digits;
mod synthetic;

pub(super) use digits::DIGITS;
pub(super) use synthetic::SYNTHETIC;
