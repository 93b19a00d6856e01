//! Bad input is refused in words, and poor input gives finite networks.

use bayes_posterior::surgery::network::{
    Budget, Calibration, Curve, Cutting, Surgery, allocate, curves, operate, output_curvatures,
    pinned_groups,
};
use candle_core::{Device, Tensor};
use core_tensors::Rng;
use losses::Likelihood;
use models::graph::{Op, Unary};

use crate::growing::{Growing, Outcome};
use crate::naive::{Net, calibration, case, dense, stream};

type TestResult = Outcome<()>;

fn refusal(net: &Net, widths: &[usize]) -> Outcome<String> {
    let calibration = calibration(&net.examples(1, 20)?, 5)?;
    let done = operate(&net.network(), &calibration, widths, &Surgery::plain(), None, None);
    Ok(done.err().ok_or("an error")?.to_string())
}

/// One parameter in two layers.
fn tied() -> Outcome<Net> {
    let (mut net, x) = Growing::new(90, &[4]);
    let h = net.gemm("a", x, [5, 4], true)?;
    let h = net.relu(h)?;
    let w = net.parameter("w.weight", &[5, 5], 0.0)?;
    let gemm = Op::Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b: true };
    let h = net.node(gemm.clone(), &[h, w])?;
    let h = net.relu(h)?;
    let h = net.node(gemm, &[h, w])?;
    let h = net.relu(h)?;
    let y = net.gemm("out", h, [3, 5], true)?;
    Net::new(net.finish(y)?, &[4])
}

#[test]
fn widths_that_do_not_fit_are_refused_in_words() -> TestResult {
    let net = dense(80, &[4, 6, 5, 3], Some(Unary::Relu))?;
    for (widths, words) in [
        (vec![6, 5], "expected 3"),
        (vec![6, 5, 3, 1], "expected 3"),
        (vec![0, 5, 3], "units of `a`: expected a width of 1 to 6, found 0"),
        (vec![7, 5, 3], "units of `a`: expected a width of 1 to 6, found 7"),
        (vec![6, 5, 2], "units of `c`: all 3 must stay, because of output"),
    ] {
        let found = refusal(&net, &widths)?;
        assert!(found.contains(words), "{found}");
    }
    let net = tied()?;
    let g = net.group("a")?;
    let mut widths = net.full();
    widths[g] -= 1;
    let found = refusal(&net, &widths)?;
    assert!(found.contains("must stay") && found.contains("serves other nodes too"), "{found}");
    // Nor is there a curve for it.
    let calibration = calibration(&net.examples(1, 20)?, 5)?;
    let curves = curves(&net.network(), &calibration, &Surgery::plain(), None)?;
    assert!(curves.iter().all(|curve| curve.group != g));
    Ok(())
}

#[test]
fn examples_that_do_not_fit_are_refused() -> TestResult {
    let net = case("convolutional", 0)?;
    let full = net.full();
    let mut rng = Rng::new(0);
    let run = |x: Tensor| -> Outcome<String> {
        let calibration = calibration(&x, 5)?;
        let likelihood = Likelihood::Categorical;
        let done =
            operate(&net.network(), &calibration, &full, &Surgery::plain(), None, Some(likelihood));
        let error = done.err().ok_or("an error")?.to_string();
        assert!(
            output_curvatures(&net.network(), &calibration, likelihood, 16, &mut Rng::new(0))
                .is_err()
        );
        Ok(error)
    };
    for shape in [&[10, 2, 8, 7][..], &[10, 3, 8, 8], &[10, 5]] {
        let error = run(crate::naive::normal(&mut rng, shape)?)?;
        assert!(error.contains("expected"), "{error}");
    }
    // Two inputs of one graph, no input, no example.
    let x = net.examples(1, 10)?;
    let two = Calibration::new(&[x.clone(), x.clone()], None, Cutting::default())?;
    assert!(operate(&net.network(), &two, &full, &Surgery::plain(), None, None).is_err());
    let some = |inputs: &[Tensor], cutting| Calibration::new(inputs, None, cutting);
    assert!(some(&[], Cutting::default()).is_err());
    assert!(some(&[x.narrow(0, 0, 0)?], Cutting::default()).is_err());
    assert!(some(&[x.clone(), x.narrow(0, 0, 9)?], Cutting::default()).is_err());
    for (cutting, words) in [
        (Cutting { held_out_every: 1, ..Cutting::default() }, "0 or [2, ∞)"),
        (Cutting { batch_size: 0, ..Cutting::default() }, "at least 1"),
    ] {
        let error = some(std::slice::from_ref(&x), cutting).err().ok_or("an error")?.to_string();
        assert!(error.contains(words), "{error}");
    }
    // Numbers that are none, which a ReLU may hide.
    for bad in [f64::NAN, f64::INFINITY] {
        let mut numbers = x.flatten_all()?.to_vec1::<f64>()?;
        numbers[77] = bad;
        let x = Tensor::from_vec(numbers, x.shape(), &Device::Cpu)?;
        for x in [x.clone(), x.to_dtype(candle_core::DType::F32)?] {
            let error = some(&[x], Cutting::default()).err().ok_or("an error")?.to_string();
            assert!(error.contains("number of the examples"), "{error}");
        }
    }
    Ok(())
}

