//! Standard errors of statistics that are no means, from examples drawn anew.

use core_tensors::Rng;

use crate::ledger::quality::Interval;
use crate::ledger::stats;

/// Times that the examples are drawn anew; a standard error is then known to 4 %.
const N_RESAMPLES: usize = 300;

/// Standard deviations of several statistics over samples of m examples drawn with replacement.
///
/// Source: Efron & Tibshirani (1993), section 6.2.
pub(super) fn standard_errors<const N: usize>(
    m: usize,
    rng: &mut Rng,
    mut statistics: impl FnMut(&[usize]) -> [f64; N],
) -> [f64; N] {
    let mut drawn = vec![0; m];
    let mut values: [Vec<f64>; N] = std::array::from_fn(|_| Vec::with_capacity(N_RESAMPLES));
    for _ in 0..N_RESAMPLES {
        drawn.iter_mut().for_each(|i| *i = rng.below(m));
        for (values, value) in values.iter_mut().zip(statistics(&drawn)) {
            values.push(value);
        }
    }
    values.map(|values| stats::population_std(&values))
}

/// The estimate ± z₀.₉₇₅ standard errors.
///
/// Not the percentiles of the drawn values: a calibration error of examples drawn anew is larger than that of the examples
/// themselves, as noise adds to it twice, and only its spread is to be trusted.
pub(super) fn interval(value: f64, standard_error: f64) -> Interval {
    let half = stats::normal_quantile(0.5 + stats::CONFIDENCE / 2.0) * standard_error;
    Interval { value, low: value - half, high: value + half }
}
