//! The one place where a signal ends the program: Ctrl-C, SIGTERM (Slurm, containers) and SIGHUP (a closed terminal).

use anyhow::Result;

use crate::files::write::discard_pending;

/// By custom the exit status of a program that a signal ended is this and the signal's number.
const STATUS: i32 = 128;

/// A signal ends the program at once; files that are not whole are removed.
pub(crate) fn end_on_signals() -> Result<()> {
    watch(|_, signal| end(signal))
}

/// The first signal is handed on, with the exit status it asks for; a second one ends the program at once, and so does
/// the first one where `ask` says that nobody heeds it.
pub(crate) fn ask_on_signals(ask: impl Fn(u8) -> bool + Send + 'static) -> Result<()> {
    watch(move |n_before, signal| match (n_before, is_hangup(signal)) {
        (0, _) => {
            if !ask(u8::try_from(STATUS + signal).unwrap_or(1)) {
                end(signal);
            }
        }
        // A terminal that closes may say so more than once.
        (_, true) => {}
        (_, false) => end(signal),
    })
}

fn end(signal: i32) {
    discard_pending();
    std::process::exit(STATUS + signal);
}

#[cfg(unix)]
fn is_hangup(signal: i32) -> bool {
    signal == signal_hook::consts::SIGHUP
}

/// Calls `on` from a thread of its own with the number of signals before this one.
#[cfg(unix)]
fn watch(on: impl Fn(usize, i32) + Send + 'static) -> Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

    let ignored = ignored();
    // What `nohup` and a shell's background jobs ignore stays ignored.
    let heard = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|n| ignored >> (n - 1) & 1 == 0);
    let mut signals = signal_hook::iterator::Signals::new(heard)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        signals.forever().enumerate().for_each(|(n_before, signal)| on(n_before, signal));
    })?;
    Ok(())
}

/// The signals that this process was started to ignore, one bit each; none where the system does not say.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Elsewhere a signal ends the program as the system does.
#[cfg(not(unix))]
fn watch(_: impl Fn(usize, i32) + Send + 'static) -> Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn is_hangup(_: i32) -> bool {
    false
}
