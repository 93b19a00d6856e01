//! Powers with their gradients.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, WithDType};
use core_tensors::kernels::numbers;

use super::pairs::broadcast_shape;
use crate::graph::Problem;

/// aᵇ with broadcasting; a negative base has whole exponents only, else NaN.
///
/// The gradient in b is 0 where a is 0, the limit from above for b > 0.
pub(super) fn power(a: &Tensor, b: &Tensor) -> std::result::Result<Tensor, Problem> {
    let shape = broadcast_shape(&[a.dims(), b.dims()])?;
    if !b.track_op() && b.elem_count() == 1 && shape == a.dims() {
        let exponent = b.reshape(())?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        if let Some(y) = known(a, exponent)? {
            return Ok(y);
        }
    }
    let of = |x: &Tensor| x.broadcast_as(shape.as_slice())?.contiguous();
    let (a, b) = (of(a)?, of(b)?);
    if a.device().is_cpu() {
        return Ok(a.apply_op2(&b, Power)?);
    }
    Ok(a.pow(&b)?)
}

/// Exponents that are a product or a root.
fn known(a: &Tensor, exponent: f64) -> Result<Option<Tensor>> {
    let y = if exponent == 2.0 {
        a.sqr()?
    } else if exponent == 3.0 {
        (a.sqr()? * a)?
    } else if exponent == 1.0 {
        a.clone()
    } else if exponent == 0.5 {
        a.sqrt()?
    } else if exponent == -0.5 {
        a.sqrt()?.recip()?
    } else if exponent == -1.0 {
        a.recip()?
    } else {
        return Ok(None);
    };
    Ok(Some(y))
}

struct Power;

impl CustomOp2 for Power {
    fn name(&self) -> &'static str {
        "power"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let y = match a {
            CpuStorage::F32(_) => CpuStorage::F32(each(
                numbers::<f32>(a, a_layout)?,
                numbers::<f32>(b, b_layout)?,
                f32::powf,
            )),
            _ => CpuStorage::F64(each(
                numbers::<f64>(a, a_layout)?,
                numbers::<f64>(b, b_layout)?,
                f64::powf,
            )),
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
        // b aᵇ⁻¹ and aᵇ log a
        let by_base = |a: f64, b: f64| if b == 0.0 { 0.0 } else { b * a.powf(b - 1.0) };
        let by_exponent = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a.powf(b) * a.ln() };
        let of = |f: &dyn Fn(f64, f64) -> f64| -> Result<Tensor> {
            let list = |x: &Tensor| x.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>();
            let slopes = each(&list(a)?, &list(b)?, f);
            gradient * Tensor::from_vec(slopes, a.shape(), a.device())?.to_dtype(a.dtype())?
        };
        let by_base = a.track_op().then(|| of(&by_base)).transpose()?;
        Ok((by_base, b.track_op().then(|| of(&by_exponent)).transpose()?))
    }
}

fn each<T: WithDType>(a: &[T], b: &[T], f: impl Fn(T, T) -> T) -> Vec<T> {
    a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect()
}
