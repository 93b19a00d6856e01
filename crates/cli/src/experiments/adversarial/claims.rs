//! Rows, claim and figures of the adversarial distillation.

use super::{run, settings};
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Check, Claim, Figure, Point, RowSpec, metric};

/// The rows that C27 is about: many examples, the corrected sign, weight 1.
const WATCHED: &str = "adversarial/60000/watched";
const CORRECTED: &str = "adversarial/60000/non-saturating";
/// "About one half" of a probability, and what counts as the same accuracy.
const ABOUT: f64 = 0.1;
const SAME_ACCURACY: f64 = 0.01;

/// Adversarial distillation.
pub(in crate::experiments) static ADVERSARIAL: Experiment = Experiment {
    id: "adversarial",
    title: "Adversarial distillation between different networks",
    source: "002",
    summary: "A convolutional teacher (29 176 parameters) of 60 000 objects of MNIST, students [784, 64, 10] of the same 60 000 or of \
        1000. A discriminator with two hidden layers of 64 units sees scores before the softmax (the hidden row also the \
        last hidden layers, the student's 64 units projected to the teacher's 84) and one step of it goes before each of \
        the student's, whose loss is the labels' cross-entropy plus the adversarial term, weight 1 or 0.05; with schedules the \
        weight rises from 0 to 1 (half of it after a tenth of the training) and the discriminator's step size falls to 0 along a cosine. Literal is the \
        formula as printed, whose sign is wrong. Watched: the student learns from labels alone while the discriminator \
        looks on. Wasserstein has spectral normalisation. Soft labels: plain CE + soft CE. The paper gives no architecture, \
        optimiser, weight or number.",
    data: &["mnist"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(5, 20),
    run,
    rows: rows!(
        RowSpec::seeds("adversarial/the-teacher", "the teacher");
        [("adversarial/60000", "60 000: ") ("adversarial/1000", "1000: ")] {
            { "watched" => "labels alone, watched"; }
            against "watched" {
                "soft-labels" => "soft labels";
                "literal" => "as printed";
                "saturating" => "sign corrected, saturating";
                "non-saturating" => "sign corrected, non-saturating";
                "scheduled" => "the same, with schedules";
                "non-saturating-small" => "non-saturating, weight 0.05";
                "hinge" => "hinge, weight 0.05";
                "wasserstein" => "Wasserstein, weight 0.05";
                "conditional" => "conditioned on the class, 0.05";
                "hidden" => "with hidden layers, 0.05";
            }
        }
    ),
    claims: &[Claim {
        id: "C27",
        text: "Adversarial distillation: the discriminator's probability tends to one half on teacher and student alike, and \
            the student becomes as accurate as one of labels (within a point; no gain is claimed). (With the sign corrected, \
            60 000 objects, weight 1.)",
        published: &[],
        min_seeds: 5,
        checks: &[
            Check::in_range(metric::TEACHER_PROBABILITY, CORRECTED, 0.5, ABOUT),
            Check::in_range(metric::STUDENT_PROBABILITY, CORRECTED, 0.5, ABOUT),
            Check::same(metric::ACCURACY, CORRECTED, WATCHED, SAME_ACCURACY),
        ],
    }],
    point: Point::Epoch,
    figures: &[
        Figure::curves(
            "D's probability of the teacher, on the teacher's scores (figure 1), 60 000 objects",
            metric::TEACHER_PROBABILITY,
            &["adversarial/60000/literal", "adversarial/60000/saturating", CORRECTED, WATCHED],
        ),
        Figure::curves(
            "D's probability of the teacher, on the student's scores (figure 1), 60 000 objects",
            metric::STUDENT_PROBABILITY,
            &["adversarial/60000/literal", "adversarial/60000/saturating", CORRECTED, WATCHED],
        ),
        Figure::curves(
            "Accuracy on training objects (figure 2), 60 000 objects",
            metric::TRAIN_ACCURACY,
            &[WATCHED, "adversarial/60000/literal", CORRECTED, "adversarial/60000/hidden"],
        ),
        Figure::curves(
            "Accuracy on test objects (figure 2), 60 000 objects",
            metric::ACCURACY,
            &[WATCHED, "adversarial/60000/literal", CORRECTED, "adversarial/60000/hidden"],
        ),
        Figure::curves(
            "Accuracy on test objects, 1000 objects",
            metric::ACCURACY,
            &[
                "adversarial/1000/watched",
                "adversarial/1000/soft-labels",
                "adversarial/1000/non-saturating-small",
                "adversarial/1000/hidden",
            ],
        ),
    ],
};
