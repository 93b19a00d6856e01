//! A classifier of texts: one bidirectional LSTM over embedded words.

use candle_core::{Device, Tensor};
use core_tensors::kernels::{Activation, bi_lstm, linear};
use core_tensors::{Block, Layout, Params, Result, Rng};

use crate::Architecture;

/// f(x, w) = U_out (h→, h←, 1), the final states of an LSTM that reads a text from its first word and of one that
/// reads it from its last.
///
/// x are token numbers, (m, L), u32, each below `n_words`, 0 = padding behind the last word; logits are (m, `n_classes`).
/// Four blocks: the embedding table (`n_words`, d), whose rows are words; U of each direction, (4h, d + h + 1), gates in
/// the order i, f, g, o ([`bi_lstm`]); the output layer (k, 2h + 1). A text without words has the logits of its biases.
///
/// Source: the teacher of paper 004 on Twitter has d = h = 100.
///
/// ```
/// use core_tensors::candle_core::{Device, Tensor};
/// use core_tensors::Rng;
/// use models::{Architecture, BiLstm};
/// # fn main() -> core_tensors::Result<()> {
/// let network = BiLstm { n_words: 50, embedding: 8, hidden: 6, n_classes: 2 };
/// let w = network.init(&mut Rng::new(0), &Device::Cpu)?;
/// // Two texts, of three words and of one.
/// let x = Tensor::new(&[[7u32, 3, 12], [9, 0, 0]], &Device::Cpu)?;
/// assert_eq!(network.forward(&w, &x)?.dims(), [2, 2]);
/// assert_eq!(network.layout().n_parameters(), 50 * 8 + 2 * 24 * 15 + 2 * 13);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BiLstm {
    /// Size of the vocabulary with padding, at least 1.
    pub n_words: usize,
    /// d: numbers of an embedded word, at least 1.
    pub embedding: usize,
    /// h: units of each direction, at least 1.
    pub hidden: usize,
    /// k, at least 1.
    pub n_classes: usize,
}

impl Architecture for BiLstm {
    fn layout(&self) -> Layout {
        let Self { n_words, embedding: d, hidden: h, n_classes: k } = *self;
        let direction = Block { rows: 4 * h, cols: d + h + 1 };
        let table = Block { rows: n_words, cols: d };
        Layout { blocks: vec![table, direction, direction, Block { rows: k, cols: 2 * h + 1 }] }
    }

    /// The final states of both directions, (m, 2h), and the logits.
    fn activations(&self, w: &Params, x: &Tensor) -> Result<Vec<Tensor>> {
        self.layout().check_same("parameters of a bidirectional LSTM", w.layout())?;
        let u = w.blocks();
        let states = bi_lstm(x, &u[0], &u[1], &u[2])?; // (m, 2h)
        let logits = linear(&states, &u[3], Activation::Identity)?;
        Ok(vec![states, logits])
    }

    /// Of the table 1, for a word chooses one of its rows; of a direction h, PyTorch's choice for U by state and input alike.
    fn fan_in(&self) -> Vec<usize> {
        vec![1, self.hidden, self.hidden, 2 * self.hidden]
    }

