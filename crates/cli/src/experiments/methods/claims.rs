//! Rows and rankings of the benchmark of methods.

use super::{run, settings};
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Figure, Metric, Point, RowSpec, metric};

/// A row of each method on either data set.
macro_rules! on_both {
    ($(($name:literal, $title:literal)),* $(,)?) => {
        &[
            RowSpec::seeds("methods/the-teacher-fashion", "FashionMNIST: the teacher"),
            RowSpec::seeds("methods/the-ensemble-fashion", "FashionMNIST: three teachers"),
            $(RowSpec::seeds(concat!("methods/fashion/", $name), concat!("FashionMNIST: ", $title)),)*
            RowSpec::seeds("methods/the-teacher-mnist", "MNIST: the teacher"),
            RowSpec::seeds("methods/the-ensemble-mnist", "MNIST: three teachers"),
            $(RowSpec::seeds(concat!("methods/mnist/", $name), concat!("MNIST: ", $title)),)*
        ]
    };
}

/// What is compared; cross-entropy chose the settings and gives the order.
const MEASURED: &[Metric] = &[
    metric::CROSS_ENTROPY,
    metric::ACCURACY,
    metric::BRIER,
    metric::CALIBRATION_ERROR,
    metric::AGREEMENT,
];

/// The benchmark.
pub(in crate::experiments) static METHODS: Experiment = Experiment {
    id: "methods",
    title: "Methods of distillation side by side, equally tuned",
    source: "",
    summary: "A convolutional teacher (27 562 parameters) of 59 000 objects, a convolutional student (2346) of the other 1000, with \
        their labels; twenty passes in batches of 100, step size .003, for all. Every method tries four settings on 800 of the 1000 and \
        keeps the one with the least cross-entropy on the other 200; the student that is tested is trained on all 1000. Tried are \
        λ of .3 and .9 with T of 1 and 4, or four sizes of a term that stands beside the labels (.03 to 5 of the labels' loss at the \
        start; of the variational information a hundredth of these as a factor), or ε of smoothed labels from .05 to .4, or two \
        weights with two temperatures or games; the weight chosen is that number. Labels alone have nothing to tune. Start and batches are the same for all \
        methods of a seed; each seed has its own teachers, held-out objects and tuning, so that intervals hold what these add, \
        but the 1000 objects and the test objects are the same for all. Two hundred steps also reward what is learned fast. \
        Controls: smoothed labels, a network of the teacher's shape that was never trained, the teacher's answers for other \
        objects. Losses of hidden layers compare the second convolutions (maps of 5 × 5 places) or, object with object, the \
        teacher's last hidden layer (relational: the first 24 objects of a batch). The assistant (3730 parameters) and three born-again generations learn from the same 1000 objects; \
        born-again and mutual (two students) have no teacher; the distribution of three teachers is learned at T = 2 or at one that falls from 10 to 1.",
    data: &["fashion-mnist", "mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::USUAL,
    run,
    rows: on_both![
        ("none", "no teacher"),
        ("smoothed-labels", "smoothed labels"),
        ("untrained", "an untrained teacher"),
        ("any-object", "answers for other objects"),
        ("forward", "plain distillation (forward KL)"),
        ("reverse", "reverse KL"),
        ("jensen-shannon", "Jensen–Shannon"),
        ("skew", "skew KL, a tenth of the teacher"),
        ("renyi", "Rényi of order ½"),
        ("variation", "total variation"),
        ("hellinger", "squared Hellinger"),
        ("logits", "squared logits"),
        ("decoupled", "DKD"),
        ("correlation", "DIST"),
        ("standardised", "LS (logit standardization)"),
        ("hint", "FitNets"),
        ("attention", "AT (attention transfer)"),
        ("selectivity-linear", "NST, linear kernel"),
        ("selectivity-polynomial", "NST, square kernel"),
        ("selectivity-gaussian", "NST, Gaussian kernel"),
        ("information", "VID"),
        ("similarity", "SP (similarity preserving)"),
        ("relational-distance", "RKD, distances"),
        ("relational-angle", "RKD, angles"),
        ("probabilistic", "PKT"),
        ("adversarial", "adversarial, non-saturating"),
        ("assistant", "a teacher assistant"),
        ("born-again", "born again, no teacher"),
        ("ensemble", "three teachers, their mean"),
        ("ensemble-distribution", "three teachers, their distribution"),
        ("mutual", "mutual, no teacher"),
    ],
    claims: &[],
    point: Point::Epoch,
    figures: &[
        Figure::ranking(
            "FashionMNIST-Small against plain distillation",
            "methods/fashion/",
            "methods/fashion/forward",
            MEASURED,
        ),
        Figure::ranking(
            "FashionMNIST-Small against no teacher",
            "methods/fashion/",
            "methods/fashion/none",
            &[metric::CROSS_ENTROPY, metric::ACCURACY],
        ),
        Figure::ranking(
            "1000 objects of MNIST against plain distillation",
            "methods/mnist/",
            "methods/mnist/forward",
            MEASURED,
        ),
        Figure::ranking(
            "1000 objects of MNIST against no teacher",
            "methods/mnist/",
            "methods/mnist/none",
            &[metric::CROSS_ENTROPY, metric::ACCURACY],
        ),
    ],
};
