//! Extents of tensors as functions of the number of examples.

use std::fmt;

/// One extent of a tensor, or one entry of shape arithmetic: fixed + per_example · m for a batch of m examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dimension {
    /// What does not depend on the batch.
    pub fixed: i64,
    /// What each example adds.
    pub per_example: i64,
}

impl Dimension {
    /// m: the batch itself.
    pub const BATCH: Self = Self { fixed: 0, per_example: 1 };

    /// n for every batch.
    pub const fn known(n: i64) -> Self {
        Self { fixed: n, per_example: 0 }
    }

    /// The value, where it is the same for every batch.
    pub fn as_known(self) -> Option<i64> {
        (self.per_example == 0).then_some(self.fixed)
    }

    /// Whether it grows with the batch.
    pub fn is_per_batch(self) -> bool {
        self.per_example != 0
    }

    /// The value for m examples; `None` beyond i64.
    pub fn of_batch(self, m: usize) -> Option<i64> {
        let m = i64::try_from(m).ok()?;
        self.per_example.checked_mul(m)?.checked_add(self.fixed)
    }

    /// Sum; `None` beyond i64.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            fixed: self.fixed.checked_add(other.fixed)?,
            per_example: self.per_example.checked_add(other.per_example)?,
        })
    }

    /// Difference; `None` beyond i64.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        Some(Self {
            fixed: self.fixed.checked_sub(other.fixed)?,
            per_example: self.per_example.checked_sub(other.per_example)?,
        })
    }

    /// Product; `None` where both depend on the batch, or beyond i64.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        let (a, factor) = match (self.as_known(), other.as_known()) {
            (_, Some(factor)) => (self, factor),
            (Some(factor), _) => (other, factor),
            _ => return None,
        };
        Some(Self {
            fixed: a.fixed.checked_mul(factor)?,
            per_example: a.per_example.checked_mul(factor)?,
        })
    }

    /// The quotient that is the same for every batch, or the exact quotient by a known number; `None` where there is none.
    ///
    /// Known numbers are divided as integers are in ONNX, towards zero.
    pub fn checked_div(self, other: Self) -> Option<Self> {
        if let (Some(a), Some(b)) = (self.as_known(), other.as_known()) {
            return a.checked_div(b).map(Self::known);
        }
        let is_whole = |a: i64, b: i64| a.checked_rem(b) == Some(0);
        match other.as_known() {
            Some(b) if is_whole(self.fixed, b) && is_whole(self.per_example, b) => Some(Self {
                fixed: self.fixed.checked_div(b)?,
                per_example: self.per_example.checked_div(b)?,
            }),
            Some(_) => None,
            // (a + b m) / (c + d m) is the number q where a = q c and b = q d.
            None => {
                let q = self.per_example.checked_div(other.per_example)?;
                (other.checked_mul(Self::known(q))? == self).then_some(Self::known(q))
            }
        }
    }
}

/// As a reader writes it: `N`, `4·N`, `17`, `N + 1`.
impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.fixed, self.per_example) {
            (n, 0) => write!(f, "{n}"),
            (0, 1) => f.write_str("N"),
            (0, k) => write!(f, "{k}·N"),
            (n, k) => {
                let sign = if n < 0 { '-' } else { '+' };
                write!(f, "{} {sign} {}", Self { fixed: 0, per_example: k }, n.unsigned_abs())
            }
        }
    }
}

/// A shape as a reader writes it: `[N, 3, 32, 32]`.
pub fn shape_text(shape: &[Dimension]) -> String {
    let parts: Vec<String> = shape.iter().map(Dimension::to_string).collect();
    format!("[{}]", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_agrees_with_numbers_of_several_batches() {
        let all: Vec<Dimension> = [-6, -1, 0, 2, 3, 12]
            .into_iter()
            .flat_map(|fixed| [0, 1, 4, -2].map(|per_example| Dimension { fixed, per_example }))
            .collect();
        for &a in &all {
            for &b in &all {
                for m in [1usize, 2, 7] {
                    let [x, y] = [a, b].map(|d| d.of_batch(m).unwrap());
                    let of = |d: Option<Dimension>| d.map(|d| d.of_batch(m).unwrap());
                    assert_eq!(of(a.checked_add(b)), Some(x + y));
                    assert_eq!(of(a.checked_sub(b)), Some(x - y));
                    if let Some(product) = of(a.checked_mul(b)) {
                        assert_eq!(product, x * y);
                    }
                    if let (Some(quotient), true) = (of(a.checked_div(b)), y != 0) {
                        assert_eq!(quotient, x / y, "{a} / {b} at {m}");
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_overflows() {
        let large = Dimension { fixed: i64::MAX, per_example: i64::MIN };
        let two = Dimension::known(2);
        assert_eq!(large.checked_add(Dimension::known(1)), None);
        assert_eq!(large.checked_mul(two), None);
        assert_eq!(large.of_batch(2), None);
        assert_eq!(Dimension::known(i64::MIN).checked_div(Dimension::known(-1)), None);
        assert_eq!(two.checked_div(Dimension::known(0)), None);
        assert_eq!(Dimension::BATCH.checked_div(Dimension::known(0)), None);
    }

    #[test]
    fn shapes_print_as_people_write_them() {
        let shape = [Dimension::BATCH, Dimension { fixed: 1, per_example: 4 }, Dimension::known(7)];
        assert_eq!(shape_text(&shape), "[N, 4·N + 1, 7]");
        assert_eq!(Dimension { fixed: -2, per_example: 1 }.to_string(), "N - 2");
    }
}
