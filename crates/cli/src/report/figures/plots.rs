//! Curves with bands.

use crate::ledger::stats::{mean, population_std};
use crate::ledger::{Metric, Point, Row};
use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::series::LineSeries;

use crate::report::ExperimentReport;

/// Size of a plot.
const SIZE: (u32, u32) = (760, 420);
/// Colors that people with any color vision tell apart (Okabe & Ito).
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(0, 0, 0),
    RGBColor(240, 228, 66),
];
/// The last curve of a table may be far off; the axis leaves this share above and below.
const PADDING: f64 = 0.05;

/// Share of a plot that its legend may take; where curves are in its way, that much room is added.
const LEGEND_WIDTH: f64 = 0.8;
const LEGEND_HEIGHT: f64 = 0.3;

/// Mean and standard deviation of a metric by point.
struct Band {
    title: String,
    /// Places on the axis: logarithms to base 2 of counts of units or parameters.
    at: Vec<f64>,
    mean: Vec<f64>,
    std: Vec<f64>,
}

/// One plot of a metric of several rows; `None` where none was run.
pub(in crate::report) fn curves(
    report: &ExperimentReport,
    metric: Metric,
    rows: &[&str],
) -> Result<Option<String>> {
    let bands: Vec<Band> = rows
        .iter()
        .filter_map(|id| {
            let row = report.rows.iter().find(|row| row.id == *id)?;
            let spec = report.about.rows.iter().find(|spec| spec.id == *id)?;
            band(row, metric, spec.title, report.about.point)
        })
        .collect();
    let finite = |f: fn(f64, f64) -> f64, sign: f64, start: f64| {
        let values = bands.iter().flat_map(|b| b.mean.iter().zip(&b.std));
        values.map(|(m, d)| m + sign * d).filter(|v| v.is_finite()).fold(start, f)
    };
    let (low, high) =
        (finite(f64::min, -1.0, f64::INFINITY), finite(f64::max, 1.0, f64::NEG_INFINITY));
    let (left, right) = bands
        .iter()
        .flat_map(|band| &band.at)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(left, right), &x| (left.min(x), right.max(x)));
    if left >= right || low > high {
        return Ok(None);
    }
    let (legend, is_taken) = corner(&bands, (left, right), (low, high));
    let pad = PADDING * (high - low).max(1e-6);
    let room = if is_taken { LEGEND_HEIGHT * (high - low) } else { 0.0 };
    let (above, below) = match legend {
        SeriesLabelPosition::UpperRight => (room, 0.0),
        _ => (0.0, room),
    };
    let mut svg = String::new();
    let point = report.about.point;
    let mut name = match point {
        Point::Epoch => "epoch, from 0".to_owned(),
        Point::Iterations(_) | Point::Units | Point::Parameters | Point::Of { .. } => {
            point.name().to_owned()
        }
    };
    if report.is_generated() {
        name += "; generated data";
    }
    let axes = Axes {
        horizontal: left..right,
        vertical: (low - pad - below)..(high + pad + above),
        below: &name,
        beside: &metric.label_with_unit(),
        legend,
    };
    draw(&mut svg, &bands, point, axes).map_err(|error| anyhow!("plotting {metric}: {error}"))?;
    Ok(Some(svg))
}

fn band(row: &Row, metric: Metric, title: &str, point: Point) -> Option<Band> {
    let curves = row.metrics.get(metric.name)?;
    let n_points = curves.iter().map(|curve| curve.0.len()).min()?;
    let at = |index: usize| curves.iter().map(|curve| curve.0[index]).collect::<Vec<f64>>();
    let (mean, std) =
        (0..n_points).map(|index| (mean(&at(index)), population_std(&at(index)))).unzip();
    let mut at = row.positions(point, n_points);
    if matches!(point, Point::Units | Point::Parameters) {
        at.iter_mut().for_each(|n| *n = n.log2());
    }
    Some(Band { title: title.to_owned(), at, mean, std })
}

/// Ranges and names of both axes.
struct Axes<'a> {
    horizontal: std::ops::Range<f64>,
    vertical: std::ops::Range<f64>,
    below: &'a str,
    beside: &'a str,
    legend: SeriesLabelPosition,
}

