//! A dense layer as a file holds it: its weight, plain or made of parts, and what is folded into it.

use anyhow::{Result, anyhow, bail};
use candle_core::{Device, Tensor, WithDType};

use super::layer::Layer;
use super::spelling::SpelledNorm;
use super::tensor::NamedTensor;

/// z = W x + b before its activation.
#[derive(Debug)]
pub(super) struct Dense<'a> {
    pub(super) layer: Layer,
    pub(super) weight: Weight<'a>,
    pub(super) bias: Option<Bias<'a>>,
    /// Whether the file stores the weight as (in, out).
    pub(super) is_turned: bool,
    /// x ↦ s ⊙ x + t before the layer.
    pub(super) of_inputs: Option<Affine>,
    /// z ↦ s ⊙ z + t behind it.
    pub(super) of_units: Option<Affine>,
}

/// A batch normalization with fixed statistics.
#[derive(Clone, Debug)]
pub(super) struct Affine {
    pub(super) scale: Vec<f64>,
    pub(super) shift: Vec<f64>,
    /// Its tensors in the file.
    pub(super) spelled: SpelledNorm,
}

/// (out, in).
#[derive(Debug)]
pub(super) enum Weight<'a> {
    Plain(NamedTensor<'a>),
    /// A pruning mask and what it is multiplied with.
    Masked {
        original: NamedTensor<'a>,
        mask: NamedTensor<'a>,
    },
    /// Row i is gᵢ vᵢ/‖vᵢ‖, or all is g v/‖v‖.
    Normalized {
        gain: NamedTensor<'a>,
        direction: NamedTensor<'a>,
    },
}

/// (out,).
#[derive(Debug)]
pub(super) enum Bias<'a> {
    Plain(NamedTensor<'a>),
    Masked { original: NamedTensor<'a>, mask: NamedTensor<'a> },
}

impl<'a> Weight<'a> {
    /// The tensor that has its shape.
    pub(super) fn tensor(&self) -> &NamedTensor<'a> {
        match self {
            Self::Plain(tensor)
            | Self::Masked { original: tensor, .. }
            | Self::Normalized { direction: tensor, .. } => tensor,
        }
    }

    pub(super) fn transposed(self) -> Self {
        match self {
            Self::Plain(tensor) => Self::Plain(tensor.transposed()),
            Self::Masked { original, mask } => {
                Self::Masked { original: original.transposed(), mask: mask.transposed() }
            }
            Self::Normalized { gain, direction } => {
                Self::Normalized { gain, direction: direction.transposed() }
            }
        }
    }

    /// Rows and columns; an error where it is no matrix, or where its parts do not fit.
    pub(super) fn check(&self) -> Result<(usize, usize)> {
        let (rows, cols) = matrix(self.tensor())?;
        match self {
            Self::Plain(_) => {}
            Self::Masked { original, mask } => same_shape(original, mask)?,
            Self::Normalized { gain, .. } => {
                let is_a_row_each = gain.n_numbers() == rows && gain.shape.first() == Some(&rows);
                if !is_a_row_each && gain.n_numbers() != 1 {
                    bail!(
                        "tensor `{}` has shape {:?}, wanted one number for each of the {rows} outputs, as weight \
                         normalization with dim=0 keeps",
                        gain.name,
                        gain.shape
                    );
                }
            }
        }
        Ok((rows, cols))
    }

    /// What every row is multiplied with.
    fn factors(&self) -> Result<Vec<f64>> {
        let Self::Normalized { gain, direction } = self else { return Ok(Vec::new()) };
        let [rows, cols] = direction.shape[..] else { return Ok(Vec::new()) };
        let gains = gain.vector()?;
        let mut row = vec![0.0; cols];
        let mut squares = Vec::with_capacity(rows);
        for i in 0..rows {
            direction.row(i, &mut row)?;
            squares.push(row.iter().map(|v| v * v).sum::<f64>());
        }
        if gains.len() == 1 && rows > 1 {
            squares = vec![squares.iter().sum(); rows];
        }
        let factor = |(i, square): (usize, f64)| {
            let gain = gains.get(i).or(gains.first()).copied().unwrap_or(0.0);
            match square.sqrt() {
                norm if norm > 0.0 && norm.is_finite() => Ok(gain / norm),
                norm => Err(anyhow!(
                    "tensor `{}`, row {i}: its norm is {norm}, which weight normalization divides by",
                    direction.name
                )),
            }
        };
        squares.into_iter().enumerate().map(factor).collect()
    }

    fn row(&self, i: usize, factors: &[f64], to: &mut [f64], mask_row: &mut [f64]) -> Result<()> {
        self.tensor().row(i, to)?;
        match self {
            Self::Plain(_) => {}
            Self::Masked { mask, .. } => {
                mask.row(i, mask_row)?;
                to.iter_mut().zip(mask_row).for_each(|(w, mask)| *w *= *mask);
            }
            Self::Normalized { .. } => {
                let factor = factors.get(i).copied().unwrap_or(0.0);
                to.iter_mut().for_each(|w| *w *= factor);
            }
        }
        Ok(())
    }
}

