//! Every loss of this crate goes through the checks.

use candle_core::{Device, Tensor};
use core_tensors::{Rng, Targets};

use super::*;
use crate::distillation::composed;
use crate::divergence::tests::{KINDS, taught};
use crate::features::{AtGap, NstKernel, at, fitnets, nst, pkt, rkd_angle, rkd_distance, sp, vid};
use crate::supervision::tests::soft;
use crate::{
    ClassReduction, Dist, Distillation, Divergence, Dkd, Likelihood, Normalizer, Regression,
    Result, Supervision, TemperatureScale, Weights, dirichlet, dist, distillation, divergence, dkd,
    ls, regression, squared_error, two_class_logits,
};

pub(super) fn normal(shape: &[usize], seed: u64) -> Tensor {
    let mut rng = Rng::new(seed);
    let values: Vec<f64> = (0..shape.iter().product()).map(|_| 1.5 * rng.normal()).collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// Four examples of three classes, of which the teacher has answered for three.
pub(super) fn data() -> Dataset {
    all_known().known_for(&[0, 1, 3]).unwrap()
}

/// The same, answered for all.
pub(super) fn all_known() -> Dataset {
    taught(vec![2, 0, 1, 2], &normal(&[4, 3], 1))
}

fn tested<'a>(loss: Loss<'a>, properties: Vec<Property<'a>>) -> LossUnderTest<'a> {
    LossUnderTest { loss, student: normal(&[4, 3], 0), teacher: normal(&[4, 3], 1), properties }
}

pub(super) fn mean<'a>() -> Vec<Property<'a>> {
    vec![Property::AnyOrder, Property::Twice { factor: 1.0 }]
}

/// 𝓘 of [`data`].
fn masked<'a>() -> Property<'a> {
    Property::Mask { known: vec![0, 1, 3] }
}

fn nonnegative<'a>() -> Vec<Property<'a>> {
    vec![Property::Nonnegative, Property::AnyOrder, Property::Twice { factor: 1.0 }]
}

fn shifts<'a>() -> [Property<'a>; 2] {
    [Property::Shift(Role::Student), Property::Shift(Role::Teacher)]
}

fn scales<'a>() -> [Property<'a>; 2] {
    [Property::Scale(Role::Student), Property::Scale(Role::Teacher)]
}

fn assert_passes(name: &str, tested: &LossUnderTest<'_>) {
    let report = check(tested);
    assert!(report.is_passed(), "{name}\n{report}");
}

#[test]
fn distillation_in_every_form() {
    let normalized = |normalizer| Distillation { normalizer, ..Distillation::convex(0.4, 1.5) };
    let mean_over_classes =
        Distillation { class_reduction: ClassReduction::Mean, ..Distillation::hinton(0.6, 3.0) };
    let cases = [
        ("labels only", Distillation::labels_only(), true),
        ("convex", Distillation::convex(0.3, 2.0), true),
        ("fitnetson", Distillation::hinton(0.9, 4.0), true),
        ("generalized", Distillation::generalized(0.5, 4.0), true),
        ("sum of both", Distillation::sum_of_both(), true),
        ("mean over classes", mean_over_classes, true),
        ("four term", Distillation::four_term(0.25, 2.0), false),
        ("orthant", normalized(Normalizer::Orthant), false),
        ("cube", normalized(Normalizer::Cube), false),
        ("simplex", normalized(Normalizer::Simplex), false),
    ];
    let data = data();
    for (name, config, is_nonnegative) in cases {
        let loss = |z: &Tensor, batch: &Batch| distillation(z, &batch.dataset(&data)?, &config);
        let mut properties = if is_nonnegative { nonnegative() } else { mean() };
        properties.extend(shifts());
        properties.push(masked());
        assert_passes(name, &tested(&loss, properties));
        // The form for other devices and types.
        let loss = |z: &Tensor, batch: &Batch| {
            let batch = batch.dataset(&data)?;
            let Targets::Classes { labels, .. } = batch.y() else {
                unreachable!("classes went in")
            };
            composed(z, labels, soft(&batch).as_ref(), &config)
        };
        let mut properties = if is_nonnegative { nonnegative() } else { mean() };
        properties.push(masked());
        assert_passes(&format!("composed {name}"), &tested(&loss, properties));
    }
}

