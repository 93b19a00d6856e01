//! Whether networks fit their examples, and the reasons that are told.

use super::*;

#[test]
fn a_network_fits_where_it_beats_the_best_constant() {
    let mut rng = Rng::new(7);
    let (logits, _, targets) = random(200, 3, &mut rng);
    let check = fit_check(&logits, &targets).unwrap();
    assert!(check.is_better && check.measures[0].network > check.measures[0].constant);
    // Constant logits are not better, nor are random ones.
    let constant = (logits.zeros_like().unwrap() + 1.0).unwrap();
    assert!(!fit_check(&constant, &targets).unwrap().is_better);
    let (other, _, _) = random(200, 3, &mut rng);
    assert!(!fit_check(&other, &targets).unwrap().is_better);
    let bad = (logits * f64::NAN).unwrap();
    assert!(!fit_check(&bad, &targets).unwrap().is_better);
    // Rare classes: no more accurate than the constant, and yet more likely.
    let rare: Vec<u32> = (0..1000).map(|i| u32::from(i % 20 == 0)).collect();
    let z: Vec<f64> = rare.iter().map(|&y| if y == 1 { -0.5 } else { -4.0 }).collect();
    let z = Tensor::from_vec(z, (1000, 1), &Device::Cpu).unwrap();
    let check = fit_check(&z, &classes(&rare, 2)).unwrap();
    assert!(check.is_better && check.measures[0].network == check.measures[0].constant);

    let column = |of: &dyn Fn(i32) -> f64| {
        let values: Vec<f64> = (0..20).map(of).collect();
        Tensor::from_vec(values, (20, 1), &Device::Cpu).unwrap()
    };
    let y = Targets::Values(column(&f64::from));
    let near = column(&|i| f64::from(i) + if i % 2 == 0 { 0.1 } else { -0.1 });
    assert!(fit_check(&near, &y).unwrap().is_better);
    let check = fit_check(&(near + 10.0).unwrap(), &y).unwrap();
    assert!(!check.is_better);
    // (n² − 1) / 12
    assert_near(check.measures[0].constant, 33.25f64.sqrt());
    assert_eq!(check.measures[1].constant, 0.0);
}

/// Reasons of outputs that are given, with a network that knows nothing of any input.
fn reasons(outputs: &Tensor, targets: &Targets) -> Vec<String> {
    let x = Tensor::zeros((outputs.dims()[0], 2), DType::F32, &Device::Cpu).unwrap();
    let mut run =
        |x: &Tensor| Ok(Tensor::zeros((x.dim(0)?, outputs.dims()[1]), DType::F32, &Device::Cpu)?);
    fit_reasons(outputs, targets, &[], &x, &mut run).unwrap()
}

#[test]
fn reasons_are_measured_where_they_can_be() {
    let mut rng = Rng::new(8);
    let (logits, _, targets) = random(400, 3, &mut rng);
    // Labels of the next class.
    let Targets::Classes { labels, .. } = &targets else { panic!("no classes") };
    let shifted: Vec<u32> = labels.to_vec1::<u32>().unwrap().iter().map(|y| (y + 1) % 3).collect();
    let told = reasons(&logits, &classes(&shifted, 3));
    assert!(told[0].contains("label 0 is class 2 of the network, label 1 is class 0"), "{told:?}");
    assert!(told[0].ends_with("give --classes 1,2,0."), "{told:?}");
    assert_eq!(told.len(), 1);
    // Where the order is right nothing is said of it; a constant class is.
    let constant = (logits.zeros_like().unwrap() + 1.0).unwrap();
    let told = reasons(&constant, &targets);
    assert!(told[0].contains("class 0 for 400 of 400 examples"), "{told:?}");
    assert_eq!(reasons(&logits, &targets).len(), 1);
    // Values in another unit.
    let y: Vec<f64> = (0..50).map(f64::from).collect();
    let f: Vec<f64> = y.iter().map(|y| (y - 3.0) / 7.0).collect();
    let [y, f] = [y, f].map(|v| Tensor::from_vec(v, (50, 1), &Device::Cpu).unwrap());
    let told = reasons(&f, &Targets::Values(y));
    assert!(told[0].contains("(7.0000 f + 3.0000) R² is 1.0000"), "{told:?}");
    let few = reasons(&tensor(&[&[f64::NAN]]), &classes(&[0], 2));
    assert!(
        few[0].contains("only 1 examples") && few[1].contains("not finite on 1 of 1"),
        "{few:?}"
    );
}

