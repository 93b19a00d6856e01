//! What a practitioner would try instead of a map: a teacher whose hidden layer cannot tell the domains apart.

use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor};
use core_tensors::{Dataset, Error, Expected, Params, Targets};
use losses::{Distillation, distillation, median_scale, mmd};
use models::{Architecture, Mlp};

/// Scales of the kernels of [`Alignment::Mmd`], as multiples of the median one.
const SCALES: [f64; 5] = [0.25, 0.5, 1.0, 2.0, 4.0];

/// How the hidden layers of two domains are drawn together.
#[derive(Clone, Copy, Debug)]
pub enum Alignment<'a> {
    /// A classifier tells the domains apart by the last hidden layer; the network learns to mislead it.
    ///
    /// Source: Ganin & Lempitsky (2015), domain-adversarial training by gradient reversal.
    Adversarial {
        /// The classifier of domains: from the last hidden layer to two logits.
        critic: &'a Mlp,
        /// Its parameters, trainable.
        parameters: &'a Params,
    },
    /// The maximum mean discrepancy of the last hidden layer is minimized, five Gaussian kernels around the median scale.
    ///
    /// Source: Long et al. (2015), deep adaptation networks.
    Mmd,
}

/// Label loss of a teacher on its own domain plus `weight` times what the domains differ by; shape ().
///
/// `rich` are labeled examples of the teacher's domain, `poor` unlabeled ones of the student's, (n, n₀) with as many
/// features, at least one of each, of [`Alignment::Mmd`] two. Under [`Alignment::Adversarial`] the classifier's own loss has weight 1; its gradient reaches the network
/// reversed, times `weight`.
pub fn alignment_loss(
    alignment: Alignment,
    network: &Mlp,
    w: &Params,
    rich: &Dataset,
    poor: &Tensor,
    weight: f64,
) -> losses::Result<Tensor> {
    Expected::AtLeast(1).check("examples of the student's domain", poor.dim(0)?)?;
    let [found, wanted] = [poor, rich.x()].map(|x| x.dims().iter().skip(1).product::<usize>());
    Expected::Exactly(wanted).check("features of the student's domain", found)?;
    let [ours, theirs] = [rich.x(), poor].map(|x| network.activations(w, x));
    let (mut ours, mut theirs) = (ours?, theirs?);
    let wanted = || Error::Count {
        what: "layers of an aligned network",
        expected: Expected::AtLeast(2),
        found: network.widths.len().saturating_sub(1),
    };
    let logits = ours.pop().ok_or_else(wanted)?;
    theirs.pop();
    let (ours, theirs) = (ours.pop().ok_or_else(wanted)?, theirs.pop().ok_or_else(wanted)?);
    let labels = distillation(&logits, rich, &Distillation::labels_only())?;
    let apart = match alignment {
        Alignment::Adversarial { critic, parameters } => {
            let hidden = Tensor::cat(&[&ours, &theirs], 0)?;
            let (m, n) = (ours.dim(0)?, theirs.dim(0)?);
            let domains: Vec<u32> = (0..m + n).map(|i| u32::from(i >= m)).collect();
            let both = Dataset::new(
                hidden.detach(),
                Targets::Classes {
                    labels: Tensor::from_vec(domains, m + n, hidden.device())?,
                    n_classes: 2,
                },
            )?;
            let logits = critic.activations(parameters, &reverse_gradient(&hidden, weight)?)?;
            let logits = logits.last().ok_or_else(wanted)?;
            distillation(logits, &both, &Distillation::labels_only())?
        }
        Alignment::Mmd => {
            let median = match median_scale(&ours.detach(), &theirs.detach()) {
                // Where every unit is dead the samples coincide, and any scale does.
                Err(losses::Error::OnePoint { .. }) => 1.0,
                median => median?,
            };
            (mmd(&ours, &theirs, &SCALES.map(|factor| factor * median))? * weight)?
        }
    };
    Ok((labels + apart)?)
}

