//! Figures of an experiment as SVG.

mod plots;
pub(super) mod svg;

use anyhow::Result;

use self::svg::{CELL, FONT, HEAT, Svg};
use super::ExperimentReport;
use crate::ledger::{Better, Figure};
use crate::report::contact_sheet::grid_png;

/// Room for labels.
const MARGIN: usize = 46;
/// Pixels across an image that is shown enlarged.
const SMALL_IMAGE: usize = 32;

/// Caption and SVG of a figure; `None` where what it shows was not run.
pub(super) fn draw(figure: &Figure, report: &ExperimentReport) -> Result<Option<(String, String)>> {
    Ok(match figure {
        Figure::Curves { title, metric, rows } => plots::curves(report, *metric, rows)?
            .map(|svg| (format!("{title}; mean over runs, band of one deviation"), svg)),
        // Not images: see `tables::cross`, `tables::points` and `ranking`.
        Figure::Cross { .. } | Figure::Points { .. } | Figure::Ranking { .. } => None,
        Figure::Images { title, channels, columns, rows } => {
            images(report, *channels, *columns, rows)?.map(|svg| ((*title).to_owned(), svg))
        }
        Figure::Strips { title, n_classes, strips: named } => {
            strips(report, *n_classes, named).map(|svg| ((*title).to_owned(), svg))
        }
        Figure::Heat { title, array, better, vertical, horizontal } => {
            let values = report.arrays.get(*array);
            values.map(|v| ((*title).to_owned(), heat(v, *better, *vertical, *horizontal)))
        }
        Figure::Maps { title, array, examples, classes, vertical, horizontal } => {
            let maps = report.arrays.get(*array).map(|values| Maps {
                values,
                examples,
                classes,
                vertical: *vertical,
                horizontal: *horizontal,
            });
            maps.map(|maps| ((*title).to_owned(), maps.draw()))
        }
    })
}

/// The arrays that are there, a label above each, its images enlarged without smoothing.
fn images(
    report: &ExperimentReport,
    channels: usize,
    columns: usize,
    named: &[(&str, &str, usize)],
) -> Result<Option<String>> {
    let mut svg = Svg::new(0, 0);
    for (name, label, n_images) in named {
        let Some(values) = report.arrays.get(*name) else { continue };
        let side = (values.len() / (n_images * channels)).isqrt();
        let n = channels * side * side;
        let lines: Vec<&[f64]> = values.chunks((columns * n).max(1)).collect();
        let png = grid_png(&lines, [channels, side, side])?;
        svg.text(1, svg.height + FONT + 2, "start", label);
        // Small images are shown twice as large.
        let scale = if side <= SMALL_IMAGE { 2 } else { 1 };
        let width = (columns.min(*n_images) * (side + 1) - 1) * scale;
        let height = (lines.len() * (side + 1) - 1) * scale;
        let top = svg.height + FONT + 8;
        svg.image(top, width, height, label, &png);
        // Room for the label above a narrow line.
        svg.width = svg.width.max(width).max(label.chars().count() * FONT * 2 / 3);
        svg.height = top + height + 6;
    }
    Ok((svg.height > 0).then(|| svg.finish()))
}

/// One strip of examples (across) × classes (down) for each array that is there, values averaged over seeds.
fn strips(report: &ExperimentReport, n_classes: usize, named: &[(&str, &str)]) -> Option<String> {
    let present: Vec<_> = named
        .iter()
        .filter_map(|(array, label)| report.arrays.get(*array).map(|values| (*label, values)))
        .collect();
    let n_examples = present.first()?.1.len() / n_classes;
    let strip_height = n_classes * CELL + FONT + 14;
    let mut svg = Svg::new(n_examples * CELL + 2, present.len() * strip_height);
    for (index, (label, values)) in present.into_iter().enumerate() {
        let top = index * strip_height;
        svg.text(1, top + FONT, "start", label);
        for (example, row) in values.chunks_exact(n_classes).enumerate() {
            for (class, &value) in row.iter().enumerate() {
                let description = format!("object {}, class {}", example + 1, class + 1);
                svg.cell(1 + example * CELL, top + FONT + 6 + class * CELL, value, &description);
            }
        }
    }
    Some(svg.finish())
}

