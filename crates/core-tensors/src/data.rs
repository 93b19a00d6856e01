//! Objects in memory: features, hard targets and, where there is a teacher, its answers.

use candle_core::{DType, Device, IndexOp, Tensor};

use crate::error::{Error, Result};

/// Hard targets y of a data set.
#[derive(Clone, Debug)]
pub enum Targets {
    /// Classification: the class of each object, shape (m,), u32, each below `n_classes`.
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
pub struct Soft {
    scores: Tensor,
    known: Tensor,
}

/// Objects with their targets; a batch is a `Dataset` with fewer rows.
#[derive(Clone, Debug)]
pub struct Dataset {
    x: Tensor,
    y: Targets,
    soft: Option<Soft>,
}

impl Soft {
    /// s: the teacher's scores before the softmax (classification) or its prediction (regression), (m, k).
    pub fn scores(&self) -> &Tensor {
        &self.scores
    }

    /// \[i ∈ 𝓘\]: 1 where the teacher's answer is known, else 0; shape (m,), f32.
    pub fn known(&self) -> &Tensor {
        &self.known
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
        let n_objects = x.dim(0)?;
        if y.len()? != n_objects {
            return Err(Error::mismatch("targets", n_objects, y.len()?));
        }
        if let Targets::Classes { n_classes: 0, .. } = &y {
            let name = "number of classes";
            return Err(Error::OutOfRange { name, value: 0.0, range: "[1, ∞)" });
        }
        if let Targets::Classes { labels, n_classes } = &y
            && n_objects > 0
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
        let n_objects = labels.len();
        let n_features = x.len().checked_div(n_objects).unwrap_or(0);
        if n_objects * n_features != x.len() {
            return Err(Error::mismatch("features", n_objects * n_features, x.len()));
        }
        let x = Tensor::from_vec(x, (n_objects, n_features), device)?;
        let labels = Tensor::from_vec(labels, n_objects, device)?;
        Self::new(x, Targets::Classes { labels, n_classes })
    }

    /// X: features, first dimension m; bytes are grey levels ([`crate::kernels::features`]).
    pub fn x(&self) -> &Tensor {
        &self.x
    }

    /// y: hard targets.
    pub fn y(&self) -> &Targets {
        &self.y
    }

    /// s and 𝓘, where there is a teacher.
    pub fn soft(&self) -> Option<&Soft> {
        self.soft.as_ref()
    }

    /// The same objects as if there were no teacher.
    pub fn without_answers(&self) -> Self {
        Self { soft: None, ..self.clone() }
    }

    /// m: number of objects.
    pub fn n_objects(&self) -> usize {
        self.x.dims().first().copied().unwrap_or(0)
    }

    /// The objects with these indices, in this order.
    pub fn rows(&self, indices: &[usize]) -> Result<Self> {
        let n_objects = self.n_objects();
        if let Some(&largest) = indices.iter().max()
            && largest >= n_objects
        {
            return Err(Error::mismatch("index of an object", format!("< {n_objects}"), largest));
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
            Some(soft) => Some(Soft { scores: pick(&soft.scores)?, known: pick(&soft.known)? }),
            None => None,
        };
        Ok(Self { x: pick(&self.x)?, y, soft })
    }

    /// Asks a teacher about every object, `chunk` at a time, and keeps its answers; 𝓘 becomes everything.
    ///
    /// `answers` maps features (b, …) to scores (b, k): f(x) for Hinton, f(φ(x)) across domains. Where the teacher sees
    /// features x* of its own, see [`Privileged`](crate::Privileged).
    pub fn taught_by(
        self,
        chunk: usize,
        answers: impl FnMut(&Tensor) -> candle_core::Result<Tensor>,
    ) -> Result<Self> {
        let n_objects = self.n_objects();
        if n_objects == 0 {
            return Err(Error::mismatch("examples of a teacher", "at least 1", 0));
        }
        let scores = answers_in_chunks(&self.x, chunk, answers)?;
        let known = Tensor::ones(n_objects, DType::F32, self.x.device())?;
        Ok(Self { soft: Some(Soft { scores, known }), ..self })
    }

    /// Takes answers that are there already, (|𝓘|, k), row j of object `known`\[j\]; 𝓘 becomes those objects.
    ///
    /// Where 𝓘 is empty the data have no teacher. Refuses an object that is not there, or there twice.
    pub fn with_answers(self, scores: &Tensor, known: &[usize]) -> Result<Self> {
        let (n_objects, device) = (self.n_objects(), self.x.device());
        let (n_answers, k) = scores.dims2()?;
        if n_answers != known.len() {
            return Err(Error::mismatch("answers of the teacher", known.len(), n_answers));
        }
        let flags = index_set("answers of one object", known, n_objects)?;
        if known.is_empty() {
            return Ok(Self { soft: None, ..self });
        }
        let indices: Vec<u32> = known.iter().map(|&i| i as u32).collect();
        let indices = Tensor::from_vec(indices, n_answers, device)?;
        let none = Tensor::zeros((n_objects, k), scores.dtype(), device)?;
        let scores = none.index_add(&indices, &scores.detach().contiguous()?, 0)?; // (m, k)
        let known = Tensor::from_vec(flags, n_objects, device)?;
        Ok(Self { soft: Some(Soft { scores, known }), ..self })
    }

