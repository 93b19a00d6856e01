//! Adam with a fused step and a state that can be saved.

use candle_core::backprop::GradStore;
use candle_core::{DType, Device, Tensor};

use crate::error::{Error, Result};
use crate::kernels;
use crate::kernels::perceptron::{Buffers, Gradient, Weights};
use crate::params::Params;

/// Settings of [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// > 0: step size.
    pub learning_rate: f64,
    /// β₁ ∈ [0, 1): decay of the mean of gradients.
    pub beta1: f64,
    /// β₂ ∈ [0, 1): decay of the mean of squared gradients.
    pub beta2: f64,
    /// ε > 0: added to the root of the second moment.
    pub epsilon: f64,
}

impl AdamConfig {
    /// PyTorch's defaults, β₁ = 0.9, β₂ = 0.999, ε = 1e-8 and no weight decay, as all the papers use.
    pub fn pytorch(learning_rate: f64) -> Self {
        Self { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// Adam over the blocks of some [`Params`], updated in place.
///
/// m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²,
/// w ← w − η · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
///
/// with t the steps of the block: one without a gradient keeps its value, its moments and its t, as in PyTorch.
///
/// Source: Kingma & Ba (2015), algorithm 1.
///
/// ```
/// use core_tensors::{Adam, AdamConfig, Block, Layout, Params, candle_core::Device};
/// # fn main() -> core_tensors::Result<()> {
/// let layout = Layout { blocks: vec![Block { rows: 1, cols: 1 }] };
/// let w = Params::from_vec(&layout, &[3.0], &Device::Cpu)?.trainable()?;
/// let mut adam = Adam::new(AdamConfig::pytorch(0.1), &w)?;
/// adam.step(&w.blocks()[0].sqr()?.sum_all()?.backward()?)?;
/// // The first step has the size of the learning rate, whatever the gradient.
/// assert!((w.to_vec()?[0] - 2.9).abs() < 1e-6);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Adam {
    config: AdamConfig,
    blocks: Vec<Tensor>,
    states: Vec<State>,
    buffers: Buffers,
}

/// What is kept of one block.
#[derive(Clone, Debug)]
struct State {
    /// t: steps in which the block had a gradient.
    n_steps: i32,
    moments: Moments,
}

/// m and v of one block.
#[derive(Clone, Debug)]
enum Moments {
    /// f32 on the CPU: one pass over memory.
    Fused { first: Vec<f32>, second: Vec<f32> },
    /// Any other type or device: the formula in tensors, also the oracle of the fused form.
    Composed { first: Tensor, second: Tensor },
}

impl Adam {
    /// An optimizer with zero moments for trainable parameters; refuses settings out of range.
    pub fn new(config: AdamConfig, params: &Params) -> Result<Self> {
        let AdamConfig { learning_rate, beta1, beta2, epsilon } = config;
        check_learning_rate(learning_rate)?;
        check("beta1", beta1, "[0, 1)", (0.0..1.0).contains(&beta1))?;
        check("beta2", beta2, "[0, 1)", (0.0..1.0).contains(&beta2))?;
        check("epsilon", epsilon, "(0, ∞)", epsilon > 0.0 && epsilon.is_finite())?;
        let zeros =
            |block| Ok(State { n_steps: 0, moments: Moments::zeros(block, config.epsilon)? });
        let states = params.blocks().iter().map(zeros).collect::<Result<_>>()?;
        Ok(Self { config, blocks: params.blocks().to_vec(), states, buffers: Buffers::default() })
    }

    /// Another step size from the next step on, for a [`Schedule`](crate::Schedule); refuses one that is not above 0.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        check_learning_rate(learning_rate)?;
        self.config.learning_rate = learning_rate;
        Ok(())
    }

    /// One update of every block that has a gradient.
    pub fn step(&mut self, gradients: &GradStore) -> Result<()> {
        for (block, state) in self.blocks.iter().zip(&mut self.states) {
            let Some(gradient) = gradients.get(block) else { continue };
            state.n_steps = state.n_steps.saturating_add(1);
            let update = kernels::adam::Update::new(&self.config, state.n_steps);
            match &mut state.moments {
                Moments::Fused { first, second } => update.fused(block, gradient, first, second)?,
                Moments::Composed { first, second } => {
                    update.composed(block, gradient, first, second)?;
                }
            }
        }
        Ok(())
    }

    fn no_block(&self, index: usize) -> Error {
        Error::Index { what: "block", index, n: self.blocks.len() }
    }

    /// The state as a safetensors file: tensors `first.t`, `second.t` and `steps.t` for block t.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut named = Vec::new();
        for (t, (block, state)) in self.blocks.iter().zip(&self.states).enumerate() {
            let (first, second) = state.moments.tensors(block)?;
            named.push((format!("first.{t}"), first));
            named.push((format!("second.{t}"), second));
            let n_steps = Tensor::new(i64::from(state.n_steps), &Device::Cpu)?;
            named.push((format!("steps.{t}"), n_steps));
        }
        Ok(safetensors::serialize(named, None)?)
    }

