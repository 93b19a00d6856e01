//! Convolution in general: strides, dilations, pads of each side, groups of channels.

#[cfg(test)]
mod tests;

use candle_core::{
    CpuStorage, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, WithDType, bail,
};

use super::geometry::Extents;
use super::passes::{Method, Sizes, Wanted, backward, forward};
use crate::kernels::sliding_window::{SlidingWindow, n_numbers, views};
use crate::kernels::{is_fused, numbers, on_cpu};

/// Cross-correlation in groups of channels; (m, c, h, w) → (m, o, h′, w′), of the extents of [`SlidingWindow::output`].
///
/// y\[i, a, r, s\] = b\[a\] + Σ u\[a, j, p, q\] x\[i, g·c/G + j, r·S₀ + p·D₀ − top, s·S₁ + q·D₁ − left\]
///
/// over the channels j of the group g = ⌊a·G/o⌋ and the window's rows p and columns q; S are its strides, D its dilations,
/// and x is surrounded by zeros. `filters` u have shape (o, c/G, kₕ, k_w), `bias` b has shape (o,), `groups` is G.
/// This is ONNX's `Conv` and PyTorch's `Conv2d`. Gradients reach images, filters and bias.
/// The images of a batch are shared out among the threads of rayon's pool; the result does not depend on their number.
///
/// Other shapes, channels or filters that G does not divide, and a window that does not fit are errors.
pub fn grouped_convolution(
    x: &Tensor,
    filters: &Tensor,
    bias: Option<&Tensor>,
    window: &SlidingWindow,
    groups: usize,
) -> Result<Tensor> {
    let op = Grouped { window: *window, groups };
    op.sizes(x.shape(), filters.shape(), bias.map(Tensor::shape))?;
    if !is_fused(&[x, filters]) || bias.is_some_and(|bias| !is_fused(&[bias])) {
        return composed(x, filters, bias, window, groups);
    }
    let (x, filters) = (x.contiguous()?, filters.contiguous()?);
    match bias {
        Some(bias) => x.apply_op3(&filters, &bias.contiguous()?, op),
        None => x.apply_op2(&filters, op),
    }
}

/// The images that each weight meets, side by side, and one matrix product a group.
pub(super) fn composed(
    x: &Tensor,
    filters: &Tensor,
    bias: Option<&Tensor>,
    window: &SlidingWindow,
    groups: usize,
) -> Result<Tensor> {
    let ((m, c, h, w), (o, _, n_rows, n_columns)) = (x.dims4()?, filters.dims4()?);
    let output = window.output(h, w)?;
    let [rows, columns] = output;
    let seen = views(x, window, output, 0.0)?;
    let unfolded = Tensor::stack(&seen, 2)?; // (m, c, kₕ k_w, h′, w′)
    let n = c / groups * n_rows * n_columns;
    let unfolded = unfolded.reshape((m, groups, n, rows * columns))?;
    let filters = filters.contiguous()?.reshape((1, groups, o / groups, n))?;
    let y = filters.broadcast_matmul(&unfolded)?.reshape((m, o, rows, columns))?;
    match bias {
        Some(bias) => y.broadcast_add(&bias.contiguous()?.reshape((1, o, 1, 1))?),
        None => Ok(y),
    }
}

struct Grouped {
    window: SlidingWindow,
    groups: usize,
}

impl Grouped {
    fn sizes(&self, x: &Shape, filters: &Shape, bias: Option<&Shape>) -> Result<Sizes> {
        let ((m, c, h, w), (o, channels, rows, columns)) = (x.dims4()?, filters.dims4()?);
        let (window, groups) = (self.window, self.groups);
        let e = Extents::new((c, h, w), window, groups)?;
        if [rows, columns] != window.kernel || channels != e.c {
            bail!(
                "filters on {c} channels in groups of {} with a window of {:?} wanted shape (o, {}, {}, {}), found {filters:?}",
                e.c,
                window.kernel,
                e.c,
                window.kernel[0],
                window.kernel[1]
            );
        }
        if o == 0 || !o.is_multiple_of(groups) {
            bail!("{o} filters are not divisible into {groups} groups of at least one");
        }
        if let Some(bias) = bias
            && bias.dims() != [o]
        {
            bail!("the bias of {o} filters wanted shape [{o}], found {bias:?}");
        }
        n_numbers(&[m, o, e.out_h, e.out_w])?;
        Ok(Sizes {
            e,
            m,
            groups,
            o: o / groups,
            filter_stride: e.weights(),
            has_bias: bias.is_some(),
            is_pooled: false,
            method: Method::of(e),
        })
    }

