//! Amounts as users write them: 25%, 50k, 1MB, 2ms, conv1=16.

use crate::training::shrink::Amount;

/// Percentages that are a share of something, in words.
const SHARES: &str = "a percentage above 0% and below 100%";

/// A number above 0 and what follows it.
fn parts(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text.find(|c: char| c != '.' && !c.is_ascii_digit()).unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    (number.is_finite() && number > 0.0).then(|| (number, text[end..].trim()))
}

/// A share, or an amount with one of these units and their sizes; `wanted` for the message.
fn amount(text: &str, units: &[(&str, f64)], wanted: &str) -> Result<Amount, String> {
    let wanted = format!("{SHARES}, such as 25%, or {wanted}");
    let Some((number, unit)) = parts(text) else { return Err(format!("expected {wanted}")) };
    if unit == "%" {
        return match number < 100.0 {
            true => Ok(Amount::Share(number / 100.0)),
            false => Err(format!("expected {wanted}; 100% is all of the network")),
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
    amount(text, &units, "a number above 0 such as 50000, 50k or 1.5M")
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
    amount(text, &units, "a size above 0 with its unit, such as 900kB or 1MB")
}

/// `--latency`: 50%, 2ms, 500us, .1s; in milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<Amount, String> {
    let units = [("ms", 1.0), ("us", 1e-3), ("µs", 1e-3), ("s", 1e3)];
    amount(text, &units, "a time above 0 in s, ms or us, such as 2ms or 500us")
}

/// `--max-loss`: 0.5% is .005.
pub(super) fn loss(text: &str) -> Result<f64, String> {
    match parts(text) {
        Some((points, "%")) if points < 100.0 => Ok(points / 100.0),
        _ => Err("expected points above 0% and below 100%, with the percent sign, such as 0.5% for half a point"
            .into()),
    }
}

/// What is wrong with a plain number that looks like a percentage: so few of a network's `whole` parameters or products.
pub(super) fn objection(option: &str, amount: Amount, whole: f64, unit: &str) -> Option<String> {
    /// A number up to here may be meant as a percentage.
    const MOST_PERCENT: f64 = 100.0;
    /// Where there are more, nobody asks for so few.
    const MANY: f64 = 1000.0;
    match amount {
        Amount::Absolute(n) if n <= MOST_PERCENT && whole > MANY => {
            let instead = match n {
                25.0 => "; write 25% for a quarter".to_owned(),
                50.0 => "; write 50% for half".to_owned(),
                n if n < MOST_PERCENT => format!("; write {n}% for that share of them"),
                _ => String::new(),
            };
            Some(format!(
                "{option}: expected a percentage, or more than {MOST_PERCENT} {unit} of the network's {whole}, found {n}{instead}"
            ))
        }
        Amount::Absolute(_) | Amount::Share(_) => None,
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
    fn a_percentage_without_its_sign_is_refused() {
        let told = |n, whole| objection("--to", Amount::Absolute(n), whole, "parameters");
        let wanted = "--to: expected a percentage, or more than 100 parameters of the network's 2755, found 25; write 25% for a \
                      quarter";
        assert_eq!(told(25.0, 2755.0).unwrap(), wanted);
        assert!(told(12.5, 2755.0).unwrap().ends_with("write 12.5% for that share of them"));
        assert!(told(100.0, 2755.0).unwrap().ends_with("found 100"));
        assert_eq!((told(101.0, 2755.0), told(25.0, 900.0)), (None, None));
        assert_eq!(objection("--to", Amount::Share(0.25), 2755.0, "parameters"), None);
    }

    #[test]
    fn amounts_that_could_mean_two_things_are_refused() {
        for (text, part) in [
            ("0.25", "for a share of 0.25 write 25%"),
            ("100%", "above 0% and below 100%"),
            ("0%", "above 0% and below 100%"),
            ("-5%", "above 0% and below 100%"),
            ("-3", "a number above 0"),
            ("25 percent", "a percentage"),
            ("nan", "a percentage"),
            ("", "a percentage"),
        ] {
            let told = count(text).unwrap_err();
            assert!(told.contains(part), "{text}: {told}");
        }
        assert!(bytes("5").is_err() && milliseconds("5").is_err());
        for text in ["1ns", "1h", "0ms", "-1ms"] {
            let told = milliseconds(text).unwrap_err();
            assert!(told.contains("a time above 0 in s, ms or us"), "{text}: {told}");
        }
        for text in ["0.5", "0.005", "-1%", "0%", "100%", "200%", "x%"] {
            let told = loss(text).unwrap_err();
            assert!(told.contains("above 0% and below 100%"), "{text}: {told}");
        }
        for text in ["fc1", "fc1=0", "=3", "fc1=x"] {
            assert!(width(text).is_err(), "{text}");
        }
    }
}
