//! A diagonal Gaussian over the parameters of a network, and the optimiser that moves it.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor, Var};

use crate::error::{Error, Result};
use crate::kernels::adam::Update;
use crate::kernels::mean_field::{Slope, State};
use crate::kernels::{numbers, on_cpu};
use crate::layout::Layout;
use crate::optim::{Adam, AdamConfig};
use crate::params::Params;
use crate::rng::Rng;

/// q(w) = N(m, diag e^{2ρ}) with Adam on m and ρ.
///
/// It lives on the CPU in f32; draws are put on the device of the network. One step costs one pass over memory for
/// the draw and one for the update, as the gradients by m and ρ follow from that by the drawn weights alone:
///
/// w = m + e^ρ ε,  ∂/∂m = ∂/∂w,  ∂/∂ρ = (w − m) ∂/∂w.
///
/// Source: Kingma & Welling (2014); Blundell et al. (2015).
#[derive(Clone, Debug)]
pub struct MeanField {
    config: AdamConfig,
    layout: Layout,
    device: Device,
    blocks: Vec<State>,
    n_steps: i32,
}

/// The gradient of the prior's term, scale · KL(q ‖ p), that a step adds to the likelihood's.
#[derive(Clone, Copy, Debug)]
pub enum Pull<'a> {
    /// p = N(0, I/a): by m a m, by ρ a v − 1.
    Isotropic {
        /// a > 0.
        precision: f64,
        /// Factor of the divergence in the loss.
        scale: f64,
    },
    /// p = N(m₀, diag 1/P): by m P (m − m₀), by ρ P v − 1.
    Diagonal {
        /// m₀, (p,).
        mean: &'a [f32],
        /// P, (p,), each > 0.
        precision: &'a [f32],
        /// Factor of the divergence in the loss.
        scale: f64,
    },
    /// Any p: its gradients by m and by v, (p,) each, computed where p is known.
    Given {
        /// ∂KL/∂m, (p,).
        by_mean: &'a [f64],
        /// ∂KL/∂v, (p,).
        by_variance: &'a [f64],
        /// Factor of the divergence in the loss.
        scale: f64,
    },
}

impl MeanField {
    /// q around a start with one log-deviation for all parameters; refuses settings of Adam out of range.
    pub fn new(config: AdamConfig, start: &Params, log_deviation: f64) -> Result<Self> {
        let n = start.layout().n_parameters();
        let variance = vec![(2.0 * log_deviation).exp(); n];
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
        for (what, found) in [("numbers of a mean", mean.len()), ("variances", variance.len())] {
            if found != p {
                return Err(Error::mismatch(what, p, found));
            }
        }
        if let Some(&value) = variance.iter().find(|v| !(**v > 0.0 && v.is_finite())) {
            return Err(Error::OutOfRange {
                name: "variance of a parameter",
                value,
                range: "(0, ∞)",
            });
        }
        // An optimiser over nothing checks the settings.
        Adam::new(config, &Params::new(Layout { blocks: vec![] }, vec![])?)?;
        let block = |range: std::ops::Range<usize>| {
            let mean = mean[range.clone()].iter().map(|&m| m as f32).collect();
            State::new(mean, variance[range].iter().map(|v| (0.5 * v.ln()) as f32).collect())
        };
        let blocks = layout.ranges().into_iter().map(block).collect();
        Ok(Self { config, layout: layout.clone(), device: device.clone(), blocks, n_steps: 0 })
    }

    /// Order and shapes of the blocks.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// m in vec order, (p,).
    pub fn mean(&self) -> Vec<f64> {
        self.blocks.iter().flat_map(|b| b.mean.iter().map(|&m| f64::from(m))).collect()
    }

    /// v = e^{2ρ} in vec order, (p,).
    pub fn variance(&self) -> Vec<f64> {
        let square = |&rho: &f32| (2.0 * f64::from(rho)).exp();
        self.blocks.iter().flat_map(|b| b.log_deviation.iter().map(square)).collect()
    }

    /// m as the parameters of a network.
    pub fn plug_in(&self) -> Result<Params> {
        self.params(|block| block.mean.clone())
    }

    /// A draw w = m + e^ρ ε as variables, for a loss whose gradient goes to [`MeanField::step_at`].
    pub fn sample(&self, rng: &mut Rng) -> Result<Params> {
        self.params(|block| block.sample(rng))
    }

