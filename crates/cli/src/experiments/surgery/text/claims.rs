//! Rows, claims and figures of a BERT made narrower; the numbers of the reference are of the same network and tweets.

use super::{run, settings};
use crate::experiments::surgery::words::{Lines, SAME};
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Check, Claim, Figure, Part, Point, Published, RowSpec, metric};

/// Numbers of another program: a row's cosine and accuracy.
macro_rules! both {
    ($($row:literal $cosine:literal $accuracy:literal),* $(,)?) => {
        &[$(
            Published::plain($row, metric::COSINE, $cosine),
            Published::plain($row, metric::ACCURACY, $accuracy),
        )*]
    };
}

/// A network of six layers that others have trained.
pub(in crate::experiments) static TEXT: Experiment = Experiment {
    id: "surgery-text",
    title: "A sentence encoder made narrower on tweets: feed-forward units of all layers",
    source: "",
    summary: "all-MiniLM-L6-v2, a BERT of six layers with 384 numbers a token: of the 1536 feed-forward units of each layer 768 \
        or 384 stay. 256 training tweets of 64 tokens at most serve to narrow it (at paper scale also 1024), without labels and \
        without training; padding does not count. Surgery is what users get: damping and repair are chosen map by map on a held-out \
        fifth of these tweets; G = I. The plain reference has one damping of 1e-6 and no repair. Measured on 1000 test tweets: the \
        cosine to the original network's sentence vectors (mean of the tokens, length 1), and the accuracy of a logistic \
        regression that was fitted to the original vectors of 3000 training tweets (ridge 1e-4) and stays as it is. No test \
        tweet chooses anything. The reference is peers/minilm_torch.py (PyTorch 2.15), with the same tweets; with 1024 of them \
        its repair at a damping of .01 is as good as none, with 256 it over-fits at every damping (cosine .927 without; .903, .908, \
        .919 with repair at 1e-6, .01, .1). One run: nothing has a seed. Where the network or the lists of tweets are not at \
        hand, nothing is run.",
    data: &["twitter", "all-MiniLM-L6-v2"],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::seeds(0, 0).and(&[Part::Shared]),
    run,
    rows: singles!(
        ["surgery" "surgery";
            "plain" "plain reference";
            "wanda-least-squares" "Wanda's choice and least squares";
            "wanda" "Wanda";
            "magnitude" "magnitude";]
        ("surgery/minilm/768" "768 of 1536 units, 256 tweets: ")
        ("surgery/minilm/384" "384 of 1536 units, 256 tweets: ")
        ("surgery/minilm/768-more" "768 of 1536 units, 1024 tweets: ");
        ["whole" "all-MiniLM-L6-v2";]
        ("surgery/minilm" "")
    ),
    claims: &[
        Claim {
            id: "S13",
            text: "A BERT on 256 tweets: the plain reference makes in this program what it makes in PyTorch, by cosine and by \
                accuracy. (Published beside it: the reference's other ways.)",
            published: both!(
                "surgery/minilm/768/plain" 0.927 0.744,
                "surgery/minilm/384/plain" 0.847 0.730,
                "surgery/minilm/768/wanda-least-squares" 0.919 0.736,
                "surgery/minilm/384/wanda-least-squares" 0.834 0.719,
                "surgery/minilm/768/wanda" 0.736 0.704,
                "surgery/minilm/384/wanda" 0.618 0.692,
                "surgery/minilm/768/magnitude" 0.664 0.705,
                "surgery/minilm/384/magnitude" 0.552 0.699,
            ),
            min_seeds: 1,
            checks: &[
                Check::reaches(metric::COSINE, "surgery/minilm/768/plain", 0.927, SAME),
                Check::reaches(metric::ACCURACY, "surgery/minilm/768/plain", 0.744, SAME),
                Check::reaches(metric::COSINE, "surgery/minilm/384/plain", 0.847, SAME),
                Check::reaches(metric::ACCURACY, "surgery/minilm/384/plain", 0.730, SAME),
            ],
        },
        Claim {
            id: "S14",
            text: "A BERT on 256 tweets, of which repair at any damping over-fits: surgery, which chooses on held-out tweets, is not \
                worse than the plain reference in PyTorch.",
            published: &[],
            min_seeds: 1,
            checks: &[
                Check::reaches(metric::COSINE, "surgery/minilm/768/surgery", 0.927, SAME),
                Check::reaches(metric::ACCURACY, "surgery/minilm/768/surgery", 0.744, SAME),
                Check::reaches(metric::COSINE, "surgery/minilm/384/surgery", 0.847, SAME),
                Check::reaches(metric::ACCURACY, "surgery/minilm/384/surgery", 0.730, SAME),
            ],
        },
        Claim {
            id: "S15",
            text: "More text helps: with 1024 tweets the plain reference and surgery reach the cosines of the reference without repair \
                and with it.",
            published: &[
                Published::plain("surgery/minilm/768-more/plain", metric::COSINE, 0.937),
                Published::plain("surgery/minilm/768-more/surgery", metric::COSINE, 0.936),
            ],
            min_seeds: 1,
            checks: &[
                Check::reaches(metric::COSINE, "surgery/minilm/768-more/plain", 0.937, SAME),
                Check::reaches(metric::COSINE, "surgery/minilm/768-more/surgery", 0.936, SAME),
            ],
        },
    ],
    point: Point::Parameters,
    figures: &[
        Figure::cross(
            "all-MiniLM-L6-v2, cosine to the original's sentence vectors by units and tweets",
            metric::COSINE,
            SIZES,
            WAYS,
        ),
        Figure::cross(
            "all-MiniLM-L6-v2, accuracy of the classifier of the original's vectors by units and tweets",
            metric::ACCURACY,
            SIZES,
            WAYS,
        ),
    ],
};

const SIZES: &[&str] = &["768, 256 tweets", "384, 256 tweets", "768, 1024 tweets"];
const WAYS: Lines = lines!(
    ["surgery/minilm/768" "surgery/minilm/384" "surgery/minilm/768-more"];
    "surgery" "surgery",
    "plain" "plain reference",
    "wanda-least-squares" "Wanda's choice and least squares",
    "wanda" "Wanda",
    "magnitude" "magnitude",
);
