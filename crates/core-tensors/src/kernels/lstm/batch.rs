//! Sequences of a batch, packed: step by step, and in each step only the rows that are still running.

use candle_core::{DType, Result, Tensor, bail};

/// A batch of sequences, longest first.
///
/// Both directions take step t for the same rows: those longer than t, which come first in this order.
pub(super) struct Batch {
    /// Rows of the batch, longest first; equal lengths in the order of the batch.
    order: Vec<usize>,
    /// b_t: rows that take step t, falling.
    n_running: Vec<usize>,
    /// Tokens in the order step, row; the first direction's step t reads token t of a row.
    from_first: Vec<u32>,
    /// Likewise for the other direction, whose step t reads token ℓ − 1 − t of a row of length ℓ.
    from_last: Vec<u32>,
}

impl Batch {
    /// Packs token numbers, (m, L), 0 = padding; refuses a token behind padding and one that has no row in the table.
    pub(super) fn new(words: &Tensor, n_words: usize) -> Result<Self> {
        let (m, n_steps) = words.dims2()?;
        if words.dtype() != DType::U32 {
            bail!("an LSTM wanted token numbers as u32, found {:?}", words.dtype());
        }
        let words = words.flatten_all()?.to_vec1::<u32>()?;
        let row = |i: usize| &words[i * n_steps..(i + 1) * n_steps];
        let mut lengths = Vec::with_capacity(m);
        for i in 0..m {
            let length = row(i).iter().position(|&w| w == 0).unwrap_or(n_steps);
            if row(i)[length..].iter().any(|&w| w != 0) {
                bail!("row {i} of token numbers has a token behind padding");
            }
            if let Some(w) = row(i).iter().find(|&&w| w as usize >= n_words) {
                bail!("token numbers wanted below {n_words}, found {w} in row {i}");
            }
            lengths.push(length);
        }
        let mut order: Vec<usize> = (0..m).collect();
        order.sort_by_key(|&i| std::cmp::Reverse(lengths[i]));
        let longest = order.first().map_or(0, |&i| lengths[i]);
        let n_tokens = lengths.iter().sum();
        let mut batch = Self {
            n_running: Vec::with_capacity(longest),
            from_first: Vec::with_capacity(n_tokens),
            from_last: Vec::with_capacity(n_tokens),
            order,
        };
        for t in 0..longest {
            let n = batch.order.partition_point(|&i| lengths[i] > t);
            batch.n_running.push(n);
            for &i in &batch.order[..n] {
                batch.from_first.push(row(i)[t]);
                batch.from_last.push(row(i)[lengths[i] - 1 - t]);
            }
        }
        Ok(batch)
    }

    /// m: rows of the batch.
    pub(super) fn n_rows(&self) -> usize {
        self.order.len()
    }

    /// Rows of the batch, longest first.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// Steps of the longest sequence: where each begins among the packed tokens, and how many rows take it.
    pub(super) fn steps(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> {
        let mut start = 0;
        let step = |&n: &usize| {
            let step = (start, n);
            start += n;
            step
        };
        self.n_running.iter().map(step).collect::<Vec<_>>().into_iter()
    }

    /// The packed tokens of the direction that starts at the first token, and of the one that starts at the last.
    pub(super) fn orders(&self) -> [&[u32]; 2] {
        [&self.from_first, &self.from_last]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn sequences_are_packed_by_hand() {
        let words = [[7u32, 0, 0], [1, 2, 3], [0, 0, 0], [4, 5, 0]];
        let batch = Batch::new(&Tensor::new(&words, &Device::Cpu).unwrap(), 8).unwrap();
        assert_eq!(batch.order(), [1, 3, 0, 2]);
        assert_eq!(batch.steps().collect::<Vec<_>>(), [(0, 3), (3, 2), (5, 1)]);
        assert_eq!(batch.orders(), [&[1, 4, 7, 2, 5, 3], &[3, 5, 7, 2, 4, 1]]);
    }

    #[test]
    fn tokens_out_of_place_are_named() {
        let message = |words: &[[u32; 2]]| {
            let words = Tensor::from_vec(words.concat(), (words.len(), 2), &Device::Cpu).unwrap();
            Batch::new(&words, 8).err().unwrap().to_string()
        };
        let told = message(&[[1, 0], [0, 3]]);
        assert!(told.starts_with("row 1 of token numbers has a token behind padding"), "{told}");
        let told = message(&[[1, 8]]);
        assert!(told.starts_with("token numbers wanted below 8, found 8 in row 0"), "{told}");
        let grayscale = Tensor::zeros((1, 2), DType::U8, &Device::Cpu).unwrap();
        let told = Batch::new(&grayscale, 8).err().unwrap().to_string();
        assert!(told.starts_with("an LSTM wanted token numbers as u32, found U8"), "{told}");
    }
}
