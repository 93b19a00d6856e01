//! Where each matrix of a network lies in its parameter vector vec(·).

use crate::error::{Error, Expected, Result};

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
///
/// ```
/// use core_tensors::{Block, Layout, Slice};
/// # fn main() -> core_tensors::Result<()> {
/// // Two inputs and a bias to two units, those to one output: positions 0 … 5 and 6, 7.
/// let layout = Layout { blocks: vec![Block { rows: 2, cols: 3 }, Block { rows: 1, cols: 2 }] };
/// assert_eq!(layout.n_parameters(), 8);
/// assert_eq!(layout.positions(&Slice::Rows { block: 0, rows: vec![1] })?, [3, 4, 5]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The blocks, from the input side to the output side.
    pub blocks: Vec<Block>,
}

/// Some of the parameters of a network: what an edit conditions on or integrates out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slice {
    /// Whole rows of a block: the incoming weights, and the bias, of units.
    Rows {
        /// Which block.
        block: usize,
        /// Which rows; at least one stays.
        rows: Vec<usize>,
    },
    /// Whole columns of a block: the outgoing weights of the units before it.
    Cols {
        /// Which block.
        block: usize,
        /// Which columns; at least one stays.
        cols: Vec<usize>,
    },
    /// All of a block.
    Block {
        /// Which block.
        block: usize,
    },
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

    /// Where each block lies in vec(·).
    pub fn ranges(&self) -> Vec<std::ops::Range<usize>> {
        let mut start = 0;
        let range = |block: &Block| {
            let range = start..start + block.n_parameters();
            start = range.end;
            range
        };
        self.blocks.iter().map(range).collect()
    }

    /// Positions of a slice in vec(·), ascending, and of everything else.
    pub fn split(&self, slice: &Slice) -> Result<(Vec<usize>, Vec<usize>)> {
        let block = self.check(slice)?;
        let range = self.ranges()[slice.block()].clone();
        let mut inside = vec![false; range.len()];
        match slice {
            Slice::Rows { rows, .. } => {
                for row in rows {
                    inside[row * block.cols..(row + 1) * block.cols].fill(true);
                }
            }
            Slice::Cols { cols, .. } => {
                for row in inside.chunks_exact_mut(block.cols) {
                    cols.iter().for_each(|&col| row[col] = true);
                }
            }
            Slice::Block { .. } => inside.fill(true),
        }
        let is_inside = |i: &usize| range.contains(i) && inside[i - range.start];
        Ok((0..self.n_parameters()).partition(is_inside))
    }

    /// Positions of a slice in vec(·), ascending: the first half of [`Layout::split`], at the cost of the slice alone.
    pub fn positions(&self, slice: &Slice) -> Result<Vec<usize>> {
        let block = self.check(slice)?;
        let start = self.ranges()[slice.block()].start;
        let in_order = |indices: &[usize]| {
            let mut sorted = indices.to_vec();
            sorted.sort_unstable();
            sorted
        };
        let (rows, cols) = match slice {
            Slice::Rows { rows, .. } => (in_order(rows), (0..block.cols).collect()),
            Slice::Cols { cols, .. } => ((0..block.rows).collect(), in_order(cols)),
            Slice::Block { .. } => ((0..block.rows).collect(), (0..block.cols).collect::<Vec<_>>()),
        };
        let row = |i: usize| cols.iter().map(move |j| start + i * block.cols + j);
        Ok(rows.into_iter().flat_map(row).collect())
    }

    /// The layout of what is left without a slice; the blocks behind a removed one move up.
    pub fn without(&self, slice: &Slice) -> Result<Self> {
        self.check(slice)?;
        let mut blocks = self.blocks.clone();
        match slice {
            Slice::Rows { block, rows } => blocks[*block].rows -= rows.len(),
            Slice::Cols { block, cols } => blocks[*block].cols -= cols.len(),
            Slice::Block { block } => drop(blocks.remove(*block)),
        }
        Ok(Self { blocks })
    }

    /// Refuses another layout with the shapes of both.
    pub fn check_same(&self, what: &'static str, found: &Self) -> Result<()> {
        if self == found {
            return Ok(());
        }
        Err(Error::Blocks { what, expected: self.clone(), found: found.clone() })
    }

    /// The block that a slice lies in, once every index of it is known to exist and to occur once.
    fn check(&self, slice: &Slice) -> Result<Block> {
        let n_blocks = self.blocks.len();
        let Some(&block) = self.blocks.get(slice.block()) else {
            return Err(Error::Index { what: "block", index: slice.block(), n: n_blocks });
        };
        let (what, indices, n) = match slice {
            Slice::Rows { rows, .. } => ("row of a block", rows, block.rows),
            Slice::Cols { cols, .. } => ("column of a block", cols, block.cols),
            Slice::Block { .. } => {
                Expected::AtLeast(1).check("blocks that stay", n_blocks - 1)?;
                return Ok(block);
            }
        };
        let mut sorted = indices.clone();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::Duplicate { what, index: twice[0] });
        }
        if let Some(&index) = sorted.last()
            && index >= n
        {
            return Err(Error::Index { what, index, n });
        }
        // A block without rows or columns is none.
        let of_what = match slice {
            Slice::Cols { .. } => "columns of a block that stay",
            Slice::Rows { .. } | Slice::Block { .. } => "rows of a block that stay",
        };
        Expected::AtLeast(1).check(of_what, n - sorted.len())?;
        Ok(block)
    }
}

