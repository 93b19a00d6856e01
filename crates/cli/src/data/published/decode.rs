//! One image of a file: decoded, resized, as bytes.

use std::collections::VecDeque;
use std::io::Cursor;

use anyhow::{Result, anyhow, bail};
use image::codecs::png::PngDecoder;
use image::{DynamicImage, ImageDecoder};
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

/// Channels of a color image: red, green, blue.
pub(super) const CHANNELS: usize = 3;
/// First bytes of a JPEG file.
const JPEG: [u8; 2] = [0xff, 0xd8];
/// First bytes of a PNG file.
const PNG: [u8; 4] = [0x89, b'P', b'N', b'G'];
/// Pixels that an image may have: 25 megapixels, as of a camera, are shrunk to a hundredth and less here.
const MOST_PIXELS: usize = 25_000_000;
/// Bytes that the pixels of a PNG file may take as they are stored there, with transparency or 16 bits a level.
const MOST_BYTES: u64 = 100_000_000;
/// Pixels along a side that a file may have: more is a damaged header.
const LONGEST_SIDE: usize = 1 << 16;

/// What becomes of a grayscale image among colored ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrayscaleImages {
    /// Three equal channels, and counted: a known data set has a few.
    Convert,
    /// An error that names the file.
    Refuse,
}

/// An image before it is resized.
struct Decoded {
    width: usize,
    height: usize,
    /// Red, green and blue of each pixel, row by row.
    intensities: Vec<u8>,
    was_grayscale: bool,
}

/// What an image was before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Was {
    pub(super) grayscale: bool,
    /// Of another size.
    pub(super) resized: bool,
}

/// Writes the image of a JPEG or PNG file into `out`, (3, height, width), resized to this `size`.
///
/// The aspect is not kept, transparency is dropped, a turn in the file's notes is not made (as in torchvision).
pub(super) fn read(
    bytes: &[u8],
    size: [usize; 2],
    grayscale: GrayscaleImages,
    out: &mut [u8],
) -> Result<Was> {
    let image = if bytes.starts_with(&JPEG) {
        jpeg(bytes)?
    } else if bytes.starts_with(&PNG) {
        png(bytes)?
    } else {
        bail!("wanted a JPEG or PNG picture, found bytes {:?}", &bytes[..bytes.len().min(4)]);
    };
    if image.was_grayscale && grayscale == GrayscaleImages::Refuse {
        bail!("wanted a colour picture, found a grey one");
    }
    let found = [image.height, image.width];
    resize(&image.intensities, found, size, out);
    Ok(Was { grayscale: image.was_grayscale, resized: found != size })
}

/// Strictly: what is cut off would otherwise come out as grayscale.
fn jpeg(bytes: &[u8]) -> Result<Decoded> {
    let damaged =
        |error: zune_jpeg::errors::DecodeErrors| found_damaged("JPEG", &error.to_string());
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(LONGEST_SIDE)
        .set_max_height(LONGEST_SIDE)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(damaged)?;
    let space = decoder.input_colorspace();
    if let Some(ColorSpace::CMYK | ColorSpace::YCCK) = space {
        bail!("wanted red, green and blue, found the four colours of print (CMYK)");
    }
    let (width, height) = decoder.dimensions().unwrap_or_default();
    check_size(width, height)?;
    let intensities = decoder.decode().map_err(damaged)?;
    if intensities.is_empty() || intensities.len() != CHANNELS * width * height {
        bail!(
            "wanted {width}×{height} pixels in three channels, found {} bytes",
            intensities.len()
        );
    }
    Ok(Decoded { width, height, intensities, was_grayscale: space == Some(ColorSpace::Luma) })
}

fn png(bytes: &[u8]) -> Result<Decoded> {
    let damaged = |error: image::ImageError| found_damaged("PNG", &error.to_string());
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(2 * MOST_BYTES);
    let decoder = PngDecoder::with_limits(Cursor::new(bytes), limits).map_err(damaged)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_size(width, height)?;
    if decoder.total_bytes() > MOST_BYTES {
        let found = decoder.total_bytes();
        bail!(
            "wanted at most {MOST_BYTES} bytes of pixels, found {width}×{height} in {found}; shrink it first"
        );
    }
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    let was_grayscale = !image.color().has_color();
    Ok(Decoded { width, height, intensities: image.into_rgb8().into_raw(), was_grayscale })
}

