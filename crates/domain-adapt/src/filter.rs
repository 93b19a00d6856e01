//! Fixed filters of grayscale images: convolution with a given kernel, and morphological dilation.

use candle_core::Tensor;
use core_tensors::kernels::{Window, convolve, features};
use core_tensors::{Error, Expected, Result, Rng};

use crate::DomainMap;

/// φ(x)\[r, s\] = b + Σ_{p, q} u\[p, q\] x\[r + d p, s + d q\]: a cross-correlation without padding, as `Conv2d` has it.
///
/// Images are rows of h·w intensities, (m, h·w) → (m, (h − e + 1)(w − e + 1)) with the extent e = d (`side` − 1) + 1;
/// nothing is clipped.
///
/// ```
/// use core_tensors::{Rng, candle_core::{Device, Tensor}};
/// use domain_adapt::{DomainMap, FixedConvolution};
/// # fn main() -> core_tensors::Result<()> {
/// // The mean of each 2 × 2 window of one 2 × 3 image.
/// let blur = FixedConvolution::new([2, 3], vec![0.25; 4], 0.0, 1)?;
/// let x = Tensor::new(&[[1f32, 2.0, 3.0, 3.0, 2.0, 1.0]], &Device::Cpu)?;
/// assert_eq!(blur.output(), [1, 2]);
/// assert_eq!(blur.apply(&x, &mut Rng::new(0))?.to_vec2::<f32>()?, [[2.0, 2.0]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct FixedConvolution {
    image: [usize; 2],
    kernel: Vec<f64>,
    bias: f64,
    dilation: usize,
    /// e, at most h and w.
    extent: usize,
}

/// φ(x)\[r, s\] = max of x over the `side` × `side` window around (r, s): the dilation of mathematical morphology.
///
/// Images are rows of h·w intensities; the shape stays, and a window at the border is cut off there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MorphologicalDilation {
    /// h and w of the images.
    pub image: [usize; 2],
    /// Side of the window, odd, at most 2 max(h, w) − 1: a larger one sees no more of an image.
    pub side: usize,
}

impl FixedConvolution {
    /// The kernel u, row by row, for images of h × w; b is the bias, d ≥ 1 the distance of neighboring weights on the image.
    ///
    /// Refuses a kernel that is not a square of at least one weight, and images that are smaller than its extent.
    pub fn new(image: [usize; 2], kernel: Vec<f64>, bias: f64, dilation: usize) -> Result<Self> {
        let side = kernel.len().isqrt();
        Expected::AtLeast(1).check("weights of a kernel", kernel.len())?;
        Expected::Exactly(side * side).check("weights of a square kernel", kernel.len())?;
        Expected::AtLeast(1).check("dilation of a kernel", dilation)?;
        // A number that does not fit is larger than any image.
        let extent = dilation.checked_mul(side - 1).and_then(|e| e.checked_add(1));
        let extent = extent.unwrap_or(usize::MAX);
        Expected::AtLeast(extent).check("rows of an image of a convolution", image[0])?;
        Expected::AtLeast(extent).check("columns of an image of a convolution", image[1])?;
        Ok(Self { image, kernel, bias, dilation, extent })
    }

    /// Ones on both diagonals of a 3 × 3 kernel, dilated by 2, no bias; 28 × 28 → 24 × 24.
    ///
    /// Source: the authors' code of paper 003, an earlier version of its transformation.
    pub fn dilated_cross(image: [usize; 2]) -> Result<Self> {
        Self::new(image, [1, 0, 1, 0, 1, 0, 1, 0, 1].map(f64::from).to_vec(), 0.0, 2)
    }

    /// u, row by row.
    pub fn kernel(&self) -> &[f64] {
        &self.kernel
    }

    /// b.
    pub fn bias(&self) -> f64 {
        self.bias
    }

    /// h and w of the images that come out.
    pub fn output(&self) -> [usize; 2] {
        self.image.map(|side| side - self.extent + 1)
    }
}

