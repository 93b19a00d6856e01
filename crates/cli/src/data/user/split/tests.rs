//! Laws of splits: every example once, classes in proportion, the same seed the same parts, duplicates counted.

use candle_core::{Device, Tensor};

use super::*;

fn prepared(x: Tensor, targets: Option<Targets>) -> Prepared {
    let (class_names, feature_names) = (Vec::new(), Vec::new());
    let (image, images) = (None, None);
    Prepared { name: "data".into(), x, targets, class_names, image, images, feature_names }
}

fn classified(labels: &[u32], n_classes: usize) -> Prepared {
    let x = Tensor::arange(0f32, labels.len() as f32, &Device::Cpu).unwrap();
    let labels = Tensor::from_slice(labels, labels.len(), &Device::Cpu).unwrap();
    prepared(x.unsqueeze(1).unwrap(), Some(Targets::Classes { labels, n_classes }))
}

#[test]
fn every_example_is_in_one_part_and_classes_are_in_proportion() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let k = 1 + rng.below(6);
        let m = 40 + rng.below(200);
        let labels: Vec<u32> = (0..m).map(|_| rng.below(k).min(rng.below(k)) as u32).collect();
        let shares = [0.3 * rng.uniform(), 0.1 + 0.3 * rng.uniform()];
        let data = classified(&labels, k);
        let parts = split(&data, shares, &mut Rng::new(seed)).unwrap();
        assert_eq!(parts, split(&data, shares, &mut Rng::new(seed)).unwrap());
        assert!(parts.iter().all(|part| part.is_sorted()));
        let mut all = parts.concat();
        all.sort_unstable();
        assert_eq!(all, (0..m).collect::<Vec<_>>());
        let shares = [1.0 - shares[0] - shares[1], shares[0], shares[1]];
        for class in 0..k as u32 {
            let n = labels.iter().filter(|&&label| label == class).count();
            for (part, share) in parts.iter().zip(shares) {
                let found = part.iter().filter(|&&i| labels[i] == class).count();
                let quota = share * n as f64;
                // Never further than one from its share, but that a class of three is everywhere.
                let is_near = (found as f64 - quota).abs() < 1.0;
                assert!(is_near || (n >= 3 && quota < 1.0 || n < 12), "{found} of {n}, {share}");
                assert!(n < 3 || found > 0, "class {class} of {n} is not everywhere");
            }
        }
    }
}

#[test]
fn counts_are_those_of_largest_remainders() {
    for (n, shares, wanted) in [
        (10, [0.6, 0.2, 0.2], [6, 2, 2]),
        (5, [0.6, 0.2, 0.2], [3, 1, 1]),
        (4, [0.6, 0.2, 0.2], [2, 1, 1]),
        (3, [0.6, 0.2, 0.2], [1, 1, 1]),
        (3, [0.9, 0.05, 0.05], [1, 1, 1]),
        (2, [0.6, 0.2, 0.2], [1, 1, 0]),
        (1, [0.6, 0.2, 0.2], [1, 0, 0]),
        (7, [0.5, 0.5, 0.0], [4, 3, 0]),
        (9, [1.0, 0.0, 0.0], [9, 0, 0]),
    ] {
        let found = counts(n, shares, 0);
        assert_eq!(found, wanted, "{n} {shares:?}");
    }
}

#[test]
fn values_are_split_as_one_class_and_other_seeds_split_otherwise() {
    let x = Tensor::arange(0f32, 100.0, &Device::Cpu).unwrap().unsqueeze(1).unwrap();
    let values = Targets::Values(x.clone());
    for targets in [None, Some(values)] {
        let data = prepared(x.clone(), targets);
        let parts = split(&data, [0.25, 0.25], &mut Rng::new(1)).unwrap();
        assert_eq!(parts.each_ref().map(Vec::len), [50, 25, 25]);
        assert_ne!(parts, split(&data, [0.25, 0.25], &mut Rng::new(2)).unwrap());
        let [all, none, neither] = split(&data, [0.0, 0.0], &mut Rng::new(1)).unwrap();
        assert_eq!((all.len(), none.len(), neither.len()), (100, 0, 0));
    }
    let few = classified(&[0, 1], 2);
    assert!(split(&few, [0.2, 0.2], &mut Rng::new(1)).unwrap_err().to_string().contains("found 2"));
    for shares in [[0.5, 0.5], [-0.1, 0.2], [f64::NAN, 0.1], [1.0, 0.0]] {
        assert!(split(&few, shares, &mut Rng::new(1)).is_err(), "{shares:?}");
    }
}

#[test]
fn duplicates_are_counted_as_by_comparing_each_with_each() {
    for seed in 0..10 {
        let mut rng = Rng::new(seed);
        let m = 60;
        let x: Vec<f32> = (0..2 * m).map(|_| rng.below(5) as f32).collect();
        let row = |i: usize| &x[2 * i..2 * i + 2];
        let tensor = Tensor::from_slice(&x, (m, 2), &Device::Cpu).unwrap();
        let data = prepared(tensor, None);
        let parts = split(&data, [0.3, 0.2], &mut rng).unwrap();
        let mut n_wanted = 0;
        for (at, part) in parts.iter().enumerate() {
            let earlier = parts[..at].concat();
            n_wanted += part.iter().filter(|&&i| earlier.iter().any(|&j| row(i) == row(j))).count();
        }
        assert!(n_wanted > 0);
        assert_eq!(duplicates_across(&data, &parts).unwrap(), n_wanted);
    }
}
