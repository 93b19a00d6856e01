//! Several threads on the same work, also where the system allows fewer than were asked for.

use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{Builder, available_parallelism, scope};

use anyhow::Result;
use memmap2::MmapOptions;

use crate::files::warn;

/// Memory that must be left for each thread to work with, its stack included; a small network takes less.
const ROOM: usize = 1 << 25;

/// Threads that run at the same time, by the system's word.
pub(crate) fn n_cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Runs the same work on `n` threads until each of them returns; the calling thread is one of them.
///
/// A thread that cannot start (a limit of the user, of a container, of memory) is missing, and that is said.
pub(crate) fn on_threads(n: usize, work: impl Fn() + Sync) {
    let gate = Mutex::new(());
    scope(|scope| {
        let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let (started, starts) = mpsc::channel();
        // One after another, and none works before all are there: what a thread lacks as it starts, or as it works, ends the
        // whole program, so that no memory may go unseen meanwhile.
        let is_started = |n_before: &usize| {
            let started = started.clone();
            let wait_and_work = || {
                let _ = started.send(());
                drop(started);
                drop(gate.lock().unwrap_or_else(PoisonError::into_inner));
                work();
            };
            is_room_for(n_before + 1)
                && Builder::new().spawn_scoped(scope, wait_and_work).is_ok()
                && starts.recv().is_ok()
        };
        let n_started = 1 + (1..n).take_while(is_started).count();
        if n_started < n {
            warn(&format!("{n_started} of {n} threads could be started"));
        }
        drop(closed);
        work();
    });
}

/// `n` pieces of `size` bytes, written on all cores; the error is that of the first piece that has one.
///
/// Not on rayon's pool: `distill` leaves it one thread, as networks train on one.
pub(crate) fn fill_on_threads(
    n: usize,
    size: usize,
    write: impl Fn(usize, &mut [u8]) -> Result<()> + Sync,
) -> Result<Vec<u8>> {
    let mut bytes = vec![0; n * size];
    let mut failures = {
        let pieces = Mutex::new(bytes.chunks_exact_mut(size.max(1)).enumerate());
        let failures = Mutex::new(Vec::new());
        let work = || {
            // Pieces are handed out in order, so that no earlier one is left behind where the work stops.
            while let Some((index, piece)) = lock(&pieces).next() {
                if let Err(error) = write(index, piece) {
                    lock(&failures).push((index, error));
                }
                if !lock(&failures).is_empty() {
                    break;
                }
            }
        };
        on_threads(n_cores().min(n), work);
        failures.into_inner().unwrap_or_else(PoisonError::into_inner)
    };
    failures.sort_by_key(|(index, _)| *index);
    match failures.into_iter().next() {
        Some((_, error)) => Err(error),
        None => Ok(bytes),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether so many threads find memory: it is taken, and given back at once.
fn is_room_for(n_threads: usize) -> bool {
    let Some(size) = ROOM.checked_mul(n_threads) else { return false };
    MmapOptions::new().len(size).no_reserve_swap().map_anon().is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Barrier, Mutex};
    use std::thread::current;

    use anyhow::bail;

    use super::*;

    #[test]
    fn each_thread_works_once_and_the_calling_one_too() {
        for n in [1, 2, 5] {
            let (barrier, ids) = (Barrier::new(n), Mutex::new(Vec::new()));
            on_threads(n, || {
                barrier.wait();
                ids.lock().unwrap().push(format!("{:?}", current().id()));
            });
            let ids = ids.into_inner().unwrap();
            assert!(ids.len() == n && ids.contains(&format!("{:?}", current().id())));
            assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), n);
        }
    }

    #[test]
    fn the_first_failure_is_told_and_nothing_hangs() {
        let error = fill_on_threads(1000, 1, |index, _| match index % 7 {
            3 => bail!("{index}"),
            _ => Ok(()),
        });
        assert_eq!(error.unwrap_err().to_string(), "3");
        assert!(fill_on_threads(0, 0, |_, _| Ok(())).unwrap().is_empty());
    }
}