#[test]
fn divergences_of_every_kind() {
    let data = data();
    for kind in KINDS {
        for (temperature, scale) in
            [(1.0, TemperatureScale::None), (3.0, TemperatureScale::Squared)]
        {
            let loss = |z: &Tensor, batch: &Batch| {
                divergence(z, &batch.dataset(&data)?, kind, temperature, scale)
            };
            let mut properties = nonnegative();
            properties.extend([Property::ZeroAtTeacher, masked()]);
            if kind != Divergence::Logits {
                properties.extend(shifts());
            }
            let name = format!("{kind:?} at {temperature}");
            assert_passes(&name, &tested(&loss, properties));
            let standard =
                |z: &Tensor, batch: &Batch| ls(z, &batch.dataset(&data)?, kind, temperature, scale);
            let mut properties = nonnegative();
            properties.extend([Property::ZeroAtTeacher, masked()]);
            properties.extend(shifts().into_iter().chain(scales()));
            assert_passes(&format!("ls {name}"), &tested(&standard, properties));
        }
    }
}

#[test]
fn hot_divergences_tend_to_squares_of_centered_logits() {
    // T² D → curvature × ½ (1/k) Σ (z − v)² of centered logits, with the curvature of D at s = g.
    let data = data();
    let cases = [
        (Divergence::ForwardKl, 1.0),
        (Divergence::ReverseKl, 1.0),
        (Divergence::JensenShannon { teacher_weight: 0.3 }, 0.3 * 0.7),
        (Divergence::Skew { teacher_weight: 0.3 }, 0.7 * 0.7),
        (Divergence::ReverseSkew { student_weight: 0.3 }, 0.7 * 0.7),
        (Divergence::Renyi { order: 0.3 }, 0.3),
        (Divergence::Renyi { order: 3.0 }, 3.0),
        (Divergence::SquaredHellinger, 0.25),
        (Divergence::CentredLogits, 1.0),
    ];
    for (kind, curvature) in cases {
        let at = |z: &Tensor, batch: &Batch, kind, temperature| {
            divergence(z, &batch.dataset(&data)?, kind, temperature, TemperatureScale::Squared)
        };
        let loss = |z: &Tensor, batch: &Batch| at(z, batch, kind, 2.0);
        let hot = |z: &Tensor, batch: &Batch| at(z, batch, kind, 1e3);
        let squares = |z: &Tensor, batch: &Batch| {
            Ok((at(z, batch, Divergence::CentredLogits, 1.0)? * curvature)?)
        };
        let limit = Limit {
            name: "high temperature",
            loss: &hot,
            reference: &squares,
            // The next term of the expansion is O(1/T).
            tolerance: 2e-2,
            compared: Compared::All,
        };
        assert_passes(&format!("{kind:?}"), &tested(&loss, vec![Property::Limit(limit)]));
    }
}

#[test]
fn other_losses_of_logits() {
    let data = data();
    let config = Dkd {
        label_weight: 1.0,
        others_weight: 8.0,
        temperature: 4.0,
        scale: TemperatureScale::Squared,
    };
    let loss = |z: &Tensor, batch: &Batch| dkd(z, &batch.dataset(&data)?, &config);
    let mut properties = nonnegative();
    properties.extend([Property::ZeroAtTeacher, masked()]);
    properties.extend(shifts());
    assert_passes("dkd", &tested(&loss, properties));

    let config = Dist {
        example_weight: 2.0,
        class_weight: 2.0,
        temperature: 1.5,
        scale: TemperatureScale::Squared,
    };
    let loss = |z: &Tensor, batch: &Batch| dist(z, &batch.dataset(&data)?, &config);
    let mut properties = nonnegative();
    properties.extend(shifts());
    properties.push(masked());
    assert_passes("dist", &tested(&loss, properties));
    // At the teacher each class has a correlation of 1, over the known examples alone: an example unknown counts as 0.
    let everyone = all_known();
    let loss = |z: &Tensor, batch: &Batch| dist(z, &batch.dataset(&everyone)?, &config);
    assert_passes("dist of all", &tested(&loss, vec![Property::ZeroAtTeacher]));
}

