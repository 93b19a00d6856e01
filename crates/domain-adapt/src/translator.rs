//! φ learned by a variational autoencoder with two decoders.

use candle_core::Tensor;
use core_tensors::kernels::features;
use core_tensors::{Error, Expected, Params, Result, Rng};
use losses::{bernoulli_pixels, latent_divergence};
use models::{Domain, TranslatorNetwork};

use crate::DomainMap;

/// Decoded probabilities stay in \[0.01, 0.99\], as in the authors' code.
const SMALLEST_PROBABILITY: f64 = 0.01;

/// φ(x) = mean image of the teacher's domain for one z ~ q(z | x), drawn afresh at each call; (m, n) → (m, n).
///
/// Source: paper 003. The map is random, and neither injective nor a function of x alone.
#[derive(Clone, Debug)]
pub struct Translator {
    /// Architecture.
    pub network: TranslatorNetwork,
    /// Its parameters.
    pub parameters: Params,
}

impl Translator {
    /// Mean image of a domain for latent vectors z, (m, `n_latent`) → (m, n), in \[0.01, 0.99\].
    pub fn image(&self, z: &Tensor, into: Domain) -> Result<Tensor> {
        let logits = self.network.decode(&self.parameters, z, into)?;
        let p = (logits.neg()?.exp()? + 1.0)?.recip()?;
        Ok(p.clamp(SMALLEST_PROBABILITY, 1.0 - SMALLEST_PROBABILITY)?)
    }

    /// x back from its own latent vector: the student's decoder at one z ~ q(z | x); (m, n).
    pub fn round_trip(&self, x: &Tensor, rng: &mut Rng) -> Result<Tensor> {
        let z = self.network.encode(&self.parameters, x)?.draw(rng)?;
        self.image(&z, Domain::Student)
    }
}

impl DomainMap for Translator {
    fn apply(&self, x: &Tensor, rng: &mut Rng) -> Result<Tensor> {
        let found = x.dims().iter().skip(1).product::<usize>();
        Expected::Exactly(self.network.n_pixels).check("pixels of an image", found)?;
        let z = self.network.encode(&self.parameters, x)?.draw(rng)?;
        self.image(&z, Domain::Teacher)
    }
}

