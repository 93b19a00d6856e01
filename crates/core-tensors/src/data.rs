//! Objects in memory: features, hard targets and, where there is a teacher, its answers.

use candle_core::{DType, Device, IndexOp, Tensor};

use crate::error::{Error, Result};

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

/// Answers of a teacher, as data; they never carry a gradient.
#[derive(Clone, Debug)]
pub struct SoftTargets {
    logits: Tensor,
    mask: Tensor,
}

/// Objects with their targets; a batch is a `Dataset` with fewer rows.
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

    /// \[i ∈ 𝓘\]: 1 where the teacher's answer is known, else 0; shape (m,), f32.
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
    /// Objects x, first dimension m, with one target each; refuses a class that is not below `n_classes`.
    pub fn new(x: Tensor, y: Targets) -> Result<Self> {
        let n_examples = x.dim(0)?;
        if y.len()? != n_examples {
            return Err(Error::mismatch("targets", n_examples, y.len()?));
        }
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
            return Err(Error::mismatch("features", n_examples * n_features, x.len()));
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
    pub fn without_answers(&self) -> Self {
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
            return Err(Error::mismatch("index of an object", format!("< {n_examples}"), largest));
        }
        let indices: Vec<u32> = indices.iter().map(|&i| i as u32).collect();
        let n = indices.len();
        let indices = Tensor::from_vec(indices, n, self.x.device())?;
        let pick = |tensor: &Tensor| tensor.index_select(&indices, 0);
        let y = match &self.y {
            Targets::Classes { labels, n_classes } => {
                Targets::Classes { labels: pick(labels)?, n_classes: *n_classes }
            }
            Targets::Values(values) => Targets::Values(pick(values)?),
        };
        let soft = match &self.soft {
            Some(soft) => {
                Some(SoftTargets { logits: pick(&soft.logits)?, mask: pick(&soft.mask)? })
            }
            None => None,
        };
        Ok(Self { x: pick(&self.x)?, y, soft })
    }

    /// Asks a teacher about every example, `chunk` at a time, and keeps its answers; 𝓘 becomes everything.
    ///
    /// `answers` maps features (b, …) to logits (b, k): f(x) for Hinton, f(φ(x)) across domains. Where the teacher sees
    /// features x* of its own, see [`Privileged`](crate::Privileged).
    pub fn with_teacher(
        self,
        chunk: usize,
        answers: impl FnMut(&Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Self> {
        let n_examples = self.n_examples();
        if n_examples == 0 {
            return Err(Error::mismatch("examples of a teacher", "at least 1", 0));
        }
        let logits = answers_in_chunks(&self.x, chunk, answers)?;
        let mask = Tensor::ones(n_examples, DType::F32, self.x.device())?;
        Ok(Self { soft: Some(SoftTargets { logits, mask }), ..self })
    }

    /// Takes answers that are there already, (|𝓘|, k), row j of example `mask`\[j\]; 𝓘 becomes those examples.
    ///
    /// Where 𝓘 is empty the data have no teacher. Refuses an example that is not there, or there twice.
    pub fn with_logits(self, logits: &Tensor, mask: &[usize]) -> Result<Self> {
        let (n_examples, device) = (self.n_examples(), self.x.device());
        let (n_answers, k) = logits.dims2()?;
        if n_answers != mask.len() {
            return Err(Error::mismatch("answers of the teacher", mask.len(), n_answers));
        }
        let flags = index_set("answers of one object", mask, n_examples)?;
        if mask.is_empty() {
            return Ok(Self { soft: None, ..self });
        }
        let indices: Vec<u32> = mask.iter().map(|&i| i as u32).collect();
        let indices = Tensor::from_vec(indices, n_answers, device)?;
        let none = Tensor::zeros((n_examples, k), logits.dtype(), device)?;
        let logits = none.index_add(&indices, &logits.detach().contiguous()?, 0)?; // (m, k)
        let mask = Tensor::from_vec(flags, n_examples, device)?;
        Ok(Self { soft: Some(SoftTargets { logits, mask }), ..self })
    }

    /// Restricts 𝓘 to these examples: elsewhere the teacher's answer counts as unknown.
    ///
    /// Refuses an example whose answer is not known to begin with, one that is not there, and one that is named twice.
    pub fn known_for(self, indices: &[usize]) -> Result<Self> {
        let n_examples = self.n_examples();
        let Some(SoftTargets { logits, mask }) = self.soft else {
            return Err(Error::mismatch("answers of a teacher", "some", "none"));
        };
        let flags = index_set("answers of one object", indices, n_examples)?;
        let before = mask.to_vec1::<f32>()?;
        if let Some(i) = indices.iter().find(|&&i| before[i] == 0.0) {
            let found = format!("none of object {i}");
            return Err(Error::mismatch("answers of a teacher", "those of every object", found));
        }
        let mask = Tensor::from_vec(flags, n_examples, self.x.device())?;
        Ok(Self { soft: Some(SoftTargets { logits, mask }), ..self })
    }
}

/// What a teacher answers to features with at least one row, asked `chunk` rows at a time; one row of logits each, without gradients.
pub(crate) fn answers_in_chunks(
    x: &Tensor,
    chunk: usize,
    mut answers: impl FnMut(&Tensor) -> candle_core::Result<Tensor>,
) -> Result<Tensor> {
    if chunk == 0 {
        return Err(Error::OutOfRange { name: "chunk", value: 0.0, range: "[1, ∞)" });
    }
    let n = x.dim(0)?;
    let mut parts = Vec::new();
    for start in (0..n).step_by(chunk) {
        let part = start..n.min(start + chunk);
        let logits = answers(&x.i(part.clone())?)?.detach();
        if logits.dims2()?.0 != part.len() {
            let found = logits.dims2()?.0;
            return Err(Error::mismatch("answers of the teacher", part.len(), found));
        }
        parts.push(logits);
    }
    // One part is not copied, and rows can be picked of contiguous tensors alone.
    Ok(Tensor::cat(&parts, 0)?.contiguous()?)
}

/// \[i ∈ 𝓘\] of every example; refuses one that is not there, or there twice, which `what` names.
pub(crate) fn index_set(what: &'static str, mask: &[usize], n_examples: usize) -> Result<Vec<f32>> {
    let mut flags = vec![0.0; n_examples];
    for &i in mask {
        match flags.get_mut(i) {
            Some(flag) if *flag == 0.0 => *flag = 1.0,
            Some(_) => return Err(Error::mismatch(what, 1, format!("2 of {i}"))),
            None => {
                return Err(Error::mismatch("index of an object", format!("< {n_examples}"), i));
            }
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
            "features: wanted 4, found 5"
        );
        assert_eq!(error(examples().rows(&[0, 3])), "index of an object: wanted < 3, found 3");
        assert_eq!(
            error(examples().known_for(&[0])),
            "answers of a teacher: wanted some, found none"
        );
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
            2 => x.narrow(0, 0, 1),
            _ => Tensor::cat(&[x, x], 0),
        };
        assert_eq!(
            error(examples().with_teacher(2, shifted)),
            "answers of the teacher: wanted 2, found 1"
        );
        let none = Dataset::classification(vec![], vec![], 3, &cpu).unwrap();
        assert_eq!(none.rows(&[]).unwrap().n_examples(), 0);
        assert_eq!(
            error(none.with_teacher(2, |x| Ok(x.clone()))),
            "examples of a teacher: wanted at least 1, found 0"
        );
    }

    #[test]
    fn what_is_unknown_does_not_become_known() {
        let all = examples().with_teacher(3, |x| Ok(x.clone())).unwrap();
        let mask = |data: &Dataset| data.soft().unwrap().mask().to_vec1::<f32>().unwrap();
        let some = all.clone().known_for(&[2, 0]).unwrap();
        assert_eq!(mask(&some), [1.0, 0.0, 1.0]);
        assert_eq!(mask(&some.clone().known_for(&[2]).unwrap()), [0.0, 0.0, 1.0]);
        let error = |data: &Dataset, indices: &[usize]| {
            data.clone().known_for(indices).unwrap_err().to_string()
        };
        let unknown = "answers of a teacher: wanted those of every object, found none of object 1";
        assert_eq!(error(&some, &[0, 1]), unknown);
        let given =
            examples().with_logits(&Tensor::ones((1, 3), DType::F32, &Device::Cpu).unwrap(), &[0]);
        assert_eq!(error(&given.unwrap(), &[0, 1]), unknown);
        assert_eq!(error(&all, &[0, 0]), "answers of one object: wanted 1, found 2 of 0");
        assert_eq!(error(&all, &[3]), "index of an object: wanted < 3, found 3");
    }

    #[test]
    fn a_teacher_that_is_a_variable_leaves_no_gradient_path() {
        let weights = candle_core::Var::from_vec(vec![1f32; 4], (2, 2), &Device::Cpu).unwrap();
        let data = examples().with_teacher(3, |x| x.matmul(&weights)).unwrap();
        let loss = data.soft().unwrap().logits().sum_all().unwrap();
        assert!(loss.backward().unwrap().get(&weights).is_none());
    }
}
