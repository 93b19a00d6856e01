//! Comparisons of extents that hold for every batch.

use super::Dimension;

/// Comparisons for all batches of one or more examples at once; false also means "not for every batch".
impl Dimension {
    /// a ≥ b for every batch.
    pub fn is_at_least(self, other: Self) -> bool {
        let (fixed, per_example) = self.gap(other);
        per_example >= 0 && fixed + per_example >= 0
    }

    /// a > b for every batch.
    pub fn is_above(self, other: Self) -> bool {
        let (fixed, per_example) = self.gap(other);
        per_example >= 0 && fixed + per_example > 0
    }

    /// a ≠ b for every batch.
    pub fn is_never(self, other: Self) -> bool {
        let (fixed, per_example) = self.gap(other);
        match per_example {
            0 => fixed != 0,
            // Equal for m = −fixed/per_example alone, which must be no batch.
            _ => fixed % per_example != 0 || -fixed / per_example < 1,
        }
    }

    /// a − b, wide enough that nothing overflows.
    fn gap(self, other: Self) -> (i128, i128) {
        let gap = |a: i64, b: i64| i128::from(a) - i128::from(b);
        (gap(self.fixed, other.fixed), gap(self.per_example, other.per_example))
    }
}
