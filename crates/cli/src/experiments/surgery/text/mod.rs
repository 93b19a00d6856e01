//! A BERT made narrower on tweets: sentence vectors beside the original's, and a classifier that knows only those.

mod claims;
mod head;

use anyhow::{Result, bail, ensure};
use bayes_posterior::surgery::network::{Calibration, Cutting, Network, Operated, operate};
use candle_core::{DType, Tensor};
use core_tensors::Params;
use models::graph::Graph;
use models::graph::axes::Axes;

use self::head::Head;
use crate::data::published::bert::{Encoder, OnTweets};
use crate::experiments::surgery::methods::Method;
use crate::experiments::surgery::study::{Metrics, is_inner};
use crate::experiments::{Outcome, Task};
use crate::ledger::{Part, metric};
use crate::training::Monitor;

pub(in crate::experiments) use claims::TEXT;

/// Texts of a batch while moments are taken.
const READING_BATCH: usize = 64;
/// Texts whose vectors are computed at once.
const CHUNK: usize = 100;
/// Ridge of the classifier on the original vectors.
const RIDGE: f64 = 1e-4;
/// The ways of the network.
const METHODS: [Method; 5] =
    [Method::Surgery, Method::Plain, Method::WandaLeastSquares, Method::Wanda, Method::Magnitude];

