//! Several threads on the same work, also where the system allows fewer than were asked for.

use std::thread::{Builder, available_parallelism, scope};

use crate::files::warn;

/// Threads that run at the same time, by the system's word.
pub(crate) fn n_cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

/// Runs the same work on `n` threads until each of them returns; the calling thread is one of them.
///
/// A thread that cannot start (a limit of the user, of a container, of memory) is missing, and that is said.
pub(crate) fn on_threads(n: usize, work: impl Fn() + Sync) {
    scope(|scope| {
        let is_started = |_: &usize| Builder::new().spawn_scoped(scope, &work).is_ok();
        let n_started = 1 + (1..n).take_while(is_started).count();
        if n_started < n {
            warn(&format!("{n_started} of {n} threads could be started"));
        }
        work();
    });
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
