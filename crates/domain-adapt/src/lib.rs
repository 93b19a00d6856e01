//! Maps φ between domains, through which a teacher sees the examples of a student, and measures of a φ.
//!
#![doc = include_str!("../README.md")]

mod alignment;
mod filter;
mod measures;
mod simple;
mod style;
mod translator;

use candle_core::Tensor;
use core_tensors::{Result, Rng};

pub use alignment::{Alignment, alignment_loss, reverse_gradient};
pub use filter::{FixedConvolution, MorphologicalDilation};
pub use measures::{proxy_distance, round_trip_error, unbiased_mmd};
pub use simple::{GaussianNoise, Identity, Selection, Sine};
pub use style::{Style, StyleConfig};
pub use translator::{Translator, translation_loss};

/// φ: X_t → X_s, from the target domain of the transfer, the student's, to its source, the teacher's.
///
/// ```
/// use core_tensors::candle_core::{Device, Tensor};
/// use core_tensors::{Result, Rng};
/// use domain_adapt::{Chain, DomainMap, Sine};
/// /// φ(x) = 2x: a map of one's own.
/// struct Twice;
/// impl DomainMap for Twice {
///     fn apply(&self, x: &Tensor, _: &mut Rng) -> Result<Tensor> {
///         Ok((x * 2.0)?)
///     }
/// }
/// # fn main() -> core_tensors::Result<()> {
/// let map = Chain { links: vec![&Twice, &Sine] };
/// let x = Tensor::new(&[[0.25f32]], &Device::Cpu)?;
/// assert_eq!(map.apply(&x, &mut Rng::new(0))?.to_vec2::<f32>()?, [[0.5f32.sin()]]);
/// # Ok(())
/// # }
/// ```
pub trait DomainMap {
    /// φ(x) for examples x, first dimension m; whatever is random comes from `rng`, afresh at each call.
    fn apply(&self, x: &Tensor, rng: &mut Rng) -> Result<Tensor>;
}

/// φ = φ_n ∘ … ∘ φ_1: the first link sees x, each other one what its predecessor gave. No link is the identity.
pub struct Chain<'a> {
    /// φ_1, …, φ_n.
    pub links: Vec<&'a dyn DomainMap>,
}

impl DomainMap for Chain<'_> {
    fn apply(&self, x: &Tensor, rng: &mut Rng) -> Result<Tensor> {
        self.links.iter().try_fold(x.clone(), |x, link| link.apply(&x, rng))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn links_follow_one_another() {
        let pick = Selection { indices: vec![1] };
        let chain = Chain { links: vec![&pick, &Sine] };
        let x = Tensor::new(&[[3f32, 1.0]], &Device::Cpu).unwrap();
        let y = chain.apply(&x, &mut Rng::new(0)).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(y, [[1f32.sin()]]);
        let noise = GaussianNoise { std: 0.1, range: Some([0.0, 1.0]) };
        for map in [&pick as &dyn DomainMap, &Sine, &Identity, &noise] {
            let nobody = map.apply(&x.narrow(0, 0, 0).unwrap(), &mut Rng::new(0)).unwrap();
            assert_eq!(nobody.dim(0).unwrap(), 0);
        }
        let none = Chain { links: Vec::new() }.apply(&x, &mut Rng::new(0)).unwrap();
        assert_eq!(none.to_vec2::<f32>().unwrap(), [[3.0, 1.0]]);
    }
}
