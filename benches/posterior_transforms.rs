//! Time of what carries a posterior from one network to another, by structure and number of parameters.
//!
//! Sizes: p = 210 is [10, 10, 10, 1], 6050 is [10, 100, 50, 1], 667 700 is [784, 800, 50, 10], all without biases; layers
//! are removed from [10, 50, 50, 1] (3050). A structure is left out where its numbers would not fit the memory. Surgery, whose
//! sizes are columns, stands in its own file.

#[path = "posterior_transforms/surgery.rs"]
mod surgery;

use std::hint::black_box;
use std::time::Duration;

use bayes_posterior::{
    BlockDiagonal, Diagonal, Edit, EditOptions, Factors, Full, Gaussian, Group, Kronecker, LowRank,
    LowRankForm, Posterior, Prior, Structure, UnitMatching, transform,
};
use core_tensors::kernels::Activation;
use core_tensors::{Layout, Rng};
use criterion::{BatchSize, BenchmarkGroup, Criterion, measurement::WallTime};
use faer::Mat;
use models::{Architecture, Mlp};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type BenchResult = Result<(), Box<dyn std::error::Error>>;

/// Directions of the low-rank structure.
const RANK: usize = 20;

/// A network, and the units of its first hidden layer that go.
struct Size {
    network: Mlp,
    removed: usize,
    /// Whether one dense matrix of all parameters fits.
    is_dense: bool,
}

fn network(widths: &[usize]) -> Mlp {
    Mlp { widths: widths.to_vec(), activation: Activation::Relu, bias: false }
}

/// A positive definite matrix with entries everywhere, in n² operations: I plus a smooth rank-1 part and a band.
fn covariance(n: usize) -> Mat<f64> {
    Mat::from_fn(n, n, |i, j| {
        let near = 0.3 / (1.0 + (i as f64 - j as f64).abs()).powi(2);
        near + 1e-3 * (i as f64 * 0.1).sin() * (j as f64 * 0.1).sin()
            + if i == j { 1.0 } else { 0.0 }
    })
}

fn low_rank(layout: &Layout, rng: &mut Rng) -> Result<LowRank, bayes_posterior::Error> {
    let p = layout.n_parameters();
    let factor = Mat::from_fn(p, RANK, |_, _| 0.1 * rng.normal());
    LowRank::new(LowRankForm::Covariance, factor, vec![0.5; p])
}

fn blocks(layout: &Layout, group: Group) -> Result<BlockDiagonal, bayes_posterior::Error> {
    let sizes: Vec<usize> = match group {
        Group::Layer => layout.blocks.iter().map(core_tensors::Block::n_parameters).collect(),
        Group::Unit => layout.blocks.iter().flat_map(|b| vec![b.cols; b.rows]).collect(),
    };
    BlockDiagonal::new(group, sizes.into_iter().map(covariance).collect())
}

fn kronecker(layout: &Layout) -> Result<Kronecker, bayes_posterior::Error> {
    let factors = |b: &core_tensors::Block| Factors::new(covariance(b.rows), covariance(b.cols));
    Ok(Kronecker::new(layout.blocks.iter().map(factors).collect::<Result<_, _>>()?))
}

fn main() -> BenchResult {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    let sizes = [
        Size { network: network(&[10, 10, 10, 1]), removed: 5, is_dense: true },
        Size { network: network(&[10, 100, 50, 1]), removed: 50, is_dense: true },
        Size { network: network(&[784, 800, 50, 10]), removed: 750, is_dense: false },
    ];
    let mut group = criterion.benchmark_group("posterior_transforms");
    for Size { network, removed, is_dense } in &sizes {
        let edit = Edit::RemoveUnits { layer: 1, units: (0..*removed).collect() };
        each_structure(
            network,
            *is_dense,
            Bench { group: &mut group, verb: "remove_units", edit: Some(&edit) },
        )?;
        for verb in ["kl", "sample"] {
            each_structure(network, *is_dense, Bench { group: &mut group, verb, edit: None })?;
        }
    }
    let edit = Edit::RemoveLayer { layer: 2, matching: UnitMatching::Identity };
    let square = network(&[10, 50, 50, 1]);
    each_structure(
        &square,
        true,
        Bench { group: &mut group, verb: "remove_layer", edit: Some(&edit) },
    )?;
    surgery::all(&mut group)?;
    group.finish();
    criterion.final_summary();
    Ok(())
}

fn each_structure(network: &Mlp, is_dense: bool, mut bench: Bench) -> BenchResult {
    let (layout, mut rng) = (network.layout(), Rng::new(0));
    let p = layout.n_parameters();
    let mean: Vec<f64> = (0..p).map(|_| rng.normal()).collect();
    bench.run(network, &mean, "diagonal", || Diagonal::new(vec![0.5; p]))?;
    bench.run(network, &mean, "kronecker", || kronecker(&layout))?;
    bench.run(network, &mean, "low_rank", || low_rank(&layout, &mut rng))?;
    if is_dense {
        bench.run(network, &mean, "block_unit", || blocks(&layout, Group::Unit))?;
        bench.run(network, &mean, "block_layer", || blocks(&layout, Group::Layer))?;
        bench.run(network, &mean, "full", || Full::new(covariance(p)))?;
    }
    Ok(())
}

/// One verb.
struct Bench<'a, 'b> {
    group: &'a mut BenchmarkGroup<'b, WallTime>,
    verb: &'static str,
    edit: Option<&'a Edit>,
}

impl Bench<'_, '_> {
    fn run<S: Structure>(
        &mut self,
        network: &Mlp,
        mean: &[f64],
        structure: &str,
        covariance: impl FnOnce() -> bayes_posterior::Result<S>,
    ) -> BenchResult {
        let p = mean.len();
        let gaussian = Gaussian::new(network.layout(), mean.to_vec(), covariance()?)?;
        let id = format!("{}/{structure}/{p}", self.verb);
        // An early error would look like a fast verb.
        let mut failure = None;
        match (self.edit, self.verb) {
            (Some(edit), _) => {
                let posterior = Posterior::new(network.clone(), gaussian)?;
                let plan = std::slice::from_ref(edit);
                let options = EditOptions::strict();
                self.group.bench_function(&id, |b| {
                    // The copy that an edit consumes is not part of its time.
                    b.iter_batched(
                        || posterior.clone(),
                        |copy| {
                            black_box(transform(copy, plan, &options))
                                .map_err(|e| failure = Some(e))
                        },
                        BatchSize::PerIteration,
                    );
                });
            }
            (None, "kl") => {
                let variance = vec![0.3; p];
                self.group.bench_function(&id, |b| {
                    // A copy has no factor yet: the first divergence from a prior is what is timed.
                    b.iter_batched(
                        || gaussian.clone(),
                        |prior| {
                            let divergence =
                                Prior::new(&prior).and_then(|p| p.divergence(mean, &variance));
                            black_box(divergence).map_err(|e| failure = Some(e))
                        },
                        BatchSize::PerIteration,
                    );
                });
            }
            (None, _) => {
                let mut rng = Rng::new(1);
                gaussian.sample(&mut rng)?;
                self.group.bench_function(&id, |b| {
                    b.iter(|| black_box(gaussian.sample(&mut rng)).map_err(|e| failure = Some(e)));
                });
            }
        }
        failure.map_or(Ok(()), |error| Err(error.into()))
    }
}
