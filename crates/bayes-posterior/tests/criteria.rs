//! Orders of units: by hand where a rule is a sum, by brute force where it is not.

mod dense;

use bayes_posterior::{
    Covariance, Diagonal, Gaussian, PruningCriterion, RankInput, UnitScore, rank,
};
use candle_core::{Device, Tensor};
use core_tensors::{Dataset, Rng, Targets};
use dense::{Matrix, TestResult, inverse, network, normals, to_dense};
use losses::Likelihood;
use models::Architecture;

/// Blocks (3, 3) and (2, 4) of a network [2, 3, 2] with biases.
fn weights() -> Vec<f64> {
    let first = [0.5, -0.2, 0.1, -1.0, 0.3, 0.0, 0.7, 0.7, -0.1];
    let second = [1.0, -0.1, 0.5, 9.0, -2.0, 0.2, 0.4, 9.0];
    [&first[..], &second[..]].concat()
}

fn units(ranked: &[UnitScore]) -> Vec<usize> {
    ranked.iter().map(|r| r.unit).collect()
}

fn score(ranked: &[UnitScore], unit: usize) -> f64 {
    ranked.iter().find(|r| r.unit == unit).map_or(f64::NAN, |r| r.score)
}

#[test]
fn sums_over_outgoing_weights_by_hand() -> TestResult {
    let model = network(&[2, 3, 2], true);
    let w = weights();
    let variance: Vec<f64> = (0..17).map(|i| if i == 9 { 100.0 } else { 0.25 }).collect();
    let gaussian = Gaussian::new(model.layout(), w.clone(), Diagonal::new(variance)?)?;
    let input = RankInput { network: &model, weights: &w, posterior: Some(&gaussian), data: None };
    let by = |order| rank(order, &input, 1, &mut Rng::new(0));
    // Outgoing weights: unit 0 (1, −2), unit 1 (−0.1, 0.2), unit 2 (0.5, 0.4); the biases 9 never count.
    let magnitude = by(PruningCriterion::Magnitude)?;
    assert_eq!(units(&magnitude), [1, 2, 0]);
    assert!((score(&magnitude, 2) - 0.9).abs() < 1e-15);
    // The first weight of unit 0 is uncertain: variance 100.
    let density = by(PruningCriterion::Density)?;
    assert!((score(&density, 0) - (1.0 / 200.0 + 4.0 / 0.5)).abs() < 1e-12);
    let ratio = by(PruningCriterion::SignalToNoise)?;
    assert!((score(&ratio, 0) - (0.1 + 4.0)).abs() < 1e-12);
    // Without data the curvature is the posterior's precision.
    let damage = by(PruningCriterion::OptimalBrainDamage)?;
    assert!((score(&damage, 0) - score(&density, 0)).abs() < 1e-12);
    Ok(())
}

#[test]
fn data_speak_for_a_network_without_posterior() -> TestResult {
    let model = network(&[2, 3, 2], true);
    let w = weights();
    let x = [[1.0, 2.0], [-1.0, 0.5], [0.3, -2.0]];
    let data = Dataset::new(
        Tensor::new(&x, &Device::Cpu)?,
        Targets::Values(Tensor::zeros((3, 2), candle_core::DType::F64, &Device::Cpu)?),
    )?;
    let normal = Likelihood::Normal { variance: 0.5 };
    let input = RankInput::of_weights(&model, &w, Some((&data, &normal)));
    let hidden: Vec<[f64; 3]> = x
        .iter()
        .map(|x| {
            std::array::from_fn(|j| (w[3 * j] * x[0] + w[3 * j + 1] * x[1] + w[3 * j + 2]).max(0.0))
        })
        .collect();
    let activation = rank(PruningCriterion::Activation, &input, 1, &mut Rng::new(0))?;
    let damage = rank(PruningCriterion::OptimalBrainDamage, &input, 1, &mut Rng::new(0))?;
    for j in 0..3 {
        let mean = hidden.iter().map(|z| z[j]).sum::<f64>() / 3.0;
        assert!((score(&activation, j) - mean).abs() < 1e-12);
        // H of an outgoing weight of a regression is Σ z²/σ².
        let h = hidden.iter().map(|z| z[j] * z[j]).sum::<f64>() / 0.5;
        let wanted = 0.5 * h * (w[9 + j].powi(2) + w[13 + j].powi(2));
        assert!((score(&damage, j) - wanted).abs() < 1e-10 * wanted.max(1.0), "{j}");
    }
    for order in [
        PruningCriterion::Density,
        PruningCriterion::SignalToNoise,
        PruningCriterion::Belsley,
        PruningCriterion::BelsleyCovariance,
        PruningCriterion::Greedy,
    ] {
        let text = rank(order, &input, 1, &mut Rng::new(0)).unwrap_err().to_string();
        assert!(text.contains(order.name()) && text.contains("a posterior"), "{text}");
    }
    let blind = RankInput { data: None, ..input };
    for order in [PruningCriterion::Activation, PruningCriterion::OptimalBrainDamage] {
        let text = rank(order, &blind, 1, &mut Rng::new(0)).unwrap_err().to_string();
        assert!(text.contains("needs data"), "{text}");
    }
    Ok(())
}