#[test]
fn inputs_that_fit_are_found() {
    // Trained on x / 255: class 1 where the first pixel is above one half.
    let mut rng = Rng::new(9);
    let x: Vec<f32> = (0..200).map(|_| (255.0 * rng.uniform()) as f32).collect();
    let labels: Vec<u32> = x.iter().map(|&x| u32::from(x > 127.5)).collect();
    let x = Tensor::from_vec(x, (200, 1), &Device::Cpu).unwrap();
    let mut run = |x: &Tensor| -> Result<Tensor> {
        let is_in = (x.ge(0.0)?.to_dtype(DType::F32)? * x.le(1.0)?.to_dtype(DType::F32)?)?;
        Ok(((x * 8.0)? - 4.0)?.mul(&is_in)?)
    };
    let outputs = run(&x).unwrap();
    let targets = classes(&labels, 2);
    assert!(!fit_check(&outputs, &targets).unwrap().is_better);
    let told = fit_reasons(&outputs, &targets, &[], &x, &mut run).unwrap();
    assert!(
        told.iter()
            .any(|line| line
                .starts_with("With inputs divided by 255, the network's accuracy is 1.0000")),
        "{told:?}"
    );
    assert!(told[0].contains("give bytes (uint8)"), "{told:?}");
}

#[test]
fn what_helps_a_little_is_no_cause() {
    // Logits of inputs of the wrong scale; standardized, half of the answers are right, of three classes.
    let mut rng = Rng::new(10);
    let labels: Vec<u32> = (0..300).map(|i| i % 3).collect();
    let x: Vec<f32> = (0..600).map(|_| 50.0 + rng.normal() as f32).collect();
    let x = Tensor::from_vec(x, (300, 2), &Device::Cpu).unwrap();
    let of = |share: u32| {
        let rows = labels.iter().enumerate().flat_map(|(i, &y)| {
            let found = if (i as u32 / 3) % 100 < share { y } else { (y + 1) % 3 };
            (0..3).map(move |class| if class == found { 9f32 } else { 0.0 })
        });
        Tensor::from_vec(rows.collect::<Vec<f32>>(), (300, 3), &Device::Cpu).unwrap()
    };
    let told = |share: u32| {
        let mut run = |x: &Tensor| -> Result<Tensor> {
            let mean = x.mean_all()?.to_scalar::<f32>()?;
            Ok(of(if mean.abs() < 1.0 { share } else { 34 }))
        };
        let outputs = run(&x).unwrap();
        let targets = classes(&labels, 3);
        fit_reasons(&outputs, &targets, &[], &x, &mut run).unwrap().join(" ")
    };
    assert!(!told(51).contains("standardized") && told(51).contains("another column"));
    let convinced = told(90);
    assert!(convinced.contains("--standardize") && !convinced.contains("column"), "{convinced}");
}

#[test]
fn a_sure_and_often_wrong_network_does_not_fit() {
    // (right of 100, logit of the predicted class) of three equally frequent classes.
    for (n_right, logit, is_fit) in [(45, 1000.0, false), (45, 0.3, true), (95, 1000.0, true)] {
        let labels: Vec<u32> = (0..300).map(|i| i % 3).collect();
        let rows = labels.iter().enumerate().flat_map(|(i, &y)| {
            let found = if (i / 3) % 100 < n_right { y } else { (y + 1) % 3 };
            (0..3).map(move |class| if class == found { logit } else { 0.0 })
        });
        let outputs = Tensor::from_vec(rows.collect::<Vec<f64>>(), (300, 3), &Device::Cpu).unwrap();
        let check = fit_check(&outputs, &classes(&labels, 3)).unwrap();
        assert_eq!(check.is_better, is_fit, "{n_right} {logit}");
    }
}
