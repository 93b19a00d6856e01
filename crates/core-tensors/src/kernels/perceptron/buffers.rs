//! Memory that threads use again.

use std::sync::{Mutex, PoisonError};

/// Buffers that are used again, one for each thread that needs one at a time.
#[derive(Debug, Default)]
pub struct Buffers {
    free: Mutex<Vec<Vec<f32>>>,
}

impl Buffers {
    /// Lends n numbers, of any value.
    pub(super) fn with<R>(&self, n: usize, use_it: impl FnOnce(&mut [f32]) -> R) -> R {
        let free = || self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = free().pop().unwrap_or_default();
        buffer.resize(n, 0.0);
        let result = use_it(&mut buffer);
        free().push(buffer);
        result
    }
}

impl Clone for Buffers {
    fn clone(&self) -> Self {
        Self::default()
    }
}