impl<'a> Bias<'a> {
    pub(super) fn tensor(&self) -> &NamedTensor<'a> {
        match self {
            Self::Plain(tensor) | Self::Masked { original: tensor, .. } => tensor,
        }
    }

    fn vector(&self) -> Result<Vec<f64>> {
        match self {
            Self::Plain(tensor) => tensor.vector(),
            Self::Masked { original, mask } => {
                same_shape(original, mask)?;
                let (mut values, mask) = (original.vector()?, mask.vector()?);
                values.iter_mut().zip(mask).for_each(|(b, mask)| *b *= mask);
                Ok(values)
            }
        }
    }
}

impl Dense<'_> {
    /// (out, in + 1) with biases, zeros where the layer has none; (out, in) without.
    pub(super) fn block<T: WithDType>(&self, has_bias: bool) -> Result<Tensor> {
        let Layer { n_units, n_inputs, .. } = self.layer;
        let n_columns = n_inputs + usize::from(has_bias);
        let bias = self.bias.as_ref().map(Bias::vector).transpose()?;
        let factors = self.weight.factors()?;
        let mut block: Vec<T> = Vec::new();
        block.try_reserve_exact(n_units * n_columns)?;
        let (mut row, mut mask) = (vec![0.0; n_inputs], vec![0.0; n_inputs]);
        for i in 0..n_units {
            self.weight.row(i, &factors, &mut row, &mut mask)?;
            let mut b = bias.as_ref().and_then(|bias| bias.get(i)).copied().unwrap_or(0.0);
            if let Some(Affine { scale, shift, .. }) = &self.of_inputs {
                b += row.iter().zip(shift).map(|(w, t)| w * t).sum::<f64>();
                row.iter_mut().zip(scale).for_each(|(w, s)| *w *= s);
            }
            if let Some(Affine { scale, shift, .. }) = &self.of_units {
                row.iter_mut().for_each(|w| *w *= scale[i]);
                b = b * scale[i] + shift[i];
            }
            block.extend(row.iter().map(|w| T::from_f64(*w)));
            if has_bias {
                block.push(T::from_f64(b));
            }
        }
        Ok(Tensor::from_vec(block, (n_units, n_columns), &Device::Cpu)?)
    }

    /// Whether two layers hold the same numbers.
    pub(super) fn equals(&self, other: &Self) -> bool {
        let biases = match (&self.bias, &other.bias) {
            (Some(a), Some(b)) => a.tensor().equals(b.tensor()),
            (None, None) => true,
            _ => false,
        };
        biases && self.weight.tensor().equals(other.weight.tensor())
    }
}

fn same_shape(original: &NamedTensor, mask: &NamedTensor) -> Result<()> {
    match original.shape == mask.shape {
        true => Ok(()),
        false => bail!(
            "tensor `{}` has shape {:?}, wanted {:?}, that of `{}`",
            mask.name,
            mask.shape,
            original.shape,
            original.name
        ),
    }
}

/// Rows and columns of a weight; refuses what belongs to another kind of layer.
pub(super) fn matrix(tensor: &NamedTensor) -> Result<(usize, usize)> {
    tensor.check_floats()?;
    match tensor.shape[..] {
        [rows, cols] if rows > 0 && cols > 0 => Ok((rows, cols)),
        ref shape => {
            let what = match shape.len() {
                0 | 1 => "a scale or a normalisation",
                2 => "an empty matrix",
                3..=5 => "a convolution",
                _ => "no matrix",
            };
            bail!(
                "tensor `{}` has shape {shape:?}: {what}; only dense layers (out, in) are read",
                tensor.name
            )
        }
    }
}
