//! Laws of plans and budgets, on a small perceptron.

use candle_core::{DType, Device, Tensor};
use core_tensors::kernels::Activation;
use core_tensors::{Params, Rng};
use models::graph::Graph;
use models::{Architecture, Mlp};

use super::{Amount, OutputLikelihood, Plan, PlanOptions, Resource};

const WIDTHS: [usize; 4] = [6, 12, 8, 3];

fn plan(multiple: usize) -> Plan {
    let mut rng = Rng::new(7);
    let network = Mlp { widths: WIDTHS.to_vec(), activation: Activation::Relu, bias: true };
    let w = network.init(&mut rng, &Device::Cpu).unwrap();
    let (graph, params) = network.to_graph(&w).unwrap();
    let x: Vec<f32> = (0..200 * 6).map(|_| rng.normal() as f32).collect();
    let x = Tensor::from_vec(x, (200, 6), &Device::Cpu).unwrap();
    let n_bytes = 4 * graph.layout().n_parameters() + 500;
    let likelihood = OutputLikelihood::Categorical;
    let options = PlanOptions { likelihood, multiple, n_bytes, n_bytes_each: 4 };
    Plan::new(&graph, &params, &x, options, &rng).unwrap()
}

/// Parameters of a perceptron with two hidden layers, counted by hand.
fn n_parameters(a: usize, b: usize) -> f64 {
    (7 * a + (a + 1) * b + (b + 1) * 3) as f64
}

#[test]
fn sizes_are_those_of_the_students() {
    let plan = plan(1);
    let (full, free) = (plan.full(), plan.free());
    assert_eq!(free.iter().map(|&g| full[g]).collect::<Vec<_>>(), [12, 8]);
    let whole = plan.size(Resource::Parameters, &full);
    assert_eq!(whole, n_parameters(12, 8));
    assert_eq!(plan.size(Resource::Bytes, &full), 4.0 * whole + 500.0);
    for share in [0.7, 0.4, 0.2] {
        for resource in [Resource::Parameters, Resource::Products, Resource::Bytes] {
            let most = Amount::Share(share).of(plan.size(resource, &full));
            let Ok(widths) = plan.widths(resource, most) else {
                assert!(plan.size(resource, &plan.least()) > most, "{resource:?} {share}");
                continue;
            };
            assert!(plan.size(resource, &widths) <= most, "{resource:?} {share}");
            let student = plan.student(&widths).unwrap();
            let n = student.graph.layout().n_parameters() as f64;
            assert_eq!(n, plan.size(Resource::Parameters, &widths));
            assert_eq!(n, n_parameters(widths[free[0]], widths[free[1]]));
            // One unit more of either group would be too much, or would be the whole.
            let uniform = plan.uniform_widths(resource, most).unwrap();
            assert!(plan.size(resource, &uniform) <= most);
        }
    }
}

#[test]
fn the_better_of_two_allocations_is_taken() {
    let plan = plan(1);
    let most = 0.5 * n_parameters(12, 8);
    let by_curves = plan.widths(Resource::Parameters, most).unwrap();
    let uniform = plan.uniform_widths(Resource::Parameters, most).unwrap();
    assert_ne!(by_curves, uniform);
    for wanted in [&by_curves, &uniform] {
        let blocks = plan.shape(wanted).unwrap().0.layout();
        let mut nats =
            |graph: &Graph, _: &Params| Ok(if graph.layout() == blocks { 0.1 } else { 0.2 });
        let found = plan.narrowed_to(Resource::Parameters, most, &mut nats).unwrap();
        assert_eq!(found.widths, *wanted);
        assert_eq!(found.operated.graph.layout(), blocks);
    }
}

#[test]
fn widths_are_multiples_where_a_layer_has_that_many_units() {
    let plan = plan(4);
    let widths = plan.widths(Resource::Parameters, 0.5 * n_parameters(12, 8)).unwrap();
    let free = plan.free();
    assert!(free.iter().all(|&g| widths[g].is_multiple_of(4)), "{widths:?}");
    let uniform = plan.uniform_widths(Resource::Parameters, 0.5 * n_parameters(12, 8)).unwrap();
    assert!(free.iter().all(|&g| uniform[g].is_multiple_of(4)), "{uniform:?}");
    assert_eq!(free.iter().map(|&g| plan.least()[g]).collect::<Vec<_>>(), [4, 4]);
}

#[test]
fn a_latency_is_met_by_the_largest_widths_of_a_bisection() {
    let plan = plan(1);
    // A clock that counts multiply-adds: 1 ms a hundred.
    let mut measure = |graph: &Graph, _: &Params| Ok(graph.n_products_in_all() as f64 / 100.0);
    let whole = plan.size(Resource::Products, &plan.full()) / 100.0;
    let least = plan.size(Resource::Products, &plan.least()) / 100.0;
    for most in [0.75 * whole, 0.4 * whole, least] {
        let widths = plan.widths_for_latency(most, &mut measure).unwrap();
        let found = plan.size(Resource::Products, &widths) / 100.0;
        assert!(found <= most && found >= most - 0.1 * whole, "{found} of {most}");
    }
    let message = plan.widths_for_latency(0.5 * least, &mut measure).unwrap_err().to_string();
    assert!(message.contains("the smallest widths take"), "{message}");
}

