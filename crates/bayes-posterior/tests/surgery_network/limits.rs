//! Memory, batches and threads decide how long surgery takes, not what comes out.

use bayes_posterior::surgery::network::{
    Calibration, Cutting, Operated, Surgery, operate, output_curvatures,
};
use core_tensors::Rng;
use losses::Likelihood;

use crate::growing::Outcome;
use crate::naive::{Net, case, dense, gap, stream};

type TestResult = Outcome<()>;

/// Products of other sizes sum in another order, which a damping of 1e-6 makes larger.
const ROUNDING: f64 = 1e-7;

fn run(net: &Net, widths: &[usize], cutting: Cutting) -> Outcome<Operated> {
    let x = net.examples(50, 90)?;
    let calibration = Calibration::new(&[x], None, cutting)?;
    let likelihood = Likelihood::Categorical;
    let g = output_curvatures(&net.network(), &calibration, likelihood, 16, &mut Rng::new(1))?;
    let surgery = Surgery::held_out();
    let likelihood = Some(likelihood);
    Ok(operate(&net.network(), &calibration, widths, &surgery, Some(&g), likelihood)?)
}

fn nets() -> Outcome<Vec<(Net, Vec<usize>)>> {
    let half = |net: &Net| -> Vec<usize> {
        let groups = net.axes.groups().iter();
        groups.map(|g| if g.pinned.is_some() { g.n_units } else { g.n_units.div_ceil(2) }).collect()
    };
    let mut nets = vec![stream(51, [7, 6, 9, 4])?];
    for name in ["convolutional", "residual", "encoder", "branches", "gated"] {
        nets.push(case(name, 0)?);
    }
    Ok(nets.into_iter().map(|net| (half(&net), net)).map(|(widths, net)| (net, widths)).collect())
}

const ALL: Cutting = Cutting { batch_size: 64, held_out_every: 3, memory: 1 << 30 };

fn same(a: &Operated, b: &Operated, what: &str) -> TestResult {
    let kept = |of: &Operated| -> Vec<Vec<usize>> {
        of.report.groups.iter().map(|group| group.kept.clone()).collect()
    };
    assert_eq!(kept(a), kept(b), "{what}");
    let apart = gap(&b.params.to_vec()?, &a.params.to_vec()?);
    assert!(apart < ROUNDING, "{what}: {apart:e}");
    for (a, b) in [(a.report.predicted, b.report.predicted), (a.report.measured, b.report.measured)]
    {
        assert!(gap(&[b.ok_or("nats")?], &[a.ok_or("nats")?]) < 1e-5, "{what}: {a:?} {b:?}");
    }
    Ok(())
}

#[test]
fn memory_changes_nothing() -> TestResult {
    for (net, widths) in nets()? {
        let all = run(&net, &widths, ALL)?;
        // None; what fits before the two versions differ and not after; what fits at some cuts only.
        for memory in [0, 90 * 4 * 30, 90 * 4 * 100, 90 * 4 * 400] {
            let some = run(&net, &widths, Cutting { memory, ..ALL })?;
            same(&all, &some, &format!("{:?} {memory}", net.input))?;
        }
    }
    Ok(())
}

#[test]
fn batches_change_nothing() -> TestResult {
    for (net, widths) in nets()? {
        let all = run(&net, &widths, ALL)?;
        for batch_size in [1, 7, 1000] {
            let some = run(&net, &widths, Cutting { batch_size, ..ALL })?;
            same(&all, &some, &format!("{:?} {batch_size}", net.input))?;
        }
    }
    Ok(())
}

#[test]
fn threads_change_no_bit() -> TestResult {
    let mut nets = nets()?;
    // Wide enough for products on several threads.
    let wide = dense(52, &[6, 300, 4], Some(models::graph::Unary::Relu))?;
    let widths = wide.widths(&[("a", 296)])?;
    nets.push((wide, widths));
    for (net, widths) in nets {
        let mut found = Vec::new();
        for n in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(n).build()?;
            let done = pool.install(|| run(&net, &widths, ALL).map_err(|e| e.to_string()))?;
            let bits: Vec<u64> = done.params.to_vec()?.iter().map(|v| v.to_bits()).collect();
            found.push((bits, done.report.measured.map(f64::to_bits)));
        }
        assert!(found[0] == found[1] && found[0] == found[2], "{:?}", net.input);
    }
    Ok(())
}
