//! The two terms of a variational autoencoder's bound.

use candle_core::Tensor;
use core_tensors::kernels::bernoulli_negative_log;

use crate::checks::{check_examples, check_shape};
use crate::error::{Error, Result};

/// Negative log-likelihood of images with intensities t in \[0, 1\] under independent Bernoulli pixels, in nats; shape ().
///
/// −m⁻¹ Σᵢⱼ tᵢⱼ log pᵢⱼ + (1 − tᵢⱼ) log(1 − pᵢⱼ),  p = sigmoid(z) clamped to \[c, 1 − c\]
///
/// `logits` z and `targets` are (m, n); `smallest` is c in \[0, ½), 0.01 in paper 003. A clamped pixel has no gradient.
pub fn bernoulli_pixels(logits: &Tensor, targets: &Tensor, smallest: f64) -> Result<Tensor> {
    if !(0.0..0.5).contains(&smallest) {
        let name = "smallest probability of a pixel";
        let range = "[0, 1/2)";
        return Err(core_tensors::Error::OutOfRange { name, value: smallest, range }.into());
    }
    check_sizes("targets of pixels", logits, targets)?;
    let bound = ((1.0 - smallest) / smallest).ln();
    bernoulli_negative_log(logits, targets, bound).map_err(Error::from)
}

/// Divergence of the encoder's Gaussians from the standard one, in nats; shape ().
///
/// m⁻¹ Σᵢ KL(N(μᵢ, diag σᵢ²) ‖ N(0, I)) = m⁻¹ Σᵢⱼ ½ (σᵢⱼ² + μᵢⱼ² − 1) − log σᵢⱼ
///
/// `mean` μ and `std` σ > 0 are (m, d).
pub fn latent_divergence(mean: &Tensor, std: &Tensor) -> Result<Tensor> {
    check_sizes("standard deviations of a latent vector", mean, std)?;
    let m = mean.dims2()?.0 as f64;
    let squares = (std.sqr()? + mean.sqr()?)?.affine(0.5, -0.5)?; // (m, d)
    Ok(((squares - std.log()?)?.sum_all()? / m)?)
}

/// Two tensors of one shape, of at least one example.
fn check_sizes(what: &'static str, x: &Tensor, other: &Tensor) -> Result<()> {
    let (m, _) = x.dims2()?;
    check_shape(what, x.dims(), other.dims())?;
    check_examples(m)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn a_divergence_by_hand_with_its_gradient() {
        let mean = Var::new(&[[1.0, 0.0], [0.0, -2.0]], &Device::Cpu).unwrap();
        let std = Var::new(&[[1.0, 2.0], [1.0, 0.5]], &Device::Cpu).unwrap();
        let kl = latent_divergence(&mean, &std).unwrap();
        let ln2 = 2f64.ln();
        // ½·1, ½(4 − 1) − ln 2, 0, ½(¼ + 4 − 1) + ln 2, over two examples.
        let wanted = (0.5 + 1.5 - ln2 + 0.5 * 3.25 + ln2) / 2.0;
        assert!((kl.to_scalar::<f64>().unwrap() - wanted).abs() < 1e-14);
        let gradients = kl.backward().unwrap();
        let of = |v: &Var| gradients.get(v).unwrap().to_vec2::<f64>().unwrap();
        assert_eq!(of(&mean), [[0.5, 0.0], [0.0, -1.0]]);
        // (σ − 1/σ) / m
        assert_eq!(of(&std), [[0.0, 0.75], [0.0, -0.75]]);
    }

    #[test]
    fn an_even_pixel_costs_one_bit() {
        let z = Tensor::zeros((4, 3), candle_core::DType::F64, &Device::Cpu).unwrap();
        let loss = bernoulli_pixels(&z, &z, 0.01).unwrap().to_scalar::<f64>().unwrap();
        assert!((loss - 3.0 * 2f64.ln()).abs() < 1e-14);
        let message = bernoulli_pixels(&z, &z, 0.5).unwrap_err().to_string();
        assert_eq!(message, "smallest probability of a pixel must lie in [0, 1/2), got 0.5");
    }

    #[test]
    fn nothing_and_other_sizes_are_refused() {
        let z = Tensor::ones((4, 3), candle_core::DType::F64, &Device::Cpu).unwrap();
        let (nobody, narrow) = (z.narrow(0, 0, 0).unwrap(), z.narrow(1, 0, 2).unwrap());
        let message = |loss: Result<Tensor>| loss.unwrap_err().to_string();
        for loss in [bernoulli_pixels(&nobody, &nobody, 0.0), latent_divergence(&nobody, &nobody)] {
            assert_eq!(message(loss), "examples of a batch: expected at least 1, found 0");
        }
        assert_eq!(
            message(bernoulli_pixels(&z, &narrow, 0.0)),
            "targets of pixels: expected shape [4, 3], found [4, 2]"
        );
        assert_eq!(
            message(latent_divergence(&z, &narrow)),
            "standard deviations of a latent vector: expected shape [4, 3], found [4, 2]"
        );
    }
}
