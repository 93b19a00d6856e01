//! The parameter vector of a network: one tensor a block.

use candle_core::{DType, Device, Tensor, Var};

use crate::error::{Error, Expected, Result};
use crate::layout::Layout;
use crate::rng::Rng;

/// Parameters w of a network, as the blocks of a [`Layout`].
///
/// ```
/// use core_tensors::{Block, Layout, Params, candle_core::Device};
/// # fn main() -> core_tensors::Result<()> {
/// let layout = Layout { blocks: vec![Block { rows: 2, cols: 1 }, Block { rows: 1, cols: 2 }] };
/// let w = Params::from_vec(&layout, &[1.0, 2.0, 3.0, 4.0], &Device::Cpu)?;
/// assert_eq!(w.blocks()[0].to_vec2::<f32>()?, [[1.0], [2.0]]);
/// let back = Params::from_bytes(layout, &w.to_bytes()?, &Device::Cpu)?;
/// assert_eq!(back.to_vec()?, [1.0, 2.0, 3.0, 4.0]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Params {
    layout: Layout,
    blocks: Vec<Tensor>,
}

impl Params {
    /// Parameters from one tensor a block, each of shape (rows, cols).
    pub fn new(layout: Layout, blocks: Vec<Tensor>) -> Result<Self> {
        Expected::Exactly(layout.blocks.len()).check("blocks", blocks.len())?;
        for (shape, block) in layout.blocks.iter().zip(&blocks) {
            if block.dims() != [shape.rows, shape.cols] {
                let expected = vec![shape.rows, shape.cols];
                let found = block.dims().to_vec();
                return Err(Error::Shape { what: "block", expected, found });
            }
        }
        Ok(Self { layout, blocks })
    }

    /// Each entry of block t drawn from U(−bounds\[t\], +bounds\[t\]), in f32.
    ///
    /// With bounds 1/√fan_in for weights and biases alike this is the start that the papers' code
    /// inherits from PyTorch.
    pub fn uniform(
        layout: &Layout,
        bounds: &[f64],
        rng: &mut Rng,
        device: &Device,
    ) -> Result<Self> {
        Expected::Exactly(layout.blocks.len()).check("bounds", bounds.len())?;
        if let Some(&value) = bounds.iter().find(|b| !(**b >= 0.0 && b.is_finite())) {
            return Err(Error::OutOfRange { name: "bound of a block", value, range: "[0, ∞)" });
        }
        let draw = |(block, bound): (&crate::Block, &f64)| {
            let values: Vec<f32> = (0..block.n_parameters())
                .map(|_| (bound * (2.0 * rng.uniform() - 1.0)) as f32)
                .collect();
            Tensor::from_vec(values, (block.rows, block.cols), device)
        };
        let blocks =
            layout.blocks.iter().zip(bounds).map(draw).collect::<candle_core::Result<_>>()?;
        Ok(Self { layout: layout.clone(), blocks })
    }

    /// Parameters from vec(w), block by block and row by row, in f32.
    pub fn from_vec(layout: &Layout, values: &[f64], device: &Device) -> Result<Self> {
        Expected::Exactly(layout.n_parameters()).check("numbers of vec(w)", values.len())?;
        let mut rest = values;
        let mut take = |block: &crate::Block| {
            let (mine, others) = rest.split_at(block.n_parameters());
            rest = others;
            let mine: Vec<f32> = mine.iter().map(|&v| v as f32).collect();
            Tensor::from_vec(mine, (block.rows, block.cols), device)
        };
        let blocks = layout.blocks.iter().map(&mut take).collect::<candle_core::Result<_>>()?;
        Ok(Self { layout: layout.clone(), blocks })
    }

    /// Order and shapes of the blocks.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The tensors, input side first.
    pub fn blocks(&self) -> &[Tensor] {
        &self.blocks
    }

    /// A copy whose blocks are variables: a loss computed from it has gradients.
    pub fn trainable(&self) -> Result<Self> {
        let copy = |block: &Tensor| -> candle_core::Result<Tensor> {
            // The copy keeps an optimizer's in-place updates away from `self`.
            Ok(Var::from_tensor(&block.detach().copy()?)?.into_inner())
        };
        let blocks = self.blocks.iter().map(copy).collect::<candle_core::Result<_>>()?;
        Ok(Self { layout: self.layout.clone(), blocks })
    }

    /// The same numbers, seen without gradients; later updates of `self` show through.
    pub fn frozen(&self) -> Self {
        let blocks = self.blocks.iter().map(Tensor::detach).collect();
        Self { layout: self.layout.clone(), blocks }
    }

    /// The gradient of a scalar by these trainable parameters, in their shapes; zeros where it does not depend on a block.
    pub fn gradient(&self, loss: &Tensor) -> Result<Self> {
        let store = loss.backward()?;
        let of = |block: &Tensor| match store.get(block) {
            Some(gradient) => Ok(gradient.detach()),
            None => block.zeros_like(),
        };
        let blocks = self.blocks.iter().map(of).collect::<candle_core::Result<_>>()?;
        Ok(Self { layout: self.layout.clone(), blocks })
    }

    /// w + factor · d for a direction d of the same layout; without gradients.
    pub fn moved(&self, direction: &Self, factor: f64) -> Result<Self> {
        self.layout.check_same("direction", &direction.layout)?;
        let step = |(w, d): (&Tensor, &Tensor)| w.detach() + (d.detach() * factor)?;
        let pairs = self.blocks.iter().zip(&direction.blocks);
        let blocks = pairs.map(step).collect::<candle_core::Result<_>>()?;
        Ok(Self { layout: self.layout.clone(), blocks })
    }

