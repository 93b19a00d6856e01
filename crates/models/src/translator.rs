//! A variational autoencoder with one encoder and two decoders, which carries images between two domains.

use candle_core::{Device, Tensor};
use core_tensors::kernels::{Activation, features, linear, softplus};
use core_tensors::{Block, Error, Expected, Layout, Params, Result, Rng};

use crate::uniform_start;

/// Slope of the hidden layers' leaky ReLU.
const SLOPE: Activation = Activation::LeakyRelu { slope: 0.01 };

/// q(z | x) = N(μ(x), diag σ(x)²) and two decoders of z: into the teacher's domain and back into the student's.
///
/// Encoder: x → `n_hidden` → μ and σ = softplus(·), `n_latent` each. Each decoder: z → `n_hidden` → logits of
/// `n_pixels`. Hidden layers are leaky ReLU with slope 0.01; every layer has a bias, kept as the last column of its
/// block. Seven blocks: encoder, μ, σ, hidden and output layer of the teacher's decoder, then of the student's.
///
/// Source: paper 003, from the authors' code: 784, 200, 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TranslatorNetwork {
    /// Pixels of an image of either domain, at least 1.
    pub n_pixels: usize,
    /// Units of each hidden layer, at least 1.
    pub n_hidden: usize,
    /// Dimension of z, at least 1.
    pub n_latent: usize,
}

/// Parameters of q(z | x), each (m, `n_latent`).
#[derive(Clone, Debug)]
pub struct Encoding {
    /// μ.
    pub mean: Tensor,
    /// σ > 0.
    pub std: Tensor,
}

/// Which decoder: the domain that comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// That of the teacher.
    Teacher,
    /// That of the student.
    Student,
}

impl TranslatorNetwork {
    /// Order and shapes of the seven blocks.
    pub fn layout(&self) -> Layout {
        let block = |(rows, fan_in)| Block { rows, cols: fan_in + 1 };
        Layout { blocks: self.sizes().map(block).into() }
    }

    /// Random parameters ~ U(±1/√fan_in), as every network of the papers starts.
    pub fn init(&self, rng: &mut Rng, device: &Device) -> Result<Params> {
        uniform_start(&self.layout(), &self.sizes().map(|(_, fan_in)| fan_in), rng, device)
    }

    /// q(z | x) of images x, (m, `n_pixels`); bytes are grayscale intensities.
    pub fn encode(&self, w: &Params, x: &Tensor) -> Result<Encoding> {
        let [encoder, mean, std, ..] = self.blocks(w)?;
        let h = linear(&features(x)?.flatten_from(1)?, encoder, SLOPE)?; // (m, n_hidden)
        let std = softplus(&linear(&h, std, Activation::Identity)?)?;
        Ok(Encoding { mean: linear(&h, mean, Activation::Identity)?, std })
    }

    /// Logits of the pixels, (m, `n_pixels`), of latent vectors z, (m, `n_latent`).
    pub fn decode(&self, w: &Params, z: &Tensor, into: Domain) -> Result<Tensor> {
        let [_, _, _, a, b, c, d] = self.blocks(w)?;
        let (hidden, output) = match into {
            Domain::Teacher => (a, b),
            Domain::Student => (c, d),
        };
        Ok(linear(&linear(z, hidden, SLOPE)?, output, Activation::Identity)?)
    }

    /// Units and inputs of each layer.
    fn sizes(&self) -> [(usize, usize); 7] {
        let Self { n_pixels: n, n_hidden: h, n_latent: d } = *self;
        [(h, n), (d, h), (d, h), (h, d), (n, h), (h, d), (n, h)]
    }

    fn blocks<'a>(&self, w: &'a Params) -> Result<&'a [Tensor; 7]> {
        self.layout().check_same("parameters of a translator", w.layout())?;
        let (what, expected, found) = ("blocks", Expected::Exactly(7), w.blocks().len());
        w.blocks().try_into().map_err(|_| Error::Count { what, expected, found })
    }
}

