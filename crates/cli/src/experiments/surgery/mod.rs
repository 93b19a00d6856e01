//! Trained networks made narrower by surgery and by what users would pick: untrained, and after an epoch of distillation.

#[macro_use]
mod words;

mod claims;
mod convolutional;
mod exported;
mod methods;
mod study;
mod text;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use core_tensors::{Dataset, Rng};
use models::Architecture;
use models::onnx::{ImportOptions, Imported, Model, import, no_external};

use self::methods::Method;
use self::study::{Metrics, Study, Trained};
use crate::data::published::networks::NetworkFiles;
use crate::experiments::base::{perceptron, teacher_course};
use crate::experiments::{Outcome, Task};
use crate::ledger::metric;
use crate::training::{Monitor, at_most, train};

pub(super) use claims::SURGERY;
pub(super) use convolutional::CONVOLUTIONAL;
pub(super) use exported::EXPORTED;
pub(super) use text::TEXT;

/// The perceptron that is trained here where no trained one is at hand.
const STAND_IN: [usize; 4] = [784, 256, 128, 10];
/// What is shown by size.
const BY_SIZE: [crate::ledger::Metric; 4] =
    [metric::ACCURACY, metric::CROSS_ENTROPY, metric::TEACHER_DIVERGENCE, metric::N_PARAMETERS];

settings! {
    /// Hidden widths of the perceptron's students.
    perceptrons: &'static [&'static [usize]] = &[&[64, 32], &[16, 8]],
        &[&[128, 64], &[64, 32], &[32, 16], &[16, 12], &[16, 8], &[8, 8]];
    /// Channels and dense units of the convolutional network's students.
    convolutional: &'static [&'static [usize]] = &[&[16, 32, 32, 64]],
        &[&[16, 32, 32, 64], &[8, 16, 16, 32], &[6, 10, 10, 16], &[4, 8, 8, 16]];
    /// Images that a perceptron is narrowed and trained by; all 10 000 of its own.
    perceptron_images: usize = 300, 10_000;
    convolutional_images: usize = 100, 4000;
    /// Of these, those of the plain reference, as in the program that it is compared with.
    reference_images: usize = 100, 2000;
    /// Epochs of distillation after the surgery.
    epochs: usize = 1;
    /// Epochs of the perceptron that is trained here where no trained one is at hand.
    stand_in_epochs: usize = 2, 15;
    /// At most so many images to test on.
    most_test: Option<usize> = Some(300), None;
}

/// Networks of one kind, one a seed.
struct Family {
    /// Its name in rows.
    name: &'static str,
    /// The beginning of its folders' names.
    folder: &'static str,
    shapes: &'static [&'static [usize]],
    methods: &'static [Method],
    n_images: usize,
    /// Of these, those of the plain reference.
    n_reference: usize,
}

impl Settings {
    fn perceptrons(&self) -> Family {
        Family {
            name: "mlp",
            folder: "teachers/mlp",
            shapes: self.perceptrons,
            methods: &Method::ALL,
            n_images: self.perceptron_images,
            n_reference: self.perceptron_images,
        }
    }

    fn convolutional(&self) -> Family {
        Family {
            name: "cnn",
            folder: "teachers/cnn",
            shapes: self.convolutional,
            methods: &[Method::Surgery, Method::Plain, Method::Wanda, Method::Magnitude],
            n_images: self.convolutional_images,
            n_reference: self.reference_images,
        }
    }
}

/// The network in a file.
fn opened(files: &NetworkFiles) -> Result<Trained> {
    let model = Model::parse(files.model.clone())?;
    let Imported { graph, params, .. } =
        import(&model, &mut no_external, &ImportOptions::default())?;
    Ok((graph, params))
}

/// Rows of results, and those of each way by size.
struct Rows<'a> {
    outcome: &'a mut Outcome,
    /// Way → metric → value at each size.
    by_size: BTreeMap<String, Metrics>,
    family: String,
}

impl<'a> Rows<'a> {
    fn new(outcome: &'a mut Outcome, family: &str) -> Self {
        Self { outcome, by_size: BTreeMap::new(), family: format!("surgery/{family}") }
    }

    /// The whole network.
    fn whole(&mut self, metrics: Metrics) {
        self.outcome.add(&format!("{}/whole", self.family), metrics);
    }

    /// A network of some size that came about in some way.
    fn add(&mut self, size: &str, way: &str, metrics: Metrics) {
        let path = self.by_size.entry(way.to_owned()).or_default();
        for metric in BY_SIZE {
            let values = metrics.get(metric.name).into_iter().flatten();
            path.entry(metric.key()).or_default().extend(values);
        }
        self.outcome.add(&format!("{}/{size}/{way}", self.family), metrics);
    }

