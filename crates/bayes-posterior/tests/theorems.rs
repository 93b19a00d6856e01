//! What removing units and layers does to a posterior: the papers' theorems by example and by their consequences.

mod dense;

use bayes_posterior::{
    Edit, EditOptions, Full, Gaussian, LowRankForm, Posterior, Removal, Structure, UnitMatching,
    align, transform,
};
use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Params, Rng};
use dense::{TestResult, distance, inverse, network, normals, to_dense, vector_distance};
use faer::Mat;
use models::{Architecture, Mlp};

/// Relative error of f64 algebra on matrices of condition below 1e3.
const TOLERANCE: f64 = 1e-10;

fn random_posterior(
    network: &Mlp,
    rng: &mut Rng,
) -> Result<Posterior<Full>, bayes_posterior::Error> {
    let layout = network.layout();
    let mean = normals(layout.n_parameters(), rng);
    let covariance = dense::full(&layout, rng);
    Posterior::new(network.clone(), Gaussian::new(layout, mean, covariance)?)
}

fn units(layer: usize, units: &[usize]) -> Edit {
    Edit::RemoveUnits { layer, units: units.to_vec() }
}

fn whole_layer(layer: usize, matching: UnitMatching) -> Edit {
    Edit::RemoveLayer { layer, matching }
}

#[test]
fn the_worked_example_in_both_readings() -> TestResult {
    // Network [2, 2, 1] without biases; unit 1 of layer 1 goes. Worked by hand in exact fractions.
    let rows = [
        [2.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        [0.0, 2.0, 0.0, 0.0, 0.0, 1.0],
        [0.0, 0.0, 2.0, 1.0, 0.0, 1.0],
        [0.0, 0.0, 1.0, 2.0, 0.0, 0.0],
        [1.0, 0.0, 0.0, 0.0, 2.0, 1.0],
        [0.0, 1.0, 1.0, 0.0, 1.0, 3.0],
    ];
    let teacher = network(&[2, 2, 1], false);
    let after = |removal| -> Result<_, Box<dyn std::error::Error>> {
        let covariance = Full::new(Mat::from_fn(6, 6, |i, j| rows[i][j]))?;
        let mean = vec![1.0, 2.0, 3.0, 4.0, 0.5, -1.0];
        let posterior =
            Posterior::new(teacher.clone(), Gaussian::new(teacher.layout(), mean, covariance)?)?;
        let options = EditOptions { removal, ..EditOptions::strict() };
        Ok(transform(posterior, &[units(1, &[1])], &options)?.posterior)
    };
    let close = |posterior: &Posterior<Full>, mean: [f64; 3], covariance: [[f64; 3]; 3]| {
        assert!(vector_distance(&mean, posterior.gaussian().mean()) < 1e-14);
        let wanted = covariance.iter().map(|row| row.to_vec()).collect();
        assert!(distance(&wanted, &to_dense(posterior.gaussian().covariance())) < 1e-14);
    };
    let marginal = after(Removal::Marginal)?;
    let third = 1.0 / 3.0;
    close(
        &marginal,
        [1.0, 7.0 / 3.0, 5.0 / 6.0],
        [[2.0, 0.0, 1.0], [0.0, 5.0 / 3.0, -third], [1.0, -third, 5.0 / 3.0]],
    );
    assert_eq!(marginal.kept(), [vec![0, 1], vec![0], vec![0]]);
    assert_eq!(marginal.network().widths, [2, 1, 1]);
    let all = after(Removal::ConditionAll)?;
    let seventh = 1.0 / 7.0;
    close(
        &all,
        [1.0, 19.0 * seventh, 8.5 * seventh],
        [
            [2.0, 0.0, 1.0],
            [0.0, 11.0 * seventh, -3.0 * seventh],
            [1.0, -3.0 * seventh, 11.0 * seventh],
        ],
    );
    Ok(())
}

#[test]
fn the_conditional_mean_is_the_optimal_brain_surgeons_update() -> TestResult {
    // w − H⁻¹ Eᵀ (E H⁻¹ Eᵀ)⁻¹ E w fixes the weights that E selects at 0, with H = Ψ⁻¹; written here with Lagrange
    // multipliers: the stationary point of ½ (x − w)ᵀ H (x − w) + λᵀ E x.
    for seed in 0..3 {
        let mut rng = Rng::new(seed);
        let posterior = random_posterior(&network(&[2, 3, 2], true), &mut rng)?;
        let (layout, w) =
            (posterior.gaussian().layout().clone(), posterior.gaussian().mean().to_vec());
        let slice = core_tensors::Slice::Cols { block: 1, cols: vec![0, 2] };
        let (fixed, kept) = layout.split(&slice)?;
        let h = inverse(&to_dense(posterior.gaussian().covariance()));
        let (p, d) = (w.len(), fixed.len());
        let mut kkt = vec![vec![0.0; p + d]; p + d];
        for i in 0..p {
            kkt[i][..p].copy_from_slice(&h[i]);
        }
        for (k, &i) in fixed.iter().enumerate() {
            kkt[p + k][i] = 1.0;
            kkt[i][p + k] = 1.0;
        }
        let hw = (0..p).map(|i| (0..p).map(|j| h[i][j] * w[j]).sum::<f64>());
        let right: Vec<f64> = hw.chain(vec![0.0; d]).collect();
        let solution: Vec<f64> = inverse(&kkt)
            .iter()
            .map(|row| row.iter().zip(&right).map(|(a, b)| a * b).sum())
            .collect();
        let (ours, density) = posterior.gaussian().condition(&slice, &vec![0.0; d])?;
        let wanted: Vec<f64> = kept.iter().map(|&i| solution[i]).collect();
        assert!(vector_distance(&wanted, ours.mean()) < 1e-9);
        // The cost is what the quadratic gains.
        let gap: Vec<f64> = (0..p).map(|i| solution[i] - w[i]).collect();
        let pairs = (0..p).flat_map(|i| (0..p).map(move |j| (i, j)));
        let gain: f64 = pairs.map(|(i, j)| 0.5 * gap[i] * h[i][j] * gap[j]).sum();
        assert!((density.cost() - gain).abs() < 1e-9 * gain, "{} {gain}", density.cost());
    }
    Ok(())
}

/// f(x, w) in f64 for weights in vec order.
fn logits(network: &Mlp, w: &[f64], x: &Tensor) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let layout = network.layout();
    let block = |(range, shape): (std::ops::Range<usize>, &core_tensors::Block)| {
        Tensor::from_slice(&w[range], (shape.rows, shape.cols), &Device::Cpu)
    };
    let blocks =
        layout.ranges().into_iter().zip(&layout.blocks).map(block).collect::<Result<_, _>>()?;
    let w = Params::new(layout.clone(), blocks)?;
    Ok(network.forward(&w, x)?.flatten_all()?.to_vec1::<f64>()?)
}

