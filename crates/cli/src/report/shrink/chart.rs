//! A small chart: a frame, two axes with ticks, and points in it; wide enough for a phone, colored by the page's style.

use std::ops::RangeInclusive;

use super::words;
use crate::report::figures::svg::Svg;

/// Size of a chart in units of its drawing; on a phone a unit is a pixel.
const SIZE: (usize, usize) = (360, 320);
/// Room left, right, above and below the frame.
const MARGINS: [f64; 4] = [56.0, 12.0, 26.0, 66.0];
/// Most ticks of an axis.
const MOST_TICKS: usize = 7;
/// Most decimals of a label; a smaller number is written with its power of ten.
const MOST_DECIMALS: usize = 4;
/// Largest power of ten of a tick, in units of its axis.
const HIGHEST_POWER: i32 = 30;
/// Share of an axis that stays free beyond the outermost points.
const PADDING: f64 = 0.05;
/// Width of a digit of the labels.
const DIGIT: f64 = 7.0;

/// How numbers lie on an axis.
#[derive(Clone, Copy)]
enum Scale {
    Linear,
    Logarithmic,
    /// asinh(x / unit): linear below the unit, logarithmic above it, for both signs.
    Stretched(f64),
}

/// One axis.
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// A linear axis from `low` to `high`, with room beyond both.
    pub(super) fn linear(low: f64, high: f64) -> Self {
        let width = if high > low { high - low } else { high.abs().max(1e-9) };
        Self::exact(low - PADDING * width, high + PADDING * width)
    }

    /// A linear axis that ends where it is told to.
    pub(super) fn exact(low: f64, high: f64) -> Self {
        let step = nice_step((high - low) / (MOST_TICKS - 1) as f64);
        let (first, last) = ((low / step).ceil() as i64, (high / step).floor() as i64);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let tick = |at: i64| {
            let tick = at as f64 * step;
            let label = match (decimals > MOST_DECIMALS, at) {
                (true, 0) => "0".into(),
                (true, _) => format!("{tick:.1e}").replace('-', "−"),
                (false, _) => words::decimal(tick, decimals),
            };
            (tick, label)
        };
        Self { scale: Scale::Linear, low, high, ticks: (first..=last).map(tick).collect() }
    }

    /// A logarithmic axis of positive numbers, with ticks of thousands and millions.
    pub(super) fn logarithmic(low: f64, high: f64) -> Self {
        let room = (high / low).powf(PADDING).max(1.1);
        let (low, high) = (low / room, high * room);
        let powers = low.log10().floor() as i32..=high.log10().ceil() as i32;
        let of = |digits: &[f64]| -> Vec<f64> {
            let all =
                powers.clone().flat_map(|power| digits.iter().map(move |d| d * 10_f64.powi(power)));
            all.filter(|tick| (low..=high).contains(tick)).collect()
        };
        let grids: [&[f64]; 4] = [
            &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0],
            &[1.0, 2.0, 3.0, 5.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
        ];
        let mut ticks = grids.iter().map(|grid| of(grid)).find(|ticks| ticks.len() <= MOST_TICKS);
        let ticks = ticks.get_or_insert_with(|| thinned(of(&[1.0])));
        let ticks = ticks.iter().map(|&tick| (tick, short(tick))).collect();
        Self { scale: Scale::Logarithmic, low, high, ticks }
    }

    /// An axis that shows differences around 0 as well as large ones: linear where the largest is below ten units, stretched elsewhere.
    pub(super) fn around_zero(low: f64, high: f64, unit: f64) -> Self {
        let (low, high) = (low.min(0.0), high.max(0.0));
        if high - low <= 10.0 * unit {
            return Self::linear(low, high);
        }
        let scale = Scale::Stretched(unit);
        let width = scale.of(high) - scale.of(low);
        let beyond = |end: f64, sign: f64| unit * (scale.of(end) + sign * PADDING * width).sinh();
        let (low, high) = (beyond(low, -1.0), beyond(high, 1.0));
        let (mut ticks, mut step) = (around(unit, &[1.0, 3.0], 1, low..=high), 1);
        while ticks.len() > MOST_TICKS {
            ticks = around(unit, &[1.0], step, low..=high);
            step += 1;
        }
        let decimals = (-unit.log10().floor()).max(0.0) as usize;
        let label = |tick: f64| {
            let digits = if tick.abs() >= 1.0 { 0 } else { decimals };
            (tick, if tick == 0.0 { "0".into() } else { words::decimal(tick, digits) })
        };
        Self { scale, low, high, ticks: ticks.into_iter().map(label).collect() }
    }

    /// Share of the axis below a number; `None` where the number is not finite or lies beyond the axis.
    fn place(&self, value: f64) -> Option<f64> {
        let share = (self.scale.of(value) - self.scale.of(self.low))
            / (self.scale.of(self.high) - self.scale.of(self.low));
        (0.0..=1.0).contains(&share).then_some(share)
    }
}

