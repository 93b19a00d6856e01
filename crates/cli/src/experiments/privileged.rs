//! Privileged information: teachers that see features x* of their own.

mod choice;
mod digits;
mod garments;
mod synthetic;

pub(super) use choice::CHOICE;
pub(super) use digits::DIGITS;
pub(super) use garments::{KNOWLEDGE, KNOWN_SHARE};
pub(super) use synthetic::SYNTHETIC;
