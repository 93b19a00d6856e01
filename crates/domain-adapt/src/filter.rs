//! Fixed filters of grayscale images: convolution with a given kernel, and morphological dilation.

use candle_core::Tensor;
use core_tensors::kernels::{Window, convolve, features};
use core_tensors::legacy::TorchRandom;
use core_tensors::{Error, Result, Rng};

use crate::DomainMap;

/// Seed of the generator that the source's kernel was drawn with.
const SOURCE_SEED: u32 = 42;
/// Side of that kernel.
const SOURCE_SIDE: usize = 5;

/// φ(x)\[r, s\] = b + Σ_{p, q} u\[p, q\] x\[r + d p, s + d q\]: a cross-correlation without padding, as `Conv2d` has it.
///
/// Pictures are rows of `height · width` levels, (m, h·w) → (m, (h − e + 1)(w − e + 1)) with the extent
/// e = d (`side` − 1) + 1; nothing is clipped.
#[derive(Clone, Debug, PartialEq)]
pub struct FixedConvolution {
    /// h and w of the images that come in.
    pub image: [usize; 2],
    /// u, row by row: `side`² weights.
    pub kernel: Vec<f64>,
    /// Side of the kernel, at least 1.
    pub side: usize,
    /// b.
    pub bias: f64,
    /// d ≥ 1: distance of neighboring weights on the image.
    pub dilation: usize,
}

/// φ(x)\[r, s\] = max of x over the `side` × `side` window around (r, s): the dilation of mathematical morphology.
///
/// Pictures are rows of h·w levels; the shape stays, and a window at the border is cut off there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MorphologicalDilation {
    /// h and w of the images.
    pub image: [usize; 2],
    /// Side of the window, odd, at most 2 max(h, w) − 1: a larger one sees no more of an image.
    pub side: usize,
}

impl FixedConvolution {
    /// The transformation that paper 003 calls dilation: a 5 × 5 convolution with bias, not dilated, whose 26 numbers
    /// are drawn once from U(−1/5, 1/5); 28 × 28 → 24 × 24.
    ///
    /// Source: the authors' code, torch seed 42.
    pub fn as_published() -> Self {
        let mut random = TorchRandom::new(SOURCE_SEED);
        let bound = 1.0 / SOURCE_SIDE as f64;
        let mut draw = || f64::from(random.uniform()) * 2.0 * bound - bound;
        let kernel = (0..SOURCE_SIDE * SOURCE_SIDE).map(|_| draw()).collect();
        let bias = draw();
        Self { image: [28, 28], kernel, side: SOURCE_SIDE, bias, dilation: 1 }
    }

    /// An earlier version of it: ones on both diagonals of a 3 × 3 kernel, dilated by 2, no bias; 28 × 28 → 24 × 24.
    pub fn dilated_cross() -> Self {
        let kernel = [1, 0, 1, 0, 1, 0, 1, 0, 1].map(f64::from).to_vec();
        Self { image: [28, 28], kernel, side: 3, bias: 0.0, dilation: 2 }
    }

    /// h and w of the images that come out.
    pub fn output(&self) -> Result<[usize; 2]> {
        let extent = self.extent()?;
        let [h, w] = self.image;
        if h < extent || w < extent {
            let wanted = format!("at least {extent} × {extent}");
            return Err(Error::mismatch("picture of a convolution", wanted, format!("{h} × {w}")));
        }
        Ok([h - extent + 1, w - extent + 1])
    }

    fn extent(&self) -> Result<usize> {
        if self.side == 0 || self.dilation == 0 {
            let (name, value) = ("side and dilation of a kernel", 0.0);
            return Err(Error::OutOfRange { name, value, range: "[1, ∞)" });
        }
        if self.side.checked_mul(self.side) != Some(self.kernel.len()) {
            let wanted = format!("{side} × {side}", side = self.side);
            return Err(Error::mismatch("weights of a kernel", wanted, self.kernel.len()));
        }
        let extent = self.dilation.checked_mul(self.side - 1).and_then(|e| e.checked_add(1));
        extent.ok_or_else(|| {
            let found = format!("{} of {} weights a side", self.dilation, self.side);
            Error::mismatch("dilation of a kernel", "one whose extent is a number", found)
        })
    }
}