impl Encoding {
    /// One z = μ + σ ε an example, ε ~ N(0, I); the gradient reaches μ and σ.
    pub fn draw(&self, rng: &mut Rng) -> Result<Tensor> {
        let mut noise = vec![0f32; self.mean.elem_count()];
        rng.fill_normal(&mut noise);
        let noise = Tensor::from_vec(noise, self.mean.shape(), self.mean.device())?;
        Ok((&self.mean + (noise.to_dtype(self.mean.dtype())? * &self.std)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;

    fn average(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    const SMALL: TranslatorNetwork = TranslatorNetwork { n_pixels: 6, n_hidden: 4, n_latent: 2 };

    #[test]
    fn the_papers_network_has_its_layers() {
        let network = TranslatorNetwork { n_pixels: 784, n_hidden: 200, n_latent: 64 };
        // 785·200 + 2·201·64 + 2·(65·200 + 201·784)
        assert_eq!(network.layout().n_parameters(), 523_896);
    }

    #[test]
    fn draws_have_the_encoders_mean_and_std() {
        let mean = Tensor::new(&[[1f32, -2.0]], &Device::Cpu).unwrap().repeat((40_000, 1)).unwrap();
        let std = Tensor::new(&[[0.5f32, 3.0]], &Device::Cpu).unwrap();
        let std = std.repeat((40_000, 1)).unwrap();
        let z = Encoding { mean, std }.draw(&mut Rng::new(0)).unwrap();
        let z = z.to_dtype(DType::F64).unwrap().t().unwrap().to_vec2::<f64>().unwrap();
        for (z, (mean, std)) in z.iter().zip([(1.0, 0.5), (-2.0, 3.0)]) {
            // Four standard errors of a mean and of a standard deviation of 40 000 draws.
            let found = average(z);
            assert!((found - mean).abs() < 4.0 * std / 200.0, "{found}");
            let found = average(&z.iter().map(|v| (v - found).powi(2)).collect::<Vec<_>>()).sqrt();
            assert!((found / std - 1.0).abs() < 4.0 / 283.0, "{found}");
        }
    }

    #[test]
    fn each_decoder_is_its_own_and_the_encoder_is_shared() {
        let w = SMALL.init(&mut Rng::new(0), &Device::Cpu).unwrap().trainable().unwrap();
        let x = Tensor::from_vec((0..12u8).collect::<Vec<_>>(), (2, 6), &Device::Cpu).unwrap();
        for (into, reached) in [(Domain::Teacher, [3, 4]), (Domain::Student, [5, 6])] {
            let q = SMALL.encode(&w, &x).unwrap();
            assert!(q.std.min_all().unwrap().to_scalar::<f32>().unwrap() > 0.0);
            let z = q.draw(&mut Rng::new(1)).unwrap();
            let logits = SMALL.decode(&w, &z, into).unwrap();
            assert_eq!(logits.dims(), [2, 6]);
            let gradients = logits.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            for (i, block) in w.blocks().iter().enumerate() {
                let is_reached = gradients.get(block).is_some();
                assert_eq!(is_reached, i < 3 || reached.contains(&i), "block {i}");
            }
        }
    }

    #[test]
    fn an_encoding_by_hand() {
        let network = TranslatorNetwork { n_pixels: 1, n_hidden: 1, n_latent: 1 };
        // h = leaky(2x − 4), μ = 3h + 1, ρ = −h.
        let values = [2.0, -4.0, 3.0, 1.0, -1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
        let w = Params::from_vec(&network.layout(), &values, &Device::Cpu).unwrap();
        let x = Tensor::new(&[[1f32], [3.0]], &Device::Cpu).unwrap();
        let q = network.encode(&w, &x).unwrap();
        let of = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let (h1, h2) = (-0.02f64, 2.0);
        let softplus = |x: f64| x.exp().ln_1p() as f32;
        assert_eq!(of(&q.mean), [(3.0 * h1 + 1.0) as f32, (3.0 * h2 + 1.0) as f32]);
        for (found, wanted) in of(&q.std).into_iter().zip([softplus(-h1), softplus(-h2)]) {
            assert!((found - wanted).abs() < 1e-6);
        }
    }

    #[test]
    fn foreign_parameters_are_refused() {
        let other = TranslatorNetwork { n_latent: 3, ..SMALL };
        let w = other.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let x = Tensor::zeros((1, 6), DType::F32, &Device::Cpu).unwrap();
        let message = SMALL.encode(&w, &x).unwrap_err().to_string();
        assert!(message.starts_with("parameters of a translator: expected blocks"), "{message}");
    }
}
