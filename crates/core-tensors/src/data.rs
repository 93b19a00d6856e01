//! Examples in memory: features, hard targets and, where there is a teacher, its logits.

use candle_core::{DType, Device, IndexOp, Tensor};

use crate::error::{Error, Expected, Result};

/// Hard targets y of a data set.
#[derive(Clone, Debug)]
pub enum Targets {
    /// Classification: the class of each example, shape (m,), u32, each below `n_classes`.
    Classes {
        /// The classes.
        labels: Tensor,
        /// k ≥ 1: number of classes.
        n_classes: usize,
    },
    /// Regression: shape (m, k).
    Values(Tensor),
}

/// Logits of a teacher, as data; they never carry a gradient. See [`Dataset::with_teacher`].
#[derive(Clone, Debug)]
pub struct SoftTargets {
    logits: Tensor,
    mask: Tensor,
}

/// Examples with their targets; a batch is a `Dataset` with fewer rows.
///
/// ```
/// use core_tensors::Dataset;
/// use core_tensors::candle_core::Device;
/// # fn main() -> core_tensors::Result<()> {
/// // Three examples with two features, row by row, and their classes.
/// let x = vec![0.0, 0.1, 1.0, 1.1, 2.0, 2.1];
/// let data = Dataset::classification(x, vec![0, 1, 2], 3, &Device::Cpu)?;
/// let batch = data.rows(&[2, 0])?;
/// assert_eq!(batch.x().to_vec2::<f32>()?, [[2.0, 2.1], [0.0, 0.1]]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Dataset {
    x: Tensor,
    y: Targets,
    soft: Option<SoftTargets>,
}

impl SoftTargets {
    /// s: the teacher's logits before the softmax (classification) or its prediction (regression), (m, k).
    pub fn logits(&self) -> &Tensor {
        &self.logits
    }

    /// \[i ∈ 𝓘\]: 1 where the teacher's logits are known, else 0; shape (m,), f32.
    pub fn mask(&self) -> &Tensor {
        &self.mask
    }
}

impl Targets {
    fn len(&self) -> Result<usize> {
        Ok(match self {
            Self::Classes { labels, .. } => labels.dims1()?,
            Self::Values(values) => values.dims2()?.0,
        })
    }
}

impl Dataset {
    /// Examples x, first dimension m, with one target each; refuses a class that is not below `n_classes`.
    pub fn new(x: Tensor, y: Targets) -> Result<Self> {
        let n_examples = x.dim(0)?;
        Expected::Exactly(n_examples).check("targets", y.len()?)?;
        if let Targets::Classes { n_classes: 0, .. } = &y {
            let name = "number of classes";
            return Err(Error::OutOfRange { name, value: 0.0, range: "[1, ∞)" });
        }
        if let Targets::Classes { labels, n_classes } = &y
            && n_examples > 0
        {
            let largest = labels.max(0)?.to_scalar::<u32>()?;
            if largest as usize >= *n_classes {
                return Err(Error::OutOfRange {
                    name: "class",
                    value: f64::from(largest),
                    range: "0 .. the number of classes",
                });
            }
        }
        Ok(Self { x, y, soft: None })
    }

    /// Classification data from plain vectors: `x` row by row, (m, n).
    pub fn classification(
        x: Vec<f32>,
        labels: Vec<u32>,
        n_classes: usize,
        device: &Device,
    ) -> Result<Self> {
        let n_examples = labels.len();
        let n_features = x.len().checked_div(n_examples).unwrap_or(0);
        if n_examples * n_features != x.len() {
            let expected = Expected::MultipleOf(n_examples);
            return Err(Error::Count { what: "numbers of the features", expected, found: x.len() });
        }
        let x = Tensor::from_vec(x, (n_examples, n_features), device)?;
        let labels = Tensor::from_vec(labels, n_examples, device)?;
        Self::new(x, Targets::Classes { labels, n_classes })
    }

    /// X: features, first dimension m; bytes are grayscale intensities ([`crate::kernels::features`]).
    pub fn x(&self) -> &Tensor {
        &self.x
    }

    /// y: hard targets.
    pub fn y(&self) -> &Targets {
        &self.y
    }

