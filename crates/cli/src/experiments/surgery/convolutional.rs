//! Rows, claims and figures of convolutional networks with batch norm; the numbers of other programs are of the same networks.

use super::words::{Lines, SAME, lost, share};
use super::{Settings, run, settings};
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Check, Claim, Figure, Point, Published, RowSpec, metric};

/// Test accuracy of the teachers in ten-thousandths, mean of three.
const TEACHER: u32 = 8762;

/// The convolutional networks of three seeds.
pub(in crate::experiments) static CONVOLUTIONAL: Experiment = Experiment {
    id: "surgery-convolutional",
    title: "Convolutional networks with batch norm made narrower",
    source: "",
    summary: "Three networks of shared files (32, 64, 64 channels and 128 dense units, batch norm), each trained on 10 000 images \
        of FashionMNIST by another program; the first 4000 of its own images serve to narrow and to train, of the plain \
        reference the first 2000. Batch norm is folded first, so that a network from scratch has none. Ways and training are those \
        of the experiment surgery. The numbers of other programs are of the same networks and 10 000 images: Torch-Pruning \
        1.6.1 (best of magnitude, Taylor, Hessian for each seed and size; batch-norm statistics taken anew where it says so), \
        PyTorch 2.15, by peers/surgery_torch.py with step size 1e-3; those with repair are of 4000 images and step size 3e-4. \
        Where no trained networks are at hand, nothing is run.",
    data: &["fashion-mnist", "models"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(3, 3),
    run: |task| run(task, Settings::convolutional),
    rows: rows!(
        RowSpec::seeds("surgery/cnn/whole", "convolutional network");
        [
            ("surgery/cnn/16-32-32-64", "16, 32, 32, dense 64 (25 %): ")
            ("surgery/cnn/8-16-16-32", "8, 16, 16, dense 32 (6.6 %): ")
            ("surgery/cnn/6-10-10-16", "6, 10, 10, dense 16 (3.9 %): ")
            ("surgery/cnn/4-8-8-16", "4, 8, 8, dense 16 (1.8 %): ")
        ] {
            { "surgery" => "surgery"; "surgery-kd" => "surgery, one epoch"; }
            against "surgery" { "plain" => "plain reference"; "wanda" => "Wanda"; "magnitude" => "magnitude"; }
            against "surgery-kd" {
                "plain-kd" => "plain reference, one epoch";
                "wanda-kd" => "Wanda, one epoch";
                "magnitude-kd" => "magnitude, one epoch";
                "scratch" => "from scratch, equal work";
            }
        }
        [("surgery/cnn/by-size", "convolutional network by size, smallest shown: ")] {{
            "surgery" => "surgery";
            "plain" => "plain reference";
            "wanda" => "Wanda";
            "magnitude" => "magnitude";
            "surgery-kd" => "surgery, one epoch";
            "plain-kd" => "plain reference, one epoch";
            "wanda-kd" => "Wanda, one epoch";
            "magnitude-kd" => "magnitude, one epoch";
            "scratch" => "from scratch, equal work";
        }}
    ),
    claims: &[
        Claim {
            id: "S7",
            text: "Convolutional network: surgery without training reaches what the repair of the reference reached with 4000 images, \
                and after one epoch what one epoch made of it.",
            published: published!("surgery"; "surgery/cnn/8-16-16-32" 8518, "surgery/cnn/16-32-32-64" 8677; "surgery-kd";
                "surgery/cnn/16-32-32-64" 8750, "surgery/cnn/8-16-16-32" 8589),
            min_seeds: 3,
            checks: reached!("surgery/cnn/16-32-32-64/surgery" 8677, "surgery/cnn/8-16-16-32/surgery" 8518,
                "surgery/cnn/16-32-32-64/surgery-kd" 8750, "surgery/cnn/8-16-16-32/surgery-kd" 8589),
        },
        Claim {
            id: "S8",
            text: "Convolutional network, without training: surgery keeps more accuracy than the best of Torch-Pruning with \
                batch-norm statistics taken anew.",
            published: published!("magnitude"; "surgery/cnn/16-32-32-64" 6379, "surgery/cnn/8-16-16-32" 2823,
                "surgery/cnn/6-10-10-16" 1814),
            min_seeds: 3,
            checks: ahead!("surgery", "magnitude", TEACHER; "surgery/cnn/16-32-32-64" 6379, "surgery/cnn/8-16-16-32" 2823,
                "surgery/cnn/6-10-10-16" 1814),
        },
        Claim {
            id: "S9",
            text: "Convolutional network, after one epoch: surgery stays ahead of the better of Torch-Pruning's numbers, statistics \
                taken anew or not.",
            published: published!("magnitude-kd"; "surgery/cnn/16-32-32-64" 8588, "surgery/cnn/8-16-16-32" 7798,
                "surgery/cnn/6-10-10-16" 6576),
            min_seeds: 3,
            checks: ahead!("surgery-kd", "magnitude-kd", TEACHER; "surgery/cnn/16-32-32-64" 8588,
                "surgery/cnn/8-16-16-32" 7798, "surgery/cnn/6-10-10-16" 6576),
        },
        Claim {
            id: "S10",
            text: "Convolutional network: surgery and one epoch are ahead of distillation from scratch, both of equal work without \
                batch norm and of 8 epochs with it, the best of which was chosen on the test images.",
            published: published!("scratch"; "surgery/cnn/16-32-32-64" 8703, "surgery/cnn/8-16-16-32" 8490,
                "surgery/cnn/6-10-10-16" 8199),
            min_seeds: 3,
            checks: ahead!("surgery-kd", "scratch", TEACHER; "surgery/cnn/16-32-32-64" 8703, "surgery/cnn/8-16-16-32" 8490,
                "surgery/cnn/6-10-10-16" 8199),
        },
    ],
    point: Point::Parameters,
    figures: &[
        Figure::curves(
            "Convolutional network, accuracy by parameters, without training",
            metric::ACCURACY,
            names!(["surgery/cnn/by-size"] ["surgery" "plain" "wanda" "magnitude"]),
        ),
        Figure::curves(
            "Convolutional network, accuracy by parameters, after one epoch of distillation",
            metric::ACCURACY,
            names!(["surgery/cnn/by-size"] ["surgery-kd" "plain-kd" "wanda-kd" "magnitude-kd" "scratch"]),
        ),
        Figure::cross(
            "Convolutional network, accuracy by channels and dense units",
            metric::ACCURACY,
            CONVOLUTIONS,
            OF_CONVOLUTIONS,
        ),
        Figure::cross(
            "Convolutional network, KL from the teacher by channels and dense units",
            metric::TEACHER_DIVERGENCE,
            CONVOLUTIONS,
            OF_CONVOLUTIONS,
        ),
    ],
};

const CONVOLUTIONS: &[&str] = &["16, 32, 32, 64", "8, 16, 16, 32", "6, 10, 10, 16", "4, 8, 8, 16"];
const OF_CONVOLUTIONS: Lines = lines!(
    ["surgery/cnn/16-32-32-64" "surgery/cnn/8-16-16-32" "surgery/cnn/6-10-10-16" "surgery/cnn/4-8-8-16"];
    "surgery" "surgery",
    "plain" "plain reference",
    "wanda" "Wanda",
    "magnitude" "magnitude",
    "surgery-kd" "surgery, one epoch",
    "plain-kd" "plain reference, one epoch",
    "wanda-kd" "Wanda, one epoch",
    "magnitude-kd" "magnitude, one epoch",
    "scratch" "from scratch, equal work",
);
