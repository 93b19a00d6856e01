//! The random generators of the papers' code, bit for bit: NumPy's legacy `seed` and torch's CPU generator.
//!
//! They exist so that the published splits and synthetic data can be rebuilt; everything new draws from
//! [`core_tensors::Rng`].

use core_tensors::{Error, Expected, Result};

/// Words of the state of MT19937.
const N: usize = 624;
/// Offset of the recurrence.
const M: usize = 397;

/// The Mersenne Twister MT19937 with the seeding of `init_genrand`.
///
/// Source: Matsumoto & Nishimura (1998).
#[derive(Clone, Debug)]
pub struct Mt19937 {
    state: [u32; N],
    next: usize,
}

impl Mt19937 {
    /// The generator that `numpy.random.seed(seed)` and `torch.manual_seed(seed)` set up.
    pub fn new(seed: u32) -> Self {
        let mut state = [seed; N];
        for i in 1..N {
            let previous = state[i - 1] ^ (state[i - 1] >> 30);
            state[i] = previous.wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { state, next: N }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.next == N {
            self.refill();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn refill(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.next = 0;
    }
}

/// `numpy.random.seed(seed)` and the draws that the papers' code makes after it.
#[derive(Clone, Debug)]
pub struct NumpyRandom {
    bits: Mt19937,
    second_normal: Option<f64>,
}

impl NumpyRandom {
    /// `numpy.random.seed(seed)`.
    pub fn new(seed: u32) -> Self {
        Self { bits: Mt19937::new(seed), second_normal: None }
    }

    /// `numpy.random.random_sample()`: U[0, 1) with 53 bits.
    pub fn uniform(&mut self) -> f64 {
        let high = f64::from(self.bits.next_u32() >> 5);
        let low = f64::from(self.bits.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }

    /// `numpy.random.randn()`: Marsaglia's polar method, the second of each pair kept for the next call.
    pub fn normal(&mut self) -> f64 {
        if let Some(value) = self.second_normal.take() {
            return value;
        }
        loop {
            let x1 = 2.0 * self.uniform() - 1.0;
            let x2 = 2.0 * self.uniform() - 1.0;
            let r2 = x1 * x1 + x2 * x2;
            if r2 < 1.0 && r2 != 0.0 {
                let factor = (-2.0 * r2.ln() / r2).sqrt();
                self.second_normal = Some(factor * x1);
                return factor * x2;
            }
        }
    }

    /// `numpy.random.randn(n)`.
    pub fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }

    /// A uniform index below `n`, by masked rejection: `numpy.random.choice` of one item of a list.
    pub fn below(&mut self, n: u32) -> u32 {
        let largest = n.saturating_sub(1);
        if largest == 0 {
            return 0;
        }
        let mask = u32::MAX >> largest.leading_zeros();
        loop {
            let candidate = self.bits.next_u32() & mask;
            if candidate <= largest {
                return candidate;
            }
        }
    }

    /// `numpy.random.permutation(n)`: Fisher-Yates from the end.
    pub fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n).collect();
        for i in (1..n).rev() {
            let j = self.below(i + 1);
            order.swap(i as usize, j as usize);
        }
        order
    }

    /// `numpy.random.choice(n, k, replace=False)`; refuses k > n.
    pub fn choice_without_replacement(&mut self, n: u32, k: usize) -> Result<Vec<u32>> {
        if k > n as usize {
            return Err(Error::Count {
                what: "items to choose from without replacement",
                expected: Expected::AtLeast(k),
                found: n as usize,
            });
        }
        let mut order = self.permutation(n);
        order.truncate(k);
        Ok(order)
    }

    /// `numpy.random.choice(k, p=probabilities)`: how many cumulative sums do not exceed one uniform draw.
    pub fn categorical(&mut self, probabilities: &[f64]) -> usize {
        let mut cumulative: Vec<f64> = probabilities
            .iter()
            .scan(0.0, |sum, p| {
                *sum += p;
                Some(*sum)
            })
            .collect();
        let total = cumulative.last().copied().unwrap_or(1.0);
        cumulative.iter_mut().for_each(|c| *c /= total);
        let u = self.uniform();
        cumulative.iter().filter(|&&c| c <= u).count()
    }
}

/// `torch.manual_seed(seed)` on the CPU.
#[derive(Clone, Debug)]
pub struct TorchRandom {
    bits: Mt19937,
}

impl TorchRandom {
    /// `torch.manual_seed(seed)`.
    pub fn new(seed: u32) -> Self {
        Self { bits: Mt19937::new(seed) }
    }

