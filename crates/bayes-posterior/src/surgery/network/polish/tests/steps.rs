//! What steps do: least squares, held-out divergence, duplicates, bits, refusals.

use super::*;

/// One step without much damping, of the maps that the network has.
fn undamped(most_unknowns: usize) -> Polish {
    Polish { dampings: vec![1e-13], steps: vec![1.0], most_unknowns, ..Polish::one_sweep() }
}

#[test]
fn one_step_of_a_linear_map_is_least_squares() {
    let case = perceptron(1, 40);
    let before = matrix(&case.graph.forward(&case.params, &case.x).unwrap()).unwrap();
    let (mut net, x) = Growing::new(9, &[6]);
    let y = net.gemm("only", x, [3, 6], true).unwrap();
    let linear = Case::new("linear", net, y, &[6], 40);
    let h = matrix(&case.x).unwrap();
    let a = Mat::from_fn(40, 7, |i, j| if j < 6 { h[(i, j)] } else { 1.0 });
    let policy = core_tensors::linalg::RankPolicy::Full;
    let w = core_tensors::linalg::least_squares(a.as_ref(), before.as_ref(), 0.0, policy).unwrap();
    let best = (&a * &w - &before).squared_norm_l2() / 40.0;
    // Kronecker is exact here, as M = I ⊗ A/σ².
    for most in [2000, 0] {
        let found = polish(
            &case.network(),
            &linear.network(),
            &case.calibration(0),
            NORMAL,
            &undamped(most),
            &mut Rng::new(1),
        )
        .unwrap();
        // ½ ‖·‖²/σ² with σ² = ½.
        assert!((found.after - best).abs() < 1e-9 * best, "{} is not {best}", found.after);
        assert_eq!(found.steps.len(), 1);
        assert!(found.after < found.before);
    }
}

#[test]
fn one_exact_step_of_an_inner_linear_map_leaves_no_gradient() {
    let case = perceptron(1, 60);
    let (mut net, x) = Growing::new(10, &[6]);
    let h = net.gemm("a", x, [2, 6], true).unwrap();
    let y = net.gemm("b", h, [3, 2], true).unwrap();
    let linear = Case::new("linear", net, y, &[6], 60);
    let options = Polish { output_map: false, ..undamped(2000) };
    let calibration = case.calibration(0);
    let (original, small) = (case.network(), linear.network());
    let found =
        polish(&original, &small, &calibration, NORMAL, &options, &mut Rng::new(1)).unwrap();
    assert!(found.after < found.before && found.steps.len() == 1);
    let target = Target::of(&original, &calibration, NORMAL).unwrap();
    let g = |params: &Params| {
        let at = (small.graph, &linear.axes.maps()[0], params);
        Equations::of(at, &target, &options, |_| true, &mut Rng::new(1)).unwrap().gradient
    };
    assert!(g(&found.params).norm_max() < CLOSE * g(&linear.params).norm_max());
}

/// Rows that are held out when every third is.
fn held_out(x: &Tensor) -> Tensor {
    let rows: Vec<u32> = (0..x.dim(0).unwrap() as u32).filter(|i| i % 3 == 2).collect();
    x.index_select(&Tensor::new(rows, x.device()).unwrap(), 0).unwrap()
}

#[test]
fn held_out_divergence_falls_and_never_rises() {
    let kinds = [2000, 0].map(|most| Polish { most_unknowns: most, ..Polish::one_sweep() });
    let mut methods = Vec::new();
    for (case, options) in
        kinds.iter().flat_map(|kind| cases(150).into_iter().map(move |c| (c, kind)))
    {
        let mut total = (0.0, 0.0);
        for seed in 0..3 {
            let (graph, params) = case.narrowed(3.min(case.axes.groups()[0].n_units - 1), seed);
            let axes = Axes::of(&graph);
            let small = Network { graph: &graph, params: &params, axes: &axes };
            let calibration = case.calibration(3);
            let rng = &mut Rng::new(seed);
            let found =
                polish(&case.network(), &small, &calibration, SOFTMAX, options, rng).unwrap();
            let x = held_out(&case.x);
            let wanted = case.graph.forward(&case.params, &x).unwrap();
            let measured = |w: &Params| divergence(&wanted, &graph.forward(w, &x).unwrap());
            let (before, after) = (measured(&params), measured(&found.params));
            assert!((found.before - before).abs() < CLOSE, "{}", case.name);
            assert!((found.after - after).abs() < CLOSE, "{}", case.name);
            assert!(after <= before, "{}: {before} → {after}", case.name);
            (total.0, total.1) = (total.0 + before, total.1 + after);
            let mut now = found.before;
            for step in &found.steps {
                assert!(step.before == now && step.after <= now);
                assert_eq!(step.tried.len(), 9);
                let best = step.tried.iter().map(|t| t.divergence).fold(now, f64::min);
                assert_eq!(step.after, best);
                now = step.after;
                methods.push(step.method);
            }
            assert_eq!(now, found.after);
        }
        let (before, after) = total;
        assert!(after < 0.9 * before, "{}: {before} → {after}", case.name);
    }
    assert!(methods.contains(&PolishMethod::Exact) && methods.contains(&PolishMethod::Kronecker));
}

