//! The contact sheet of a map: some random images, each above what φ made of it.

use anyhow::Result;
use candle_core::{DType, Tensor};
use core_tensors::Rng;
use core_tensors::kernels::features;

use super::examples::Shape;
use crate::report::contact_sheet::grid_png;

/// Images in a line of the contact sheet, and lines of pairs.
const ACROSS: usize = 16;
const DOWN: usize = 4;
/// Pixels along a side beyond which an image is shown smaller.
const MOST_PIXELS: usize = 128;

/// A PNG file of random images, a line before φ, the line below it after φ.
pub(super) fn contact_sheet(
    [before, after]: [&Tensor; 2],
    shapes: [Shape; 2],
    rng: &Rng,
) -> Result<Vec<u8>> {
    // Data by class would show the first class alone.
    let mut shown = rng.split("sheet").permutation(after.dim(0)?);
    shown.truncate(ACROSS * DOWN);
    shown.sort_unstable();
    let factor = shapes[0][1].max(shapes[0][2]).div_ceil(MOST_PIXELS);
    let small = |x: &Tensor, shape: Shape| -> Result<Vec<f64>> {
        let mut all = Vec::new();
        for &i in &shown {
            all.extend(shrunk(&intensities_of(x, i)?, shape, factor));
        }
        Ok(all)
    };
    let (first, second) = (small(before, shapes[0])?, stretched(small(after, shapes[1])?));
    let [before, after] = shapes.map(|shape| size_of(shape, factor));
    // Images that shrank stand in the middle of a white frame of the old size.
    let second = framed(&second, after, before);
    let n = ACROSS * before.iter().product::<usize>();
    let lines: Vec<&[f64]> =
        first.chunks(n).zip(second.chunks(n)).flat_map(|(a, b)| [a, b]).collect();
    grid_png(&lines, before)
}

/// Levels of one example.
pub(super) fn intensities_of(x: &Tensor, i: usize) -> Result<Vec<f32>> {
    Ok(features(&x.narrow(0, i, 1)?)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?)
}

fn size_of([c, h, w]: Shape, factor: usize) -> Shape {
    [c, h.div_ceil(factor), w.div_ceil(factor)]
}

/// Means over squares of pixels; those at the ends are as large as the image leaves them.
fn shrunk(intensities: &[f32], [c, h, w]: Shape, factor: usize) -> Vec<f64> {
    let [_, tall, wide] = size_of([c, h, w], factor);
    let mut out = Vec::with_capacity(c * tall * wide);
    for plane in intensities.chunks_exact((h * w).max(1)) {
        for (row, col) in (0..tall).flat_map(|row| (0..wide).map(move |col| (row, col))) {
            let rows = row * factor..((row + 1) * factor).min(h);
            let cols = col * factor..((col + 1) * factor).min(w);
            let n = (rows.len() * cols.len()) as f64;
            let pixels = rows.flat_map(|r| &plane[r * w..][cols.clone()]);
            let sum: f64 = pixels.map(|&intensity| f64::from(intensity)).sum();
            out.push(sum / n);
        }
    }
    out
}

/// Levels from 0 to 1, as they are where they lie there.
pub(super) fn stretched(mut intensities: Vec<f64>) -> Vec<f64> {
    let (low, high) = intensities.iter().fold((0f64, 1f64), |(a, b), &v| (a.min(v), b.max(v)));
    intensities.iter_mut().for_each(|v| *v = (*v - low) / (high - low));
    intensities
}

fn framed(intensities: &[f64], [_, h, w]: Shape, [_, tall, wide]: Shape) -> Vec<f64> {
    let (top, left) = ((tall - h.min(tall)) / 2, (wide - w.min(wide)) / 2);
    let mut out = Vec::with_capacity(intensities.len() / (h * w).max(1) * tall * wide);
    for plane in intensities.chunks_exact((h * w).max(1)) {
        let at = |row: usize, col: usize| {
            let (r, s) = (row.checked_sub(top)?, col.checked_sub(left)?);
            (r < h && s < w).then(|| plane[r * w + s])
        };
        for row in 0..tall {
            out.extend((0..wide).map(|col| at(row, col).unwrap_or(1.0)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_images_are_shown_by_means_of_their_squares() {
        let image: Vec<f32> = (0..15u8).map(f32::from).collect(); // 3 × 5
        // Squares of 2 × 2, then what is left at the right and below.
        let wanted = [3.0, 5.0, 6.5, 10.5, 12.5, 14.0];
        assert_eq!(shrunk(&image, [1, 3, 5], 2), wanted);
        assert_eq!(size_of([1, 3, 5], 2), [1, 2, 3]);
        let whole: Vec<f64> = image.iter().copied().map(f64::from).collect();
        assert_eq!(shrunk(&image, [1, 3, 5], 1), whole);
    }
}