impl Scale {
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.ln(),
            Self::Stretched(unit) => (value / unit).asinh(),
        }
    }
}

/// The smallest of 1, 2, 5 × 10ᵏ that is not below a step.
fn nice_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.max(1e-12).log10().floor());
    let digits = [1.0, 2.0, 5.0].into_iter().find(|digit| digit * power >= step * (1.0 - 1e-9));
    digits.unwrap_or(10.0) * power
}

/// 0 and ± digits × unit × 10^(0, step, 2 step, …) within a range, in order.
fn around(unit: f64, digits: &[f64], step: usize, range: RangeInclusive<f64>) -> Vec<f64> {
    let powers = (0..=HIGHEST_POWER).step_by(step);
    let sizes = powers.flat_map(|power| digits.iter().map(move |d| d * unit * 10_f64.powi(power)));
    let mut ticks: Vec<f64> = sizes.flat_map(|size| [-size, size]).chain([0.0]).collect();
    ticks.retain(|tick| range.contains(tick));
    ticks.sort_by(f64::total_cmp);
    ticks
}

/// Every second, third, … tick, so that few are left.
fn thinned(ticks: Vec<f64>) -> Vec<f64> {
    let step = ticks.len().div_ceil(MOST_TICKS).max(1);
    ticks.into_iter().step_by(step).collect()
}

