//! What the entries of this crate refuse: networks without layers, plans and orders that name something twice.

mod dense;

use bayes_posterior::{
    Diagonal, Edit, EditOptions, Gaussian, Posterior, PruningCriterion, RankInput, UnitScore,
    align, follow_path, rank, removal_path, transform,
};
use candle_core::{DType, Device, Tensor};
use core_tensors::{Dataset, Params, Rng, Targets};
use dense::{TestResult, network, normals};
use losses::Likelihood;
use models::{Architecture, Mlp};

fn message<T>(result: Result<T, bayes_posterior::Error>) -> String {
    result.err().map(|e| e.to_string()).unwrap_or_default()
}

fn posterior(widths: &[usize]) -> Result<Posterior<Diagonal>, Box<dyn std::error::Error>> {
    let model = network(widths, true);
    let p = model.layout().n_parameters();
    let mean = normals(p, &mut Rng::new(0));
    let gaussian = Gaussian::new(model.layout(), mean, Diagonal::new(vec![1.0; p])?)?;
    Ok(Posterior::new(model, gaussian)?)
}

#[test]
fn a_network_without_layers() -> TestResult {
    for widths in [vec![], vec![3], vec![3, 0, 2]] {
        let model = Mlp { widths, ..network(&[1, 1], true) };
        let wanted = format!(
            "widths of a network: expected two or more, each at least 1, found {:?}",
            model.widths
        );
        let input = RankInput::of_weights(&model, &[], None);
        assert_eq!(message(rank(PruningCriterion::Magnitude, &input, 1, &mut Rng::new(0))), wanted);
        let data = Dataset::new(
            Tensor::zeros((1, 3), DType::F64, &Device::Cpu)?,
            Targets::Values(Tensor::zeros((1, 1), DType::F64, &Device::Cpu)?),
        )?;
        let none = Params::new(core_tensors::Layout { blocks: vec![] }, vec![])?;
        let normal = Likelihood::Normal { variance: 1.0 };
        assert_eq!(message(dense::laplace(&model, &none, &data, &normal, 1.0).full()), wanted);
        let other = network(&[3, 2], true);
        for (teacher, student) in [(&model, &other), (&other, &model), (&model, &model)] {
            assert_eq!(message(align(teacher, student, &[], |_| Ok(vec![]))), wanted);
        }
    }
    Ok(())
}

#[test]
fn a_layer_that_is_to_be_dropped_twice() {
    let (teacher, student) = (network(&[2, 3, 3, 3, 1], true), network(&[2, 3, 3, 1], true));
    let all = |n: usize| Ok((0..n).collect());
    let text = message(align(&teacher, &student, &[2, 2], |_| all(3)));
    assert_eq!(text, "aligning [2, 3, 3, 3, 1] to [2, 3, 3, 1]: layer 2 is named twice");
    assert!(align(&teacher, &student, &[2], |_| all(3)).is_ok());
}

#[test]
fn a_path_along_an_order_that_is_none() -> TestResult {
    let posterior = posterior(&[2, 3, 1])?;
    let follow = |units: &[usize]| {
        let ranked: Vec<UnitScore> =
            units.iter().map(|&unit| UnitScore { unit, score: 0.0 }).collect();
        let visit = |_: &Posterior<Diagonal>, _| Ok::<(), bayes_posterior::Error>(());
        follow_path(posterior.clone(), 1, &ranked, &[1], 1.0, visit)
    };
    let wanted = "ranked units: expected each of 0 to 2 once, found ";
    for units in [&[0, 0, 1][..], &[0, 1, 7], &[0, 1], &[0, 1, 2, 2]] {
        assert_eq!(message(follow(units)), format!("{wanted}{units:?}"));
    }
    assert_eq!(message(follow(&[2, 0, 1])), "");
    for sizes in [&[0][..], &[4], &[2, 3], &[1, 2]] {
        let mut rng = Rng::new(0);
        let path =
            removal_path(&posterior, 1, PruningCriterion::Density, None, sizes, 1.0, &mut rng);
        assert!(message(path).starts_with("sizes of a removal path"), "{sizes:?}");
    }
    Ok(())
}

#[test]
fn data_without_an_example() -> TestResult {
    let model = network(&[2, 3, 1], true);
    let data = Dataset::new(
        Tensor::zeros((0, 2), DType::F64, &Device::Cpu)?,
        Targets::Values(Tensor::zeros((0, 1), DType::F64, &Device::Cpu)?),
    )?;
    let w = normals(model.layout().n_parameters(), &mut Rng::new(0));
    let normal = Likelihood::Normal { variance: 1.0 };
    let input = RankInput::of_weights(&model, &w, Some((&data, &normal)));
    for order in [PruningCriterion::Activation, PruningCriterion::OptimalBrainDamage] {
        let text = message(rank(order, &input, 1, &mut Rng::new(0)));
        assert_eq!(text, "examples: expected at least 1, found 0");
    }
    let params = Params::from_vec(&model.layout(), &w, &Device::Cpu)?;
    let text = message(dense::laplace(&model, &params, &data, &normal, 1.0).diagonal());
    assert_eq!(text, "examples: expected at least 1, found 0");
    Ok(())
}

#[test]
fn edits_of_layers_that_are_not_there() -> TestResult {
    let posterior = posterior(&[2, 3, 3, 1])?;
    for (layer, units) in [(0, vec![0]), (3, vec![0]), (9, vec![0]), (1, vec![3]), (1, vec![0, 0])]
    {
        let plan = [Edit::RemoveUnits { layer, units }];
        assert!(transform(posterior.clone(), &plan, &EditOptions::strict()).is_err(), "{plan:?}");
    }
    Ok(())
}
