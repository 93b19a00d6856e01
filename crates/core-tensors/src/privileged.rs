//! Privileged information: features x* that the teacher sees and the student does not, known for some examples.

use candle_core::Tensor;

use crate::data::{Dataset, index_set, logits_in_chunks};
use crate::error::{Error, Expected, Result};

/// Examples (x, y), and for those of the index set 𝓘 also privileged features x*.
///
/// The teacher f is trained on (x*, y) and answers sᵢ = f(xᵢ*) for i ∈ 𝓘; the student g sees x alone. With x* = x and
/// 𝓘 everything this is Hinton's distillation, with 𝓘 empty plain learning.
///
/// Source: Vapnik & Izmailov (2015); Lopez-Paz, Bottou, Schölkopf & Vapnik (2016), section 4.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use core_tensors::{Dataset, Privileged};
/// # fn main() -> core_tensors::Result<()> {
/// // Three examples with one feature; x* is known for the last two.
/// let data = Dataset::classification(vec![0.1, -0.2, 0.3], vec![1, 0, 1], 2, &Device::Cpu)?;
/// let x_star = Tensor::new(&[[-2f32, 2.0], [3.0, -3.0]], &Device::Cpu)?;
/// let examples = Privileged::new(data, x_star, vec![1, 2])?;
/// // A teacher trained on `examples.teachers_view()?` answers for them; here it passes x* on.
/// let taught = examples.with_teacher(100, Tensor::contiguous)?;
/// assert_eq!(taught.soft().map(|soft| soft.mask().to_vec1::<f32>()).transpose()?, Some(vec![0.0, 1.0, 1.0]));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Privileged {
    data: Dataset,
    x_star: Tensor,
    known: Vec<usize>,
}

impl Privileged {
    /// Examples with x* (|𝓘|, …), row j of example `known`\[j\]; refuses an example that is not there, or there twice.
    pub fn new(data: Dataset, x_star: Tensor, known: Vec<usize>) -> Result<Self> {
        Expected::Exactly(known.len()).check("rows of privileged features", x_star.dim(0)?)?;
        index_set("example with privileged features", &known, data.n_examples())?;
        Ok(Self { data, x_star, known })
    }

    /// Examples that all have x*, (m, …) in their order.
    pub fn everywhere(data: Dataset, x_star: Tensor) -> Result<Self> {
        let known = (0..data.n_examples()).collect();
        Self::new(data, x_star, known)
    }

    /// x and y of all examples.
    pub fn data(&self) -> &Dataset {
        &self.data
    }

    /// x* of the examples of 𝓘, in the order of [`Privileged::known`].
    pub fn x_star(&self) -> &Tensor {
        &self.x_star
    }

    /// 𝓘.
    pub fn known(&self) -> &[usize] {
        &self.known
    }

    /// (x*, y) of the examples of 𝓘: what the teacher is trained on.
    pub fn teachers_view(&self) -> Result<Dataset> {
        let y = self.data.rows(&self.known)?.y().clone();
        Dataset::new(self.x_star.clone(), y)
    }

    /// (x, y) with the teacher's logits for 𝓘, asked `chunk` at a time: what the student is trained on.
    ///
    /// `logits` maps privileged features (b, …) to logits (b, k), and fails with any error that ours converts to. Where 𝓘 is
    /// empty nobody is asked.
    pub fn with_teacher<E: From<Error>>(
        &self,
        chunk: usize,
        logits: impl FnMut(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Dataset, E> {
        if self.known.is_empty() {
            return Ok(self.data.without_teacher());
        }
        let logits = logits_in_chunks(&self.x_star, chunk, logits)?;
        Ok(self.data.clone().with_logits(&logits, &self.known)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn data() -> Dataset {
        let x = (0..8).map(|i| i as f32).collect();
        Dataset::classification(x, vec![0, 1, 1, 0], 2, &Device::Cpu).unwrap()
    }

    fn x_star(rows: usize) -> Tensor {
        Tensor::arange(0f32, 3.0 * rows as f32, &Device::Cpu).unwrap().reshape((rows, 3)).unwrap()
    }

    #[test]
    fn answers_reach_the_examples_that_they_were_given_for() {
        let examples = Privileged::new(data(), x_star(3), vec![3, 0, 1]).unwrap();
        for chunk in [1, 2, 10] {
            // The teacher answers with the first two of its three features.
            let taught = examples.with_teacher(chunk, |x| x.narrow(1, 0, 2)).unwrap();
            let soft = taught.soft().unwrap();
            assert_eq!(soft.mask().to_vec1::<f32>().unwrap(), [1.0, 1.0, 0.0, 1.0]);
            let rows = soft.logits().to_vec2::<f32>().unwrap();
            assert_eq!(rows, [[3.0, 4.0], [6.0, 7.0], [0.0, 0.0], [0.0, 1.0]]);
            assert_eq!(taught.x().to_vec2::<f32>().unwrap(), data().x().to_vec2::<f32>().unwrap());
        }
    }

    #[test]
    fn the_teacher_is_trained_on_its_own_features_with_the_same_targets() {
        let examples = Privileged::new(data(), x_star(2), vec![2, 0]).unwrap();
        let view = examples.teachers_view().unwrap();
        assert_eq!(view.x().dims(), [2, 3]);
        match view.y() {
            crate::Targets::Classes { labels, .. } => {
                assert_eq!(labels.to_vec1::<u32>().unwrap(), [1, 0]);
            }
            crate::Targets::Values(_) => unreachable!("classes went in"),
        }
    }

    #[test]
    fn without_privileged_examples_there_is_no_teacher() {
        let examples = Privileged::new(data(), x_star(0), Vec::new()).unwrap();
        let taught =
            examples.with_teacher::<Error>(5, |_| unreachable!("nobody is asked")).unwrap();
        assert!(taught.soft().is_none());
        // Answers that the data had from elsewhere are not this teacher's.
        let answered = data().with_teacher(4, Tensor::contiguous).unwrap();
        let examples = Privileged::new(answered, x_star(0), Vec::new()).unwrap();
        let taught =
            examples.with_teacher::<Error>(5, |_| unreachable!("nobody is asked")).unwrap();
        assert!(taught.soft().is_none());
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let error =
            |known: Vec<usize>| Privileged::new(data(), x_star(2), known).unwrap_err().to_string();
        assert_eq!(error(vec![0]), "rows of privileged features: expected 1, found 2");
        assert_eq!(
            error(vec![0, 4]),
            "example with privileged features 4 is out of range: there are 4, counted from 0"
        );
        assert_eq!(error(vec![1, 1]), "example with privileged features 1 is given twice");
        let examples = Privileged::everywhere(data(), x_star(4)).unwrap();
        assert!(examples.with_teacher(0, Tensor::contiguous).is_err());
        assert!(examples.with_teacher(2, |x| x.narrow(0, 0, 1)).is_err(), "an answer is missing");
    }
}