impl DomainMap for FixedConvolution {
    fn apply(&self, x: &Tensor, _: &mut Rng) -> Result<Tensor> {
        let (extent, [out_h, out_w]) = (self.extent()?, self.output()?);
        let images = grayscale(x, self.image)?; // (m, 1, h, w)
        if images.elem_count() == 0 {
            return Ok(images.reshape((0, out_h * out_w))?);
        }
        // A dilated kernel is a larger one with zeros between its weights.
        let mut wide = vec![0.0; extent * extent + 1];
        for (i, weight) in self.kernel.iter().enumerate() {
            let (row, col) = (i / self.side * self.dilation, i % self.side * self.dilation);
            wide[row * extent + col] = *weight;
        }
        wide[extent * extent] = self.bias;
        let u = Tensor::from_vec(wide, (1, extent * extent + 1), x.device())?;
        let y =
            convolve(&images, &u.to_dtype(images.dtype())?, Window { kernel: extent, padding: 0 })?;
        Ok(y.reshape((x.dim(0)?, out_h * out_w))?)
    }
}

impl DomainMap for MorphologicalDilation {
    fn apply(&self, x: &Tensor, _: &mut Rng) -> Result<Tensor> {
        if self.side.is_multiple_of(2) {
            let (name, value) = ("side of a window", self.side as f64);
            return Err(Error::OutOfRange { name, value, range: "the odd numbers from 1" });
        }
        let [h, w] = self.image;
        let y = grayscale(x, self.image)?;
        let largest = h.max(w).max(1).saturating_mul(2) - 1;
        if self.side > largest {
            let wanted = format!("at most {largest}, which reaches all of {h} × {w} pictures");
            return Err(Error::mismatch("side of a window", wanted, self.side));
        }
        if y.elem_count() == 0 {
            return Ok(y.reshape((x.dim(0)?, h * w))?);
        }
        // A maximum over a square is one over its rows, then one over its columns.
        let y = largest_neighbor(&y, 2, self.side)?;
        let y = largest_neighbor(&y, 3, self.side)?;
        Ok(y.reshape((x.dim(0)?, h * w))?)
    }
}

/// The largest number of the window of some side around each place along an axis; the shape stays.
fn largest_neighbor(y: &Tensor, axis: usize, side: usize) -> Result<Tensor> {
    let n = y.dim(axis)?;
    let reach = (side / 2).min(n - 1);
    let mut most = y.pad_with_same(axis, reach, reach)?;
    // Maxima over windows of 1, 2, 4, … places, each of two of those before it.
    let (side, mut covered) = (2 * reach + 1, 1);
    while covered < side {
        let step = covered.min(side - covered);
        let left = most.dim(axis)? - step;
        most = most.narrow(axis, 0, left)?.maximum(&most.narrow(axis, step, left)?)?;
        covered += step;
    }
    Ok(most)
}