/// Refuses more pixels than are decoded, before any is: a small file can hold very many.
fn check_size(width: usize, height: usize) -> Result<()> {
    if width.saturating_mul(height) > MOST_PIXELS {
        bail!("wanted at most {MOST_PIXELS} pixels, found {width}×{height}; shrink it first");
    }
    Ok(())
}

/// The decoder's reason in one line.
fn found_damaged(format: &str, reason: &str) -> anyhow::Error {
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    anyhow!("wanted a whole {format} picture, found a damaged one ({reason})")
}

/// Linear interpolation with antialiasing of levels (height, width, 3) to (3, height, width), rounded once at the end.
///
/// An output pixel i is Σⱼ wᵢⱼ xⱼ along either axis, wᵢⱼ ∝ max(0, 1 − |j + ½ − (i + ½) r| / max(r, 1)), r = input / output
/// pixels, the weights of a pixel summing to 1. That is torchvision's and PIL's bilinear resize with antialiasing.
fn resize(intensities: &[u8], from: [usize; 2], to: [usize; 2], out: &mut [u8]) {
    let ([height, width], [rows, columns]) = (from, to);
    let (across, down) = (Weights::new(width, columns), Weights::new(height, rows));
    // Rows that became narrow, (3, columns) each, from `first` on: an output row needs but the few below its weights.
    let (mut narrow, mut first) = (VecDeque::<Vec<f32>>::new(), 0);
    let mut line = vec![0.0f32; CHANNELS * columns];
    for (i, (start, weights)) in down.rows().enumerate() {
        while first < start {
            narrow.pop_front();
            first += 1;
        }
        while first + narrow.len() < start + weights.len() {
            let row = &intensities[(first + narrow.len()) * CHANNELS * width..][..CHANNELS * width];
            narrow.push_back(narrowed(row, &across, columns));
        }
        line.fill(0.0);
        for (row, w) in narrow.iter().zip(weights) {
            line.iter_mut().zip(row).for_each(|(sum, x)| *sum += w * x);
        }
        for (channel, values) in line.chunks_exact(columns).enumerate() {
            let target = &mut out[(channel * rows + i) * columns..][..columns];
            target.iter_mut().zip(values).for_each(|(out, x)| *out = (x + 0.5) as u8);
        }
    }
}

/// A row of pixels, (width, 3), as (3, n).
fn narrowed(row: &[u8], across: &Weights, n: usize) -> Vec<f32> {
    let mut narrow = vec![0.0; CHANNELS * n];
    for (i, (start, weights)) in across.rows().enumerate() {
        let mut sum = [0.0; CHANNELS];
        for (pixel, w) in row[CHANNELS * start..].chunks_exact(CHANNELS).zip(weights) {
            sum.iter_mut().zip(pixel).for_each(|(sum, &x)| *sum += w * f32::from(x));
        }
        sum.into_iter().enumerate().for_each(|(channel, x)| narrow[channel * n + i] = x);
    }
    narrow
}

/// The weights of every output pixel along one axis.
struct Weights {
    /// First input pixel and range of `values` of each output pixel.
    spans: Vec<(usize, std::ops::Range<usize>)>,
    values: Vec<f32>,
}

impl Weights {
    fn new(n_in: usize, n_out: usize) -> Self {
        let ratio = n_in as f64 / n_out as f64;
        let reach = ratio.max(1.0);
        let (mut spans, mut values) = (Vec::with_capacity(n_out), Vec::new());
        for i in 0..n_out {
            let center = (i as f64 + 0.5) * ratio;
            let weight = |j: usize| (1.0 - (j as f64 + 0.5 - center).abs() / reach).max(0.0);
            let start = (center - reach).max(0.0) as usize;
            let end = ((center + reach).ceil() as usize).min(n_in);
            let total: f64 = (start..end).map(weight).sum();
            let first = values.len();
            values.extend((start..end).map(|j| (weight(j) / total) as f32));
            spans.push((start, first..values.len()));
        }
        Self { spans, values }
    }