    /// Takes over the state that [`Adam::to_bytes`] wrote, for parameters of the same shapes.
    ///
    /// A state with one count for all blocks, as older versions wrote, is refused: it lacks `steps.0`.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?;
        let get = |name: String| tensors.get(&name).cloned().ok_or(Error::MissingTensor { name });
        let mut states = Vec::new();
        for (t, block) in self.blocks.iter().enumerate() {
            let (first, second) = (get(format!("first.{t}"))?, get(format!("second.{t}"))?);
            for moment in [&first, &second] {
                if moment.shape() != block.shape() {
                    let (expected, found) = (block.dims().to_vec(), moment.dims().to_vec());
                    return Err(Error::Shape { what: "moments", expected, found });
                }
            }
            let n_steps = get(format!("steps.{t}"))?.to_scalar::<i64>()?;
            let in_range = i32::try_from(n_steps).ok().filter(|n| *n >= 0);
            let n_steps = in_range.ok_or(Error::OutOfRange {
                name: "steps",
                value: n_steps as f64,
                range: "[0, 2³¹)",
            })?;
            let moments = Moments::from_tensors(block, self.config.epsilon, &first, &second)?;
            states.push(State { n_steps, moments });
        }
        self.states = states;
        Ok(())
    }
}

/// The blocks of a perceptron on the CPU; the gradient by a block moves it at once.
impl Weights for Adam {
    fn read(&self, t: usize, see: &mut dyn FnMut(&[f32]) -> Result<()>) -> Result<()> {
        let block = self.blocks.get(t).ok_or_else(|| self.no_block(t))?;
        let (storage, layout) = block.storage_and_layout();
        see(kernels::numbers(kernels::on_cpu(&storage)?, layout)?)
    }

    fn descend(&mut self, t: usize, gradient: &Gradient) -> Result<()> {
        let (Some(block), Some(state)) = (self.blocks.get(t), self.states.get_mut(t)) else {
            return Err(self.no_block(t));
        };
        state.n_steps = state.n_steps.saturating_add(1);
        let update = kernels::adam::Update::new(&self.config, state.n_steps);
        match &mut state.moments {
            Moments::Fused { first, second } => {
                Ok(update.in_parts(block, gradient, first, second, &self.buffers)?)
            }
            Moments::Composed { first, second } => {
                let mut whole = vec![0.0; block.elem_count()];
                gradient.rows(0..block.dims()[0], &mut whole)?;
                let whole = Tensor::from_vec(whole, block.shape(), block.device())?;
                Ok(update.composed(block, &whole.to_dtype(block.dtype())?, first, second)?)
            }
        }
    }
}

fn check_learning_rate(value: f64) -> Result<()> {
    check("learning rate", value, "(0, ∞)", value > 0.0 && value.is_finite())
}

fn check(name: &'static str, value: f64, range: &'static str, is_inside: bool) -> Result<()> {
    if is_inside { Ok(()) } else { Err(Error::OutOfRange { name, value, range }) }
}

