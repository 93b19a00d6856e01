//! Rows, claim and figures of the adversarial distillation.

use super::{run, settings};
use crate::experiments::Experiment;
use crate::ledger::{Check, Claim, Figure, Metric, Point, Reference, RowSpec, Scale, metric};

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
    n_seeds: |scale| match scale {
        Scale::Smoke => 2,
        Scale::Quick => 5,
        Scale::Paper => 20,
    },
    extra_parts: &[],
    run,
    rows: &[
        RowSpec::seeds("adversarial/the-teacher", "the teacher"),
        RowSpec::seeds(WATCHED, "60 000: labels alone, watched"),
        RowSpec::seeds("adversarial/60000/soft-labels", "60 000: soft labels").against(WATCHED),
        RowSpec::seeds("adversarial/60000/literal", "60 000: as printed").against(WATCHED),
        RowSpec::seeds("adversarial/60000/saturating", "60 000: sign corrected, saturating")
            .against(WATCHED),
        RowSpec::seeds(CORRECTED, "60 000: sign corrected, non-saturating").against(WATCHED),
        RowSpec::seeds("adversarial/60000/scheduled", "60 000: the same, with schedules")
            .against(WATCHED),
        RowSpec::seeds(
            "adversarial/60000/non-saturating-small",
            "60 000: non-saturating, weight 0.05",
        )
        .against(WATCHED),
        RowSpec::seeds("adversarial/60000/hinge", "60 000: hinge, weight 0.05").against(WATCHED),
        RowSpec::seeds("adversarial/60000/wasserstein", "60 000: Wasserstein, weight 0.05")
            .against(WATCHED),
        RowSpec::seeds("adversarial/60000/conditional", "60 000: conditioned on the class, 0.05")
            .against(WATCHED),
        RowSpec::seeds("adversarial/60000/hidden", "60 000: with hidden layers, 0.05")
            .against(WATCHED),
        RowSpec::seeds("adversarial/1000/watched", "1000: labels alone, watched"),
        RowSpec::seeds("adversarial/1000/soft-labels", "1000: soft labels")
            .against("adversarial/1000/watched"),
        RowSpec::seeds("adversarial/1000/literal", "1000: as printed")
            .against("adversarial/1000/watched"),
        RowSpec::seeds("adversarial/1000/saturating", "1000: sign corrected, saturating")
            .against("adversarial/1000/watched"),
        RowSpec::seeds("adversarial/1000/non-saturating", "1000: sign corrected, non-saturating")
            .against("adversarial/1000/watched"),
        RowSpec::seeds("adversarial/1000/scheduled", "1000: the same, with schedules")
            .against("adversarial/1000/watched"),
        RowSpec::seeds(
            "adversarial/1000/non-saturating-small",
            "1000: non-saturating, weight 0.05",
        )
        .against("adversarial/1000/watched"),
        RowSpec::seeds("adversarial/1000/hinge", "1000: hinge, weight 0.05")
            .against("adversarial/1000/watched"),
        RowSpec::seeds("adversarial/1000/wasserstein", "1000: Wasserstein, weight 0.05")
            .against("adversarial/1000/watched"),
        RowSpec::seeds("adversarial/1000/conditional", "1000: conditioned on the class, 0.05")
            .against("adversarial/1000/watched"),
        RowSpec::seeds("adversarial/1000/hidden", "1000: with hidden layers, 0.05")
            .against("adversarial/1000/watched"),
    ],
    claims: &[Claim {
        id: "C27",
        text: "Adversarial distillation: the discriminator's probability tends to one half on teacher and student alike, and \
            the student becomes as accurate as one of labels (within a point; no gain is claimed). (With the sign corrected, \
            60 000 objects, weight 1.)",
        published: &[],
        min_seeds: 5,
        checks: &[
            half(metric::TEACHER_PROBABILITY),
            half(metric::STUDENT_PROBABILITY),
            Check::Equivalent {
                metric: metric::ACCURACY,
                row: CORRECTED,
                to: WATCHED,
                margin: SAME_ACCURACY,
            },
        ],
    }],
    point: Point::Epoch,
    figures: &[
        Figure::Curves {
            title: "D's probability of the teacher, on the teacher's scores (figure 1), 60 000 objects",
            metric: metric::TEACHER_PROBABILITY,
            rows: &[
                "adversarial/60000/literal",
                "adversarial/60000/saturating",
                CORRECTED,
                WATCHED,
            ],
        },
        Figure::Curves {
            title: "D's probability of the teacher, on the student's scores (figure 1), 60 000 objects",
            metric: metric::STUDENT_PROBABILITY,
            rows: &[
                "adversarial/60000/literal",
                "adversarial/60000/saturating",
                CORRECTED,
                WATCHED,
            ],
        },
        Figure::Curves {
            title: "Accuracy on training objects (figure 2), 60 000 objects",
            metric: metric::TRAIN_ACCURACY,
            rows: &[WATCHED, "adversarial/60000/literal", CORRECTED, "adversarial/60000/hidden"],
        },
        Figure::Curves {
            title: "Accuracy on test objects (figure 2), 60 000 objects",
            metric: metric::ACCURACY,
            rows: &[WATCHED, "adversarial/60000/literal", CORRECTED, "adversarial/60000/hidden"],
        },
        Figure::Curves {
            title: "Accuracy on test objects, 1000 objects",
            metric: metric::ACCURACY,
            rows: &[
                "adversarial/1000/watched",
                "adversarial/1000/soft-labels",
                "adversarial/1000/non-saturating-small",
                "adversarial/1000/hidden",
            ],
        },
    ],
};

const fn half(metric: Metric) -> Check {
    Check::Near { metric, row: CORRECTED, value: 0.5, of: Reference::Range, within: ABOUT }
}