    /// m and v as variables, for a loss whose gradients go to [`MeanField::step_apart`].
    pub fn moments(&self) -> Result<(Params, Params)> {
        Ok((self.plug_in()?, self.params(State::variance)?))
    }

    /// One step of Adam, given the gradients of the likelihood's term at a draw.
    pub fn step_at(&mut self, draw: &Params, gradients: &GradStore, pull: &Pull) -> Result<()> {
        let update = self.next(pull)?;
        let mut start = 0;
        for (block, w) in self.blocks.iter_mut().zip(draw.blocks()) {
            let (gradient, w) = (on_host(gradients.get(w), w)?, on_host(Some(w), w)?);
            let ((ws, wl), (gs, gl)) = (w.storage_and_layout(), gradient.storage_and_layout());
            let (w, gradient) = (numbers(on_cpu(&ws)?, wl)?, numbers(on_cpu(&gs)?, gl)?);
            let slope = Slope::AtDraw { w, gradient };
            block.step(&update, slope, &pull.from(start));
            start += block.mean.len();
        }
        Ok(())
    }

    /// One step of Adam, given the gradients of the likelihood's term by m and by v.
    pub fn step_apart(
        &mut self,
        moments: &(Params, Params),
        gradients: &GradStore,
        pull: &Pull,
    ) -> Result<()> {
        let update = self.next(pull)?;
        let mut start = 0;
        let pairs = moments.0.blocks().iter().zip(moments.1.blocks());
        for (block, (mean, variance)) in self.blocks.iter_mut().zip(pairs) {
            let by_mean = on_host(gradients.get(mean), mean)?;
            let by_variance = on_host(gradients.get(variance), variance)?;
            let (ms, ml) = by_mean.storage_and_layout();
            let (vs, vl) = by_variance.storage_and_layout();
            let (by_mean, by_variance) = (numbers(on_cpu(&ms)?, ml)?, numbers(on_cpu(&vs)?, vl)?);
            let slope = Slope::Apart { by_mean, by_variance };
            block.step(&update, slope, &pull.from(start));
            start += block.mean.len();
        }
        Ok(())
    }

    fn next(&mut self, pull: &Pull) -> Result<Update> {
        let p = self.layout.n_parameters();
        let (what, found) = match pull {
            Pull::Isotropic { .. } => ("", p),
            Pull::Diagonal { mean, precision, .. } => {
                ("numbers of a prior", mean.len().min(precision.len()))
            }
            Pull::Given { by_mean, by_variance, .. } => {
                ("gradients of a prior", by_mean.len().min(by_variance.len()))
            }
        };
        if found != p {
            return Err(Error::mismatch(what, p, found));
        }
        self.n_steps += 1;
        Ok(Update::new(&self.config, self.n_steps))
    }

    fn params(&self, mut of: impl FnMut(&State) -> Vec<f32>) -> Result<Params> {
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for (state, shape) in self.blocks.iter().zip(&self.layout.blocks) {
            let block = Var::from_vec(of(state), (shape.rows, shape.cols), &self.device)?;
            blocks.push(block.into_inner());
        }
        Params::new(self.layout.clone(), blocks)
    }
}

/// A tensor as contiguous f32 on the CPU; a block that the loss does not reach has no gradient, which counts as zeros.
fn on_host(tensor: Option<&Tensor>, of: &Tensor) -> Result<Tensor> {
    Ok(match tensor {
        Some(tensor) => tensor.to_device(&Device::Cpu)?.to_dtype(DType::F32)?.contiguous()?,
        None => Tensor::zeros(of.shape(), DType::F32, &Device::Cpu)?,
    })
}

impl Pull<'_> {
    /// The same over the parameters from `start` on.
    fn from(&self, start: usize) -> Self {
        match *self {
            Self::Isotropic { .. } => *self,
            Self::Diagonal { mean, precision, scale } => {
                Self::Diagonal { mean: &mean[start..], precision: &precision[start..], scale }
            }
            Self::Given { by_mean, by_variance, scale } => Self::Given {
                by_mean: &by_mean[start..],
                by_variance: &by_variance[start..],
                scale,
            },
        }
    }
}
