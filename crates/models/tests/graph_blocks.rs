//! Residual blocks of small graphs: which there are, and that they go.

#[expect(dead_code, reason = "only the list of all networks is needed")]
#[path = "common/branching.rs"]
mod branching;
#[expect(dead_code, reason = "only blocks are skipped")]
#[path = "common/changing.rs"]
mod changing;
#[path = "common/difference.rs"]
mod difference;
#[path = "common/growing.rs"]
mod growing;
#[path = "common/small.rs"]
mod small;

use branching::Case;
use candle_core::{DType, Device, Tensor};
use core_tensors::Params;
use growing::{Growing, Outcome, of};
use models::graph::{Binary, Graph, Op, SliceRange, Source, ValueId};
use models::onnx::no_external;
use small::tried;

type TestResult = Outcome<()>;

/// Networks that have residual blocks.
fn cases_with_blocks() -> Outcome<Vec<Case>> {
    let mut cases = branching::cases()?;
    cases.retain(|case| !case.network.0.residual_blocks().is_empty());
    Ok(cases)
}

#[test]
fn skipped_blocks_are_blocks_that_give_0() -> TestResult {
    let mut cases = cases_with_blocks()?;
    let names: Vec<&str> = cases.iter().map(|case| case.name).collect();
    assert_eq!(names, ["residual", "encoder", "encoder"]);
    cases.push(Case { name: "nested", network: nested()?, input: vec![4], groups: "" });
    for Case { name, network, input, .. } in &cases {
        let blocks = network.0.residual_blocks();
        let expected = if *name == "residual" {
            1
        } else if *name == "nested" {
            3
        } else {
            2
        };
        assert_eq!(blocks.len(), expected, "{name}: {blocks:?}");
        tried(network, input, |subject| {
            let blocks = subject.original.graph.residual_blocks();
            assert_eq!(blocks.len(), expected);
            let one = blocks.iter().map(|block| vec![block.clone()]);
            for skipped in one.chain([blocks.clone()]) {
                let gap = subject.skipped(&skipped, &mut no_external)?;
                let names: Vec<&str> = skipped.iter().map(|block| block.name.as_str()).collect();
                assert!(gap < 1e-6, "{name} without {names:?}: {gap:e}");
            }
            Ok(())
        })
        .map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// A block in a block, and a last one whose sum is the output.
fn nested() -> Outcome<(Graph, Params)> {
    let (mut net, x) = Growing::new(12, &[4]);
    let s = net.gemm("stem", x, [4, 4], true)?;
    let h = net.matmul("a", s, [4, 4])?;
    let h = net.relu(h)?;
    let i = net.gemm("inner", h, [4, 4], true)?;
    let h = net.sum(h, i)?;
    let h = net.matmul("b", h, [4, 4])?;
    let s = net.sum(s, h)?;
    let h = net.relu(s)?;
    let h = net.gemm("c", h, [4, 4], true)?;
    let y = net.sum(h, s)?;
    net.finish(y)
}

#[test]
fn what_is_no_block_is_not_listed() -> TestResult {
    let n = |net: Growing, y: ValueId| -> Outcome<usize> {
        Ok(net.finish(y)?.0.residual_blocks().len())
    };
    // Something inside is read elsewhere.
    let (mut net, s) = Growing::new(1, &[4]);
    let h = net.gemm("a", s, [4, 4], true)?;
    let i = net.gemm("b", h, [4, 4], true)?;
    let sum = net.sum(s, i)?;
    let y = net.node(Op::Binary(Binary::Mul), &[sum, h])?;
    assert_eq!(n(net, y)?, 0);
    let (mut net, s) = Growing::new(1, &[4]);
    let h = net.gemm("a", s, [4, 4], true)?;
    let i = net.gemm("b", h, [4, 4], true)?;
    let y = net.sum(s, i)?;
    assert!(net.builder.finish(&[y, h]).residual_blocks().is_empty());
    // No parameter; a scaled identity; x + x; two branches of one value.
    let (mut net, s) = Growing::new(1, &[4]);
    let h = net.relu(s)?;
    let y = net.sum(s, h)?;
    let y = net.sum(y, y)?;
    let scale = net.parameter("scale", &[4], 1.0)?;
    let scaled = net.node(Op::Binary(Binary::Mul), &[y, scale])?;
    let h = net.gemm("a", y, [4, 4], true)?;
    let y = net.sum(scaled, h)?;
    assert_eq!(n(net, y)?, 0);
    // A part of a split is passed on, of which the branch does not depend.
    let (mut net, x) = Growing::new(1, &[4]);
    let parts = net.several(Op::Split { axis: 1, sizes: vec![of(2), of(2)] }, x, 2)?;
    let h = net.gemm("a", parts[1], [2, 2], true)?;
    let y = net.sum(parts[0], h)?;
    assert_eq!(n(net, y)?, 0);
    // What the branch reads beside the identity may have other readers.
    let (mut net, x) = Growing::new(1, &[4]);
    let first = SliceRange { axis: 1, start: of(0), step: 1, len: of(1) };
    let gate = net.node(Op::Slice { ranges: vec![first] }, &[x])?;
    let s = net.gemm("stem", x, [4, 4], true)?;
    let h = net.gemm("a", s, [4, 4], true)?;
    let h = net.node(Op::Binary(Binary::Mul), &[h, gate])?;
    let s = net.sum(s, h)?;
    let y = net.node(Op::Binary(Binary::Mul), &[s, gate])?;
    let (graph, w) = net.finish(y)?;
    let blocks = graph.residual_blocks();
    assert_eq!(blocks.len(), 1);
    let (changed, _) = graph.without_blocks(&w, &blocks)?;
    assert_eq!((changed.nodes().len(), changed.parameters().len()), (3, 2));
    assert!(matches!(changed.values()[0].source, Source::Input));
    Ok(())
}

#[test]
fn blocks_of_another_graph_and_later_outputs_are_refused() -> TestResult {
    let (graph, w) = nested()?;
    let other = cases_with_blocks()?.swap_remove(0).network.0.residual_blocks();
    let found = graph.without_blocks(&w, &other).unwrap_err().to_string();
    assert!(found.starts_with("the graph has no residual block `add"), "{found}");
    let (mut net, x) = Growing::new(12, &[4]);
    let s = net.gemm("stem", x, [4, 4], true)?;
    let h = net.gemm("a", s, [4, 4], true)?;
    let s = net.sum(s, h)?;
    let y = net.gemm("out", s, [2, 4], true)?;
    let graph = net.builder.finish(&[y, s]);
    let layout = graph.layout();
    let zeros = layout.blocks.iter();
    let zeros = zeros.map(|of| Tensor::zeros((of.rows, of.cols), DType::F32, &Device::Cpu));
    let w = Params::new(layout.clone(), zeros.collect::<Result<_, _>>()?)?;
    let found = graph.without_blocks(&w, &graph.residual_blocks()).unwrap_err().to_string();
    let expected = "without the block `add1` the output `add1.y` would be `stem.y`";
    assert!(found.starts_with(expected), "{found}");
    Ok(())
}