    /// s and 𝓘, where there is a teacher.
    pub fn soft(&self) -> Option<&SoftTargets> {
        self.soft.as_ref()
    }

    /// The same examples as if there were no teacher.
    pub fn without_teacher(&self) -> Self {
        Self { soft: None, ..self.clone() }
    }

    /// m: number of examples.
    pub fn n_examples(&self) -> usize {
        self.x.dims().first().copied().unwrap_or(0)
    }

    /// The examples with these indices, in this order.
    pub fn rows(&self, indices: &[usize]) -> Result<Self> {
        let n_examples = self.n_examples();
        if let Some(&largest) = indices.iter().max()
            && largest >= n_examples
        {
            return Err(Error::Index { what: "example", index: largest, n: n_examples });
        }
        let indices: Vec<u32> = indices.iter().map(|&i| i as u32).collect();
        let n = indices.len();
        let indices = Tensor::from_vec(indices, n, self.x.device())?;
        let selected = |tensor: &Tensor| tensor.index_select(&indices, 0);
        let y = match &self.y {
            Targets::Classes { labels, n_classes } => {
                Targets::Classes { labels: selected(labels)?, n_classes: *n_classes }
            }
            Targets::Values(values) => Targets::Values(selected(values)?),
        };
        let soft = match &self.soft {
            Some(soft) => {
                Some(SoftTargets { logits: selected(&soft.logits)?, mask: selected(&soft.mask)? })
            }
            None => None,
        };
        Ok(Self { x: selected(&self.x)?, y, soft })
    }

    /// Asks a teacher about every example, `chunk` at a time, and keeps its logits; 𝓘 becomes everything.
    ///
    /// `logits` maps features (b, …) to logits (b, k): f(x) for Hinton, f(φ(x)) across domains. It fails with any error
    /// that ours converts to, candle's among them. Where the teacher sees features x* of its own, see
    /// [`Privileged`](crate::Privileged).
    ///
    /// ```
    /// use core_tensors::Dataset;
    /// use core_tensors::candle_core::Device;
    /// # fn main() -> core_tensors::Result<()> {
    /// let data = Dataset::classification(vec![0.5, -1.0, 2.0], vec![1, 0, 1], 2, &Device::Cpu)?;
    /// let weights = core_tensors::candle_core::Tensor::new(&[[-2f32, 2.0]], &Device::Cpu)?;
    /// let taught = data.with_teacher(2, |x| x.matmul(&weights))?; // (3, 1) (1, 2)
    /// let soft = taught.soft().ok_or(core_tensors::Error::MissingTeacher)?;
    /// assert_eq!(soft.logits().to_vec2::<f32>()?, [[-1.0, 1.0], [2.0, -2.0], [-4.0, 4.0]]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_teacher<E: From<Error>>(
        self,
        chunk: usize,
        logits: impl FnMut(&Tensor) -> std::result::Result<Tensor, E>,
    ) -> std::result::Result<Self, E> {
        let n_examples = self.n_examples();
        Expected::AtLeast(1).check("examples of a teacher", n_examples)?;
        let logits = logits_in_chunks(&self.x, chunk, logits)?;
        let mask = Tensor::ones(n_examples, DType::F32, self.x.device()).map_err(Error::from)?;
        Ok(Self { soft: Some(SoftTargets { logits, mask }), ..self })
    }

    /// Takes logits that are there already, (|𝓘|, k), row j of example `mask`\[j\]; 𝓘 becomes those examples.
    ///
    /// Where 𝓘 is empty the data have no teacher. Refuses an example that is not there, or there twice.
    ///
    /// ```
    /// use core_tensors::Dataset;
    /// use core_tensors::candle_core::{Device, Tensor};
    /// # fn main() -> core_tensors::Result<()> {
    /// let data = Dataset::classification(vec![0.5, -1.0, 2.0], vec![1, 0, 1], 2, &Device::Cpu)?;
    /// // A teacher's logits for the last example alone, read from a file say.
    /// let taught = data.with_logits(&Tensor::new(&[[-3f32, 3.0]], &Device::Cpu)?, &[2])?;
    /// let soft = taught.soft().ok_or(core_tensors::Error::MissingTeacher)?;
    /// assert_eq!(soft.mask().to_vec1::<f32>()?, [0.0, 0.0, 1.0]);
    /// # Ok(())
    /// # }
    /// ```
    pub fn with_logits(self, logits: &Tensor, mask: &[usize]) -> Result<Self> {
        let (n_examples, device) = (self.n_examples(), self.x.device());
        let (n_known, k) = logits.dims2()?;
        Expected::Exactly(mask.len()).check("rows of the teacher's logits", n_known)?;
        let flags = index_set("example", mask, n_examples)?;
        if mask.is_empty() {
            return Ok(Self { soft: None, ..self });
        }
        let indices: Vec<u32> = mask.iter().map(|&i| i as u32).collect();
        let indices = Tensor::from_vec(indices, n_known, device)?;
        let none = Tensor::zeros((n_examples, k), logits.dtype(), device)?;
        let logits = none.index_add(&indices, &logits.detach().contiguous()?, 0)?; // (m, k)
        let mask = Tensor::from_vec(flags, n_examples, device)?;
        Ok(Self { soft: Some(SoftTargets { logits, mask }), ..self })
    }

    /// Restricts 𝓘 to these examples: elsewhere the teacher's logits count as unknown.
    ///
    /// Refuses an example whose logits are not known to begin with, one that is not there, and one that is named twice.
    pub fn known_for(self, indices: &[usize]) -> Result<Self> {
        let n_examples = self.n_examples();
        let Some(SoftTargets { logits, mask }) = self.soft else {
            return Err(Error::MissingTeacher);
        };
        let flags = index_set("example", indices, n_examples)?;
        let before = mask.to_vec1::<f32>()?;
        if let Some(&index) = indices.iter().find(|&&i| before[i] == 0.0) {
            return Err(Error::MissingLogits { index });
        }
        let mask = Tensor::from_vec(flags, n_examples, self.x.device())?;
        Ok(Self { soft: Some(SoftTargets { logits, mask }), ..self })
    }
}

