//! Runs as `distill shrink` may have made them: images with labels, values, and images without labels.

use crate::ledger::quality::{
    ClassAccuracy, Disagreement, Interval, McNemar, PairedMeasure, PairedQuality, Predicted,
    ReliabilityBin, Thumbnail,
};
use crate::ledger::shrink::{
    FrontPoint, Latency, LayerChange, Parts, Quartiles, Repetition, Shrunk, Size, Student,
};
use crate::ledger::{Better, Metric, metric};

/// Classes of the images.
const CLASSES: [&str; 10] = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
];

/// A metric that only a report needs here.
fn metric_of(
    name: &'static str,
    label: &'static str,
    unit: &'static str,
    better: Better,
) -> Metric {
    Metric { name, label, unit, better, ..metric::ACCURACY }
}

fn around(value: f64, half: f64) -> Interval {
    Interval { value, low: value - half, high: value + half }
}

fn measure(metric: Metric, first: f64, second: f64, half: f64) -> PairedMeasure {
    PairedMeasure { metric, first, second, difference: around(second - first, half) }
}

fn sizes(before: [f64; 3], after: [f64; 3]) -> Vec<Size> {
    let names = ["parameters", "multiply-adds an example", "bytes of the ONNX file"];
    let both = names.into_iter().zip(before.into_iter().zip(after));
    both.map(|(what, (before, after))| Size { what: what.into(), before, after }).collect()
}

fn layer(name: &str, before: usize, after: usize, predicted: f64) -> LayerChange {
    let lost = |nats: f64| (after < before).then_some(nats);
    LayerChange {
        name: name.into(),
        before,
        after,
        predicted: lost(predicted),
        measured: lost(1.3 * predicted + 0.0004),
        damping: lost(1e-3),
    }
}

/// Points whose loss grows as sizes shrink; the chosen one is the `at`-th.
fn front(n_before: f64, widths: &[usize], at: usize, loss: f64) -> Vec<FrontPoint> {
    (0..14)
        .map(|i| {
            let share = 0.03 * 1.31_f64.powi(i);
            let lost = loss * (share.powf(-1.6) - 1.0).max(0.0);
            FrontPoint {
                widths: widths
                    .iter()
                    .map(|&n| ((n as f64 * share.sqrt()) as usize).max(1))
                    .collect(),
                n_parameters: (n_before * share).round(),
                n_products: (n_before * share * 1.1).round(),
                change: around(-lost.min(0.75), (0.02 * lost.sqrt()).min(0.02)),
                nats: 2.4 * lost,
                is_chosen: i as usize == at,
            }
        })
        .collect()
}

fn bins(tilt: f64) -> Vec<ReliabilityBin> {
    [0.41, 0.58, 0.7, 0.81, 0.895, 0.951, 0.981, 0.994, 0.9985, 0.9999]
        .into_iter()
        .map(|confidence| ReliabilityBin {
            confidence,
            accuracy: confidence - tilt * confidence * (1.0 - confidence),
            n_examples: 1000,
        })
        .collect()
}

/// A ring on a slope, another one for each number.
fn image(number: usize, channels: usize, side: usize) -> Thumbnail {
    let center = (side as f64 - 1.0) / 2.0;
    let radius = side as f64 * (0.2 + 0.02 * (number % 9) as f64);
    let intensity = |at: usize| {
        let (channel, y, x) = (at / (side * side), at / side % side, at % side);
        let distance = ((y as f64 - center).hypot(x as f64 - center) - radius).abs();
        let slope = 0.3 * (x + y * (number % 3)) as f64 / (4 * side) as f64;
        (1.0 - 0.4 * distance - 0.2 * channel as f64).max(0.0) + slope
    };
    let intensities = (0..channels * side * side).map(intensity).collect();
    Thumbnail { channels, height: side, width: side, intensities }
}

fn run(predicted: Predicted, students: Vec<Student>) -> Shrunk {
    Shrunk {
        model: "fmnist-mlp.onnx".into(),
        model_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
        data: vec![
            ("images.npz".into(), Some("60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752".into())),
            ("the published test set of Fashion-MNIST".into(), None),
        ],
        version: "0.18.0".into(),
        command: "distill shrink fmnist-mlp.onnx --data images.npz --test test.npz --to 25% --epochs 3 --baseline scratch --seeds 3 --out small".into(),
        understood: vec![
            "The network takes 784 numbers and gives 10 logits".into(),
            "The data are 2 000 images of 28 × 28 pixels with labels 0 to 9".into(),
            "On the validation examples it has 87.4 % accuracy; always naming the largest class has 10.6 %".into(),
        ],
        warnings: Vec::new(),
        predicted,
        parts: Parts { calibration: 1600, validation: 400, test: 10_000, has_own_test: true },
        budget: "25 % of the parameters".into(),
        sizes: sizes([535_818.0, 535_040.0, 2_144_310.0], [132_914.0, 132_528.0, 532_700.0]),
        latency: Some([
            Latency { median_ms: 4.213, low_ms: 4.15, high_ms: 4.391, batch: 64, threads: 2 },
            Latency { median_ms: 1.371, low_ms: 1.352, high_ms: 1.44, batch: 64, threads: 2 },
        ]),
        latency_ratio: Some(Quartiles { median: 0.325, low: 0.321, high: 0.332 }),
        students,
        front: front(535_818.0, &[512, 256, 64], 8, 0.0007),
        layers: vec![layer("hidden_1.weight", 512, 158, 0.0123), layer("hidden_2.weight", 256, 71, 0.00087), layer("hidden_3.weight", 64, 64, 0.0)],
        untouched: vec!["output.weight gives the logits, and each class keeps its own".into()],
        repetitions: Vec::new(),
    }
}

