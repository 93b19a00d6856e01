//! Where each matrix of a network lies in its parameter vector vec(·).

/// One matrix U_t of a network: rows are output units, columns inputs, the bias last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Block {
    /// n_t: output units.
    pub rows: usize,
    /// n_{t−1}: inputs, plus one where there is a bias.
    pub cols: usize,
}

/// Order and shapes of the matrices of a network.
///
/// vec(·) concatenates the blocks in order, each row by row; row j of block t holds the incoming
/// weights of unit j of layer t + 1 (layers count from 1, blocks and units from 0).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The blocks, from the input side to the output side.
    pub blocks: Vec<Block>,
}

impl Block {
    /// Numbers in the block, rows · cols.
    pub fn n_parameters(&self) -> usize {
        self.rows * self.cols
    }
}

impl Layout {
    /// p: length of vec(·).
    pub fn n_parameters(&self) -> usize {
        self.blocks.iter().map(Block::n_parameters).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_parameters_of_the_papers_teacher() {
        // [784, 256, 128, 64, 64, 10] with biases: 246 922.
        let widths = [784, 256, 128, 64, 64, 10];
        let blocks = widths.windows(2).map(|w| Block { rows: w[1], cols: w[0] + 1 }).collect();
        assert_eq!(Layout { blocks }.n_parameters(), 246_922);
    }
}
