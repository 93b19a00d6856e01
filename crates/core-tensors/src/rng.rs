//! Seeded randomness, split by purpose.

use rand::seq::SliceRandom;
use rand::{Rng as _, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

/// A ChaCha8 generator that owns a key, from which independent children are split by name.
///
/// The child of a purpose depends on the key alone, not on how much was drawn before, so that a
/// component which starts to draw more numbers changes nobody else's.
///
/// ```
/// use core_tensors::Rng;
/// let run = Rng::new(0);
/// let (mut weights, mut batches) = (run.split("weights"), run.split("batches"));
/// assert_ne!(weights.uniform(), batches.uniform());
/// ```
#[derive(Clone, Debug)]
pub struct Rng {
    key: [u8; 32],
    stream: ChaCha8Rng,
}

impl Rng {
    /// The generator of a run.
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut key);
        Self::from_key(key)
    }

    /// An independent generator for one named purpose.
    pub fn split(&self, purpose: &str) -> Self {
        let mut source = ChaCha8Rng::from_seed(self.key);
        source.set_stream(fnv1a(purpose));
        // Word 0 of stream 0 is what `self` itself draws first; children start beyond it.
        source.set_word_pos(1 << 60);
        let mut key = [0; 32];
        source.fill_bytes(&mut key);
        Self::from_key(key)
    }

    /// One draw from U[0, 1).
    pub fn uniform(&mut self) -> f64 {
        self.stream.random()
    }

    /// One draw from N(0, 1).
    pub fn normal(&mut self) -> f64 {
        self.stream.sample(StandardNormal)
    }

    /// A uniform index below `n`; 0 where `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { self.stream.random_range(0..n) }
    }

    /// A uniform permutation of 0, …, n − 1.
    pub fn permutation(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        order.shuffle(&mut self.stream);
        order
    }

    /// How many 32-bit words were drawn, so that a run can be resumed with [`Rng::seek`].
    pub fn position(&self) -> u128 {
        self.stream.get_word_pos()
    }

    /// Moves to a position that [`Rng::position`] gave.
    pub fn seek(&mut self, position: u128) {
        self.stream.set_word_pos(position);
    }

    fn from_key(key: [u8; 32]) -> Self {
        Self { key, stream: ChaCha8Rng::from_seed(key) }
    }
}

/// FNV-1a hash of a purpose, fixed across platforms and versions of Rust.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_does_not_depend_on_what_its_parent_drew() {
        let mut parent = Rng::new(3);
        let before = parent.split("noise").uniform();
        parent.permutation(100);
        assert_eq!(before.to_bits(), parent.split("noise").uniform().to_bits());
        assert_ne!(before.to_bits(), parent.split("weights").uniform().to_bits());
        assert_ne!(before.to_bits(), Rng::new(4).split("noise").uniform().to_bits());
    }

    #[test]
    fn children_and_parents_are_uncorrelated() {
        // The correlation of independent streams has deviation 1/√n = 0.01; five of them is a fault.
        let n = 10_000;
        let mut streams = [Rng::new(0), Rng::new(0).split("a"), Rng::new(0).split("b")];
        let draws: Vec<Vec<f64>> =
            streams.iter_mut().map(|s| (0..n).map(|_| s.normal()).collect()).collect();
        for (i, j) in [(0, 1), (0, 2), (1, 2)] {
            let dot: f64 = draws[i].iter().zip(&draws[j]).map(|(a, b)| a * b).sum();
            assert!((dot / f64::from(n)).abs() < 0.05, "streams {i} and {j}: {dot}");
        }
    }

    #[test]
    fn a_sought_position_continues_the_stream() {
        let mut first = Rng::new(9);
        first.normal();
        let position = first.position();
        let mut second = Rng::new(9);
        second.seek(position);
        assert_eq!(first.uniform().to_bits(), second.uniform().to_bits());
    }

    #[test]
    fn a_permutation_holds_each_index_once() {
        let mut order = Rng::new(1).permutation(50);
        assert_ne!(order, (0..50).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}