#[test]
fn a_network_that_is_the_original_stays_as_it_is() {
    let case = perceptron(1, 30);
    let network = case.network();
    let options = Polish { n_sweeps: 3, ..Polish::one_sweep() };
    let calibration = case.calibration(3);
    let found =
        polish(&network, &network, &calibration, SOFTMAX, &options, &mut Rng::new(1)).unwrap();
    // Nothing was gained in the first sweep, so there is no second.
    assert_eq!(found.steps.len(), 4);
    assert!(found.before == 0.0 && found.after == 0.0);
}

#[test]
fn duplicates_do_no_harm() {
    let case = perceptron(1, 40);
    let (graph, params) = case.narrowed(4, 0);
    let axes = Axes::of(&graph);
    let small = Network { graph: &graph, params: &params, axes: &axes };
    let polished = |x: &Tensor, options: &Polish| {
        let cutting = Cutting { batch_size: 7, held_out_every: 0 };
        let calibration = Calibration::new(std::slice::from_ref(x), None, cutting).unwrap();
        let rng = &mut Rng::new(1);
        polish(&case.network(), &small, &calibration, SOFTMAX, options, rng).unwrap()
    };
    let twice = Tensor::cat(&[&case.x, &case.x], 0).unwrap();
    for most in [2000, 0] {
        let options = Polish { most_unknowns: most, ..Polish::one_sweep() };
        let (once, twice) = (polished(&case.x, &options), polished(&twice, &options));
        assert!((once.after - twice.after).abs() < 1e-9 && once.after < once.before);
        // Two inputs that are the same, and one that is always 0: no step is lost to a singular matrix.
        let zero = (case.x.narrow(1, 0, 1).unwrap() * 0.0).unwrap();
        let rest = case.x.narrow(1, 0, 4).unwrap();
        let same = Tensor::cat(&[&rest, &case.x.narrow(1, 0, 1).unwrap(), &zero], 1).unwrap();
        let found = polished(&same, &options);
        assert!(found.after < found.before);
        assert!(found.steps.iter().all(|step| step.tried.len() == 9));
    }
}

#[test]
fn bits_depend_on_the_seed_and_not_on_threads() {
    let case = convolutional(30);
    let (graph, params) = case.narrowed(3, 0);
    let axes = Axes::of(&graph);
    let small = Network { graph: &graph, params: &params, axes: &axes };
    let bits = |threads: usize, seed: u64, most: usize| {
        let options = Polish { directions: 2, most_unknowns: most, ..Polish::one_sweep() };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let run = || {
            let rng = &mut Rng::new(seed);
            polish(&case.network(), &small, &case.calibration(0), SOFTMAX, &options, rng).unwrap()
        };
        let found = pool.install(run);
        assert!(found.after < found.before);
        let found = found.params;
        let numbers = |b: &Tensor| b.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let all: Vec<u64> = found.blocks().iter().flat_map(numbers).map(f64::to_bits).collect();
        all
    };
    for most in [2000, 0] {
        assert_eq!(bits(1, 1, most), bits(4, 1, most));
        assert_ne!(bits(1, 1, most), bits(1, 2, most));
    }
}

#[test]
fn a_refit_takes_the_chosen_steps_with_all_examples() {
    let case = perceptron(1, 60);
    let (graph, params) = case.narrowed(3, 1);
    let axes = Axes::of(&graph);
    let small = Network { graph: &graph, params: &params, axes: &axes };
    let run = |calibration: &Calibration, options: &Polish| {
        polish(&case.network(), &small, calibration, SOFTMAX, options, &mut Rng::new(1)).unwrap()
    };
    // One map, one damping and one step: what is chosen cannot differ.
    let only =
        Polish { dampings: vec![0.1], steps: vec![0.5], output_map: false, ..Polish::one_sweep() };
    let refitted = run(&case.calibration(3), &Polish { refit: true, ..only.clone() });
    let plain = run(&case.calibration(3), &only);
    let all = run(&case.calibration(0), &only);
    assert!(plain.steps.iter().all(|step| step.taken.is_some()));
    assert_eq!(refitted.after, plain.after);
    for ((refitted, all), plain) in
        refitted.params.blocks().iter().zip(all.params.blocks()).zip(plain.params.blocks())
    {
        let [refitted, all, plain] =
            [refitted, all, plain].map(|b| matrix(&b.reshape((1, ())).unwrap()).unwrap());
        assert!(relative(&refitted, &all) < CLOSE);
        assert!(refitted.ncols() < 6 || relative(&refitted, &plain) > 1e-6 || plain == all);
    }
}

#[test]
fn outputs_of_another_shape_are_refused() {
    let case = perceptron(1, 10);
    let (mut net, x) = Growing::new(9, &[6]);
    let y = net.gemm("only", x, [2, 6], true).unwrap();
    let small = Case::new("linear", net, y, &[6], 10);
    let run = |options: &Polish| {
        let calibration = case.calibration(0);
        let rng = &mut Rng::new(1);
        polish(&case.network(), &small.network(), &calibration, SOFTMAX, options, rng)
    };
    let message = run(&Polish::one_sweep()).unwrap_err().to_string();
    assert!(message.contains("[7, 3]") && message.contains("[7, 2]"), "{message}");
    assert!(run(&Polish { dampings: vec![0.0], ..Polish::one_sweep() }).is_err());
    assert!(run(&Polish { directions: 0, ..Polish::one_sweep() }).is_err());
}
