//! Seeded randomness, split by purpose.

use rand::seq::SliceRandom;
use rand::{Rng as _, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use crate::kernels::normal::{LANES, normals};

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
/// // The name decides, not what was drawn before.
/// assert_eq!(run.split("weights").permutation(3), Rng::new(0).split("weights").permutation(3));
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
        source.set_stream(fnv1a(purpose.as_bytes()));
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

    /// Fills a slice with draws from N(0, 1) in f32: many times faster than one by one, and other numbers.
    ///
    /// Draws come in groups of 64, of which the last may be used in part: so many 32-bit words are drawn as there are
    /// numbers, rounded up to a multiple of 64.
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        let (mut words, mut draws) = ([0; LANES], [0.0; LANES]);
        for chunk in out.chunks_mut(LANES) {
            self.fill_words(&mut words);
            normals(&words, &mut draws);
            chunk.copy_from_slice(&draws[..chunk.len()]);
        }
    }

    /// Random words.
    pub(crate) fn fill_words(&mut self, words: &mut [u32; LANES]) {
        let mut bytes = [0; 4 * LANES];
        self.stream.fill_bytes(&mut bytes);
        for (word, b) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
        }
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

/// FNV-1a hash of 64 bits, fixed across platforms and versions of Rust.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two filled draws of seed 0.
    const KNOWN: [u32; 2] = [1_044_967_200, 3_216_266_495];

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
        // The correlation of independent streams has standard deviation 1/√n = 0.01; five of them is a fault.
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
    fn filled_normals_have_the_normal_distribution() {
        use statrs::distribution::{ContinuousCDF, Normal};
        let n = 200_001;
        let (mut draws, mut rng) = (vec![0f32; n], Rng::new(12));
        rng.fill_normal(&mut draws);
        let mut sorted: Vec<f64> = draws.iter().map(|&z| f64::from(z)).collect();
        assert!(sorted.iter().all(|z| z.abs() < 5.9));
        let moment = |k: i32| sorted.iter().map(|z| z.powi(k)).sum::<f64>() / n as f64;
        // Five standard errors: the variances of z, z², z³, z⁴ are 1, 2, 15, 96.
        for (k, wanted, variance) in
            [(1, 0.0, 1.0f64), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0)]
        {
            let error: f64 = (variance / n as f64).sqrt();
            assert!((moment(k) - wanted).abs() < 5.0 * error, "moment {k}: {}", moment(k));
        }
        // Halves of a group come from one radius: they must be uncorrelated with it and among themselves.
        let pairs = draws
            .chunks_exact(LANES)
            .flat_map(|g| (0..LANES / 2).map(|i| (g[i], g[LANES / 2 + i])));
        let dots: Vec<f64> = pairs.map(|(a, b)| f64::from(a) * f64::from(b)).collect();
        assert!(
            (dots.iter().sum::<f64>() / dots.len() as f64).abs() < 5.0 / (dots.len() as f64).sqrt()
        );
        sorted.sort_by(f64::total_cmp);
        let normal = Normal::new(0.0, 1.0).unwrap();
        let gap = |(i, z): (usize, &f64)| (normal.cdf(*z) - (i as f64 + 0.5) / n as f64).abs();
        let largest = sorted.iter().enumerate().map(gap).fold(0.0, f64::max);
        // Kolmogorov's bound at a level of 1e-4.
        assert!(largest < 2.23 / (n as f64).sqrt(), "{largest}");
    }

    #[test]
    fn filled_normals_continue_from_a_sought_position() {
        let (mut first, mut second) = (Rng::new(2), Rng::new(2));
        let mut draws = [0f32; 100];
        first.fill_normal(&mut draws);
        second.seek(first.position());
        let mut next = [[0f32; 3]; 2];
        first.fill_normal(&mut next[0]);
        second.fill_normal(&mut next[1]);
        assert_eq!(next[0], next[1]);
        // Bits of another machine must be these as well.
        let mut known = [0f32; 2];
        Rng::new(0).fill_normal(&mut known);
        assert_eq!(known.map(f32::to_bits), KNOWN, "{known:?}");
    }

    #[test]
    fn a_permutation_holds_each_index_once() {
        let mut order = Rng::new(1).permutation(50);
        assert_ne!(order, (0..50).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..50).collect::<Vec<_>>());
    }
}
