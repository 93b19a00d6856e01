//! Sheets of small images as PNG: lines of images side by side.

use anyhow::{Context, Result, ensure};
use image::{ExtendedColorType, ImageEncoder};

/// White pixels between images.
const GAP: usize = 1;

/// Draws lines of images, each image (c, h, w) = `shape` with intensities in \[0, 1\], row by row; c is 1 or 3.
///
/// A line holds any number of images, the longest sets the width. What lies outside \[0, 1\] is clipped.
pub(crate) fn grid_png(lines: &[&[f64]], shape: [usize; 3]) -> Result<Vec<u8>> {
    let [c, h, w] = shape;
    let n = c * h * w;
    ensure!(
        (c == 1 || c == 3) && n > 0,
        "expected grayscale or color images of shape (1 or 3, height, width), found {shape:?}"
    );
    for line in lines {
        ensure!(line.len() % n == 0, "a line of images of {n} intensities each has {}", line.len());
    }
    let n_across = lines.iter().map(|line| line.len() / n).max().unwrap_or(0);
    ensure!(n_across > 0, "expected at least one image, found none");
    let (width, height) = (n_across * (w + GAP) - GAP, lines.len() * (h + GAP) - GAP);
    let mut pixels = vec![u8::MAX; width * height * c];
    for (down, line) in lines.iter().enumerate() {
        for (across, image) in line.chunks_exact(n).enumerate() {
            for (at, &intensity) in image.iter().enumerate() {
                let (channel, row, col) = (at / (h * w), at / w % h, at % w);
                let (y, x) = (down * (h + GAP) + row, across * (w + GAP) + col);
                let intensity = (255.0 * intensity.clamp(0.0, 1.0)).round() as u8;
                pixels[(y * width + x) * c + channel] = intensity;
            }
        }
    }
    let color = if c == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut bytes = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
    encoder.write_image(&pixels, width as u32, height as u32, color).context("encoding a PNG")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_lie_side_by_side_with_a_gap() {
        // Two images of 1 × 2 in the first line, one in the second.
        let lines: [&[f64]; 2] = [&[0.0, 0.5, 1.0, 2.0], &[-1.0, 0.2]];
        let png = grid_png(&lines, [1, 1, 2]).unwrap();
        let found = image::load_from_memory(&png).unwrap().to_luma8();
        assert_eq!(found.dimensions(), (5, 3));
        assert_eq!(
            found.into_raw(),
            [
                0, 128, 255, 255, 255, // 0, ½, gap, 1, clipped
                255, 255, 255, 255, 255, // gap
                0, 51, 255, 255, 255, // clipped, 0.2, nothing
            ]
        );
    }

    #[test]
    fn channels_become_colors() {
        let line = [1.0, 0.0, 0.2, 0.4, 0.0, 1.0]; // red 1, 0; green 0.2, 0.4; blue 0, 1
        let png = grid_png(&[&line], [3, 1, 2]).unwrap();
        let found = image::load_from_memory(&png).unwrap().to_rgb8();
        assert_eq!(found.into_raw(), [255, 51, 0, 0, 102, 255]);
    }

    #[test]
    fn what_is_no_image_is_refused() {
        assert!(grid_png(&[&[0.0; 5]], [1, 2, 2]).is_err());
        assert!(grid_png(&[&[0.0; 8]], [2, 2, 2]).is_err());
        assert!(grid_png(&[&[]], [1, 2, 2]).is_err());
    }
}
