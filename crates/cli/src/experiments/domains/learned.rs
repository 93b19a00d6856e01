//! A teacher of digits for a student of clothes: with a learned map, without one, and what else one would try.

use anyhow::{Context, Result};
use candle_core::Tensor;
use core_tensors::kernels::features;
use core_tensors::{Adam, AdamConfig, Dataset, Fit, Rng, Schedule};
use domain_adapt::{Alignment, DomainMap, Selection, Translator, alignment_loss, round_trip_error};
use models::{Architecture, Domain, Mlp};

use super::given::SHOWN;
use super::translation::{self, FLAT_NETWORK, NETWORK, generated, generated_as_in_source};
use super::{NO_MAP, Study, Teacher, show};
use crate::experiments::base::{LEARNING_RATE, TEACHER, TEACHER_BATCH, perceptron};
use crate::experiments::{Outcome, Task};
use crate::ledger::{Part, metric};
use crate::training::{Monitor, at_most, pairs, some_rows};

/// Names of the translators that seeds share.
const AS_PUBLISHED: &str = "translator";
const OF_SMALL: &str = "translator-small";
/// Hidden units of the classifier of domains.
const CRITIC_HIDDEN: usize = 64;
/// Points of the latent grid along each axis, and their outermost probabilities.
const GRID: usize = 15;
const GRID_ENDS: (f64, f64) = (0.05, 0.95);

pub(super) fn run(task: &Task) -> Result<Outcome> {
    match task.part {
        Part::Shared => translators(task),
        Part::Source | Part::Seed(_) => students(task),
    }
}

/// Trains what all seeds share: the source's translator, one that sees the student's examples alone, and one whose latent
/// space is a plane.
fn translators(task: &Task) -> Result<Outcome> {
    let settings = super::settings(task.session.scale);
    let (clothes, numerals) =
        (task.session.images("fashion-mnist")?, task.session.images("mnist")?);
    let [most_rich, most_poor, _] = settings.most();
    let rng = Rng::new(task.part.seed()).split("translators");
    let mut outcome = Outcome::default();

    let all = at_most(&clothes.train, most_rich)?;
    let paired = pairs(&all, &numerals.train, 1, &mut translation::source_choice())?;
    let [epochs, flat_epochs] = settings.translator_epochs;
    let (map, losses) =
        translation::train(task, NETWORK, &paired, epochs, &rng.split("of the source"))?;
    translation::keep(&mut outcome, AS_PUBLISHED, &map);
    let record = |losses: Vec<f64>| [("objective".to_owned(), losses)].into();
    outcome.add("learned/translator/one", record(losses));

    let shown: Vec<usize> = SHOWN.into_iter().filter(|&i| i < all.n_examples()).collect();
    let before = all.rows(&shown)?;
    let partners = paired.rows(&shown)?;
    show(&mut outcome, "before", before.x())?;
    if let core_tensors::Targets::Values(partners) = partners.y() {
        show(&mut outcome, "partner", partners)?;
    }
    let mut draws = rng.split("shown");
    show(&mut outcome, "translated", &map.apply(before.x(), &mut draws)?)?;
    show(&mut outcome, "translated-again", &map.apply(before.x(), &mut draws)?)?;
    show(&mut outcome, "round-trip", &map.round_trip(before.x(), &mut draws)?)?;

    let (_, small) = task.session.big_and_small()?;
    let small = at_most(small, most_poor)?;
    let [epochs, n_partners] = settings.small_translator;
    let mut random = rng.split("partners");
    let paired = pairs(&small, &numerals.train, n_partners, &mut |n| random.below(n))?;
    let (map, losses) = translation::train(task, NETWORK, &paired, epochs, &rng.split("of Small"))?;
    translation::keep(&mut outcome, OF_SMALL, &map);
    outcome.add("learned/translator-small/one", record(losses));
    show(&mut outcome, "translated-small", &map.apply(before.x(), &mut draws)?)?;

    let paired = pairs(&all, &numerals.train, 1, &mut translation::source_choice())?;
    let (flat, _) =
        translation::train(task, FLAT_NETWORK, &paired, flat_epochs, &rng.split("flat"))?;
    let grid = latent_grid(&before.x().device().clone())?;
    show(&mut outcome, "grid-digits", &flat.image(&grid, Domain::Teacher)?)?;
    show(&mut outcome, "grid-clothes", &flat.image(&grid, Domain::Student)?)?;
    Ok(outcome)
}

