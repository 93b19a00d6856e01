//! Laws of polishing, on small networks in f64.

#![allow(clippy::unwrap_used, reason = "a failure here is a failure of the test")]

#[path = "../../../../../models/tests/common/growing.rs"]
#[allow(dead_code, reason = "other tests use the other parts")]
mod growing;

use candle_core::{DType, Tensor};
use core_tensors::Params;
use models::graph::axes::Axes;
use models::graph::{Dimension, Op, Reduction, Unary, ValueId};

use self::equations::Curvature;
use self::growing::{Growing, normal, of};
use super::super::{Cutting, Surgery, operate};
use super::*;

/// Relative distance of sums in f64 that are taken in another order.
const CLOSE: f64 = 1e-9;
const SOFTMAX: Likelihood = Likelihood::Categorical;
const NORMAL: Likelihood = Likelihood::Normal { variance: 0.5 };

/// A network of f64 with its units, and inputs for it.
struct Case {
    name: &'static str,
    graph: Graph,
    params: Params,
    axes: Axes,
    x: Tensor,
}

impl Case {
    fn new(name: &'static str, net: Growing, y: ValueId, input: &[usize], m: usize) -> Self {
        let (graph, params) = net.finish(y).unwrap();
        let blocks = params.blocks().iter().map(|b| b.to_dtype(DType::F64).unwrap()).collect();
        let params = Params::new(params.layout().clone(), blocks).unwrap();
        let x = normal(&mut Rng::new(5), &[&[m], input].concat()).unwrap();
        let axes = Axes::of(&graph);
        Self { name, graph, params, axes, x: x.to_dtype(DType::F64).unwrap() }
    }

    fn network(&self) -> Network<'_> {
        Network { graph: &self.graph, params: &self.params, axes: &self.axes }
    }

    fn calibration(&self, held_out_every: usize) -> Calibration {
        let cutting = Cutting { batch_size: 7, held_out_every };
        Calibration::new(std::slice::from_ref(&self.x), None, cutting).unwrap()
    }

    /// The first group narrowed to a width.
    fn narrowed(&self, width: usize, seed: u64) -> (Graph, Params) {
        let mut widths: Vec<usize> = self.axes.groups().iter().map(|g| g.n_units).collect();
        let first = self
            .axes
            .groups()
            .iter()
            .position(|g| operate::pinned(&self.axes, g).is_none() && g.n_units > width);
        widths[first.unwrap()] = width;
        let surgery = Surgery { order: super::super::Order::Random(seed), ..Surgery::plain() };
        let operated =
            operate(&self.network(), &self.calibration(0), &widths, &surgery, None, None);
        let operated = operated.unwrap();
        (operated.graph, operated.params)
    }
}

fn perceptron(seed: u64, m: usize) -> Case {
    let (mut net, x) = Growing::new(seed, &[6]);
    let h = net.gemm("a", x, [9, 6], true).unwrap();
    let h = net.relu(h).unwrap();
    let h = net.gemm("b", h, [5, 9], false).unwrap();
    let h = net.node(Op::Unary(Unary::Tanh), &[h]).unwrap();
    let y = net.matmul("c", h, [3, 5]).unwrap();
    Case::new("perceptron", net, y, &[6], m)
}

fn convolutional(m: usize) -> Case {
    let (mut net, x) = Growing::new(2, &[2, 5, 5]);
    let h = net.conv("a", x, [5, 2, 3], 1).unwrap();
    let h = net.relu(h).unwrap();
    let h = net.conv("b", h, [4, 5, 3], 1).unwrap();
    let h = net.relu(h).unwrap();
    let h = net.node(Op::Flatten { axis: 1 }, &[h]).unwrap();
    let y = net.gemm("c", h, [3, 100], true).unwrap();
    Case::new("convolutional", net, y, &[2, 5, 5], m)
}

fn tokens(m: usize) -> Case {
    let (mut net, x) = Growing::new(3, &[4, 5]);
    let h = net.matmul("a", x, [7, 5]).unwrap();
    let h = net.node(Op::Unary(Unary::Gelu), &[h]).unwrap();
    let h = net.matmul("b", h, [6, 7]).unwrap();
    let h = net.relu(h).unwrap();
    let mean = Op::Reduce { reduction: Reduction::Mean, axes: vec![1], keep: false };
    let h = net.node(mean, &[h]).unwrap();
    let y = net.gemm("c", h, [3, 6], true).unwrap();
    Case::new("tokens", net, y, &[4, 5], m)
}

