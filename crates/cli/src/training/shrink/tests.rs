//! Laws of plans and budgets, on a small perceptron.

use candle_core::{Device, Tensor};
use core_tensors::Rng;
use core_tensors::kernels::Activation;
use losses::Likelihood;
use models::{Architecture, Mlp};

use super::{Amount, Plan, PlanOptions, Resource};

const WIDTHS: [usize; 4] = [6, 12, 8, 3];

fn plan(multiple: usize) -> Plan {
    let mut rng = Rng::new(7);
    let network = Mlp { widths: WIDTHS.to_vec(), activation: Activation::Relu, bias: true };
    let w = network.init(&mut rng, &Device::Cpu).unwrap();
    let (graph, params) = network.to_graph(&w).unwrap();
    let x: Vec<f32> = (0..200 * 6).map(|_| rng.normal() as f32).collect();
    let x = Tensor::from_vec(x, (200, 6), &Device::Cpu).unwrap();
    let n_bytes = 4 * graph.layout().n_parameters() + 500;
    let likelihood = Likelihood::Categorical;
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
        let mut nats = |graph: &models::graph::Graph, _: &core_tensors::Params| {
            Ok(if graph.layout() == blocks { 0.1 } else { 0.2 })
        };
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
    let mut measure = |graph: &models::graph::Graph, _: &core_tensors::Params| {
        Ok(graph.n_products_in_all() as f64 / 100.0)
    };
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
    let x = Tensor::ones((20, 6), candle_core::DType::F32, &Device::Cpu).unwrap();
    let likelihood = Likelihood::Categorical;
    let options = PlanOptions { likelihood, multiple: 1, n_bytes: 1000, n_bytes_each: 4 };
    let plan = Plan::new(&graph, &params, &x, options, &rng).unwrap();
    let message = plan.widths(Resource::Parameters, 10.0).unwrap_err().to_string();
    assert!(message.contains("no layer of this network can lose units"), "{message}");
}