#[test]
fn a_pinned_network_computes_what_the_smaller_one_does() -> TestResult {
    // The event that is conditioned on makes the two networks equal, whatever else the weights are.
    let mut rng = Rng::new(1);
    for bias in [false, true] {
        let teacher = network(&[3, 4, 4, 2], bias);
        let layout = teacher.layout();
        let w = normals(layout.n_parameters(), &mut rng);
        let x =
            Tensor::from_vec(normals(15, &mut rng), (5, 3), &Device::Cpu)?.to_dtype(DType::F64)?;

        let outgoing = core_tensors::Slice::Cols { block: 1, cols: vec![0, 3] };
        let incoming = core_tensors::Slice::Rows { block: 0, rows: vec![0, 3] };
        let mut fixed = w.clone();
        layout.split(&outgoing)?.0.iter().for_each(|&i| fixed[i] = 0.0);
        let gone = [layout.split(&outgoing)?.0, layout.split(&incoming)?.0].concat();
        let left: Vec<f64> = (0..w.len()).filter(|i| !gone.contains(i)).map(|i| w[i]).collect();
        let smaller = network(&[3, 2, 4, 2], bias);
        let gap = vector_distance(&logits(&teacher, &fixed, &x)?, &logits(&smaller, &left, &x)?);
        assert!(gap < 1e-14, "units: {gap}");

        // A layer fixed at a permutation P goes, and the columns of the next block turn: compare with the mean of
        // a posterior so narrow that nothing else moves.
        let order = [2, 0, 3, 1];
        let (mut fixed, cols) = (w.clone(), 4 + usize::from(bias));
        let start = layout.ranges()[1].start;
        for (unit, &from) in order.iter().enumerate() {
            for input in 0..cols {
                fixed[start + unit * cols + input] = if input == from { 1.0 } else { 0.0 };
            }
        }
        let narrow = bayes_posterior::Diagonal::new(vec![1e-6; w.len()])?;
        let posterior =
            Posterior::new(teacher.clone(), Gaussian::new(layout, fixed.clone(), narrow)?)?;
        let plan = [whole_layer(2, UnitMatching::Density)];
        let result = transform(posterior, &plan, &EditOptions::strict())?;
        assert!(result.fixed[0].density.cost() < 1e-9, "the pairing was not found");
        let left = result.posterior;
        let ours = logits(left.network(), left.gaussian().mean(), &x)?;
        let gap = vector_distance(&logits(&teacher, &fixed, &x)?, &ours);
        assert!(gap < 1e-14, "layer: {gap}");
    }
    Ok(())
}

