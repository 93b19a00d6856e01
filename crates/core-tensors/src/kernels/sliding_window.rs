//! A window that slides over the rows and columns of images, for convolutions and pooling.

use candle_core::{Result, Tensor, bail};

/// What a convolution or a pooling sees of an image at each of its outputs.
///
/// Output (r, s) sees the rows r·strides\[0\] + p·dilations\[0\] − pads\[0\], 0 ≤ p < kernel\[0\], and the columns likewise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingWindow {
    /// Rows and columns of the window, each ≥ 1.
    pub kernel: [usize; 2],
    /// Steps between outputs along rows and columns, each ≥ 1.
    pub strides: [usize; 2],
    /// Steps between the window's own rows and columns, each ≥ 1.
    pub dilations: [usize; 2],
    /// Rows or columns around an image: top, left, bottom, right, as in ONNX.
    pub pads: [usize; 4],
}

impl SlidingWindow {
    /// Rows and columns of the outputs for images of h × w.
    ///
    /// ⌊(h + top + bottom − dilation·(kernel − 1) − 1) / stride⌋ + 1
    ///
    /// A window larger than the padded image, a zero among kernel, strides and dilations, and sizes that overflow are errors.
    pub fn output(&self, h: usize, w: usize) -> Result<[usize; 2]> {
        self.output_rounded(h, w, false)
    }

    /// [`SlidingWindow::output`], where `ceil` rounds the quotient up: one more window along an axis whose end the last
    /// one does not reach, unless that would start in the padding behind the image.
    ///
    /// This is `ceil_mode` of ONNX and PyTorch.
    pub fn output_rounded(&self, h: usize, w: usize, ceil: bool) -> Result<[usize; 2]> {
        let mut output = [0; 2];
        for (axis, size) in [h, w].into_iter().enumerate() {
            let (kernel, stride) = (self.kernel[axis], self.strides[axis]);
            let (dilation, before) = (self.dilations[axis], self.pads[axis]);
            if kernel == 0 || stride == 0 || dilation == 0 {
                bail!(
                    "a window wanted kernel, strides and dilations of at least 1, got {:?}, {:?} and {:?}",
                    self.kernel,
                    self.strides,
                    self.dilations
                );
            }
            let padded = size.checked_add(before).and_then(|n| n.checked_add(self.pads[axis + 2]));
            let span = (kernel - 1).checked_mul(dilation).and_then(|n| n.checked_add(1));
            let (Some(padded), Some(span)) = (padded, span) else {
                bail!("a window of {self:?} on images of {h} × {w} is larger than a number holds");
            };
            if span > padded {
                bail!(
                    "a window that spans {span} {} wanted padded images at least as large, found {padded}: image {h} × {w}, \
                     pads {:?}",
                    ["rows", "columns"][axis],
                    self.pads
                );
            }
            let steps = (padded - span) / stride;
            let is_short = ceil && !(padded - span).is_multiple_of(stride);
            // A start beyond the range of numbers is beyond the image as well.
            let next = (steps + 1).checked_mul(stride).filter(|&start| start < size + before);
            output[axis] = steps + 1 + usize::from(is_short && next.is_some());
        }
        Ok(output)
    }

    /// Whether nothing is added around an image.
    pub(super) fn is_bare(&self) -> bool {
        self.pads == [0; 4]
    }
}

/// What each place of the window sees of (m, c, h, w) at all outputs, by tensor operations: one (m, c, h′, w′) a place, row by row.
///
/// Around the images stands `padding`, also beyond the pads where the last windows reach further.
pub(super) fn views(
    x: &Tensor,
    window: &SlidingWindow,
    output: [usize; 2],
    padding: f64,
) -> Result<Vec<Tensor>> {
    let mut padded = x.clone();
    for axis in 0..2 {
        let span = window.dilations[axis] * (window.kernel[axis] - 1) + 1;
        let reach = (output[axis] - 1) * window.strides[axis] + span;
        let before = window.pads[axis];
        let after = reach.saturating_sub(padded.dim(2 + axis)? + before);
        padded = surround(&padded, 2 + axis, [before, after], padding)?;
    }
    let [rows, columns] = window.kernel;
    let mut views = Vec::with_capacity(rows * columns);
    for (p, q) in (0..rows).flat_map(|p| (0..columns).map(move |q| (p, q))) {
        let start = [p * window.dilations[0], q * window.dilations[1]];
        let part = every(&padded, 2, start[0], window.strides[0], output[0])?;
        views.push(every(&part, 3, start[1], window.strides[1], output[1])?);
    }
    Ok(views)
}