/// Rows of levels as images, (m, 1, h, w).
fn grayscale(x: &Tensor, [h, w]: [usize; 2]) -> Result<Tensor> {
    let rows = features(x)?.flatten_from(1)?;
    let (m, n) = rows.dims2()?;
    if h.checked_mul(w) != Some(n) {
        let wanted = format!("(m, {}) for {h} × {w} pictures", h.saturating_mul(w));
        return Err(Error::mismatch("input of φ", wanted, format!("({m}, {n})")));
    }
    Ok(rows.reshape((m, 1, h, w))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn image(h: usize, w: usize) -> (Vec<f32>, Tensor) {
        let mut rng = Rng::new(0);
        let values: Vec<f32> = (0..2 * h * w).map(|_| rng.uniform() as f32).collect();
        let x = Tensor::from_slice(&values, (2, h * w), &Device::Cpu).unwrap();
        (values, x)
    }

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
        let map = FixedConvolution::as_published();
        for (found, wanted) in map.kernel.iter().zip(recorded.concat()) {
            assert!((found - wanted).abs() < 1e-6, "{found} {wanted}");
        }
        assert!((map.bias + 0.092202).abs() < 1e-6);
        assert_eq!(map.output().unwrap(), [24, 24]);
        assert_eq!(FixedConvolution::dilated_cross().output().unwrap(), [24, 24]);
    }

    #[test]
    fn convolution_and_its_dilation_equal_the_sum() {
        let (h, w) = (9, 8);
        let (values, x) = image(h, w);
        for dilation in [1, 2] {
            let kernel: Vec<f64> = (1..=9).map(f64::from).collect();
            let map = FixedConvolution { image: [h, w], kernel, side: 3, bias: 0.5, dilation };
            let [out_h, out_w] = map.output().unwrap();
            let y = map.apply(&x, &mut Rng::new(0)).unwrap().to_vec2::<f32>().unwrap();
            for (i, r, s) in [(0, 0, 0), (1, out_h - 1, out_w - 1), (1, 2, 3)] {
                let mut sum = 0.5;
                for p in 0..3 {
                    for q in 0..3 {
                        let at = i * h * w + (r + dilation * p) * w + s + dilation * q;
                        sum += (3 * p + q + 1) as f32 * values[at];
                    }
                }
                assert!((y[i][r * out_w + s] - sum).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn morphological_dilation_is_the_largest_neighbor() {
        let (h, w) = (5, 6);
        let (values, x) = image(h, w);
        let map = MorphologicalDilation { image: [h, w], side: 3 };
        let y = map.apply(&x, &mut Rng::new(0)).unwrap().to_vec2::<f32>().unwrap();
        for (i, row) in y.iter().enumerate() {
            for (at, found) in row.iter().enumerate() {
                let near = |a: usize, n: usize| a.saturating_sub(1)..(a + 2).min(n);
                let around = near(at / w, h).flat_map(|r| near(at % w, w).map(move |s| (r, s)));
                let most = around.map(|(r, s)| values[i * h * w + r * w + s]).fold(0.0, f32::max);
                assert_eq!(*found, most);
            }
        }
    }

    #[test]
    fn wide_windows_equal_the_largest_in_reach_and_wider_ones_are_refused() {
        for (h, w) in [(1, 1), (1, 7), (5, 2), (4, 4)] {
            let (values, x) = image(h, w);
            let apply = |side| {
                let map = MorphologicalDilation { image: [h, w], side };
                map.apply(&x, &mut Rng::new(0))
            };
            let largest = 2 * h.max(w) - 1;
            for side in (1..=largest).step_by(2) {
                let y = apply(side).unwrap().to_vec2::<f32>().unwrap();
                let near =
                    |a: usize, n: usize| a.saturating_sub(side / 2)..(a + side / 2 + 1).min(n);
                for (i, at) in (0..2).flat_map(|i| (0..h * w).map(move |at| (i, at))) {
                    let around = near(at / w, h).flat_map(|r| near(at % w, w).map(move |s| (r, s)));
                    let intensities = around.map(|(r, s)| values[i * h * w + r * w + s]);
                    assert_eq!(y[i][at], intensities.fold(0.0, f32::max), "{h} × {w}, side {side}");
                }
            }
            for side in [largest + 2, 99_999_999, usize::MAX] {
                let wanted = format!("at most {largest}, which reaches all of {h} × {w} pictures");
                assert_eq!(
                    apply(side).unwrap_err().to_string(),
                    format!("side of a window: wanted {wanted}, found {side}")
                );
            }
        }
    }

    #[test]
    fn absurd_sizes_are_errors() {
        let (_, x) = image(2, 3);
        let none = x.narrow(0, 0, 0).unwrap();
        for huge in [0, 1 << 32, 1 << 62, 1 << 63, usize::MAX] {
            for image in [[huge, 1], [1, huge], [huge, huge], [2, 3]] {
                for (side, n, dilation) in
                    [(huge, 0, 1), (huge, 1, huge), (1, 1, huge), (2, 4, huge)]
                {
                    let kernel = vec![1.0; n];
                    let map = FixedConvolution { image, kernel, side, bias: 0.0, dilation };
                    for x in [&x, &none] {
                        // A kernel of one weight has no use for its dilation.
                        let is_fine = image == [2, 3] && (side, n) == (1, 1) && huge > 0;
                        assert_eq!(map.apply(x, &mut Rng::new(0)).is_ok(), is_fine, "{map:?}");
                    }
                }
                let map = MorphologicalDilation { image, side: usize::MAX };
                assert!(map.apply(&x, &mut Rng::new(0)).is_err(), "{map:?}");
            }
        }
    }

    #[test]
    fn bytes_are_levels_and_other_shapes_are_refused() {
        let bytes = Tensor::full(255u8, (1, 784), &Device::Cpu).unwrap();
        let map = FixedConvolution::as_published();
        let y = map.apply(&bytes, &mut Rng::new(0)).unwrap().to_vec2::<f32>().unwrap();
        let wanted = map.kernel.iter().sum::<f64>() + map.bias;
        assert!((f64::from(y[0][100]) - wanted).abs() < 1e-5);
        let narrow = Tensor::zeros((3, 100), DType::F32, &Device::Cpu).unwrap();
        let message = map.apply(&narrow, &mut Rng::new(0)).unwrap_err().to_string();
        assert_eq!(message, "input of φ: wanted (m, 784) for 28 × 28 pictures, found (3, 100)");
        for map in [&map as &dyn DomainMap, &MorphologicalDilation { image: [28, 28], side: 3 }] {
            let nobody = map.apply(&bytes.narrow(0, 0, 0).unwrap(), &mut Rng::new(0)).unwrap();
            assert_eq!(nobody.dim(0).unwrap(), 0);
        }
        let even = MorphologicalDilation { image: [28, 28], side: 2 };
        assert!(even.apply(&bytes, &mut Rng::new(0)).is_err());
        let tiny = FixedConvolution { image: [4, 4], ..FixedConvolution::as_published() };
        assert!(tiny.output().unwrap_err().to_string().contains("at least 5 × 5, found 4 × 4"));
    }
}