    /// One number of `torch.rand`: U[0, 1) with 24 bits.
    pub fn uniform(&mut self) -> f32 {
        (self.bits.next_u32() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// `torch.randperm(n)`, which `random_split` cuts into parts.
    pub fn permutation(&mut self, n: u32) -> Vec<u32> {
        let mut order: Vec<u32> = (0..n).collect();
        for i in 0..n.saturating_sub(1) {
            let j = i + self.bits.next_u32() % (n - i);
            order.swap(i as usize, j as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published vectors are rounded to eight decimals.
    const PRINTED: f64 = 1e-8;

    fn near(found: &[f64], wanted: &[f64], tolerance: f64) -> bool {
        found.iter().zip(wanted).all(|(a, b)| (a - b).abs() <= tolerance)
    }

    #[test]
    fn mt19937_has_its_published_ten_thousandth_word() {
        // The C++ standard fixes the 10 000th draw of mt19937 with its default seed 5489.
        let mut bits = Mt19937::new(5489);
        let last = (0..10_000).map(|_| bits.next_u32()).last();
        assert_eq!(last, Some(4_123_659_995));
    }

    #[test]
    fn torch_permutation_and_uniform() {
        assert_eq!(TorchRandom::new(0).permutation(10), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
        let mut torch = TorchRandom::new(42);
        assert!((torch.uniform() - 0.882_269_26).abs() < 1e-7);
        assert!((torch.uniform() - 0.915_004).abs() < 1e-6);
    }

    #[test]
    fn split_of_paper_003() {
        let order = TorchRandom::new(1234).permutation(60_000);
        let (big, small) = order.split_at(59_000);
        assert_eq!(big[..5], [29775, 44796, 45874, 5006, 51660]);
        let starts = [48279, 1046, 36810, 56980, 12533, 25257, 10970, 11490, 8969, 31976];
        assert_eq!(small[..10], starts);
        assert_eq!(small[997..], [4559, 15210, 40022]);
        assert_eq!(small.iter().sum::<u32>(), 30_446_973);
    }

    #[test]
    fn split_of_the_regression_of_paper_003() {
        let order = TorchRandom::new(1234).permutation(10_000);
        assert_eq!(order[..5], [9775, 2938, 1302, 3460, 8628]);
        assert_eq!(order[9000..9005], [4169, 8351, 6346, 8600, 6266]);
        let inner = TorchRandom::new(1234).permutation(9000);
        let small: Vec<u32> = inner[8700..8705].iter().map(|&i| order[i as usize]).collect();
        assert_eq!(small, [7935, 7134, 147, 6095, 5634]);
    }

    #[test]
    fn numpy_normals() {
        let mut numpy = NumpyRandom::new(42);
        let first = numpy.normals(100);
        assert!(near(
            &first[..4],
            &[0.496_714_15, -0.138_264_30, 0.647_688_54, 1.523_029_86],
            PRINTED
        ));
        assert!(near(&[numpy.normal()], &[-1.415_370_74], PRINTED));
    }

    #[test]
    fn numpy_data_of_paper_001() {
        let mut numpy = NumpyRandom::new(0);
        let x = numpy.normals(1024 * 10);
        let w = numpy.normals(10);
        assert!(near(&x[..3], &[1.764_052_35, 0.400_157_21, 0.978_737_98], PRINTED));
        assert!(near(&w[..3], &[-0.760_677, 3.220_502, 0.220_943], 1e-6));
        let y: Vec<f64> =
            (0..3).map(|i| (0..10).map(|j| x[10 * i + j] * w[j]).sum::<f64>()).collect();
        let noise = numpy.normals(3);
        let y: Vec<f64> = y.iter().zip(&noise).map(|(y, e)| y + 0.1 * e).collect();
        assert!(near(&y, &[-0.288_959_84, 5.144_863_53, -0.375_762_89], PRINTED));
    }

    #[test]
    fn numpy_units_kept_in_paper_001() {
        // Layers in order: ten inputs, fifty of a hundred units, the output.
        let mut numpy = NumpyRandom::new(0);
        numpy.choice_without_replacement(10, 10).unwrap();
        let mut kept = numpy.choice_without_replacement(100, 50).unwrap();
        kept.sort_unstable();
        let published = [
            1, 2, 3, 4, 6, 7, 8, 10, 13, 15, 16, 17, 18, 21, 22, 24, 26, 27, 30, 33, 41, 42, 43,
            44, 45, 48, 51, 52, 54, 59, 60, 61, 63, 66, 67, 68, 71, 73, 75, 76, 78, 79, 83, 84, 85,
            86, 89, 90, 93, 94,
        ];
        assert_eq!(kept, published);
        let error = numpy.choice_without_replacement(3, 4).unwrap_err().to_string();
        assert_eq!(error, "items to choose from without replacement: expected at least 4, found 3");
    }

    #[test]
    fn numpy_choices_of_one_item() {
        // python -c "import numpy as np; np.random.seed(1234); print([np.random.choice(range(7)) for _ in range(8)],
        //   [np.random.choice(3, p=[.2, .5, .3]) for _ in range(8)])"
        let mut numpy = NumpyRandom::new(1234);
        let items: Vec<u32> = (0..8).map(|_| numpy.below(7)).collect();
        let drawn: Vec<usize> = (0..8).map(|_| numpy.categorical(&[0.2, 0.5, 0.3])).collect();
        assert_eq!(items, [3, 6, 5, 4, 4, 0, 1, 1]);
        assert_eq!(drawn, [1, 1, 2, 2, 2, 1, 1, 1]);
    }
}