    /// vec(w) in f64: block by block, row by row.
    pub fn to_vec(&self) -> Result<Vec<f64>> {
        let mut values = Vec::with_capacity(self.layout.n_parameters());
        for block in &self.blocks {
            values.extend(block.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>()?);
        }
        Ok(values)
    }

    /// The blocks as a safetensors file with tensors `block.0`, `block.1`, ….
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let named = self.blocks.iter().enumerate().map(|(t, b)| (format!("block.{t}"), b));
        Ok(safetensors::serialize(named, None)?)
    }

    /// Reads what [`Params::to_bytes`] wrote.
    pub fn from_bytes(layout: Layout, bytes: &[u8], device: &Device) -> Result<Self> {
        let tensors = candle_core::safetensors::load_buffer(bytes, device)?;
        let take = |t: usize| {
            let name = format!("block.{t}");
            tensors.get(&name).cloned().ok_or(Error::MissingTensor { name })
        };
        let blocks = (0..layout.blocks.len()).map(take).collect::<Result<_>>()?;
        Self::new(layout, blocks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Block;

    fn layout() -> Layout {
        Layout { blocks: vec![Block { rows: 3, cols: 5 }, Block { rows: 10, cols: 4 }] }
    }

    #[test]
    fn a_step_against_the_gradient_of_a_square_halves_it() {
        let w = random(3).trainable().unwrap();
        let loss = w.blocks()[1].sqr().unwrap().sum_all().unwrap();
        let gradient = w.gradient(&loss).unwrap();
        let moved = w.moved(&gradient, -0.25).unwrap().to_vec().unwrap();
        let old = w.to_vec().unwrap();
        // The first block is not in the loss; w − ¼ · 2w = w / 2.
        let wanted = old.iter().enumerate().map(|(i, w)| if i < 15 { *w } else { 0.5 * w });
        assert!(wanted.zip(&moved).all(|(a, b)| (a - b).abs() < 1e-7));
        let other = Layout { blocks: vec![Block { rows: 1, cols: 1 }] };
        let other = Params::from_vec(&other, &[0.0], &Device::Cpu).unwrap();
        let message = w.moved(&other, 1.0).unwrap_err().to_string();
        assert_eq!(message, "direction: expected blocks (3, 5) (10, 4), found (1, 1)");
    }

    fn random(seed: u64) -> Params {
        Params::uniform(&layout(), &[0.5, 2.0], &mut Rng::new(seed), &Device::Cpu).unwrap()
    }

    #[test]
    fn uniform_start_fills_its_bounds() {
        let values = random(0).to_vec().unwrap();
        let largest = |part: &[f64]| part.iter().fold(0.0, |a: f64, b| a.max(b.abs()));
        assert!(largest(&values[..15]) <= 0.5 && largest(&values[..15]) > 0.35);
        assert!(largest(&values[15..]) <= 2.0 && largest(&values[15..]) > 1.0);
    }

    #[test]
    fn the_vector_runs_block_by_block_and_row_by_row() {
        let block = |start: f32, rows: usize, cols: usize| {
            let n = (rows * cols) as f32;
            Tensor::arange(start, start + n, &Device::Cpu).unwrap().reshape((rows, cols)).unwrap()
        };
        let layout =
            Layout { blocks: vec![Block { rows: 2, cols: 3 }, Block { rows: 1, cols: 2 }] };
        let params = Params::new(layout, vec![block(0.0, 2, 3), block(6.0, 1, 2)]).unwrap();
        let values = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
        assert_eq!(params.to_vec().unwrap(), values);
        let back = Params::from_vec(params.layout(), &values, &Device::Cpu).unwrap();
        assert_eq!(back.to_vec().unwrap(), values);
        assert!(Params::from_vec(params.layout(), &values[1..], &Device::Cpu).is_err());
        // Row 1 of block 0: the incoming weights of unit 1 of layer 1.
        assert_eq!(params.blocks()[0].to_vec2::<f32>().unwrap()[1], [3.0, 4.0, 5.0]);
    }

    #[test]
    fn bytes_round_trip() {
        let params = random(1);
        let back = Params::from_bytes(layout(), &params.to_bytes().unwrap(), &Device::Cpu).unwrap();
        assert_eq!(params.to_vec().unwrap(), back.to_vec().unwrap());
    }

    #[test]
    fn a_wrong_shape_is_refused_with_both_shapes() {
        let mut blocks = random(2).blocks().to_vec();
        blocks.swap(0, 1);
        let message = Params::new(layout(), blocks).unwrap_err().to_string();
        assert_eq!(message, "block: expected shape [3, 5], found [10, 4]");
    }

    #[test]
    fn a_trainable_copy_shares_nothing() {
        let params = random(3);
        let copy = params.trainable().unwrap();
        let before = params.to_vec().unwrap();
        let gradient = copy.blocks()[0].sqr().unwrap().sum_all().unwrap().backward().unwrap();
        assert!(gradient.get(&copy.blocks()[0]).is_some());
        let mut adam = crate::Adam::new(crate::AdamConfig::pytorch(0.1), &copy).unwrap();
        adam.step(&gradient).unwrap();
        assert_eq!(before, params.to_vec().unwrap());
        assert_ne!(before, copy.to_vec().unwrap());
    }
}
