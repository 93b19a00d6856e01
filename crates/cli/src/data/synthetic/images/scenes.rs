//! Colored shapes and patterns on clouded ground: a stand-in for ten classes of photographs.

use anyhow::Result;
use core_tensors::Rng;

use super::raster::{Field, Point};
use super::{CLASSES, balanced, bell, between};
use crate::files::fill_on_threads;

/// Color that a class tends to; its standard deviation is [`SPREAD`].
const COLORS: [[f32; 3]; 10] = [
    [0.8, 0.3, 0.2],
    [0.3, 0.7, 0.3],
    [0.2, 0.4, 0.8],
    [0.8, 0.7, 0.2],
    [0.6, 0.3, 0.7],
    [0.3, 0.7, 0.7],
    [0.8, 0.5, 0.3],
    [0.5, 0.5, 0.5],
    [0.4, 0.6, 0.2],
    [0.7, 0.4, 0.5],
];
/// Standard deviation of every color: classes overlap, as those of photographs do.
const SPREAD: f32 = 0.25;
/// Largest noise of a pixel, a share of white.
const GRAIN: f32 = 0.08;

/// `n` images in random order of classes: levels (n, 3, side, side) and n labels.
///
/// Geometry uses the four operations and square roots alone: the same bytes on every platform.
pub(crate) fn images(side: usize, n: usize, rng: &Rng) -> Result<(Vec<u8>, Vec<u8>)> {
    let labels = balanced(n, &mut rng.split("labels"));
    let intensities = fill_on_threads(n, 3 * side * side, |index, out| {
        draw(labels[index], side, &mut rng.split(&index.to_string()), out);
        Ok(())
    })?;
    Ok((intensities, labels))
}

/// One image, (3, side, side).
fn draw(class: u8, side: usize, rng: &mut Rng, out: &mut [u8]) {
    let class = class % CLASSES;
    let paint = COLORS[usize::from(class)].map(|intensity| intensity + bell(rng, 0.0, SPREAD));
    let ground: [[f32; 3]; 2] =
        std::array::from_fn(|_| std::array::from_fn(|_| between(rng, 0.0, 1.0)));
    let cloud = Field::new(rng, 0.4);
    // With t = tan(angle / 2), sine and cosine are rational.
    let t = bell(rng, 0.0, 0.12);
    let (cos, sin) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
    let scale = 1.0 + bell(rng, 0.0, 0.2);
    let shift = [0, 1].map(|_| between(rng, -0.25, 0.25));
    // Two units wide whatever the side, so that an image looks the same at every side.
    let pixel = 2.0 / side as f32;
    for i in 0..side {
        for j in 0..side {
            let at = [j, i].map(|z| (z as f32 + 0.5) * pixel - 1.0);
            let [x, y] = [0, 1].map(|axis| (at[axis] - shift[axis]) / scale);
            let point = [cos * x + sin * y, cos * y - sin * x];
            let cover = (0.5 - distance(class, point) * scale / pixel).clamp(0.0, 1.0);
            let mix = (0.5 + cloud.at(at, 0.5)).clamp(0.0, 1.0);
            let noise = between(rng, -GRAIN, GRAIN);
            for channel in 0..3 {
                let below = ground[0][channel] * (1.0 - mix) + ground[1][channel] * mix;
                let intensity = below + cover * (paint[channel] - below) + noise;
                out[(channel * side + i) * side + j] = (255.0 * intensity).clamp(0.0, 255.0) as u8;
            }
        }
    }
}

/// How far a point lies outside the shape of a class, below 0 inside.
fn distance(class: u8, [x, y]: Point) -> f32 {
    let radius = (x * x + y * y).sqrt();
    let square = x.abs().max(y.abs());
    // A wave of period 0.5 between −¼ and ¼.
    let wave = |z: f32| ((z * 2.0).rem_euclid(1.0) - 0.5).abs() - 0.25;
    match class {
        0 => radius - 0.6,
        1 => square - 0.55,
        2 => (y - 0.5).max(0.894_427_2 * x.abs() - 0.447_213_6 * (y + 0.6)),
        3 => (radius - 0.55).abs() - 0.15,
        4 => (x.abs().min(y.abs()) - 0.18).max(square - 0.7),
        5 => (x.abs() + y.abs() - 0.75) * std::f32::consts::FRAC_1_SQRT_2,
        6 => (wave(y) / 2.0).max(square - 0.8),
        7 => (wave(x) / 2.0).max(square - 0.8),
        8 => {
            let check = wave(x) * wave(y) * 2.0;
            check.max(square - 0.8)
        }
        _ => {
            let dot = [x, y].map(|z| (z * 2.0).rem_euclid(1.0) - 0.5);
            ((dot[0] * dot[0] + dot[1] * dot[1]).sqrt() / 2.0 - 0.14).max(square - 0.8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_one_does_not() {
        let first = images(16, 23, &Rng::new(5)).unwrap();
        assert_eq!(first, images(16, 23, &Rng::new(5)).unwrap());
        assert_ne!(first, images(16, 23, &Rng::new(6)).unwrap());
        assert_eq!((first.0.len(), first.1.len()), (23 * 3 * 256, 23));
    }

    #[test]
    fn classes_differ_and_overlap() {
        // The rule of the nearest mean over 1000 finds more than chance and by far not everything.
        let (side, size) = (12, 3 * 144);
        let (x, y) = images(side, 1000, &Rng::new(0)).unwrap();
        let mut means = vec![vec![0.0; size]; 10];
        for (image, &class) in x.chunks_exact(size).zip(&y) {
            let mean = &mut means[usize::from(class)];
            mean.iter_mut().zip(image).for_each(|(mean, &x)| *mean += f64::from(x) / 100.0);
        }
        let (x, y) = images(side, 500, &Rng::new(1)).unwrap();
        let nearest = |image: &[u8]| {
            let distance = |class: &usize| -> f64 {
                means[*class].iter().zip(image).map(|(m, &x)| (m - f64::from(x)).powi(2)).sum()
            };
            (0..10).min_by(|a, b| distance(a).total_cmp(&distance(b)))
        };
        let is_right = |(image, class): &(&[u8], &u8)| nearest(image) == Some(usize::from(**class));
        let accuracy = x.chunks_exact(size).zip(&y).filter(is_right).count() as f64 / 500.0;
        assert!((0.2..0.7).contains(&accuracy), "{accuracy}");
    }
}
