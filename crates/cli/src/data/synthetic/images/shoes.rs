//! Shoes seen from the side with the toe to the left: soles, uppers, straps and laces.

use core_tensors::Rng;

use super::garments::contrast;
use super::raster::{Canvas, Point, curve};
use super::{bell, between, chance};

pub(super) fn sneaker(canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
    let ground = bell(rng, 5.0, 0.8);
    let height = if chance(rng, 0.2) { bell(rng, 12.5, 1.5) } else { bell(rng, 8.8, 1.1) };
    shoe(canvas, intensity, ground, height, rng);
    let sole = contrast(intensity, rng);
    canvas.stroke(&[[-12.0, ground - 0.6], [12.3, ground - 0.6]], between(rng, 0.4, 1.1), sole);
    let line = contrast(intensity, rng);
    for lace in 0..rng.below(4) {
        let x = -5.0 + 1.8 * lace as f32;
        let y = ground - 0.62 * height - 0.7 * lace as f32;
        canvas.stroke(&[[x, y], [x + 1.5, y + 1.5]], 0.25, line);
    }
    if chance(rng, 0.5) {
        let (x, y) = (bell(rng, 3.0, 1.5), ground - bell(rng, 3.5, 0.8));
        let swoosh = [[x - 4.0, y + 1.0], [x, y + 0.6], [x + 4.5, y - 2.0]];
        canvas.stroke(&curve(&swoosh, false), between(rng, 0.2, 0.7), line);
    }
}

pub(super) fn ankle_boot(canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
    let low = chance(rng, 0.4);
    let height = if low { bell(rng, 13.0, 1.4) } else { bell(rng, 19.0, 1.8) };
    let ground = 0.5 * height + bell(rng, 0.0, 0.6);
    let heel = if chance(rng, 0.6) { between(rng, 1.0, 5.0) } else { 0.6 };
    let floor = ground - 0.5 * heel;
    let (ankle, toe) = (ground - height, floor - bell(rng, 3.8, 0.6));
    let (front, back) = (bell(rng, 1.0, 1.5), bell(rng, 12.0, 0.7));
    let outline = [
        [-13.0, floor],
        [-12.0, toe],
        [-7.5, toe - 1.5],
        [front - 2.0, toe - 4.0],
        [front, ankle],
        [back, ankle + bell(rng, 0.0, 0.5)],
        [back - 0.5, toe - 2.0],
        [12.8, floor - heel],
        [12.5, ground],
        [7.5, ground],
        [6.5, ground - heel],
        [-2.0, floor],
    ];
    canvas.fill(&outline, intensity);
    let line = contrast(intensity, rng);
    if chance(rng, 0.5) {
        let sole = [[-12.5, floor - 0.3], [-2.0, floor - 0.3], [6.5, ground - heel]];
        canvas.stroke(&sole, between(rng, 0.3, 0.8), line);
    }
    for lace in 0..rng.below(5) {
        let y = (toe - 3.0 - 1.8 * lace as f32).max(ankle + 0.8);
        canvas.stroke(&[[front - 1.5, y], [front + 1.5, y + 0.6]], 0.25, line);
    }
}

pub(super) fn sandal(canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
    let heel = if chance(rng, 0.35) { between(rng, 4.0, 15.0) } else { between(rng, 0.0, 2.5) };
    let ground = 4.0 + 0.4 * heel + bell(rng, 0.0, 0.7);
    let thickness = between(rng, 0.4, 1.2);
    let sole = |x: f32| {
        // The foot rests flat up to the ball, then rises towards the heel.
        let share = ((x + 5.0) / 16.0).clamp(0.0, 1.0);
        ground - 1.0 - heel * share * (1.6 - 0.6 * share)
    };
    if chance(rng, 0.15) {
        // A closed sandal: the upper of a low shoe with slits in it.
        shoe(canvas, intensity, ground, bell(rng, 7.5, 1.2), rng);
        for _ in 0..2 + rng.below(3) {
            let x = between(rng, -9.0, 9.0);
            let slit = [[x, ground - 1.5], [x + between(rng, -1.0, 3.0), ground - 6.5]];
            canvas.stroke(&slit, between(rng, 0.3, 1.2), 0.0);
        }
    }
    let bed: Vec<Point> = (0..9).map(|i| -12.5 + 3.1 * i as f32).map(|x| [x, sole(x)]).collect();
    canvas.stroke(&bed, thickness, intensity);
    if heel > 3.0 {
        let block = between(rng, 0.4, 1.5);
        canvas.stroke(&[[11.0, sole(11.0)], [11.8, ground]], block, intensity);
    }
    let strap = intensity * between(rng, 0.6, 1.1);
    for _ in 0..1 + rng.below(4) {
        let (x, run) = (between(rng, -11.0, 3.0), between(rng, 2.0, 7.0));
        let rise = between(rng, 2.5, 5.5);
        let loops = [[x, sole(x)], [x + 0.5 * run, sole(x) - rise], [x + run, sole(x + run)]];
        canvas.stroke(&curve(&loops, false), between(rng, 0.3, 1.3), strap.min(1.0));
    }
    if chance(rng, 0.5) {
        let (y, x) = (sole(10.0) - between(rng, 3.0, 6.5), between(rng, 1.0, 6.0));
        let ring = [[11.5, sole(11.5)], [11.5, y], [x, y + 0.5], [x - 1.5, sole(x)]];
        canvas.stroke(&curve(&ring, false), between(rng, 0.3, 0.8), strap.min(1.0));
    }
}

/// A low shoe whose ankle opens `height` pixels above the sole; the toe points left.
fn shoe(canvas: &mut Canvas, intensity: f32, ground: f32, height: f32, rng: &mut Rng) {
    let ankle = ground - height;
    let toe = bell(rng, 3.6, 0.6);
    let throat = bell(rng, 1.5, 1.2);
    let outline = [
        [-13.0, ground - 1.0],
        [-12.0, ground - toe],
        [-8.0, ground - toe - 1.2],
        [-3.5, ground - 0.5 * (height + toe)],
        [throat, ankle],
        [throat + 2.0, ankle + between(rng, 0.0, 1.2)],
        [11.0, ankle + between(rng, -0.8, 1.0)],
        [12.0, ground - 0.5 * height],
        [13.0, ground],
        [-12.0, ground],
    ];
    canvas.fill(&outline, intensity);
}
