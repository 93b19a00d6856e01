//! Groups of units of random networks: what goes together, and that it leaves without a trace.

#[path = "common/branching.rs"]
mod branching;
#[path = "common/growing.rs"]
mod growing;
#[path = "common/narrowing.rs"]
mod narrowing;

use branching::{Case, branches, cases, convolutional, perceptron, residual};
use candle_core::Tensor;
use core_tensors::{Params, Rng};
use growing::{Outcome, normal};
use models::graph::Graph;
use models::graph::axes::{Axes, Group};

type TestResult = Outcome<()>;

#[test]
fn groups_are_those_of_the_architecture() -> TestResult {
    let mut wrong = Vec::new();
    for Case { name, network: (graph, _), groups, .. } in cases()? {
        let output = &graph.value(graph.outputs()[0]).name;
        let found =
            Axes::of(&graph).to_string().replace(&format!("output `{output}`"), "output `y`");
        if found != groups {
            wrong.push(format!("{name}: expected\n{groups}\nfound\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn inputs(case: &Case) -> Outcome<Vec<Tensor>> {
    let shape = [&[3], case.input.as_slice()].concat();
    Ok(vec![normal(&mut Rng::new(20), &shape)?])
}

#[test]
fn units_without_columns_leave_without_a_trace() -> TestResult {
    for case in cases()? {
        let (graph, w) = &case.network;
        let (n, worst) = narrowing::laws(&Axes::of(graph), graph, w, &inputs(&case)?, usize::MAX)
            .map_err(|error| format!("{}: {error}", case.name))?;
        assert!(n > 0, "{}", case.name);
        println!("{}: {n} units, {worst:e}", case.name);
        // Half of all units are not nothing.
        let axes = Axes::of(graph);
        let free = axes.groups().iter().enumerate().filter(|(_, group)| group.pinned.is_none());
        let kept: Vec<(usize, Vec<usize>)> =
            free.map(|(g, group)| (g, (0..group.n_units).step_by(2).collect())).collect();
        let (narrow, narrow_w) = axes.narrow(graph, w, &kept)?;
        let [a, b] = [graph.run(w, &inputs(&case)?)?, narrow.run(&narrow_w, &inputs(&case)?)?];
        let changed = narrowing::distance(&a[0], &b[0])?;
        assert!(changed > 1e-4, "{}: {changed:e}", case.name);
    }
    Ok(())
}

/// Rows, biases and batch norms of a unit that are 0, so that it is 0 behind ReLU or without an activation.
#[test]
fn units_that_are_zero_leave_without_a_trace() -> TestResult {
    for case in [convolutional()?, residual()?] {
        let (graph, w) = &case.network;
        let (axes, inputs) = (Axes::of(graph), inputs(&case)?);
        for (g, group) in axes.groups().iter().enumerate().filter(|(_, g)| g.pinned.is_none()) {
            let unit = group.n_units / 2;
            let zero = without_rows(graph, w, group, unit)?;
            let kept: Vec<usize> = (0..group.n_units).filter(|&other| other != unit).collect();
            let (narrow, narrow_w) = axes.narrow(graph, w, &[(g, kept)])?;
            let full = graph.run(&zero, &inputs)?;
            let found = narrowing::distance(&narrow.run(&narrow_w, &inputs)?[0], &full[0])?;
            assert!(found < 1e-6, "{} of {}: {found:e}", group.name, case.name);
            let whole = graph.run(w, &inputs)?;
            let changed = narrowing::distance(&whole[0], &full[0])?;
            assert!(changed > 1e-4, "{} of {} does nothing", group.name, case.name);
        }
    }
    Ok(())
}

fn without_rows(graph: &Graph, w: &Params, group: &Group, unit: usize) -> Outcome<Params> {
    let mut zero = w.clone();
    for producer in &group.producers {
        let rows = &producer.entries[unit];
        zero = narrowing::zeroed(graph, &zero, (producer.weight, producer.axis), rows)?;
        if let Some(bias) = producer.bias {
            zero = narrowing::zeroed(graph, &zero, (bias, 0), rows)?;
        }
    }
    for follower in &group.followers {
        let is_variance = follower.name.ends_with("var");
        let entries = &follower.entries[unit];
        if !is_variance {
            zero = narrowing::zeroed(graph, &zero, (follower.value, follower.axis), entries)?;
        }
    }
    Ok(zero)
}

#[test]
fn names_and_order_of_what_stays_are_the_same() -> TestResult {
    for case in cases()? {
        let (graph, w) = &case.network;
        let axes = Axes::of(graph);
        let (same, same_w) = axes.narrow(graph, w, &[])?;
        let names = |graph: &Graph| -> Vec<String> {
            graph.values().iter().map(|value| format!("{} {:?}", value.name, value.shape)).collect()
        };
        assert_eq!(names(&same), names(graph), "{}", case.name);
        assert_eq!(same_w.to_vec()?, w.to_vec()?);
        let first: Vec<(usize, Vec<usize>)> = vec![(0, vec![0])];
        let Ok((narrow, narrow_w)) = axes.narrow(graph, w, &first) else { continue };
        let names = |graph: &Graph| -> Vec<String> {
            graph.values().iter().map(|value| value.name.clone()).collect()
        };
        assert_eq!(names(&narrow), names(graph), "{}", case.name);
        assert!(narrow_w.layout().n_parameters() < w.layout().n_parameters());
        assert_eq!(narrow_w.layout(), &narrow.layout());
    }
    Ok(())
}

#[test]
fn what_cannot_be_kept_is_said() -> TestResult {
    let case = perceptron()?;
    let (graph, w) = &case.network;
    let axes = Axes::of(graph);
    let message = |kept: &[(usize, Vec<usize>)]| match axes.narrow(graph, w, kept) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    let cases = [
        ((0, vec![1, 6]), "group `a` has no unit 6: it has 6, counted from 0"),
        ((0, vec![1, 1]), "unit 1 of group `a` is named twice"),
        ((1, vec![]), "none of the 5 units of group `b` is kept; expected at least 1"),
        ((3, vec![0]), "the 3 units of `d` are pinned by output `add7.y`"),
        ((4, vec![0]), "there is no group 4: the graph has 4, counted from 0"),
    ];
    for (kept, expected) in cases {
        assert_eq!(message(&[kept]), expected);
    }
    assert_eq!(message(&[(0, vec![0]), (0, vec![1])]), "group `a` is named twice");
    let other = convolutional()?;
    let found = axes.narrow(&other.network.0, &other.network.1, &[]).unwrap_err().to_string();
    assert!(found.starts_with("the groups are those of a graph of "), "{found}");
    // A part of a split that would be empty.
    let case = branches()?;
    let axes = Axes::of(&case.network.0);
    let found = axes.narrow(&case.network.0, &case.network.1, &[(0, vec![3])]);
    let found = found.unwrap_err().to_string();
    assert_eq!(found, "nothing would be left of `split3.y0`, which has 3 entries along axis 1");
    Ok(())
}
