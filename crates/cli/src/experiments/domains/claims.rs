//! Rows, claims and figures of the distillation across domains: tables 5 to 9 of paper 003 and what goes beyond them.

use super::{given, learned, settings};
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Check, Claim, Figure, Metric, Part, Point, Published, RowSpec, metric};

/// Rows that checks name more than once.
const GIVEN_BIG: &str = "given/big/independent";
const NOISE: &str = "given/noise/independent";
const CONVOLUTION: &str = "given/convolution/independent";
const NONE: &str = "learned/none/independent";
const DIGITS: &str = "learned/digits/independent";
const TRANSLATOR: &str = "learned/translator/independent";
const GENERATED: &str = "learned/generated/independent";
/// FashionMNIST-Big as the teacher, from the base experiment with the same starts.
const BIG: &str = "small/teacher-big/independent";

/// What counts as no change of quality: the tolerances of a re-simulated number.
const ACCURACY_MARGIN: f64 = 0.006;
const CROSS_ENTROPY_MARGIN: f64 = 0.015;
/// Runs behind each re-simulated number.
const N_RESIMULATED: usize = 5;

/// Maps with a formula.
pub(in crate::experiments) static GIVEN: Experiment = Experiment {
    id: "domains-given",
    title: "Teachers of another domain: maps with a formula",
    source: "003",
    summary: "Students [784, 64, 10] of FashionMNIST-Small; each teacher [n, 256, 128, 64, 64, 10] is trained on \
        FashionMNIST-Big as φ shows it, and answers for the student's objects through the same φ, drawn afresh for every \
        batch. Noise has deviation 0.1, clipped. What the source tabulates as dilation is one random 5 × 5 convolution \
        without dilation, rebuilt number by number; an earlier version of its code had a cross of ones, truly dilated; \
        morphological dilation is what the word means. Controls: the same teacher sees the pictures as they are (their \
        middle, where its input is smaller), or with all pixels in one random order.",
    data: &["fashion-mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::USUAL.and(&[Part::Source]),
    run: given::run,
    rows: &[
        RowSpec::segments("given/none/segments", "no teacher, as in the source"),
        RowSpec::segments("given/big/segments", "teacher Big, no φ, as in the source"),
        RowSpec::segments("given/noise/segments", "noise, as in the source"),
        RowSpec::segments("given/convolution/segments", "\"dilation\", as in the source"),
        RowSpec::seeds("given/none/independent", "no teacher"),
        RowSpec::seeds(GIVEN_BIG, "teacher Big, no φ").against("given/none/independent"),
        RowSpec::seeds(NOISE, "noise").against(GIVEN_BIG),
        RowSpec::seeds("given/noise/without-map", "noise, teacher without φ").against(NOISE),
        RowSpec::seeds("given/noise/random-map", "noise, random φ").against(NOISE),
        RowSpec::seeds(CONVOLUTION, "fixed convolution (the source's \"dilation\")")
            .against(GIVEN_BIG),
        RowSpec::seeds("given/convolution/without-map", "fixed convolution, teacher without φ")
            .against(CONVOLUTION),
        RowSpec::seeds("given/convolution/random-map", "fixed convolution, random φ")
            .against(CONVOLUTION),
        RowSpec::seeds("given/cross/independent", "dilated cross").against(GIVEN_BIG),
        RowSpec::seeds("given/cross/without-map", "dilated cross, teacher without φ")
            .against("given/cross/independent"),
        RowSpec::seeds("given/cross/random-map", "dilated cross, random φ")
            .against("given/cross/independent"),
        RowSpec::seeds("given/morphology/independent", "morphological dilation").against(GIVEN_BIG),
        RowSpec::seeds("given/morphology/without-map", "morphological dilation, teacher without φ")
            .against("given/morphology/independent"),
        RowSpec::seeds("given/morphology/random-map", "morphological dilation, random φ")
            .against("given/morphology/independent"),
        RowSpec::seeds("given/the-teacher-big/independent", "the teacher Big itself"),
    ],
    claims: &[
        Claim {
            id: "C19",
            text: "Noise on the teacher's domain does not change the student's quality.",
            published: &[
                Published::new("given/noise/segments", metric::CROSS_ENTROPY, 0.565, 0.024),
                Published::new("given/noise/segments", metric::ACCURACY, 0.810, 0.009),
                Published::new("given/noise/segments", metric::INTEGRAL, 11.362, 1.595),
            ],
            min_seeds: 10,
            checks: &[
                Check::same(metric::ACCURACY, NOISE, GIVEN_BIG, ACCURACY_MARGIN),
                Check::same(metric::CROSS_ENTROPY, NOISE, GIVEN_BIG, CROSS_ENTROPY_MARGIN),
                matches(metric::ACCURACY, NOISE, 0.793, 0.007),
                matches(metric::CROSS_ENTROPY, NOISE, 0.594, 0.010),
            ],
        },
        Claim {
            id: "C20",
            text: "A fixed convolution of the teacher's domain does not change the student's quality.",
            published: &[
                Published::new("given/convolution/segments", metric::CROSS_ENTROPY, 0.561, 0.013),
                Published::new("given/convolution/segments", metric::ACCURACY, 0.816, 0.007),
                Published::new("given/convolution/segments", metric::INTEGRAL, 11.330, 1.540),
            ],
            min_seeds: 10,
            checks: &[
                Check::same(metric::ACCURACY, CONVOLUTION, GIVEN_BIG, ACCURACY_MARGIN),
                Check::same(metric::CROSS_ENTROPY, CONVOLUTION, GIVEN_BIG, CROSS_ENTROPY_MARGIN),
                matches(metric::ACCURACY, CONVOLUTION, 0.796, 0.003),
                matches(metric::CROSS_ENTROPY, CONVOLUTION, 0.594, 0.006),
            ],
        },
    ],
    point: Point::Epoch,
    figures: &[
        Figure::curves(
            "Test cross-entropy with noise (figure 4: segments of one run, as in the source)",
            metric::CROSS_ENTROPY,
            &["given/none/segments", "given/big/segments", "given/noise/segments"],
        ),
        Figure::curves(
            "Test cross-entropy with noise, independent runs",
            metric::CROSS_ENTROPY,
            &["given/none/independent", GIVEN_BIG, NOISE],
        ),
        Figure::curves(
            "Test cross-entropy with the fixed convolution (figure 6: segments of one run, as in the source)",
            metric::CROSS_ENTROPY,
            &["given/none/segments", "given/big/segments", "given/convolution/segments"],
        ),
        Figure::curves(
            "Test cross-entropy with the fixed convolution, independent runs",
            metric::CROSS_ENTROPY,
            &["given/none/independent", GIVEN_BIG, CONVOLUTION],
        ),
        Figure::Images {
            title: "One garment of each class before and after φ (figures 3 and 5)",
            channels: 1,
            columns: 10,
            rows: &[
                ("before", "x", 10),
                ("noise", "noise", 10),
                ("morphology", "morphological dilation", 10),
            ],
        },
        Figure::Images {
            title: "The same after convolutions, 24 × 24; levels are stretched from the least to the largest of a line",
            channels: 1,
            columns: 10,
            rows: &[
                ("convolution", "the source's fixed convolution (\"dilation\")", 10),
                ("cross", "dilated cross", 10),
            ],
        },
    ],
};

/// Maps that are learned.
pub(in crate::experiments) static LEARNED: Experiment = Experiment {
    id: "domains-learned",
    title: "Teachers of another domain: digits for clothes",
    source: "003",
    summary: "Students [784, 64, 10] of FashionMNIST-Small, teachers [784, 256, 128, 64, 64, 10] of digits. The translator is a \
        variational autoencoder with one encoder and two decoders (784, 200, 64), trained on pairs of a garment and a digit of \
        the same class index; seeds share it. The source's translator sees the labels of all 60 000 garments through its \
        pairs, which is more than the student is granted; the clean one sees those of Small alone, 20 partners each. \
        GeneratedMNIST repeats one generated digit of each object 70 times, train and test alike; the distinct variant splits \
        the objects first and generates 70 different digits of each. Instead of φ: no map, pixels in one random order, an \
        untrained translator, and teachers of digits aligned with the student's unlabelled objects in their last hidden layer \
        (gradient reversal; maximum mean discrepancy; 3 epochs).",
    data: &["fashion-mnist", "mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::USUAL.and(&[Part::Shared, Part::Source]),
    run: learned::run,
    rows: &[
        RowSpec::segments("learned/none/segments", "no teacher, as in the source"),
        RowSpec::segments("learned/digits/segments", "MNIST without φ, as in the source"),
        RowSpec::segments(
            "learned/translator/segments",
            "MNIST with the translator, as in the source",
        ),
        RowSpec::segments("learned/generated/segments", "GeneratedMNIST, as in the source"),
        RowSpec::seeds(NONE, "no teacher"),
        RowSpec::seeds(DIGITS, "MNIST without φ").against(NONE),
        RowSpec::seeds("learned/digits/random-map", "MNIST, random φ").against(NONE),
        RowSpec::seeds("learned/digits/untrained-map", "MNIST, untrained translator").against(NONE),
        RowSpec::seeds(TRANSLATOR, "MNIST with the translator").against(NONE),
        RowSpec::seeds(
            "learned/translator-small/independent",
            "MNIST, translator of Small's labels alone",
        )
        .against(NONE),
        RowSpec::seeds(GENERATED, "GeneratedMNIST (repeated pictures)").against(NONE),
        RowSpec::seeds("learned/generated/without-map", "GeneratedMNIST, teacher without φ")
            .against(NONE),
        RowSpec::seeds("learned/generated/random-map", "GeneratedMNIST, random φ").against(NONE),
        RowSpec::seeds(
            "learned/generated-distinct/independent",
            "GeneratedMNIST, distinct pictures",
        )
        .against(NONE),
        RowSpec::seeds(
            "learned/generated-small/independent",
            "GeneratedMNIST, distinct, Small's labels alone",
        )
        .against(NONE),
        RowSpec::seeds("learned/adversarial/independent", "MNIST, gradient reversal").against(NONE),
        RowSpec::seeds("learned/discrepancy/independent", "MNIST, minimised MMD").against(NONE),
        RowSpec::seeds("learned/the-teacher-digits/independent", "the teacher of MNIST itself"),
        RowSpec::seeds(
            "learned/the-teacher-generated/independent",
            "the teacher of GeneratedMNIST itself",
        ),
        RowSpec::seeds(
            "learned/the-teacher-generated-distinct/independent",
            "… of distinct pictures",
        ),
        RowSpec::seeds(
            "learned/the-teacher-generated-small/independent",
            "… of distinct pictures, Small's labels",
        ),
        RowSpec::seeds(
            "learned/the-teacher-adversarial/independent",
            "… aligned by gradient reversal",
        ),
        RowSpec::seeds("learned/the-teacher-discrepancy/independent", "… aligned by MMD"),
    ],
    claims: &[
        Claim {
            id: "C21",
            text: "A teacher of MNIST without a map between the domains strongly hurts.",
            published: &[
                Published::new("learned/digits/segments", metric::CROSS_ENTROPY, 1.257, 0.028),
                Published::new("learned/digits/segments", metric::ACCURACY, 0.520, 0.020),
                Published::new("learned/digits/segments", metric::INTEGRAL, 24.642, 1.462),
            ],
            min_seeds: 10,
            checks: &[
                Check::better(metric::ACCURACY, NONE, DIGITS),
                Check::better(metric::CROSS_ENTROPY, NONE, DIGITS),
                matches(metric::ACCURACY, DIGITS, 0.449, 0.013),
                matches(metric::CROSS_ENTROPY, DIGITS, 1.312, 0.018),
            ],
        },
        Claim {
            id: "C22",
            text: "The translator repairs it: better than without a map, and a lower cross-entropy than without a teacher. (Seeds \
                share one translator, here as in the re-simulation, so that intervals are those given it.)",
            published: &[
                Published::new("learned/translator/segments", metric::CROSS_ENTROPY, 0.629, 0.018),
                Published::new("learned/translator/segments", metric::ACCURACY, 0.810, 0.006),
                Published::new("learned/translator/segments", metric::INTEGRAL, 12.657, 1.455),
            ],
            min_seeds: 10,
            checks: &[
                Check::better(metric::CROSS_ENTROPY, TRANSLATOR, NONE),
                Check::better(metric::ACCURACY, TRANSLATOR, DIGITS),
                Check::better(metric::CROSS_ENTROPY, TRANSLATOR, DIGITS),
                matches(metric::ACCURACY, TRANSLATOR, 0.785, 0.004),
                matches(metric::CROSS_ENTROPY, TRANSLATOR, 0.699, 0.012),
            ],
        },
        Claim {
            id: "C23",
            text: "A teacher of GeneratedMNIST lies between no teacher and the teacher Big. (Given one translator.)",
            published: &[
                Published::new("learned/generated/segments", metric::CROSS_ENTROPY, 0.600, 0.013),
                Published::new("learned/generated/segments", metric::ACCURACY, 0.803, 0.007),
                Published::new("learned/generated/segments", metric::INTEGRAL, 12.019, 1.629),
            ],
            min_seeds: 10,
            checks: &[
                Check::better(metric::CROSS_ENTROPY, GENERATED, NONE),
                Check::better(metric::ACCURACY, GENERATED, NONE),
                Check::better(metric::CROSS_ENTROPY, BIG, GENERATED),
                Check::better(metric::ACCURACY, BIG, GENERATED),
                matches(metric::ACCURACY, GENERATED, 0.793, 0.005),
                matches(metric::CROSS_ENTROPY, GENERATED, 0.612, 0.013),
            ],
        },
    ],
    point: Point::Epoch,
    figures: &[
        Figure::curves(
            "Test cross-entropy with the translator (figure 10: segments of one run, as in the source)",
            metric::CROSS_ENTROPY,
            &["learned/none/segments", "learned/translator/segments"],
        ),
        Figure::curves(
            "Test cross-entropy with the translator, independent runs",
            metric::CROSS_ENTROPY,
            &[NONE, TRANSLATOR, "learned/translator-small/independent"],
        ),
        Figure::curves(
            "Test cross-entropy, teacher of MNIST with and without φ (figure 11: segments of one run, as in the source)",
            metric::CROSS_ENTROPY,
            &["learned/digits/segments", "learned/translator/segments"],
        ),
        Figure::curves(
            "Test cross-entropy, teacher of MNIST with and without φ, independent runs",
            metric::CROSS_ENTROPY,
            &[DIGITS, TRANSLATOR],
        ),
        Figure::curves(
            "Test cross-entropy with GeneratedMNIST (figure 12: segments of one run, as in the source)",
            metric::CROSS_ENTROPY,
            &["learned/none/segments", "learned/generated/segments"],
        ),
        Figure::curves(
            "Test cross-entropy with GeneratedMNIST, independent runs",
            metric::CROSS_ENTROPY,
            &[NONE, GENERATED, "learned/generated-distinct/independent"],
        ),
        Figure::Images {
            title: "Pairs, translations and reconstructions of one garment of each class (figures 7 and 8)",
            channels: 1,
            columns: 10,
            rows: &[
                ("before", "garment x", 10),
                ("partner", "its partner among the digits", 10),
                ("translated", "φ(x), one draw", 10),
                ("translated-again", "φ(x), another draw", 10),
                ("translated-small", "φ(x) of the translator of Small's labels alone", 10),
                ("round-trip", "x back from its latent vector", 10),
            ],
        },
        Figure::Images {
            title: "The latent plane of a translator with two dimensions, normal quantiles from 0.05 to 0.95 (figure 9): digits",
            channels: 1,
            columns: 15,
            rows: &[("grid-digits", "digits", 225)],
        },
        Figure::Images {
            title: "The same points decoded into garments",
            channels: 1,
            columns: 15,
            rows: &[("grid-clothes", "garments", 225)],
        },
    ],
};

const fn matches(metric: Metric, row: &'static str, mean: f64, std: f64) -> Check {
    Check::matches(metric, row, mean, std, N_RESIMULATED)
}
