//! Examples as a network takes them: shapes, bytes, normalization, targets.

use bayes_posterior::Task;
use candle_core::{DType, Device, Tensor};
use core_tensors::{Rng, Targets as Checked};

use super::super::names::Named;
use super::super::place::Place;
use super::super::{Examples, Prepared, Targets, duplicates_across, split};
use super::opened;
use crate::data::user::options::{ImageOptions, Options};

fn examples(x: Tensor, targets: Option<Targets>) -> Examples {
    let is_open = x.dtype() == DType::U8;
    Examples {
        name: "data".into(),
        x,
        targets,
        class_names: Vec::new(),
        place: Place::Rows("array"),
        image: None,
        is_open,
        images: ImageOptions::default(),
        is_folder: false,
    }
}

fn numbers(shape: &[usize], dtype: DType) -> Tensor {
    let n = shape.iter().product::<usize>() as f64;
    Tensor::arange(0.0, n, &Device::Cpu).unwrap().reshape(shape).unwrap().to_dtype(dtype).unwrap()
}

fn values(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

fn told(found: anyhow::Result<(Prepared, Vec<String>)>) -> String {
    match found {
        Err(error) => format!("{error:#}"),
        Ok(_) => panic!("it was taken"),
    }
}

#[test]
fn bytes_of_images_are_divided_by_255_and_others_are_not() {
    for (shape, input, is_divided) in [
        (&[2, 4][..], &[4][..], false),
        (&[2, 2, 2], &[4], true),
        (&[2, 1, 2, 2], &[4], true),
        (&[2, 4], &[1, 2, 2], true),
        (&[2, 2, 2], &[1, 2, 2], true),
        (&[2, 2, 2, 1], &[1, 2, 2], true),
    ] {
        let (found, notices) =
            examples(numbers(shape, DType::U8), None).fitted(input, 3, None).unwrap();
        let scale = if is_divided { 255.0 } else { 1.0 };
        let wanted: Vec<f32> = (0..8u8).map(|i| f32::from(i) / scale).collect();
        assert_eq!(values(&found.x), wanted, "{shape:?} {input:?}");
        assert_eq!(found.x.dims(), [&[2], input].concat());
        assert!(notices[0].contains("--bytes"), "{notices:?}");
        let image = (input.len() == 3).then_some([1, 2, 2]);
        assert_eq!(found.image, image, "{shape:?} {input:?}");
    }
}

#[test]
fn images_are_normalized_by_channel_wherever_channels_stand() {
    let x = numbers(&[2, 3, 4, 5], DType::F64);
    let (mean, std) = ([0.5, 1.0, 2.0], [2.0, 4.0, 0.5]);
    let images = ImageOptions {
        image_mean: mean.to_vec(),
        image_std: std.to_vec(),
        ..ImageOptions::default()
    };
    let wanted: Vec<f32> = (0..120u32)
        .map(|i| {
            let channel = i / 20 % 3;
            ((f64::from(i) - mean[channel as usize]) / std[channel as usize]) as f32
        })
        .collect();
    for (x, input) in [
        (x.clone(), &[3, 4, 5][..]),
        (x.permute((0, 2, 3, 1)).unwrap().contiguous().unwrap(), &[3, 4, 5]),
        (x.clone(), &[4, 5, 3]),
        (x.clone(), &[60]),
    ] {
        let image = (input.len() == 1).then_some([3, 4, 5]);
        let found = Examples { images: images.clone(), image, ..examples(x, None) };
        let (found, notices) = found.fitted(input, 2, None).unwrap();
        let found = match input {
            [4, 5, 3] => found.x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap(),
            _ => found.x,
        };
        assert_eq!(values(&found), wanted, "{input:?}");
        assert!(notices.iter().any(|line| line.contains("(x − [0.5, 1.0, 2.0])")), "{notices:?}");
    }
    let wrong = Examples { images, ..examples(numbers(&[2, 1, 4, 5], DType::F64), None) };
    assert!(
        told(wrong.fitted(&[1, 4, 5], 2, None)).contains("--image-mean: expected one number, or 1")
    );
}

#[test]
fn a_wrong_count_names_both_and_the_columns_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    std::fs::write(&path, "a,b,c,y\n1,2,3,0\n4,5,6,1\n").unwrap();
    let none = (&Options::default(), &ImageOptions::default());
    let (examples, _) = opened(&path, none, Some(&[4])).unwrap();
    let told = told(examples.fitted(&[4], 2, None));
    for part in [
        "expected 4 features an example, as the network takes, found 3: `a`, `b`, `c`",
        "--drop",
        "--features",
        "--target",
    ] {
        assert!(told.contains(part), "{told}");
    }
    std::fs::write(&path, "a,b,y\n1,2e39,0\n4,5,1\n").unwrap();
    let (examples, _) = opened(&path, none, Some(&[2])).unwrap();
    let told = self::told(examples.fitted(&[2], 2, None));
    assert!(told.contains("line 2, column 2 (`b`)") && told.contains("range of f32"), "{told}");
    // After columns were left out, places are still those of the file.
    let options = Options { drop: Some("a".into()), ..Options::default() };
    let (examples, _) = opened(&path, (&options, none.1), Some(&[1])).unwrap();
    assert!(self::told(examples.fitted(&[1], 2, None)).contains("line 2, column 2 (`b`)"));
}