/// Normal quantiles of equally spaced probabilities, every pair of them: (225, 2).
fn latent_grid(device: &candle_core::Device) -> Result<Tensor> {
    let (low, high) = GRID_ENDS;
    let at = |i: usize| {
        let p = low + (high - low) * i as f64 / (GRID - 1) as f64;
        crate::ledger::stats::normal_quantile(p) as f32
    };
    let points: Vec<f32> =
        (0..GRID * GRID).flat_map(|i| [at(i % GRID), at(GRID - 1 - i / GRID)]).collect();
    Ok(Tensor::from_vec(points, (GRID * GRID, 2), device)?)
}

fn students(task: &Task) -> Result<Outcome> {
    let shared = task.shared.context("the translators were not trained")?;
    let as_published = translation::kept(shared, AS_PUBLISHED, NETWORK)?;
    let of_small = translation::kept(shared, OF_SMALL, NETWORK)?;
    let (_, small) = task.session.big_and_small()?;
    let mut study = Study::new(task, small, &task.session.images("fashion-mnist")?.test)?;
    let (rich, _) = task.session.big_and_small_of("mnist")?;
    let n = study.settings.n_generated;
    let small = study.small.clone();

    if task.part == Part::Source {
        study.expect(2, 4);
        study.alone("learned/none/segments")?;
        let teacher = study.teacher(rich, NO_MAP)?;
        study.taught("learned/digits/segments", &teacher, NO_MAP, &[])?;
        study.taught("learned/translator/segments", &teacher, &as_published, &[])?;
        let mut draws = study.rng.split("generated");
        let (images, _) = generated_as_in_source(&small, &as_published, n, &mut draws)?;
        let teacher = study.teacher(&images, NO_MAP)?;
        study.taught("learned/generated/segments", &teacher, &as_published, &[])?;
        return Ok(study.outcome);
    }

    study.expect(4, 13);
    let trips = [&as_published, &of_small].map(|map| round_trip(&study, map));
    let [as_published_trip, of_small_trip] = trips;
    let (as_published_trip, of_small_trip) =
        ([(metric::ROUND_TRIP, as_published_trip?)], [(metric::ROUND_TRIP, of_small_trip?)]);
    let mut rng = study.rng.split("random map");
    let random = Selection::random(NETWORK.n_pixels, NETWORK.n_pixels, &mut rng)?;
    let untrained = Translator {
        network: NETWORK,
        parameters: NETWORK.init(&mut study.rng.split("untrained"), &task.session.device)?,
    };

    study.alone("learned/none/independent")?;
    let teacher = study.teacher(rich, NO_MAP)?;
    let test = &task.session.images("mnist")?.test;
    study.examine("learned/the-teacher-digits/independent", &teacher, test, NO_MAP)?;
    study.taught("learned/digits/independent", &teacher, NO_MAP, &[])?;
    study.taught("learned/digits/random-map", &teacher, &random, &[])?;
    study.taught("learned/digits/untrained-map", &teacher, &untrained, &[])?;
    study.taught("learned/translator/independent", &teacher, &as_published, &as_published_trip)?;
    study.taught("learned/translator-small/independent", &teacher, &of_small, &of_small_trip)?;

    let sets = [
        ("generated", &as_published, false),
        ("generated-distinct", &as_published, true),
        ("generated-small", &of_small, true),
    ];
    for (name, map, is_clean) in sets {
        let draws = study.rng.split(name);
        let (images, test) = match is_clean {
            true => generated(&small, map, n, &draws)?,
            false => generated_as_in_source(&small, map, n, &mut draws.split("draws"))?,
        };
        let teacher = study.teacher(&images, NO_MAP)?;
        study.examine(
            &format!("learned/the-teacher-{name}/independent"),
            &teacher,
            &test,
            NO_MAP,
        )?;
        study.taught(&format!("learned/{name}/independent"), &teacher, map, &[])?;
        if name == "generated" {
            study.taught("learned/generated/without-map", &teacher, NO_MAP, &[])?;
            study.taught("learned/generated/random-map", &teacher, &random, &[])?;
        }
    }
    for (name, is_adversarial) in [("adversarial", true), ("discrepancy", false)] {
        let teacher = aligned(&study, rich, is_adversarial)?;
        study.examine(
            &format!("learned/the-teacher-{name}/independent"),
            &teacher,
            test,
            NO_MAP,
        )?;
        study.taught(&format!("learned/{name}/independent"), &teacher, NO_MAP, &[])?;
    }
    Ok(study.outcome)
}

