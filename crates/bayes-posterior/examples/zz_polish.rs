//! Scratch.
use bayes_posterior::candle_core::{DType, Device, Tensor};
use bayes_posterior::surgery::network::*;
use core_tensors::Rng;
use losses::{Likelihood, Predictions};
use models::graph::axes::Axes;
use models::onnx;
use std::time::Instant;

type R<T> = Result<T, Box<dyn std::error::Error>>;

fn images(file: &str, rows: &[usize]) -> R<Tensor> {
    let all = std::fs::read(file)?;
    let mut v = Vec::with_capacity(rows.len() * 784);
    for &r in rows {
        v.extend(all[r * 784..(r + 1) * 784].iter().map(|&b| f32::from(b) / 255.0));
    }
    Ok(Tensor::from_vec(v, (rows.len(), 784), &Device::Cpu)?)
}

fn main() -> R<()> {
    let args: Vec<String> = std::env::args().collect();
    let name = &args[1];
    let mode = &args[2]; // plain | heldout | wanda | magnitude ...
    let n: usize = args[3].parse()?;
    let widths_arg = &args[4]; // shares "s.5" or list "16,12"
    let dir = format!("/work/shared/datasets/models/{name}");
    let model = onnx::Model::parse(std::fs::read(format!("{dir}/model.onnx"))?)?;
    let imported = onnx::import(&model, &mut onnx::no_external, &onnx::ImportOptions::default())?;
    let (graph, params) = (&imported.graph, &imported.params);
    let axes = Axes::of(graph);
    if mode == "axes" {
        println!("{axes}");
        for m in axes.maps() {
            println!("{m:?}");
        }
        return Ok(());
    }
    let rows: Vec<usize> = match std::fs::read_to_string(format!("{dir}/train_rows.txt")) {
        Ok(t) => t.split_whitespace().map(|v| v.parse::<f64>().unwrap() as usize).take(n).collect(),
        Err(_) => (20000..20000 + n).collect(),
    };
    let x = images("/tmp/fm_tr_x.bin", &rows)?;
    let tx = images("/tmp/fm_te_x.bin", &(0..10000).collect::<Vec<_>>())?;
    let ty: Vec<u32> = std::fs::read("/tmp/fm_te_y.bin")?.iter().map(|&b| u32::from(b)).collect();
    let network = Network { graph, params, axes: &axes };
    let full: Vec<usize> = axes.groups().iter().map(|g| g.n_units).collect();
    let accuracy = |g: &models::graph::Graph, p: &core_tensors::Params| -> R<(f64, f64)> {
        let mut acc = (0.0, 0.0);
        for k in 0..10 {
            let y = g.forward(p, &tx.narrow(0, k * 1000, 1000)?)?.to_dtype(DType::F64)?;
            let pr = Predictions::new(&y)?;
            acc.0 += pr.accuracy(&ty[k * 1000..(k + 1) * 1000])? / 10.0;
            acc.1 += pr.cross_entropy(&ty[k * 1000..(k + 1) * 1000])? / 10.0;
        }
        Ok(acc)
    };
    let a0 = accuracy(graph, params)?;
    println!("{name} teacher {:.4} {:.4} params {}", a0.0, a0.1, graph.layout().n_parameters());
    let every = if mode.contains("noheld") || mode == "plain" { 0 } else { 5 };
    let cal =
        Calibration::new(&[x.clone()], None, Cutting { batch_size: 250, held_out_every: every })?;
    let t = Instant::now();
    let with_g = mode.contains("+g") || widths_arg.starts_with('p');
    let g = if with_g {
        Some(output_curvatures(
            &network,
            &cal,
            Likelihood::Categorical,
            if mode.contains("exact") { 100 } else { enough_directions(&cal) },
            &mut Rng::new(1),
        )?)
    } else {
        None
    };
    if with_g {
        println!("curvatures {:.2} s", t.elapsed().as_secs_f64());
    }
    let base = mode.split('+').next().unwrap();
    let surgery = match base {
        "plain" => Surgery::plain(),
        "noheld" => Surgery { dampings: vec![1e-4], ..Surgery::plain() },
        "heldout" => Surgery::held_out(),
        "damp" => Surgery { repairs: vec![], ..Surgery::held_out() },
        "repair6" => Surgery { repairs: vec![1e-6], ..Surgery::plain() },
        "wanda" => Surgery::baseline(Order::Wanda, false),
        "wandals" => Surgery::baseline(Order::Wanda, true),
        "magnitude" => Surgery::baseline(Order::Magnitude, false),
        "random" => Surgery::baseline(Order::Random(0), false),
        _ => return Err("mode".into()),
    };
    let mut plans: Vec<Vec<usize>> = Vec::new();
    if let Some(p) = widths_arg.strip_prefix('p') {
        let t = Instant::now();
        let curves = curves(&network, &cal, &surgery, g.as_ref())?;
        println!("curves {:.2} s", t.elapsed().as_secs_f64());
        let sizes = axes.sizes(graph);
        for share in p.split(',') {
            let most = share.parse::<f64>()? * sizes.n_parameters(&full);
            let a =
                allocate(&curves, &full, |w| sizes.n_parameters(w), Budget { most, multiple: 1 })?;
            println!(
                "allocated {:?} size {:.3} cost {:.4}",
                a.widths,
                a.size / sizes.n_parameters(&full),
                a.cost
            );
            plans.push(a.widths);
        }
    } else if let Some(s) = widths_arg.strip_prefix('s') {
        for share in s.split(',') {
            let share: f64 = share.parse()?;
            plans.push(
                axes.groups()
                    .iter()
                    .map(|g| {
                        let inner =
                            g.pinned.is_none() && g.producers.len() == 1 && g.consumers.len() == 1;
                        if inner {
                            ((g.n_units as f64 * share).round() as usize).max(1)
                        } else {
                            g.n_units
                        }
                    })
                    .collect(),
            );
        }
    } else {
        for w in widths_arg.split(';') {
            let list: Vec<usize> = w.split(',').map(|v| v.parse().unwrap()).collect();
            let mut it = list.into_iter();
            plans.push(
                axes.groups()
                    .iter()
                    .map(|g| {
                        if g.pinned.is_none() { it.next().unwrap_or(g.n_units) } else { g.n_units }
                    })
                    .collect(),
            );
        }
    }
    for plan in plans {
        let t = Instant::now();
        let o = operate(
            &network,
            &cal,
            &plan,
            &surgery,
            if mode.contains("+g") { g.as_ref() } else { None },
            Some(Likelihood::Categorical),
        )?;
        let s = t.elapsed().as_secs_f64();
        let a = accuracy(&o.graph, &o.params)?;
        println!(
            "{mode} {plan:?} params {:.3} acc {:.4} ce {:.4} measured {:?} predicted {:?} {s:.2} s",
            o.graph.layout().n_parameters() as f64 / graph.layout().n_parameters() as f64,
            a.0,
            a.1,
            o.report.measured,
            o.report.predicted
        );
        let small_axes = Axes::of(&o.graph);
        let small = Network { graph: &o.graph, params: &o.params, axes: &small_axes };
        let one = Polish::one_sweep();
        for v in args.get(5).map_or("auto", String::as_str).split(',') {
            let options = match v {
                "auto" => one.clone(),
                "kron" => Polish { most_unknowns: 0, ..one.clone() },
                "kron10" => Polish { most_unknowns: 0, directions: 10, ..one.clone() },
                "wide" => Polish { principal: 200, ..one.clone() },
                "refit" => Polish { refit: true, ..one.clone() },
                "two" => Polish { n_sweeps: 2, ..one.clone() },
                "long" => Polish {
                    most_unknowns: 0,
                    steps: vec![4.0, 2.0, 1.0, 0.5, 0.25, 0.1],
                    ..one.clone()
                },
                "longauto" => Polish { steps: vec![4.0, 2.0, 1.0, 0.5, 0.25, 0.1], ..one.clone() },
                _ => return Err("variant".into()),
            };
            let t = Instant::now();
            let p = polish(
                &network,
                &small,
                &cal,
                Likelihood::Categorical,
                &options,
                &mut Rng::new(3),
            )?;
            let s = t.elapsed().as_secs_f64();
            let a = accuracy(&o.graph, &p.params)?;
            println!(
                "  polish {v} acc {:.4} ce {:.4} held-out {:.4} → {:.4} {s:.2} s",
                a.0, a.1, p.before, p.after
            );
            if args.len() > 6 {
                for s in &p.steps {
                    println!(
                        "    {} {:?} {:?} {:.4} → {:.4}",
                        s.name, s.method, s.taken, s.before, s.after
                    );
                }
            }
        }
    }
    Ok(())
}