/// One colored cell for each pair of settings with its number, from the worst value, white, to the best; that one framed.
fn heat(
    values: &[f64],
    better: Better,
    vertical: (&str, &[f64]),
    horizontal: (&str, &[f64]),
) -> String {
    let sign = match better {
        Better::Higher => 1.0,
        Better::Lower => -1.0,
        Better::Neither => f64::NAN,
    };
    let finite = || values.iter().map(|v| sign * v).filter(|v| v.is_finite());
    let (low, high) =
        (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let (n_down, n_across) = (vertical.1.len(), horizontal.1.len());
    let (left, top) = (MARGIN, 2 * FONT);
    let mut svg = Svg::new(left + n_across * HEAT.0 + 2, top + n_down * HEAT.1 + 2 * FONT + 12);
    for (cell, &value) in values.iter().take(n_down * n_across).enumerate() {
        let (down, across) = (cell / n_across, cell % n_across);
        let (x, y) = (left + across * HEAT.0, top + down * HEAT.1);
        let share = if high > low { (sign * value - low) / (high - low) } else { 0.0 };
        let description = format!(
            "{} = {}, {} = {}: {value:.4}",
            vertical.0, vertical.1[down], horizontal.0, horizontal.1[across]
        );
        svg.heat(x, y, share, sign * value == high, &description);
        svg.text(x + HEAT.0 / 2, y + HEAT.1 / 2 + FONT / 2 - 2, "middle", &format!("{value:.4}"));
    }
    for (down, v) in vertical.1.iter().enumerate() {
        svg.text(left - 4, top + down * HEAT.1 + HEAT.1 / 2 + 4, "end", &v.to_string());
    }
    for (across, h) in horizontal.1.iter().enumerate() {
        let below = top + n_down * HEAT.1 + FONT + 2;
        svg.text(left + across * HEAT.0 + HEAT.0 / 2, below, "middle", &h.to_string());
    }
    svg.text(left, FONT, "start", &format!("{} down, {} across", vertical.0, horizontal.0));
    svg.finish()
}

/// Grayscale maps over two settings.
struct Maps<'a> {
    values: &'a [f64],
    examples: &'a [&'a str],
    classes: &'a [&'a str],
    vertical: (&'a str, &'a [f64]),
    horizontal: (&'a str, &'a [f64]),
}

impl Maps<'_> {
    fn draw(&self) -> String {
        let (n_down, n_across) = (self.vertical.1.len(), self.horizontal.1.len());
        let (width, height) = (n_across * CELL + MARGIN, n_down * CELL + MARGIN);
        let mut svg = Svg::new(self.classes.len() * width, self.examples.len() * height);
        for (i, example) in self.examples.iter().enumerate() {
            for (k, class) in self.classes.iter().enumerate() {
                let start = (i * self.classes.len() + k) * n_down * n_across;
                let Some(map) = self.values.get(start..start + n_down * n_across) else { continue };
                let (left, top) = (k * width + MARGIN - 8, i * height + FONT + 8);
                svg.text(left, top - 5, "start", &format!("{example}, {class}"));
                for (cell, &value) in map.iter().enumerate() {
                    let (down, across) = (cell / n_across, cell % n_across);
                    let (v, h) = (self.vertical.1[down], self.horizontal.1[across]);
                    let (v_name, h_name) = (self.vertical.0, self.horizontal.0);
                    let description = format!("{v_name} = {v}, {h_name} = {h}");
                    svg.cell(left + across * CELL, top + down * CELL, value, &description);
                }
                for (down, v) in self.vertical.1.iter().enumerate() {
                    svg.text(left - 4, top + down * CELL + CELL - 5, "end", &v.to_string());
                }
                // Every other value: all of them would run into one another.
                for (across, h) in self.horizontal.1.iter().enumerate().step_by(2) {
                    let center = left + across * CELL + CELL / 2;
                    svg.text(center, top + n_down * CELL + FONT, "middle", &h.to_string());
                }
                svg.text(left - 30, top + n_down * CELL / 2, "start", self.vertical.0);
                let below = top + n_down * CELL + FONT + 10;
                svg.text(left + n_across * CELL / 2, below, "middle", self.horizontal.0);
            }
        }
        svg.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_cell_of_a_heat_map_is_framed_on_the_better_side() {
        let draw = |better| {
            heat(&[0.1, 0.3, 0.2, f64::NAN], better, ("T", &[1.0, 2.0]), ("λ", &[0.0, 0.5]))
        };
        for (better, best) in
            [(Better::Higher, "T = 1, λ = 0.5: 0.3000"), (Better::Lower, "T = 1, λ = 0: 0.1000")]
        {
            let svg = draw(better);
            let framed: Vec<&str> = svg.lines().filter(|line| line.contains("#000")).collect();
            assert!(framed.len() == 1 && framed[0].contains(best), "{framed:?}");
        }
    }
}
