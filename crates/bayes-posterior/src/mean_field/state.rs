//! The state of an optimization of a diagonal Gaussian as bytes, from which it goes on.

use candle_core::{Device, Tensor};
use core_tensors::kernels::mean_field::BlockState;

use super::MeanField;
use crate::checks;
use crate::error::Result;

/// Names of a block's numbers in a state's file: m, ρ, and the moments of both.
const PARTS: [&str; 6] =
    ["mean", "log_std", "mean.first", "mean.second", "log_std.first", "log_std.second"];
/// Name of the number of steps.
const STEPS: &str = "steps";

impl MeanField {
    /// Mean, log-standard deviations and the state of Adam as a safetensors file, from which [`MeanField::restore`] goes on to
    /// the same bits.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut named =
            vec![(STEPS.to_owned(), Tensor::new(i64::from(self.n_steps), &Device::Cpu)?)];
        for (t, block) in self.blocks.iter().enumerate() {
            let moments = block.moments().iter().map(Vec::as_slice);
            let parts = [block.mean(), block.log_std()].into_iter().chain(moments);
            for (part, numbers) in PARTS.iter().zip(parts) {
                named.push((format!("{part}.{t}"), Tensor::new(numbers, &Device::Cpu)?));
            }
        }
        Ok(safetensors::serialize(named, None)?)
    }

    /// Takes over what [`MeanField::to_bytes`] wrote, for parameters of the same layout; the step size stays.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<()> {
        let tensors = candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?;
        let get = |name: &str| {
            let missing = || core_tensors::Error::MissingTensor { name: name.to_owned() };
            tensors.get(name).ok_or_else(missing)
        };
        let mut blocks = Vec::with_capacity(self.blocks.len());
        for (t, old) in self.blocks.iter().enumerate() {
            let part = |part: &str| -> Result<Vec<f32>> {
                let numbers = get(&format!("{part}.{t}"))?.to_vec1::<f32>()?;
                checks::length("numbers of a state", old.mean().len(), numbers.len())?;
                Ok(numbers)
            };
            let [mean, log_std, m1, m2, r1, r2] = PARTS.map(part);
            let moments = [m1?, m2?, r1?, r2?];
            blocks.push(BlockState::with_moments(mean?, log_std?, moments)?);
        }
        let n_steps = get(STEPS)?.to_scalar::<i64>()?;
        let in_range = i32::try_from(n_steps).ok().filter(|n| *n >= 0);
        self.n_steps = in_range.ok_or(core_tensors::Error::OutOfRange {
            name: "steps",
            value: n_steps as f64,
            range: "[0, 2³¹)",
        })?;
        self.blocks = blocks;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core_tensors::kernels::mean_field::KlGradient;
    use core_tensors::{AdamConfig, Block, Layout, Params, Rng};

    use super::*;

    fn layout() -> Layout {
        Layout { blocks: vec![Block { rows: 3, cols: 40 }, Block { rows: 2, cols: 3 }] }
    }

    #[test]
    fn a_restored_state_continues_bit_for_bit() {
        let start =
            Params::uniform(&layout(), &[1.0, 1.0], &mut Rng::new(0), &Device::Cpu).unwrap();
        let new = || MeanField::new(AdamConfig::pytorch(1e-2), &start, -1.5).unwrap();
        let run = |q: &mut MeanField, seeds: std::ops::Range<u64>| {
            for seed in seeds {
                q.set_learning_rate(1e-2 / (1.0 + seed as f64)).unwrap();
                let w = q.sample(&mut Rng::new(seed)).unwrap();
                let loss = w.blocks()[0].sqr().unwrap().sum_all().unwrap();
                let kl_gradient = KlGradient::Isotropic { precision: 3.0, scale: 0.2 };
                q.step_at(&w, &loss.backward().unwrap(), &kl_gradient).unwrap();
            }
        };
        let mut whole = new();
        run(&mut whole, 0..20);
        let mut first = new();
        run(&mut first, 0..7);
        let mut second = new();
        second.restore(&first.to_bytes().unwrap()).unwrap();
        run(&mut second, 7..20);
        assert_eq!(second.to_bytes().unwrap(), whole.to_bytes().unwrap());
        assert!(first.to_bytes().unwrap() != whole.to_bytes().unwrap());
        // Another layout has other blocks.
        let layout = Layout { blocks: vec![Block { rows: 3, cols: 40 }; 3] };
        let (mean, config) = (vec![0.0; 360], AdamConfig::pytorch(1e-2));
        let other = MeanField::from_vectors(config, &layout, &mean, &[1.0; 360], &Device::Cpu);
        assert!(other.unwrap().restore(&whole.to_bytes().unwrap()).is_err());
        assert!(whole.set_learning_rate(0.0).is_err());
    }
}
