//! G of each map is that of finite differences.

use bayes_posterior::surgery::network::{Calibration, Cutting, output_curvatures};
use candle_core::Tensor;
use core_tensors::{Params, Rng};
use faer::Mat;
use losses::Likelihood;
use models::graph::axes::LinearMap;
use models::graph::{Dimension, Op, Unary};

use crate::growing::{Growing, Outcome, of};
use crate::naive::{Net, calibration, case, dense, gap, of_mat, output, stream};

type TestResult = Outcome<()>;

const BOTH: [Likelihood; 2] = [Likelihood::Categorical, Likelihood::Normal { variance: 0.3 }];
/// Central differences of f64 at a step of 1e-5.
const DIFFERENCES: f64 = 1e-6;

/// J of each row of outputs by the bias of a map, which moves z at all positions at once: (rows, k, o).
fn jacobians(net: &Net, x: &Tensor, map: &LinearMap, k: usize) -> Outcome<Vec<Mat<f64>>> {
    let bias = map.bias.ok_or("no bias")?;
    let at = net.graph.parameters().iter().position(|&id| id == bias).ok_or("no bias")?;
    let o = net.params.blocks()[at].elem_count();
    let step = 1e-5;
    let moved = |a: usize, by: f64| -> Outcome<Vec<f64>> {
        let mut blocks = net.params.blocks().to_vec();
        let mut numbers = blocks[at].flatten_all()?.to_vec1::<f64>()?;
        numbers[a] += by / map.factors[1];
        blocks[at] = Tensor::from_vec(numbers, blocks[at].shape(), blocks[at].device())?;
        output(&net.graph, &Params::new(net.graph.layout(), blocks)?, x)
    };
    let mut columns = Vec::new();
    for a in 0..o {
        let (up, down) = (moved(a, step)?, moved(a, -step)?);
        columns
            .push(up.iter().zip(down).map(|(u, d)| (u - d) / (2.0 * step)).collect::<Vec<f64>>());
    }
    let rows = columns[0].len() / k;
    Ok((0..rows).map(|i| Mat::from_fn(k, o, |c, a| columns[a][i * k + c])).collect())
}

/// N⁻¹ Σ Jᵀ Λ J over the rows of outputs that count.
fn wanted(
    net: &Net,
    x: &Tensor,
    map: &LinearMap,
    likelihood: Likelihood,
    counts: &dyn Fn(usize) -> bool,
) -> Outcome<Mat<f64>> {
    let f = net.graph.run(&net.params, std::slice::from_ref(x))?.remove(0);
    let k = f.dim(f.rank() - 1)?;
    let f = f.flatten_all()?.to_vec1::<f64>()?;
    let mut sum: Option<Mat<f64>> = None;
    for (i, j) in jacobians(net, x, map, k)?.iter().enumerate().filter(|(i, _)| counts(*i)) {
        let row = &f[i * k..(i + 1) * k];
        let total: f64 = row.iter().map(|f| f.exp()).sum();
        let p: Vec<f64> = row.iter().map(|f| f.exp() / total).collect();
        let lambda = Mat::from_fn(k, k, |a, b| {
            let same = f64::from(u8::from(a == b));
            match likelihood {
                Likelihood::Categorical => same * p[a] - p[a] * p[b],
                Likelihood::Bernoulli => row[0].exp() / (1.0 + row[0].exp()).powi(2),
                Likelihood::Normal { variance } => same / variance,
            }
        });
        let term = j.transpose() * lambda * j;
        sum = Some(sum.map_or_else(|| term.clone(), |sum| sum + &term));
    }
    Ok(sum.ok_or("no rows")? * faer::Scale(1.0 / x.dim(0)? as f64))
}