    fn forward<T: WithDType>(
        x: (&CpuStorage, &Layout),
        filters: (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
        s: Sizes,
    ) -> Result<Vec<T>> {
        let none;
        let bias = match bias {
            Some(bias) => numbers(bias.0, bias.1)?,
            None => {
                none = vec![T::zero(); s.groups * s.o];
                &none
            }
        };
        Ok(forward(numbers(x.0, x.1)?, numbers(filters.0, filters.1)?, bias, s)?.0)
    }

    fn run(
        &self,
        x: (&CpuStorage, &Layout),
        filters: (&CpuStorage, &Layout),
        bias: Option<(&CpuStorage, &Layout)>,
    ) -> Result<(CpuStorage, Shape)> {
        let s =
            self.sizes(x.1.shape(), filters.1.shape(), bias.map(|(_, layout)| layout.shape()))?;
        let y = match x.0 {
            CpuStorage::F32(_) => CpuStorage::F32(Self::forward(x, filters, bias, s)?),
            _ => CpuStorage::F64(Self::forward(x, filters, bias, s)?),
        };
        Ok((y, (s.m, s.groups * s.o, s.e.out_h, s.e.out_w).into()))
    }

    fn back(
        &self,
        x: &Tensor,
        filters: &Tensor,
        bias: Option<&Tensor>,
        gradient: &Tensor,
    ) -> Result<[Option<Tensor>; 3]> {
        let s = self.sizes(x.shape(), filters.shape(), bias.map(Tensor::shape))?;
        match x.dtype() {
            DType::F32 => gradients::<f32>(x, filters, bias, gradient, s),
            _ => gradients::<f64>(x, filters, bias, gradient, s),
        }
    }
}

/// By images, filters and bias.
fn gradients<T: WithDType>(
    x: &Tensor,
    filters: &Tensor,
    bias: Option<&Tensor>,
    gradient: &Tensor,
    s: Sizes,
) -> Result<[Option<Tensor>; 3]> {
    let gradient = gradient.contiguous()?;
    let ((xs, xl), (fs, fl)) = (x.storage_and_layout(), filters.storage_and_layout());
    let (gs, gl) = gradient.storage_and_layout();
    let wanted = Wanted {
        x: x.track_op(),
        filters: filters.track_op(),
        bias: bias.is_some_and(Tensor::track_op),
    };
    let (images, weights) = (numbers::<T>(on_cpu(&xs)?, xl)?, numbers::<T>(on_cpu(&fs)?, fl)?);
    let found = backward(images, weights, &[], numbers::<T>(on_cpu(&gs)?, gl)?, wanted, s)?;

    let (n, o, device) = (s.e.weights(), s.groups * s.o, x.device());
    let dx = wanted.x.then(|| Tensor::from_vec(found.x, x.shape(), device)).transpose()?;
    let last = |row: &[T]| row.last().copied().unwrap_or_else(T::zero);
    let db = match wanted.bias {
        true => {
            let db: Vec<T> = found.filters.chunks_exact(n + 1).map(last).collect();
            Some(Tensor::from_vec(db, o, device)?)
        }
        false => None,
    };
    let du = match (wanted.filters, s.has_bias) {
        (false, _) => None,
        (true, false) => Some(found.filters),
        (true, true) => {
            Some(found.filters.chunks_exact(n + 1).flat_map(|row| &row[..n]).copied().collect())
        }
    };
    let du = du.map(|du| Tensor::from_vec(du, filters.shape(), device)).transpose()?;
    Ok([dx, du, db])
}

impl CustomOp2 for Grouped {
    fn name(&self) -> &'static str {
        "grouped-convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        filters: &CpuStorage,
        filters_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, x_layout), (filters, filters_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        filters: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, du, _] = self.back(x, filters, None, gradient)?;
        Ok((dx, du))
    }
}

impl CustomOp3 for Grouped {
    fn name(&self) -> &'static str {
        "grouped-convolution"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        filters: &CpuStorage,
        filters_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run((x, x_layout), (filters, filters_layout), Some((bias, bias_layout)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        filters: &Tensor,
        bias: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [dx, du, db] = self.back(x, filters, Some(bias), gradient)?;
        Ok((dx, du, db))
    }
}