/// Heads that are counted with the batch.
fn heads(m: usize) -> Case {
    let (mut net, x) = Growing::new(4, &[6]);
    let h = net.matmul("a", x, [6, 6]).unwrap();
    let many = Dimension { fixed: 0, per_example: 3 };
    let h = net.reshape(h, &[many, of(2)]).unwrap();
    let h = net.matmul("b", h, [4, 2]).unwrap();
    let h = net.relu(h).unwrap();
    let h = net.reshape(h, &[Dimension::BATCH, of(12)]).unwrap();
    let y = net.gemm("c", h, [3, 12], true).unwrap();
    Case::new("heads", net, y, &[6], m)
}

fn cases(m: usize) -> Vec<Case> {
    vec![perceptron(1, m), convolutional(m), tokens(m), heads(m)]
}

/// Another network of the same graph.
fn other(params: &Params, seed: u64) -> Params {
    let mut rng = Rng::new(seed);
    let shaken = |b: &Tensor| {
        let noise = normal(&mut rng, b.dims()).unwrap().to_dtype(DType::F64).unwrap();
        (b + (noise * 0.2).unwrap()).unwrap()
    };
    let blocks = params.blocks().iter().map(shaken).collect();
    Params::new(params.layout().clone(), blocks).unwrap()
}

fn relative(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (a - b).norm_max() / b.norm_max().max(1e-12)
}

fn rows(x: &Tensor) -> Vec<Vec<f64>> {
    x.to_vec2().unwrap()
}

fn softmax(f: &[f64]) -> Vec<f64> {
    let sum: f64 = f.iter().map(|v| v.exp()).sum();
    f.iter().map(|v| v.exp() / sum).collect()
}

/// KL by the definition, a mean over the rows of some examples.
fn divergence(before: &Tensor, after: &Tensor) -> f64 {
    let pairs = rows(before).into_iter().zip(rows(after));
    let each = pairs.map(|(f, g)| {
        let (p, q) = (softmax(&f), softmax(&g));
        p.iter().zip(&q).map(|(p, q)| p * (p / q).ln()).sum::<f64>()
    });
    each.sum::<f64>() / before.dim(0).unwrap() as f64
}

/// ∂f_c/∂\[W | b\] of each example and output, (o, n + 1), by the parameters themselves.
fn jacobian(case: &Case, params: &Params, map: &LinearMap, i: usize) -> Vec<Mat<f64>> {
    let w = params.trainable().unwrap();
    let x = case.x.narrow(0, i, 1).unwrap();
    let f = case.graph.forward(&w, &x).unwrap();
    (0..f.dim(1).unwrap())
        .map(|c| {
            let f = f.narrow(1, c, 1).unwrap().sum_all().unwrap();
            let gradient = w.gradient(&f).unwrap();
            let weights = matrix(&map.weights(&case.graph, &gradient).unwrap()).unwrap();
            let bias = map.biases(&case.graph, &gradient).unwrap();
            let bias = bias.map(|b| b.to_vec1::<f64>().unwrap());
            let n = weights.ncols();
            Mat::from_fn(weights.nrows(), n + bias.iter().len(), |i, j| {
                if j < n { weights[(i, j)] } else { bias.as_ref().unwrap()[i] }
            })
        })
        .collect()
}

fn equations(
    case: &Case,
    small: &Params,
    map: &LinearMap,
    likelihood: Likelihood,
    options: &Polish,
) -> Equations {
    let calibration = case.calibration(0);
    let target = Target::of(&case.network(), &calibration, likelihood).unwrap();
    let at = (&case.graph, map, small);
    Equations::of(at, &target, options, |_| true, &mut Rng::new(7)).unwrap()
}

fn whole(equations: &Equations) -> Mat<f64> {
    let Curvature::Whole(m) = &equations.curvature else { return Mat::new() };
    Mat::from_fn(m.nrows(), m.ncols(), |i, j| m[(i.max(j), i.min(j))])
}

