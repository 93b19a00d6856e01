//! What the program asks of the system: threads, and to be told of signals.

mod signals;
mod threads;

pub(crate) use signals::{ask_on_signals, end_on_signals};
pub(crate) use threads::{fill_on_threads, n_cores, on_threads};
