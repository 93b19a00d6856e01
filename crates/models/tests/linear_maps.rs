//! Linear maps of random networks, runs that go on from known values, probes, and sizes at other widths.

#[path = "common/branching.rs"]
mod branching;
#[path = "common/growing.rs"]
mod growing;

use branching::{Case, cases};
use candle_core::{DType, Tensor, Var};
use core_tensors::{Params, Rng};
use growing::{Outcome, normal};
use models::graph::ValueId;
use models::graph::axes::{Axes, LinearMap};

type TestResult = Outcome<()>;

/// Relative distance that f32 sums of a few hundred terms stay within.
const CLOSE: f64 = 1e-5;

fn inputs(case: &Case) -> Outcome<Vec<Tensor>> {
    let shape = [&[3], case.input.as_slice()].concat();
    Ok(vec![normal(&mut Rng::new(20), &shape)?])
}

fn distance(a: &Tensor, b: &Tensor) -> Outcome<f64> {
    let [a, b] = [a, b].map(|x| x.to_dtype(DType::F64));
    let (a, b) = (a?, b?);
    let size = b.abs()?.max_all()?.to_scalar::<f64>()?.max(1e-12);
    Ok((a - b)?.abs()?.max_all()?.to_scalar::<f64>()? / size)
}

/// W [h; 1] with candle's own products and convolutions.
fn applied(map: &LinearMap, h: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Outcome<Option<Tensor>> {
    let (h, o) = (h.to_dtype(DType::F64)?, w.dim(0)?);
    let Some(window) = map.window else {
        let n = h.dim(h.rank() - 1)?;
        let rows = h.reshape(((), n))?.matmul(&w.t()?)?;
        let rows = match b {
            Some(b) => rows.broadcast_add(b)?,
            None => rows,
        };
        let mut shape = h.dims().to_vec();
        *shape.last_mut().ok_or("a scalar")? = o;
        return Ok(Some(rows.reshape(shape)?));
    };
    let [kernel, strides, pads] = [window.kernel, window.strides, [window.pads[0], window.pads[1]]];
    let is_even = window.pads[..2] == window.pads[2..] && pads[0] == pads[1];
    if h.rank() != 4 || strides[0] != strides[1] || !is_even || window.dilations != [1, 1] {
        return Ok(None);
    }
    let filters = w.reshape((o, (), kernel[0], kernel[1]))?;
    let z = h.conv2d(&filters, pads[0], strides[0], 1, 1)?;
    Ok(Some(match b {
        Some(b) => z.broadcast_add(&b.reshape((1, o, 1, 1))?)?,
        None => z,
    }))
}

#[test]
fn a_map_is_its_matrix_times_its_input() -> TestResult {
    let mut n_checked = 0;
    for case in cases()? {
        let (graph, params) = &case.network;
        assert!(!Axes::of(graph).maps().is_empty(), "{} of {}", case.name, case.groups);
        for map in Axes::of(graph).maps().iter().filter(|map| map.tied.is_none()) {
            let (w, b) = (map.weights(graph, params)?, map.biases(graph, params)?);
            let at = [map.input, map.output];
            let values = graph.values_from(params, &inputs(&case)?, &[], &at)?;
            if let Some(z) = applied(map, &values[0], &w, b.as_ref())? {
                let found = distance(&values[1], &z)?;
                assert!(found < CLOSE, "{} of {}: {found:e}", map.name, case.name);
                n_checked += 1;
            }
            // Another matrix and bias act as they say.
            let (w, b) = ((w * -1.5)?, b.map(|b| b + 0.25).transpose()?);
            let changed = map.replaced(graph, params, &w, b.as_ref())?;
            let values = graph.values_from(&changed, &inputs(&case)?, &[], &at)?;
            if let Some(z) = applied(map, &values[0], &w, b.as_ref())? {
                let found = distance(&values[1], &z)?;
                assert!(found < CLOSE, "{} of {}, replaced: {found:e}", map.name, case.name);
            }
            assert!(distance(&map.weights(graph, &changed)?, &w)? < 1e-6);
        }
    }
    assert!(n_checked > 20, "only {n_checked} maps");
    Ok(())
}

#[test]
fn runs_go_on_from_known_values() -> TestResult {
    for case in cases()? {
        let (graph, params) = &case.network;
        let x = inputs(&case)?;
        let whole = graph.run(params, &x)?;
        for map in Axes::of(graph).maps() {
            // Zeros in the place of the input of a map: what is behind depends on them.
            let known = graph.values_from(params, &x, &[], &[map.input, map.output])?;
            let known: Vec<(ValueId, Tensor)> =
                [map.input, map.output].into_iter().zip(known).collect();
            let again = graph.values_from(params, &x, &known, graph.outputs())?;
            let found = distance(&again[0], &whole[0])?;
            assert!(found < CLOSE, "{} of {}: {found:e}", map.name, case.name);
            let (id, z) = &known[1];
            let moved = [(*id, (z + 1.0)?)];
            let moved = graph.values_from(params, &x, &moved, graph.outputs())?;
            let probe = [(*id, z.ones_like()?)];
            let probed = graph.values_with_probes(params, &x, &probe, graph.outputs())?;
            let found = distance(&probed[0], &moved[0])?;
            assert!(found < CLOSE, "{} of {}, probed: {found:e}", map.name, case.name);
        }
    }
    Ok(())
}

#[test]
fn gradients_by_probes_are_those_by_the_value() -> TestResult {
    for case in cases()? {
        let (graph, params) = &case.network;
        let blocks = params.blocks().iter().map(|block| block.to_dtype(DType::F64));
        let params = Params::new(params.layout().clone(), blocks.collect::<Result<_, _>>()?)?;
        let x: Vec<Tensor> =
            inputs(&case)?.iter().map(|x| x.to_dtype(DType::F64)).collect::<Result<_, _>>()?;
        let loss = |probes: &[(ValueId, Tensor)]| -> Outcome<Tensor> {
            let y = graph.values_with_probes(&params, &x, probes, graph.outputs())?;
            Ok(y[0].sin()?.sum_all()?)
        };
        for map in Axes::of(graph).maps().iter().take(3) {
            let z = graph.values_from(&params, &x, &[], &[map.output])?;
            let probe = Var::zeros(z[0].shape(), DType::F64, z[0].device())?;
            let gradients = loss(&[(map.output, probe.as_tensor().clone())])?.backward()?;
            let gradient = gradients.get(&probe).ok_or("no gradient")?;
            let direction = normal(&mut Rng::new(5), z[0].dims())?.to_dtype(DType::F64)?;
            let at = |step: f64| -> Outcome<f64> {
                let probe = (&direction * step)?;
                Ok(loss(&[(map.output, probe)])?.to_scalar::<f64>()?)
            };
            let slope = (at(1e-6)? - at(-1e-6)?) / 2e-6;
            let expected = (gradient * &direction)?.sum_all()?.to_scalar::<f64>()?;
            assert!(
                (slope - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                "{} of {}: {slope} against {expected}",
                map.name,
                case.name
            );
        }
    }
    Ok(())
}

#[test]
fn sizes_at_other_widths_are_those_of_the_narrow_graph() -> TestResult {
    let (mut rng, mut n_checked) = (Rng::new(3), 0);
    for case in cases()? {
        let (graph, params) = &case.network;
        let axes = Axes::of(graph);
        let sizes = axes.sizes(graph);
        let mut widths: Vec<usize> = axes.groups().iter().map(|group| group.n_units).collect();
        for round in 0..4 {
            let mut kept = Vec::new();
            for (g, group) in axes.groups().iter().enumerate().filter(|(_, g)| g.pinned.is_none()) {
                if round > 0 {
                    widths[g] = 1 + (rng.uniform() * group.n_units as f64) as usize;
                }
                kept.push((g, (0..widths[g]).collect()));
            }
            // A Split has no part without entries.
            let Ok((narrow, _)) = axes.narrow(graph, params, &kept) else { continue };
            n_checked += 1;
            let n: usize = narrow.layout().blocks.iter().map(|b| b.rows * b.cols).sum();
            let found = sizes.n_parameters(&widths);
            assert!((found - n as f64).abs() < 1e-6 * n as f64, "{}: {found} of {n}", case.name);
            let n = narrow.n_products_in_all() as f64;
            let found = sizes.n_products(&widths);
            assert!((found - n).abs() < 1e-6 * n, "{}: {found} of {n} products", case.name);
        }
    }
    assert!(n_checked > 30, "only {n_checked} networks");
    Ok(())
}
