//! Charts of a shrunk network: reliability of both networks, and the Pareto front.

use super::chart::{Axis, Chart, Mark};
use super::words;
use crate::ledger::Metric;
use crate::ledger::quality::ReliabilityBin;
use crate::ledger::shrink::FrontPoint;
use crate::report::blocks::Figure;

/// Where a stretched axis turns from linear to logarithmic: a percentage point, .01 of another measure or nats.
const POINT: f64 = 1.0;
const HUNDREDTH: f64 = 0.01;

/// The reliability diagrams of both networks in one chart; `None` without labels.
pub(super) fn reliability(bins: &[Vec<ReliabilityBin>; 2]) -> Option<Figure> {
    let points = |bins: &[ReliabilityBin]| -> Vec<(f64, f64)> {
        let both = bins.iter().map(|bin| (bin.confidence, bin.accuracy));
        both.filter(|(x, y)| x.is_finite() && y.is_finite()).collect()
    };
    let curves = [points(&bins[0]), points(&bins[1])];
    if curves.iter().all(Vec::is_empty) {
        return None;
    }
    let all = curves.iter().flatten();
    let least = all.map(|(x, y)| x.min(*y)).fold(1.0, f64::min);
    let low = (10.0 * least - 1e-9).floor().clamp(0.0, 9.0) / 10.0;
    let axis = || Axis::exact(low, 1.0);
    let mut chart = Chart::new(axis(), axis(), ["confidence", "share classified correctly"]);
    chart.curve(&[(low, low), (1.0, 1.0)], "frame dashed");
    let names = ["the network", "the student"];
    let marks = [(Mark::Dot, "first"), (Mark::Square, "second")];
    for ((curve, bins), (name, (mark, class))) in
        curves.iter().zip(bins).zip(names.iter().zip(marks))
    {
        chart.curve(curve, class);
        for bin in bins {
            let (confidence, accuracy) =
                (words::percent(bin.confidence, 1), words::percent(bin.accuracy, 1));
            let n = words::count_of(bin.n_examples, "example", "examples");
            let text = format!("{name}: confidence {confidence}, {accuracy} correct, {n}");
            chart.mark(bin.confidence, bin.accuracy, mark, class, &text);
        }
    }
    let entry = |(name, (mark, class))| (mark, class, name);
    let entries: Vec<_> = names.into_iter().zip(marks).map(entry).collect();
    chart.legend(&entries);
    let mean_gap = |bins: &[ReliabilityBin]| {
        let n: usize = bins.iter().map(|bin| bin.n_examples).sum();
        let gaps = bins.iter().map(|bin| bin.n_examples as f64 * (bin.confidence - bin.accuracy));
        words::confidence_gap(gaps.sum::<f64>() / n as f64)
    };
    let alt = format!(
        "Reliability diagram: share of examples classified correctly against the confidence of the prediction. On \
         average the confidence of the network is {}, that of the student {}.",
        mean_gap(&bins[0]),
        mean_gap(&bins[1])
    );
    Some(Figure {
        name: "reliability".into(),
        caption: "Each mark stands for equally many test examples, sorted by the probability of the predicted class (the \
                  confidence). On the dashed line confidence is honest: of the predictions with 80 % confidence, 80 % are \
                  correct. Below it a network is too confident, above it too careful."
            .into(),
        svg: chart.finish(&alt),
    })
}

/// What the vertical axis of a chart of the front shows.
struct Vertical<'a> {
    name: &'a str,
    title: &'a str,
    /// Where the axis turns from linear to logarithmic.
    unit: f64,
    /// The value of a point, its lower and its upper end.
    of: &'a dyn Fn(&FrontPoint) -> [f64; 3],
    /// Whether points further down are worse.
    is_rising: bool,
}

/// Change of the main measure, and nats, against parameters; none where no point can be drawn.
pub(super) fn front(front: &[FrontPoint], metric: Metric, n_before: Option<f64>) -> Vec<Figure> {
    let (scale, unit) = if words::is_share(metric) { (100.0, POINT) } else { (1.0, HUNDREDTH) };
    let what = if words::is_share(metric) { ", points" } else { "" };
    let name = format!("change of {}{what}", words::label(metric));
    let change = |point: &FrontPoint| {
        [point.change.value, point.change.low, point.change.high].map(|end| scale * end)
    };
    let nats = |point: &FrontPoint| [point.nats; 3];
    let title = format!(
        "Change of {} on the validation examples with its 95 % interval, by number of parameters.",
        words::label(metric)
    );
    let panels = [
        Vertical { name: &name, title: &title, unit, of: &change, is_rising: true },
        Vertical {
            name: "nats an example",
            title: "How far predictions are from the network’s, in nats an example (0: the same), by number of parameters.",
            unit: HUNDREDTH,
            of: &nats,
            is_rising: false,
        },
    ];
    panels
        .iter()
        .enumerate()
        .filter_map(|(index, panel)| panel.draw(index, front, n_before))
        .collect()
}