    /// PyTorch's start: the table ~ N(0, 1) with zeros for padding, U of a direction ~ U(±1/√h), the output layer
    /// ~ U(±1/√2h).
    ///
    /// PyTorch adds two biases in each gate and draws both, so that here a bias of a direction is the sum of two draws; the
    /// forget gate's is no exception. Adam moves such a pair by twice its step, and the one bias here by one.
    fn init(&self, rng: &mut Rng, device: &Device) -> Result<Params> {
        let layout = self.layout();
        let mut blocks = Vec::with_capacity(layout.blocks.len());
        for (t, (block, fan_in)) in layout.blocks.iter().zip(self.fan_in()).enumerate() {
            let mut values = vec![0f32; block.n_parameters()];
            if t == 0 {
                rng.fill_normal(&mut values);
                values[..block.cols].fill(0.0);
            } else {
                let bound = 1.0 / (fan_in as f64).sqrt();
                let mut draw = || bound * (2.0 * rng.uniform() - 1.0);
                values.iter_mut().for_each(|value| *value = draw() as f32);
                if t < 3 {
                    let biases = values.iter_mut().skip(block.cols - 1).step_by(block.cols);
                    biases.for_each(|bias| *bias += draw() as f32);
                }
            }
            blocks.push(Tensor::from_vec(values, (block.rows, block.cols), device)?);
        }
        Params::new(layout, blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population_std(values: &[f64]) -> f64 {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    }

    const SMALL: BiLstm = BiLstm { n_words: 9, embedding: 4, hidden: 3, n_classes: 2 };

    #[test]
    fn counts_of_the_papers_teacher() {
        let teacher = BiLstm { n_words: 300_000, embedding: 100, hidden: 100, n_classes: 2 };
        // A table of 30 million and about 170 thousand weights beside it: 2 · 400 · 201 + 2 · 201.
        assert_eq!(teacher.layout().n_parameters(), 30_000_000 + 161_202);
    }

    #[test]
    fn a_text_without_words_has_the_scores_of_the_biases() {
        let w = SMALL.init(&mut Rng::new(0), &Device::Cpu).unwrap();
        let x = Tensor::new(&[[0u32, 0], [3, 0], [3, 4]], &Device::Cpu).unwrap();
        let logits = SMALL.forward(&w, &x).unwrap().to_vec2::<f32>().unwrap();
        let last = w.blocks()[3].to_vec2::<f32>().unwrap();
        assert_eq!(logits[0], [last[0][6], last[1][6]]);
        assert!(logits[1] != logits[0] && logits[2] != logits[1]);
    }

    #[test]
    fn the_start_is_that_of_pytorch() {
        let network = BiLstm { n_words: 500, embedding: 50, hidden: 25, n_classes: 2 };
        let w = network.init(&mut Rng::new(1), &Device::Cpu).unwrap();
        let rows = |t: usize| w.blocks()[t].to_vec2::<f32>().unwrap();
        let of = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<_>>();
        let table = rows(0);
        assert!(table[0].iter().all(|&e| e == 0.0));
        // 24 950 draws: the relative standard deviation of their standard deviation is 1/√(2 · 24 950).
        let std = population_std(&of(table[1..].concat()));
        assert!((std - 1.0).abs() < 4.0 / 223.0, "{std}");
        for t in [1, 2] {
            let (weights, biases): (Vec<_>, Vec<_>) =
                rows(t).into_iter().map(|row| (row[..75].to_vec(), row[75])).unzip();
            let largest = of(weights.concat()).into_iter().fold(0.0f64, |a, b| a.max(b.abs()));
            assert!((0.199..=0.2).contains(&largest), "{largest}");
            // The variance of the sum of two draws from U(±0.2) is 2 · 0.04 / 3, that of 100 of them within 4 · 12 %
            // (kurtosis 2.4: √(1.4 / 100)).
            let variance = population_std(&of(biases)).powi(2);
            assert!((variance / (0.08 / 3.0) - 1.0).abs() < 0.48, "{variance}");
        }
        let largest = of(rows(3).concat()).into_iter().fold(0.0f64, |a, b| a.max(b.abs()));
        assert!((0.12..=0.1415).contains(&largest), "{largest}");
    }

    #[test]
    fn every_block_gets_a_gradient_and_foreign_parameters_are_refused() {
        let w = SMALL.init(&mut Rng::new(2), &Device::Cpu).unwrap().trainable().unwrap();
        let x = Tensor::new(&[[8u32, 1, 5], [2, 0, 0]], &Device::Cpu).unwrap();
        let gradients =
            SMALL.forward(&w, &x).unwrap().sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(w.blocks().iter().all(|block| gradients.get(block).is_some()));
        let other = BiLstm { hidden: 2, ..SMALL };
        let message = other.forward(&w, &x).unwrap_err().to_string();
        assert!(
            message.starts_with("parameters of a bidirectional LSTM: expected blocks"),
            "{message}"
        );
        let outside = Tensor::new(&[[9u32]], &Device::Cpu).unwrap();
        let message = SMALL.forward(&w, &outside).unwrap_err().to_string();
        assert!(message.contains("token numbers wanted below 9, found 9 in row 0"), "{message}");
    }
}
