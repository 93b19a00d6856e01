//! Adam over a diagonal Gaussian and, in turn, over its diagonal Gaussian prior.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result as CandleResult, Tensor};
use core_tensors::kernels::empirical_bayes::{BlockState, Steps, covers};
use core_tensors::{Adam, AdamConfig, Layout, Params};

use crate::checks;
use crate::error::{Error, Result};

/// Settings of [`EmpiricalBayesAdam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EmpiricalBayesAdamConfig {
    /// α ≥ 0: factor of KL(q ‖ p).
    pub kl_weight: f64,
    /// Adam of (w, ρ).
    pub posterior: AdamConfig,
    /// Adam of (μ, π).
    pub prior: AdamConfig,
}

/// p(w) = N(μ, diag(e^π)), which is trained along with q.
#[derive(Clone, Debug)]
pub struct GaussianPrior {
    /// μ
    pub mean: Params,
    /// π: logarithms of variances.
    pub log_variance: Params,
}

/// Minimizes α KL(q ‖ p) + L(w) over q = N(w, diag(e^ρ)) and p = N(μ, diag(e^π)), one step of Adam each in turn.
///
/// KL(q ‖ p) = ½ Σᵢ { e^(ρᵢ − πᵢ) + e^(−πᵢ) (μᵢ − wᵢ)² + πᵢ − ρᵢ − 1 }
///
/// L is whatever the caller differentiates with respect to w, the mean of q: there is no sampling, so ρ starts at 0
/// and follows π alone. A step first moves (w, ρ), then, from where they arrived, (μ, π).
///
/// Source: the authors' code of Grabovoy & Strijov (2021).
#[derive(Clone, Debug)]
pub struct EmpiricalBayesAdam {
    config: EmpiricalBayesAdamConfig,
    w: Params,
    state: State,
    /// Steps of every block: the divergence reaches each one, also where the data do not.
    n_steps: i32,
}

#[derive(Clone, Debug)]
enum State {
    /// f32 on the CPU: both steps in one pass over memory.
    Fused(Vec<BlockState>),
    /// Any other type or device: automatic differentiation and [`Adam`], also the oracle of the fused form.
    Composed(Box<Composed>),
}

#[derive(Clone, Debug)]
struct Composed {
    log_variance: Params,
    prior: GaussianPrior,
    of_posterior: Adam,
    of_prior: Adam,
}

impl EmpiricalBayesAdam {
    /// An optimizer for trainable `w`; `prior` is copied.
    pub fn new(
        config: EmpiricalBayesAdamConfig,
        w: &Params,
        prior: &GaussianPrior,
    ) -> Result<Self> {
        if !(config.kl_weight >= 0.0 && config.kl_weight.is_finite()) {
            let name = "weight of the divergence".into();
            let value = config.kl_weight;
            return Err(Error::OutOfRange { name, value, range: "[0, ∞)" });
        }
        for params in [&prior.mean, &prior.log_variance] {
            checks::same_layout("the prior", w.layout(), params.layout())?;
        }
        let is_fused = w.blocks().iter().all(|w| covers(w, &config.posterior, &config.prior));
        // Its checks of the settings serve both forms.
        let composed = Composed::new(&config, w, prior)?;
        let state = if is_fused {
            let pairs = prior.mean.blocks().iter().zip(prior.log_variance.blocks());
            let block = |(mean, log_variance): (&Tensor, &Tensor)| {
                Ok(BlockState::new(&numbers(mean)?, &numbers(log_variance)?))
            };
            State::Fused(pairs.map(block).collect::<Result<_>>()?)
        } else {
            State::Composed(Box::new(composed))
        };
        Ok(Self { config, w: w.clone(), state, n_steps: 0 })
    }