fn surround(x: &Tensor, axis: usize, [before, after]: [usize; 2], value: f64) -> Result<Tensor> {
    let mut shape = x.dims().to_vec();
    let mut parts = Vec::with_capacity(3);
    for n in [before, after] {
        shape[axis] = n;
        parts.push((Tensor::ones(&shape[..], x.dtype(), x.device())? * value)?);
    }
    parts.insert(1, x.clone());
    let parts: Vec<_> = parts.into_iter().filter(|part| part.elem_count() > 0).collect();
    if parts.len() <= 1 { Ok(x.clone()) } else { Tensor::cat(&parts, axis) }
}

/// n slices of an axis, `stride` apart.
fn every(x: &Tensor, axis: usize, start: usize, stride: usize, n: usize) -> Result<Tensor> {
    if stride == 1 {
        return x.narrow(axis, start, n)?.contiguous();
    }
    let index = (0..n).map(|i| (start + i * stride) as u32).collect();
    x.contiguous()?.index_select(&Tensor::from_vec(index, n, x.device())?, axis)
}

/// The product of extents, as long as that many numbers of f64 can be addressed.
pub(super) fn n_numbers(extents: &[usize]) -> Result<usize> {
    let n = extents.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent));
    match n {
        Some(n) if n <= isize::MAX as usize / 8 => Ok(n),
        _ => bail!("a tensor of shape {extents:?} is larger than memory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: SlidingWindow =
        SlidingWindow { kernel: [3, 2], strides: [1, 1], dilations: [1, 1], pads: [0; 4] };

    /// Counts the starts of windows one by one.
    fn counted(n: usize, [k, stride, dilation, before, after]: [usize; 5], ceil: bool) -> usize {
        let padded = n + before + after;
        let span = dilation * (k - 1) + 1;
        let starts = (0..padded).filter(|start| start % stride == 0);
        starts
            .filter(|start| {
                let fits = start + span <= padded;
                // With rounding up, the window before this one has not reached the end.
                let is_wanted = *start >= stride && start - stride + span < padded;
                fits || (ceil && is_wanted && *start < n + before)
            })
            .count()
    }

    #[test]
    fn outputs_are_the_windows_that_fit() {
        for case in 0..4000usize {
            let digit = |i: u32, n: usize| (case * 7919 + 13) / 5usize.pow(i) % n;
            let (n, k, stride, dilation) =
                (1 + digit(0, 9), 1 + digit(1, 4), 1 + digit(2, 4), 1 + digit(3, 3));
            let (before, after, ceil) = (digit(4, 3), digit(5, 4), digit(6, 2) == 1);
            let window = SlidingWindow {
                kernel: [k, 1],
                strides: [stride, 1],
                dilations: [dilation, 1],
                pads: [before, 0, after, 0],
            };
            match window.output_rounded(n, 3, ceil) {
                Ok([rows, columns]) => {
                    let wanted = counted(n, [k, stride, dilation, before, after], ceil);
                    assert_eq!([rows, columns], [wanted, 3], "{n} {window:?} {ceil}");
                }
                Err(_) => assert!(dilation * (k - 1) + 1 > n + before + after),
            }
        }
    }

    #[test]
    fn bad_geometry_is_refused_with_its_numbers() {
        let message = |window: SlidingWindow| window.output(4, 5).unwrap_err().to_string();
        let zero = message(SlidingWindow { strides: [0, 1], ..PLAIN });
        assert!(zero.contains("at least 1, got [3, 2], [0, 1] and [1, 1]"), "{zero}");
        let large = message(SlidingWindow { dilations: [2, 1], ..PLAIN });
        assert!(large.contains("spans 5 rows wanted padded images"), "{large}");
        assert!(large.contains("found 4"), "{large}");
        let overflow = message(SlidingWindow { dilations: [usize::MAX, 1], ..PLAIN });
        assert!(overflow.contains("larger than a number holds"), "{overflow}");
        let overflow = message(SlidingWindow { pads: [usize::MAX, 0, 1, 0], ..PLAIN });
        assert!(overflow.contains("larger than a number holds"), "{overflow}");
        assert!(n_numbers(&[1 << 31, 1 << 31]).is_err() && n_numbers(&[usize::MAX, 2]).is_err());
    }
}