#[test]
fn units_of_one_layer_go_in_any_order_with_the_same_result() -> TestResult {
    for removal in [Removal::Marginal, Removal::ConditionAll] {
        let posterior = random_posterior(&network(&[2, 4, 2], true), &mut Rng::new(2))?;
        let options = EditOptions { removal, ..EditOptions::strict() };
        let jointly = transform(posterior.clone(), &[units(1, &[3, 0, 2])], &options)?;
        // Unit 2 is unit 1 once 0 has gone, and unit 3 is then the last of two.
        let plan = [units(1, &[0]), units(1, &[1]), units(1, &[1])];
        let singly = transform(posterior, &plan, &options)?;
        let (a, b) = (&jointly.posterior, &singly.posterior);
        assert_eq!(a.kept(), b.kept());
        assert_eq!(a.kept()[1], [1]);
        assert!(vector_distance(a.gaussian().mean(), b.gaussian().mean()) < TOLERANCE);
        let gap =
            distance(&to_dense(a.gaussian().covariance()), &to_dense(b.gaussian().covariance()));
        assert!(gap < TOLERANCE);
        let total = |t: &bayes_posterior::Transformed<Full>| -> f64 {
            t.fixed.iter().map(|p| p.density.log_density()).sum()
        };
        // log p(a, b, c) = log p(a) + log p(b | a) + …, as long as all are fixed under one posterior.
        assert!((total(&jointly) - total(&singly)).abs() < 1e-9 * total(&jointly).abs());
    }
    Ok(())
}

#[test]
fn the_side_that_goes_first_matters_under_correlation_only() -> TestResult {
    let teacher = network(&[2, 3, 3, 1], false);
    let (from_output, from_input) =
        ([units(2, &[1]), units(1, &[0])], [units(1, &[0]), units(2, &[1])]);
    fn gap<S: Structure>(
        p: &Posterior<S>,
        a: &[Edit],
        b: &[Edit],
    ) -> Result<f64, bayes_posterior::Error> {
        let [a, b] = [
            transform(p.clone(), a, &EditOptions::strict())?,
            transform(p.clone(), b, &EditOptions::strict())?,
        ];
        assert_eq!(a.posterior.kept(), b.posterior.kept());
        let dense =
            |t: &bayes_posterior::Transformed<S>| to_dense(t.posterior.gaussian().covariance());
        Ok(distance(&dense(&a), &dense(&b)))
    }
    let mut rng = Rng::new(4);
    let correlated = random_posterior(&teacher, &mut rng)?;
    assert!(gap(&correlated, &from_output, &from_input)? > 1e-3);
    let diagonal = dense::diagonal(&teacher.layout(), &mut rng);
    let mean = normals(teacher.layout().n_parameters(), &mut rng);
    let independent =
        Posterior::new(teacher.clone(), Gaussian::new(teacher.layout(), mean, diagonal)?)?;
    assert!(gap(&independent, &from_output, &from_input)? == 0.0);
    Ok(())
}