    /// Both steps, from the gradients of L; a block without one counts as unknown to the data.
    pub fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.n_steps = self.n_steps.saturating_add(1);
        let EmpiricalBayesAdamConfig { kl_weight, posterior, prior } = self.config;
        match &mut self.state {
            State::Fused(state) => {
                let steps = Steps { kl_weight, posterior, prior, n: self.n_steps };
                for (block, state) in self.w.blocks().iter().zip(state) {
                    state.step(&steps, block, gradients.get(block))?;
                }
                Ok(())
            }
            State::Composed(state) => state.step(kl_weight, &self.w, gradients),
        }
    }

    /// KL(q ‖ p) as it stands, in nats, without α.
    pub fn divergence(&self) -> Result<f64> {
        let rho = self.log_variance()?.to_vec()?;
        let GaussianPrior { mean, log_variance } = self.prior()?;
        let (mu, pi) = (mean.to_vec()?, log_variance.to_vec()?);
        let term = |((w, rho), (mu, pi)): ((&f64, &f64), (&f64, &f64))| {
            // e^d − 1 − d is of second order in d.
            let d = rho - pi;
            0.5 * (d.exp_m1() - d + (-pi).exp() * (mu - w).powi(2))
        };
        Ok(self.w.to_vec()?.iter().zip(&rho).zip(mu.iter().zip(&pi)).map(term).sum())
    }

    /// ρ: logarithms of the variances of q.
    pub fn log_variance(&self) -> Result<Params> {
        match &self.state {
            State::Fused(state) => self.field(state, BlockState::log_variance),
            State::Composed(state) => Ok(state.log_variance.frozen()),
        }
    }

    /// p as it stands.
    pub fn prior(&self) -> Result<GaussianPrior> {
        match &self.state {
            State::Fused(state) => Ok(GaussianPrior {
                mean: self.field(state, BlockState::prior_mean)?,
                log_variance: self.field(state, BlockState::prior_log_variance)?,
            }),
            State::Composed(state) => Ok(GaussianPrior {
                mean: state.prior.mean.frozen(),
                log_variance: state.prior.log_variance.frozen(),
            }),
        }
    }

    fn field(&self, state: &[BlockState], of: fn(&BlockState) -> Vec<f32>) -> Result<Params> {
        let blocks = self.w.blocks().iter().zip(state);
        let tensor = |(block, state): (&Tensor, &BlockState)| {
            Tensor::from_vec(of(state), block.shape(), block.device())
        };
        let blocks = blocks.map(tensor).collect::<CandleResult<_>>()?;
        Ok(Params::new(self.w.layout().clone(), blocks)?)
    }
}

impl Composed {
    fn new(config: &EmpiricalBayesAdamConfig, w: &Params, prior: &GaussianPrior) -> Result<Self> {
        let zeros = w.blocks().iter().map(Tensor::zeros_like).collect::<CandleResult<_>>()?;
        let log_variance = Params::new(w.layout().clone(), zeros)?.trainable()?;
        let prior = GaussianPrior {
            mean: prior.mean.trainable()?,
            log_variance: prior.log_variance.trainable()?,
        };
        Ok(Self {
            of_posterior: Adam::new(config.posterior, &both(w, &log_variance)?)?,
            of_prior: Adam::new(config.prior, &both(&prior.mean, &prior.log_variance)?)?,
            log_variance,
            prior,
        })
    }

    fn step(&mut self, weight: f64, w: &Params, gradients: &GradStore) -> Result<()> {
        let mut total = (self.divergence(w)? * weight)?.backward()?;
        for block in w.blocks() {
            if let (Some(of_data), Some(of_prior)) = (gradients.get(block), total.get(block)) {
                let sum = (of_data + of_prior)?;
                total.insert(block, sum);
            }
        }
        self.of_posterior.step(&total)?;
        self.of_prior.step(&(self.divergence(w)? * weight)?.backward()?)?;
        Ok(())
    }

    /// KL(q ‖ p), shape ().
    fn divergence(&self, w: &Params) -> CandleResult<Tensor> {
        let mut total: Option<Tensor> = None;
        for (t, w) in w.blocks().iter().enumerate() {
            let (rho, mu) = (&self.log_variance.blocks()[t], &self.prior.mean.blocks()[t]);
            let pi = &self.prior.log_variance.blocks()[t];
            let ratio = (rho - pi)?;
            let gap = ((mu - w)?.sqr()? * pi.neg()?.exp()?)?;
            let sum = (((ratio.exp()? - ratio)? + gap)? - 1.0)?.sum_all()?;
            let half = (sum * 0.5)?;
            total = Some(match total {
                Some(before) => (before + half)?,
                None => half,
            });
        }
        total.ok_or_else(|| candle_core::Error::Msg("a network without parameters".into()))
    }
}