#[test]
fn names_say_which_layers_there_are() {
    let plan = plan(1);
    let free = plan.free();
    let name = plan.axes.groups()[free[1]].name.clone();
    let spelled = [("fc1", "layers.0"), ("fc2", "layers.1"), ("fc3", "layers.2")]
        .map(|(file, graph)| (file.to_owned(), graph.to_owned()));
    // The name in the graph and that in the file are the same layer.
    assert_eq!(name, "layers.1");
    for name in [&name, "fc2"] {
        let widths = plan.named_widths(&[(name.to_owned(), 5)], &spelled).unwrap();
        assert_eq!((widths[free[0]], widths[free[1]]), (12, 5));
    }
    let twice = [("fc2".to_owned(), 5), (name.clone(), 4)];
    let message = plan.named_widths(&twice, &spelled).unwrap_err().to_string();
    assert!(message.contains("is there twice (layers.1 or fc2)"), "{message}");
    for (given, part) in [
        (
            ("nothing".to_owned(), 5),
            "no layer `nothing`; layers that can lose units: layers.0 or fc1 (12 units), layers.1",
        ),
        ((name.clone(), 9), "has 8 units, expected a width of 1 to 8, found 9"),
    ] {
        let message = plan.named_widths(&[given], &spelled).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_descent_ends_in_the_last_student_that_is_accepted() {
    let plan = plan(1);
    let mut sizes = Vec::new();
    let accepted = plan
        .descend(0.8, |_, student| {
            let n = student.graph.layout().n_parameters();
            sizes.push(n);
            Ok(n > 60)
        })
        .unwrap();
    assert!(sizes.windows(2).all(|pair| pair[1] < pair[0]), "{sizes:?}");
    let (last, refused) = (sizes[sizes.len() - 2], sizes[sizes.len() - 1]);
    assert!(last > 60 && refused <= 60, "{sizes:?}");
    let (widths, student) = accepted.last().unwrap();
    assert_eq!(student.graph.layout().n_parameters(), last);
    assert_eq!(plan.size(Resource::Parameters, widths), last as f64);
}

#[test]
fn a_network_without_hidden_layers_says_so() {
    let network = Mlp { widths: vec![6, 3], activation: Activation::Relu, bias: true };
    let mut rng = Rng::new(1);
    let w = network.init(&mut rng, &Device::Cpu).unwrap();
    let (graph, params) = network.to_graph(&w).unwrap();
    let x = Tensor::ones((20, 6), DType::F32, &Device::Cpu).unwrap();
    let likelihood = OutputLikelihood::Categorical;
    let options = PlanOptions { likelihood, multiple: 1, n_bytes: 1000, n_bytes_each: 4 };
    let plan = Plan::new(&graph, &params, &x, options, &rng).unwrap();
    let message = plan.widths(Resource::Parameters, 10.0).unwrap_err().to_string();
    assert!(message.contains("no layer of this network can lose units"), "{message}");
}

/// A plan of values with these noise variances, of a perceptron whose outputs are multiplied by `c`.
fn plan_of_values(c: [f64; 3], variances: [f64; 3]) -> (Plan, (Graph, Params), Tensor) {
    let mut rng = Rng::new(11);
    let network = Mlp { widths: WIDTHS.to_vec(), activation: Activation::Tanh, bias: true };
    let w = network.init(&mut rng, &Device::Cpu).unwrap();
    let (graph, params) = network.to_graph(&w).unwrap();
    let params = graph.with_scaled_outputs(&params, &c).unwrap();
    let x: Vec<f32> = (0..200 * 6).map(|_| rng.normal() as f32).collect();
    let x = Tensor::from_vec(x, (200, 6), &Device::Cpu).unwrap();
    let likelihood = OutputLikelihood::Normal { variances: variances.to_vec() };
    let options = PlanOptions { likelihood, multiple: 1, n_bytes: 2000, n_bytes_each: 4 };
    (Plan::new(&graph, &params, &x, options, &Rng::new(3)).unwrap(), (graph, params), x)
}

/// Mean squared distance of each output of a student from the network's, as a share of the variance of the latter.
fn lost(plan: &Plan, (graph, params): &(Graph, Params), x: &Tensor, most: f64) -> Vec<f64> {
    let student = plan.student(&plan.widths(Resource::Parameters, most).unwrap()).unwrap();
    let f = graph.forward(params, x).unwrap().to_dtype(DType::F64).unwrap();
    let g = student.graph.forward(&student.params, x).unwrap().to_dtype(DType::F64).unwrap();
    let mean_square = |x: Tensor| x.sqr().unwrap().mean(0).unwrap().to_vec1::<f64>().unwrap();
    let spread = mean_square(f.broadcast_sub(&f.mean_keepdim(0).unwrap()).unwrap());
    mean_square((g - f).unwrap()).iter().zip(spread).map(|(error, spread)| error / spread).collect()
}

#[test]
fn units_of_outputs_change_nothing_but_the_units_of_the_student() {
    let (own, noise) = ([1.0; 3], [0.3, 0.01, 0.02]);
    let most = 0.4 * n_parameters(12, 8);
    let (plan, ..) = plan_of_values(own, noise);
    let widths = plan.widths(Resource::Parameters, most).unwrap();
    let student = plan.student(&widths).unwrap();
    for c in [[100.0, 1.0, 0.01], [7.3, -0.2, 1e4]] {
        let variances: Vec<f64> = c.iter().zip(noise).map(|(c, v)| c * c * v).collect();
        let (other, ..) = plan_of_values(c, [variances[0], variances[1], variances[2]]);
        assert!(other.shared_variance.is_none());
        assert_eq!(other.widths(Resource::Parameters, most).unwrap(), widths);
        let found = other.student(&widths).unwrap();
        let [a, b] =
            [&student, &found].map(|student| (student.report.predicted, student.report.measured));
        let near = |a: Option<f64>, b: Option<f64>| (a.unwrap() / b.unwrap() - 1.0).abs() < 1e-3;
        assert!(near(a.0, b.0) && near(a.1, b.1), "{a:?} {b:?}");
        let wanted = student.graph.with_scaled_outputs(&student.params, &c).unwrap();
        for (wanted, found) in wanted.blocks().iter().zip(found.params.blocks()) {
            // Row by row, as the rows of the last block are of different size.
            let rows = |block: &Tensor| {
                block.reshape((block.dim(0).unwrap(), ())).unwrap().to_vec2::<f32>()
            };
            for (wanted, found) in rows(wanted).unwrap().iter().zip(&rows(found).unwrap()) {
                let size = wanted.iter().fold(1e-30f32, |size, v| size.max(v.abs()));
                let apart = wanted.iter().zip(found).map(|(a, b)| (a - b).abs() / size);
                assert!(apart.fold(0.0, f32::max) < 1e-3, "{wanted:?} {found:?}");
            }
        }
    }
}

#[test]
fn an_output_of_small_scale_counts_by_its_own_noise() {
    let c = [1.0, 100.0, 0.01];
    let most = 0.3 * n_parameters(12, 8);
    let sum = |variances: [f64; 3]| {
        let (plan, network, x) = plan_of_values(c, variances);
        lost(&plan, &network, &x, most).iter().sum::<f64>()
    };
    let (own, shared) = (sum(c.map(|c| 0.01 * c * c)), sum([0.01 * 1e4 / 3.0; 3]));
    assert!(own < 0.9 * shared, "{own} {shared}");
}

#[test]
fn outputs_behind_a_nonlinearity_share_one_variance_and_say_so() {
    use models::graph::{Builder, Dimension, Kind, Op, Unary};
    let mut builder = Builder::new();
    let x = builder.input("x", Kind::Float, vec![Dimension::BATCH, Dimension::known(4)]);
    let [a, b] =
        [("a", [9, 4]), ("b", [2, 9])].map(|(name, shape)| builder.parameter(name, &shape));
    let gemm = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };
    let h = builder.add("fc1", gemm.clone(), &[x, a], &["h"]).unwrap();
    let h = builder.add("relu", Op::Unary(Unary::Relu), &h, &["r"]).unwrap();
    let z = builder.add("fc2", gemm, &[h[0], b], &["z"]).unwrap();
    let y = builder.add("squash", Op::Unary(Unary::Tanh), &z, &["y"]).unwrap();
    let graph = builder.finish(&y);
    let mut rng = Rng::new(2);
    let params = graph.init(&mut rng, &Device::Cpu).unwrap();
    let x: Vec<f32> = (0..100 * 4).map(|_| rng.normal() as f32).collect();
    let x = Tensor::from_vec(x, (100, 4), &Device::Cpu).unwrap();
    let likelihood = OutputLikelihood::Normal { variances: vec![0.1, 0.2] };
    let options = PlanOptions { likelihood, multiple: 1, n_bytes: 2000, n_bytes_each: 4 };
    let plan = Plan::new(&graph, &params, &x, options, &rng).unwrap();
    let reason = plan.shared_variance.clone().unwrap();
    assert!(reason.contains("`squash` (Tanh) stands between them and a linear map"), "{reason}");
    let widths = plan.widths(Resource::Parameters, 0.6 * 54.0).unwrap();
    let measured = plan.student(&widths).unwrap().report.measured.unwrap();
    assert!(measured.is_finite());
}
