//! A map φ from noisy examples to clean ones, and what its measures say.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use core_tensors::Rng;
use core_tensors::candle_core::{Device, Tensor};
use domain_adapt::{DomainMap, proxy_distance, unbiased_mmd};

/// φ(x) = x − shift: a map of one's own.
struct Shift(f64);

impl DomainMap for Shift {
    fn apply(&self, x: &Tensor, _: &mut Rng) -> core_tensors::Result<Tensor> {
        Ok((x - self.0)?)
    }
}

fn main() -> losses::Result<()> {
    let mut rng = Rng::new(0);
    let mut normals = |mean: f64| {
        let values: Vec<f32> = (0..1000 * 4).map(|_| (mean + rng.normal()) as f32).collect();
        Tensor::from_vec(values, (1000, 4), &Device::Cpu)
    };
    // The teacher's domain is N(0, I), the student's N(3, I).
    let (source, target) = (normals(0.0)?, normals(3.0)?);
    let mapped = Shift(3.0).apply(&target, &mut rng)?;
    let before = proxy_distance(&target, &source, &mut rng)?;
    let after = proxy_distance(&mapped, &source, &mut rng)?;
    let mmd = unbiased_mmd(&mapped, &source, &mut rng)?;
    assert!(before > 1.9 && after.abs() < 0.3 && mmd < 0.01);
    println!("proxy distance {before:.2} → {after:.2}, squared mmd {mmd:.4}");
    Ok(())
}
