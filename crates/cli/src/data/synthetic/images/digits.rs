//! Digits written with a round pen: splines through jittered points, several forms of each glyph.

use core_tensors::Rng;

use super::raster::{Canvas, Freedom, PIXELS, Point, Pose, curve};
use super::{bell, between, chance};

/// Half the height of a digit, in pixels.
const HALF_HEIGHT: f32 = 8.6;
/// Mean over hands of a control point's standard deviation, in halves of the height.
const JITTER: f32 = 0.09;
/// How far hands differ.
const FREEDOM: Freedom =
    Freedom { angle: 0.12, slant: [0.12, 0.25], scale: 0.12, shift: 0.9, bend: 1.1 };

/// Control points of each stroke of the pen, in the square [−1, 1]².
type Strokes = Vec<Vec<Point>>;

/// The ten glyphs; each draws one of its forms.
const GLYPHS: [fn(&mut Rng) -> Strokes; 10] =
    [zero, one, two, three, four, five, six, seven, eight, nine];

/// A digit below ten.
pub(super) fn draw(digit: u8, rng: &mut Rng) -> [u8; PIXELS] {
    let mut canvas = Canvas::new(Pose::new(&FREEDOM, rng));
    let strokes = GLYPHS[usize::from(digit)](rng);
    let width = HALF_HEIGHT * bell(rng, 1.0, 0.14);
    let radius = between(rng, 0.55, 1.7);
    let jitter = JITTER * between(rng, 0.4, 1.6);
    for stroke in strokes {
        let points: Vec<Point> = stroke
            .iter()
            .map(|&[x, y]| [width * bell(rng, x, jitter), HALF_HEIGHT * bell(rng, y, jitter)])
            .collect();
        canvas.stroke(&curve(&points, false), radius, 1.0);
    }
    canvas.blur(between(rng, 0.0, 0.45));
    canvas.bytes(0.04, rng)
}

fn zero(rng: &mut Rng) -> Strokes {
    let w = between(rng, 0.45, 0.8);
    let end = if chance(rng, 0.2) { [0.25 * w, -0.8] } else { [0.0, -1.0] };
    let d = 0.72;
    vec![vec![
        [0.0, -1.0],
        [-w * d, -d],
        [-w, 0.0],
        [-w * d, d],
        [0.0, 1.0],
        [w * d, d],
        [w, 0.0],
        [w * d, -d],
        end,
    ]]
}

fn one(rng: &mut Rng) -> Strokes {
    let mut strokes = vec![vec![[0.0, -1.0], [0.0, 0.0], [0.0, 1.0]]];
    if chance(rng, 0.3) {
        strokes.push(vec![[-0.35, -0.6], [0.0, -1.0]]);
    }
    if chance(rng, 0.12) {
        strokes.push(vec![[-0.4, 1.0], [0.4, 1.0]]);
    }
    strokes
}

fn two(rng: &mut Rng) -> Strokes {
    let head = [[-0.5, -0.6], [-0.1, -1.0], [0.4, -0.75], [0.4, -0.3], [0.0, 0.3]];
    if chance(rng, 0.35) {
        let tail = [[-0.4, 0.85], [-0.6, 0.7], [-0.4, 0.5], [0.0, 0.8], [0.65, 0.9]];
        return vec![[head, tail].concat()];
    }
    let mut bow = head.to_vec();
    bow.push([-0.55, 0.9]);
    vec![bow, vec![[-0.55, 0.9], [0.1, 0.88], [0.6, 0.9]]]
}

fn three(rng: &mut Rng) -> Strokes {
    let bowl = vec![[-0.1, -0.08], [0.4, 0.15], [0.45, 0.65], [0.0, 1.0], [-0.55, 0.75]];
    if chance(rng, 0.2) {
        let top = vec![[-0.5, -0.9], [0.45, -0.92]];
        return vec![top, vec![[0.45, -0.92], [-0.1, -0.08]], bowl];
    }
    let top = vec![[-0.5, -0.75], [-0.05, -1.0], [0.42, -0.7], [0.25, -0.25], [-0.1, -0.08]];
    vec![top, bowl]
}

fn four(rng: &mut Rng) -> Strokes {
    let bar = between(rng, 0.0, 0.35);
    if chance(rng, 0.25) {
        let stem = vec![[0.25, -1.0], [0.22, 0.0], [0.2, 1.0]];
        return vec![stem, vec![[0.25, -1.0], [-0.6, bar]], vec![[-0.6, bar], [0.6, bar]]];
    }
    let left = if chance(rng, 0.4) {
        vec![[-0.45, -0.9], [-0.55, -0.3], [-0.3, bar - 0.1], [0.1, bar], [0.4, bar - 0.1]]
    } else {
        vec![[-0.4, -0.9], [-0.5, -0.2], [-0.5, bar]]
    };
    let stem = vec![[0.4, -0.9], [0.36, 0.1], [0.3, 1.0]];
    vec![left, vec![[-0.45, bar], [0.55, bar]], stem]
}

fn five(rng: &mut Rng) -> Strokes {
    let bowl =
        vec![[-0.4, -0.15], [0.05, -0.25], [0.45, 0.1], [0.4, 0.65], [0.0, 1.0], [-0.55, 0.8]];
    let end = between(rng, 0.35, 0.7);
    vec![vec![[end, -0.95], [-0.3, -0.9]], vec![[-0.3, -0.9], [-0.4, -0.15]], bowl]
}

fn six(rng: &mut Rng) -> Strokes {
    let start = between(rng, 0.05, 0.5);
    let top = between(rng, -0.1, 0.15);
    vec![vec![
        [start, -1.0],
        [-0.3, -0.5],
        [-0.52, 0.2],
        [-0.35, 0.8],
        [0.05, 1.0],
        [0.45, 0.7],
        [0.35, top + 0.15],
        [-0.05, top],
        [-0.45, 0.45],
    ]]
}

fn seven(rng: &mut Rng) -> Strokes {
    let foot = between(rng, -0.35, 0.15);
    let mut strokes = vec![
        vec![[-0.55, -0.85], [0.0, -0.92], [0.5, -0.9]],
        vec![[0.5, -0.9], [0.2, -0.1], [foot, 1.0]],
    ];
    if chance(rng, 0.2) {
        strokes.push(vec![[-0.25, 0.05], [0.5, 0.02]]);
    }
    strokes
}

fn eight(rng: &mut Rng) -> Strokes {
    let (upper, lower) = (between(rng, 0.3, 0.45), between(rng, 0.35, 0.55));
    vec![vec![
        [upper, -0.8],
        [0.0, -1.0],
        [-upper, -0.7],
        [-0.15, -0.2],
        [0.2, 0.1],
        [lower, 0.6],
        [0.0, 1.0],
        [-lower, 0.6],
        [-0.15, 0.1],
        [0.25, -0.25],
        [upper, -0.65],
    ]]
}

fn nine(rng: &mut Rng) -> Strokes {
    let low = between(rng, -0.2, 0.1);
    let eye =
        vec![[0.4, -0.75], [0.0, -1.0], [-0.42, -0.6], [-0.3, low - 0.1], [0.05, low], [0.4, -0.5]];
    let tail = if chance(rng, 0.3) {
        vec![[0.42, -0.7], [0.42, 0.2], [0.2, 0.9], [-0.35, 0.85]]
    } else {
        vec![[0.42, -0.7], [0.36, 0.1], [between(rng, 0.0, 0.35), 1.0]]
    };
    vec![eye, tail]
}
