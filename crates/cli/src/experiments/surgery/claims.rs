//! Rows, claims and figures of surgery; the numbers of other programs are of the same networks.

use super::words::{Lines, SAME, lost, share};
use super::{Settings, run, settings};
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Check, Claim, Figure, Point, Published, RowSpec, metric};

/// Test accuracy of the teachers in ten-thousandths, mean of three.
const PERCEPTRON: u32 = 8565;
/// The perceptrons of three seeds.
pub(in crate::experiments) static SURGERY: Experiment = Experiment {
    id: "surgery",
    title: "Trained networks made narrower: surgery beside what users would pick",
    source: "",
    summary: "Three perceptrons 784-256-128-10 of shared files, each trained on 10 000 images of FashionMNIST by another program; its \
        own images serve to narrow and to train. All ways of a size have the same widths. Surgery is what users get: \
        outputs weighted by the curvature of the network's own predictions, least squares, damping and repair chosen on a \
        held-out fifth of these images, no labels. The plain reference has one damping of 1e-6, G = I and no repair. Ways that only \
        look at each unit see the first 1000 images. After that each is measured again after one epoch of distillation \
        (λ .7, T 3, batches of 128, Adam; step size 3e-4 behind least squares, 1e-3 behind the others and from scratch). From \
        scratch means the same shape from a random start, for as many epochs as make the multiply-adds of surgery and its \
        epoch together: an image goes three times forward through the whole network and back for each direction of the \
        curvature, and a step of training is three passes of the narrow one. No test image chooses anything. The numbers of \
        other programs are of the same networks: Torch-Pruning 1.6.1 (best of magnitude, Taylor, Hessian for each seed and \
        size), onnxsim 0.8.1, PyTorch 2.15, all by peers/surgery_torch.py with step size 1e-3. They are compared by the \
        accuracy below the teacher's, in which what teachers differ by cancels. Where no trained networks are at hand, a \
        perceptron is trained here, and no claim is judged.",
    data: &["fashion-mnist", "models"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(3, 3),
    run: |task| run(task, Settings::perceptrons),
    rows: rows!(
        RowSpec::seeds("surgery/mlp/whole", "perceptron");
        [
            ("surgery/mlp/128-64", "784-128-64-10 (46 %): ")
            ("surgery/mlp/64-32", "784-64-32-10 (22 %): ")
            ("surgery/mlp/32-16", "784-32-16-10 (11 %): ")
            ("surgery/mlp/16-12", "784-16-12-10 (5.5 %): ")
            ("surgery/mlp/16-8", "784-16-8-10 (5.4 %): ")
            ("surgery/mlp/8-8", "784-8-8-10 (2.7 %): ")
        ] {
            { "surgery" => "surgery"; "surgery-kd" => "surgery, one epoch"; }
            against "surgery" {
                "plain" => "plain reference";
                "wanda-least-squares" => "Wanda's choice and least squares";
                "wanda" => "Wanda";
                "magnitude" => "magnitude";
                "taylor" => "Taylor";
                "random" => "random";
            }
            against "surgery-kd" {
                "plain-kd" => "plain reference, one epoch";
                "wanda-least-squares-kd" => "Wanda's choice and least squares, one epoch";
                "wanda-kd" => "Wanda, one epoch";
                "magnitude-kd" => "magnitude, one epoch";
                "taylor-kd" => "Taylor, one epoch";
                "random-kd" => "random, one epoch";
                "scratch" => "from scratch, equal work";
            }
        }
        [("surgery/mlp/by-size", "perceptron by size, smallest shown: ")] {{
            "surgery" => "surgery";
            "plain" => "plain reference";
            "wanda-least-squares" => "Wanda + least squares";
            "wanda" => "Wanda";
            "magnitude" => "magnitude";
            "taylor" => "Taylor";
            "random" => "random";
            "surgery-kd" => "surgery, one epoch";
            "plain-kd" => "plain reference, one epoch";
            "wanda-least-squares-kd" => "Wanda + least squares, one epoch";
            "wanda-kd" => "Wanda, one epoch";
            "magnitude-kd" => "magnitude, one epoch";
            "taylor-kd" => "Taylor, one epoch";
            "random-kd" => "random, one epoch";
            "scratch" => "from scratch, equal work";
        }}
    ),
    claims: &[
        Claim {
            id: "S1",
            text: "Perceptron, without training: surgery keeps more accuracy than the best of Torch-Pruning at every size.",
            published: published!("magnitude"; "surgery/mlp/128-64" 7083, "surgery/mlp/64-32" 4142, "surgery/mlp/32-16" 2868,
                "surgery/mlp/16-12" 1630, "surgery/mlp/16-8" 1601, "surgery/mlp/8-8" 1592),
            min_seeds: 3,
            checks: ahead!("surgery", "magnitude", PERCEPTRON; "surgery/mlp/128-64" 7083, "surgery/mlp/64-32" 4142,
                "surgery/mlp/32-16" 2868, "surgery/mlp/16-12" 1630, "surgery/mlp/16-8" 1601, "surgery/mlp/8-8" 1592),
        },
        Claim {
            id: "S2",
            text: "Perceptron, after one epoch of distillation: surgery stays ahead of the best of Torch-Pruning at every size.",
            published: published!("magnitude-kd"; "surgery/mlp/128-64" 8528, "surgery/mlp/64-32" 8130, "surgery/mlp/32-16" 7141,
                "surgery/mlp/16-12" 5996, "surgery/mlp/16-8" 4756, "surgery/mlp/8-8" 3654),
            min_seeds: 3,
            checks: ahead!("surgery-kd", "magnitude-kd", PERCEPTRON; "surgery/mlp/128-64" 8528, "surgery/mlp/64-32" 8130,
                "surgery/mlp/32-16" 7141, "surgery/mlp/16-12" 5996, "surgery/mlp/16-8" 4756, "surgery/mlp/8-8" 3654),
        },
        Claim {
            id: "S3",
            text: "Perceptron, without training: surgery keeps more accuracy than onnxsim's structured Wanda with its ridge recovery, \
                wherever onnxsim takes the widths. (Published beside ours is its Wanda before the recovery.)",
            published: published!("wanda"; "surgery/mlp/64-32" 4673, "surgery/mlp/128-64" 7283, "surgery/mlp/32-16" 2758,
                "surgery/mlp/16-8" 1521),
            min_seeds: 3,
            checks: ahead!("surgery", "wanda", PERCEPTRON; "surgery/mlp/128-64" 7719, "surgery/mlp/64-32" 6688,
                "surgery/mlp/32-16" 5616, "surgery/mlp/16-8" 2779),
        },
        Claim {
            id: "S4",
            text: "Perceptron: surgery and one epoch are ahead of distillation from scratch, both of equal work (optimizer steps × \
                multiply-adds) and of 15 epochs, the best of which was chosen on the test images.",
            published: published!("scratch"; "surgery/mlp/128-64" 8481, "surgery/mlp/64-32" 8414, "surgery/mlp/32-16" 8306,
                "surgery/mlp/16-12" 8071, "surgery/mlp/16-8" 8106, "surgery/mlp/8-8" 7767),
            min_seeds: 3,
            checks: ahead!("surgery-kd", "scratch", PERCEPTRON; "surgery/mlp/128-64" 8481, "surgery/mlp/64-32" 8414,
                "surgery/mlp/32-16" 8306, "surgery/mlp/16-12" 8071, "surgery/mlp/16-8" 8106, "surgery/mlp/8-8" 7767),
        },
        Claim {
            id: "S5",
            text: "The plain reference makes the same of each of the perceptrons in this program and in PyTorch. (Published beside ours \
                is its mean with gradients of sampled labels.)",
            published: published!("plain"; "surgery/mlp/128-64" 8563, "surgery/mlp/64-32" 8533, "surgery/mlp/32-16" 8449,
                "surgery/mlp/16-12" 8162, "surgery/mlp/16-8" 7924, "surgery/mlp/8-8" 7402),
            min_seeds: 3,
            checks: &[
                Check::exact(metric::REFERENCE_GAP, "surgery/mlp/128-64/plain", 0.0, SAME),
                Check::exact(metric::REFERENCE_GAP, "surgery/mlp/64-32/plain", 0.0, SAME),
                Check::exact(metric::REFERENCE_GAP, "surgery/mlp/32-16/plain", 0.0, SAME),
                Check::exact(metric::REFERENCE_GAP, "surgery/mlp/16-12/plain", 0.0, SAME),
                Check::exact(metric::REFERENCE_GAP, "surgery/mlp/8-8/plain", 0.0, SAME),
            ],
        },
        Claim {
            id: "S12",
            text: "Perceptron, after one epoch: surgery stays ahead of onnxsim's structured Wanda with its ridge recovery.",
            published: published!("wanda-kd"; "surgery/mlp/64-32" 8329, "surgery/mlp/128-64" 8497, "surgery/mlp/32-16" 7808,
                "surgery/mlp/16-8" 7069),
            min_seeds: 3,
            checks: ahead!("surgery-kd", "wanda-kd", PERCEPTRON; "surgery/mlp/128-64" 8497, "surgery/mlp/64-32" 8329,
                "surgery/mlp/32-16" 7808, "surgery/mlp/16-8" 7069),
        },
        Claim {
            id: "S11",
            text: "Below 6 % of the perceptron's parameters, surgery keeps more accuracy without training than the plain reference.",
            published: &[],
            min_seeds: 3,
            checks: &[
                Check::better(
                    metric::ACCURACY,
                    "surgery/mlp/16-12/surgery",
                    "surgery/mlp/16-12/plain",
                ),
                Check::better(
                    metric::ACCURACY,
                    "surgery/mlp/16-8/surgery",
                    "surgery/mlp/16-8/plain",
                ),
                Check::better(metric::ACCURACY, "surgery/mlp/8-8/surgery", "surgery/mlp/8-8/plain"),
            ],
        },
    ],
    point: Point::Parameters,
    figures: &[
        Figure::curves(
            "Perceptron, accuracy by parameters, without training",
            metric::ACCURACY,
            names!(["surgery/mlp/by-size"] ["surgery" "plain" "wanda-least-squares" "wanda" "magnitude" "taylor" "random"]),
        ),
        Figure::curves(
            "Perceptron, accuracy by parameters, after one epoch of distillation",
            metric::ACCURACY,
            names!(["surgery/mlp/by-size"]
                ["surgery-kd" "plain-kd" "wanda-least-squares-kd" "wanda-kd" "magnitude-kd" "taylor-kd" "random-kd" "scratch"]),
        ),
        Figure::cross(
            "Perceptron, accuracy by hidden widths",
            metric::ACCURACY,
            PERCEPTRONS,
            OF_PERCEPTRONS,
        ),
        Figure::cross(
            "Perceptron, cross-entropy by hidden widths",
            metric::CROSS_ENTROPY,
            PERCEPTRONS,
            OF_PERCEPTRONS,
        ),
        Figure::cross(
            "Perceptron, KL from the teacher by hidden widths",
            metric::TEACHER_DIVERGENCE,
            PERCEPTRONS,
            OF_PERCEPTRONS,
        ),
    ],
};

const PERCEPTRONS: &[&str] = &["128, 64", "64, 32", "32, 16", "16, 12", "16, 8", "8, 8"];
const OF_PERCEPTRONS: Lines = lines!(
    ["surgery/mlp/128-64" "surgery/mlp/64-32" "surgery/mlp/32-16" "surgery/mlp/16-12" "surgery/mlp/16-8" "surgery/mlp/8-8"];
    "surgery" "surgery",
    "plain" "plain reference",
    "wanda-least-squares" "Wanda's choice and least squares",
    "wanda" "Wanda",
    "magnitude" "magnitude",
    "taylor" "Taylor",
    "random" "random",
    "surgery-kd" "surgery, one epoch",
    "plain-kd" "plain reference, one epoch",
    "wanda-least-squares-kd" "Wanda's choice and least squares, one epoch",
    "wanda-kd" "Wanda, one epoch",
    "magnitude-kd" "magnitude, one epoch",
    "taylor-kd" "Taylor, one epoch",
    "random-kd" "random, one epoch",
    "scratch" "from scratch, equal work",
);
