//! Maps with a formula: identity, Gaussian noise, sine.

use candle_core::Tensor;
use core_tensors::{Error, Result, Rng};

use crate::DomainMap;

/// φ(x) = x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity;

/// φ(x) = x + N(0, deviation²), clipped to \[0, 1\]; the shape stays.
///
/// Source: paper 003, row "Noise", with deviation 0.1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianNoise {
    /// ≥ 0: standard deviation of the noise.
    pub deviation: f64,
}

/// φ(x) = sin x, element by element; the shape stays.
///
/// Source: paper 003, regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sine;

impl DomainMap for Identity {
    fn apply(&self, x: &Tensor, _: &mut Rng) -> Result<Tensor> {
        Ok(x.clone())
    }
}

impl DomainMap for GaussianNoise {
    fn apply(&self, x: &Tensor, rng: &mut Rng) -> Result<Tensor> {
        if !(self.deviation >= 0.0 && self.deviation.is_finite()) {
            let (name, value) = ("deviation of the noise", self.deviation);
            return Err(Error::OutOfRange { name, value, range: "[0, ∞)" });
        }
        let noise: Vec<f32> =
            (0..x.elem_count()).map(|_| (self.deviation * rng.normal()) as f32).collect();
        let noise = Tensor::from_vec(noise, x.shape(), x.device())?.to_dtype(x.dtype())?;
        Ok((x + noise)?.clamp(0.0, 1.0)?)
    }
}

impl DomainMap for Sine {
    fn apply(&self, x: &Tensor, _: &mut Rng) -> Result<Tensor> {
        Ok(x.sin()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn grey(n: usize) -> Tensor {
        Tensor::full(0.5f32, (n, 10), &Device::Cpu).unwrap()
    }

    #[test]
    fn noise_has_its_deviation_and_stays_within_range() {
        let noisy = |deviation: f64| {
            let x = GaussianNoise { deviation }.apply(&grey(5000), &mut Rng::new(0)).unwrap();
            x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        // Clipping lies five deviations away; the deviation of 50 000 draws is known to 0.3 %.
        let measured = core_tensors::stats::population_deviation(&noisy(0.1));
        assert!((measured - 0.1).abs() < 0.002, "{measured}");
        assert!(noisy(3.0).iter().all(|v| (0.0..=1.0).contains(v)));
    }

    #[test]
    fn noise_is_fresh_at_each_call_and_repeats_with_its_seed() {
        let map = GaussianNoise { deviation: 0.1 };
        let flat = |rng: &mut Rng| {
            map.apply(&grey(1), rng).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let mut rng = Rng::new(1);
        let first = flat(&mut rng);
        assert_ne!(first, flat(&mut rng));
        assert_eq!(first, flat(&mut Rng::new(1)));
    }

    #[test]
    fn sine_and_identity_by_hand() {
        let x = Tensor::new(&[[0f32, 1.0]], &Device::Cpu).unwrap();
        let mut rng = Rng::new(0);
        let sine = Sine.apply(&x, &mut rng).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(sine, [[0.0, 1f32.sin()]]);
        let same = Identity.apply(&x, &mut rng).unwrap().to_vec2::<f32>().unwrap();
        assert_eq!(same, [[0.0, 1.0]]);
    }

    #[test]
    fn a_negative_deviation_is_refused() {
        let error = GaussianNoise { deviation: -1.0 }.apply(&grey(1), &mut Rng::new(0));
        let message = error.unwrap_err().to_string();
        assert_eq!(message, "deviation of the noise must lie in [0, ∞), got -1");
    }
}
