//! A diagonal Gaussian over the parameters of a network, and the optimizer that moves it.

mod perceptron;
mod state;

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};
use core_tensors::kernels::mean_field::{BlockState, KlGradient, LikelihoodGradient};
use core_tensors::kernels::{numbers, on_cpu};
use core_tensors::{Adam, AdamConfig, Layout, Params, Rng};

use crate::checks;
use crate::diagonal::Diagonal;
use crate::error::Result;
use crate::gaussian::Gaussian;
use perceptron::Scratch;

/// q(w) = N(m, diag e^{2ρ}) with Adam on m and ρ.
///
/// It lives on the CPU in f32; draws are put on the device of the network. One step costs one pass over memory for
/// the draw and one for the update, as the gradients by m and ρ follow from that by the drawn weights alone:
///
/// w = m + e^ρ ε,  ∂/∂m = ∂/∂w,  ∂/∂ρ = (w − m) ∂/∂w.
///
/// Source: Kingma & Welling (2014); Blundell et al. (2015).
///
/// ```
/// use bayes_posterior::{MeanField, candle_core::Device};
/// use core_tensors::{AdamConfig, Rng, kernels::Activation};
/// use models::{Architecture, Mlp};
/// # fn main() -> bayes_posterior::Result<()> {
/// let network = Mlp { widths: vec![2, 1], activation: Activation::Relu, bias: false };
/// let start = network.init(&mut Rng::new(0), &Device::Cpu)?;
/// let q = MeanField::new(AdamConfig::pytorch(1e-3), &start, 0.1f64.ln())?;
/// assert!(q.variance().iter().all(|variance| (variance - 0.01).abs() < 1e-8));
/// assert_eq!(q.to_gaussian()?.mean(), start.to_vec()?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MeanField {
    config: AdamConfig,
    layout: Layout,
    device: Device,
    blocks: Vec<BlockState>,
    /// Steps of every block: the prior reaches each one, also where the data do not.
    n_steps: i32,
    scratch: Scratch,
}

impl MeanField {
    /// q around a start with one log-standard deviation for all parameters; refuses settings of Adam out of range.
    pub fn new(config: AdamConfig, start: &Params, log_std: f64) -> Result<Self> {
        let n = start.layout().n_parameters();
        let variance = vec![(2.0 * log_std).exp(); n];
        let device = start.blocks().first().map_or(Device::Cpu, |block| block.device().clone());
        Self::from_vectors(config, start.layout(), &start.to_vec()?, &variance, &device)
    }

    /// q from means and variances in vec order, (p,) each, for a network on a device.
    pub fn from_vectors(
        config: AdamConfig,
        layout: &Layout,
        mean: &[f64],
        variance: &[f64],
        device: &Device,
    ) -> Result<Self> {
        let p = layout.n_parameters();
        checks::length("numbers of a mean", p, mean.len())?;
        checks::length("variances", p, variance.len())?;
        checks::all_positive("variance", variance)?;
        check_config(config)?;
        let block = |range: std::ops::Range<usize>| {
            let mean = mean[range.clone()].iter().map(|&m| m as f32).collect();
            let log_std = variance[range].iter().map(|v| (0.5 * v.ln()) as f32).collect();
            BlockState::new(mean, log_std)
        };
        let blocks = layout.ranges().into_iter().map(block);
        let blocks = blocks.collect::<core_tensors::Result<_>>()?;
        Ok(Self {
            config,
            layout: layout.clone(),
            device: device.clone(),
            blocks,
            n_steps: 0,
            scratch: Scratch::default(),
        })
    }