/// Fashion-MNIST with labels, a student from scratch and repetitions.
pub(super) fn images() -> Shrunk {
    let classes = CLASSES.iter().enumerate().map(|(k, class)| {
        let (first, lost) = (0.97 - 0.03 * k as f64, 0.034 - 0.005 * k as f64);
        ClassAccuracy {
            class: (*class).into(),
            n_examples: 1000,
            first,
            second: first - lost,
            difference: around(-lost, 0.011),
        }
    });
    let disagreements = (0..12).map(|i| Disagreement {
        example: 37 * i * i + 11,
        label: Some(CLASSES[i % 10].into()),
        first: format!("{} (.{})", CLASSES[i % 10], 93 - i),
        second: format!("{} (.{})", CLASSES[(i + 3) % 10], 71 - 2 * i),
        distance: 4.21 / (1.0 + i as f64),
        image: Some(image(i, 1, 28)),
    });
    let quality = PairedQuality {
        predicted: Predicted::Classes,
        n_examples: 10_000,
        has_labels: true,
        measures: vec![
            measure(metric::ACCURACY, 0.8760, 0.8721, 0.0031),
            measure(metric::CROSS_ENTROPY, 0.3502, 0.3611, 0.0042),
            measure(
                metric_of(
                    "calibrated_cross_entropy",
                    "cross-entropy after temperature scaling",
                    "nats",
                    Better::Lower,
                ),
                0.3476,
                0.3582,
                0.0040,
            ),
            measure(metric::BRIER, 0.1791, 0.1834, 0.0018),
            measure(
                metric_of(
                    "calibration_error_of_equal_mass",
                    "ECE, bins of equal mass",
                    "share",
                    Better::Lower,
                ),
                0.0213,
                0.0241,
                0.0036,
            ),
            measure(
                metric_of(
                    "debiased_calibration_error",
                    "RMS calibration error, debiased",
                    "share",
                    Better::Lower,
                ),
                0.0235,
                0.0268,
                0.0041,
            ),
            measure(metric::AGREEMENT, 1.0, 0.9512, 0.0042),
            measure(metric::TEACHER_DIVERGENCE, 0.0, 0.0231, 0.0011),
        ],
        mc_nemar: Some(McNemar { only_first: 181, only_second: 142, p: 0.0341 }),
        classes: classes.collect(),
        reliability: [bins(0.35), bins(-0.2)],
        disagreements: disagreements.collect(),
    };
    let mut scratch = quality.clone();
    scratch.measures[0] = measure(metric::ACCURACY, 0.8760, 0.8513, 0.0052);
    let students = vec![
        Student {
            how: "surgery and 3 epochs of distillation".into(),
            is_chosen: true,
            training: "validation chose a learning rate of 0.0001, λ = 0.5, T = 4 and epoch 2"
                .into(),
            quality,
            beside_chosen: None,
        },
        Student {
            how: "training from scratch with equal work".into(),
            is_chosen: false,
            training: String::new(),
            quality: scratch,
            beside_chosen: Some(around(-0.0208, 0.0049)),
        },
    ];
    let repetitions = [(0, 0.8721), (1, 0.8712), (2, 0.8740)].map(|(seed, after)| Repetition {
        seed,
        before: 0.8760,
        after,
        scratch: Some(after - 0.019),
    });
    Shrunk {
        warnings: vec![
            "the network’s accuracy on calibration examples (91.2 %) is above that on test examples: they may be what it was trained on".into(),
        ],
        repetitions: repetitions.into(),
        ..run(Predicted::Classes, students)
    }
}

/// Values without targets: the distance from the network alone.
pub(super) fn untargeted() -> Shrunk {
    let mut shrunk = values();
    let quality = &mut shrunk.students[0].quality;
    let distance =
        metric_of("teacher_distance", "mean squared distance from the teacher", "", Better::Lower);
    (quality.measures, quality.has_labels) = (vec![measure(distance, 0.0, 0.0213, 0.0018)], false);
    shrunk
}

