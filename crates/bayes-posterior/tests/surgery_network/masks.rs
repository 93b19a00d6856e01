//! Tokens that a mask leaves out are as good as not there.

use bayes_posterior::surgery::network::{Calibration, Cutting, OutputCurvatures, Surgery, operate};
use candle_core::Tensor;
use core_tensors::Rng;
use faer::Mat;
use losses::Likelihood;

use crate::curvatures::tokens;
use crate::growing::Outcome;
use crate::naive::{gap, normal};

type TestResult = Outcome<()>;

#[test]
fn padding_with_garbage_changes_nothing() -> TestResult {
    for is_flat in [false, true] {
        let (short, long) = (tokens(3, is_flat)?, tokens(5, is_flat)?);
        let x = short.examples(15, 60)?;
        let garbage = (normal(&mut Rng::new(16), &[60, 2, 5])? * 100.0)?;
        let padded = Tensor::cat(&[&x, &garbage], 1)?;
        let counts: Vec<u32> = (0..300).map(|k| u32::from(k % 5 < 3)).collect();
        let mask = Tensor::from_vec(counts, (60, 5), x.device())?;
        let cutting = Cutting { batch_size: 13, held_out_every: 4, ..Cutting::default() };
        let plain = Calibration::new(&[x], None, cutting)?;
        let masked = Calibration::new(&[padded], Some(&mask), cutting)?;
        let weights = short.axes.maps().iter().map(|map| {
            let o = short.graph.value(map.weight).shape[map.output_axis].fixed as usize;
            Mat::from_fn(o, o, |i, j| if i == j { 1.0 + i as f64 } else { 0.2 })
        });
        let curvatures = OutputCurvatures::new(weights.collect());
        let widths = short.widths(&[("up", 3)])?;
        for likelihood in [Likelihood::Categorical, Likelihood::Normal { variance: 2.0 }] {
            let run = |net: &crate::naive::Net, calibration| {
                let surgery = Surgery::held_out();
                let (g, likelihood) = (Some(&curvatures), Some(likelihood));
                operate(&net.network(), calibration, &widths, &surgery, g, likelihood)
            };
            let (a, b) = (run(&short, &plain)?, run(&long, &masked)?);
            assert_eq!(a.report.groups[0].kept, b.report.groups[0].kept);
            assert!(gap(&b.params.to_vec()?, &a.params.to_vec()?) < 1e-6);
            for (a, b) in
                [(a.report.predicted, b.report.predicted), (a.report.measured, b.report.measured)]
            {
                assert!(gap(&[b.ok_or("nats")?], &[a.ok_or("nats")?]) < 1e-6, "{a:?} {b:?}");
            }
            // The garbage would have counted.
            let unmasked = Calibration::new(
                &[Tensor::cat(&[&short.examples(15, 60)?, &garbage], 1)?],
                None,
                cutting,
            )?;
            let c = run(&long, &unmasked)?;
            assert!(gap(&c.params.to_vec()?, &a.params.to_vec()?) > 1e-3);
        }
    }
    Ok(())
}
