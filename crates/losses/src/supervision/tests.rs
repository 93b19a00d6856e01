//! What a loss is told by tensors and by a data set is the same, and what cannot be is refused.

use super::*;
use crate::{
    Dist, Distillation, Divergence, Dkd, Likelihood, Regression, TemperatureScale, Weights,
    dirichlet, dist, distillation, divergence, dkd, ls, pseudo_targets, regression,
};

/// What a loss sees of the teacher of these data.
pub(crate) fn soft(data: &Dataset) -> Option<Soft> {
    Supervision::from(data).soft().unwrap()
}

fn tensor(numbers: &[[f64; 3]]) -> Tensor {
    Tensor::from_slice(numbers.as_flattened(), (numbers.len(), 3), &Device::Cpu).unwrap()
}

fn logits() -> [Tensor; 2] {
    let z = [[0.5, -1.0, 2.0], [0.0, 3.0, -0.5], [1.0, 0.25, 0.0]];
    let v = [[1.0, 0.0, 1.5], [-1.0, 2.0, 0.5], [0.0, 0.5, 4.0]];
    [tensor(&z), tensor(&v)]
}

fn number(loss: Result<Tensor>) -> f64 {
    loss.unwrap().to_scalar().unwrap()
}

#[test]
fn tensors_and_a_data_set_are_one() {
    let [z, v] = logits();
    let labels = Tensor::new(&[2u32, 0, 1], &Device::Cpu).unwrap();
    let (signed, bytes) = (labels.to_dtype(DType::I64).unwrap(), labels.to_dtype(DType::U8));
    let y = Targets::Classes { labels: labels.clone(), n_classes: 3 };
    let taught = |y: Targets| {
        let data = Dataset::new(v.clone(), y).unwrap();
        data.with_teacher(3, Tensor::contiguous).unwrap()
    };
    let masks = [DType::U8, DType::F32, DType::F64, DType::I64].map(|dtype| {
        Some(Tensor::new(&[1f32, 0.0, 1.0], &Device::Cpu).unwrap().to_dtype(dtype).unwrap())
    });
    let (options, squared) = (Distillation::hinton(0.7, 3.0), TemperatureScale::Squared);
    for mask in masks.into_iter().chain([None]) {
        let known: &[usize] = if mask.is_some() { &[0, 2] } else { &[0, 1, 2] };
        let data = taught(y.clone()).known_for(known).unwrap();
        for labels in [&labels, &signed, bytes.as_ref().unwrap()] {
            let tensors = Supervision::labels(labels).with_teacher(&v, mask.as_ref());
            let same = |loss: &dyn Fn(Supervision) -> Result<Tensor>| {
                assert_eq!(number(loss(tensors)), number(loss((&data).into())));
            };
            same(&|data| distillation(&z, data, &options));
            let temperature = 2.0;
            let dkd_options =
                Dkd { label_weight: 1.0, others_weight: 8.0, temperature, scale: squared };
            same(&|data| dkd(&z, data, &dkd_options));
            let dist_options =
                Dist { example_weight: 2.0, class_weight: 0.5, temperature, scale: squared };
            same(&|data| dist(&z, data, &dist_options));
            same(&|data| divergence(&z, data, Divergence::ReverseKl, 2.0, squared));
            same(&|data| ls(&z, data, Divergence::ForwardKl, 2.0, squared));
            same(&|data| dirichlet(&z, data, 2.0));
            same(&|data| Likelihood::Categorical.negative_log(&z, data));
        }
        // Without hard targets.
        let alone = Supervision::teacher(&v, mask.as_ref());
        let of = |data| number(divergence(&z, data, Divergence::ForwardKl, 1.0, squared));
        assert_eq!(of(alone), of((&data).into()));

        let values = (&v * 0.5).unwrap();
        let data = taught(Targets::Values(values.clone())).known_for(known).unwrap();
        let tensors = Supervision::values(&values).with_teacher(&v, mask.as_ref());
        let options = Regression {
            teacher_weight: 0.4,
            label_variance: 0.7,
            teacher_variance: 0.2,
            weights: Weights::Likelihood,
        };
        let of = |data: Supervision| {
            let targets = pseudo_targets(data, &options).unwrap();
            let targets = targets.values().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            (number(regression(&z, data, &options)), targets)
        };
        assert_eq!(of(tensors), of((&data).into()));
    }
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let [z, v] = logits();
    let labels = |labels: &[i64]| Tensor::new(labels, &Device::Cpu).unwrap();
    let error = |data: Supervision| {
        distillation(&z, data, &Distillation::hinton(0.5, 2.0)).unwrap_err().to_string()
    };
    let right = labels(&[2, 0, 1]);
    for (wrong, message) in [
        (labels(&[2, 3, 1]), "class must lie in 0 .. the number of classes, got 3"),
        (labels(&[2, -100, 1]), "class must lie in 0 .. the number of classes, got -100"),
        (labels(&[2, 0]), "logits: expected shape [2, 3], found [3, 3]"),
        (right.unsqueeze(1).unwrap(), "labels: expected shape [3], found [3, 1]"),
        (
            right.to_dtype(DType::F32).unwrap(),
            "distillation wanted the class of each example, an integer, as hard targets",
        ),
    ] {
        assert_eq!(error(Supervision::labels(&wrong)), message);
    }
    let taught = Supervision::labels(&right);
    let fewer = v.narrow(0, 0, 2).unwrap();
    assert_eq!(
        error(taught.with_teacher(&fewer, None)),
        "rows of the teacher's logits: expected 3, found 2"
    );
    let wide = Tensor::cat(&[&v, &v], 1).unwrap();
    assert_eq!(
        error(taught.with_teacher(&wide, None)),
        "logits of the teacher: expected shape [3, 3], found [3, 6]"
    );
    assert_eq!(
        error(taught.with_teacher(&v, Some(&labels(&[1, 0])))),
        "mask of the teacher: expected shape [3], found [2]"
    );
    let values = "distillation wanted the class of each example, an integer, as hard targets";
    assert_eq!(error(Supervision::values(&v)), values);
    assert_eq!(error(Supervision::teacher(&v, None)), values);
    let error = |data| divergence(&z, data, Divergence::ForwardKl, 1.0, TemperatureScale::None);
    assert!(matches!(error(taught), Err(Error::NoTeacher)));
}
