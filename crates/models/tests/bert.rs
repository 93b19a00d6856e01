//! A tiny BERT as a graph: against a forward pass in plain loops, and what can be removed from it.

#[path = "common/narrowing.rs"]
mod narrowing;

use std::collections::BTreeMap;
use std::error::Error;

use candle_core::{DType, Device, Tensor};
use core_tensors::{Params, Rng};
use models::BertEncoder;
use models::graph::Graph;
use models::graph::axes::Axes;

type TestResult = Result<(), Box<dyn Error>>;
/// The numbers of each parameter.
type Named = BTreeMap<String, Vec<f64>>;

const TINY: BertEncoder = BertEncoder {
    n_layers: 2,
    n_heads: 3,
    width: 12,
    feed_forward: 7,
    vocabulary: 11,
    n_positions: 9,
    n_types: 2,
    epsilon: 1e-5,
    n_tokens: 6,
};
const IDS: [[u32; 6]; 3] = [[2, 5, 7, 3, 0, 0], [2, 3, 0, 0, 0, 0], [2, 10, 4, 4, 9, 3]];
const LENGTHS: [usize; 3] = [4, 2, 6];

fn inputs(ids: [[u32; 6]; 3]) -> Result<Vec<Tensor>, candle_core::Error> {
    let mask = LENGTHS.map(|n| std::array::from_fn::<u8, 6, _>(|t| u8::from(t < n)));
    Ok(vec![Tensor::new(&ids, &Device::Cpu)?, Tensor::new(&mask, &Device::Cpu)?])
}

/// Random numbers for the parameters of a graph, by name, and the same as parameters.
fn drawn(graph: &Graph, seed: u64) -> Result<(Named, Params), Box<dyn Error>> {
    let mut rng = Rng::new(seed);
    let mut numbers = BTreeMap::new();
    let mut tensors = BTreeMap::new();
    for &id in graph.parameters() {
        let name = graph.value(id).name.clone();
        let shape = narrowing::extents(graph, id);
        let mean = f64::from(u8::from(name.ends_with("LayerNorm.weight")));
        let values: Vec<f64> =
            (0..shape.iter().product()).map(|_| mean + 0.5 * rng.normal()).collect();
        tensors.insert(name.clone(), Tensor::from_vec(values.clone(), shape, &Device::Cpu)?);
        numbers.insert(name, values);
    }
    let params = graph.params_by_name(|name| tensors.get(name).cloned())?;
    Ok((numbers, params))
}

fn linear(w: &Named, name: &str, x: &[f64]) -> Vec<f64> {
    let (u, b) = (&w[&format!("{name}.weight")], &w[&format!("{name}.bias")]);
    let dot = |row: &[f64]| row.iter().zip(x).map(|(u, x)| u * x).sum::<f64>();
    u.chunks(x.len()).zip(b).map(|(row, b)| dot(row) + b).collect()
}