fn numbered(values: &[f64], k: usize) -> Option<Targets> {
    Some(Targets::Numbers { values: values.to_vec(), k })
}

fn named(classes: &[u32], names: &str) -> Option<Targets> {
    let names = names.split(' ').map(str::to_owned).collect();
    Some(Targets::Named(Named { classes: classes.to_vec(), names, is_told: false }))
}

/// The classes and how many there are, or an error where they are values.
fn classes(found: &Prepared) -> (Vec<u32>, usize) {
    match &found.targets {
        Some(Checked::Classes { labels, n_classes }) => (labels.to_vec1().unwrap(), *n_classes),
        _ => panic!("no classes"),
    }
}

#[test]
fn targets_are_classes_or_values_by_what_they_are() {
    use Task::{Classification, Regression};
    let fit = |targets: Option<Targets>, n_outputs, task| {
        examples(numbers(&[2, 3], DType::F64), targets).fitted(&[3], n_outputs, task)
    };
    for (targets, n_outputs, task, wanted, said) in [
        (numbered(&[2.0, 0.0], 1), 3, None, (vec![2, 0], 3), Some("class 1 of 3 never occurs")),
        (numbered(&[1.0, 0.0], 1), 1, None, (vec![1, 0], 2), Some("--task regression")),
        (numbered(&[1.0, 0.0], 1), 1, Some(Classification), (vec![1, 0], 2), None),
        (numbered(&[0.0, 1.0, 1.0, 0.0], 2), 2, None, (vec![1, 0], 2), Some("one-hot")),
        (
            numbered(&[0.0, 1.0, 1.0, 0.0], 2),
            2,
            Some(Classification),
            (vec![1, 0], 2),
            Some("one-hot"),
        ),
        (numbered(&[0.0, 1.0, 1.0, 0.0], 2), 1, None, (vec![1, 0], 2), Some("one-hot")),
        (named(&[1, 0], "cat dog"), 2, None, (vec![1, 0], 2), None),
        (named(&[1, 0], "cat dog"), 1, None, (vec![1, 0], 2), None),
        (Some(Targets::Classes(vec![1.0, 0.0])), 2, None, (vec![1, 0], 2), None),
    ] {
        let (found, notices) = fit(targets, n_outputs, task).unwrap();
        assert_eq!(classes(&found), wanted);
        let said_all = notices.join("\n");
        assert_eq!(notices.len(), usize::from(said.is_some()), "{said_all}");
        assert!(said_all.contains(said.unwrap_or_default()), "{said_all}");
    }
    for (targets, n_outputs, task) in [
        (numbered(&[0.5, 1.0], 1), 1, None),
        (numbered(&[1.0, 0.0], 1), 1, Some(Regression)),
        (numbered(&[1.0, 2.0, 3.0, 4.0], 2), 2, None),
        (numbered(&[0.0, 1.0, 1.0, 0.0], 2), 2, Some(Regression)),
    ] {
        let (found, notices) = fit(targets, n_outputs, task).unwrap();
        let Some(Checked::Values(values)) = &found.targets else { panic!("no values") };
        assert_eq!((values.dims(), values.dtype()), (&[2, n_outputs][..], DType::F32));
        assert!(notices.is_empty(), "{notices:?}");
    }
    assert!(fit(None, 2, None).unwrap().0.targets.is_none());
    for (targets, n_outputs, task, part) in [
        (
            numbered(&[1.0, 3.0], 1),
            3,
            None,
            "numbered from 0 to 2, found 3 (subtract 1, or give --classes 1,2,3)",
        ),
        (numbered(&[0.5, 3.0], 1), 3, None, "whole numbers from 0 to 2, found 0.5"),
        (numbered(&[1.0, 2.0], 1), 2, Some(Regression), "expected 2 targets an example"),
        (numbered(&[1.0, 2.0, 3.0, 4.0], 2), 3, None, "expected 3 targets an example"),
        (numbered(&[1.0, 1.0, 1.0, 0.0], 2), 2, Some(Classification), "rows with a 1 and zeros"),
        (
            numbered(&[1e39, 1.0], 1),
            1,
            None,
            "row 0 (from 0): expected a number in the range of f32",
        ),
        (named(&[1, 0], "cat dog"), 3, None, "found 2, 0 = cat, 1 = dog; --classes lists all"),
        (named(&[1, 0], "cat dog"), 2, Some(Regression), "expected --task classification"),
    ] {
        let told = told(fit(targets, n_outputs, task));
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn rows_keep_what_belongs_together() {
    let targets = named(&[1, 0, 1], "cat dog");
    let found = Examples {
        class_names: vec!["cat".into(), "dog".into()],
        ..examples(numbers(&[3, 2], DType::F64), targets)
    };
    let (found, _) = found.fitted(&[2], 2, None).unwrap();
    let rows = found.rows(&[2, 0]).unwrap();
    assert_eq!(values(&rows.x), [4.0, 5.0, 0.0, 1.0]);
    assert_eq!(classes(&rows), (vec![1, 1], 2));
    assert_eq!((&rows.class_names, rows.n_examples()), (&found.class_names, 2));
    assert!(found.rows(&[3]).is_err());
}

#[test]
fn known_sets_and_images_keep_their_shape() {
    let found = Examples { image: Some([1, 2, 2]), ..examples(numbers(&[3, 4], DType::U8), None) };
    let found = Examples { is_open: false, ..found };
    let (found, notices) = found.fitted(&[4], 2, None).unwrap();
    assert_eq!((found.image, notices.len()), (Some([1, 2, 2]), 0));
    assert_eq!(values(&found.x)[3], 3.0 / 255.0);
}

#[test]
fn a_table_goes_all_the_way() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.csv");
    let lines = (0..40).map(|i| format!("{};{},5;{}\n", i % 20, i % 20, ["no", "yes"][i % 2]));
    std::fs::write(&path, format!("a;b;label\n{}", lines.collect::<String>())).unwrap();
    let none = (&Options::default(), &ImageOptions::default());
    let (examples, _) = opened(&path, none, Some(&[2])).unwrap();
    let data = examples.prepared(&[2], 1, None).unwrap();
    assert_eq!(data.class_names, ["no", "yes"]);
    let parts = split(&data, [0.25, 0.25], &mut Rng::new(0)).unwrap();
    // Every row is there twice, so that the second of a pair is a duplicate unless both are in one part.
    let n_pairs =
        (0..20).filter(|&i| !parts.iter().any(|p| p.contains(&i) && p.contains(&(i + 20))));
    assert_eq!(duplicates_across(&data, &parts).unwrap(), n_pairs.count());
    let test = data.rows(&parts[2]).unwrap();
    assert_eq!(test.n_examples(), 10);
    assert_eq!(classes(&test).0.iter().sum::<u32>(), 5);
}
