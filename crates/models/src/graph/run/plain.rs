//! max(x, 0) and sums, differences and products of tensors of one shape, on the thread that calls.
//!
//! candle shares such an operation out among threads of its own, for which the parts of a batch would wait in turn.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType,
};
use core_tensors::kernels::{numbers, on_cpu};

use crate::graph::Binary;

/// max(x, 0), with the gradient 0 at 0; NaN stays.
pub(super) fn relu(x: &Tensor) -> Result<Tensor> {
    if is_covered(x) { x.contiguous()?.apply_op1(Relu) } else { x.relu() }
}

/// A sum, a difference or a product, where both tensors have one shape; `None` for all else.
pub(super) fn pair(of: Binary, a: &Tensor, b: &Tensor) -> Result<Option<Tensor>> {
    let of = match of {
        Binary::Add => Arithmetic::Add,
        Binary::Sub => Arithmetic::Sub,
        Binary::Mul => Arithmetic::Mul,
        _ => return Ok(None),
    };
    if a.dims() != b.dims() || !is_covered(a) || !is_covered(b) {
        return Ok(None);
    }
    a.contiguous()?.apply_op2(&b.contiguous()?, of).map(Some)
}

fn is_covered(x: &Tensor) -> bool {
    x.device().is_cpu() && matches!(x.dtype(), DType::F32 | DType::F64)
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = match x {
            CpuStorage::F32(_) => CpuStorage::F32(positive(numbers(x, layout)?)),
            _ => CpuStorage::F64(positive(numbers(x, layout)?)),
        };
        Ok((y, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match y.dtype() {
            DType::F32 => passed::<f32>(y, gradient),
            _ => passed::<f64>(y, gradient),
        }
        .map(Some)
    }
}

fn positive<T: WithDType>(x: &[T]) -> Vec<T> {
    let zero = T::zero();
    x.iter().map(|&x| if x < zero { zero } else { x }).collect()
}

/// The gradient where y is not 0.
fn passed<T: WithDType>(y: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    let gradient = gradient.contiguous()?;
    let ((ys, yl), (gs, gl)) = (y.storage_and_layout(), gradient.storage_and_layout());
    let pairs = numbers::<T>(on_cpu(&ys)?, yl)?.iter().zip(numbers::<T>(on_cpu(&gs)?, gl)?);
    let zero = T::zero();
    let dx = pairs.map(|(&y, &g)| if y <= zero { zero } else { g }).collect();
    Tensor::from_vec(dx, y.shape(), y.device())
}

#[derive(Clone, Copy)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
}

impl Arithmetic {
    fn of<T: WithDType>(self, a: &[T], b: &[T]) -> Vec<T> {
        let pairs = a.iter().zip(b);
        match self {
            Self::Add => pairs.map(|(&a, &b)| a + b).collect(),
            Self::Sub => pairs.map(|(&a, &b)| a - b).collect(),
            Self::Mul => pairs.map(|(&a, &b)| a * b).collect(),
        }
    }
}

impl CustomOp2 for Arithmetic {
    fn name(&self) -> &'static str {
        "arithmetic"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = match a {
            CpuStorage::F32(_) => {
                CpuStorage::F32(self.of(numbers(a, a_layout)?, numbers(b, b_layout)?))
            }
            _ => CpuStorage::F64(self.of(numbers(a, a_layout)?, numbers(b, b_layout)?)),
        };
        Ok((y, a_layout.shape().clone()))
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        _y: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let by_a = || match self {
            Self::Add | Self::Sub => Ok(gradient.clone()),
            Self::Mul => gradient * b,
        };
        let by_b = || match self {
            Self::Add => Ok(gradient.clone()),
            Self::Sub => gradient.neg(),
            Self::Mul => gradient * a,
        };
        Ok((a.track_op().then(by_a).transpose()?, b.track_op().then(by_b).transpose()?))
    }
}