/// x forward; −`weight` times the gradient backward.
///
/// ```
/// use core_tensors::candle_core::{Device, Result, Var};
/// # fn main() -> Result<()> {
/// let x = Var::new(3.0, &Device::Cpu)?;
/// let y = domain_adapt::reverse_gradient(&x, 0.5)?.sqr()?;
/// assert_eq!(y.to_scalar::<f64>()?, 9.0);
/// // −0.5 · 2x
/// let gradient = y.backward()?.remove(&x).map(|g| g.to_scalar::<f64>()).transpose()?;
/// assert_eq!(gradient, Some(-3.0));
/// # Ok(())
/// # }
/// ```
pub fn reverse_gradient(x: &Tensor, weight: f64) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Reversal { weight })
}

struct Reversal {
    weight: f64,
}

impl CustomOp1 for Reversal {
    fn name(&self) -> &'static str {
        "gradient-reversal"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        Ok((x.try_clone(layout)?, layout.shape().clone()))
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        use candle_core::backend::BackendStorage;
        Ok((x.try_clone(layout)?, layout.shape().clone()))
    }

    fn bwd(&self, _x: &Tensor, _y: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        (gradient * -self.weight).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use core_tensors::kernels::Activation;
    use core_tensors::{Adam, AdamConfig, Rng};

    #[test]
    fn a_reversed_gradient_by_hand() {
        let x = Var::new(&[1.0, -2.0], &Device::Cpu).unwrap();
        let y = reverse_gradient(&x, 0.5).unwrap();
        assert_eq!(y.to_vec1::<f64>().unwrap(), [1.0, -2.0]);
        let gradient = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        // −½ · 2x
        assert_eq!(gradient.get(&x).unwrap().to_vec1::<f64>().unwrap(), [-1.0, 2.0]);
    }

    /// Classes lie apart in feature 0; the domains in feature 1.
    fn domains(rng: &mut Rng) -> (Dataset, Tensor) {
        let mut draw = |shift: f64| -> (Vec<f32>, Vec<u32>) {
            let examples = (0..200u32).map(|i| {
                let side = if i % 2 == 0 { -2.0 } else { 2.0 };
                ([(side + 0.3 * rng.normal()) as f32, (shift + 0.3 * rng.normal()) as f32], i % 2)
            });
            let (x, labels): (Vec<[f32; 2]>, Vec<u32>) = examples.unzip();
            (x.concat(), labels)
        };
        let (x, labels) = draw(-1.5);
        let rich = Dataset::classification(x, labels, 2, &Device::Cpu).unwrap();
        (rich, Tensor::from_vec(draw(1.5).0, (200, 2), &Device::Cpu).unwrap())
    }

    fn network(widths: &[usize], seed: u64) -> (Mlp, Params) {
        let mlp = Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias: true };
        let w = mlp.init(&mut Rng::new(seed), &Device::Cpu).unwrap().trainable().unwrap();
        (mlp, w)
    }

    #[test]
    fn the_network_climbs_the_critics_loss_and_the_critic_descends_it() {
        let ((mlp, w), (critic, v)) = (network(&[2, 16, 8, 2], 0), network(&[8, 4, 2], 1));
        let (rich, poor) = domains(&mut Rng::new(2));
        let weight = 0.3;
        let alignment = Alignment::Adversarial { critic: &critic, parameters: &v };
        let whole = alignment_loss(alignment, &mlp, &w, &rich, &poor, weight).unwrap();
        // Both losses apart, in plain operations and nothing reversed.
        let rows = |x: &Tensor| mlp.activations(&w, x).unwrap();
        let plain = |logits: &Tensor, labels: &[u32]| -> Tensor {
            let n = labels.len();
            let index = Tensor::from_slice(labels, (n, 1), &Device::Cpu).unwrap();
            let largest = logits.max_keepdim(1).unwrap();
            let z = logits.broadcast_sub(&largest).unwrap();
            let sum = z.exp().unwrap().sum_keepdim(1).unwrap().log().unwrap();
            let log = z.broadcast_sub(&sum).unwrap();
            (log.gather(&index, 1).unwrap().sum_all().unwrap() / -(n as f64)).unwrap()
        };
        let Targets::Classes { labels, .. } = rich.y() else { unreachable!("classes went in") };
        let labels = plain(&rows(rich.x())[2], &labels.to_vec1().unwrap());
        let hidden = Tensor::cat(&[&rows(rich.x())[1], &rows(&poor)[1]], 0).unwrap();
        let domain: Vec<u32> = (0..400).map(|i| u32::from(i >= 200)).collect();
        let told = plain(&critic.forward(&v, &hidden).unwrap(), &domain);
        let [whole, labels, told] = [whole, labels, told].map(|loss| loss.backward().unwrap());
        let flat = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        for (t, u) in w.blocks().iter().enumerate() {
            let found = flat(whole.get(u).unwrap());
            let climbed = told.get(u).map_or(vec![0.0; found.len()], flat);
            let learned = flat(labels.get(u).unwrap());
            for ((found, climbed), learned) in found.iter().zip(&climbed).zip(learned) {
                assert!((found - (learned - weight as f32 * climbed)).abs() < 1e-5, "layer {t}");
            }
            assert_eq!(t < 2, climbed.iter().any(|g| g.abs() > 1e-4), "layer {t}");
        }
        for u in v.blocks() {
            let pairs = flat(whole.get(u).unwrap()).into_iter().zip(flat(told.get(u).unwrap()));
            assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5));
        }
    }

    #[test]
    fn dead_units_have_no_mmd_and_no_partners_are_refused() {
        let (mlp, w) = network(&[2, 16, 8, 2], 0);
        // No weight and no bias: all hidden units are 0.
        let dead: Vec<Tensor> = w.blocks().iter().map(|u| u.zeros_like().unwrap()).collect();
        let dead = Params::new(mlp.layout(), dead).unwrap().trainable().unwrap();
        let (rich, poor) = domains(&mut Rng::new(2));
        let of = |w: &Params, poor: &Tensor, weight: f64| {
            alignment_loss(Alignment::Mmd, &mlp, w, &rich, poor, weight)
        };
        let loss = of(&dead, &poor, 1.0).unwrap().to_scalar::<f32>().unwrap();
        assert!((loss - 2f32.ln()).abs() < 1e-6, "{loss}");
        // The labels' loss, and the weight times another.
        let [none, one, two] = [0.0, 1.0, 2.0]
            .map(|weight| of(&w, &poor, weight).unwrap().to_scalar::<f32>().unwrap());
        assert!(one > none && (two - none - 2.0 * (one - none)).abs() < 1e-5);
        let message = |poor: &Tensor| of(&w, poor, 1.0).unwrap_err().to_string();
        assert_eq!(
            message(&poor.narrow(0, 0, 0).unwrap()),
            "examples of the student's domain: expected at least 1, found 0"
        );
        assert_eq!(
            message(&poor.narrow(1, 0, 1).unwrap()),
            "features of the student's domain: expected 2, found 1"
        );
        assert_eq!(
            message(&poor.narrow(0, 0, 1).unwrap()),
            "examples of each sample: expected at least 2, found 1"
        );
    }

    #[test]
    fn a_small_mmd_is_learned() {
        let distance = |weight: f64| {
            let (mlp, w) = network(&[2, 16, 8, 2], 0);
            let mut adam = Adam::new(AdamConfig::pytorch(5e-3), &w).unwrap();
            let (rich, poor) = domains(&mut Rng::new(2));
            for _ in 0..200 {
                let alignment = Alignment::Mmd;
                let loss = alignment_loss(alignment, &mlp, &w, &rich, &poor, weight).unwrap();
                adam.step(&loss.backward().unwrap()).unwrap();
            }
            let hidden = |x: &Tensor| mlp.activations(&w.frozen(), x).unwrap().remove(1);
            let (a, b) = (hidden(rich.x()), hidden(&poor));
            let scale = median_scale(&a, &b).unwrap();
            mmd(&a, &b, &[scale]).unwrap().to_scalar::<f32>().unwrap()
        };
        let (plain, aligned) = (distance(0.0), distance(1.0));
        assert!(aligned < 0.2 * plain, "{aligned} {plain}");
    }
}
