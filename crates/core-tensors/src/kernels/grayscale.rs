//! Grayscale intensities kept as bytes, a quarter of the memory, become numbers where a network reads them.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use super::{numbers, vectorized};

/// Largest grayscale intensity.
const WHITE: f32 = 255.0;

/// Features as a network wants them: bytes are grayscale intensities and become x / 255 in f32, anything else stays.
///
/// The shape stays; bytes carry no gradient.
pub fn features(x: &Tensor) -> Result<Tensor> {
    match (x.dtype(), x.device().is_cpu()) {
        (DType::U8, true) => x.contiguous()?.apply_op1_no_bwd(&GrayscaleIntensities),
        (DType::U8, false) => x.to_dtype(DType::F32)? / f64::from(WHITE),
        _ => Ok(x.clone()),
    }
}

struct GrayscaleIntensities;

impl CustomOp1 for GrayscaleIntensities {
    fn name(&self) -> &'static str {
        "grayscale-intensities"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        if !matches!(x, CpuStorage::U8(_)) {
            bail!("grayscale intensities wanted bytes");
        }
        let bytes = numbers::<u8>(x, layout)?;
        let mut intensities = vec![0.0; bytes.len()];
        vectorized(|| {
            intensities
                .iter_mut()
                .zip(bytes)
                .for_each(|(level, &byte)| *level = f32::from(byte) / WHITE);
        });
        Ok((CpuStorage::F32(intensities), layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn bytes_become_shares_of_white_and_numbers_stay() {
        let bytes: Vec<u8> = (0..=255).collect();
        let x = Tensor::from_vec(bytes, (2, 128), &Device::Cpu).unwrap();
        let intensities = features(&x).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!((0..=255u8).all(|b| intensities[usize::from(b)] == f32::from(b) / 255.0));
        let numbers = Tensor::new(&[300f32, -1.0], &Device::Cpu).unwrap();
        assert_eq!(features(&numbers).unwrap().to_vec1::<f32>().unwrap(), [300.0, -1.0]);
    }
}