#[test]
fn curvatures_are_those_of_finite_differences() -> TestResult {
    let names = ["perceptron", "convolutional", "residual", "encoder", "branches", "gated"];
    for name in names {
        let net = case(name, 0)?;
        let x = net.examples(8, 6)?;
        for likelihood in BOTH {
            let calibration = calibration(&x, 3)?;
            let mut rng = Rng::new(0);
            let found = output_curvatures(&net.network(), &calibration, likelihood, 16, &mut rng)?;
            for (m, map) in net.axes.maps().iter().enumerate() {
                let wanted = wanted(&net, &x, map, likelihood, &|_| true)?;
                let found = found.get(m).map(|g| g.to_owned()).ok_or("a curvature")?;
                let apart = gap(&of_mat(&found), &of_mat(&wanted));
                assert!(apart < DIFFERENCES, "{name}, {}, {likelihood:?}: {apart:e}", map.name);
            }
        }
    }
    Ok(())
}

#[test]
fn curvatures_of_one_logit_are_those_of_finite_differences() -> TestResult {
    for net in [dense(3, &[5, 6, 4, 1], Some(Unary::Tanh))?, stream(4, [5, 4, 6, 1])?] {
        let x = net.examples(8, 9)?;
        let (calibration, mut rng) = (calibration(&x, 3)?, Rng::new(0));
        let likelihood = Likelihood::Bernoulli;
        let found = output_curvatures(&net.network(), &calibration, likelihood, 4, &mut rng)?;
        for (m, map) in net.axes.maps().iter().enumerate() {
            let wanted = wanted(&net, &x, map, likelihood, &|_| true)?;
            let found = found.get(m).map(|g| g.to_owned()).ok_or("a curvature")?;
            let apart = gap(&of_mat(&found), &of_mat(&wanted));
            assert!(apart < DIFFERENCES, "{}: {apart:e}", map.name);
        }
    }
    Ok(())
}

#[test]
fn numbers_in_f32_have_the_same_curvatures() -> TestResult {
    let net = case("convolutional", 0)?;
    let x = net.examples(8, 20)?;
    let f32s = net.params.blocks().iter().map(|b| b.to_dtype(candle_core::DType::F32));
    let f32s = Params::new(net.graph.layout(), f32s.collect::<candle_core::Result<_>>()?)?;
    let small = bayes_posterior::surgery::network::Network { params: &f32s, ..net.network() };
    let [a, b] = [
        output_curvatures(&net.network(), &calibration(&x, 0)?, BOTH[0], 16, &mut Rng::new(0))?,
        output_curvatures(
            &small,
            &calibration(&x.to_dtype(candle_core::DType::F32)?, 0)?,
            BOTH[0],
            16,
            &mut Rng::new(0),
        )?,
    ];
    for m in 0..net.axes.maps().len() {
        let (a, b) = (
            a.get(m).map(|g| g.to_owned()).ok_or("one")?,
            b.get(m).map(|g| g.to_owned()).ok_or("one")?,
        );
        assert!(gap(&of_mat(&b), &of_mat(&a)) < 1e-4);
    }
    Ok(())
}

/// Means over many draws are within 5 of their standard errors, and a rounding.
fn is_unbiased(
    net: &Net,
    calibration: &Calibration,
    likelihood: Likelihood,
    name: &str,
    wanted: &Mat<f64>,
) -> TestResult {
    let (m, _) = net.map(name)?;
    let (n, size) = (300, of_mat(wanted).len());
    let (mut sums, mut squares) = (vec![0.0; size], vec![0.0; size]);
    let mut rng = Rng::new(11);
    for _ in 0..n {
        let found = output_curvatures(&net.network(), calibration, likelihood, 16, &mut rng)?;
        for (k, v) in
            of_mat(&found.get(m).map(|g| g.to_owned()).ok_or("a curvature")?).iter().enumerate()
        {
            sums[k] += v;
            squares[k] += v * v;
        }
    }
    let n = f64::from(n);
    let largest = of_mat(wanted).iter().fold(0.0f64, |most, v| most.max(v.abs()));
    for (k, wanted) in of_mat(wanted).iter().enumerate() {
        let mean = sums[k] / n;
        let error = ((squares[k] / n - mean * mean).max(0.0) / n).sqrt();
        let apart = (mean - wanted).abs();
        assert!(apart < 5.0 * error + 1e-6 * largest, "{name} {k}: {mean} {wanted} ± {error}");
        // And the errors are small enough to see a factor.
        assert!(error < 0.2 * largest, "{error} {largest}");
    }
    Ok(())
}

