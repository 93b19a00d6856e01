//! A linear classifier of texts: one weight for each word and class.

use candle_core::{DType, Tensor};
use core_tensors::{Block, Error, Layout, Params, Result};

use crate::Architecture;

/// f(x, w) = Σₜ U_{·,xₜ} + b over the words of a text: logistic regression on word counts.
///
/// x are token numbers, (m, L), u32, each below `n_words`, 0 = padding, which counts for nothing; logits are
/// (m, `n_classes`). One block U (k, `n_words` + 1), bias last. The baseline of a network that reads the same tokens in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BagOfWords {
    /// Size of the vocabulary with padding, at least 1.
    pub n_words: usize,
    /// k, at least 1.
    pub n_classes: usize,
}

impl Architecture for BagOfWords {
    fn layout(&self) -> Layout {
        Layout { blocks: vec![Block { rows: self.n_classes, cols: self.n_words + 1 }] }
    }

    /// The logits alone.
    fn activations(&self, w: &Params, x: &Tensor) -> Result<Vec<Tensor>> {
        self.layout().check_same("parameters of a bag of words", w.layout())?;
        let (m, n_columns) = x.dims2()?;
        if m * n_columns > 0 {
            let largest = x.flatten_all()?.max(0)?.to_dtype(DType::U32)?.to_scalar::<u32>()?;
            if largest as usize >= self.n_words {
                let (index, n) = (largest as usize, self.n_words);
                return Err(Error::Index { what: "word", index, n });
            }
        }
        let u = &w.blocks()[0];
        let own = u.index_select(&x.flatten_all()?, 1)?; // (k, m L)
        let is_word = x.ne(0u32)?.to_dtype(u.dtype())?.reshape((1, m, n_columns))?;
        let own = own.reshape((self.n_classes, m, n_columns))?.broadcast_mul(&is_word)?;
        let bias = u.narrow(1, self.n_words, 1)?; // (k, 1)
        Ok(vec![own.sum(2)?.broadcast_add(&bias)?.t()?.contiguous()?])
    }

    /// A text is short: its score is a sum of some ten weights, whatever the vocabulary.
    fn fan_in(&self) -> Vec<usize> {
        vec![self.n_words]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use core_tensors::Rng;

    #[test]
    fn scores_are_sums_over_words_with_their_gradient() {
        let bag = BagOfWords { n_words: 5, n_classes: 2 };
        let w = bag.init(&mut Rng::new(0), &Device::Cpu).unwrap().trainable().unwrap();
        let x = Tensor::new(&[[3u32, 4, 3], [1, 0, 0], [0, 0, 0]], &Device::Cpu).unwrap();
        let logits = bag.forward(&w, &x).unwrap();
        let u = w.blocks()[0].to_vec2::<f32>().unwrap();
        let found = logits.to_vec2::<f32>().unwrap();
        for k in 0..2 {
            let wanted = [2.0 * u[k][3] + u[k][4] + u[k][5], u[k][1] + u[k][5], u[k][5]];
            for (row, wanted) in found.iter().zip(wanted) {
                assert!((row[k] - wanted).abs() < 1e-6);
            }
        }
        let gradients = logits.sum_all().unwrap().backward().unwrap();
        // Each word as often as it occurs; padding never; the bias once a text.
        let wanted = [0.0, 1.0, 0.0, 2.0, 1.0, 3.0];
        assert_eq!(gradients.get(&w.blocks()[0]).unwrap().to_vec2::<f32>().unwrap(), [wanted; 2]);
    }

    #[test]
    fn an_unknown_number_is_refused() {
        let bag = BagOfWords { n_words: 5, n_classes: 2 };
        let w = bag.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let x = Tensor::new(&[[5u32]], &Device::Cpu).unwrap();
        let message = bag.forward(&w, &x).unwrap_err().to_string();
        assert_eq!(message, "word 5 is out of range: there are 5, counted from 0");
    }
}