impl std::fmt::Display for Layout {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (t, Block { rows, cols }) in self.blocks.iter().enumerate() {
            write!(f, "{}({rows}, {cols})", if t == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

impl Slice {
    /// The block that the slice lies in.
    pub fn block(&self) -> usize {
        match self {
            Self::Rows { block, .. } | Self::Cols { block, .. } | Self::Block { block } => *block,
        }
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

    #[test]
    fn slices_split_the_vector_and_leave_a_layout() {
        // Blocks (2, 3) and (1, 2): positions 0 1 2 / 3 4 5 and 6 7.
        let layout =
            Layout { blocks: vec![Block { rows: 2, cols: 3 }, Block { rows: 1, cols: 2 }] };
        let split = |slice: &Slice| {
            let (inside, outside) = layout.split(slice).unwrap();
            let left = layout.without(slice).unwrap();
            assert_eq!((outside.len(), inside.len() + outside.len()), (left.n_parameters(), 8));
            assert_eq!(layout.positions(slice).unwrap(), inside);
            inside
        };
        assert_eq!(split(&Slice::Rows { block: 0, rows: vec![1] }), [3, 4, 5]);
        assert_eq!(split(&Slice::Cols { block: 0, cols: vec![2, 0] }), [0, 2, 3, 5]);
        assert_eq!(split(&Slice::Cols { block: 1, cols: vec![1] }), [7]);
        assert_eq!(split(&Slice::Block { block: 1 }), [6, 7]);
    }

    #[test]
    fn slices_that_do_not_exist_are_refused() {
        let layout = Layout { blocks: vec![Block { rows: 2, cols: 3 }] };
        let message = |slice: Slice| layout.split(&slice).unwrap_err().to_string();
        let rows = |rows: &[usize]| Slice::Rows { block: 0, rows: rows.to_vec() };
        assert_eq!(
            message(rows(&[2])),
            "row of a block 2 is out of range: there are 2, counted from 0"
        );
        assert_eq!(message(rows(&[1, 1])), "row of a block 1 is given twice");
        assert_eq!(
            message(rows(&[1, 0])),
            "rows of a block that stay: expected at least 1, found 0"
        );
        assert_eq!(
            message(Slice::Block { block: 1 }),
            "block 1 is out of range: there are 1, counted from 0"
        );
        assert_eq!(
            message(Slice::Block { block: 0 }),
            "blocks that stay: expected at least 1, found 0"
        );
    }
}