fn draw(
    svg: &mut String,
    bands: &[Band],
    point: Point,
    axes: Axes,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(axes.horizontal, axes.vertical)?;
    chart
        .configure_mesh()
        .x_desc(axes.below)
        .y_desc(axes.beside)
        .x_label_formatter(&|x| match point {
            Point::Epoch | Point::Iterations(_) => format!("{x:.0}"),
            Point::Units => format!("{:.0}", x.exp2()),
            Point::Parameters => format!("{:.1}", x.exp2()),
            // Positions of marks are sums of steps: three decimals hide their rounding.
            Point::Of { .. } => format!("{}", (1000.0 * x).round() / 1000.0),
        })
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 14))
        .draw()?;
    for (band, color) in bands.iter().zip(COLORS.iter().cycle()) {
        let points = |sign: f64| {
            let edge = band.at.iter().zip(band.mean.iter().zip(&band.std));
            edge.filter(|(_, (m, d))| m.is_finite() && d.is_finite())
                .map(move |(&x, (m, d))| (x, m + sign * d))
        };
        let mut outline: Vec<(f64, f64)> = points(1.0).collect();
        outline.extend(points(-1.0).collect::<Vec<_>>().into_iter().rev());
        chart.draw_series([Polygon::new(outline, color.mix(0.18))])?;
        chart
            .draw_series(LineSeries::new(points(0.0), color.stroke_width(2)))?
            .label(band.title.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(3)));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .label_font(("sans-serif", 13))
        .position(axes.legend)
        .draw()?;
    area.present()?;
    Ok(())
}

/// Where the legend goes: the corner that fewest points lie in, and whether one lies there.
fn corner(
    bands: &[Band],
    (left, right): (f64, f64),
    (low, high): (f64, f64),
) -> (SeriesLabelPosition, bool) {
    let (mut upper, mut lower) = (0, 0);
    for band in bands {
        for (at, mean) in band.at.iter().zip(&band.mean) {
            let is_right = at - left >= (1.0 - LEGEND_WIDTH) * (right - left);
            let height = (mean - low) / (high - low);
            upper += usize::from(is_right && height > 1.0 - LEGEND_HEIGHT);
            lower += usize::from(is_right && height < LEGEND_HEIGHT);
        }
    }
    match upper <= lower {
        true => (SeriesLabelPosition::UpperRight, upper > 0),
        false => (SeriesLabelPosition::LowerRight, lower > 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{FiniteOrNull, metric};

    fn band(mean: Vec<f64>) -> Band {
        let at = (0..mean.len()).map(|i| i as f64).collect();
        Band { title: String::new(), at, std: vec![0.0; mean.len()], mean }
    }

    #[test]
    fn parameters_lie_on_an_axis_of_octaves() {
        let row = Row {
            metrics: [(metric::N_PARAMETERS, [64.0, 16.0]), (metric::ACCURACY, [0.9, 0.8])]
                .map(|(metric, values)| (metric.key(), vec![FiniteOrNull(values.to_vec())]))
                .into(),
            ..Row::of_seeds("a", metric::ACCURACY, &[0.9])
        };
        let found = super::band(&row, metric::ACCURACY, "", Point::Parameters).unwrap();
        assert_eq!((found.at, found.mean), (vec![6.0, 4.0], vec![0.9, 0.8]));
    }

    #[test]
    fn the_legend_goes_where_no_curve_is() {
        let falling = band((0..20).map(|i| 1.0 / f64::from(1 + i)).collect());
        let rising = band((0..20).map(|i| -1.0 / f64::from(1 + i)).collect());
        let is_upper = |p: SeriesLabelPosition| matches!(p, SeriesLabelPosition::UpperRight);
        let (place, is_taken) = corner(std::slice::from_ref(&falling), (0.0, 19.0), (0.0, 1.0));
        assert!(is_upper(place) && !is_taken);
        let (place, is_taken) = corner(std::slice::from_ref(&rising), (0.0, 19.0), (-1.0, 0.0));
        assert!(!is_upper(place) && !is_taken);
        assert!(corner(&[band(vec![1.0; 20]), band(vec![-1.0; 20])], (0.0, 19.0), (-1.0, 1.0)).1);
    }
}
