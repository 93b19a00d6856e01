//! Privileged information: teachers that see features x* of their own.

mod synthetic;

pub(super) use synthetic::SYNTHETIC;
