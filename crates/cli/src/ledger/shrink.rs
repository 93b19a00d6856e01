//! What `distill shrink` did to a network and what the small one keeps: everything that its report says.

use serde::Serialize;

use super::quality::{Interval, PairedQuality, Predicted};

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct Shrunk {
    /// File name of the network.
    pub model: String,
    /// SHA-256 of its file.
    pub model_sha256: String,
    /// Files or words of the data, each with its SHA-256 where it is a file.
    pub data: Vec<(String, Option<String>)>,
    /// Version of this program.
    pub version: String,
    /// The command that gives the same student.
    pub command: String,
    /// What was understood of the network and the data, one sentence a line.
    pub understood: Vec<String>,
    /// What a reader must not overlook.
    pub warnings: Vec<String>,
    /// What the network predicts.
    pub predicted: Predicted,
    /// Examples of each part.
    pub parts: Parts,
    /// The budget in the user's words, such as "25 % of the parameters".
    pub budget: String,
    /// Sizes of both networks.
    pub sizes: Vec<Size>,
    /// Latency of both networks, where it was measured.
    pub latency: Option<[Latency; 2]>,
    /// Time of the student as a share of the network's, pass by pass in turn, where it was measured.
    pub latency_ratio: Option<Quartiles>,
    /// The students that were made, that of `student.onnx` marked.
    pub students: Vec<Student>,
    /// What a smaller or larger student would keep, the smallest first.
    pub front: Vec<FrontPoint>,
    /// Every group of units that can lose some.
    pub layers: Vec<LayerChange>,
    /// What could not be narrowed and why, one sentence each.
    pub untouched: Vec<String>,
    /// Each repetition with another seed.
    pub repetitions: Vec<Repetition>,
}

/// Examples of each part; no example is in two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Parts {
    /// Examples that surgery and training saw.
    pub calibration: usize,
    /// Examples that choices were made by.
    pub validation: usize,
    /// Examples that nothing but the final measures saw.
    pub test: usize,
    /// Whether the test examples are from a file of the user's own, `--test`.
    pub has_own_test: bool,
}

/// One size of both networks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Size {
    /// What is counted: "parameters", "multiply-adds an example", "bytes of the ONNX file".
    pub what: String,
    /// Of the network.
    pub before: f64,
    /// Of the student.
    pub after: f64,
}

/// Time of a forward pass in this program.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Median milliseconds a batch.
    pub median_ms: f64,
    /// First quartile.
    pub low_ms: f64,
    /// Third quartile.
    pub high_ms: f64,
    /// Examples a batch.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
}

/// The middle of some numbers and how they spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quartiles {
    /// Median.
    pub median: f64,
    /// First quartile.
    pub low: f64,
    /// Third quartile.
    pub high: f64,
}

/// A student on the test examples.
#[derive(Clone, Debug, Serialize)]
pub struct Student {
    /// How it was made, such as "surgery", "surgery and 3 epochs of distillation", "from scratch with equal work".
    pub how: String,
    /// Whether it is the one of `student.onnx`.
    pub is_chosen: bool,
    /// Learning rate, λ and T that validation chose, and the best epoch, in words; empty without training.
    pub training: String,
    /// Beside the network, which is the first of the pair.
    pub quality: PairedQuality,
    /// Accuracy, R² or agreement of this student minus that of the chosen one, paired by example; `None` for the chosen one.
    pub beside_chosen: Option<Interval>,
}

/// A student of another size, without training, measured on the validation examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FrontPoint {
    /// Units that stay of each group, in the order of [`Shrunk::layers`].
    pub widths: Vec<usize>,
    /// Parameters.
    pub n_parameters: f64,
    /// Multiply-adds an example.
    pub n_products: f64,
    /// Change of accuracy, of R², or of agreement without labels, against the network.
    pub change: Interval,
    /// KL divergence from the network in nats; half the squared error over the variance for values.
    pub nats: f64,
    /// Whether it is the one that the budget asks for.
    pub is_chosen: bool,
}

/// Units of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerChange {
    /// Name of the group: that of its first producer.
    pub name: String,
    /// Units before.
    pub before: usize,
    /// Units after.
    pub after: usize,
    /// Nats an example that the removal was predicted to cost, where units went.
    pub predicted: Option<f64>,
    /// Nats an example that were measured with this group and all before it done.
    pub measured: Option<f64>,
    /// ε of the removal as a share of the mean diagonal of A.
    pub damping: Option<f64>,
}

/// The chosen student made anew with another seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Repetition {
    /// The seed.
    pub seed: u64,
    /// Accuracy, R² or agreement of the network on this seed's test examples.
    pub before: f64,
    /// The same of the student.
    pub after: f64,
    /// The same of the student trained from scratch, where there is one.
    pub scratch: Option<f64>,
}