/// A regression on a table: no classes, no images.
pub(super) fn values() -> Shrunk {
    let disagreements = (0..8).map(|i| Disagreement {
        example: 91 * i + 4,
        label: Some(format!("{:.2}", 2.4 + 0.3 * i as f64)),
        first: format!("{:.2}", 2.3 + 0.31 * i as f64),
        second: format!("{:.2}", 1.8 + 0.33 * i as f64),
        distance: 0.25 / (1.0 + i as f64),
        image: None,
    });
    let quality = PairedQuality {
        predicted: Predicted::Values,
        n_examples: 4128,
        has_labels: true,
        measures: vec![
            measure(metric_of("r_squared", "R²", "", Better::Higher), 0.8123, 0.8051, 0.0037),
            measure(
                metric_of("root_mean_squared_error", "RMSE", "", Better::Lower),
                0.4991,
                0.5086,
                0.0048,
            ),
        ],
        mc_nemar: None,
        classes: Vec::new(),
        reliability: [Vec::new(), Vec::new()],
        disagreements: disagreements.collect(),
    };
    let student = Student {
        how: "surgery".into(),
        is_chosen: true,
        training: String::new(),
        quality,
        beside_chosen: None,
    };
    Shrunk {
        model: "housing.pt".into(),
        budget: "a loss of at most 0.01 of R²".into(),
        parts: Parts { calibration: 12_384, validation: 4128, test: 4128, has_own_test: false },
        latency: None,
        latency_ratio: None,
        sizes: sizes([8961.0, 8832.0, 36_700.0], [3127.0, 3050.0, 13_400.0]),
        front: front(8961.0, &[64, 64], 9, 0.0011),
        layers: vec![layer("0", 64, 37, 0.0041), layer("2", 64, 31, 0.0017)],
        untouched: Vec::new(),
        ..run(Predicted::Values, vec![student])
    }
}

/// Color images without labels: agreement and divergence alone.
pub(super) fn unlabeled() -> Shrunk {
    let disagreements = (0..6).map(|i| Disagreement {
        example: 5 * i + 2,
        label: None,
        first: format!("class {} (.{})", i, 88 - i),
        second: format!("class {} (.{})", i + 2, 64 - i),
        distance: 1.9 / (1.0 + i as f64),
        image: Some(image(i, 3, 32)),
    });
    let quality = PairedQuality {
        predicted: Predicted::Classes,
        n_examples: 600,
        has_labels: false,
        measures: vec![
            measure(metric::AGREEMENT, 1.0, 0.9467, 0.018),
            measure(metric::TEACHER_DIVERGENCE, 0.0, 0.0612, 0.0093),
        ],
        mc_nemar: None,
        classes: Vec::new(),
        reliability: [Vec::new(), Vec::new()],
        disagreements: disagreements.collect(),
    };
    let student = Student {
        how: "surgery".into(),
        is_chosen: true,
        training: String::new(),
        quality,
        beside_chosen: None,
    };
    let names = [
        "stem.conv.weight",
        "stage1.block0.conv1.weight",
        "stage1.block1.conv1.weight",
        "stage2.block0.conv1.weight",
        "stage2.block0.downsample.0.weight",
    ];
    let layers: Vec<LayerChange> = names
        .iter()
        .enumerate()
        .map(|(i, name)| layer(name, 32 << (i / 2), (32 << (i / 2)) - 7 * i, 0.002 * i as f64))
        .collect();
    Shrunk {
        model: "resnet20.onnx".into(),
        budget: "half the multiply-adds".into(),
        parts: Parts { calibration: 1000, validation: 400, test: 600, has_own_test: false },
        sizes: sizes([272_474.0, 40_551_808.0, 1_103_000.0], [131_204.0, 20_113_792.0, 538_000.0]),
        front: front(272_474.0, &[32, 32, 64, 64, 128], 10, 0.002),
        layers,
        untouched: vec![
            "stage1: its 16 channels are added to the input, which keeps its own".into(),
            "fc.weight gives the logits, and each class keeps its own".into(),
        ],
        ..run(Predicted::Classes, vec![student])
    }
}

/// The first run with the names that break careless pages.
pub(super) fn hostile() -> Shrunk {
    let mut shrunk = images();
    let evil = "a<b>&\"c\"'`d,\n</td>";
    shrunk.model = evil.into();
    shrunk.budget = evil.into();
    shrunk.command = evil.into();
    shrunk.data[0].0 = evil.into();
    shrunk.warnings = vec![evil.into()];
    shrunk.understood = vec![evil.into()];
    shrunk.untouched = vec![evil.into()];
    shrunk.layers[0].name = evil.into();
    shrunk.sizes[1].what = evil.into();
    shrunk.students[0].how = evil.into();
    shrunk.students[0].training = evil.into();
    shrunk.students[1].how = evil.into();
    let quality = &mut shrunk.students[0].quality;
    quality.classes[0].class = evil.into();
    for example in &mut quality.disagreements {
        (example.first, example.second, example.label) =
            (evil.into(), evil.into(), Some(evil.into()));
    }
    shrunk
}
