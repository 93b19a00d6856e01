//! A folder of images: one folder in it for each class, or the images themselves, which have no labels then.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{Device, Tensor};

use super::names::Named;
use super::options::Scope;
use super::place::Place;
use super::request::Request;
use super::{Read, Targets};
use crate::data::published::{
    GrayscaleImages, Intensities, has_classes, images_by_class, images_of_folder, other_files,
};

/// Weights of red, green and blue in a gray level, in 65536ths: ITU-R BT.601, as PIL rounds them.
const LUMA: [u32; 3] = [19595, 38470, 7471];
const ONE: u32 = 1 << 16;

/// The images in the size that the options or the network say, bytes (m, 1 or 3, height, width).
pub(super) fn read(folder: &Path, request: &Request) -> Result<Read> {
    request.check_options(&[Scope::Folders, Scope::Images], "a folder")?;
    let options = request.images.ok_or_else(|| {
        anyhow!("expected a file, found a folder: this command takes no folder of images")
    })?;
    let frame = request.input_shape.and_then(frame);
    let size = options.image_size.or(frame.map(|[_, height, width]| [height, width]));
    let size = size.ok_or_else(|| {
        anyhow!("--image-size: expected a height and a width such as 224x224, as the network does not say them")
    })?;
    let channels = if options.grayscale { 1 } else { frame.map_or(3, |[channels, ..]| channels) };
    if ![1, 3].contains(&channels) {
        bail!("expected a network that takes images of 1 or 3 channels, found one of {channels}");
    }
    let (y, images) = if has_classes(folder)? {
        let found = images_by_class(folder, size, GrayscaleImages::Convert);
        let (names, classes, images) = found.map_err(|error| inner(folder, error))?;
        let named = Named { classes, names, is_told: false };
        (Some(Targets::Named(named)), images)
    } else {
        (None, images_of_folder(folder, size, GrayscaleImages::Convert)?.1)
    };
    let [height, width] = size;
    let m = images.bytes.len() / (3 * height * width);
    let notices = notices(folder, m, size, channels, &images)?;
    let bytes = match channels {
        1 => gray(&images.bytes, height * width),
        _ => images.bytes,
    };
    let x = Tensor::from_vec(bytes, (m, channels, height, width), &Device::Cpu)?;
    let image = Some([channels, height, width]);
    Ok(Read { x, y, place: Place::Rows("array"), image, is_open: false, notices })
}

/// Channels, height and width of a network's input, where it is one of images.
pub(super) fn frame(input: &[usize]) -> Option<[usize; 3]> {
    match *input {
        [c @ (1 | 3), h, w] | [h, w, c @ (1 | 3)] => Some([c, h, w]),
        _ => None,
    }
}

/// An error about a class that holds folders and no images says what they may be.
fn inner(folder: &Path, error: anyhow::Error) -> anyhow::Error {
    let halves = ["train", "val", "valid", "test"];
    match halves.iter().find(|half| folder.join(half).is_dir()) {
        Some(half) => error.context(format!(
            "a folder for each class is expected; if {half} is a part of the data, give {}",
            folder.join(half).display()
        )),
        None => error,
    }
}

fn notices(
    folder: &Path,
    m: usize,
    [height, width]: [usize; 2],
    channels: usize,
    images: &Intensities,
) -> Result<Vec<String>> {
    let color = if channels == 1 { "grayscale" } else { "color" };
    let resized = match images.n_resized {
        0 => String::new(),
        n => format!(
            "; {n} were resized, bilinear with antialiasing, without regard to their aspect"
        ),
    };
    let mut notices = vec![format!(
        "{m} images, {height} x {width}, {color}, intensities divided by 255{resized}"
    )];
    match (channels, images.n_grayscale) {
        (1, n) if n < m => {
            notices.push(format!("{} color images are made gray (ITU-R BT.601)", m - n));
        }
        (3, n) if n > 0 => {
            notices.push(format!("{n} grayscale images have three equal channels now"));
        }
        _ => {}
    }
    let others = other_files(folder).context("listing files")?;
    if let Some(first) = others.first() {
        let (n, first) = (others.len(), first.display());
        notices.push(format!(
            "{n} files that are not named .jpg, .jpeg or .png are left out, the first {first}"
        ));
    }
    Ok(notices)
}

/// Gray levels of images (m, 3, pixels).
fn gray(bytes: &[u8], pixels: usize) -> Vec<u8> {
    let image = |image: &[u8]| -> Vec<u8> {
        let level = |at: usize| {
            let sum: u32 = (0..3).map(|c| LUMA[c] * u32::from(image[c * pixels + at])).sum();
            ((sum + ONE / 2) / ONE) as u8
        };
        (0..pixels).map(level).collect()
    };
    bytes.chunks_exact(3 * pixels).flat_map(image).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gray_levels_are_those_of_pil() {
        // Image.new("RGB", (1, 1), c).convert("L") for (200, 100, 50), (1, 2, 3), (255, 255, 255), (0, 0, 255).
        let colors = [[200, 100, 50], [1, 2, 3], [255; 3], [0, 0, 255]];
        let levels: Vec<u8> = colors.iter().flat_map(|color| gray(color, 1)).collect();
        assert_eq!(levels, [124, 2, 255, 29]);
        // Channels come one after another.
        assert_eq!(gray(&[255, 0, 255, 0, 255, 0], 2), [255, 0]);
    }
}