impl DomainMap for FixedConvolution {
    fn apply(&self, x: &Tensor, _: &mut Rng) -> Result<Tensor> {
        let (extent, [out_h, out_w]) = (self.extent, self.output());
        let images = grayscale(x, self.image)?; // (m, 1, h, w)
        if images.elem_count() == 0 {
            return Ok(images.reshape((0, out_h * out_w))?);
        }
        // A dilated kernel is a larger one with zeros between its weights.
        let side = self.kernel.len().isqrt();
        let mut wide = vec![0.0; extent * extent + 1];
        for (i, weight) in self.kernel.iter().enumerate() {
            let (row, col) = (i / side * self.dilation, i % side * self.dilation);
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
        // A window of this side reaches all of an image from everywhere.
        Expected::AtMost(largest).check("side of a window", self.side)?;
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

/// Rows of intensities as images, (m, 1, h, w).
fn grayscale(x: &Tensor, [h, w]: [usize; 2]) -> Result<Tensor> {
    let rows = features(x)?.flatten_from(1)?;
    let (m, n) = rows.dims2()?;
    if h.checked_mul(w) != Some(n) {
        let (expected, found) = (vec![m, h, w], x.dims().to_vec());
        return Err(Error::Shape { what: "images for φ", expected, found });
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
    fn convolution_and_its_dilation_equal_the_sum() {
        let (h, w) = (9, 8);
        let (values, x) = image(h, w);
        for dilation in [1, 2] {
            let kernel: Vec<f64> = (1..=9).map(f64::from).collect();
            let map = FixedConvolution::new([h, w], kernel, 0.5, dilation).unwrap();
            let [out_h, out_w] = map.output();
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
                assert_eq!(
                    apply(side).unwrap_err().to_string(),
                    format!("side of a window: expected at most {largest}, found {side}")
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
                for (n, dilation) in [(0, 1), (3, 1), (1, huge), (4, huge)] {
                    let map = FixedConvolution::new(image, vec![1.0; n], 0.0, dilation);
                    for x in [&x, &none] {
                        // A kernel of one weight has no use for its dilation.
                        let is_fine = image == [2, 3] && n == 1 && huge > 0;
                        let applied = map.as_ref().map(|map| map.apply(x, &mut Rng::new(0)));
                        assert_eq!(matches!(applied, Ok(Ok(_))), is_fine, "{map:?}");
                    }
                }
                let map = MorphologicalDilation { image, side: usize::MAX };
                assert!(map.apply(&x, &mut Rng::new(0)).is_err(), "{map:?}");
            }
        }
    }

    #[test]
    fn bytes_are_intensities_and_other_shapes_are_refused() {
        let bytes = Tensor::full(255u8, (1, 784), &Device::Cpu).unwrap();
        let kernel = (1..=25).map(|i| f64::from(i) / 100.0).collect();
        let map = FixedConvolution::new([28, 28], kernel, -0.5, 1).unwrap();
        let y = map.apply(&bytes, &mut Rng::new(0)).unwrap().to_vec2::<f32>().unwrap();
        let wanted = map.kernel().iter().sum::<f64>() + map.bias();
        assert!((f64::from(y[0][100]) - wanted).abs() < 1e-5);
        let narrow = Tensor::zeros((3, 100), DType::F32, &Device::Cpu).unwrap();
        let message = map.apply(&narrow, &mut Rng::new(0)).unwrap_err().to_string();
        assert_eq!(message, "images for φ: expected shape [3, 28, 28], found [3, 100]");
        for map in [&map as &dyn DomainMap, &MorphologicalDilation { image: [28, 28], side: 3 }] {
            let nobody = map.apply(&bytes.narrow(0, 0, 0).unwrap(), &mut Rng::new(0)).unwrap();
            assert_eq!(nobody.dim(0).unwrap(), 0);
        }
        let even = MorphologicalDilation { image: [28, 28], side: 2 };
        assert!(even.apply(&bytes, &mut Rng::new(0)).is_err());
        let tiny = FixedConvolution::new([4, 4], vec![0.0; 25], 0.0, 1).unwrap_err().to_string();
        assert_eq!(tiny, "rows of an image of a convolution: expected at least 5, found 4");
    }
}