    /// Restricts 𝓘 to these objects: elsewhere the teacher's answer counts as unknown.
    ///
    /// Refuses an object whose answer is not known to begin with, one that is not there, and one that is named twice.
    pub fn known_for(self, indices: &[usize]) -> Result<Self> {
        let n_objects = self.n_objects();
        let Some(Soft { scores, known }) = self.soft else {
            return Err(Error::mismatch("answers of a teacher", "some", "none"));
        };
        let flags = index_set("answers of one object", indices, n_objects)?;
        let before = known.to_vec1::<f32>()?;
        if let Some(i) = indices.iter().find(|&&i| before[i] == 0.0) {
            let found = format!("none of object {i}");
            return Err(Error::mismatch("answers of a teacher", "those of every object", found));
        }
        let known = Tensor::from_vec(flags, n_objects, self.x.device())?;
        Ok(Self { soft: Some(Soft { scores, known }), ..self })
    }
}

/// What a teacher answers to features with at least one row, asked `chunk` rows at a time; one row of scores each, without gradients.
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
        let scores = answers(&x.i(part.clone())?)?.detach();
        if scores.dims2()?.0 != part.len() {
            let found = scores.dims2()?.0;
            return Err(Error::mismatch("answers of the teacher", part.len(), found));
        }
        parts.push(scores);
    }
    // One part is not copied, and rows can be picked of contiguous tensors alone.
    Ok(Tensor::cat(&parts, 0)?.contiguous()?)
}

/// \[i ∈ 𝓘\] of every object; refuses one that is not there, or there twice, which `what` names.
pub(crate) fn index_set(what: &'static str, known: &[usize], n_objects: usize) -> Result<Vec<f32>> {
    let mut flags = vec![0.0; n_objects];
    for &i in known {
        match flags.get_mut(i) {
            Some(flag) if *flag == 0.0 => *flag = 1.0,
            Some(_) => return Err(Error::mismatch(what, 1, format!("2 of {i}"))),
            None => {
                return Err(Error::mismatch("index of an object", format!("< {n_objects}"), i));
            }
        }
    }
    Ok(flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects() -> Dataset {
        let x = (0..6).map(|i| i as f32).collect();
        Dataset::classification(x, vec![0, 1, 2], 3, &Device::Cpu).unwrap()
    }

    #[test]
    fn rows_keep_features_targets_and_answers_together() {
        let data = objects().taught_by(2, |x| x.affine(10.0, 0.0)).unwrap();
        let batch = data.known_for(&[2]).unwrap().rows(&[2, 0]).unwrap();
        assert_eq!(batch.x().to_vec2::<f32>().unwrap(), [[4.0, 5.0], [0.0, 1.0]]);
        let soft = batch.soft().unwrap();
        assert_eq!(soft.scores().to_vec2::<f32>().unwrap(), [[40.0, 50.0], [0.0, 10.0]]);
        assert_eq!(soft.known().to_vec1::<f32>().unwrap(), [1.0, 0.0]);
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
        assert_eq!(error(objects().rows(&[0, 3])), "index of an object: wanted < 3, found 3");
        assert_eq!(
            error(objects().known_for(&[0])),
            "answers of a teacher: wanted some, found none"
        );
        assert_eq!(
            error(Dataset::classification(vec![], vec![], 0, &cpu)),
            "number of classes must lie in [1, ∞), got 0"
        );
        assert_eq!(
            error(objects().taught_by(0, |x| Ok(x.clone()))),
            "chunk must lie in [1, ∞), got 0"
        );
        // One answer to the first two objects and two to the last would fall on the wrong ones.
        let shifted = |x: &Tensor| match x.dim(0)? {
            2 => x.narrow(0, 0, 1),
            _ => Tensor::cat(&[x, x], 0),
        };
        assert_eq!(
            error(objects().taught_by(2, shifted)),
            "answers of the teacher: wanted 2, found 1"
        );
        let none = Dataset::classification(vec![], vec![], 3, &cpu).unwrap();
        assert_eq!(none.rows(&[]).unwrap().n_objects(), 0);
        assert_eq!(
            error(none.taught_by(2, |x| Ok(x.clone()))),
            "examples of a teacher: wanted at least 1, found 0"
        );
    }

    #[test]
    fn what_is_unknown_does_not_become_known() {
        let all = objects().taught_by(3, |x| Ok(x.clone())).unwrap();
        let known = |data: &Dataset| data.soft().unwrap().known().to_vec1::<f32>().unwrap();
        let some = all.clone().known_for(&[2, 0]).unwrap();
        assert_eq!(known(&some), [1.0, 0.0, 1.0]);
        assert_eq!(known(&some.clone().known_for(&[2]).unwrap()), [0.0, 0.0, 1.0]);
        let error = |data: &Dataset, indices: &[usize]| {
            data.clone().known_for(indices).unwrap_err().to_string()
        };
        let unknown = "answers of a teacher: wanted those of every object, found none of object 1";
        assert_eq!(error(&some, &[0, 1]), unknown);
        let given =
            objects().with_answers(&Tensor::ones((1, 3), DType::F32, &Device::Cpu).unwrap(), &[0]);
        assert_eq!(error(&given.unwrap(), &[0, 1]), unknown);
        assert_eq!(error(&all, &[0, 0]), "answers of one object: wanted 1, found 2 of 0");
        assert_eq!(error(&all, &[3]), "index of an object: wanted < 3, found 3");
    }

    #[test]
    fn a_teacher_that_is_a_variable_leaves_no_gradient_path() {
        let weights = candle_core::Var::from_vec(vec![1f32; 4], (2, 2), &Device::Cpu).unwrap();
        let data = objects().taught_by(3, |x| x.matmul(&weights)).unwrap();
        let loss = data.soft().unwrap().scores().sum_all().unwrap();
        assert!(loss.backward().unwrap().get(&weights).is_none());
    }
}
