//! Maps φ between domains, through which a teacher sees the examples of a student, and measures of a φ.
//!
//! A teacher of a rich domain answers for an example x of a poor one as f(φ(x)); fill the answers with
//! [`core_tensors::Dataset::with_teacher`]. Pictures are rows of levels in \[0, 1\], or bytes, which count as x / 255.
//!
//! | map | shape | random |
//! |---|---|---|
//! | [`Identity`], [`Sine`] | stays | no |
//! | [`GaussianNoise`] | stays | afresh at each call |
//! | [`FixedConvolution`] | (m, h·w) → (m, h′·w′) | no |
//! | [`MorphologicalDilation`] | stays | no |
//! | [`Pick`] | (m, n) → (m, n′) | no |
//! | [`Translator`] | stays | afresh at each call |
//! | [`Style`] | stays | no |
//! | [`Chain`] | that of its links | as they are |

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
pub use simple::{GaussianNoise, Identity, Pick, Sine};
pub use style::{Style, StyleConfig};
pub use translator::{Translator, translation_loss};

/// φ: X_t → X_s, from the target domain of the transfer, the student's, to its source, the teacher's.
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
        let pick = Pick { indices: vec![1] };
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