/// A large number in a few letters: 1.5M.
fn short(value: f64) -> String {
    let (scaled, letter) = match value {
        value if value >= 1e9 => (value / 1e9, "B"),
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    format!("{}{letter}", (10.0 * scaled).round() / 10.0)
}

/// A chart under construction.
pub(super) struct Chart {
    svg: Svg,
    across: Axis,
    down: Axis,
}

impl Chart {
    /// A frame with ticks; the name of the vertical axis stands above it, where it can be read.
    pub(super) fn new(across: Axis, down: Axis, names: [&str; 2]) -> Self {
        let mut chart = Self { svg: Svg::new(SIZE.0, SIZE.1), across, down };
        let ([left, right], [top, bottom]) = chart.frame();
        let mut last_end = f64::NEG_INFINITY;
        for (value, label) in &chart.across.ticks {
            let Some(x) = chart.across.place(*value).map(|share| left + share * (right - left))
            else {
                continue;
            };
            chart.svg.line((x, top), (x, bottom), "grid");
            let half = DIGIT * label.chars().count() as f64 / 2.0;
            if x - half > last_end + 6.0 {
                chart.svg.words((x, bottom + 16.0), "middle", "tick", label);
                last_end = x + half;
            }
        }
        for (value, label) in &chart.down.ticks {
            let Some(y) = chart.down.place(*value).map(|share| bottom - share * (bottom - top))
            else {
                continue;
            };
            chart.svg.line((left, y), (right, y), "grid");
            chart.svg.words((left - 6.0, y + 4.0), "end", "tick", label);
        }
        let corners = [(left, top), (left, bottom), (right, bottom), (right, top), (left, top)];
        chart.svg.curve(&corners, "frame");
        chart.svg.words(((left + right) / 2.0, bottom + 36.0), "middle", "tick", names[0]);
        chart.svg.words((4.0, top - 11.0), "start", "tick", names[1]);
        chart
    }

    /// Left and right, top and bottom.
    fn frame(&self) -> ([f64; 2], [f64; 2]) {
        let [left, right, top, bottom] = MARGINS;
        ([left, SIZE.0 as f64 - right], [top, SIZE.1 as f64 - bottom])
    }

    /// Where a point lies; `None` beyond the frame.
    pub(super) fn at(&self, x: f64, y: f64) -> Option<(f64, f64)> {
        let ([left, right], [top, bottom]) = self.frame();
        let (across, up) = (self.across.place(x)?, self.down.place(y)?);
        Some((left + across * (right - left), bottom - up * (bottom - top)))
    }

    /// A mark, where it lies in the frame.
    pub(super) fn mark(&mut self, x: f64, y: f64, mark: Mark, class: &str, description: &str) {
        if let Some(at) = self.at(x, y) {
            self.place_mark(at, mark, class, description);
        }
    }

    /// A curve through the points that lie in the frame.
    pub(super) fn curve(&mut self, points: &[(f64, f64)], class: &str) {
        let points: Vec<(f64, f64)> = points.iter().filter_map(|&(x, y)| self.at(x, y)).collect();
        self.svg.curve(&points, class);
    }

    /// A vertical line at x from one value to another; an end beyond the frame stops at the frame.
    pub(super) fn whisker(&mut self, x: f64, low: f64, high: f64, class: &str) {
        if low.is_nan() || high.is_nan() {
            return;
        }
        let inside = |end: f64| end.clamp(self.down.low, self.down.high);
        if let (Some(from), Some(to)) = (self.at(x, inside(low)), self.at(x, inside(high))) {
            self.svg.line(from, to, &format!("whisker {class}"));
        }
    }

    /// Bold words right of a point, below or above it, within the frame.
    pub(super) fn label(&mut self, x: f64, y: f64, is_below: bool, text: &str) {
        let ([left, right], [top, bottom]) = self.frame();
        let Some((x, y)) = self.at(x, y) else { return };
        let half = DIGIT * text.chars().count() as f64 / 2.0;
        // Where there is no room below or above, a curve that goes the other way leaves room beside the point.
        let (beside, y) = match is_below {
            true if y + 24.0 < bottom => (4.0, y + 19.0),
            false if y - 22.0 > top => (4.0, y - 11.0),
            true | false => (11.0, y + 4.0),
        };
        let x = (x + half + beside).min(right - half - 4.0).max(left + half + 4.0);
        self.svg.words((x, y), "middle", "halo bold", text);
    }

    /// Marks and what they stand for, in a row below the axis.
    pub(super) fn legend(&mut self, entries: &[(Mark, &str, &str)]) {
        let mut x = 12.0;
        let y = SIZE.1 as f64 - 10.0;
        for (mark, class, text) in entries {
            self.place_mark((x, y), *mark, class, text);
            self.svg.words((x + 11.0, y + 4.0), "start", "tick", text);
            x += 32.0 + (DIGIT - 0.5) * text.chars().count() as f64;
        }
    }

    fn place_mark(&mut self, at: (f64, f64), mark: Mark, class: &str, description: &str) {
        let (radius, is_square) = match mark {
            Mark::Dot => (3.5, false),
            Mark::Disk => (5.5, false),
            Mark::Square => (3.5, true),
        };
        self.svg.mark(at, radius, is_square, class, description);
    }

    /// The drawing; `alt` says what it shows.
    pub(super) fn finish(self, alt: &str) -> String {
        self.svg.into_page(alt)
    }
}

/// The form of a mark.
#[derive(Clone, Copy)]
pub(super) enum Mark {
    Dot,
    Disk,
    Square,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn ticks_are_round_numbers_within_the_axis() {
        assert_eq!(labels(&Axis::exact(0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(&Axis::linear(-3.2, 0.0)), ["−3", "−2", "−1", "0"]);
        assert_eq!(
            labels(&Axis::logarithmic(900.0, 100_000.0)),
            ["1k", "2k", "5k", "10k", "20k", "50k", "100k"]
        );
        assert_eq!(labels(&Axis::logarithmic(3e4, 3e4)), ["30k"]);
        assert_eq!(labels(&Axis::exact(0.0, 2e-6)), ["0", "5.0e−7", "1.0e−6", "1.5e−6", "2.0e−6"]);
        let stretched = Axis::around_zero(-70.0, 0.2, 1.0);
        assert_eq!(labels(&stretched), ["−30", "−10", "−3", "−1", "0"]);
        for axis in [
            Axis::linear(5.0, 5.0),
            Axis::logarithmic(1.0, 1e15),
            Axis::around_zero(-1e9, 1e9, 0.01),
        ] {
            let n_ticks = axis.ticks.len();
            assert!((1..=2 * MOST_TICKS).contains(&n_ticks), "{n_ticks}");
            assert!(axis.ticks.iter().all(|(tick, _)| axis.place(*tick).is_some()));
        }
    }

    #[test]
    fn equal_steps_of_a_scale_are_equal_distances() {
        let close = |found: Option<f64>, wanted: f64| {
            found.is_some_and(|found| (found - wanted).abs() < 1e-12)
        };
        assert!(close(Axis::linear(1.0, 100.0).place(50.5), 0.5));
        assert!(close(Axis::logarithmic(1.0, 100.0).place(10.0), 0.5));
        // asinh(sinh 2) is twice asinh(sinh 1).
        let axis = Axis::around_zero(-2.0_f64.sinh() * 10.0, 2.0_f64.sinh() * 10.0, 0.1);
        let place = |x: f64| axis.place(0.1 * x.sinh()).unwrap_or(f64::NAN);
        assert!((place(2.0) - place(1.0) - (place(1.0) - place(0.0))).abs() < 1e-12);
        assert!(close(axis.place(0.0), 0.5));
    }

    #[test]
    fn every_scale_keeps_the_order_and_refuses_what_lies_beyond() {
        for axis in [
            Axis::exact(-4.0, 9.0),
            Axis::logarithmic(1.0, 9.0),
            Axis::around_zero(-90.0, 9.0, 1.0),
        ] {
            let places: Vec<f64> =
                [1.0, 2.0, 4.0, 8.0].into_iter().filter_map(|x| axis.place(x)).collect();
            assert!(places.len() == 4 && places.is_sorted(), "{places:?}");
            for beyond in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e3, -1e3] {
                assert_eq!(axis.place(beyond), None, "{beyond}");
            }
        }
    }
}
