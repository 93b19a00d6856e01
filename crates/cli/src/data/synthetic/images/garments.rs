//! Garments cut from outlines, sleeves, soles and straps, then given a cloth.

use core_tensors::Rng;

use super::raster::{Canvas, Field, Freedom, PIXELS, Point, Pose, curve};
use super::shoes::{ankle_boot, sandal, sneaker};
use super::{bell, between, chance};

/// How far garments are laid out differently.
const FREEDOM: Freedom =
    Freedom { angle: 0.03, slant: [0.0, 0.04], scale: 0.07, shift: 1.2, bend: 0.4 };

/// The ten classes of FashionMNIST, in its order.
const GARMENTS: [fn(&mut Canvas, f32, &mut Rng); 10] =
    [t_shirt, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle_boot];

/// A garment of a class below ten.
pub(super) fn draw(class: u8, rng: &mut Rng) -> [u8; PIXELS] {
    let mut canvas = Canvas::new(Pose::new(&FREEDOM, rng));
    let intensity = between(rng, 0.35, 1.0);
    GARMENTS[usize::from(class)](&mut canvas, intensity, rng);
    weave(&mut canvas, rng);
    canvas.blur(between(rng, 0.0, 0.5));
    canvas.bytes(0.06, rng)
}

/// Measures of anything with a neck and two sleeves, in pixels.
struct Top {
    /// Half widths at neck, shoulder, armpit, waist and hem.
    neck: f32,
    shoulder: f32,
    chest: f32,
    waist: f32,
    hem: f32,
    /// Depth of the neckline, and whether it is pointed.
    depth: f32,
    pointed: bool,
    /// Rows of shoulder and hem, from the center.
    rise: f32,
    fall: f32,
    /// Length and half width of a sleeve, and the share of its length that points outwards.
    sleeve: f32,
    cuff: f32,
    spread: f32,
    /// Level of the line between body and sleeve, relative to the cloth.
    seam: f32,
    collar: bool,
    /// Share of the front that is open or buttoned, from the neck down.
    opening: f32,
    printed: bool,
}

impl Top {
    /// A cut between the classes, with sleeves of the given length.
    fn new(sleeve: f32, rng: &mut Rng) -> Self {
        let chest = bell(rng, 6.8, 0.8);
        let long = sleeve > 10.0;
        Self {
            neck: bell(rng, 2.8, 0.5),
            shoulder: chest + bell(rng, -0.6, 0.4),
            chest,
            waist: chest + bell(rng, -0.4, 0.5),
            hem: chest + bell(rng, 0.1, 0.6),
            depth: bell(rng, 1.7, 0.7).max(0.3),
            pointed: chance(rng, 0.35),
            rise: bell(rng, 12.6, 0.5),
            fall: bell(rng, 12.6, 0.6),
            sleeve,
            cuff: if long { bell(rng, 1.7, 0.3) } else { bell(rng, 2.4, 0.4) },
            spread: if long { bell(rng, 0.17, 0.06) } else { bell(rng, 0.55, 0.13) },
            seam: between(rng, 0.2, 0.95),
            collar: false,
            opening: 0.0,
            printed: false,
        }
    }

    fn draw(&self, canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
        let shade = intensity * between(rng, 0.75, 1.0);
        for side in [-1.0, 1.0] {
            self.draw_sleeve(canvas, side, shade, rng);
        }
        let armpit = 7.0 - self.rise;
        let right = [
            [self.neck, -self.rise - 0.2],
            [self.shoulder, 1.2 - self.rise],
            [self.chest, armpit],
            [self.waist, 2.0],
            [self.hem, self.fall],
        ];
        let bottom = self.depth - self.rise;
        let base = if self.pointed { 0.2 } else { 0.75 } * self.neck;
        let mut outline: Vec<Point> = vec![[-base, bottom], [base, bottom]];
        outline.extend(right);
        outline.extend(right.iter().rev().map(|&[x, y]| [-x, y]));
        canvas.fill(&outline, intensity);
        if self.sleeve > 1.0 {
            for side in [-1.0, 1.0] {
                let line = right[1..4].iter().map(|&[x, y]| [side * x, y]).collect::<Vec<_>>();
                canvas.stroke(&line, 0.3, intensity * self.seam);
            }
        }
        self.draw_front(canvas, intensity, rng);
    }

