//! Maps with a formula: noise, fixed convolution, dilations; and their controls.

use anyhow::Result;
use candle_core::Tensor;
use domain_adapt::{DomainMap, FixedConvolution, GaussianNoise, MorphologicalDilation, Selection};

use super::{NO_MAP, Study, show};
use crate::data::synthetic::published_convolution;
use crate::experiments::{Outcome, Task};
use crate::ledger::Part;

/// Standard deviation of the source's noise.
const NOISE: f64 = 0.1;
/// Side of the window of the morphological dilation.
const WINDOW: usize = 3;
/// Height and width of an image.
const IMAGE: [usize; 2] = [28, 28];
/// Examples of FashionMNIST-Train that the source shows, one of each class in order.
pub(super) const SHOWN: [usize; 10] = [1, 16, 5, 20, 28, 8, 33, 14, 23, 0];

/// A map with the shape of what it gives, where it is not that of what it takes.
struct Given {
    name: &'static str,
    map: Box<dyn DomainMap>,
    output: [usize; 2],
    /// Whether the source has the row.
    is_published: bool,
}

fn maps() -> Result<[Given; 4]> {
    let given = |name, map, output, is_published| Given { name, map, output, is_published };
    Ok([
        given(
            "noise",
            Box::new(GaussianNoise { std: NOISE, range: Some([0.0, 1.0]) }),
            IMAGE,
            true,
        ),
        given("convolution", Box::new(published_convolution(IMAGE)?), [24, 24], true),
        given("cross", Box::new(FixedConvolution::dilated_cross(IMAGE)?), [24, 24], false),
        given(
            "morphology",
            Box::new(MorphologicalDilation { image: IMAGE, side: WINDOW }),
            IMAGE,
            false,
        ),
    ])
}

pub(super) fn run(task: &Task) -> Result<Outcome> {
    let (big, small) = task.session.big_and_small()?;
    let images = task.session.images("fashion-mnist")?;
    let mut study = Study::new(task, small, &images.test)?;
    if task.part == Part::Source {
        study.expect(3, 4);
        study.alone("given/none/segments")?;
        let teacher = study.teacher(big, NO_MAP)?;
        study.taught("given/big/segments", &teacher, NO_MAP, &[])?;
        for given in maps()?.into_iter().filter(|given| given.is_published) {
            let teacher = study.teacher(big, &*given.map)?;
            study.taught(&format!("given/{}/segments", given.name), &teacher, &*given.map, &[])?;
        }
        return Ok(study.outcome);
    }
    study.expect(5, 14);
    study.alone("given/none/independent")?;
    let teacher = study.teacher(big, NO_MAP)?;
    study.examine("given/the-teacher-big/independent", &teacher, &images.test, NO_MAP)?;
    study.taught("given/big/independent", &teacher, NO_MAP, &[])?;
    for Given { name, map, output, .. } in maps()? {
        let teacher = study.teacher(big, &*map)?;
        study.taught(&format!("given/{name}/independent"), &teacher, &*map, &[])?;
        // The controls: the same teacher sees the images as they are, as far as they fit, or in disorder.
        let middle = Selection::middle(IMAGE, output)?;
        study.taught(&format!("given/{name}/without-map"), &teacher, &middle, &[])?;
        let n_pixels = |[h, w]: [usize; 2]| h * w;
        let mut rng = study.rng.split("random map");
        let random = Selection::random(n_pixels(IMAGE), n_pixels(output), &mut rng)?;
        study.taught(&format!("given/{name}/random-map"), &teacher, &random, &[])?;
    }
    if task.part == Part::Seed(0) {
        let most = images.train.n_examples();
        let shown: Vec<usize> = SHOWN.into_iter().filter(|&i| i < most).collect();
        let before = images.train.rows(&shown)?;
        show(&mut study.outcome, "before", before.x())?;
        for Given { name, map, output, .. } in maps()? {
            let mut after = map.apply(before.x(), &mut study.rng.split("shown"))?;
            if output != IMAGE {
                after = stretched(&after)?;
            }
            show(&mut study.outcome, name, &after)?;
        }
    }
    Ok(study.outcome)
}

/// Levels from 0 to 1: a convolution's answers are of any size and sign.
fn stretched(x: &Tensor) -> Result<Tensor> {
    let end = |x: Tensor| x.to_scalar::<f32>();
    let (low, high) = (f64::from(end(x.min_all()?)?), f64::from(end(x.max_all()?)?));
    let scale = if high > low { 1.0 / (high - low) } else { 1.0 };
    Ok(x.affine(scale, -low * scale)?)
}
