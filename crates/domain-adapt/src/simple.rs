//! Maps with a formula: identity, Gaussian noise, sine, a choice of features.

use candle_core::Tensor;
use core_tensors::kernels::features;
use core_tensors::{Error, Expected, Result, Rng};

use crate::DomainMap;

/// φ(x) = x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity;

/// φ(x) = x + N(0, std²), clipped to a range where there is one; the shape stays.
///
/// Source: paper 003, row "Noise", with standard deviation 0.1 and the range \[0, 1\] of intensities.
///
/// ```
/// use core_tensors::candle_core::{Device, Tensor};
/// use core_tensors::Rng;
/// use domain_adapt::{DomainMap, GaussianNoise};
/// # fn main() -> core_tensors::Result<()> {
/// let noise = GaussianNoise { std: 0.1, range: Some([0.0, 1.0]) };
/// let white = Tensor::new(&[[1f32; 1000]], &Device::Cpu)?;
/// let noisy = noise.apply(&white, &mut Rng::new(0))?;
/// // Half of the noise is clipped away; the mean of what is lost is 0.1 / √(2π) = 0.04.
/// let mean = noisy.mean_all()?.to_scalar::<f32>()?;
/// assert!((mean - 0.96).abs() < 0.01);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GaussianNoise {
    /// ≥ 0: standard deviation of the noise.
    pub std: f64,
    /// Smallest and largest result; numbers that are no intensities have none, and keep the standard deviation.
    pub range: Option<[f64; 2]>,
}

/// φ(x) = sin x, element by element; the shape stays.
///
/// Source: paper 003, regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sine;

/// φ(x)ⱼ = x_{i(j)}: some of the features, in some order; (m, n) → (m, number of `indices`).
///
/// The baselines of a learned or given φ: a map that has the shape of the teacher's input and no knowledge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// i(j) for each j, from 0, below the number of features that come in.
    pub indices: Vec<usize>,
}

impl Selection {
    /// `n_out` ≤ `n_in` different features in random order: an image keeps its intensities and loses its shape.
    pub fn random(n_in: usize, n_out: usize, rng: &mut Rng) -> Result<Self> {
        Expected::AtMost(n_in).check("features to select", n_out)?;
        check_features(Some(n_in))?;
        let mut indices = rng.permutation(n_in);
        indices.truncate(n_out);
        Ok(Self { indices })
    }

    /// The middle of images of h × w: `inner` rows and columns of them.
    pub fn middle([h, w]: [usize; 2], [inner_h, inner_w]: [usize; 2]) -> Result<Self> {
        Expected::AtMost(h).check("rows of the middle of an image", inner_h)?;
        Expected::AtMost(w).check("columns of the middle of an image", inner_w)?;
        check_features(h.checked_mul(w))?;
        let (top, left) = ((h - inner_h) / 2, (w - inner_w) / 2);
        let row = |r: usize| (0..inner_w).map(move |s| (top + r) * w + left + s);
        Ok(Self { indices: (0..inner_h).flat_map(row).collect() })
    }
}

/// Refuses more features than indices of 32 bits name.
fn check_features(n: Option<usize>) -> Result<()> {
    // What does not fit an index is more than any limit.
    Expected::AtMost(u32::MAX as usize).check("features that come in", n.unwrap_or(usize::MAX))
}

impl DomainMap for Selection {
    fn apply(&self, x: &Tensor, _: &mut Rng) -> Result<Tensor> {
        let x = features(x)?.flatten_from(1)?;
        let (n, largest) = (x.dim(1)?, self.indices.iter().max().copied());
        if let Some(index) = largest.filter(|&i| i >= n) {
            return Err(Error::Index { what: "feature of φ's input", index, n });
        }
        check_features(Some(n))?;
        let indices: Vec<u32> = self.indices.iter().map(|&i| i as u32).collect();
        Ok(x.index_select(&Tensor::from_vec(indices, self.indices.len(), x.device())?, 1)?)
    }
}

impl DomainMap for Identity {
    fn apply(&self, x: &Tensor, _: &mut Rng) -> Result<Tensor> {
        Ok(x.clone())
    }
}

