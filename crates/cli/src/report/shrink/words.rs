//! Numbers for a reader: shares in percent, differences in percentage points, large counts in groups of three digits.

use crate::ledger::Metric;
use crate::ledger::quality::{Interval, PairedMeasure};

/// Between a number and its unit: no line ends there.
pub(super) const SPACE: char = '\u{a0}';
/// Between groups of three digits.
const GROUP: char = '\u{202f}';
/// Fewest significant digits of a value that its metric's digits would hide.
const SIGNIFICANT: usize = 3;
/// Most decimals before a small number is written with its power of ten.
const MOST_DECIMALS: usize = 8;
/// Power of ten from which on a number alone is written with it.
const TINY: i32 = -6;

/// What a number without a finite value is called; every page that says so explains it.
pub(super) fn not_finite(value: f64) -> Option<&'static str> {
    match value {
        value if value.is_finite() => None,
        value if value.is_nan() => Some("undefined"),
        value if value > 0.0 => Some("infinite"),
        _ => Some("−infinite"),
    }
}

/// What the words of [`not_finite`] mean.
pub(super) const NOT_FINITE: &str = "“Infinite” and “undefined” stand where a measure has no finite value: the logarithm of a probability \
     that is exactly 0 is infinite, and a share or R² of nothing is undefined (no examples, or targets that are all the same).";

/// Whether a metric is a share, which is shown in percent.
pub(super) fn is_share(metric: Metric) -> bool {
    metric.unit == "share"
}

/// What a metric is called where the teacher is the network.
pub(super) fn label(metric: Metric) -> String {
    metric.label.replace("the teacher", "the network").replace("with teacher", "with the network")
}

/// A number with this many decimals, with a minus that is as wide as a plus.
pub(super) fn decimal(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    // −0.00 is 0.00.
    let is_zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
    match text.strip_prefix('-') {
        Some(rest) if is_zero => rest.to_owned(),
        Some(rest) => format!("−{rest}"),
        None => text,
    }
}

/// A whole number in groups of three digits, or with one decimal where it is not whole.
pub(super) fn count(value: f64) -> String {
    if let Some(word) = not_finite(value) {
        return word.to_owned();
    }
    let text = decimal(value, usize::from(value.fract() != 0.0));
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        let left = whole.chars().count() - at;
        if left % 3 == 0 && grouped.chars().any(|c| c.is_ascii_digit()) {
            grouped.push(GROUP);
        }
        grouped.push(digit);
    }
    grouped + rest
}

/// A count of things.
pub(super) fn count_of(n: usize, one: &str, many: &str) -> String {
    format!("{}{SPACE}{}", count(n as f64), if n == 1 { one } else { many })
}

/// A share in percent.
pub(super) fn percent(share: f64, decimals: usize) -> String {
    match not_finite(share) {
        Some(word) => word.to_owned(),
        None => format!("{}{SPACE}%", decimal(100.0 * share, decimals)),
    }
}

/// A number with three significant digits, for times and nats.
pub(super) fn significant(value: f64) -> String {
    match (not_finite(value), value == 0.0) {
        (Some(word), _) => word.to_owned(),
        (None, true) => "0".into(),
        (None, false) if magnitude(value) <= TINY => power(value),
        (None, false) => {
            small(value, (SIGNIFICANT as i32 - 1 - magnitude(value)).max(0).unsigned_abs() as usize)
        }
    }
}

/// The value of a metric, with its unit where it is a share.
pub(super) fn value(metric: Metric, value: f64) -> String {
    if let Some(word) = not_finite(value) {
        return word.to_owned();
    }
    if is_share(metric) {
        return percent(value, metric.digits.saturating_sub(2));
    }
    let is_hidden = value != 0.0 && value.abs() < 0.1_f64.powi(metric.digits as i32 - 1);
    if is_hidden { significant(value) } else { metric.text(value).replace('-', "−") }
}

/// A difference of a metric and its interval, each with its sign: in percentage points for shares.
pub(super) struct Change {
    /// The estimate with its unit.
    pub(super) value: String,
    /// The same without the unit.
    pub(super) number: String,
    /// "low to high", without the unit.
    pub(super) interval: String,
}

/// A difference in a table: as many decimals as its metric has, or more where they would all be 0.
pub(super) fn change(metric: Metric, interval: Interval) -> Change {
    changed(metric, interval, metric.digits, 2)
}

/// A difference in a sentence: shares with one decimal of a point.
pub(super) fn short_change(metric: Metric, interval: Interval) -> Change {
    match is_share(metric) {
        true => changed(metric, interval, 3, 1),
        false => change(metric, interval),
    }
}

