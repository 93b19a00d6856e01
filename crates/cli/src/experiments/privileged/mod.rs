//! Privileged information: teachers that see features x* of their own.

mod digits;
mod garments;
mod grid_search;
mod synthetic;
pub(super) mod tweets;

pub(super) use digits::DIGITS;
pub(super) use garments::{KNOWLEDGE, KNOWN_SHARE};
pub(super) use grid_search::CHOICE;
pub(super) use synthetic::SYNTHETIC;
