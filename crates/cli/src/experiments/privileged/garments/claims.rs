//! Rows and figures of what a student of FashionMNIST-Small gains from its teacher.

use super::{knowledge, known_share, settings};
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Figure, Point, metric};

/// The teacher and its ablations.
const ANSWERED: [&str; 5] = [
    "knowledge/teacher",
    "knowledge/same-class",
    "knowledge/other-classes",
    "knowledge/any-object",
    "knowledge/smoothed-labels",
];

/// Those that say something of the example: what is said of any example loses so much that the others would look alike.
const OF_OWN_CLASS: [&str; 4] = [
    "knowledge/teacher",
    "knowledge/same-class",
    "knowledge/other-classes",
    "knowledge/smoothed-labels",
];

/// What a gain is due to.
pub(in crate::experiments) static KNOWLEDGE: Experiment = Experiment {
    id: "knowledge",
    title: "What a student's gain is due to",
    source: "",
    summary: "Students [784, 64, 10] of FashionMNIST-Small under CE + soft CE at T = 1, the teacher and all starts those of the base \
        experiment. In place of the teacher's answers: those for another object of the same class; the teacher's \
        probability of the label with the others in random order; those for any object; labels smoothed to the mean entropy of \
        the teacher's. All are as uncertain as the teacher, the first four as a whole, so that what one gains over another is \
        due to what it knows: of objects, of which classes resemble one another, of the label, nothing. Rows are compared with \
        smoothed labels. The gain over no teacher is shown by decile of the teacher's entropy on the test objects, from those \
        that it is surest of.",
    data: &["fashion-mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::USUAL,
    run: knowledge,
    rows: rows!(
        [("knowledge")] {
            against "smoothed-labels" { "none" => "no teacher"; }
            { "smoothed-labels" => "smoothed labels"; }
            against "smoothed-labels" {
                "any-object" => "answers for any object";
                "other-classes" => "the label's probability, others in random order";
                "same-class" => "answers for another object of the class";
                "teacher" => "the teacher's answers";
            }
            { "the-teacher" => "the teacher itself"; }
        }
    ),
    claims: &[],
    point: Point::Of {
        metric: metric::DECILE,
        name: "decile of the teacher's entropy, 1 the surest",
    },
    figures: &[
        Figure::curves(
            "Gain of test cross-entropy over no teacher, by decile of the teacher's entropy",
            metric::CROSS_ENTROPY_GAIN,
            &OF_OWN_CLASS,
        ),
        Figure::curves(
            "Gain of test accuracy over no teacher, by decile of the teacher's entropy",
            metric::ACCURACY_GAIN,
            &OF_OWN_CLASS,
        ),
        Figure::points(
            "Gain of test cross-entropy over no teacher by decile",
            metric::CROSS_ENTROPY_GAIN,
            &ANSWERED,
        ),
    ],
};

/// A teacher that is asked about some examples.
pub(in crate::experiments) static KNOWN_SHARE: Experiment = Experiment {
    id: "known-share",
    title: "A teacher that is asked about some of the objects",
    source: "",
    summary: "Students [784, 64, 10] of FashionMNIST-Small whose teacher's answers are known for a growing share 𝓘 of the 1000 \
        objects, in one random order a seed, at T = 1. CE + soft CE adds the answers to the labels; the likelihood of \
        papers 000 and 004 with λ = 1/2 divides an object's weight between both, which leaves labels of 𝓘 half of theirs. \
        A row's value is that at the whole share.",
    data: &["fashion-mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::USUAL,
    run: known_share,
    rows: rows!(
        [("share")] {
            { "none" => "no teacher"; }
            against "none" {
                "sum" => "CE + soft CE";
                "likelihood" => "likelihood with λ = 1/2";
            }
        }
    ),
    claims: &[],
    point: Point::Of { metric: metric::SHARE, name: "share of objects whose answer is known" },
    figures: &[
        Figure::curves(
            "Test cross-entropy by the share of known answers",
            metric::CROSS_ENTROPY,
            &["share/sum", "share/likelihood"],
        ),
        Figure::curves(
            "Test accuracy by the share of known answers",
            metric::ACCURACY,
            &["share/sum", "share/likelihood"],
        ),
        Figure::points(
            "Test cross-entropy by the share of known answers",
            metric::CROSS_ENTROPY,
            &["share/sum", "share/likelihood"],
        ),
        Figure::points(
            "Test accuracy by the share of known answers",
            metric::ACCURACY,
            &["share/sum", "share/likelihood"],
        ),
    ],
};