impl DomainMap for GaussianNoise {
    fn apply(&self, x: &Tensor, rng: &mut Rng) -> Result<Tensor> {
        if !(self.std >= 0.0 && self.std.is_finite()) {
            let (name, value) = ("std of the noise", self.std);
            return Err(Error::OutOfRange { name, value, range: "[0, ∞)" });
        }
        let x = features(x)?;
        let mut noise = vec![0f32; x.elem_count()];
        rng.fill_normal(&mut noise);
        let noise = Tensor::from_vec(noise, x.shape(), x.device())?.to_dtype(x.dtype())?;
        let noisy = (x + (noise * self.std)?)?;
        Ok(match self.range {
            Some([low, high]) => noisy.clamp(low, high)?,
            None => noisy,
        })
    }
}

impl DomainMap for Sine {
    fn apply(&self, x: &Tensor, _: &mut Rng) -> Result<Tensor> {
        Ok(features(x)?.sin()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn population_std(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    }

    fn grayscale(n: usize) -> Tensor {
        Tensor::full(0.5f32, (n, 10), &Device::Cpu).unwrap()
    }

    #[test]
    fn noise_has_its_std_and_stays_within_range() {
        let noisy = |std: f64, range| {
            let map = GaussianNoise { std, range };
            let x = map.apply(&grayscale(5000), &mut Rng::new(0)).unwrap();
            x.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap()
        };
        // Clipping lies five standard deviations away; the standard deviation of 50 000 draws is known to 0.3 %.
        let measured = population_std(&noisy(0.1, Some([0.0, 1.0])));
        assert!((measured - 0.1).abs() < 0.002, "{measured}");
        let clipped = noisy(3.0, Some([0.0, 1.0]));
        assert!(clipped.iter().all(|v| (0.0..=1.0).contains(v)));
        // Without a range nothing is lost.
        let measured = population_std(&noisy(3.0, None));
        assert!((measured - 3.0).abs() < 0.06, "{measured}");
    }

    #[test]
    fn noise_is_fresh_at_each_call_and_repeats_with_its_seed() {
        let map = GaussianNoise { std: 0.1, range: Some([0.0, 1.0]) };
        let flat = |rng: &mut Rng| {
            map.apply(&grayscale(1), rng).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
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
    fn the_middle_of_a_image_and_a_random_order_by_hand() {
        let x = Tensor::arange(0u8, 20, &Device::Cpu).unwrap().reshape((1, 20)).unwrap();
        let intensities = |map: &Selection| -> Vec<f32> {
            let y = map.apply(&x, &mut Rng::new(0)).unwrap().to_vec2::<f32>().unwrap();
            y[0].iter().map(|v| (v * 255.0).round()).collect()
        };
        let middle = Selection::middle([4, 5], [2, 3]).unwrap();
        assert_eq!(intensities(&middle), [6.0, 7.0, 8.0, 11.0, 12.0, 13.0]);
        let random = intensities(&Selection::random(20, 20, &mut Rng::new(1)).unwrap());
        let mut sorted = random.clone();
        sorted.sort_by(f32::total_cmp);
        assert_ne!(random, sorted);
        assert_eq!(sorted, (0..20).map(|i| i as f32).collect::<Vec<_>>());
        let wide = Selection { indices: vec![25] };
        let message = wide.apply(&x, &mut Rng::new(0)).unwrap_err().to_string();
        assert_eq!(
            message,
            "feature of φ's input 25 is out of range: there are 20, counted from 0"
        );
        assert!(Selection::random(3, 4, &mut Rng::new(0)).is_err());
        assert!(Selection::middle([3, 3], [4, 1]).is_err());
        for huge in [1 << 33, usize::MAX] {
            assert!(Selection::random(huge, 1, &mut Rng::new(0)).is_err());
            assert!(Selection::middle([huge, 2], [huge, 2]).is_err());
            assert!(Selection::middle([huge, huge], [0, 0]).is_err());
            assert!(Selection { indices: vec![huge] }.apply(&x, &mut Rng::new(0)).is_err());
        }
    }

    #[test]
    fn a_negative_std_is_refused() {
        let error = GaussianNoise { std: -1.0, range: None }.apply(&grayscale(1), &mut Rng::new(0));
        let message = error.unwrap_err().to_string();
        assert_eq!(message, "std of the noise must lie in [0, ∞), got -1");
    }
}
