//! The gates between this program and the world: one writer, one reader, one way to speak, one place for signals.
//!
//! Everything else in `cli` goes through them (`crates/cli/tests/gates.rs` holds that), so that a promise is kept in one
//! place: a file appears under its name only when it is whole, nothing a user named is destroyed, no number that is
//! not finite is written, and whoever listens to the program may leave.

mod archive;
mod output;
mod process;
mod protect;
mod read;
mod set;
mod tensors;
mod write;

pub(crate) use archive::gzip::{gunzip, is_gzip};
pub(crate) use archive::npy::{NpyHeader, clipped};
pub(crate) use archive::npz::npz_bytes;
pub(crate) use archive::zip::Archive;
pub(crate) use archive::{Budget, Storage};
pub(crate) use output::table::{cells, decimal, setting, text_list, text_table};
pub(crate) use output::{
    Hinted, be_quiet, note, printable, progress_target, say, tell_error, tell_usage, warn,
};
pub(crate) use process::{ask_on_signals, end_on_signals, fill_on_threads, n_cores, on_threads};
pub(crate) use protect::{Input, check_folder, check_out};
pub(crate) use read::{read, read_part, read_released};
pub(crate) use set::sum::{SUM_LENGTH, hexadecimal, sha256, sha256_of};
pub(crate) use set::{check_set, write_set};
pub(crate) use tensors::{
    check_finite, parse, tensor_bytes, write_described_tensors, write_tensors,
};
pub(crate) use write::{
    Content, check_replaceable, check_writable, discard, stream_whole, write_together, write_whole,
};