impl Moments {
    fn zeros(block: &Tensor, epsilon: f64) -> Result<Self> {
        let is_plain = block.device().is_cpu() && block.dtype() == DType::F32;
        if is_plain && epsilon >= kernels::adam::SMALLEST_EPSILON {
            let n = block.elem_count();
            return Ok(Self::Fused { first: vec![0.0; n], second: vec![0.0; n] });
        }
        Ok(Self::Composed { first: block.zeros_like()?, second: block.zeros_like()? })
    }

    fn tensors(&self, block: &Tensor) -> Result<(Tensor, Tensor)> {
        Ok(match self {
            Self::Fused { first, second } => (
                Tensor::from_slice(first, block.shape(), &Device::Cpu)?,
                Tensor::from_slice(second, block.shape(), &Device::Cpu)?,
            ),
            Self::Composed { first, second } => (first.clone(), second.clone()),
        })
    }

    fn from_tensors(block: &Tensor, epsilon: f64, first: &Tensor, second: &Tensor) -> Result<Self> {
        Ok(match Self::zeros(block, epsilon)? {
            Self::Fused { .. } => Self::Fused {
                first: first.flatten_all()?.to_vec1()?,
                second: second.flatten_all()?.to_vec1()?,
            },
            Self::Composed { .. } => {
                let place = |t: &Tensor| {
                    t.to_dtype(block.dtype()).and_then(|t| t.to_device(block.device()))
                };
                Self::Composed { first: place(first)?, second: place(second)? }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Block, Layout, Rng};

    /// Sum of f32 rounding over a few dozen steps of size 0.1.
    const TOLERANCE: f64 = 1e-5;

    fn start(dtype: DType) -> Params {
        let layout = Layout { blocks: vec![Block { rows: 7, cols: 5 }] };
        let w = Params::uniform(&layout, &[1.0], &mut Rng::new(5), &Device::Cpu).unwrap();
        let blocks = vec![w.blocks()[0].to_dtype(dtype).unwrap()];
        Params::new(layout, blocks).unwrap().trainable().unwrap()
    }

    /// Σ (w² − w)², whose gradients change sign on the way.
    fn descend(w: &Params, adam: &mut Adam, n_steps: usize) {
        for _ in 0..n_steps {
            let w = &w.blocks()[0];
            let loss = (w.sqr().unwrap() - w).unwrap().sqr().unwrap().sum_all().unwrap();
            adam.step(&loss.backward().unwrap()).unwrap();
        }
    }

    fn distance(a: &[f64], b: &[f64]) -> f64 {
        a.iter().zip(b).fold(0.0, |d: f64, (a, b)| d.max((a - b).abs()))
    }

    #[test]
    fn the_fused_step_equals_the_formula() {
        let config = AdamConfig::pytorch(0.1);
        let (fused, composed) = (start(DType::F32), start(DType::F64));
        descend(&fused, &mut Adam::new(config, &fused).unwrap(), 40);
        descend(&composed, &mut Adam::new(config, &composed).unwrap(), 40);
        let gap = distance(&fused.to_vec().unwrap(), &composed.to_vec().unwrap());
        assert!(gap < TOLERANCE, "{gap}");
    }

    #[test]
    fn the_first_step_has_the_length_of_the_learning_rate() {
        // At t = 1 both bias corrections cancel: Δw = −η g / (|g| + ε).
        let w = start(DType::F32);
        let before = w.to_vec().unwrap();
        descend(&w, &mut Adam::new(AdamConfig::pytorch(0.01), &w).unwrap(), 1);
        for (after, before) in w.to_vec().unwrap().iter().zip(&before) {
            assert!(((after - before).abs() - 0.01).abs() < 1e-5, "{before} → {after}");
        }
        let w = start(DType::F32);
        let mut adam = Adam::new(AdamConfig::pytorch(0.01), &w).unwrap();
        adam.set_learning_rate(0.02).unwrap();
        assert!(adam.set_learning_rate(0.0).is_err());
        descend(&w, &mut adam, 1);
        for (after, before) in w.to_vec().unwrap().iter().zip(&before) {
            assert!(((after - before).abs() - 0.02).abs() < 1e-5, "{before} → {after}");
        }
    }

    #[test]
    fn a_restored_state_continues_bit_for_bit() {
        for dtype in [DType::F32, DType::F64] {
            let (whole, halves) = (start(dtype), start(dtype));
            let config = AdamConfig::pytorch(0.1);
            descend(&whole, &mut Adam::new(config, &whole).unwrap(), 20);
            let mut first = Adam::new(config, &halves).unwrap();
            descend(&halves, &mut first, 10);
            let mut second = Adam::new(config, &halves).unwrap();
            second.restore(&first.to_bytes().unwrap()).unwrap();
            descend(&halves, &mut second, 10);
            assert_eq!(whole.to_vec().unwrap(), halves.to_vec().unwrap());
        }
    }

    /// Two blocks of one number each, 0.
    fn pair(dtype: DType) -> Params {
        let layout = Layout { blocks: vec![Block { rows: 1, cols: 1 }; 2] };
        let zero = Tensor::zeros((1, 1), dtype, &Device::Cpu).unwrap();
        Params::new(layout, vec![zero.clone(), zero]).unwrap().trainable().unwrap()
    }

    #[test]
    fn a_block_counts_its_own_steps() {
        // Whenever a block gets its first gradient, both bias corrections cancel and it moves by η.
        let config = AdamConfig::pytorch(0.01);
        for (dtype, waits) in
            [(DType::F32, &[10, 1000, 100_000][..]), (DType::F64, &[10, 1000][..])]
        {
            for &n in waits {
                let w = pair(dtype);
                let gradient = |t: usize| w.blocks()[t].sum_all().unwrap().backward().unwrap();
                let (of_first, of_second) = (gradient(0), gradient(1));
                let mut adam = Adam::new(config, &w).unwrap();
                (1..n).for_each(|_| adam.step(&of_first).unwrap());
                assert_eq!(w.to_vec().unwrap()[1], 0.0);
                let bytes = adam.to_bytes().unwrap();
                adam.step(&of_second).unwrap();
                let moved = w.to_vec().unwrap()[1];
                assert!((moved + 0.01).abs() < 1e-7, "{dtype:?}, step {n}: {moved}");
                // The counts survive in a file.
                let mut restored = Adam::new(config, &w).unwrap();
                restored.restore(&bytes).unwrap();
                restored.step(&of_second).unwrap();
                let again = w.to_vec().unwrap()[1] - moved;
                assert!((again + 0.01).abs() < 1e-7, "{dtype:?}, restored at {n}: {again}");
            }
        }
    }

    #[test]
    fn bad_settings_and_states_are_refused() {
        let w = start(DType::F32);
        let error = Adam::new(AdamConfig { beta2: 1.0, ..AdamConfig::pytorch(0.1) }, &w);
        assert_eq!(error.unwrap_err().to_string(), "beta2 must lie in [0, 1), got 1");
        let mut adam = Adam::new(AdamConfig::pytorch(0.1), &w).unwrap();
        let empty = Params::new(Layout { blocks: vec![] }, vec![]).unwrap();
        let bytes = Adam::new(AdamConfig::pytorch(0.1), &empty).unwrap().to_bytes().unwrap();
        let message = adam.restore(&bytes).unwrap_err().to_string();
        assert_eq!(message, "the tensor `first.0` is missing");
        let state = |n_steps: i64, name: &str| {
            let moment = Tensor::zeros((7, 5), DType::F32, &Device::Cpu).unwrap();
            let n_steps = Tensor::new(n_steps, &Device::Cpu).unwrap();
            let named =
                [("first.0", moment.clone()), ("second.0", moment), (name, n_steps.clone())];
            safetensors::serialize(named, None).unwrap()
        };
        let message = adam.restore(&state(3, "steps")).unwrap_err().to_string();
        assert_eq!(message, "the tensor `steps.0` is missing");
        let message = adam.restore(&state(-1, "steps.0")).unwrap_err().to_string();
        assert_eq!(message, "steps must lie in [0, 2³¹), got -1");
        adam.restore(&state(3, "steps.0")).unwrap();
    }
}