/// One size: its name in rows, feed-forward units that each layer keeps, texts that the network is narrowed by.
type Size = (&'static str, usize, usize);

settings! {
    sizes: &'static [Size] = &[("768", 768, 24)], &[("768", 768, 256), ("384", 384, 256)],
        &[("768", 768, 256), ("384", 384, 256), ("768-more", 768, 1024)];
    /// Ways of the network.
    methods: &'static [Method] = &[Method::Plain, Method::Magnitude], &METHODS;
    /// Tokens of a text at most.
    n_tokens: usize = 12, 64;
    /// Texts that the classifier is fitted on; the first of them narrow the network.
    n_train: usize = 48, 3000;
    /// Texts that are judged on.
    n_test: usize = 24, 1000;
}

/// The network, the texts that it is narrowed by, and what it is judged by.
struct Subject {
    encoder: Encoder,
    axes: Axes,
    train: Vec<String>,
    test: Vec<String>,
    labels: Vec<u32>,
    /// Of the original network on the test texts, (m, n).
    vectors: Tensor,
    head: Head,
    accuracy: f64,
}

impl Subject {
    fn new(task: &Task, found: &OnTweets, settings: &Settings) -> Result<Self> {
        let encoder = found.bert.encoder(settings.n_tokens, &task.session.device)?;
        let axes = Axes::of(&encoder.graph);
        let first = |n: usize, all: usize| (0..n.min(all) as u32).collect::<Vec<_>>();
        let (train, test) = (&found.texts.train, &found.texts.test);
        let train = train.rows(&first(settings.n_train, train.texts.len()));
        let test = test.rows(&first(settings.n_test, test.texts.len()));
        let of = |texts: &[String]| vectors(&encoder, &encoder.graph, &encoder.params, texts);
        let head = Head::fitted(&of(&train.texts)?, &train.labels, RIDGE)?;
        let vectors = of(&test.texts)?;
        let accuracy = head.accuracy(&vectors, &test.labels)?;
        let (train, labels, test) = (train.texts, test.labels, test.texts);
        Ok(Self { encoder, axes, train, test, labels, vectors, head, accuracy })
    }

    /// The network with so many feed-forward units in each layer.
    fn narrowed(&self, method: Method, width: usize, n_texts: usize) -> Result<(Graph, Params)> {
        ensure!(
            n_texts <= self.train.len(),
            "texts to narrow by: expected at most {}, found {n_texts}",
            self.train.len()
        );
        let inputs = self.encoder.inputs(&self.train[..n_texts])?;
        let held_out_every =
            if method.is_default() { Cutting::default().held_out_every } else { 0 };
        let cutting = Cutting { batch_size: READING_BATCH, held_out_every, ..Cutting::default() };
        let calibration = Calibration::new(&inputs, Some(&inputs[1]), cutting)?;
        let Encoder { graph, params, .. } = &self.encoder;
        let groups = self.axes.groups().iter();
        let widths: Vec<usize> =
            groups.map(|group| if is_inner(group) { width } else { group.n_units }).collect();
        let network = Network { graph, params, axes: &self.axes };
        let surgery =
            method.surgery(0, || bail!("saliencies take labels, of which there are none"))?;
        let operated = operate(&network, &calibration, &widths, &surgery, None, None)?;
        let Operated { graph, params, .. } = operated;
        Ok((graph, params))
    }

    /// Metrics of a network on the test texts.
    fn measure(&self, graph: &Graph, params: &Params) -> Result<Metrics> {
        let found = vectors(&self.encoder, graph, params, &self.test)?;
        // Both are of length 1.
        let cosines = (&found * &self.vectors)?.sum(1)?;
        let accuracy = self.head.accuracy(&found, &self.labels)?;
        let values = [
            (metric::COSINE, cosines.mean_all()?.to_scalar::<f64>()?),
            (metric::ACCURACY, accuracy),
            (metric::ACCURACY_LOST, self.accuracy - accuracy),
            (metric::N_PARAMETERS, graph.layout().n_parameters() as f64 / 1000.0),
        ];
        Ok(values.into_iter().map(|(metric, value)| (metric.key(), vec![value])).collect())
    }
}

/// Sentence vectors of texts, (m, n) in f64.
fn vectors(encoder: &Encoder, graph: &Graph, params: &Params, texts: &[String]) -> Result<Tensor> {
    let mut parts = Vec::with_capacity(texts.len().div_ceil(CHUNK));
    for texts in texts.chunks(CHUNK) {
        parts.extend(graph.run(params, &encoder.inputs(texts)?)?);
    }
    Ok(Tensor::cat(&parts, 0)?.to_dtype(DType::F64)?)
}

fn run(task: &Task) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let (true, Some(found)) = (task.part == Part::Shared, task.session.bert_on_tweets()) else {
        return Ok(outcome);
    };
    let settings = settings(task.session.scale);
    task.expect_epochs(1 + settings.sizes.len() * settings.methods.len());
    let subject = Subject::new(task, found, &settings)?;
    let Encoder { graph, params, .. } = &subject.encoder;
    outcome.add("surgery/minilm/whole", subject.measure(graph, params)?);
    task.point_done()?;
    for &(name, width, n_texts) in settings.sizes {
        for &method in settings.methods {
            let (graph, params) = subject.narrowed(method, width, n_texts)?;
            let row = format!("surgery/minilm/{name}/{}", method.name());
            outcome.add(&row, subject.measure(&graph, &params)?);
            task.point_done()?;
        }
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use candle_core::Device;

    use super::*;
    use crate::data::published::bert::tests::tiny;
    use crate::data::published::tweets::{Labelled, Texts};
    use crate::experiments::Session;
    use crate::ledger::{Kind, Scale};

    fn some(n: usize) -> Labelled {
        let words = ["good", "bad", "day", "a", "not", "tiger"];
        let text = |i: usize| {
            let word = |k: usize| words[(i * i + 3 * i * k + k) % words.len()];
            (0..1 + i % 4).map(word).collect::<Vec<_>>().join(" ")
        };
        let texts: Vec<String> = (0..n).map(text).collect();
        let labels = texts.iter().map(|text| u32::from(text.contains("good"))).collect();
        Labelled { texts, labels, n_replaced: 0 }
    }

    /// A session with a tiny BERT and texts of its few words.
    fn session() -> (tempfile::TempDir, Session) {
        let (root, bert) = tiny();
        let texts = Texts {
            train: some(60),
            test: some(20),
            extra: None,
            n_classes: 2,
            kind: Kind::Real,
            is_complete: false,
            sha256: BTreeMap::new(),
        };
        let session = Session::new(Scale::Smoke, Device::Cpu, BTreeMap::new());
        (root, session.with_bert_on_tweets(Some(OnTweets::new(bert, texts))))
    }

    fn task(session: &Session) -> Task<'_> {
        let progress = indicatif::ProgressBar::hidden();
        Task { session, part: Part::Shared, shared: None, progress }
    }

    fn subject(session: &Session) -> Subject {
        let settings =
            Settings { sizes: &[], methods: &METHODS, n_tokens: 6, n_train: 60, n_test: 20 };
        Subject::new(&task(session), session.bert_on_tweets().unwrap(), &settings).unwrap()
    }

    #[test]
    fn the_network_itself_and_one_with_all_units_have_cosine_one() {
        let (_root, session) = session();
        let subject = subject(&session);
        let Encoder { architecture, graph, params, .. } = &subject.encoder;
        for method in METHODS {
            let whole = subject.narrowed(method, architecture.feed_forward, 40).unwrap();
            for (graph, params) in [(graph, params), (&whole.0, &whole.1)] {
                let metrics = subject.measure(graph, params).unwrap();
                assert!((metrics[&metric::COSINE.key()][0] - 1.0).abs() < 1e-6);
                assert_eq!(metrics[&metric::ACCURACY_LOST.key()], [0.0]);
            }
        }
    }

    #[test]
    fn feed_forward_units_alone_are_removed() {
        let (_root, session) = session();
        let subject = subject(&session);
        let of = &subject.encoder.architecture;
        for method in METHODS {
            let (graph, params) = subject.narrowed(method, of.feed_forward - 1, 40).unwrap();
            let before = subject.encoder.graph.layout().n_parameters();
            // A unit has a row, a number of the bias and a column.
            assert_eq!(graph.layout().n_parameters(), before - of.n_layers * (2 * of.width + 1));
            let cosine = subject.measure(&graph, &params).unwrap()[&metric::COSINE.key()][0];
            assert!(cosine < 1.0 - 1e-9 && cosine > 0.5, "{method:?}: {cosine}");
        }
    }

    #[test]
    fn every_way_of_every_size_is_listed_and_no_other() {
        let sizes = settings(Scale::Paper).sizes.iter();
        let of = |size: &Size| METHODS.map(|m| format!("surgery/minilm/{}/{}", size.0, m.name()));
        let mut run: Vec<String> = sizes.flat_map(of).collect();
        run.push("surgery/minilm/whole".to_owned());
        let mut listed: Vec<&str> = TEXT.rows.iter().map(|row| row.id).collect();
        run.sort_unstable();
        listed.sort_unstable();
        assert_eq!(run, listed);
    }

    #[test]
    fn without_the_network_nothing_is_run() {
        let session = Session::new(Scale::Smoke, Device::Cpu, BTreeMap::new());
        assert!(run(&task(&session)).unwrap().numbers.rows.is_empty());
    }
}