#[test]
fn poor_examples_give_finite_networks() -> TestResult {
    let nets = [
        dense(81, &[5, 20, 20, 4], Some(Unary::Relu))?,
        stream(82, [5, 12, 20, 4])?,
        case("convolutional", 0)?,
        case("residual", 0)?,
        case("encoder", 0)?,
    ];
    for net in nets {
        let all = net.axes.groups().iter();
        let widths: Vec<usize> = all
            .map(|g| if g.pinned.is_some() { g.n_units } else { g.n_units.div_ceil(2) })
            .collect();
        let one = net.examples(1, 1)?;
        let same = one.repeat([&[30][..], &vec![1; net.input.len()]].concat())?;
        for (x, every) in [
            (one.clone(), 5),
            (one, 0),
            (net.examples(1, 2)?, 2),
            (same.clone(), 5),
            (same.zeros_like()?, 5),
            (net.examples(1, 7)?, 3),
            ((net.examples(1, 7)? * 1e6)?, 3),
        ] {
            let calibration = calibration(&x, every)?;
            let likelihood = Likelihood::Categorical;
            let g =
                output_curvatures(&net.network(), &calibration, likelihood, 16, &mut Rng::new(0))?;
            for surgery in [Surgery::plain(), Surgery::held_out()] {
                let what = format!("{:?}, {:?}, {every}", net.input, x.dims());
                let done = operate(
                    &net.network(),
                    &calibration,
                    &widths,
                    &surgery,
                    Some(&g),
                    Some(likelihood),
                )
                .map_err(|error| format!("{what}: {error}"))?;
                assert!(done.params.to_vec()?.iter().all(|v| v.is_finite()), "{what}");
                assert!(done.report.measured.is_some_and(f64::is_finite), "{what}");
                let f = crate::naive::output(&done.graph, &done.params, &net.examples(2, 9)?)?;
                assert!(f.iter().all(|v| v.is_finite()), "{what}");
                curves(&net.network(), &calibration, &surgery, Some(&g))
                    .map_err(|error| format!("curves of {what}: {error}"))?;
            }
        }
    }
    Ok(())
}

#[test]
fn budgets_below_the_pins_name_them() -> TestResult {
    let net = case("encoder", 0)?;
    let pinned = pinned_groups(&net.axes);
    assert_eq!(pinned.len(), 4);
    assert!(pinned[0].starts_with("`embed` (6 units: LayerNormalization"), "{pinned:?}");
    assert!(pinned[3].starts_with("`out` (3 units: output"), "{pinned:?}");
    let calibration = calibration(&net.examples(1, 50)?, 5)?;
    let curves: Vec<Curve> = curves(&net.network(), &calibration, &Surgery::plain(), None)?;
    let sizes = net.axes.sizes(&net.graph);
    let full = sizes.n_parameters(&net.full());
    let budget = Budget { most: 0.01 * full, multiple: 1, pinned };
    let error = allocate(&curves, &net.full(), |w| sizes.n_parameters(w), &budget);
    let error = error.err().ok_or("an error")?.to_string();
    for words in ["smallest reachable", " % of ", "because these must stay: `embed`", "and 1 more"]
    {
        assert!(error.contains(words), "{error}");
    }
    // A group whose consumer's weight is shared is pinned as well.
    assert!(pinned_groups(&tied()?.axes).iter().any(|name| name.contains("serves other nodes")));
    Ok(())
}
