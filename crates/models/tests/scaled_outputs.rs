//! Outputs of networks in other units: by parameters alone, and back again.

#[path = "common/branching.rs"]
mod branching;
#[path = "common/growing.rs"]
mod growing;

use branching::{Case, cases};
use candle_core::{DType, Tensor};
use core_tensors::{Params, Rng};
use growing::{Growing, Outcome, normal};
use models::graph::{Binary, Dimension, Graph, Op, Reduction, Unary};

type TestResult = Outcome<()>;

/// Relative distance that f32 sums of a few hundred terms stay within.
const CLOSE: f64 = 1e-5;

/// Factors of both signs over eight decades.
fn factors(k: usize) -> Vec<f64> {
    (0..k).map(|j| [0.01, -1.0, 100.0, 1e-6, 3.0][j % 5] * (1.0 + j as f64)).collect()
}

/// The largest distance of an output along the axis, as a share of the largest number in the second.
fn distance(a: &Tensor, b: &Tensor, axis: usize) -> Outcome<f64> {
    let columns = |x: &Tensor| {
        let x = x.to_dtype(DType::F64)?.transpose(0, axis)?;
        x.reshape((x.dim(0)?, ()))?.to_vec2::<f64>()
    };
    let mut most: f64 = 0.0;
    for (a, b) in columns(a)?.iter().zip(&columns(b)?) {
        let size = b.iter().fold(1e-300f64, |size, b| size.max(b.abs()));
        most = a.iter().zip(b).fold(most, |most, (a, b)| most.max((a - b).abs() / size));
    }
    Ok(most)
}

/// Multiplies the outputs of a network and compares with multiplied outputs; then back.
fn check(name: &str, (graph, params): &(Graph, Params), input: &[usize]) -> TestResult {
    let x = normal(&mut Rng::new(20), &[&[5], input].concat())?;
    let before = graph.forward(params, &x)?;
    let fits = |&axis: &usize| {
        before.dim(axis).is_ok_and(|k| graph.with_scaled_outputs(params, &factors(k)).is_ok())
    };
    let axis = (1..before.rank()).find(fits).ok_or("an axis of outputs")?;
    let c = factors(before.dim(axis)?);
    let scaled = graph.with_scaled_outputs(params, &c)?;
    let shape: Vec<usize> =
        (0..before.rank()).map(|i| if i == axis { c.len() } else { 1 }).collect();
    let row = Tensor::from_vec(c.clone(), shape, x.device())?.to_dtype(before.dtype())?;
    let wanted = before.broadcast_mul(&row)?;
    let found = distance(&graph.forward(&scaled, &x)?, &wanted, axis)?;
    assert!(found < CLOSE, "{name}: {found}");
    let n_changed = params.blocks().iter().zip(scaled.blocks()).filter(|(a, b)| {
        let [a, b] = [a, b].map(|block| block.flatten_all().and_then(|v| v.to_vec1::<f32>()));
        a.ok() != b.ok()
    });
    assert!((1..=2).contains(&n_changed.count()), "{name}: a weight and a bias change");
    let inverse: Vec<f64> = c.iter().map(|c| c.recip()).collect();
    let back = graph.with_scaled_outputs(&scaled, &inverse)?;
    for (a, b) in params.blocks().iter().zip(back.blocks()) {
        let error = (a - b)?.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        let size = a.abs()?.max_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        assert!(error <= 2.0 * f64::from(f32::EPSILON) * size, "{name}: {error} of {size}");
    }
    Ok(())
}

#[test]
fn outputs_are_multiplied_and_back_again() -> TestResult {
    let mut n_checked = 0;
    for Case { name, network, input, groups } in cases()? {
        match network.0.with_scaled_outputs(&network.1, &[]).map_err(|error| error.to_string()) {
            Err(message) if message.contains("found 0") => {
                check(name, &network, &input)?;
                n_checked += 1;
            }
            Err(message) => {
                assert!(message.contains("cannot be scaled"), "{name}: {message}\n{groups}");
            }
            Ok(_) => return Err(format!("{name}: no factors were taken").into()),
        }
    }
    assert!(n_checked >= 6, "{n_checked}");
    Ok(())
}

#[test]
fn maps_behind_which_outputs_are_only_rearranged_or_averaged_are_found() -> TestResult {
    // A convolution whose channels are averaged over their positions, which stay and then go.
    let (mut net, x) = Growing::new(2, &[2, 6, 6]);
    let h = net.conv("a", x, [3, 2, 3], 1)?;
    let reduction = Reduction::Mean;
    let h = net.node(Op::Reduce { reduction, axes: vec![2, 3], keep: true }, &[h])?;
    let y = net.node(Op::Flatten { axis: 1 }, &[h])?;
    check("averaged", &net.finish(y)?, &[2, 6, 6])?;
    // One output of a MatMul, and three through a tensor with more axes.
    for k in [1, 3] {
        let (mut net, x) = Growing::new(3, &[4]);
        let y = net.matmul("a", x, [k, 4])?;
        let shape = [1, k as i64].map(Dimension::known);
        let shape = std::iter::once(Dimension::BATCH).chain(shape).collect();
        let y = net.node(Op::Reshape { shape }, &[y])?;
        let y = net.node(Op::Squeeze { axes: vec![1] }, &[y])?;
        check("reshaped", &net.finish(y)?, &[4])?;
    }
    Ok(())
}

#[test]
fn outputs_of_no_linear_map_alone_are_refused_with_the_reason() -> TestResult {
    let refused = |(graph, params): (Graph, Params), c: &[f64], part: &str| -> TestResult {
        let found = graph.with_scaled_outputs(&params, c);
        let message = found.err().ok_or(part.to_owned())?.to_string();
        assert!(message.contains(part) && message.contains("cannot be scaled"), "{message}");
        Ok(())
    };
    let dense = || -> Outcome<_> {
        let (mut net, x) = Growing::new(4, &[4]);
        let h = net.gemm("a", x, [4, 4], true)?;
        let h = net.relu(h)?;
        let z = net.gemm("b", h, [4, 4], true)?;
        Ok((net, h, z))
    };
    let (net, _, z) = dense()?;
    refused(net.finish(z)?, &[1.0; 3], "expected 4 factors, found 3")?;
    let (net, _, z) = dense()?;
    refused(net.finish(z)?, &[1.0, 0.0, 1.0, 1.0], "other than 0, found 0")?;
    let (net, _, z) = dense()?;
    refused(net.finish(z)?, &[1.0, 1e300, 1.0, 1.0], "are not finite")?;
    let (mut net, _, z) = dense()?;
    let y = net.node(Op::Unary(Unary::Sigmoid), &[z])?;
    refused(net.finish(y)?, &[1.0; 4], "(Sigmoid) stands between them")?;
    let (mut net, h, z) = dense()?;
    let y = net.node(Op::Binary(Binary::Add), &[z, h])?;
    refused(net.finish(y)?, &[1.0; 4], "(Add) stands between them")?;
    // A sum over the outputs mixes them.
    let (mut net, _, z) = dense()?;
    let y = net.node(Op::Reduce { reduction: Reduction::Sum, axes: vec![1], keep: true }, &[z])?;
    refused(net.finish(y)?, &[1.0; 4], "does not keep them in their order")?;
    // Two positions of two outputs are four numbers, of which a factor fits two.
    let (mut net, x) = Growing::new(5, &[2, 3]);
    let z = net.matmul("a", x, [2, 3])?;
    let y = net.node(Op::Flatten { axis: 1 }, &[z])?;
    refused(net.finish(y)?, &[1.0; 4], "does not keep them in their order")?;
    Ok(())
}
