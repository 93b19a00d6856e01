//! A 28×28 canvas of grayscale intensities: anti-aliased outlines and strokes, deformation, texture.

use core_tensors::Rng;

use super::{bell, between};

/// Pixels along a side.
const SIDE: usize = 28;
/// Pixels of an image.
pub(super) const PIXELS: usize = SIDE * SIDE;
/// Lines per row of pixels on which an outline is cut.
const LINES: usize = 4;
/// Nodes along a side of a random field.
const NODES: usize = 6;

/// Coordinates to the right and down, in pixels from the center of the image.
pub(super) type Point = [f32; 2];

/// A smooth random function of the plane: bilinear between independent nodes, periodic.
pub(super) struct Field([[f32; NODES]; NODES]);

impl Field {
    /// Independent nodes of mean 0 and the given standard deviation.
    pub(super) fn new(rng: &mut Rng, std: f32) -> Self {
        Self(std::array::from_fn(|_| std::array::from_fn(|_| bell(rng, 0.0, std))))
    }

    /// The value at a point, with `spacing` pixels between two nodes.
    pub(super) fn at(&self, point: Point, spacing: f32) -> f32 {
        let period = NODES as f32;
        let [u, v] = point.map(|z| (z / spacing).rem_euclid(period).min(period - 1e-3));
        let (i, j) = (v as usize, u as usize);
        let (next_i, next_j) = ((i + 1) % NODES, (j + 1) % NODES);
        let (down, right) = (v - i as f32, u - j as f32);
        let upper = self.0[i][j] * (1.0 - right) + self.0[i][next_j] * right;
        let lower = self.0[next_i][j] * (1.0 - right) + self.0[next_i][next_j] * right;
        upper * (1.0 - down) + lower * down
    }
}

/// Where the points of a drawing land: a bend, then an affine map.
pub(super) struct Pose {
    linear: [[f32; 2]; 2],
    shift: Point,
    bend: [Field; 2],
}

/// Ranges from which a pose is drawn.
pub(super) struct Freedom {
    /// Standard deviation of the angle, in radians.
    pub(super) angle: f32,
    /// Mean and standard deviation of the slant, the shift to the left per pixel downwards.
    pub(super) slant: [f32; 2],
    /// Standard deviation of either logarithmic scale.
    pub(super) scale: f32,
    /// Largest shift along either axis, in pixels.
    pub(super) shift: f32,
    /// Standard deviation of the bend's nodes, in pixels.
    pub(super) bend: f32,
}

impl Pose {
    /// A random pose.
    pub(super) fn new(freedom: &Freedom, rng: &mut Rng) -> Self {
        // With t = tan(angle / 2) ≈ angle / 2, sine and cosine are rational.
        let t = bell(rng, 0.0, freedom.angle) / 2.0;
        let (cos, sin) = ((1.0 - t * t) / (1.0 + t * t), 2.0 * t / (1.0 + t * t));
        let slant = -bell(rng, freedom.slant[0], freedom.slant[1]);
        let width = 1.0 + bell(rng, 0.0, freedom.scale);
        let height = 1.0 + bell(rng, 0.0, freedom.scale);
        let shift = [0, 1].map(|_| between(rng, -freedom.shift, freedom.shift));
        let linear = [
            [cos * width, (cos * slant - sin) * height],
            [sin * width, (sin * slant + cos) * height],
        ];
        Self { linear, shift, bend: [0, 1].map(|_| Field::new(rng, freedom.bend)) }
    }

    fn apply(&self, point: Point) -> Point {
        let [x, y] = [0, 1].map(|axis| point[axis] + self.bend[axis].at(point, 7.0));
        [0, 1].map(|axis| self.linear[axis][0] * x + self.linear[axis][1] * y + self.shift[axis])
    }
}

/// Grayscale levels in [0, 1], black at first; later paint covers earlier.
pub(super) struct Canvas {
    intensities: [f32; PIXELS],
    pose: Pose,
}

impl Canvas {
    /// A black canvas whose drawings are seen in `pose`.
    pub(super) fn new(pose: Pose) -> Self {
        Self { intensities: [0.0; PIXELS], pose }
    }

    /// Paints the inside of a closed outline, by the even-odd rule.
    pub(super) fn fill(&mut self, outline: &[Point], intensity: f32) {
        let points = self.placed(outline);
        let mut cover = [0.0; PIXELS];
        let mut cuts = Vec::with_capacity(8);
        for line in 0..SIDE * LINES {
            let y = (line as f32 + 0.5) / LINES as f32;
            cuts.clear();
            for (i, &[x0, y0]) in points.iter().enumerate() {
                let [x1, y1] = points[(i + 1) % points.len()];
                if (y0 <= y) != (y1 <= y) {
                    cuts.push(x0 + (x1 - x0) * (y - y0) / (y1 - y0));
                }
            }
            cuts.sort_by(f32::total_cmp);
            let row = &mut cover[line / LINES * SIDE..][..SIDE];
            for cut in cuts.chunks_exact(2) {
                add_span(row, cut[0], cut[1]);
            }
        }
        self.blend(&cover, intensity);
    }

