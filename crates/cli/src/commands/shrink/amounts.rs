//! Amounts as users write them: 25%, 50k, 1MB, 2ms, conv1=16.

use crate::training::shrink::Amount;

/// A number and what follows it.
fn parts(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    (number.is_finite() && number > 0.0).then(|| (number, text[end..].trim()))
}

/// A share, or an amount with one of these units and their sizes; `wanted` for the message.
fn amount(text: &str, units: &[(&str, f64)], wanted: &str) -> Result<Amount, String> {
    let Some((number, unit)) = parts(text) else { return Err(format!("expected {wanted}")) };
    if unit == "%" {
        return match number < 100.0 {
            true => Ok(Amount::Share(number / 100.0)),
            false => {
                Err(format!("expected less than 100%, which is all of the network, or {wanted}"))
            }
        };
    }
    if unit.is_empty() && number < 1.0 {
        let percent = 100.0 * number;
        return Err(format!("expected {wanted}; for a share of {number} write {percent}%"));
    }
    let found = units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
    found.map(|(_, size)| Amount::Absolute(number * size)).ok_or(format!("expected {wanted}"))
}

/// `--to` and `--macs`: 25%, 50000, 50k, 1.5M.
pub(super) fn count(text: &str) -> Result<Amount, String> {
    let units = [("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)];
    amount(text, &units, "a percentage such as 25%, or a number such as 50000, 50k or 1.5M")
}

/// `--size`: 25%, 900kB, 1MB, 1MiB.
pub(super) fn bytes(text: &str) -> Result<Amount, String> {
    const KIB: f64 = 1024.0;
    let units = [
        ("B", 1.0),
        ("kB", 1e3),
        ("MB", 1e6),
        ("GB", 1e9),
        ("KiB", KIB),
        ("MiB", KIB * KIB),
        ("GiB", KIB * KIB * KIB),
    ];
    amount(text, &units, "a percentage such as 25%, or a size such as 900kB or 1MB")
}

/// `--latency`: 50%, 2ms, 500us, .1s; in milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<Amount, String> {
    let units = [("ms", 1.0), ("us", 1e-3), ("µs", 1e-3), ("s", 1e3)];
    amount(text, &units, "a percentage such as 50%, or a time such as 2ms or 500us")
}

/// `--max-loss`: 0.5% is .005.
pub(super) fn loss(text: &str) -> Result<f64, String> {
    match parts(text) {
        Some((points, "%")) if points < 100.0 => Ok(points / 100.0),
        _ => Err("expected points with a percent sign, such as 0.5% for half a point".into()),
    }
}

/// One of `--widths`: a layer and the units that it keeps.
pub(super) fn width(text: &str) -> Result<(String, usize), String> {
    let parts = text.rsplit_once('=').map(|(name, width)| (name.trim(), width.trim().parse()));
    match parts {
        Some((name, Ok(width))) if !name.is_empty() && width > 0 => Ok((name.to_owned(), width)),
        _ => Err("expected LAYER=UNITS with at least one unit, such as fc1=64".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_units() {
        for (text, wanted) in [
            ("25%", Amount::Share(0.25)),
            (" 12.5 % ", Amount::Share(0.125)),
            ("50000", Amount::Absolute(50_000.0)),
            ("50k", Amount::Absolute(50_000.0)),
            ("1.5M", Amount::Absolute(1_500_000.0)),
        ] {
            assert_eq!(count(text).unwrap(), wanted, "{text}");
        }
        assert_eq!(bytes("900kB").unwrap(), Amount::Absolute(900e3));
        assert_eq!(bytes("1MiB").unwrap(), Amount::Absolute(1_048_576.0));
        assert_eq!(milliseconds("500us").unwrap(), Amount::Absolute(0.5));
        assert_eq!(milliseconds("2 ms").unwrap(), Amount::Absolute(2.0));
        assert_eq!(loss("0.5%").unwrap(), 0.005);
        assert_eq!(width("net.0=64").unwrap(), ("net.0".to_owned(), 64));
    }

    #[test]
    fn amounts_that_could_mean_two_things_are_refused() {
        for (text, part) in [
            ("0.25", "for a share of 0.25 write 25%"),
            ("100%", "less than 100%"),
            ("0%", "a percentage"),
            ("-3", "a percentage"),
            ("25 percent", "a percentage"),
            ("nan", "a percentage"),
            ("", "a percentage"),
        ] {
            let told = count(text).unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
        assert!(bytes("5").is_err() && milliseconds("5").is_err());
        for text in ["0.5", "0.005", "100%", "x%"] {
            assert!(loss(text).is_err(), "{text}");
        }
        for text in ["fc1", "fc1=0", "=3", "fc1=x"] {
            assert!(width(text).is_err(), "{text}");
        }
    }
}