    /// Another step size from the next step on; the moments stay. Refuses one out of range.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        let config = AdamConfig { learning_rate, ..self.config };
        check_config(config)?;
        self.config = config;
        Ok(())
    }

    /// Order and shapes of the blocks.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// m in vec order, (p,).
    pub fn mean(&self) -> Vec<f64> {
        self.blocks.iter().flat_map(|b| b.mean().iter().map(|&m| f64::from(m))).collect()
    }

    /// v = e^{2ρ} in vec order, (p,).
    pub fn variance(&self) -> Vec<f64> {
        let square = |&rho: &f32| (2.0 * f64::from(rho)).exp();
        self.blocks.iter().flat_map(|b| b.log_std().iter().map(square)).collect()
    }

    /// N(m, diag v) as a Gaussian of this crate, in f64.
    pub fn to_gaussian(&self) -> Result<Gaussian<Diagonal>> {
        Gaussian::new(self.layout.clone(), self.mean(), Diagonal::new(self.variance())?)
    }

    /// m as the parameters of a network.
    pub fn plug_in(&self) -> Result<Params> {
        self.params(|block| block.mean().to_vec())
    }

    /// A draw w = m + e^ρ ε as the parameters of a network, differentiable.
    pub fn sample(&self, rng: &mut Rng) -> Result<Params> {
        self.params(|block| block.sample(rng))
    }

    /// m and v as variables, for a loss whose gradients go to `step_by_moments`.
    pub(crate) fn moments(&self) -> Result<(Params, Params)> {
        Ok((self.plug_in()?, self.params(BlockState::variance)?))
    }

    /// One step of Adam, given the gradients of the likelihood's term at a draw of this q; refuses another layout.
    pub(crate) fn step_at(
        &mut self,
        draw: &Params,
        gradients: &GradStore,
        kl_gradient: &KlGradient,
    ) -> Result<()> {
        checks::same_layout("a draw", &self.layout, draw.layout())?;
        let n_steps = self.next(kl_gradient)?;
        let mut start = 0;
        for (block, w) in self.blocks.iter_mut().zip(draw.blocks()) {
            let (gradient, w) = (on_host(gradients.get(w), w)?, on_host(Some(w), w)?);
            let ((ws, wl), (gs, gl)) = (w.storage_and_layout(), gradient.storage_and_layout());
            let (w, gradient) = (numbers(on_cpu(&ws)?, wl)?, numbers(on_cpu(&gs)?, gl)?);
            let likelihood = LikelihoodGradient::AtDraw { w, gradient };
            block.step(&self.config, n_steps, likelihood, kl_gradient, start)?;
            start += block.mean().len();
        }
        Ok(())
    }

    /// One step of Adam, given the gradients of the likelihood's term by m and by v; refuses another layout.
    pub(crate) fn step_by_moments(
        &mut self,
        moments: &(Params, Params),
        gradients: &GradStore,
        kl_gradient: &KlGradient,
    ) -> Result<()> {
        checks::same_layout("means", &self.layout, moments.0.layout())?;
        checks::same_layout("variances", &self.layout, moments.1.layout())?;
        let n_steps = self.next(kl_gradient)?;
        let mut start = 0;
        let pairs = moments.0.blocks().iter().zip(moments.1.blocks());
        for (block, (mean, variance)) in self.blocks.iter_mut().zip(pairs) {
            let by_mean = on_host(gradients.get(mean), mean)?;
            let by_variance = on_host(gradients.get(variance), variance)?;
            let (ms, ml) = by_mean.storage_and_layout();
            let (vs, vl) = by_variance.storage_and_layout();
            let (by_mean, by_variance) = (numbers(on_cpu(&ms)?, ml)?, numbers(on_cpu(&vs)?, vl)?);
            let likelihood = LikelihoodGradient::ByMoments { by_mean, by_variance };
            block.step(&self.config, n_steps, likelihood, kl_gradient, start)?;
            start += block.mean().len();
        }
        Ok(())
    }

    fn next(&mut self, kl_gradient: &KlGradient) -> Result<i32> {
        kl_gradient.check(self.layout.n_parameters())?;
        self.n_steps = self.n_steps.saturating_add(1);
        Ok(self.n_steps)
    }

    fn params(&self, mut of: impl FnMut(&BlockState) -> Vec<f32>) -> Result<Params> {
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for (state, shape) in self.blocks.iter().zip(&self.layout.blocks) {
            let block = Var::from_vec(of(state), (shape.rows, shape.cols), &self.device)?;
            blocks.push(block.into_inner());
        }
        Ok(Params::new(self.layout.clone(), blocks)?)
    }
}