impl Vertical<'_> {
    fn draw(&self, index: usize, front: &[FrontPoint], n_before: Option<f64>) -> Option<Figure> {
        let is_drawn = |point: &&FrontPoint| {
            let n = point.n_parameters;
            n.is_finite() && n > 0.0 && (self.of)(point)[0].is_finite()
        };
        let points: Vec<&FrontPoint> = front.iter().filter(is_drawn).collect();
        let n_before = n_before.filter(|n| n.is_finite() && *n > 0.0);
        let counts = || points.iter().map(|point| point.n_parameters);
        let fewest = counts().fold(f64::INFINITY, f64::min);
        let most = counts().chain(n_before).fold(f64::NEG_INFINITY, f64::max);
        if points.is_empty() {
            return None;
        }
        let values =
            points.iter().flat_map(|point| (self.of)(point)).filter(|value| value.is_finite());
        let (low, high) =
            values.fold((0.0, 0.0), |(low, high): (f64, f64), v| (low.min(v), high.max(v)));
        let across = Axis::logarithmic(fewest, most);
        let down = Axis::around_zero(low, high, self.unit);
        let mut chart = Chart::new(across, down, ["parameters", self.name]);
        let curve: Vec<(f64, f64)> =
            points.iter().map(|point| (point.n_parameters, (self.of)(point)[0])).collect();
        chart.curve(&curve, "first");
        for point in &points {
            let [_, low, high] = (self.of)(point);
            chart.whisker(point.n_parameters, low, high, "first");
        }
        // The chosen one lies above its neighbors.
        for point in points.iter().filter(|point| !point.is_chosen) {
            self.mark(&mut chart, point, Mark::Dot, "first");
        }
        let mut legend = vec![(Mark::Dot, "first", "other sizes")];
        if let Some(n) = n_before {
            chart.mark(n, 0.0, Mark::Disk, "first hollow", "the network itself");
            legend.push((Mark::Disk, "first hollow", "the network itself"));
        }
        chart.legend(&legend);
        for point in points.iter().filter(|point| point.is_chosen) {
            self.mark(&mut chart, point, Mark::Disk, "second");
            let y = (self.of)(point)[0];
            chart.label(point.n_parameters, y, self.is_rising, "this student");
        }
        let n_hidden = front.len() - points.len();
        let hidden = match n_hidden {
            0 => String::new(),
            n => format!(
                " Without {}, whose value is not finite.",
                words::count_of(n, "size", "sizes")
            ),
        };
        Some(Figure {
            name: format!("front-{}", index + 1),
            caption: self.title.to_owned() + &hidden,
            svg: chart.finish(&self.alt(&points)),
        })
    }

    fn mark(&self, chart: &mut Chart, point: &FrontPoint, mark: Mark, class: &str) {
        let y = (self.of)(point)[0];
        chart.mark(point.n_parameters, y, mark, class, &self.describe(point));
    }

    fn describe(&self, point: &FrontPoint) -> String {
        let [value, low, high] = (self.of)(point).map(words::significant);
        let n = words::count(point.n_parameters);
        let interval = if low == high { String::new() } else { format!(" ({low} to {high})") };
        format!("{n} parameters: {} {value}{interval}", self.name)
    }

    /// What the chart shows, for readers who do not see it.
    fn alt(&self, points: &[&FrontPoint]) -> String {
        let ends = [points.first(), points.last()].into_iter().flatten();
        let mut said: Vec<String> = ends.map(|point| self.describe(point)).collect();
        said.dedup();
        let chosen = points.iter().find(|point| point.is_chosen);
        let chosen = chosen
            .map_or(String::new(), |point| format!(". This student: {}", self.describe(point)));
        format!(
            "Chart of {} against parameters, {} sizes. {}{chosen}.",
            self.name,
            points.len(),
            said.join("; ")
        )
    }
}
