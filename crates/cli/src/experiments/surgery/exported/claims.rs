//! Rows, claims and figures of exported networks; the numbers of the reference are of the same networks and images.

use super::{run, settings};
use crate::experiments::surgery::words::{Lines, SAME, share};
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Check, Claim, Figure, Part, Point, Published, RowSpec, metric};

/// Networks as PyTorch exports them.
pub(in crate::experiments) static EXPORTED: Experiment = Experiment {
    id: "surgery-exported",
    title: "Exported networks made narrower: inner units of every block",
    source: "",
    summary: "Networks of shared files, exported to ONNX by PyTorch and trained on the first 20 000 images of FashionMNIST; they are \
        narrowed by the 2000 images that follow, without labels. Inner units are those made by one linear map and read by one: \
        each such group keeps a half, a quarter, an eighth. By curves: the same number of parameters at most, but widths where they \
        cost least by the curves of all groups, the residual spine as one group and whole heads among them. ResNet and encoder \
        are also measured after one epoch of distillation on the same 2000 images. The ways and the training are those of the \
        experiment surgery. The reference is peers/surgery_onnx.py (PyTorch 2.15, ONNX Runtime), with repair and without; of its \
        baselines Wanda, magnitude and random. One run: nothing but the random order has a seed. Where no trained networks \
        are at hand, nothing is run.",
    data: &["fashion-mnist", "models"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(0, 0).and(&[Part::Shared]),
    run,
    rows: singles!(
        ["surgery" "surgery";
            "by-curves" "surgery, widths by the curves of all groups";
            "plain" "plain reference";
            "wanda" "Wanda";
            "magnitude" "magnitude";
            "random" "random";
            "surgery-kd" "surgery, one epoch";
            "by-curves-kd" "surgery, widths by the curves of all groups, one epoch";
            "plain-kd" "plain reference, one epoch";
            "wanda-kd" "Wanda, one epoch";
            "magnitude-kd" "magnitude, one epoch";
            "random-kd" "random, one epoch";]
        ("surgery/fmnist-resnet/half" "ResNet, inner units to 1/2 (52 %): ")
        ("surgery/fmnist-resnet/quarter" "ResNet, inner units to 1/4 (29 %): ")
        ("surgery/fmnist-resnet/eighth" "ResNet, inner units to 1/8 (17 %): ")
        ("surgery/fmnist-cnn-bn/half" "CNN, inner units to 1/2 (50 %): ")
        ("surgery/fmnist-cnn-bn/quarter" "CNN, inner units to 1/4 (25 %): ")
        ("surgery/fmnist-cnn-bn/eighth" "CNN, inner units to 1/8 (13 %): ")
        ("surgery/fmnist-encoder/half" "encoder, inner units to 1/2 (69 %): ")
        ("surgery/fmnist-encoder/quarter" "encoder, inner units to 1/4 (53 %): ")
        ("surgery/fmnist-encoder/eighth" "encoder, inner units to 1/8 (45 %): ")
        ("surgery/fmnist-mlp/half" "perceptron, inner units to 1/2 (47 %): ")
        ("surgery/fmnist-mlp/quarter" "perceptron, inner units to 1/4 (22 %): ")
        ("surgery/fmnist-mlp/eighth" "perceptron, inner units to 1/8 (11 %): ")
        ("surgery/fmnist-mobile/half" "MobileNet, inner units to 1/2: ")
        ("surgery/fmnist-mobile/quarter" "MobileNet, inner units to 1/4: ")
        ("surgery/fmnist-mobile/eighth" "MobileNet, inner units to 1/8: ");
        ["whole" "whole";]
        ("surgery/fmnist-resnet" "ResNet: ")
        ("surgery/fmnist-cnn-bn" "CNN: ")
        ("surgery/fmnist-encoder" "encoder: ")
        ("surgery/fmnist-mlp" "perceptron: ")
        ("surgery/fmnist-mobile" "MobileNet: ");
        ["surgery" "surgery";
            "by-curves" "surgery, widths by the curves of all groups";
            "plain" "plain reference";
            "wanda" "Wanda";
            "magnitude" "magnitude";
            "random" "random";
            "surgery-kd" "surgery, one epoch";
            "by-curves-kd" "surgery, widths by the curves of all groups, one epoch";
            "plain-kd" "plain reference, one epoch";
            "wanda-kd" "Wanda, one epoch";
            "magnitude-kd" "magnitude, one epoch";
            "random-kd" "random, one epoch";]
        ("surgery/fmnist-resnet/by-size" "ResNet by size, smallest shown: ")
        ("surgery/fmnist-cnn-bn/by-size" "CNN by size, smallest shown: ")
        ("surgery/fmnist-encoder/by-size" "encoder by size, smallest shown: ")
        ("surgery/fmnist-mlp/by-size" "perceptron by size, smallest shown: ")
        ("surgery/fmnist-mobile/by-size" "MobileNet by size, smallest shown: ")
    ),
    claims: &[Claim {
        id: "S6",
        text: "Surgery of exported networks without training reaches what the repair of the reference reached. (Published beside the other \
            ways: the reference without repair, and its baselines.)",
        published: published!("surgery";
                "surgery/fmnist-resnet/half" 8855, "surgery/fmnist-resnet/quarter" 8537, "surgery/fmnist-resnet/eighth" 8188,
                "surgery/fmnist-cnn-bn/half" 9008, "surgery/fmnist-cnn-bn/quarter" 8872, "surgery/fmnist-cnn-bn/eighth" 8478,
                "surgery/fmnist-encoder/half" 8533, "surgery/fmnist-encoder/quarter" 8519, "surgery/fmnist-encoder/eighth" 8503,
                "surgery/fmnist-mlp/half" 8750, "surgery/fmnist-mlp/quarter" 8676, "surgery/fmnist-mlp/eighth" 8461;
                "plain";
                "surgery/fmnist-resnet/half" 8524, "surgery/fmnist-resnet/quarter" 6396, "surgery/fmnist-resnet/eighth" 2628,
                "surgery/fmnist-cnn-bn/half" 8994, "surgery/fmnist-cnn-bn/quarter" 8870, "surgery/fmnist-cnn-bn/eighth" 8369,
                "surgery/fmnist-encoder/half" 8529, "surgery/fmnist-encoder/quarter" 8520, "surgery/fmnist-encoder/eighth" 8476,
                "surgery/fmnist-mlp/half" 8746, "surgery/fmnist-mlp/quarter" 8669, "surgery/fmnist-mlp/eighth" 8488;
                "wanda";
                "surgery/fmnist-resnet/half" 4558, "surgery/fmnist-resnet/quarter" 1681, "surgery/fmnist-resnet/eighth" 1000,
                "surgery/fmnist-cnn-bn/half" 7730, "surgery/fmnist-cnn-bn/quarter" 5250, "surgery/fmnist-cnn-bn/eighth" 3809,
                "surgery/fmnist-encoder/half" 8485, "surgery/fmnist-encoder/quarter" 8358, "surgery/fmnist-encoder/eighth" 8194,
                "surgery/fmnist-mlp/half" 8345, "surgery/fmnist-mlp/quarter" 5212, "surgery/fmnist-mlp/eighth" 2825;
                "magnitude";
                "surgery/fmnist-resnet/half" 2126, "surgery/fmnist-resnet/quarter" 2036, "surgery/fmnist-resnet/eighth" 1067,
                "surgery/fmnist-cnn-bn/half" 7792, "surgery/fmnist-cnn-bn/quarter" 4285, "surgery/fmnist-cnn-bn/eighth" 4121,
                "surgery/fmnist-encoder/half" 8463, "surgery/fmnist-encoder/quarter" 8376, "surgery/fmnist-encoder/eighth" 8186,
                "surgery/fmnist-mlp/half" 8035, "surgery/fmnist-mlp/quarter" 4289, "surgery/fmnist-mlp/eighth" 2877;
                "random";
                "surgery/fmnist-resnet/half" 2882, "surgery/fmnist-resnet/quarter" 1392, "surgery/fmnist-resnet/eighth" 1433,
                "surgery/fmnist-cnn-bn/half" 7927, "surgery/fmnist-cnn-bn/quarter" 5766, "surgery/fmnist-cnn-bn/eighth" 1470,
                "surgery/fmnist-encoder/half" 8380, "surgery/fmnist-encoder/quarter" 8111, "surgery/fmnist-encoder/eighth" 7704,
                "surgery/fmnist-mlp/half" 8393, "surgery/fmnist-mlp/quarter" 6786, "surgery/fmnist-mlp/eighth" 3572),
        min_seeds: 1,
        checks: reached!("surgery/fmnist-resnet/half/surgery" 8855, "surgery/fmnist-resnet/quarter/surgery" 8537,
                "surgery/fmnist-resnet/eighth/surgery" 8188, "surgery/fmnist-cnn-bn/half/surgery" 9008,
                "surgery/fmnist-cnn-bn/quarter/surgery" 8872, "surgery/fmnist-cnn-bn/eighth/surgery" 8478,
                "surgery/fmnist-encoder/half/surgery" 8533, "surgery/fmnist-encoder/quarter/surgery" 8519,
                "surgery/fmnist-encoder/eighth/surgery" 8503, "surgery/fmnist-mlp/half/surgery" 8750,
                "surgery/fmnist-mlp/quarter/surgery" 8676, "surgery/fmnist-mlp/eighth/surgery" 8461),
    }],
    point: Point::Parameters,
    figures: &[
        Figure::curves(
            "ResNet, accuracy by parameters, without training",
            metric::ACCURACY,
            names!(["surgery/fmnist-resnet/by-size"] ["surgery" "by-curves" "plain" "wanda" "magnitude" "random"]),
        ),
        Figure::curves(
            "CNN, accuracy by parameters, without training",
            metric::ACCURACY,
            names!(["surgery/fmnist-cnn-bn/by-size"] ["surgery" "by-curves" "plain" "wanda" "magnitude" "random"]),
        ),
        Figure::curves(
            "encoder, accuracy by parameters, without training",
            metric::ACCURACY,
            names!(["surgery/fmnist-encoder/by-size"] ["surgery" "by-curves" "plain" "wanda" "magnitude" "random"]),
        ),
        Figure::curves(
            "perceptron, accuracy by parameters, without training",
            metric::ACCURACY,
            names!(["surgery/fmnist-mlp/by-size"] ["surgery" "by-curves" "plain" "wanda" "magnitude" "random"]),
        ),
        Figure::curves(
            "MobileNet, accuracy by parameters, without training",
            metric::ACCURACY,
            names!(["surgery/fmnist-mobile/by-size"] ["surgery" "by-curves" "plain" "wanda" "magnitude" "random"]),
        ),
        Figure::cross(
            "ResNet, accuracy by the share of inner units",
            metric::ACCURACY,
            SHARES,
            RESNET,
        ),
        Figure::cross(
            "CNN, accuracy by the share of inner units",
            metric::ACCURACY,
            SHARES,
            CNN_BN,
        ),
        Figure::cross(
            "encoder, accuracy by the share of inner units",
            metric::ACCURACY,
            SHARES,
            ENCODER,
        ),
        Figure::cross(
            "perceptron, accuracy by the share of inner units",
            metric::ACCURACY,
            SHARES,
            MLP,
        ),
        Figure::cross(
            "MobileNet, accuracy by the share of inner units",
            metric::ACCURACY,
            SHARES,
            MOBILE,
        ),
        Figure::cross(
            "ResNet, KL from the whole network by the share of inner units",
            metric::TEACHER_DIVERGENCE,
            SHARES,
            RESNET,
        ),
        Figure::cross(
            "CNN, KL from the whole network by the share of inner units",
            metric::TEACHER_DIVERGENCE,
            SHARES,
            CNN_BN,
        ),
        Figure::cross(
            "encoder, KL from the whole network by the share of inner units",
            metric::TEACHER_DIVERGENCE,
            SHARES,
            ENCODER,
        ),
        Figure::cross(
            "perceptron, KL from the whole network by the share of inner units",
            metric::TEACHER_DIVERGENCE,
            SHARES,
            MLP,
        ),
        Figure::cross(
            "MobileNet, KL from the whole network by the share of inner units",
            metric::TEACHER_DIVERGENCE,
            SHARES,
            MOBILE,
        ),
    ],
};

const SHARES: &[&str] = &["1/2", "1/4", "1/8"];
const RESNET: Lines = lines!(
    ["surgery/fmnist-resnet/half" "surgery/fmnist-resnet/quarter" "surgery/fmnist-resnet/eighth"];
    "surgery" "surgery",
    "by-curves" "surgery, widths by curves",
    "plain" "plain reference",
    "wanda" "Wanda",
    "magnitude" "magnitude",
    "random" "random",
    "surgery-kd" "surgery, one epoch",
    "by-curves-kd" "surgery, widths by curves, one epoch",
    "plain-kd" "plain reference, one epoch",
    "wanda-kd" "Wanda, one epoch",
    "magnitude-kd" "magnitude, one epoch",
    "random-kd" "random, one epoch",
);
const CNN_BN: Lines = lines!(
    ["surgery/fmnist-cnn-bn/half" "surgery/fmnist-cnn-bn/quarter" "surgery/fmnist-cnn-bn/eighth"];
    "surgery" "surgery",
    "by-curves" "surgery, widths by curves",
    "plain" "plain reference",
    "wanda" "Wanda",
    "magnitude" "magnitude",
    "random" "random",
);
const ENCODER: Lines = lines!(
    ["surgery/fmnist-encoder/half" "surgery/fmnist-encoder/quarter" "surgery/fmnist-encoder/eighth"];
    "surgery" "surgery",
    "by-curves" "surgery, widths by curves",
    "plain" "plain reference",
    "wanda" "Wanda",
    "magnitude" "magnitude",
    "random" "random",
    "surgery-kd" "surgery, one epoch",
    "by-curves-kd" "surgery, widths by curves, one epoch",
    "plain-kd" "plain reference, one epoch",
    "wanda-kd" "Wanda, one epoch",
    "magnitude-kd" "magnitude, one epoch",
    "random-kd" "random, one epoch",
);
const MLP: Lines = lines!(
    ["surgery/fmnist-mlp/half" "surgery/fmnist-mlp/quarter" "surgery/fmnist-mlp/eighth"];
    "surgery" "surgery",
    "by-curves" "surgery, widths by curves",
    "plain" "plain reference",
    "wanda" "Wanda",
    "magnitude" "magnitude",
    "random" "random",
);
const MOBILE: Lines = lines!(
    ["surgery/fmnist-mobile/half" "surgery/fmnist-mobile/quarter" "surgery/fmnist-mobile/eighth"];
    "surgery" "surgery",
    "by-curves" "surgery, widths by curves",
    "plain" "plain reference",
    "wanda" "Wanda",
    "magnitude" "magnitude",
    "random" "random",
);