    /// Paints along an open path with a round pen.
    pub(super) fn stroke(&mut self, path: &[Point], radius: f32, intensity: f32) {
        let points = self.placed(path);
        let mut cover = [0.0; PIXELS];
        for ends in points.windows(2) {
            add_segment(&mut cover, ends[0], ends[1], radius);
        }
        self.blend(&cover, intensity);
    }

    /// Multiplies every lit level by a factor that depends on the place.
    pub(super) fn texture(&mut self, factor: impl Fn(Point) -> f32) {
        let center = SIDE as f32 / 2.0 - 0.5;
        for (k, intensity) in self.intensities.iter_mut().enumerate() {
            if *intensity > 0.0 {
                *intensity *= factor([(k % SIDE) as f32 - center, (k / SIDE) as f32 - center]);
            }
        }
    }

    /// Mixes every level with the mean of its neighborhood, by `share` in [0, 1].
    pub(super) fn blur(&mut self, share: f32) {
        let sharp = self.intensities;
        for (k, intensity) in self.intensities.iter_mut().enumerate() {
            let (i, j) = (k / SIDE, k % SIDE);
            let mut mean = 0.0;
            for (row, weight) in [(i.wrapping_sub(1), 1.0), (i, 2.0), (i + 1, 1.0)] {
                if row < SIDE {
                    let left = if j > 0 { sharp[row * SIDE + j - 1] } else { 0.0 };
                    let right = if j + 1 < SIDE { sharp[row * SIDE + j + 1] } else { 0.0 };
                    mean += weight * (left + 2.0 * sharp[row * SIDE + j] + right) / 16.0;
                }
            }
            *intensity += share * (mean - *intensity);
        }
    }

    /// The levels as bytes, the lit ones with noise of the given relative amplitude.
    pub(super) fn bytes(&self, grain: f32, rng: &mut Rng) -> [u8; PIXELS] {
        self.intensities.map(|intensity| {
            let noise = if intensity > 0.0 { between(rng, -grain, grain) } else { 0.0 };
            (255.0 * intensity * (1.0 + noise)).clamp(0.0, 255.0) as u8
        })
    }

    /// Points of a drawing as pixels from the upper left corner.
    fn placed(&self, points: &[Point]) -> Vec<Point> {
        let half = SIDE as f32 / 2.0;
        points.iter().map(|&point| self.pose.apply(point).map(|z| z + half)).collect()
    }

    fn blend(&mut self, cover: &[f32; PIXELS], paint: f32) {
        for (intensity, &share) in self.intensities.iter_mut().zip(cover) {
            *intensity += share.min(1.0) * (paint - *intensity);
        }
    }
}

/// A smooth curve through the points: Catmull and Rom's spline, closed where `closed`.
pub(super) fn curve(points: &[Point], closed: bool) -> Vec<Point> {
    const STEPS: usize = 5;
    let n = points.len();
    let n_pieces = if closed { n } else { n.saturating_sub(1) };
    let at = |i: usize| if closed { points[i % n] } else { points[i.clamp(1, n) - 1] };
    let mut path = Vec::with_capacity(n_pieces * STEPS + 1);
    for piece in 0..n_pieces {
        // An open curve repeats its ends, a closed one starts at its second point.
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| at(piece + i));
        for step in 0..STEPS {
            let t = step as f32 / STEPS as f32;
            path.push([0, 1].map(|z| {
                let cubic = 3.0 * (b[z] - c[z]) + d[z] - a[z];
                let square = 2.0 * a[z] - 5.0 * b[z] + 4.0 * c[z] - d[z];
                b[z] + 0.5 * t * (c[z] - a[z] + t * (square + t * cubic))
            }));
        }
    }
    if !closed {
        path.extend(points.last());
    }
    path
}

/// Adds one line's share of the pixels between two cuts.
fn add_span(row: &mut [f32], from: f32, to: f32) {
    let (from, to) = (from.max(0.0), to.min(SIDE as f32));
    for j in from as usize..(to.max(0.0).ceil() as usize).min(SIDE) {
        let overlap = to.min(j as f32 + 1.0) - from.max(j as f32);
        row[j] += overlap.max(0.0) / LINES as f32;
    }
}

/// Raises the cover of the pixels near a segment to that of a round pen.
fn add_segment(cover: &mut [f32; PIXELS], a: Point, b: Point, radius: f32) {
    let reach = radius + 1.0;
    let range = |axis: usize| {
        let low = (a[axis].min(b[axis]) - reach).max(0.0) as usize;
        let high = (a[axis].max(b[axis]) + reach).max(0.0) as usize;
        low..high.min(SIDE)
    };
    let along = [b[0] - a[0], b[1] - a[1]];
    let length2 = (along[0] * along[0] + along[1] * along[1]).max(1e-12);
    for i in range(1) {
        for j in range(0) {
            let to = [j as f32 + 0.5 - a[0], i as f32 + 0.5 - a[1]];
            let t = ((to[0] * along[0] + to[1] * along[1]) / length2).clamp(0.0, 1.0);
            let [x, y] = [to[0] - t * along[0], to[1] - t * along[1]];
            let share = (radius + 0.5 - (x * x + y * y).sqrt()).clamp(0.0, 1.0);
            let pixel = &mut cover[i * SIDE + j];
            *pixel = pixel.max(share);
        }
    }
}