    /// Nothing follows.
    fn finish(self) {
        for (way, metrics) in self.by_size {
            self.outcome.add(&format!("{}/by-size/{way}", self.family), metrics);
        }
    }
}

/// The way's name after distillation.
fn after(way: &str) -> String {
    format!("{way}-kd")
}

/// Widths in a name.
fn name_of(shape: &[usize]) -> String {
    shape.iter().map(usize::to_string).collect::<Vec<_>>().join("-")
}

/// Test accuracy of the plain reference in another program at these widths, where the facts hold it.
fn reference(facts: &serde_json::Value, shape: &[usize]) -> Option<f64> {
    let students = facts["students"].as_array()?;
    let is_it = |student: &&serde_json::Value| student["widths"] == serde_json::json!(shape);
    students.iter().find(is_it)?["test_accuracy"].as_f64()
}

/// The network of a part's seed at every size.
fn run(task: &Task, of: fn(&Settings) -> Family) -> Result<Outcome> {
    let settings = settings(task.session.scale);
    let (family, seed) = (of(&settings), task.part.seed());
    let mut outcome = Outcome::default();
    let images = task.session.images("fashion-mnist")?;
    let test = at_most(&images.test, settings.most_test.unwrap_or(usize::MAX))?;
    let networks = task.session.networks();
    let rng = Rng::new(seed).split("surgery").split(family.name);
    let name = format!("{}-{seed}", family.folder);
    let (trained, data, facts) = match networks.and_then(|all| all.get(&name)) {
        Some(files) => {
            let mut rows = files.rows.clone().unwrap_or_default();
            rows.truncate(family.n_images);
            ensure!(!rows.is_empty(), "{name}: wanted the rows of its images");
            (opened(files)?, images.train.rows(&rows)?, Some(&files.facts))
        }
        None if family.name == "mlp" && networks.is_none_or(|all| all.sha256.is_empty()) => {
            let data = at_most(&images.train, family.n_images)?;
            (stand_in(task, &data, settings.stand_in_epochs, &rng)?, data, None)
        }
        None => {
            task.note(&format!("no network {name}; its rows are not run"));
            return Ok(outcome);
        }
    };
    let study = Study::new(task, trained, (&data, family.n_reference), &test, &rng)?;
    let mut rows = Rows::new(&mut outcome, family.name);
    rows.whole(study.whole()?);
    for shape in family.shapes {
        narrow(&study, &family, shape, (facts, settings.epochs), task, &mut rows)?;
    }
    rows.finish();
    Ok(outcome)
}

/// A perceptron trained on the images at hand.
fn stand_in(task: &Task, data: &Dataset, epochs: usize, rng: &Rng) -> Result<Trained> {
    let network = perceptron(&STAND_IN);
    let w = network.init(&mut rng.split("teacher"), data.x().device())?.trainable()?;
    task.expect_epochs(epochs);
    let course = teacher_course(&network, epochs);
    train(task, &course, &w, data, &mut rng.split("teacher batches"), |_, _| Ok(()))?;
    Ok(network.to_graph(&w.frozen())?)
}

