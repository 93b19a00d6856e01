//! Everything that the report says of a run, put together.

use bayes_posterior::surgery::network::Report;
use models::graph::Graph;

use crate::ledger::shrink::{LayerChange, Size};
use crate::training::shrink::{Amount, Budget, Plan, Resource};

/// The budget in words.
pub(super) fn budget_words(budget: &Budget) -> String {
    let amount = |amount: &Amount, unit: &str| match amount {
        Amount::Share(share) => format!("{} % of the {unit}", plain(100.0 * share)),
        Amount::Absolute(n) => format!("at most {} {unit}", plain(*n)),
    };
    match budget {
        Budget::Size(Resource::Parameters, n) => amount(n, "parameters"),
        Budget::Size(Resource::Products, n) => amount(n, "multiply-adds"),
        Budget::Size(Resource::Bytes, n) => amount(n, "bytes"),
        Budget::Latency(Amount::Share(share)) => {
            format!("{} % of the time of a forward pass", plain(100.0 * share))
        }
        Budget::Latency(Amount::Absolute(ms)) => {
            format!("at most {} ms for a forward pass", plain(*ms))
        }
        Budget::Loss(most) => format!("at most {} points lost", plain(100.0 * most)),
        Budget::Widths(named) => {
            let named = named.iter().map(|(name, width)| format!("{name} = {width}"));
            format!("widths {}", named.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A number without needless decimals.
pub(super) fn plain(n: f64) -> String {
    let text = format!("{n:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Sizes of the network, as its file has it, and of the student, whose batch normalizations are in the layers before them.
pub(super) fn sizes(
    network: &Graph,
    plan: &Plan,
    widths: &[usize],
    n_bytes: [usize; 2],
) -> Vec<Size> {
    let size = |what: &str, before: f64, after: f64| Size { what: what.to_owned(), before, after };
    let of = |what, resource, before: f64| size(what, before, plan.size(resource, widths));
    let n_parameters = network.layout().n_parameters() as f64;
    vec![
        of("parameters", Resource::Parameters, n_parameters),
        of("multiply-adds an example", Resource::Products, network.n_products_in_all() as f64),
        size("bytes of the ONNX file", n_bytes[0] as f64, n_bytes[1] as f64),
    ]
}

/// Each group that can lose units.
pub(super) fn layers(plan: &Plan, widths: &[usize], report: &Report) -> Vec<LayerChange> {
    let of = |g: usize| {
        let done = report.groups.iter().find(|group| group.group == g);
        LayerChange {
            name: plan.axes.groups()[g].name.clone(),
            before: plan.axes.groups()[g].n_units,
            after: widths[g],
            predicted: done.and_then(|done| done.predicted),
            measured: done.and_then(|done| done.measured),
            damping: done.map(|done| done.damping),
        }
    };
    plan.free().into_iter().map(of).collect()
}

/// Why each other group keeps all its units.
pub(super) fn untouched(plan: &Plan) -> Vec<String> {
    plan.pinned().into_iter().map(|what| format!("{what} stays as it is.")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budgets_are_said_in_words() {
        for (budget, words) in [
            (Budget::Size(Resource::Parameters, Amount::Share(0.25)), "25 % of the parameters"),
            (
                Budget::Size(Resource::Products, Amount::Absolute(3e6)),
                "at most 3000000 multiply-adds",
            ),
            (Budget::Latency(Amount::Absolute(0.5)), "at most 0.5 ms for a forward pass"),
            (Budget::Loss(0.005), "at most 0.5 points lost"),
            (
                Budget::Widths(vec![("fc1".into(), 64), ("fc2".into(), 8)]),
                "widths fc1 = 64, fc2 = 8",
            ),
        ] {
            assert_eq!(budget_words(&budget), words);
        }
    }
}