/// The blocks of two sets of parameters as one.
fn both(a: &Params, b: &Params) -> Result<Params> {
    let layouts = [a, b].map(|p| p.layout().blocks.clone());
    let blocks = [a, b].map(|p| p.blocks().to_vec());
    Ok(Params::new(Layout { blocks: layouts.concat() }, blocks.concat())?)
}

fn numbers(block: &Tensor) -> CandleResult<Vec<f32>> {
    block.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use core_tensors::{Block, Rng};

    /// f32 rounding of values near 1 over forty steps of at most 0.05.
    const TOLERANCE: f64 = 2e-5;

    fn random(bound: f64, seed: u64, dtype: DType) -> Params {
        // 35 and 98 numbers: less than one chunk, and one with a rest.
        let layout =
            Layout { blocks: vec![Block { rows: 7, cols: 5 }, Block { rows: 14, cols: 7 }] };
        let w = Params::uniform(&layout, &[bound; 2], &mut Rng::new(seed), &Device::Cpu).unwrap();
        let blocks = w.blocks().iter().map(|b| b.to_dtype(dtype).unwrap()).collect();
        Params::new(layout, blocks).unwrap()
    }

    fn prior(dtype: DType) -> GaussianPrior {
        GaussianPrior { mean: random(1.0, 1, dtype), log_variance: random(0.3, 2, dtype) }
    }

    fn config(kl_weight: f64) -> EmpiricalBayesAdamConfig {
        let (posterior, prior) = (AdamConfig::pytorch(0.05), AdamConfig::pytorch(0.02));
        EmpiricalBayesAdamConfig { kl_weight, posterior, prior }
    }

    /// L = Σ (w² − w)² over the first block; the data know nothing of the second.
    fn descend(dtype: DType, kl_weight: f64, n_steps: usize) -> EmpiricalBayesAdam {
        let w = random(1.0, 0, dtype).trainable().unwrap();
        let mut optimizer = EmpiricalBayesAdam::new(config(kl_weight), &w, &prior(dtype)).unwrap();
        for _ in 0..n_steps {
            let w = &w.blocks()[0];
            let loss = (w.sqr().unwrap() - w).unwrap().sqr().unwrap().sum_all().unwrap();
            optimizer.step(&loss.backward().unwrap()).unwrap();
        }
        optimizer
    }

    fn everything(optimizer: &EmpiricalBayesAdam) -> [Vec<f64>; 4] {
        let prior = optimizer.prior().unwrap();
        [&optimizer.w, &optimizer.log_variance().unwrap(), &prior.mean, &prior.log_variance]
            .map(|p| p.to_vec().unwrap())
    }

    #[test]
    fn the_fused_steps_equal_differentiation_and_adam() {
        for kl_weight in [0.2, 1.0] {
            let fused = descend(DType::F32, kl_weight, 40);
            let composed = descend(DType::F64, kl_weight, 40);
            assert!(matches!(
                (&fused.state, &composed.state),
                (State::Fused(_), State::Composed(_))
            ));
            for (name, (a, b)) in ["w", "ρ", "μ", "π"]
                .into_iter()
                .zip(everything(&fused).iter().zip(&everything(&composed)))
            {
                let gap = a.iter().zip(b).fold(0.0, |d: f64, (a, b)| d.max((a - b).abs()));
                assert!(gap < TOLERANCE, "{name}: {gap}");
            }
            let (a, b) = (fused.divergence().unwrap(), composed.divergence().unwrap());
            assert!(((a - b) / b).abs() < TOLERANCE, "{a} against {b}");
        }
    }

    #[test]
    fn a_wide_prior_pulls_as_its_precision_says() {
        // e⁻²⁰ = 2.06e-9 at 100 from the mean, beside the ε = 1e-8 of Adam: the first step is η g / (g + ε).
        let ends = [DType::F32, DType::F64].map(|dtype| {
            let w = random(1.0, 0, dtype).trainable().unwrap();
            let shifted = |by: f64| {
                let blocks = w.blocks().iter().map(|b| (b.detach() * 0.0)? + by);
                let blocks = blocks.collect::<CandleResult<_>>().unwrap();
                Params::new(w.layout().clone(), blocks).unwrap()
            };
            let prior = GaussianPrior { mean: shifted(100.0), log_variance: shifted(20.0) };
            let mut optimizer = EmpiricalBayesAdam::new(config(1.0), &w, &prior).unwrap();
            let before = w.to_vec().unwrap();
            let nothing = (w.blocks()[0].sum_all().unwrap() * 0.0).unwrap().backward().unwrap();
            optimizer.step(&nothing).unwrap();
            w.to_vec().unwrap().iter().zip(before).map(|(a, b)| a - b).collect::<Vec<_>>()
        });
        let g = (-20f64).exp() * 100.0;
        for (fused, composed) in ends[0].iter().zip(&ends[1]) {
            let wanted = 0.05 * g / (g + 1e-8);
            // A start within 1 of zero, which the distance of 100 does not count, and f32 numbers near 1.
            assert!((composed / wanted - 1.0).abs() < 1e-2 && (fused - composed).abs() < 1e-6);
        }
    }

    #[test]
    fn an_own_start_as_prior_has_no_divergence_and_no_pull() {
        // ρ = π = 0 and w = μ: only the data move w, and the first step has the length of its learning rate.
        let w = random(1.0, 0, DType::F32).trainable().unwrap();
        let mean = w.frozen().trainable().unwrap();
        let before = mean.to_vec().unwrap();
        let prior = GaussianPrior { mean, log_variance: random(0.0, 0, DType::F32) };
        let mut optimizer = EmpiricalBayesAdam::new(config(1.0), &w, &prior).unwrap();
        assert_eq!(optimizer.divergence().unwrap(), 0.0);
        let loss = w.blocks()[0].sum_all().unwrap();
        optimizer.step(&loss.backward().unwrap()).unwrap();
        let [w, rho, mu, pi] = everything(&optimizer);
        for i in 0..w.len() {
            let (moved, followed) = if i < 35 { (-0.05, -0.02) } else { (0.0, 0.0) };
            assert!((w[i] - before[i] - moved).abs() < 1e-6 && rho[i] == 0.0);
            assert!((mu[i] - before[i] - followed).abs() < 1e-6);
            assert!((pi[i] + followed).abs() < 1e-6, "the variance grows to reach w");
        }
        // What is printed is ½ Σ {e^(−π) − 1 + π + e^(−π) (μ − w)²}.
        let by_hand = 35.0 * 0.5 * ((-0.02f64).exp() * (1.0 + 0.03f64.powi(2)) - 1.0 + 0.02);
        let found = optimizer.divergence().unwrap();
        // A gap of 0.03 between f32 numbers near 1.
        assert!((found - by_hand).abs() < 1e-5 * by_hand, "{found} against {by_hand}");
    }

    #[test]
    fn bad_settings_and_priors_are_refused() {
        let w = random(1.0, 0, DType::F32).trainable().unwrap();
        let error = EmpiricalBayesAdam::new(config(-1.0), &w, &prior(DType::F32)).unwrap_err();
        assert_eq!(error.to_string(), "weight of the divergence must lie in [0, ∞), got -1");
        let narrow = Layout { blocks: vec![Block { rows: 1, cols: 1 }] };
        let mean = Params::from_vec(&narrow, &[0.0], &Device::Cpu).unwrap();
        let prior = GaussianPrior { mean: mean.clone(), log_variance: mean };
        let message = EmpiricalBayesAdam::new(config(1.0), &w, &prior).unwrap_err().to_string();
        assert_eq!(message, "the prior: expected blocks of (7, 5) (14, 7), found (1, 1)");
    }
}