/// Refuses settings of Adam out of range: an optimizer over nothing checks them.
fn check_config(config: AdamConfig) -> Result<()> {
    Adam::new(config, &Params::new(Layout { blocks: vec![] }, vec![])?)?;
    Ok(())
}

/// A tensor as contiguous f32 on the CPU; a block that the loss does not reach has no gradient, which counts as zeros.
fn on_host(tensor: Option<&Tensor>, of: &Tensor) -> Result<Tensor> {
    Ok(match tensor {
        Some(tensor) => tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?,
        None => Tensor::zeros(of.shape(), DType::F32, &Device::Cpu)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use core_tensors::Block;

    fn layout() -> Layout {
        Layout { blocks: vec![Block { rows: 3, cols: 40 }, Block { rows: 2, cols: 3 }] }
    }

    /// Means and variances after some steps down Σ (w − ½)² / 2 at a draw.
    fn moved(kl_gradient: impl Fn(&[f64], &[f64]) -> [Vec<f64>; 2], kind: usize) -> [Vec<f64>; 2] {
        let start =
            Params::uniform(&layout(), &[1.0, 1.0], &mut Rng::new(0), &Device::Cpu).unwrap();
        let mut q = MeanField::new(AdamConfig::pytorch(1e-2), &start, -1.5).unwrap();
        let mut rng = Rng::new(1);
        let (center, precision): (Vec<f32>, Vec<f32>) =
            (0..126).map(|i| (0.01 * i as f32, 1.0 + 0.1 * i as f32)).unzip();
        for _ in 0..20 {
            let w = q.sample(&mut rng).unwrap();
            let parts = w.blocks().iter().map(|b| (b - 0.5)?.sqr()?.sum_all());
            let parts = parts.collect::<candle_core::Result<Vec<_>>>().unwrap();
            let loss = ((&parts[0] + &parts[1]).unwrap() * 0.5).unwrap();
            let [by_mean, by_variance] = kl_gradient(&q.mean(), &q.variance());
            let kl_gradient = match kind {
                0 => KlGradient::Isotropic { precision: 3.0, scale: 0.2 },
                1 => KlGradient::Diagonal { mean: &center, precision: &precision, scale: 0.2 },
                _ => KlGradient::Given { by_mean: &by_mean, by_variance: &by_variance, scale: 0.2 },
            };
            q.step_at(&w, &loss.backward().unwrap(), &kl_gradient).unwrap();
        }
        [q.mean(), q.variance()]
    }

    #[test]
    fn every_form_of_a_prior_pulls_alike_in_every_block() {
        // The gradients of KL by m and v in f64, for a prior with center c and precision a for each parameter.
        let by_hand = |c: fn(usize) -> f64, a: fn(usize) -> f64| {
            move |mean: &[f64], v: &[f64]| {
                let by_mean = (0..126).map(|i| a(i) * (mean[i] - c(i))).collect();
                [by_mean, (0..126).map(|i| 0.5 * (a(i) - 1.0 / v[i])).collect()]
            }
        };
        let cases: [(usize, [Vec<f64>; 2]); 2] = [
            (0, moved(by_hand(|_| 0.0, |_| 3.0), 2)),
            (1, moved(by_hand(|i| 0.01 * i as f64, |i| 1.0 + 0.1 * i as f64), 2)),
        ];
        for (kind, wanted) in cases {
            let found = moved(|_, _| [vec![], vec![]], kind);
            for (found, wanted) in found.iter().zip(&wanted) {
                for (i, (a, b)) in found.iter().zip(wanted).enumerate() {
                    // Twenty steps of f32 rounding; Adam's first steps only know signs.
                    assert!((a - b).abs() < 2e-4, "prior {kind}, parameter {i}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn draws_have_the_means_and_stds() {
        let start =
            Params::uniform(&layout(), &[1.0, 1.0], &mut Rng::new(2), &Device::Cpu).unwrap();
        let variance: Vec<f64> = (0..126).map(|i| 0.1 + 0.01 * f64::from(i)).collect();
        let mean = start.to_vec().unwrap();
        let config = AdamConfig::pytorch(1e-3);
        let q = MeanField::from_vectors(config, &layout(), &mean, &variance, &Device::Cpu).unwrap();
        let (mut rng, n) = (Rng::new(3), 4000);
        let (mut sums, mut squares) = (vec![0.0; 126], vec![0.0; 126]);
        for _ in 0..n {
            for (i, w) in q.sample(&mut rng).unwrap().to_vec().unwrap().into_iter().enumerate() {
                sums[i] += (w - mean[i]) / f64::from(n);
                squares[i] += (w - mean[i]).powi(2) / f64::from(n);
            }
        }
        for i in 0..126 {
            // Five standard errors.
            assert!(sums[i].abs() < 5.0 * (variance[i] / f64::from(n)).sqrt(), "{i}");
            let error = variance[i] * (2.0 / f64::from(n)).sqrt();
            assert!((squares[i] - variance[i]).abs() < 5.0 * error, "{i}");
        }
    }

    /// Log-standard deviations from which e^{2ρ} runs over most of f32, with their variances in f64.
    const RHOS: [f64; 6] = [-1.0, -8.0, -8.5, -12.0, -17.0, -40.0];

    #[test]
    fn small_variances_keep_their_digits() {
        // ρ is kept in f32: v has a relative error of 2 |ρ| 2⁻²⁴, and a few roundings of the exponential.
        let tolerance = |rho: f64| 2.0 * rho.abs() * 6e-8 + 4e-7;
        let layout = Layout { blocks: vec![Block { rows: 1, cols: RHOS.len() }] };
        let variance = RHOS.map(|rho| (2.0 * rho).exp());
        let config = AdamConfig::pytorch(1e-3);
        let q = MeanField::from_vectors(config, &layout, &[0.0; 6], &variance, &Device::Cpu);
        let (q, n) = (q.unwrap(), 20_000);
        let found = q.moments().unwrap().1.to_vec().unwrap();
        let (mut rng, mut squares) = (Rng::new(7), [0.0; 6]);
        for _ in 0..n {
            for (i, w) in q.sample(&mut rng).unwrap().to_vec().unwrap().into_iter().enumerate() {
                squares[i] += w * w / (f64::from(n) * variance[i]);
            }
        }
        for i in 0..RHOS.len() {
            let gap = (found[i] / variance[i] - 1.0).abs();
            assert!(gap < tolerance(RHOS[i]), "ρ = {}: {} {}", RHOS[i], found[i], variance[i]);
            // Five standard errors of a mean of squares.
            let error = (2.0 / f64::from(n)).sqrt();
            assert!((squares[i] - 1.0).abs() < 5.0 * error, "ρ = {}: {}", RHOS[i], squares[i]);
        }
    }

    /// v·a of each parameter after steps that feel the prior N(0, 1/a) alone, from v = e^{±½}/a on.
    fn settled(a: f64, kind: usize, by_moments: bool) -> Vec<f64> {
        let layout =
            Layout { blocks: vec![Block { rows: 1, cols: 3 }, Block { rows: 1, cols: 2 }] };
        let (center, precision) = ([0.0; 5], [a as f32; 5]);
        let mut variance = [-0.5f64, 0.5, 0.2, -0.2, 0.0].map(|d| d.exp() / a).to_vec();
        let mut mean = vec![0.0; 5];
        // The last rate is what an end may be off by.
        for rate in [1e-2, 1e-3, 1e-4, 1e-5] {
            let config = AdamConfig::pytorch(rate);
            let q = MeanField::from_vectors(config, &layout, &mean, &variance, &Device::Cpu);
            let mut q = q.unwrap();
            for _ in 0..300 {
                let by_mean: Vec<f64> = q.mean().iter().map(|m| a * m).collect();
                let by_variance: Vec<f64> =
                    q.variance().iter().map(|v| 0.5 * (a - 1.0 / v)).collect();
                let kl_gradient = match kind {
                    0 => KlGradient::Isotropic { precision: a, scale: 0.3 },
                    1 => KlGradient::Diagonal { mean: &center, precision: &precision, scale: 0.3 },
                    _ => KlGradient::Given {
                        by_mean: &by_mean,
                        by_variance: &by_variance,
                        scale: 0.3,
                    },
                };
                // A loss that does not depend on the parameters.
                let nothing = |w: &Params| (w.blocks()[0].sum_all()? * 0.0)?.backward();
                if by_moments {
                    let moments = q.moments().unwrap();
                    q.step_by_moments(&moments, &nothing(&moments.0).unwrap(), &kl_gradient)
                        .unwrap();
                } else {
                    let w = q.sample(&mut Rng::new(1)).unwrap();
                    q.step_at(&w, &nothing(&w).unwrap(), &kl_gradient).unwrap();
                }
            }
            (mean, variance) = (q.mean(), q.variance());
        }
        variance.iter().map(|v| v * a).collect()
    }

    #[test]
    fn a_variance_that_feels_the_prior_alone_settles_at_the_priors() {
        for a in [1.0, 1e8, 1e9, 1e14] {
            for (kind, by_moments) in (0..3).flat_map(|kind| [(kind, false), (kind, true)]) {
                for found in settled(a, kind, by_moments) {
                    // The last step size, and ρ in f32.
                    let gap = (found - 1.0).abs();
                    assert!(
                        gap < 1e-4,
                        "a = {a:e}, prior {kind}, by moments {by_moments}: {found}"
                    );
                }
            }
        }
    }

    #[test]
    fn bad_input_is_refused() {
        let start =
            Params::uniform(&layout(), &[1.0, 1.0], &mut Rng::new(4), &Device::Cpu).unwrap();
        let config = AdamConfig::pytorch(1e-3);
        let made = |variance: &[f64]| {
            MeanField::from_vectors(config, &layout(), &[0.0; 126], variance, &Device::Cpu)
        };
        let text = made(&[0.0; 126]).unwrap_err().to_string();
        assert_eq!(text, "variance of parameter 0 must lie in (0, ∞), got 0");
        assert_eq!(made(&[1.0; 2]).unwrap_err().to_string(), "variances: expected 126, found 2");
        assert!(MeanField::new(AdamConfig::pytorch(-1.0), &start, 0.0).is_err());
        let mut q = MeanField::new(config, &start, 0.0).unwrap();
        let w = q.sample(&mut Rng::new(5)).unwrap();
        let loss = w.blocks()[0].sum_all().unwrap().backward().unwrap();
        let message = |result: Result<()>| result.unwrap_err().to_string();
        // What is too long would be cut off, too.
        let (short, right, long) = (&[1f32; 1][..], &[1f32; 126][..], &[1f32; 200][..]);
        for (mean, precision, n) in
            [(short, right, 1), (right, short, 1), (right, long, 200), (long, right, 200)]
        {
            let other = KlGradient::Diagonal { mean, precision, scale: 1.0 };
            let wanted = format!("numbers of a prior: expected 126, found {n}");
            assert_eq!(message(q.step_at(&w, &loss, &other)), wanted);
        }
        let given =
            KlGradient::Given { by_mean: &[0.0; 126], by_variance: &[0.0; 127], scale: 1.0 };
        let text = message(q.step_at(&w, &loss, &given));
        assert_eq!(text, "gradients of a prior: expected 126, found 127");

        // As many numbers in other blocks.
        let wide = Layout { blocks: vec![Block { rows: 40, cols: 3 }, Block { rows: 3, cols: 2 }] };
        let other = Params::uniform(&wide, &[1.0, 1.0], &mut Rng::new(6), &Device::Cpu).unwrap();
        let kl_gradient = KlGradient::Isotropic { precision: 1.0, scale: 1.0 };
        let shapes = "expected blocks of (3, 40) (2, 3), found (40, 3) (3, 2)";
        let before = (q.mean(), q.variance());
        let text = message(q.step_at(&other, &loss, &kl_gradient));
        assert_eq!(text, format!("a draw: {shapes}"));
        let (mean, variance) = q.moments().unwrap();
        let text = message(q.step_by_moments(&(other.clone(), variance), &loss, &kl_gradient));
        assert_eq!(text, format!("means: {shapes}"));
        let text = message(q.step_by_moments(&(mean, other), &loss, &kl_gradient));
        assert_eq!(text, format!("variances: {shapes}"));
        assert_eq!(before, (q.mean(), q.variance()));
    }
}