    fn draw_sleeve(&self, canvas: &mut Canvas, side: f32, intensity: f32, rng: &mut Rng) {
        if self.sleeve <= 1.0 {
            return;
        }
        let (shoulder, armpit) = (1.2 - self.rise, 7.5 - self.rise);
        let across = (self.spread + bell(rng, 0.0, 0.02)).clamp(0.0, 0.95);
        let down = (1.0 - across * across).sqrt();
        let length = self.sleeve + bell(rng, 0.0, 0.4);
        let root = [(self.shoulder + self.chest) / 2.0, (shoulder + armpit) / 2.0];
        let cuff = [root[0] + length * across, root[1] + length * down];
        let elbow = [root[0] + 1.0 + 0.55 * length * across, root[1] + 0.5 * length * down];
        let outline = [
            [self.shoulder - 1.0, shoulder - 0.3],
            [self.shoulder + 0.8, shoulder + 0.6],
            [elbow[0] + down * self.cuff * 1.15, elbow[1] - across * self.cuff],
            [cuff[0] + down * self.cuff, cuff[1] - across * self.cuff],
            [cuff[0] - down * self.cuff, cuff[1] + across * self.cuff],
            [self.chest - 0.5, armpit],
        ];
        canvas.fill(&outline.map(|[x, y]| [side * x, y]), intensity);
    }

    fn draw_front(&self, canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
        let top = self.depth - self.rise;
        if self.opening > 0.0 {
            let end = top + self.opening * (self.fall - top);
            let x = bell(rng, 0.0, 0.4);
            let line = contrast(intensity, rng);
            canvas.stroke(&[[x, top], [x, end]], between(rng, 0.05, 0.5), line);
        }
        if self.collar {
            let line = contrast(intensity, rng);
            let drop = between(rng, 1.0, 3.0);
            for side in [-1.0, 1.0] {
                let tip = [side * (self.neck + 0.4), top + drop];
                let lapel = [[side * self.neck, -self.rise - 0.5], tip, [0.0, top + 0.4]];
                canvas.stroke(&lapel, 0.4, line);
            }
        }
        if self.printed {
            let line = contrast(intensity, rng);
            let (x, y) = (bell(rng, 0.0, 0.8), bell(rng, -3.5, 1.2));
            let n = 2 + rng.below(4);
            let path: Vec<Point> =
                (0..n).map(|_| [x + bell(rng, 0.0, 2.0), y + bell(rng, 0.0, 1.2)]).collect();
            canvas.stroke(&path, between(rng, 0.3, 1.3), line);
        }
    }
}

fn t_shirt(canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
    let sleeve = match rng.below(20) {
        0 => 0.0,
        1 | 2 => bell(rng, 10.0, 2.0),
        _ => bell(rng, 5.5, 1.2),
    };
    let mut top = Top::new(sleeve, rng);
    top.printed = chance(rng, 0.35);
    top.collar = chance(rng, 0.08);
    top.opening = if chance(rng, 0.1) { 0.25 } else { 0.0 };
    top.draw(canvas, intensity, rng);
}

fn pullover(canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
    let mut top = Top::new(bell(rng, 18.2, 1.0), rng);
    top.spread += 0.08;
    top.cuff += 0.2;
    top.hem -= 0.5;
    top.fall -= 0.9;
    top.printed = chance(rng, 0.2);
    top.collar = chance(rng, 0.12);
    top.opening = if chance(rng, 0.1) { between(rng, 0.2, 1.0) } else { 0.0 };
    top.draw(canvas, intensity, rng);
    if chance(rng, 0.4) {
        let band = [[-top.hem, top.fall - 1.0], [top.hem, top.fall - 1.0]];
        canvas.stroke(&band, 0.5, intensity * between(rng, 0.6, 1.0));
    }
}

fn coat(canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
    let mut top = Top::new(bell(rng, 18.8, 1.0), rng);
    let wide = bell(rng, 0.4, 0.4);
    for width in [&mut top.chest, &mut top.shoulder, &mut top.waist, &mut top.hem] {
        *width += wide;
    }
    top.hem += 0.4;
    top.spread -= 0.03;
    top.collar = chance(rng, 0.6);
    top.pointed = chance(rng, 0.55);
    top.opening = if chance(rng, 0.8) { 1.0 } else { 0.0 };
    top.draw(canvas, intensity, rng);
    if chance(rng, 0.3) {
        let line = contrast(intensity, rng);
        for side in [-1.0, 1.0] {
            canvas.stroke(&[[side * 2.5, 5.5], [side * 4.8, 5.0]], 0.2, line);
        }
    }
}

fn shirt(canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
    let sleeve = match rng.below(20) {
        0 => 0.0,
        1..=5 => bell(rng, 7.5, 1.2),
        6..=9 => bell(rng, 12.5, 2.0),
        _ => bell(rng, 17.5, 1.2),
    };
    let mut top = Top::new(sleeve, rng);
    let slim = bell(rng, 0.95, 0.4);
    for width in [&mut top.chest, &mut top.shoulder, &mut top.waist, &mut top.hem] {
        *width -= slim;
    }
    top.cuff *= 0.9;
    top.printed = chance(rng, 0.12);
    top.collar = chance(rng, 0.5);
    top.pointed = chance(rng, 0.5);
    top.opening = if chance(rng, 0.5) { between(rng, 0.4, 1.3).min(1.0) } else { 0.0 };
    top.draw(canvas, intensity, rng);
}