#[test]
fn activations_count_by_size() -> TestResult {
    // Unit 0 is −4, then 0; unit 1 is 1, then 1: mean |z| is 2 against 1, mean z −2 against 1.
    let model = models::Mlp {
        activation: core_tensors::kernels::Activation::Identity,
        ..network(&[1, 2, 1], true)
    };
    let w = [4.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0];
    let data = Dataset::new(
        Tensor::new(&[[-1.0], [0.0]], &Device::Cpu)?,
        Targets::Values(Tensor::zeros((2, 1), candle_core::DType::F64, &Device::Cpu)?),
    )?;
    let normal = Likelihood::Normal { variance: 1.0 };
    let input = RankInput::of_weights(&model, &w, Some((&data, &normal)));
    let ranked = rank(PruningCriterion::Activation, &input, 1, &mut Rng::new(0))?;
    assert_eq!((units(&ranked), score(&ranked, 0), score(&ranked, 1)), (vec![1, 0], 2.0, 1.0));
    Ok(())
}

#[test]
fn the_greedy_order_is_cheapest_at_every_step_and_adds_up() -> TestResult {
    fn law<S: Covariance>(model: &models::Mlp, s: S, rng: &mut Rng) -> TestResult {
        let layout = model.layout();
        let gaussian = Gaussian::new(layout.clone(), normals(layout.n_parameters(), rng), s)?;
        let input = RankInput {
            network: model,
            weights: gaussian.mean(),
            posterior: Some(&gaussian),
            data: None,
        };
        let ranked = rank(PruningCriterion::Greedy, &input, 2, rng)?;
        let naive = dense::twin(model, gaussian.mean(), gaussian.covariance());
        // ½ mᵀ Ψ⁻¹ m of all outgoing weights of a set of units, jointly.
        let joint = |units: &[usize]| -> f64 {
            let at: Vec<usize> = units.iter().flat_map(|&j| naive.column(3, j)).collect();
            let part: Matrix =
                at.iter().map(|&i| at.iter().map(|&j| naive.covariance[i][j]).collect()).collect();
            let precision = inverse(&part);
            let pairs = (0..at.len()).flat_map(|a| (0..at.len()).map(move |b| (a, b)));
            pairs.map(|(a, b)| 0.5 * naive.mean[at[a]] * precision[a][b] * naive.mean[at[b]]).sum()
        };
        let (mut gone, mut total) = (Vec::new(), 0.0);
        for UnitScore { unit, score } in ranked {
            let costs = (0..4)
                .filter(|j| !gone.contains(j))
                .map(|j| joint(&[&gone[..], &[j]].concat()) - total);
            let cheapest = costs.fold(f64::INFINITY, f64::min);
            assert!(
                (score - cheapest).abs() < 1e-9 * (1.0 + cheapest),
                "{}: {score} {cheapest}",
                S::NAME
            );
            gone.push(unit);
            total += score;
        }
        assert!((total - joint(&[0, 1, 2, 3])).abs() < 1e-9 * total, "{}", S::NAME);
        Ok(())
    }
    let mut rng = Rng::new(3);
    for bias in [false, true] {
        let model = network(&[2, 3, 4, 2], bias);
        let (l, r) = (&model.layout(), &mut rng);
        law(&model, dense::full(l, r), r)?;
        law(&model, dense::kronecker(l, r), r)?;
        law(&model, dense::kronecker_eigen(l, r), r)?;
        law(&model, dense::by_layer(l, r), r)?;
        law(&model, dense::by_unit(l, r), r)?;
        law(&model, dense::low_rank(bayes_posterior::LowRankForm::Precision, l, r), r)?;
        law(&model, dense::low_rank(bayes_posterior::LowRankForm::Covariance, l, r), r)?;
        law(&model, dense::diagonal(l, r), r)?;
    }
    Ok(())
}

