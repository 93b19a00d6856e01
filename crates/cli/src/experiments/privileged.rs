//! Privileged information: teachers that see features x* of their own.

mod digits;
mod garments;
mod synthetic;

pub(super) use digits::DIGITS;
pub(super) use garments::{KNOWLEDGE, KNOWN_SHARE};
pub(super) use synthetic::SYNTHETIC;