fn dress(canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
    let sleeve = match rng.below(20) {
        0..=9 => 0.0,
        10..=14 => bell(rng, 4.5, 1.0),
        _ => bell(rng, 15.0, 2.0),
    };
    let mut top = Top::new(sleeve, rng);
    top.chest = bell(rng, 4.2, 0.7);
    top.shoulder = top.chest + bell(rng, -0.7, 0.5);
    top.neck = top.shoulder * between(rng, 0.5, 0.85);
    top.waist = top.chest + bell(rng, -0.2, 0.8);
    top.hem = top.chest + bell(rng, 1.8, 1.4);
    top.cuff = top.cuff.min(1.5);
    top.spread = top.spread.min(0.4);
    top.draw(canvas, intensity, rng);
    if chance(rng, 0.4) {
        let y = between(rng, -3.0, 1.0);
        canvas.stroke(&[[-top.chest, y], [top.chest, y]], 0.3, intensity * between(rng, 0.3, 1.0));
    }
}

fn trouser(canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
    let (belt, hip) = (bell(rng, 4.3, 0.6), bell(rng, 5.1, 0.6));
    let outer = bell(rng, 4.6, 1.1).max(2.4);
    let inner = (outer - bell(rng, 3.0, 0.5)).max(0.1);
    let (crotch, foot) = (bell(rng, -4.0, 1.2), bell(rng, 12.8, 0.6));
    let outline = [
        [-belt, -13.0],
        [belt, -13.0],
        [hip, -6.0],
        [outer, foot],
        [inner, foot],
        [between(rng, 0.0, 0.8), crotch],
        [-inner, foot],
        [-outer, foot],
        [-hip, -6.0],
    ];
    canvas.fill(&outline, intensity);
    if chance(rng, 0.5) {
        canvas.stroke(&[[0.0, -12.5], [0.0, crotch]], 0.2, intensity * between(rng, 0.4, 0.9));
    }
}

fn bag(canvas: &mut Canvas, intensity: f32, rng: &mut Rng) {
    let (base, mouth) = (bell(rng, 11.0, 1.6), bell(rng, 10.0, 1.8));
    let (top, floor) = (bell(rng, -3.5, 3.0).max(-10.0), bell(rng, 10.5, 1.5));
    let trim = contrast(intensity, rng);
    if chance(rng, 0.75) {
        let (foot, peak) = (between(rng, 2.5, 8.0), (top - between(rng, 2.0, 9.0)).max(-13.0));
        let handle =
            [[-foot, top + 0.5], [-0.6 * foot, peak], [0.6 * foot, peak], [foot, top + 0.5]];
        canvas.stroke(&curve(&handle, false), between(rng, 0.3, 0.8), intensity);
    }
    let corner = between(rng, 0.3, 2.5);
    let outline = [
        [-mouth + corner, top],
        [mouth - corner, top],
        [mouth, top + corner],
        [base, floor - corner],
        [base - corner, floor],
        [corner - base, floor],
        [-base, floor - corner],
        [-mouth, top + corner],
    ];
    canvas.fill(&outline, intensity);
    if chance(rng, 0.5) {
        let y = top + between(rng, 0.15, 0.5) * (floor - top);
        let flap = [[-mouth, top + 1.0], [-0.4 * mouth, y], [0.4 * mouth, y], [mouth, top + 1.0]];
        canvas.stroke(&flap, 0.3, trim);
    }
    if chance(rng, 0.4) {
        let (x, y) = (bell(rng, 0.0, 2.0), bell(rng, 3.0, 2.0));
        canvas.stroke(&[[x - 1.0, y], [x + 1.0, y]], between(rng, 0.4, 1.0), trim);
    }
}

/// A level for trims: darker or brighter than the cloth, often hardly different.
pub(super) fn contrast(intensity: f32, rng: &mut Rng) -> f32 {
    (intensity * between(rng, 0.25, 1.6)).min(1.0)
}

/// Gives everything lit a cloth: plain, worn, striped, checked or patterned.
fn weave(canvas: &mut Canvas, rng: &mut Rng) {
    let folds = Field::new(rng, 0.08);
    let (depth, spacing) = (between(rng, 0.1, 0.6), between(rng, 1.0, 4.0));
    let wave = |z: f32| (2.0 * (z / (2.0 * spacing)).rem_euclid(1.0) - 1.0).abs();
    match rng.below(20) {
        0..=9 => canvas.texture(|p| 1.0 + folds.at(p, 5.0)),
        10..=14 => {
            let pattern = Field::new(rng, depth);
            canvas.texture(|p| (1.0 + pattern.at(p, spacing)).max(0.1));
        }
        15 | 16 => canvas.texture(|[_, y]| 1.0 - depth * wave(y)),
        17 => canvas.texture(|[x, _]| 1.0 - depth * wave(x)),
        18 => canvas.texture(|[x, y]| 1.0 - depth * (wave(x) + wave(y)) / 2.0),
        _ => canvas.texture(|[_, y]| 1.0 - depth * (y / 28.0 + 0.5)),
    }
}