#[test]
fn both_readings_of_belsley_by_hand() -> TestResult {
    // One receiver; units 0 and 2 nearly fixed in their difference, unit 1 on its own with the largest variance.
    let model = network(&[1, 3, 1], false);
    let layout = model.layout();
    let mut covariance = faer::Mat::<f64>::identity(6, 6);
    let outgoing = [[1.0, 0.0, 0.97], [0.0, 5.0, 0.0], [0.97, 0.0, 1.02]];
    (0..3).for_each(|i| (0..3).for_each(|j| covariance[(3 + i, 3 + j)] = outgoing[i][j]));
    let gaussian = Gaussian::new(layout, vec![1.0; 6], bayes_posterior::Full::new(covariance)?)?;
    let input = RankInput {
        network: &model,
        weights: gaussian.mean(),
        posterior: Some(&gaussian),
        data: None,
    };
    let ranked = rank(PruningCriterion::BelsleyCovariance, &input, 1, &mut Rng::new(0))?;
    // Eigenvalues of the pair: 1.01 ± √(0.01² + 0.97²), so the index is 5 / 0.0399…; its shares are
    // e² λ / Ψ_jj with e² near ½, larger for the smaller variance.
    let smallest = 1.01 - (0.01f64.powi(2) + 0.97f64.powi(2)).sqrt();
    assert_eq!(units(&ranked), [0, 2, 1]);
    assert!((ranked[0].score + 5.0 / smallest).abs() < 1e-9 * 5.0 / smallest);
    assert!((ranked[2].score + 1.0).abs() < 1e-12);
    // As published, unit 1 is free (the largest variance) and comes first, with the root of the same ratio; then the
    // sum of the pair, then its difference.
    let published = rank(PruningCriterion::Belsley, &input, 1, &mut Rng::new(0))?;
    assert_eq!(published[0].unit, 1);
    assert!((published[0].score + (5.0 / smallest).sqrt()).abs() < 1e-9 * (5.0 / smallest).sqrt());
    let middle = 2.02 - smallest;
    assert!((published[1].score + (middle / smallest).sqrt()).abs() < 1e-9);
    assert!((published[2].score + 1.0).abs() < 1e-12);
    // Shares, not entries: 0.1 and 0.995 are the entries of the last direction, but the first unit has hardly any
    // variance of its own, so that the direction is a larger share of it.
    let mut covariance = faer::Mat::<f64>::identity(6, 6);
    let (cos, sin) = (0.995f64.sqrt(), 0.005f64.sqrt());
    let values = [1.0, 1e-4];
    for (i, j) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
        let e = [[cos, sin], [-sin, cos]];
        covariance[(3 + i, 3 + j)] = (0..2).map(|k| e[k][i] * e[k][j] * values[k]).sum();
    }
    let naive = |j: usize| {
        let e = [-sin, cos][j];
        e * e * values[1] / covariance[(3 + j, 3 + j)]
    };
    let wanted = if naive(0) > naive(1) { 0 } else { 1 };
    let gaussian = Gaussian::new(
        model.layout(),
        vec![1.0; 6],
        bayes_posterior::Full::new(covariance.clone())?,
    )?;
    let input = RankInput { posterior: Some(&gaussian), ..input };
    let ranked = rank(PruningCriterion::BelsleyCovariance, &input, 1, &mut Rng::new(0))?;
    assert_eq!(ranked[0].unit, wanted);
    assert_eq!(to_dense(gaussian.covariance()).len(), 6);
    Ok(())
}

#[test]
fn every_rule_names_each_unit_once_and_the_same_again() -> TestResult {
    let mut rng = Rng::new(5);
    let model = network(&[2, 5, 2], true);
    let layout = model.layout();
    let gaussian = Gaussian::new(
        layout.clone(),
        normals(layout.n_parameters(), &mut rng),
        dense::kronecker(&layout, &mut rng),
    )?;
    let x = Tensor::from_vec(normals(20, &mut rng), (10, 2), &Device::Cpu)?;
    let labels = Tensor::from_vec((0..10u32).map(|i| i % 2).collect(), 10, &Device::Cpu)?;
    let data = Dataset::new(x, Targets::Classes { labels, n_classes: 2 })?;
    let input = RankInput {
        network: &model,
        weights: gaussian.mean(),
        posterior: Some(&gaussian),
        data: Some((&data, &Likelihood::Categorical)),
    };
    for order in PruningCriterion::ALL {
        let ranked = rank(order, &input, 1, &mut Rng::new(1))?;
        let mut sorted = units(&ranked);
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4], "{}", order.name());
        assert_eq!(ranked, rank(order, &input, 1, &mut Rng::new(1))?);
        if order != PruningCriterion::Greedy {
            assert!(ranked.windows(2).all(|r| r[0].score <= r[1].score), "{}", order.name());
        }
        for layer in [0, 2, 3] {
            assert!(rank(order, &input, layer, &mut Rng::new(1)).is_err());
        }
    }
    Ok(())
}