#[test]
fn random_directions_of_many_outputs_are_unbiased() -> TestResult {
    let net = dense(12, &[4, 3, 20], Some(Unary::Tanh))?;
    let x = net.examples(9, 5)?;
    for likelihood in BOTH {
        let (_, map) = net.map("a")?;
        let wanted = wanted(&net, &x, map, likelihood, &|_| true)?;
        is_unbiased(&net, &calibration(&x, 0)?, likelihood, "a", &wanted)?;
    }
    Ok(())
}

/// Tokens: (N, T, n) in, (N, T, k) out; where `is_flat`, as (N·T, …) between.
pub(crate) fn tokens(t: usize, is_flat: bool) -> Outcome<Net> {
    let (mut net, x) = Growing::new(13, &[t, 5]);
    let h = net.matmul("embed", x, [4, 5])?;
    let many = Dimension { fixed: 0, per_example: t as i64 };
    let flat = |net: &mut Growing, h| {
        if is_flat { net.reshape(h, &[many, of(4)]) } else { Ok(h) }
    };
    let h = flat(&mut net, h)?;
    let inner = net.matmul("up", h, [6, 4])?;
    let inner = net.node(Op::Unary(Unary::Relu), &[inner])?;
    let inner = net.matmul("down", inner, [4, 6])?;
    let s = net.sum(inner, h)?;
    let s = net.node(Op::Unary(Unary::Tanh), &[s])?;
    let mut y = net.matmul("out", s, [3, 4])?;
    if is_flat {
        y = net.reshape(y, &[Dimension::BATCH, of(t), of(3)])?;
    }
    Net::new(net.finish(y)?, &[t, 5])
}

#[test]
fn outputs_of_tokens_are_unbiased_and_masked_ones_do_not_count() -> TestResult {
    for is_flat in [false, true] {
        let net = tokens(4, is_flat)?;
        let x = net.examples(9, 3)?;
        let counts = [[1u32, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 1]];
        let mask = Tensor::new(&counts, x.device())?;
        for likelihood in BOTH {
            for has_mask in [false, true] {
                let (_, map) = net.map("up")?;
                let is_counted = |i: usize| !has_mask || counts[i / 4][i % 4] == 1;
                let wanted = wanted(&net, &x, map, likelihood, &is_counted)?;
                let mask = has_mask.then_some(&mask);
                let examples =
                    Calibration::new(std::slice::from_ref(&x), mask, Cutting::default())?;
                is_unbiased(&net, &examples, likelihood, "up", &wanted)?;
            }
        }
    }
    Ok(())
}

#[test]
fn an_output_of_one_number_an_example_is_one_output() -> TestResult {
    let (mut net, x) = Growing::new(14, &[4]);
    let h = net.gemm("a", x, [5, 4], true)?;
    let h = net.node(Op::Unary(Unary::Tanh), &[h])?;
    let h = net.gemm("b", h, [1, 5], true)?;
    let y = net.node(Op::Squeeze { axes: vec![1] }, &[h])?;
    let net = Net::new(net.finish(y)?, &[4])?;
    let x = net.examples(10, 30)?;
    let likelihood = Likelihood::Normal { variance: 0.5 };
    let found =
        output_curvatures(&net.network(), &calibration(&x, 0)?, likelihood, 16, &mut Rng::new(0))?;
    let found = found.get(1).map(|g| g.to_owned()).ok_or("a curvature")?;
    assert!((found[(0, 0)] - 2.0).abs() < 1e-9, "{found:?}");
    Ok(())
}