#[test]
fn a_pairing_by_density_is_never_less_dense_and_often_the_best() -> TestResult {
    let permutations = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let (mut n_best, n) = (0, 20);
    for seed in 0..n {
        let posterior = random_posterior(&network(&[2, 3, 3, 1], false), &mut Rng::new(seed))?;
        let cost = |order: [usize; 3]| -> Result<f64, bayes_posterior::Error> {
            let mut values = vec![0.0; 9];
            order.iter().enumerate().for_each(|(i, j)| values[3 * i + j] = 1.0);
            Ok(posterior
                .gaussian()
                .marginal_density(&core_tensors::Slice::Block { block: 1 }, &values)?
                .cost())
        };
        let costs = permutations.iter().map(|&o| cost(o)).collect::<Result<Vec<_>, _>>()?;
        let plan = [whole_layer(2, UnitMatching::Density)];
        let ours = transform(posterior, &plan, &EditOptions::strict())?.fixed[0].density.cost();
        assert!(ours <= costs[0] * (1.0 + TOLERANCE), "less dense than the identity");
        let best = costs.iter().copied().fold(f64::INFINITY, f64::min);
        n_best += u32::from(ours <= best * (1.0 + TOLERANCE));
    }
    // By chance it would be the best in about one of six.
    assert!(n_best > 8, "{n_best} of {n}");
    Ok(())
}

#[test]
fn a_pairing_on_independent_parameters_is_the_best_of_all() -> TestResult {
    let permutations = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for seed in 0..20 {
        let (mut rng, teacher) = (Rng::new(seed), network(&[2, 3, 3, 1], true));
        let mean = normals(teacher.layout().n_parameters(), &mut rng);
        let covariance = dense::diagonal(&teacher.layout(), &mut rng);
        let posterior =
            Posterior::new(teacher.clone(), Gaussian::new(teacher.layout(), mean, covariance)?)?;
        let naive =
            dense::twin(&teacher, posterior.gaussian().mean(), posterior.gaussian().covariance());
        let plan = [whole_layer(2, UnitMatching::Density)];
        let result = transform(posterior.clone(), &plan, &EditOptions::strict())?;
        let cost = |order: &[usize; 3]| -> f64 {
            let at = |i: usize, j: usize| naive.position(2, i, j);
            let cell = |(i, j): (usize, usize)| {
                let wanted = if j == order[i] { 1.0 } else { 0.0 };
                let k = at(i, j);
                0.5 * (wanted - naive.mean[k]).powi(2) / naive.covariance[k][k]
            };
            (0..3).flat_map(|i| (0..4).map(move |j| (i, j))).map(cell).sum()
        };
        let best = permutations.iter().min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap();
        let ours = result.fixed[0].density.cost();
        assert!((ours - cost(best)).abs() < 1e-9 * ours, "{ours} {}", cost(best));
        let wanted = naive.remove_layer(2, best);
        assert!(vector_distance(&wanted.mean, result.posterior.gaussian().mean()) < TOLERANCE);
    }
    Ok(())
}

#[test]
fn alignment_pins_least_and_reaches_the_student() -> TestResult {
    let teacher = network(&[10, 100, 50, 1], false);
    type Units = bayes_posterior::Result<Vec<usize>>;
    let first = |n: usize| move |_| -> Units { Ok((0..n).collect()) };
    let ids = |layer: usize| -> Units { Ok((0..[10, 100, 50, 1][layer]).rev().collect()) };
    let plan = align(&teacher, &network(&[10, 10, 10, 1], false), &[], ids)?;
    let [Edit::RemoveUnits { layer: 2, units: two }, Edit::RemoveUnits { layer: 1, units: one }] =
        &plan[..]
    else {
        return Err(format!("{plan:?}").into());
    };
    assert_eq!((two.len(), one.len(), one[0]), (40, 90, 99));
    let plan = align(&teacher, &network(&[10, 50, 1], false), &[2], first(100))?;
    assert_eq!(plan[1], whole_layer(2, UnitMatching::Identity));
    assert!(matches!(&plan[0], Edit::RemoveUnits { layer: 1, units } if units.len() == 50));

    let message = |student: &[usize], drop: &[usize]| {
        align(&teacher, &network(student, false), drop, first(100)).unwrap_err().to_string()
    };
    assert!(
        message(&[10, 120, 50, 1], &[])
            .contains("layer 1 would need 120 units of the teacher's 100")
    );
    assert!(message(&[10, 50, 1], &[]).contains("name 1 of the hidden layers 1 to 2 to drop"));
    assert!(message(&[10, 5, 5, 5, 1], &[]).contains("deeper than the teacher"));
    assert!(message(&[9, 50, 1], &[2]).contains("the inputs must be the same 10"));
    assert!(message(&[10, 10, 10, 1], &[2]).contains("no layer may be dropped"));
    let wrong =
        align(&teacher, &network(&[10, 10, 10, 1], false), &[], |_| -> Units { Ok(vec![0]) });
    assert!(wrong.unwrap_err().to_string().contains("each of 0 to 49 once"));
    Ok(())
}

