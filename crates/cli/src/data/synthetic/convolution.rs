//! The 26 numbers of paper 003's convolution, rebuilt from the seed of the authors' code.

use domain_adapt::FixedConvolution;

use super::legacy::TorchRandom;

/// Seed of the generator that the source's kernel was drawn with.
const SEED: u32 = 42;
/// Side of that kernel.
const SIDE: usize = 5;

/// The transformation that paper 003 calls dilation: a 5 × 5 convolution with bias, not dilated, whose 26 numbers are
/// drawn once from U(−1/5, 1/5); 28 × 28 → 24 × 24.
///
/// Source: the authors' code, torch seed 42.
pub fn published_convolution(image: [usize; 2]) -> core_tensors::Result<FixedConvolution> {
    let mut random = TorchRandom::new(SEED);
    let bound = 1.0 / SIDE as f64;
    let mut draw = || f64::from(random.uniform()) * 2.0 * bound - bound;
    let kernel = (0..SIDE * SIDE).map(|_| draw()).collect();
    let bias = draw();
    FixedConvolution::new(image, kernel, bias, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_kernel_is_the_recorded_one() {
        // Values printed by torch 2 after manual_seed(42), to six decimals.
        let recorded = [
            [0.152908, 0.166002, -0.046854, 0.183722, -0.043821],
            [0.040358, -0.097371, 0.117457, 0.176309, -0.146726],
            [0.173839, 0.037432, 0.147762, 0.027086, 0.096438],
            [-0.028238, 0.154177, 0.029562, -0.093368, 0.050980],
            [-0.092147, -0.023455, -0.081232, 0.132674, -0.157874],
        ];
        let map = published_convolution([28, 28]).unwrap();
        for (found, wanted) in map.kernel().iter().zip(recorded.concat()) {
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        }
        assert!((map.bias() + 0.092202).abs() < 1e-6);
        assert_eq!(map.output(), [24, 24]);
        assert_eq!(FixedConvolution::dilated_cross([28, 28]).unwrap().output(), [24, 24]);
    }
}