/// What a translator minimizes on pairs of images, x of the student's domain and `partner` of the teacher's; shape ().
///
/// m⁻¹ Σᵢ −log p(partnerᵢ | z₁ᵢ) − log p(xᵢ | z₂ᵢ) + KL(q(z | xᵢ) ‖ N(0, I)),  z₁ᵢ, z₂ᵢ ~ q(z | xᵢ) independent
///
/// with Bernoulli pixels kept within \[0.01, 0.99\]. Both are (m, n), bytes or intensities in \[0, 1\]. The partner shares x's
/// class: the map learns from the labels it was paired by, and is not free of them.
///
/// Source: paper 003, the authors' code (one divergence, two draws).
pub fn translation_loss(
    network: &TranslatorNetwork,
    w: &Params,
    x: &Tensor,
    partner: &Tensor,
    rng: &mut Rng,
) -> losses::Result<Tensor> {
    if partner.dims() != x.dims() {
        let (expected, found) = (x.dims().to_vec(), partner.dims().to_vec());
        return Err(Error::Shape { what: "partners of a translator", expected, found }.into());
    }
    let (x, partner) = (features(x)?, features(partner)?);
    let q = network.encode(w, &x)?;
    let mut cost = latent_divergence(&q.mean, &q.std)?;
    for (into, target) in [(Domain::Teacher, &partner), (Domain::Student, &x)] {
        let logits = network.decode(w, &q.draw(rng)?, into)?;
        cost = (cost + bernoulli_pixels(&logits, target, SMALLEST_PROBABILITY)?)?;
    }
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use core_tensors::{Adam, AdamConfig};

    const NETWORK: TranslatorNetwork =
        TranslatorNetwork { n_pixels: 16, n_hidden: 24, n_latent: 3 };

    /// Two kinds of images, upper or lower half bright; partners are left or right.
    fn pairs() -> (Tensor, Tensor) {
        let half = |is_first: bool, across: bool| {
            (0..16).map(move |i| {
                let place = if across { i % 4 } else { i / 4 };
                u8::from((place < 2) == is_first) * 255
            })
        };
        let x: Vec<u8> = (0..20).flat_map(|i| half(i % 2 == 0, false)).collect();
        let partner: Vec<u8> = (0..20).flat_map(|i| half(i % 2 == 0, true)).collect();
        let tensor = |v| Tensor::from_vec(v, (20, 16), &Device::Cpu).unwrap();
        (tensor(x), tensor(partner))
    }

    #[test]
    fn the_loss_is_its_three_terms_where_the_encoder_is_nearly_sure() {
        // A standard deviation of softplus(−20) makes z a number, so that the terms can be written down.
        let (x, partner) = pairs();
        let w = NETWORK.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let mut blocks = w.blocks().to_vec();
        let mut rho = vec![0f32; 3 * 25];
        rho.chunks_exact_mut(25).for_each(|row| row[24] = -20.0);
        blocks[2] = Tensor::from_vec(rho, (3, 25), &Device::Cpu).unwrap();
        let w = Params::new(NETWORK.layout(), blocks).unwrap();
        let loss = translation_loss(&NETWORK, &w, &x, &partner, &mut Rng::new(1)).unwrap();
        let q = NETWORK.encode(&w, &x).unwrap();
        let terms = |into, target: &Tensor| -> f64 {
            let logits = NETWORK.decode(&w, &q.mean, into).unwrap().to_vec2::<f32>().unwrap();
            let target = target.to_vec2::<u8>().unwrap();
            let pixels = logits.concat().into_iter().zip(target.concat());
            let cost = |(z, t): (f32, u8)| {
                let p = 1.0 / (1.0 + f64::from(-z).exp());
                -(if t == 255 { p } else { 1.0 - p }).ln()
            };
            pixels.map(cost).sum::<f64>() / 20.0
        };
        let sigma = (-20f64).exp().ln_1p();
        let kl: f64 = q
            .mean
            .to_vec2::<f32>()
            .unwrap()
            .concat()
            .iter()
            .map(|&m| 0.5 * (sigma * sigma + f64::from(m).powi(2) - 1.0) - sigma.ln())
            .sum::<f64>()
            / 20.0;
        let wanted = terms(Domain::Teacher, &partner) + terms(Domain::Student, &x) + kl;
        let found = f64::from(loss.to_scalar::<f32>().unwrap());
        assert!((found - wanted).abs() < 1e-4 * wanted, "{found} {wanted}");
    }

    #[test]
    fn each_decoder_sees_its_own_draw() {
        let (x, partner) = pairs();
        let w = NETWORK.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let (x, partner) = (features(&x).unwrap(), features(&partner).unwrap());
        let q = NETWORK.encode(&w, &x).unwrap();
        let kl = latent_divergence(&q.mean, &q.std).unwrap();
        let number = |x: Tensor| f64::from(x.to_scalar::<f32>().unwrap());
        let pixels = |z: &Tensor, into, target: &Tensor| {
            let logits = NETWORK.decode(&w, z, into).unwrap();
            number(bernoulli_pixels(&logits, target, SMALLEST_PROBABILITY).unwrap())
        };
        for seed in 0..5 {
            let mut rng = Rng::new(seed);
            let (first, second) = (q.draw(&mut rng).unwrap(), q.draw(&mut rng).unwrap());
            let of = |a: &Tensor, b: &Tensor| {
                pixels(a, Domain::Teacher, &partner)
                    + pixels(b, Domain::Student, &x)
                    + number(kl.clone())
            };
            let loss = translation_loss(&NETWORK, &w, &x, &partner, &mut Rng::new(seed)).unwrap();
            let (found, wanted) = (number(loss), of(&first, &second));
            // A sum of a few hundred f32 terms; a draw that is used twice is another number.
            assert!((found - wanted).abs() < 1e-5 * wanted, "{found} {wanted}");
            let shared = of(&first, &first);
            assert!((found - shared).abs() > 1e-4 * wanted, "{found} {shared}");
        }
    }

    #[test]
    fn a_trained_translator_carries_images_over_and_back() {
        let (x, partner) = pairs();
        let w = NETWORK.init(&mut Rng::new(0), &Device::Cpu).unwrap().trainable().unwrap();
        let mut adam = Adam::new(AdamConfig::pytorch(1e-2), &w).unwrap();
        let mut rng = Rng::new(1);
        for _ in 0..300 {
            let loss = translation_loss(&NETWORK, &w, &x, &partner, &mut rng).unwrap();
            adam.step(&loss.backward().unwrap()).unwrap();
        }
        let map = Translator { network: NETWORK, parameters: w.frozen() };
        let worst = |found: &Tensor, wanted: &Tensor| {
            let gap = (found - features(wanted).unwrap()).unwrap().abs().unwrap();
            gap.max_all().unwrap().to_scalar::<f32>().unwrap()
        };
        assert!(worst(&map.apply(&x, &mut rng).unwrap(), &partner) < 0.2);
        assert!(worst(&map.round_trip(&x, &mut rng).unwrap(), &x) < 0.2);
    }

    #[test]
    fn images_of_another_size_are_refused() {
        let w = NETWORK.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let map = Translator { network: NETWORK, parameters: w };
        let x = Tensor::zeros((2, 9), candle_core::DType::F32, &Device::Cpu).unwrap();
        let message = map.apply(&x, &mut Rng::new(0)).unwrap_err().to_string();
        assert_eq!(message, "pixels of an image: expected 16, found 9");
        let (images, partners) = pairs();
        let of = |n: usize, m: usize| {
            let (x, partner) = (images.narrow(0, 0, n).unwrap(), partners.narrow(0, 0, m).unwrap());
            let w = &map.parameters;
            translation_loss(&NETWORK, w, &x, &partner, &mut Rng::new(0)).unwrap_err().to_string()
        };
        assert_eq!(of(3, 2), "partners of a translator: expected shape [3, 16], found [2, 16]");
        assert_eq!(of(0, 0), "examples of a batch: expected at least 1, found 0");
    }
}