fn norm(w: &Named, name: &str, x: &[f64]) -> Vec<f64> {
    let (scale, shift) = (&w[&format!("{name}.weight")], &w[&format!("{name}.bias")]);
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    let std = (variance + f64::from(TINY.epsilon)).sqrt();
    (0..x.len()).map(|j| scale[j] * (x[j] - mean) / std + shift[j]).collect()
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// x Φ(x), with the series of the error function.
fn gelu(x: f64) -> f64 {
    let z = x / 2f64.sqrt();
    let (mut sum, mut term) = (0.0, z);
    for n in 0..200 {
        sum += term / f64::from(2 * n + 1);
        term *= -z * z / f64::from(n + 1);
    }
    0.5 * x * (1.0 + 2.0 / std::f64::consts::PI.sqrt() * sum)
}

/// The vector of one text of these tokens, which alone are computed: no padding and no mask.
fn reference(w: &Named, tokens: &[u32]) -> Vec<f64> {
    let n = TINY.width;
    let row = |name: &str, i: usize| {
        w[&format!("embeddings.{name}_embeddings.weight")][i * n..(i + 1) * n].to_vec()
    };
    let embed = |(t, &token): (usize, &u32)| {
        let sum =
            plus(&plus(&row("word", token as usize), &row("position", t)), &row("token_type", 0));
        norm(w, "embeddings.LayerNorm", &sum)
    };
    let mut x: Vec<Vec<f64>> = tokens.iter().enumerate().map(embed).collect();
    for layer in 0..TINY.n_layers {
        let at = |name: &str| format!("encoder.layer.{layer}.{name}");
        let all = |name: &str| -> Vec<Vec<f64>> {
            x.iter().map(|x| linear(w, &at(&format!("attention.self.{name}")), x)).collect()
        };
        let (q, k, v) = (all("query"), all("key"), all("value"));
        let d = n / TINY.n_heads;
        let attend = |t: usize| -> Vec<f64> {
            let mut y = vec![0.0; n];
            for j in 0..n {
                let part = j / d * d..(j / d + 1) * d;
                let dot = |s: usize| part.clone().map(|i| q[t][i] * k[s][i]).sum::<f64>();
                let powers: Vec<f64> =
                    (0..x.len()).map(|s| (dot(s) / (d as f64).sqrt()).exp()).collect();
                let total: f64 = powers.iter().sum();
                y[j] = (0..x.len()).map(|s| powers[s] / total * v[s][j]).sum();
            }
            y
        };
        let after = |t: usize| -> Vec<f64> {
            let attended = linear(w, &at("attention.output.dense"), &attend(t));
            let y = norm(w, &at("attention.output.LayerNorm"), &plus(&attended, &x[t]));
            let hidden: Vec<f64> =
                linear(w, &at("intermediate.dense"), &y).into_iter().map(gelu).collect();
            norm(w, &at("output.LayerNorm"), &plus(&linear(w, &at("output.dense"), &hidden), &y))
        };
        x = (0..x.len()).map(after).collect();
    }
    let mean: Vec<f64> =
        (0..n).map(|j| x.iter().map(|x| x[j]).sum::<f64>() / x.len() as f64).collect();
    let length = mean.iter().map(|v| v * v).sum::<f64>().sqrt();
    mean.iter().map(|v| v / length).collect()
}

#[test]
fn vectors_are_those_of_a_forward_pass_in_plain_loops() -> TestResult {
    let graph = TINY.to_graph()?;
    for seed in 0..3 {
        let (numbers, w) = drawn(&graph, seed)?;
        let single: Vec<Tensor> =
            w.blocks().iter().map(|b| b.to_dtype(DType::F32)).collect::<Result<_, _>>()?;
        let single = Params::new(graph.layout(), single)?;
        // Sums of about 12 numbers through two layers, in f64 and in f32.
        for (w, tolerance) in [(&w, 1e-11), (&single, 1e-5)] {
            let found =
                graph.run(w, &inputs(IDS)?)?.remove(0).to_dtype(DType::F64)?.to_vec2::<f64>()?;
            for ((ids, n), found) in IDS.iter().zip(LENGTHS).zip(found) {
                let wanted = reference(&numbers, &ids[..n]);
                let gap =
                    wanted.iter().zip(&found).fold(0.0, |gap: f64, (a, b)| gap.max((a - b).abs()));
                assert!(gap < tolerance, "seed {seed}, {n} tokens: {gap:e}");
            }
        }
    }
    Ok(())
}

#[test]
fn padding_has_no_influence() -> TestResult {
    let graph = TINY.to_graph()?;
    let (_, w) = drawn(&graph, 4)?;
    let mut others = IDS;
    for (row, n) in others.iter_mut().zip(LENGTHS) {
        row[n..].fill(8);
    }
    let [a, b] =
        [IDS, others].map(|ids| graph.run(&w, &inputs(ids)?).map_err(Box::<dyn Error>::from));
    assert_eq!(a?[0].to_vec2::<f64>()?, b?[0].to_vec2::<f64>()?);
    Ok(())
}

/// The residual stream stays: every layer normalization takes moments over it.
#[test]
fn units_of_feed_forward_networks_and_heads_can_be_removed() -> TestResult {
    let axes = Axes::of(&TINY.to_graph()?);
    let free: Vec<String> = axes
        .groups()
        .iter()
        .filter(|group| group.pinned.is_none())
        .map(ToString::to_string)
        .collect();
    println!("{axes}");
    let wanted: Vec<String> = (0..TINY.n_layers)
        .flat_map(|layer| {
            let at = format!("encoder.layer.{layer}");
            let own = format!("{at}.attention.self");
            [
                format!(
                    "{own}.query + {own}.key + {own}.value: 3 units of 36 rows -> \
                     {at}.attention.output.dense (12 columns)"
                ),
                format!("{at}.intermediate.dense: 7 units -> {at}.output.dense (7 columns)"),
            ]
        })
        .collect();
    assert_eq!(free, wanted);
    Ok(())
}

#[test]
fn units_and_heads_without_columns_leave_without_a_trace() -> TestResult {
    let graph = TINY.to_graph()?;
    let (_, w) = drawn(&graph, 5)?;
    let w: Vec<Tensor> =
        w.blocks().iter().map(|block| block.to_dtype(DType::F32)).collect::<Result<_, _>>()?;
    let w = Params::new(graph.layout(), w)?;
    let (n, worst) = narrowing::laws(&Axes::of(&graph), &graph, &w, &inputs(IDS)?, usize::MAX)?;
    println!("{n} units, {worst:e}");
    assert_eq!(n, TINY.n_layers * (TINY.n_heads + TINY.feed_forward));
    Ok(())
}

#[test]
fn what_is_no_network_is_refused() {
    let told = |of: BertEncoder| of.to_graph().map(|_| ()).unwrap_err().to_string();
    let cases = [
        (BertEncoder { n_heads: 5, ..TINY }, "width of a BERT: expected a multiple of 5, found 12"),
        (BertEncoder { n_heads: 0, ..TINY }, "heads of a BERT: expected at least 1, found 0"),
        (BertEncoder { n_tokens: 10, ..TINY }, "tokens of a text: expected at most 9, found 10"),
    ];
    for (of, wanted) in cases {
        assert_eq!(told(of), wanted);
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() -> TestResult {
    let graph = TINY.to_graph()?;
    let missing = graph.params_by_name(|_| None).unwrap_err().to_string();
    let name = "embeddings.word_embeddings.weight";
    assert_eq!(
        missing,
        format!("parameter `{name}` of shape [11, 12]: found no tensor of this name")
    );
    let wrong = Tensor::zeros((12, 11), DType::F32, &Device::Cpu)?;
    let wrong = graph.params_by_name(|_| Some(wrong.clone())).unwrap_err().to_string();
    assert_eq!(wrong, format!("parameter `{name}`: expected shape [11, 12], found [12, 11]"));
    Ok(())
}