#[test]
fn a_loss_of_several_teachers() {
    let data = data();
    for temperature in [1.0, 4.0] {
        let loss = |z: &Tensor, batch: &Batch| dirichlet(z, &batch.dataset(&data)?, temperature);
        let mut properties = mean();
        properties.extend([Property::Shift(Role::Teacher), masked()]);
        // One member, as a shift moves a whole row; and two.
        assert_passes("dirichlet", &tested(&loss, properties));
        let (student, teacher) = (normal(&[4, 3], 0), normal(&[4, 6], 1));
        let mut properties = mean();
        properties.push(masked());
        let several = LossUnderTest { loss: &loss, student, teacher, properties };
        assert_passes("dirichlet of two", &several);
    }
}

#[test]
fn losses_of_values() {
    let values = normal(&[4, 3], 2);
    let data = Dataset::new(values.clone(), Targets::Values(values.clone())).unwrap();
    let data = data.with_logits(&normal(&[3, 3], 1), &[0, 1, 3]).unwrap();
    for weights in [Weights::Likelihood, Weights::AsPrinted] {
        let config =
            Regression { teacher_weight: 0.4, label_variance: 0.7, teacher_variance: 0.2, weights };
        let loss = |f: &Tensor, batch: &Batch| regression(f, &batch.dataset(&data)?, &config);
        let mut properties = mean();
        properties.push(masked());
        assert_passes("regression", &tested(&loss, properties));
    }
    let loss = |f: &Tensor, batch: &Batch| squared_error(f, &batch.teacher);
    let mut properties = nonnegative();
    properties.push(Property::ZeroAtTeacher);
    assert_passes("squared error", &tested(&loss, properties));
    let normal = Likelihood::Normal { variance: 0.5 };
    let loss = |f: &Tensor, batch: &Batch| {
        let y = batch.teacher.clone();
        normal.negative_log(f, &Dataset::new(y.clone(), Targets::Values(y))?)
    };
    assert_passes("normal likelihood", &tested(&loss, mean()));
}

#[test]
fn losses_of_one_logit() {
    fn tested<'a>(loss: Loss<'a>, properties: Vec<Property<'a>>) -> LossUnderTest<'a> {
        let (student, teacher) = (normal(&[4, 1], 0), normal(&[4, 1], 1));
        LossUnderTest { loss, student, teacher, properties }
    }
    let labels = Tensor::new(&[1u32, 0, 0, 1], &Device::Cpu).unwrap();
    let of = |batch: &Batch| -> Result<Tensor> {
        let rows: Vec<u32> = batch.examples.iter().map(|&i| i as u32).collect();
        Ok(labels.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?)
    };
    let loss = |f: &Tensor, batch: &Batch| {
        Likelihood::Bernoulli.negative_log(f, Supervision::labels(&of(batch)?))
    };
    assert_passes("bernoulli likelihood", &tested(&loss, nonnegative()));
    for options in [Distillation::hinton(0.7, 3.0), Distillation::convex(0.4, 1.0)] {
        let loss = |f: &Tensor, batch: &Batch| {
            let (labels, teacher) = (of(batch)?, two_class_logits(&batch.teacher)?);
            let targets = Supervision::labels(&labels).with_teacher(&teacher, None);
            distillation(&two_class_logits(f)?, targets, &options)
        };
        assert_passes("distillation of one logit", &tested(&loss, mean()));
    }
    let kl = |f: &Tensor, batch: &Batch| {
        let teacher = two_class_logits(&batch.teacher)?;
        let (teacher, scale) = (Supervision::teacher(&teacher, None), TemperatureScale::Squared);
        divergence(&two_class_logits(f)?, teacher, Divergence::ForwardKl, 2.0, scale)
    };
    let mut properties = nonnegative();
    properties.push(Property::ZeroAtTeacher);
    assert_passes("divergence of one logit", &tested(&kl, properties));
}