#[test]
fn equations_are_sums_over_jacobians() {
    let m = 11;
    for case in cases(m) {
        let small = other(&case.params, 1);
        let f = |params| rows(&case.graph.forward(params, &case.x).unwrap());
        let (before, after) = (f(&case.params), f(&small));
        for (map, likelihood) in
            case.axes.maps().iter().flat_map(|map| [(map, SOFTMAX), (map, NORMAL)])
        {
            let found = equations(&case, &small, map, likelihood, &Polish::one_sweep());
            assert_eq!(found.method, PolishMethod::Exact);
            let (o, q) = found.gradient.shape();
            let (mut g, mut curvature) = (Mat::zeros(o, q), Mat::<f64>::zeros(o * q, o * q));
            for i in 0..m {
                let j = jacobian(&case, &small, map, i);
                let (p, q_) = (softmax(&before[i]), softmax(&after[i]));
                for c in 0..j.len() {
                    let slope = match likelihood {
                        Likelihood::Categorical => q_[c] - p[c],
                        Likelihood::Normal { variance } => (after[i][c] - before[i][c]) / variance,
                    };
                    g += &j[c] * faer::Scale(slope / m as f64);
                    for d in 0..j.len() {
                        let is_same = f64::from(u8::from(c == d));
                        let hessian = match likelihood {
                            Likelihood::Categorical => q_[c] * (is_same - q_[d]),
                            Likelihood::Normal { variance } => is_same / variance,
                        };
                        let vec = |j: &Mat<f64>| Mat::from_fn(o * q, 1, |a, _| j[(a / q, a % q)]);
                        let product = vec(&j[c]) * vec(&j[d]).transpose();
                        curvature += product * faer::Scale(hessian / m as f64);
                    }
                }
            }
            let what = format!("{} {} {likelihood:?}", case.name, map.name);
            assert!(relative(&found.gradient, &g) < CLOSE, "g of {what}");
            assert!(relative(&whole(&found), &curvature) < CLOSE, "M of {what}");
        }
    }
}

#[test]
fn g_is_the_slope_of_the_divergence() {
    for case in cases(12) {
        let small = other(&case.params, 2);
        let before = case.graph.forward(&case.params, &case.x).unwrap();
        for map in case.axes.maps() {
            let found = equations(&case, &small, map, SOFTMAX, &Polish::one_sweep());
            let d = found.solve(1e-2).unwrap();
            let at = |step: f64| {
                let w = moved(&case.graph, map, &small, d.as_ref(), step).unwrap();
                divergence(&before, &case.graph.forward(&w, &case.x).unwrap())
            };
            let h = 1e-6;
            let slope = (at(-h) - at(h)) / (2.0 * h);
            let expected = found.gradient.as_ref().col_iter().zip(d.col_iter());
            let expected: f64 = expected.map(|(g, d)| g.transpose() * d).sum();
            // Differences of KL over 2e-6 keep about six digits.
            assert!((slope - expected).abs() < 1e-5 * expected, "{} {}", case.name, map.name);
        }
    }
}

#[test]
fn principal_directions_restrict_the_whole_equations() {
    let (mut net, x) = Growing::new(8, &[40]);
    let h = net.gemm("a", x, [3, 40], true).unwrap();
    let h = net.relu(h).unwrap();
    let y = net.gemm("b", h, [3, 3], true).unwrap();
    let case = Case::new("wide", net, y, &[40], 90);
    let (small, map) = (other(&case.params, 3), &case.axes.maps()[0]);
    let exact = equations(&case, &small, map, SOFTMAX, &Polish::one_sweep());
    let options = Polish { most_unknowns: 70, ..Polish::one_sweep() };
    let found = equations(&case, &small, map, SOFTMAX, &options);
    assert_eq!(found.method, PolishMethod::Principal(22));
    let basis = found.basis.as_ref().unwrap();
    assert!(relative(&found.gradient, &(&exact.gradient * basis)) < CLOSE);
    let (o, n, q) = (3, basis.nrows(), basis.ncols());
    let spread =
        Mat::from_fn(o * n, o * q, |i, j| if i / n == j / q { basis[(i % n, j % q)] } else { 0.0 });
    let expected = spread.transpose() * whole(&exact) * &spread;
    assert!(relative(&whole(&found), &expected) < CLOSE);
    // E a aᵀ = I.
    let h = matrix(&case.x).unwrap();
    let a = Mat::from_fn(90, 41, |i, j| if j < 40 { h[(i, j)] } else { 1.0 }) * basis;
    let second = a.transpose() * &a * faer::Scale(1.0 / 90.0);
    assert!(relative(&second, &Mat::identity(23, 23)) < CLOSE);
}

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
