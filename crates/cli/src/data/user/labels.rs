//! Targets as classes: whole numbers from 0, and what their numbers say about how they were counted.

use anyhow::{Result, bail};

use super::place::Place;

/// Classes of data where no network says how many there are: ImageNet-21k has 21 841, and a label above is more likely an
/// identifier, for which networks and pairs would take gigabytes.
pub(crate) const MOST_CLASSES: usize = 65_536;
/// Classes that a notice lists.
const LISTED: usize = 5;

/// The classes of values, each below `n_classes`.
pub(super) fn classes(values: &[f64], n_classes: usize, place: &Place) -> Result<Vec<u32>> {
    let last = n_classes.saturating_sub(1);
    let class = |(row, &value): (usize, &f64)| {
        let is_whole = value.fract() == 0.0 && value.is_finite();
        if is_whole && (0.0..n_classes as f64).contains(&value) {
            return Ok(value as u32);
        }
        let row = place.target(row, 0);
        match is_whole {
            false => bail!("{row}: classes are whole numbers from 0 to {last}, found {value}"),
            true => bail!(
                "{row}: classes are numbered from 0 to {last}, found {value}{}",
                instead(values, n_classes)
            ),
        }
    };
    values.iter().enumerate().map(class).collect()
}

/// The same, with the option that names the classes by their numbers.
fn instead(values: &[f64], n_classes: usize) -> String {
    /// Names that a message lists.
    const MOST_NAMES: usize = 20;
    match hint(values, n_classes) {
        hint if hint.is_empty() || n_classes > MOST_NAMES => hint.to_owned(),
        _ => {
            let names: Vec<String> = (1..=n_classes).map(|class| class.to_string()).collect();
            format!(" (subtract 1, or give --classes {})", names.join(","))
        }
    }
}

/// What to do where labels count from 1 to the number of classes.
pub(crate) fn hint<T: Copy + Into<f64>>(labels: &[T], n_classes: usize) -> &'static str {
    let values = labels.iter().map(|&label| label.into());
    let (least, most) =
        values.fold((f64::INFINITY, 0.0f64), |(least, most), v| (least.min(v), most.max(v)));
    if least == 1.0 && most == n_classes as f64 { " (subtract 1)" } else { "" }
}

/// What is unusual about classes of which a network has `n_classes`.
pub(crate) fn notices(labels: &[u32], n_classes: usize) -> Option<String> {
    let mut is_seen = vec![false; n_classes];
    for &label in labels {
        if let Some(seen) = is_seen.get_mut(label as usize) {
            *seen = true;
        }
    }
    let absent: Vec<usize> = (0..n_classes).filter(|&class| !is_seen[class]).collect();
    let n_seen = n_classes - absent.len();
    if absent.is_empty() || labels.is_empty() {
        return None;
    }
    if n_seen == 1 {
        let class = labels[0];
        return Some(format!(
            "all {} examples have class {class} of {n_classes}; check which column is the target",
            labels.len()
        ));
    }
    let listed: Vec<String> = absent.iter().take(LISTED).map(usize::to_string).collect();
    let more = if absent.len() > LISTED { ", …" } else { "" };
    let listed = format!("{}{more}", listed.join(", "));
    let noun = if absent.len() == 1 { "class" } else { "classes" };
    let verb = if absent.len() == 1 { "occurs" } else { "occur" };
    let from_1 =
        if absent[0] == 0 { "; if the labels count from 1, subtract 1 from each" } else { "" };
    Some(format!("{noun} {listed} of {n_classes} never {verb}{from_1}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_whole_numbers_from_0() {
        let place = Place::Rows("tensor");
        let told = |values: &[f64], n| classes(values, n, &place).unwrap_err().to_string();
        assert_eq!(classes(&[0.0, 2.0, -0.0], 3, &place).unwrap(), [0, 2, 0]);
        let from_1: Vec<f64> = (1..=10).map(f64::from).collect();
        assert!(
            told(&from_1, 10).ends_with(
                "classes are numbered from 0 to 9, found 10 (subtract 1, or give --classes 1,2,3,4,5,6,7,8,9,10)"
            )
        );
        assert!(told(&[0.0, 10.0], 10).ends_with("from 0 to 9, found 10"));
        assert!(told(&[0.5], 2).ends_with("whole numbers from 0 to 1, found 0.5"));
        assert!(told(&[1.0, -1.0], 2).contains("row 1 (from 0)"));
        for value in [5e9, 1e9, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(classes(&[value], MOST_CLASSES, &place).is_err(), "{value}");
        }
    }

    #[test]
    fn absent_classes_are_named() {
        for (labels, n, wanted) in [
            (&[0, 1, 1][..], 2, None),
            (&[0, 0], 3, Some("all 2 examples have class 0 of 3; check")),
            (&[0, 2], 3, Some("class 1 of 3 never occurs")),
            (&[1, 2], 3, Some("class 0 of 3 never occurs; if the labels count from 1, subtract 1")),
            (&[0, 1], 9, Some("classes 2, 3, 4, 5, 6, … of 9 never occur")),
        ] {
            let found = notices(labels, n);
            let is_right = match (&found, wanted) {
                (Some(found), Some(wanted)) => found.starts_with(wanted),
                (found, wanted) => found.is_none() && wanted.is_none(),
            };
            assert!(is_right, "{found:?}");
        }
    }
}
