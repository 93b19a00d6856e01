//! What a filter or a pool sees.

use core_tensors::kernels::SlidingWindow;

/// A window that slides over the one or two axes behind the channels.
///
/// One axis is kept as rows of height 1: kernel \[1, k\], stride \[1, s\], and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Rows and columns, each at least 1.
    pub kernel: [usize; 2],
    /// Steps, each at least 1.
    pub strides: [usize; 2],
    /// Distance of neighbors inside the window, each at least 1.
    pub dilations: [usize; 2],
    /// Top, left, bottom, right.
    pub pads: [usize; 4],
    /// Whether a last window that is only partly inside counts (pooling).
    pub ceil: bool,
}

impl Window {
    /// The same for a kernel, which learns of the rounding apart.
    pub(super) fn sliding(&self) -> SlidingWindow {
        let Self { kernel, strides, dilations, pads, ceil: _ } = *self;
        SlidingWindow { kernel, strides, dilations, pads }
    }
}
