//! Rows, claim and figures of Imagenette: tables 10 to 13 of paper 003, and a student that is smaller than its teacher.

use super::{run, settings};
use crate::data::published::IMAGENETTE;
use crate::data::published::weights::VGG19;
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Check, Claim, Figure, Part, Point, Published, RowSpec, metric};

/// The rows that C25 is about: images of 200 pixels, the whole set.
const NONE: &str = "imagenette-200/student/none/independent";
const BIG: &str = "imagenette-200/student/big/independent";
const STYLE: &str = "imagenette-200/student/style/independent";

/// Imagenette.
pub(in crate::experiments) static IMAGENETTE_STYLE: Experiment = Experiment {
    id: "domains-imagenette",
    title: "Teachers of another domain: styled pictures of Imagenette",
    source: "003",
    summary: "Students of Small (1000 pictures), teachers of Big (the other 8469, or 4000 where the copy has 5000), as it is or \
        styled. φ moves a picture's pixels three steps of 0.04 towards the Gram matrices of a painting; it is deterministic, so \
        that each picture is styled once. With all of VGG-19 its settings are the source's (five layers); with the first three \
        blocks they are our own: conv1_1, conv2_1, conv3_1, Gram matrices over c·h·w, content 1, style 10, clipped. Styled \
        pictures are kept as bytes, so that levels outside [0, 1], which the source does not clip, are clipped here. The \
        source's painting is not known: ours is drawn by a formula. At quick scale pictures have 64 pixels a side (32 at \
        smoke, under the same names) and networks half of the channels and one block fewer than the source's; these rows are not the source's, and C25 needs \
        `--scale paper` with the whole data set and all of VGG-19. The source's student is larger than its teacher; a smaller one stands \
        beside it. Pictures of a copy of 160 pixels are enlarged at 200.",
    data: &[IMAGENETTE, VGG19],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(3, 10).and(&[Part::Shared, Part::Source]),
    run,
    rows: &[
        RowSpec::segments(
            "imagenette-64/student/none/segments",
            "64 px, student as in the source, no teacher, segments",
        ),
        RowSpec::segments(
            "imagenette-64/student/big/segments",
            "64 px, student as in the source, teacher Big, segments",
        ),
        RowSpec::segments(
            "imagenette-64/student/style/segments",
            "64 px, student as in the source, teacher of styled pictures, segments",
        ),
        RowSpec::seeds(
            "imagenette-64/student/none/independent",
            "64 px, student as in the source, no teacher",
        ),
        RowSpec::seeds(
            "imagenette-64/student/big/independent",
            "64 px, student as in the source, teacher Big, no φ",
        )
        .against("imagenette-64/student/none/independent"),
        RowSpec::seeds(
            "imagenette-64/student/style/independent",
            "64 px, student as in the source, styled teacher, φ = style",
        )
        .against("imagenette-64/student/none/independent"),
        RowSpec::seeds(
            "imagenette-64/smaller/none/independent",
            "64 px, smaller student, no teacher",
        ),
        RowSpec::seeds(
            "imagenette-64/smaller/big/independent",
            "64 px, smaller student, teacher Big, no φ",
        )
        .against("imagenette-64/smaller/none/independent"),
        RowSpec::seeds(
            "imagenette-64/smaller/style/independent",
            "64 px, smaller student, styled teacher, φ = style",
        )
        .against("imagenette-64/smaller/none/independent"),
        RowSpec::seeds(
            "imagenette-64/smaller/style/without-map",
            "64 px, smaller student, styled teacher, no φ",
        )
        .against("imagenette-64/smaller/none/independent"),
        RowSpec::seeds(
            "imagenette-64/smaller/style/random-map",
            "64 px, smaller student, styled teacher, random φ",
        )
        .against("imagenette-64/smaller/none/independent"),
        RowSpec::seeds("imagenette-64/the-teacher/independent", "64 px, the teacher Big itself"),
        RowSpec::segments(
            "imagenette-200-part/student/none/segments",
            "200 px, part, student as in the source, no teacher, segments",
        ),
        RowSpec::segments(
            "imagenette-200-part/student/big/segments",
            "200 px, part, student as in the source, teacher Big, segments",
        ),
        RowSpec::segments(
            "imagenette-200-part/student/style/segments",
            "200 px, part, student as in the source, teacher of styled pictures, segments",
        ),
        RowSpec::seeds(
            "imagenette-200-part/student/none/independent",
            "200 px, part, student as in the source, no teacher",
        ),
        RowSpec::seeds(
            "imagenette-200-part/student/big/independent",
            "200 px, part, student as in the source, teacher Big, no φ",
        )
        .against("imagenette-200-part/student/none/independent"),
        RowSpec::seeds(
            "imagenette-200-part/student/style/independent",
            "200 px, part, student as in the source, styled teacher, φ = style",
        )
        .against("imagenette-200-part/student/none/independent"),
        RowSpec::seeds(
            "imagenette-200-part/smaller/none/independent",
            "200 px, part, smaller student, no teacher",
        ),
        RowSpec::seeds(
            "imagenette-200-part/smaller/big/independent",
            "200 px, part, smaller student, teacher Big, no φ",
        )
        .against("imagenette-200-part/smaller/none/independent"),
        RowSpec::seeds(
            "imagenette-200-part/smaller/style/independent",
            "200 px, part, smaller student, styled teacher, φ = style",
        )
        .against("imagenette-200-part/smaller/none/independent"),
        RowSpec::seeds(
            "imagenette-200-part/smaller/style/without-map",
            "200 px, part, smaller student, styled teacher, no φ",
        )
        .against("imagenette-200-part/smaller/none/independent"),
        RowSpec::seeds(
            "imagenette-200-part/smaller/style/random-map",
            "200 px, part, smaller student, styled teacher, random φ",
        )
        .against("imagenette-200-part/smaller/none/independent"),
        RowSpec::seeds(
            "imagenette-200-part/the-teacher/independent",
            "200 px, part, the teacher Big itself",
        ),
        RowSpec::segments(
            "imagenette-200/student/none/segments",
            "200 px, student as in the source, no teacher, segments",
        ),
        RowSpec::segments(
            "imagenette-200/student/big/segments",
            "200 px, student as in the source, teacher Big, segments",
        ),
        RowSpec::segments(
            "imagenette-200/student/style/segments",
            "200 px, student as in the source, teacher of styled pictures, segments",
        ),
        RowSpec::seeds(
            "imagenette-200/student/none/independent",
            "200 px, student as in the source, no teacher",
        ),
        RowSpec::seeds(
            "imagenette-200/student/big/independent",
            "200 px, student as in the source, teacher Big, no φ",
        )
        .against("imagenette-200/student/none/independent"),
        RowSpec::seeds(
            "imagenette-200/student/style/independent",
            "200 px, student as in the source, styled teacher, φ = style",
        )
        .against("imagenette-200/student/none/independent"),
        RowSpec::seeds(
            "imagenette-200/smaller/none/independent",
            "200 px, smaller student, no teacher",
        ),
        RowSpec::seeds(
            "imagenette-200/smaller/big/independent",
            "200 px, smaller student, teacher Big, no φ",
        )
        .against("imagenette-200/smaller/none/independent"),
        RowSpec::seeds(
            "imagenette-200/smaller/style/independent",
            "200 px, smaller student, styled teacher, φ = style",
        )
        .against("imagenette-200/smaller/none/independent"),
        RowSpec::seeds(
            "imagenette-200/smaller/style/without-map",
            "200 px, smaller student, styled teacher, no φ",
        )
        .against("imagenette-200/smaller/none/independent"),
        RowSpec::seeds(
            "imagenette-200/smaller/style/random-map",
            "200 px, smaller student, styled teacher, random φ",
        )
        .against("imagenette-200/smaller/none/independent"),
        RowSpec::seeds("imagenette-200/the-teacher/independent", "200 px, the teacher Big itself"),
    ],
    claims: &[Claim {
        id: "C25",
        text: "Imagenette: the teacher Big helps most, the teacher of styled pictures less, both more than no teacher.",
        published: &[
            Published::new("imagenette-200/student/big/segments", metric::ACCURACY, 0.465, 0.005),
            Published::new("imagenette-200/student/none/segments", metric::ACCURACY, 0.363, 0.017),
            Published::new("imagenette-200/student/style/segments", metric::ACCURACY, 0.411, 0.008),
            Published::new(
                "imagenette-200/student/none/segments",
                metric::CROSS_ENTROPY,
                3.849,
                0.866,
            ),
            Published::new(
                "imagenette-200/student/big/segments",
                metric::CROSS_ENTROPY,
                1.876,
                0.066,
            ),
            Published::new(
                "imagenette-200/student/style/segments",
                metric::CROSS_ENTROPY,
                2.131,
                0.093,
            ),
            Published::new(
                "imagenette-200/student/none/segments",
                metric::INTEGRAL,
                46.615,
                11.498,
            ),
            Published::new("imagenette-200/student/big/segments", metric::INTEGRAL, 26.488, 0.996),
            Published::new(
                "imagenette-200/student/style/segments",
                metric::INTEGRAL,
                29.476,
                1.495,
            ),
        ],
        min_seeds: 3,
        checks: &[higher(BIG, STYLE), higher(STYLE, NONE), higher(BIG, NONE)],
    }],
    point: Point::Epoch,
    figures: &[
        Figure::curves(
            "Test cross-entropy at 64 pixels, the source's student (figure 14)",
            metric::CROSS_ENTROPY,
            &[
                "imagenette-64/student/none/independent",
                "imagenette-64/student/big/independent",
                "imagenette-64/student/style/independent",
            ],
        ),
        Figure::curves(
            "Test accuracy at 64 pixels, the smaller student",
            metric::ACCURACY,
            &[
                "imagenette-64/smaller/none/independent",
                "imagenette-64/smaller/big/independent",
                "imagenette-64/smaller/style/independent",
            ],
        ),
        Figure::Images {
            title: "Pictures of Small before and after φ, and the painting (figure 13)",
            channels: 3,
            columns: 10,
            rows: &[("before", "x", 10), ("styled", "φ(x)", 10), ("painting", "painting", 1)],
        },
        Figure::curves(
            "Test cross-entropy at 200 pixels, the source's student (figure 14)",
            metric::CROSS_ENTROPY,
            &[NONE, BIG, STYLE],
        ),
    ],
};

const fn higher(row: &'static str, than: &'static str) -> Check {
    Check::better(metric::ACCURACY, row, than)
}
