//! The ways in which units are chosen and removed, by their names in rows.

use anyhow::Result;
use bayes_posterior::surgery::network::{Order, Surgery};

use super::study::{LARGE_RATE, SMALL_RATE};

/// A way to make a network narrower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub(super) enum Method {
    /// What users get: [`default_surgery`], outputs weighted by their curvature.
    Surgery,
    /// Section 1 of the theory alone: greedy order, one small damping, no curvature, no repair.
    Plain,
    /// Wanda's choice, and least squares for it.
    WandaLeastSquares,
    /// Wanda's choice alone.
    Wanda,
    /// By the sizes of weights on both sides.
    Magnitude,
    /// By what a gate on each unit would do to the cross-entropy of the labels.
    Taylor,
    /// By chance.
    Random,
}

/// Surgery as users get it.
pub(super) fn default_surgery() -> Surgery {
    Surgery::held_out()
}

impl Method {
    /// All of them.
    pub(super) const ALL: [Self; 7] = [
        Self::Surgery,
        Self::Plain,
        Self::WandaLeastSquares,
        Self::Wanda,
        Self::Magnitude,
        Self::Taylor,
        Self::Random,
    ];

    /// The end of its rows' names.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Surgery => "surgery",
            Self::Plain => "plain",
            Self::WandaLeastSquares => "wanda-least-squares",
            Self::Wanda => "wanda",
            Self::Magnitude => "magnitude",
            Self::Taylor => "taylor",
            Self::Random => "random",
        }
    }

    /// Whether it is what users get.
    pub(super) fn is_default(self) -> bool {
        self == Self::Surgery
    }

    /// Its options; the seed is that of a random order, the saliencies are asked for where they count.
    pub(super) fn surgery(
        self,
        seed: u64,
        saliencies: impl FnOnce() -> Result<Vec<Vec<f64>>>,
    ) -> Result<Surgery> {
        Ok(match self {
            Self::Surgery => default_surgery(),
            // The other program does not look for exact functions of other units first.
            Self::Plain => Surgery { dependencies: false, ..Surgery::plain() },
            Self::WandaLeastSquares => Surgery::baseline(Order::Wanda, true),
            Self::Wanda => Surgery::baseline(Order::Wanda, false),
            Self::Magnitude => Surgery::baseline(Order::Magnitude, false),
            Self::Taylor => Surgery::baseline(Order::Taylor(saliencies()?), false),
            Self::Random => Surgery::baseline(Order::Random(seed), false),
        })
    }

    /// Step size of Adam afterwards.
    pub(super) fn learning_rate(self) -> f64 {
        match self {
            Self::Surgery | Self::Plain | Self::WandaLeastSquares => SMALL_RATE,
            Self::Wanda | Self::Magnitude | Self::Taylor | Self::Random => LARGE_RATE,
        }
    }
}