    fn rows(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.spans.iter().map(|(start, range)| (*start, &self.values[range.clone()]))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use image::codecs::jpeg::JpegEncoder;
    use image::{ExtendedColorType, ImageEncoder};

    /// A JPEG file of one color, or of one grayscale level.
    pub(crate) fn jpeg_of(intensity: &[u8], width: u32, height: u32) -> Vec<u8> {
        let intensities = intensity.repeat((width * height) as usize);
        let color =
            if intensity.len() == 1 { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
        let mut bytes = Vec::new();
        JpegEncoder::new_with_quality(&mut bytes, 100)
            .write_image(&intensities, width, height, color)
            .unwrap();
        bytes
    }

    pub(crate) fn png_of(
        intensities: &[u8],
        width: u32,
        height: u32,
        color: ExtendedColorType,
    ) -> Vec<u8> {
        let mut bytes = Vec::new();
        let encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        encoder.write_image(intensities, width, height, color).unwrap();
        bytes
    }

    /// A header with a fourth channel, as images for print have.
    fn with_four_channels(mut jpeg: Vec<u8>) -> Vec<u8> {
        for marker in [0xc0, 0xda] {
            let at = jpeg.windows(2).position(|pair| pair == [0xff, marker]).unwrap();
            // The frame says its size before its channels, three bytes each; the scan two bytes each.
            let (count, width) = if marker == 0xc0 { (at + 9, 3) } else { (at + 4, 2) };
            jpeg[at + 3] += width as u8;
            jpeg[count] = 4;
            let mut channel = jpeg[count + 1..][..width].to_vec();
            channel[0] = 4;
            let end = count + 1 + 3 * width;
            jpeg.splice(end..end, channel);
        }
        jpeg
    }

    fn message(bytes: &[u8]) -> String {
        let error = read(bytes, [2, 2], GrayscaleImages::Refuse, &mut [0; 12]).unwrap_err();
        format!("{error:#}")
    }

    #[test]
    fn one_color_stays_that_color_in_separate_channels() {
        let mut out = [0; 3 * 16];
        assert!(
            !read(&jpeg_of(&[200, 100, 50], 9, 31), [4, 4], GrayscaleImages::Refuse, &mut out)
                .unwrap()
                .grayscale
        );
        for (channel, wanted) in [200u8, 100, 50].into_iter().enumerate() {
            let intensities = &out[16 * channel..][..16];
            assert!(intensities.iter().all(|&x| x.abs_diff(wanted) < 4), "{intensities:?}");
        }
    }

    #[test]
    fn a_grayscale_image_is_converted_and_told_or_refused() {
        let mut out = [0; 12];
        let was = read(&jpeg_of(&[77], 5, 5), [2, 2], GrayscaleImages::Convert, &mut out).unwrap();
        assert_eq!(was, Was { grayscale: true, resized: true });
        assert!(out.iter().all(|&x| x.abs_diff(77) < 3), "{out:?}");
        let refusal = "wanted a colour picture, found a grey one";
        assert_eq!(message(&jpeg_of(&[77], 5, 5)), refusal);
        assert_eq!(message(&png_of(&[9; 4], 2, 2, ExtendedColorType::L8)), refusal);
    }

    #[test]
    fn png_is_read_to_the_last_bit() {
        let intensities: Vec<u8> = (0..12).map(|i| 20 * i).collect();
        let mut out = [0; 12];
        let bytes = png_of(&intensities, 2, 2, ExtendedColorType::Rgb8);
        let was = read(&bytes, [2, 2], GrayscaleImages::Refuse, &mut out).unwrap();
        assert_eq!(was, Was { grayscale: false, resized: false });
        assert_eq!(out, [0, 60, 120, 180, 20, 80, 140, 200, 40, 100, 160, 220]);
    }

    #[test]
    fn every_defect_is_named() {
        let whole = jpeg_of(&[200, 100, 50], 64, 64);
        for end in [2, 30, whole.len() / 2, whole.len() - 40] {
            let told = message(&whole[..end]);
            assert!(told.starts_with("wanted a whole JPEG picture, found a damaged one"), "{told}");
            assert_eq!(told.lines().count(), 1);
        }
        let png = png_of(&[9; 12], 2, 2, ExtendedColorType::Rgb8);
        assert!(message(&png[..40]).starts_with("wanted a whole PNG picture"));
        assert_eq!(
            message(b"GIF89a"),
            "wanted a JPEG or PNG picture, found bytes [71, 73, 70, 56]"
        );
        assert_eq!(message(b""), "wanted a JPEG or PNG picture, found bytes []");
        assert!(message(&with_four_channels(whole)).contains("CMYK"));
    }

    #[test]
    fn more_pixels_than_a_camera_gives_are_refused_before_they_are_decoded() {
        // A header alone: 8 bytes of signature, then a chunk of 13 bytes with width, height, depth and color.
        let mut header = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
        for (sides, wanted) in
            [([5001u32, 5000], "wanted at most 25000000 pixels"), ([5000, 5000], "damaged")]
        {
            header.truncate(16);
            sides.iter().for_each(|side| header.extend(side.to_be_bytes()));
            header.extend([8, 2, 0, 0, 0]);
            let mut sum = flate2::Crc::new();
            sum.update(&header[12..]);
            header.extend(sum.sum().to_be_bytes());
            let told = message(
                &[&header[..], b"\0\0\0\0IDAT\x35\xaf\x06\x1e\0\0\0\0IEND\xae\x42\x60\x82"]
                    .concat(),
            );
            assert!(told.contains(wanted), "{told}");
        }
    }

    #[test]
    fn weights_of_a_shrunk_and_of_a_stretched_axis_by_hand() {
        // Four pixels into two: r = 2, centers 1 and 3; |j + ½ − 1| / 2 = ¼, ¼, ¾ leave ¾, ¾, ¼ of the sum 7/4.
        let near = |found: &[f32], wanted: &[f32]| {
            found.len() == wanted.len()
                && found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6)
        };
        let shrunk = Weights::new(4, 2);
        let rows: Vec<_> = shrunk.rows().collect();
        assert!(rows[0].0 == 0 && near(rows[0].1, &[3.0 / 7.0, 3.0 / 7.0, 1.0 / 7.0]));
        assert!(rows[1].0 == 1 && near(rows[1].1, &[1.0 / 7.0, 3.0 / 7.0, 3.0 / 7.0]));
        // Two pixels into four: the ends repeat, between them lies ¾ and ¼.
        let stretched = Weights::new(2, 4);
        let rows: Vec<_> = stretched.rows().collect();
        assert!(near(rows[0].1, &[1.0, 0.0]) && near(rows[1].1, &[0.75, 0.25]), "{rows:?}");
        assert!(near(rows[2].1, &[0.25, 0.75]), "{rows:?}");
    }

    #[test]
    fn the_resize_equals_that_of_the_image_crate() {
        let (height, width, rows, columns) = (37, 53, 12, 16);
        let intensities: Vec<u8> = (0..3 * height * width).map(|i| (i * i % 251) as u8).collect();
        let mut out = vec![0; 3 * rows * columns];
        resize(&intensities, [height, width], [rows, columns], &mut out);
        let image = image::RgbImage::from_raw(width as u32, height as u32, intensities).unwrap();
        let filter = image::imageops::FilterType::Triangle;
        let oracle = image::imageops::resize(&image, columns as u32, rows as u32, filter);
        for (x, y, pixel) in oracle.enumerate_pixels() {
            for channel in 0..3 {
                let found = out[(channel * rows + y as usize) * columns + x as usize];
                // Either rounds sums of single precision once.
                assert!(found.abs_diff(pixel[channel]) <= 1, "{x}, {y}, {channel}");
            }
        }
    }
}
