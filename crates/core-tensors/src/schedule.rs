//! Numbers that move while a network is trained: weights of terms, step sizes.

/// Steepness of [`Schedule::Ramp`] in the source.
const STEEPNESS: f64 = 10.0;

/// A number by the share of the training that is done, p ∈ \[0, 1\].
///
/// A step size must stay above 0: [`Schedule::Ramp`] and a line from 0 are for weights.
///
/// ```
/// use core_tensors::Schedule;
/// assert_eq!(Schedule::Linear { from: 1.0, to: 0.0 }.at(0.25), 0.75);
/// assert!((Schedule::Cosine(2.0).at(0.5) - 1.0).abs() < 1e-12);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// The same throughout.
    Constant(f64),
    /// from + (to − from) p.
    Linear {
        /// At p = 0.
        from: f64,
        /// At p = 1.
        to: f64,
    },
    /// v (2 / (1 + e^{−10 p}) − 1): from 0 to nearly v, half of it at p = .11.
    ///
    /// Source: Ganin & Lempitsky (2015), section 4.
    Ramp(f64),
    /// v (1 + cos π p) / 2: from v to 0.
    ///
    /// Source: Loshchilov & Hutter (2017), without restarts.
    Cosine(f64),
}

impl Schedule {
    /// The number at p; a p outside \[0, 1\] counts as the nearer end.
    pub fn at(self, p: f64) -> f64 {
        let p = p.clamp(0.0, 1.0);
        match self {
            Self::Constant(value) => value,
            Self::Linear { from, to } => from + (to - from) * p,
            Self::Ramp(value) => value * (2.0 / (1.0 + (-STEEPNESS * p).exp()) - 1.0),
            Self::Cosine(value) => value * 0.5 * (1.0 + (std::f64::consts::PI * p).cos()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_middles_by_hand() {
        let at = |schedule: Schedule, wanted: [f64; 3]| {
            for (p, wanted) in [0.0, 0.5, 1.0].into_iter().zip(wanted) {
                assert!((schedule.at(p) - wanted).abs() < 1e-12, "{schedule:?} at {p}");
            }
            assert_eq!((schedule.at(-1.0), schedule.at(7.0)), (schedule.at(0.0), schedule.at(1.0)));
        };
        at(Schedule::Constant(0.3), [0.3; 3]);
        at(Schedule::Linear { from: 1.0, to: 4.0 }, [1.0, 2.5, 4.0]);
        // tanh(5 p)
        at(Schedule::Ramp(2.0), [0.0, 2.0 * 2.5f64.tanh(), 2.0 * 5f64.tanh()]);
        at(Schedule::Cosine(2.0), [2.0, 1.0, 0.0]);
    }
}