#[test]
fn edits_that_leave_another_function_are_refused_with_a_way_out() -> TestResult {
    let relu = Activation::Relu;
    let leaky = Activation::LeakyRelu { slope: 0.01 };
    let refusal = |widths: &[usize], activation, edit: Edit, options: EditOptions| {
        let teacher = Mlp { widths: widths.to_vec(), activation, bias: false };
        let posterior = random_posterior(&teacher, &mut Rng::new(0)).unwrap();
        transform(posterior, &[edit], &options).map_err(|e| e.to_string())
    };
    let strict = EditOptions::strict();
    let layer = |t| whole_layer(t, UnitMatching::Identity);
    let cases = [
        (relu, layer(1), "declare them non-negative"),
        (relu, layer(2), "U_2 is 3 × 4, but must be square; remove 1 unit of layer 1 first"),
        (relu, layer(4), "this is the output layer"),
        (relu, layer(5), "no such hidden layer, they are 1 to 3"),
        (relu, layer(0), "no such hidden layer"),
        (relu, units(3, &[0]), "all 1 units would go"),
        (relu, units(1, &[4]), "there is no unit 4, they are 0 to 3"),
        (relu, units(1, &[2, 2]), "unit 2 is named twice"),
        (relu, units(4, &[0]), "these are the outputs"),
    ];
    for (activation, edit, part) in cases {
        let text = refusal(&[4, 4, 3, 1, 1], activation, edit, strict).unwrap_err();
        assert!(text.contains(part), "{text} / {part}");
    }
    let text = refusal(&[4, 3, 3, 1], leaky, layer(2), strict).unwrap_err();
    assert!(text.contains("slope 0.01 becomes 0.0001"), "{text}");
    let waived = EditOptions { allow_inexact: true, ..strict };
    assert!(refusal(&[4, 3, 3, 1], leaky, layer(2), waived)?.posterior.is_inexact());
    assert!(!refusal(&[4, 3, 3, 1], relu, layer(2), waived)?.posterior.is_inexact());
    let curved = [
        (Activation::Tanh, "tanh applied twice"),
        (Activation::Sigmoid, "a sigmoid applied twice"),
        (Activation::Silu, "SiLU applied twice"),
        (Activation::Gelu, "GELU applied twice"),
    ];
    for ((activation, part), t) in curved.into_iter().flat_map(|case| [(case, 1), (case, 2)]) {
        let declared = EditOptions { nonnegative_inputs: true, ..strict };
        let text = refusal(&[3, 3, 3, 1], activation, layer(t), declared).unwrap_err();
        assert!(text.contains(part), "{text} / {part}");
        assert!(refusal(&[3, 3, 3, 1], activation, layer(t), waived)?.posterior.is_inexact());
    }
    let declared = EditOptions { nonnegative_inputs: true, ..strict };
    assert!(!refusal(&[3, 3, 1], leaky, layer(1), declared)?.posterior.is_inexact());
    Ok(())
}

#[test]
fn low_rank_forms_mirror_one_another() -> TestResult {
    // Ψ = D + F Fᵀ conditions as P = D + F Fᵀ marginalizes: the same numbers come out.
    let mut rng = Rng::new(9);
    let layout = network(&[2, 3, 2], true).layout();
    let covariance = dense::low_rank(LowRankForm::Covariance, &layout, &mut rng);
    let mirrored = bayes_posterior::LowRank::new(
        LowRankForm::Precision,
        covariance.factor().to_owned(),
        covariance.own_diagonal().to_vec(),
    )?;
    let slice = core_tensors::Slice::Rows { block: 0, rows: vec![1] };
    let n = layout.split(&slice)?.0.len();
    let a = covariance.condition(&layout, &slice, &vec![0.0; n])?.covariance;
    let b = mirrored.marginalize(&layout, &slice)?;
    assert_eq!(a.own_diagonal(), b.own_diagonal());
    assert_eq!(a.factor(), b.factor());
    Ok(())
}