/// One size, every way.
fn narrow(
    study: &Study,
    family: &Family,
    shape: &[usize],
    (facts, epochs): (Option<&serde_json::Value>, usize),
    task: &Task,
    rows: &mut Rows,
) -> Result<()> {
    let (size, widths) = (name_of(shape), study.widths(shape)?);
    task.expect_epochs(family.methods.len() * (1 + epochs));
    let mut of_shape = None;
    for &method in family.methods {
        let small = study.narrowed(method, &widths)?;
        study.check_size(&small.0, &widths)?;
        let mut metrics = study.measure(&small.0, &small.1)?;
        let published = facts.and_then(|facts| reference(facts, shape));
        if let (Method::Plain, Some(published)) = (method, published) {
            let gap = crate::training::last(&metrics, metric::ACCURACY) - published;
            metrics.insert(metric::REFERENCE_GAP.key(), vec![gap]);
        }
        rows.add(&size, method.name(), metrics);
        let later = study.distilled(&small, epochs, method.learning_rate())?;
        rows.add(&size, &after(method.name()), study.measure(&later.0, &later.1)?);
        of_shape = Some(small.0);
    }
    if let Some(graph) = of_shape {
        task.expect_epochs(study.epochs_of_equal_work(&graph, epochs));
        let (graph, w) = study.trained_from_scratch(&graph, epochs)?;
        study.check_size(&graph, &widths)?;
        rows.add(&size, "scratch", study.measure(&graph, &w)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use core_tensors::Targets;

    use super::*;
    use crate::data::published::Images;
    use crate::experiments::{Experiment, Session};
    use crate::ledger::{Kind, Part, Scale};

    /// Ten classes, each a band of pixels, with noise.
    fn images(n: usize, rng: &mut Rng) -> Dataset {
        let mut x = Vec::with_capacity(n * 784);
        let labels: Vec<u32> = (0..n).map(|i| (i % 10) as u32).collect();
        for &class in &labels {
            x.extend((0..784u32).map(|pixel| {
                let level = if pixel / 79 == class { 150.0 } else { 30.0 };
                (level + 60.0 * rng.uniform()) as u8
            }));
        }
        let x = Tensor::from_vec(x, (n, 784), &Device::Cpu).unwrap();
        let labels = Tensor::new(labels, &Device::Cpu).unwrap();
        Dataset::new(x, Targets::Classes { labels, n_classes: 10 }).unwrap()
    }

    fn session() -> Session {
        let mut rng = Rng::new(0);
        let images = Images {
            train: images(400, &mut rng),
            test: images(100, &mut rng),
            shape: [1, 28, 28],
            kind: Kind::Generated,
            is_complete: false,
            n_grayscale: 0,
            sha256: BTreeMap::new(),
        };
        let data = BTreeMap::from([("fashion-mnist".to_owned(), images)]);
        Session::new(Scale::Smoke, Device::Cpu, data)
    }

    fn numbers(
        experiment: &Experiment,
        session: &Session,
        part: Part,
    ) -> BTreeMap<String, BTreeMap<String, Vec<crate::ledger::FiniteOrNull>>> {
        let progress = indicatif::ProgressBar::hidden();
        let task = Task { session, part, shared: None, progress };
        (experiment.run)(&task).unwrap().numbers.rows
    }

    #[test]
    fn without_networks_a_perceptron_is_trained_and_every_row_of_it_filled() {
        let session = session();
        let found = numbers(&SURGERY, &session, Part::Seed(0));
        let listed: Vec<&str> = SURGERY.rows.iter().map(|row| row.id).collect();
        assert!(found.keys().all(|id| listed.contains(&id.as_str())), "{:?}", found.keys());
        let sizes: Vec<String> =
            settings(Scale::Smoke).perceptrons.iter().map(|shape| name_of(shape)).collect();
        for id in listed.iter().filter(|id| id.starts_with("surgery/mlp")) {
            let is_run = !id.contains("-") || sizes.iter().any(|size| id.contains(size.as_str()));
            let is_run = is_run || id.contains("by-size");
            assert_eq!(found.contains_key(*id), is_run, "{id}");
        }
        let accuracy = |id: &str| found[id][metric::ACCURACY.name][0].0[0];
        assert!(accuracy("surgery/mlp/whole") > 0.9);
        assert!(accuracy("surgery/mlp/64-32/surgery") > accuracy("surgery/mlp/64-32/magnitude"));
        let by_size = &found["surgery/mlp/by-size/surgery"][metric::N_PARAMETERS.name][0].0;
        // 784·64 + 64 + 64·32 + 32 + 32·10 + 10, and so on.
        assert_eq!(by_size[..], [52.65, 12.786]);
        assert!(numbers(&CONVOLUTIONAL, &session, Part::Seed(0)).is_empty());
        assert!(numbers(&EXPORTED, &session, Part::Shared).is_empty());
    }

    #[test]
    fn every_way_of_every_size_is_listed_and_no_other() {
        let mut run: Vec<String> = Vec::new();
        let settings = settings(Scale::Quick);
        for family in [settings.perceptrons(), settings.convolutional()] {
            run.push(format!("surgery/{}/whole", family.name));
            let sizes = family.shapes.iter().map(|shape| name_of(shape));
            for size in sizes.chain(["by-size".to_owned()]) {
                let ways =
                    family.methods.iter().flat_map(|m| [m.name().to_owned(), after(m.name())]);
                let ways = ways.chain(["scratch".to_owned()]);
                run.extend(ways.map(|way| format!("surgery/{}/{size}/{way}", family.name)));
            }
        }
        let listed = SURGERY.rows.iter().chain(CONVOLUTIONAL.rows);
        let mut listed: Vec<&str> = listed.map(|row| row.id).collect();
        run.sort_unstable();
        listed.sort_unstable();
        assert_eq!(run, listed);
    }

    #[test]
    fn the_reference_is_found_by_its_widths() {
        let facts = serde_json::json!({"students": [
            {"widths": [64, 32], "test_accuracy": 0.5}, {"widths": [8, 8], "test_accuracy": 0.25},
        ]});
        assert_eq!(reference(&facts, &[8, 8]), Some(0.25));
        assert_eq!(reference(&facts, &[8, 9]), None);
        assert_eq!(reference(&serde_json::Value::Null, &[8, 8]), None);
    }
}