/// Mean squared error of the student's images after the way to the latent space and back.
fn round_trip(study: &Study, map: &Translator) -> Result<f64> {
    let back = map.round_trip(study.small.x(), &mut study.rng.split("round trip"))?;
    Ok(round_trip_error(study.small.x(), &back)?)
}

/// A teacher of digits whose last hidden layer is drawn towards the student's unlabeled examples.
fn aligned(study: &Study, rich: &Dataset, is_adversarial: bool) -> Result<Teacher> {
    let (task, epochs) = (study.task, study.settings.aligned_epochs);
    task.expect_epochs(epochs);
    let data = at_most(rich, study.settings.most()[0])?;
    let network = perceptron(&TEACHER);
    let n_hidden = TEACHER[TEACHER.len() - 2];
    let critic = Mlp { widths: vec![n_hidden, CRITIC_HIDDEN, 2], ..network.clone() };
    let start = |mlp: &Mlp, purpose: &str| {
        mlp.init(&mut study.rng.split(purpose), &task.session.device)?.trainable()
    };
    let (w, v) = (start(&network, "teacher")?, start(&critic, "critic")?);
    let config = AdamConfig::pytorch(LEARNING_RATE);
    let (mut adam, mut critics) = (Adam::new(config, &w)?, Adam::new(config, &v)?);
    let alignment = match is_adversarial {
        true => Alignment::Adversarial { critic: &critic, parameters: &v },
        false => Alignment::Mmd,
    };
    let n_steps = epochs * data.n_examples().div_ceil(TEACHER_BATCH);
    let (mut n_done, mut unlabeled) = (0, study.rng.split("unlabelled"));
    let step = |batch: &Dataset| -> Result<f64> {
        let rows: Vec<usize> =
            (0..batch.n_examples()).map(|_| unlabeled.below(study.small.n_examples())).collect();
        let poor = study.small.rows(&rows)?;
        let weight = Schedule::Ramp(1.0).at(n_done as f64 / n_steps as f64);
        n_done += 1;
        let loss = alignment_loss(alignment, &network, &w, batch, poor.x(), weight)?;
        let gradients = loss.backward()?;
        adam.step(&gradients)?;
        if is_adversarial {
            critics.step(&gradients)?;
        }
        Ok(f64::from(loss.to_scalar::<f32>()?))
    };
    let after = |_| {
        task.point_done()?;
        Ok(std::ops::ControlFlow::Continue(()))
    };
    let fit = Fit { epochs, batch_size: TEACHER_BATCH };
    fit.run(&data, &mut study.rng.split("teacher batches"), step, after)?;
    let mut draws = study.rng.split("teacher's sample");
    let sample = features(&some_rows(data.x(), super::N_MEASURED, &mut draws)?)?;
    Ok(Teacher { network, w: w.frozen(), sample })
}
