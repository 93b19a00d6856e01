//! The numbers of an example in the shape of a network's input.

use anyhow::{Result, bail};
use candle_core::Tensor;

/// How an example of one shape becomes one of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The same numbers in the same order.
    Same,
    /// (height, width, channels) as (channels, height, width).
    ChannelsFirst,
    /// (channels, height, width) as (height, width, channels).
    ChannelsLast,
}

/// Finds the reading of examples of shape `found` for an input of shape `wanted`, both without the batch, and says what was
/// assumed; `is_last`: whether the command line says that channels come last.
pub(super) fn reading(
    found: &[usize],
    wanted: &[usize],
    is_last: bool,
) -> Result<(Reading, Option<String>)> {
    use Reading::{ChannelsFirst, ChannelsLast, Same};
    let (n, n_wanted): (usize, usize) = (found.iter().product(), wanted.iter().product());
    if n != n_wanted {
        return Err(other_count(found, wanted));
    }
    let turned_to = |from: &[usize]| match *from {
        // Channels are fewer than pixels along a side.
        [h, w, c] if c <= h && c <= w => Some([c, h, w]),
        _ => None,
    };
    let is_flat = found.len() == 1;
    if is_last {
        return match turned_to(found) {
            _ if found == wanted => Ok((Same, None)),
            Some(turned) if turned[..] == *wanted => Ok((ChannelsFirst, None)),
            None if is_flat && wanted.len() == 3 => Ok((ChannelsFirst, None)),
            Some(_) | None => bail!(
                "--channels-last: expected examples of shape (height, width, channels) for a network that takes {wanted:?}, \
                 found {found:?}"
            ),
        };
    }
    let long = |shape: &[usize]| -> Vec<usize> {
        shape.iter().copied().filter(|&axis| axis != 1).collect()
    };
    if long(found) == long(wanted) {
        return Ok((Same, None));
    }
    let is_turned = |from: &[usize], to: &[usize]| turned_to(from).is_some_and(|t| t[..] == *to);
    if is_turned(found, wanted) {
        let told = format!(
            "examples of shape {found:?} are read as height, width, channels, as the network takes {wanted:?}"
        );
        return Ok((ChannelsFirst, Some(told)));
    }
    if is_turned(wanted, found) {
        let told = format!(
            "examples of shape {found:?} are read as channels, height, width, as the network takes {wanted:?}"
        );
        return Ok((ChannelsLast, Some(told)));
    }
    match (is_flat, wanted.len()) {
        (_, 1) => {
            let told =
                format!("examples of shape {found:?} are flattened in this order to {n} features");
            Ok((Same, (long(found).len() > 2).then_some(told)))
        }
        (true, _) => {
            let told = format!(
                "the {n} numbers of an example are read in the order of {wanted:?}, which the network takes; --channels-last \
                 reads height, width, channels"
            );
            Ok((Same, Some(told)))
        }
        (false, _) => bail!(
            "expected examples of shape {wanted:?}, as the network takes, found {found:?}: as many numbers in another order; \
             transpose `x` (--channels-last reads height, width, channels)"
        ),
    }
}

/// Another count of numbers than the network takes.
fn other_count(found: &[usize], wanted: &[usize]) -> anyhow::Error {
    let (n, n_wanted): (usize, usize) = (found.iter().product(), wanted.iter().product());
    let shape = |shape: &[usize]| match shape {
        [_] => String::new(),
        _ => format!(" of shape {shape:?}"),
    };
    anyhow::anyhow!(
        "expected {n_wanted} features an example{}, as the network takes, found {n}{}",
        shape(wanted),
        shape(found)
    )
}

impl Reading {
    /// Examples (m, …) in this reading, (m, wanted).
    pub(super) fn apply(self, x: &Tensor, wanted: &[usize]) -> Result<Tensor> {
        let m = x.dim(0)?;
        let shape = [&[m], wanted].concat();
        let x = match (self, wanted) {
            (Self::ChannelsFirst, &[c, h, w]) => {
                x.reshape((m, h, w, c))?.permute((0, 3, 1, 2))?.contiguous()?
            }
            (Self::ChannelsLast, &[h, w, c]) => {
                x.reshape((m, c, h, w))?.permute((0, 2, 3, 1))?.contiguous()?
            }
            (Self::Same | Self::ChannelsFirst | Self::ChannelsLast, _) => x.clone(),
        };
        Ok(x.reshape(shape)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_read_in_the_one_way_they_can_be() {
        use Reading::{ChannelsFirst, ChannelsLast, Same};
        for (found, wanted, is_last, reading, is_said) in [
            (&[4][..], &[4][..], false, Same, false),
            (&[28, 28], &[784], false, Same, false),
            (&[1, 28, 28], &[784], false, Same, false),
            (&[3, 4, 4], &[48], false, Same, true),
            (&[784], &[1, 28, 28], false, Same, true),
            (&[28, 28], &[1, 28, 28], false, Same, false),
            (&[28, 28, 1], &[1, 28, 28], false, Same, false),
            (&[5, 4, 3], &[3, 5, 4], false, ChannelsFirst, true),
            (&[3, 5, 4], &[5, 4, 3], false, ChannelsLast, true),
            (&[3, 3, 3], &[3, 3, 3], false, Same, false),
            (&[60], &[3, 5, 4], false, Same, true),
            (&[60], &[3, 5, 4], true, ChannelsFirst, false),
            (&[5, 4, 3], &[3, 5, 4], true, ChannelsFirst, false),
            (&[4, 1], &[4], false, Same, false),
        ] {
            let (got, told) = super::reading(found, wanted, is_last).unwrap();
            assert_eq!((got, told.is_some()), (reading, is_said), "{found:?} {wanted:?}");
        }
        for (found, wanted, is_last, part) in [
            (
                &[5][..],
                &[4][..],
                false,
                "expected 4 features an example, as the network takes, found 5",
            ),
            (&[14, 56], &[1, 28, 28], false, "another order"),
            (&[8, 3, 8], &[8, 8, 3], false, "another order"),
            (&[3, 5, 4], &[3, 4, 5], true, "--channels-last: expected"),
        ] {
            let told = reading(found, wanted, is_last).unwrap_err().to_string();
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn turning_channels_there_and_back_changes_nothing() {
        let x = Tensor::arange(0f32, 120.0, &candle_core::Device::Cpu).unwrap();
        let x = x.reshape((2, 3, 5, 4)).unwrap();
        let last = Reading::ChannelsLast.apply(&x, &[5, 4, 3]).unwrap();
        assert_eq!(last.dims(), [2, 5, 4, 3]);
        let number = |t: &Tensor, at: [usize; 4]| -> f32 {
            let [i, j, k, l] = at;
            t.get(i).unwrap().get(j).unwrap().get(k).unwrap().get(l).unwrap().to_scalar().unwrap()
        };
        assert_eq!(number(&last, [1, 4, 2, 0]), number(&x, [1, 0, 4, 2]));
        let back = Reading::ChannelsFirst.apply(&last, &[3, 5, 4]).unwrap();
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(&back), values(&x));
    }
}