#[test]
fn losses_of_maps() {
    let alpha = Tensor::new(&[0.0, -1.5], &Device::Cpu).unwrap();
    let same = |loss: Loss<'_>, properties, name: &str| {
        let (student, teacher) = (normal(&[3, 2, 2, 2], 3), normal(&[3, 2, 2, 2], 4));
        assert_passes(name, &LossUnderTest { loss, student, teacher, properties });
    };
    let other = |loss: Loss<'_>, properties, name: &str| {
        let (student, teacher) = (normal(&[3, 3, 2, 2], 5), normal(&[3, 2, 2, 2], 6));
        assert_passes(name, &LossUnderTest { loss, student, teacher, properties });
    };
    for gap in [AtGap::Norm, AtGap::MeanSquare] {
        for power in [1.0, 2.0, 3.5] {
            let loss = |a: &Tensor, batch: &Batch| at(a, &batch.teacher, power, gap);
            let name = format!("at {gap:?} {power}");
            other(&loss, nonnegative().into_iter().chain(scales()).collect(), &name);
            same(&loss, vec![Property::ZeroAtTeacher], &name);
        }
    }
    for kernel in [
        NstKernel::Linear,
        NstKernel::Polynomial { degree: 2, constant: 0.0 },
        NstKernel::Polynomial { degree: 3, constant: 1.0 },
        NstKernel::Gaussian { scale: 1.5 },
    ] {
        let loss = |a: &Tensor, batch: &Batch| nst(a, &batch.teacher, kernel);
        let name = format!("nst {kernel:?}");
        other(&loss, nonnegative().into_iter().chain(scales()).collect(), &name);
        same(&loss, vec![Property::ZeroAtTeacher], &name);
    }
    let loss =
        |a: &Tensor, batch: &Batch| vid(a, &batch.teacher, &alpha.to_dtype(a.dtype())?, 1e-5);
    same(&loss, mean(), "vid");
}

#[test]
fn losses_of_features() {
    let projection = normal(&[2, 4], 7);
    let same = |loss: Loss<'_>, properties, name: &str| {
        let (student, teacher) = (normal(&[5, 3], 8), normal(&[5, 3], 9));
        assert_passes(name, &LossUnderTest { loss, student, teacher, properties });
    };
    let other = |loss: Loss<'_>, properties, name: &str| {
        let (student, teacher) = (normal(&[5, 3], 10), normal(&[5, 2], 11));
        assert_passes(name, &LossUnderTest { loss, student, teacher, properties });
    };
    let loss = |f: &Tensor, batch: &Batch| {
        fitnets(f, &batch.teacher, Some(&projection.to_dtype(f.dtype())?))
    };
    other(&loss, nonnegative(), "fitnets");
    let loss = |f: &Tensor, batch: &Batch| fitnets(f, &batch.teacher, None);
    same(&loss, vec![Property::ZeroAtTeacher], "fitnets without a projection");

    type Features = fn(&Tensor, &Tensor) -> Result<Tensor>;
    let cases: [(&str, Features, Option<f64>); 4] = [
        ("sp", sp, Some(0.5)),
        ("rkd distance", rkd_distance, Some(1.0)),
        ("rkd angle", rkd_angle, Some(1.0)),
        ("pkt", pkt, None),
    ];
    for (name, function, factor) in cases {
        let loss = |f: &Tensor, batch: &Batch| function(f, &batch.teacher);
        let mut properties = vec![Property::Nonnegative, Property::AnyOrder];
        properties.extend(scales());
        properties.extend(factor.map(|factor| Property::Twice { factor }));
        other(&loss, properties, name);
        same(&loss, vec![Property::ZeroAtTeacher], name);
    }
}

#[test]
fn a_report_says_what_was_found() {
    let loss = |z: &Tensor, batch: &Batch| squared_error(z, &batch.teacher);
    let report = check(&tested(&loss, nonnegative()));
    let text = report.to_string();
    assert_eq!(text.lines().count(), 9);
    assert!(text.starts_with("ok    one number                    "), "{text}");
    // A loss that fails is a failed check, not a panic.
    let wrong =
        |_: &Tensor, batch: &Batch| squared_error(&batch.teacher.narrow(1, 0, 2)?, &batch.teacher);
    let report = check(&tested(&wrong, mean()));
    assert_eq!(report.failures().len(), report.checks.len(), "{report}");
    assert!(report.checks[0].finding.contains("targets of a regression"), "{report}");
    let (student, teacher) = (normal(&[1, 3], 0), normal(&[1, 3], 1));
    let lonely = check(&LossUnderTest { loss: &loss, student, teacher, properties: mean() });
    assert!(lonely.checks[0].finding.ends_with("expected at least 2, found 1"), "{lonely}");
}