fn changed(metric: Metric, interval: Interval, digits: usize, n_significant: i32) -> Change {
    let (scale, unit, least) = match is_share(metric) {
        true => (100.0, format!("{SPACE}points"), digits.saturating_sub(2)),
        false => (1.0, String::new(), digits),
    };
    let ends = [interval.value, interval.low, interval.high].map(|end| scale * end);
    let finite = ends.iter().map(|end| end.abs()).filter(|end| end.is_finite());
    let largest = finite.fold(0.0, f64::max);
    // Enough decimals for the significant digits of the largest.
    let decimals = match largest {
        0.0 => least,
        size if size >= 100.0 && !is_share(metric) => 1,
        size => least.max((n_significant - 1 - magnitude(size)).max(0).unsigned_abs() as usize),
    };
    let [number, low, high] = ends.map(|end| signed(end, decimals));
    let unit = if interval.value.is_finite() { unit } else { String::new() };
    Change { value: number.clone() + &unit, number, interval: format!("{low} to {high}") }
}

/// A number with its sign, where it is not 0.
fn signed(value: f64, decimals: usize) -> String {
    if let Some(word) = not_finite(value) {
        return word.to_owned();
    }
    let text = small(value, decimals);
    let is_zero = text.chars().all(|c| matches!(c, '0' | '.'));
    if value > 0.0 && !is_zero { format!("+{text}") } else { text }
}

/// A number with decimals, or with its power of ten where that would be many of them.
fn small(value: f64, decimals: usize) -> String {
    if decimals <= MOST_DECIMALS { decimal(value, decimals) } else { power(value) }
}

/// A number with its power of ten: "1e−6", "1.3e−12".
fn power(value: f64) -> String {
    format!("{value:.1e}").replace(".0e", "e").replace('-', "−")
}

/// ⌊log₁₀ |x|⌋.
fn magnitude(value: f64) -> i32 {
    value.abs().log10().floor() as i32
}

/// The value of the first network and of the second: "87.6 %", "87.2 %", with one decimal for shares unless that hides the difference.
pub(super) fn short_pair(measure: &PairedMeasure) -> [String; 2] {
    let PairedMeasure { metric, first, second, .. } = *measure;
    if !is_share(metric) {
        return [value(metric, first), value(metric, second)];
    }
    let with = |decimals| [percent(first, decimals), percent(second, decimals)];
    let short = with(1);
    if short[0] == short[1] && first != second { with(2) } else { short }
}

/// How a size changed, in one or two lines: "24.7 %", "4.1 times smaller".
pub(super) fn ratio(before: f64, after: f64, smaller: &str, larger: &str) -> Vec<String> {
    let share = after / before;
    if !share.is_finite() || share <= 0.0 {
        return vec!["–".into()];
    }
    let times = |ratio: f64| decimal(ratio, if ratio < 10.0 { 1 } else { 0 });
    let words = match share {
        share if share < 0.95 => Some(format!("{} times {smaller}", times(1.0 / share))),
        share if share > 1.05 => Some(format!("{} times {larger}", times(share))),
        _ => None,
    };
    std::iter::once(percent(share, 1)).chain(words).collect()
}

/// Words as an English list.
pub(super) fn list(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// A text with a capital letter and a final dot; a name such as `fc.weight` keeps its first letter.
pub(super) fn sentence(text: &str) -> String {
    let text = text.trim();
    let first = text.split_whitespace().next().unwrap_or_default();
    let is_word = |c: char| c.is_lowercase() || matches!(c, '’' | '\'' | ',' | '-');
    let mut letters = text.chars();
    let capital: String = match letters.next() {
        Some(letter) if first.chars().all(is_word) => letter.to_uppercase().collect(),
        letter => letter.into_iter().collect(),
    };
    let dot = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    unbroken(&(capital + letters.as_str())) + dot
}

/// A text in which no line ends before a percent sign.
pub(super) fn unbroken(text: &str) -> String {
    text.replace(" %", "\u{a0}%")
}

/// How much a mean confidence lies above the share that is right.
pub(super) fn confidence_gap(gap: f64) -> String {
    match not_finite(gap) {
        Some(word) => word.to_owned(),
        None if gap.abs() < 0.0005 => "equal to the share that is correct".into(),
        None => {
            let side = if gap > 0.0 { "above" } else { "below" };
            format!("{} points {side} the share that is correct", decimal(100.0 * gap.abs(), 1))
        }
    }
}

/// The interval of a measure that compares the student with the network, whose own value is the best: "92.1 % to 94.2 %".
pub(super) fn level(measure: &PairedMeasure) -> String {
    let PairedMeasure { metric, first, difference, .. } = *measure;
    let ends = [difference.low, difference.high].map(|end| first + end);
    let text = |end| if is_share(metric) { percent(end, 1) } else { value(metric, end) };
    ends.map(text).join(" to ")
}

/// A p-value as it follows the letter p: "= 0.012", "< 0.0001".
pub(super) fn probability(p: f64) -> String {
    match p {
        p if p.is_nan() => "undefined".into(),
        p if p < 1e-4 => format!("<{SPACE}0.0001"),
        p if p < 0.1 => format!("={SPACE}{}", decimal(p, 4)),
        p => format!("={SPACE}{}", decimal(p, 2)),
    }
}
