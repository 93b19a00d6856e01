//! Several threads on the same work, also where the system allows fewer than were asked for.

use std::sync::{Mutex, PoisonError, mpsc};
use std::thread::{Builder, available_parallelism, scope};

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
}
