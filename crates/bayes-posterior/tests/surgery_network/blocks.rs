//! Residual blocks that are skipped.

use bayes_posterior::surgery::network::{Surgery, block_costs, operate_without};
use losses::Likelihood;
use models::graph::{Binary, Op, Unary};

use crate::growing::{Growing, Outcome};
use crate::naive::{Net, calibration, case, gap, output};

type TestResult = Outcome<()>;

const CLASSES: Likelihood = Likelihood::Categorical;

/// s = W x; h = s + B relu(A s); y = C relu(h).
fn residual() -> Outcome<Net> {
    let (mut net, x) = Growing::new(4, &[5]);
    let s = net.gemm("stem", x, [6, 5], true)?;
    let a = net.gemm("a", s, [8, 6], true)?;
    let a = net.node(Op::Unary(Unary::Relu), &[a])?;
    let b = net.gemm("b", a, [6, 8], true)?;
    let h = net.node(Op::Binary(Binary::Add), &[s, b])?;
    let h = net.node(Op::Unary(Unary::Relu), &[h])?;
    let y = net.gemm("c", h, [3, 6], true)?;
    Net::new(net.finish(y)?, &[5])
}

#[test]
fn a_block_that_adds_nothing_costs_nothing() -> TestResult {
    let mut net = residual()?;
    for name in ["b.weight", "b.bias"] {
        net.set(name, |_, _, _| 0.0)?;
    }
    let calibration = calibration(&net.examples(1, 200)?, 5)?;
    let costs = block_costs(&net.network(), &calibration, &Surgery::held_out(), CLASSES)?;
    assert_eq!(costs.len(), 1);
    assert!(costs[0].1.is_some_and(|cost| cost.abs() < 1e-12), "{costs:?}");
    let blocks = [costs[0].0.clone()];
    let done = operate_without(
        &net.network(),
        &blocks,
        &calibration,
        &net.full(),
        &Surgery::held_out(),
        None,
        Some(CLASSES),
    )?;
    let fresh = net.examples(2, 30)?;
    let before = output(&net.graph, &net.params, &fresh)?;
    assert!(gap(&output(&done.graph, &done.params, &fresh)?, &before) < 1e-7);
    // Both maps of the block are gone.
    assert_eq!(done.graph.parameters().len() + 4, net.graph.parameters().len());
    Ok(())
}

/// Without repair skipping is leaving the block out; with it, the maps behind win back what they can.
#[test]
fn skipping_leaves_the_block_out_and_repair_wins_back() -> TestResult {
    for net in [residual()?, case("encoder", 0)?] {
        let calibration = calibration(&net.examples(3, 300)?, 5)?;
        let blocks = net.graph.residual_blocks();
        assert!(!blocks.is_empty());
        let costs = |surgery| block_costs(&net.network(), &calibration, surgery, CLASSES);
        let (plain, repaired) = (costs(&Surgery::plain())?, costs(&Surgery::held_out())?);
        for ((block, without), (_, with)) in plain.iter().zip(&repaired) {
            let (without, with) = (without.ok_or("cannot be skipped")?, with.ok_or("nor this")?);
            assert!(with <= without * 1.05, "{}: {with} against {without}", block.name);
            let one = std::slice::from_ref(block);
            let done = operate_without(
                &net.network(),
                one,
                &calibration,
                &net.full(),
                &Surgery::plain(),
                None,
                None,
            )?;
            let (graph, params) = net.graph.without_blocks(&net.params, one)?;
            let fresh = net.examples(4, 20)?;
            let found = output(&done.graph, &done.params, &fresh)?;
            assert!(gap(&found, &output(&graph, &params, &fresh)?) < 1e-9, "{}", block.name);
        }
        let sum =
            |costs: &[(_, Option<f64>)]| costs.iter().filter_map(|(_, cost)| *cost).sum::<f64>();
        assert!(sum(&repaired) < 0.9 * sum(&plain), "{} {}", sum(&repaired), sum(&plain));
    }
    Ok(())
}

/// Widths and blocks in one pass: units inside a skipped block go with it, others are decided by what stays.
#[test]
fn blocks_go_together_with_units() -> TestResult {
    let net = residual()?;
    let calibration = calibration(&net.examples(5, 200)?, 5)?;
    let blocks = net.graph.residual_blocks();
    let widths: Vec<usize> = net
        .axes
        .groups()
        .iter()
        .map(|group| if group.pinned.is_none() && group.n_units == 6 { 4 } else { group.n_units })
        .collect();
    let done = operate_without(
        &net.network(),
        &blocks,
        &calibration,
        &widths,
        &Surgery::held_out(),
        None,
        Some(CLASSES),
    )?;
    let shapes: Vec<(usize, usize)> =
        done.graph.layout().blocks.iter().map(|block| (block.rows, block.cols)).collect();
    assert_eq!(shapes, [(4, 5), (4, 1), (3, 4), (3, 1)]);
    let foreign = residual()?.graph.residual_blocks().into_iter().map(|mut block| {
        block.add += 1;
        block
    });
    let refused = operate_without(
        &net.network(),
        &foreign.collect::<Vec<_>>(),
        &calibration,
        &net.full(),
        &Surgery::plain(),
        None,
        None,
    );
    assert!(refused.is_err_and(|error| error.to_string().contains("no residual block")));
    Ok(())
}