/// Logits of a teacher for features with at least one row, asked `chunk` rows at a time; one row each, without gradients.
pub(crate) fn logits_in_chunks<E: From<Error>>(
    x: &Tensor,
    chunk: usize,
    mut logits: impl FnMut(&Tensor) -> std::result::Result<Tensor, E>,
) -> std::result::Result<Tensor, E> {
    if chunk == 0 {
        return Err(Error::OutOfRange { name: "chunk", value: 0.0, range: "[1, ∞)" }.into());
    }
    let n = x.dim(0).map_err(Error::from)?;
    let mut parts = Vec::new();
    for start in (0..n).step_by(chunk) {
        let part = start..n.min(start + chunk);
        let of_part = logits(&x.i(part.clone()).map_err(Error::from)?)?.detach();
        let found = of_part.dims2().map_err(Error::from)?.0;
        Expected::Exactly(part.len()).check("rows of the teacher's logits", found)?;
        parts.push(of_part);
    }
    // One part is not copied, and rows can be taken of contiguous tensors alone.
    Ok(Tensor::cat(&parts, 0).and_then(|all| all.contiguous()).map_err(Error::from)?)
}

/// \[i ∈ 𝓘\] of every example; refuses one that is not there, or there twice, which `what` names.
pub(crate) fn index_set(what: &'static str, mask: &[usize], n_examples: usize) -> Result<Vec<f32>> {
    let mut flags = vec![0.0; n_examples];
    for &index in mask {
        match flags.get_mut(index) {
            Some(flag) if *flag == 0.0 => *flag = 1.0,
            Some(_) => return Err(Error::Duplicate { what, index }),
            None => return Err(Error::Index { what, index, n: n_examples }),
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn examples() -> Dataset {
        let x = (0..6).map(|i| i as f32).collect();
        Dataset::classification(x, vec![0, 1, 2], 3, &Device::Cpu).unwrap()
    }

    #[test]
    fn rows_keep_features_targets_and_answers_together() {
        let data = examples().with_teacher(2, |x| x.affine(10.0, 0.0)).unwrap();
        let batch = data.known_for(&[2]).unwrap().rows(&[2, 0]).unwrap();
        assert_eq!(batch.x().to_vec2::<f32>().unwrap(), [[4.0, 5.0], [0.0, 1.0]]);
        let soft = batch.soft().unwrap();
        assert_eq!(soft.logits().to_vec2::<f32>().unwrap(), [[40.0, 50.0], [0.0, 10.0]]);
        assert_eq!(soft.mask().to_vec1::<f32>().unwrap(), [1.0, 0.0]);
        match batch.y() {
            Targets::Classes { labels, .. } => {
                assert_eq!(labels.to_vec1::<u32>().unwrap(), [2, 0]);
            }
            Targets::Values(_) => unreachable!("classes went in"),
        }
    }

    #[test]
    fn bad_data_are_refused_with_numbers() {
        let error = |result: Result<Dataset>| result.unwrap_err().to_string();
        let cpu = Device::Cpu;
        assert_eq!(
            error(Dataset::classification(vec![0.0; 4], vec![0, 7], 3, &cpu)),
            "class must lie in 0 .. the number of classes, got 7"
        );
        assert_eq!(
            error(Dataset::classification(vec![0.0; 5], vec![0, 1], 3, &cpu)),
            "numbers of the features: expected a multiple of 2, found 5"
        );
        assert_eq!(
            error(examples().rows(&[0, 3])),
            "example 3 is out of range: there are 3, counted from 0"
        );
        assert!(matches!(examples().known_for(&[0]), Err(Error::MissingTeacher)));
        assert_eq!(
            error(Dataset::classification(vec![], vec![], 0, &cpu)),
            "number of classes must lie in [1, ∞), got 0"
        );
        assert_eq!(
            error(examples().with_teacher(0, |x| Ok(x.clone()))),
            "chunk must lie in [1, ∞), got 0"
        );
        // One answer to the first two examples and two to the last would fall on the wrong ones.
        let shifted = |x: &Tensor| match x.dim(0)? {
            2 => Ok(x.narrow(0, 0, 1)?),
            _ => Ok(Tensor::cat(&[x, x], 0)?),
        };
        assert_eq!(
            error(examples().with_teacher(2, shifted)),
            "rows of the teacher's logits: expected 2, found 1"
        );
        let none = Dataset::classification(vec![], vec![], 3, &cpu).unwrap();
        assert_eq!(none.rows(&[]).unwrap().n_examples(), 0);
        assert_eq!(
            error(none.with_teacher(2, |x| Ok(x.clone()))),
            "examples of a teacher: expected at least 1, found 0"
        );
    }

    #[test]
    fn what_is_unknown_does_not_become_known() {
        let all = examples().with_teacher(3, Tensor::contiguous).unwrap();
        let mask = |data: &Dataset| data.soft().unwrap().mask().to_vec1::<f32>().unwrap();
        let some = all.clone().known_for(&[2, 0]).unwrap();
        assert_eq!(mask(&some), [1.0, 0.0, 1.0]);
        assert_eq!(mask(&some.clone().known_for(&[2]).unwrap()), [0.0, 0.0, 1.0]);
        let error = |data: &Dataset, indices: &[usize]| {
            data.clone().known_for(indices).unwrap_err().to_string()
        };
        let unknown = "the teacher's logits of example 1 are not known";
        assert_eq!(error(&some, &[0, 1]), unknown);
        let given =
            examples().with_logits(&Tensor::ones((1, 3), DType::F32, &Device::Cpu).unwrap(), &[0]);
        assert_eq!(error(&given.unwrap(), &[0, 1]), unknown);
        assert_eq!(error(&all, &[0, 0]), "example 0 is given twice");
        assert_eq!(error(&all, &[3]), "example 3 is out of range: there are 3, counted from 0");
    }

    #[test]
    fn a_teacher_that_is_a_variable_leaves_no_gradient_path() {
        let weights = candle_core::Var::from_vec(vec![1f32; 4], (2, 2), &Device::Cpu).unwrap();
        let data = examples().with_teacher(3, |x| x.matmul(&weights)).unwrap();
        let loss = data.soft().unwrap().logits().sum_all().unwrap();
        assert!(loss.backward().unwrap().get(&weights).is_none());
    }
}
