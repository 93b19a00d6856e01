//! Rows, claim and figures of the tweets.

use super::{run, settings};
use crate::data::published::bert::BERT_BASE;
use crate::data::published::tweets::ID;
use crate::experiments::{Experiment, Parts};
use crate::ledger::{Check, Claim, Figure, Point, Published, metric};

/// The rows that C16 is about: the whole of Sentiment140, a student of BERT's vectors.
const NONE: &str = "twitter/none";
const TEACHER: &str = "twitter/teacher";

/// Tweets.
pub(in crate::experiments) static TWEETS: Experiment = Experiment {
    id: "tweets",
    title: "Sentiment of tweets: a teacher that reads words, a student of 768 numbers",
    source: "004, 000",
    summary: "The teacher, a Bi-LSTM with embeddings of 100 numbers and 100 units a direction, sees the words of a tweet in order; the \
        linear student (1538 parameters) sees 768 frozen numbers: its words, hashed, a substitute that is named so, and, where a \
        BERT is at hand, that network's sentence vectors. One training text in ten is held \
        out by each seed and chooses the passes of the teacher and of the linear model on the same words, and λ and T of \
        (1 − λ) CE + λ T² soft CE; λ = 0 is among the choices. In place of the teacher: labels smoothed to the mean entropy of \
        its answers. A second teacher has also learned from 98 000 tweets of other days, where they are at hand, in two passes and with \
        words that occur five times. At quick scale at most 16 000 and 4000 of the texts are taken. The source's \
        own rows want all of Sentiment140 (1.58 million tweets) and BERT; its λ, T, epochs and \
        preprocessing of punctuation are not known.",
    data: &[ID, BERT_BASE.name],
    settings: |scale| Ok(serde_json::to_value(settings(scale))?),
    parts: Parts::USUAL,
    run,
    rows: rows!(
        [("tweets")] {
            { "bag-of-words" => "linear model on the words"; }
            against "bag-of-words" {
                "teacher" => "the teacher, a Bi-LSTM on the words";
                "bag-of-words-more" => "linear model, with 98 000 more texts";
            }
            against "bag-of-words-more" { "teacher-more" => "a Bi-LSTM with 98 000 more texts"; }
        }
        [("tweets-hashed")] {
            { "none" => "768 hashed words, no teacher"; }
            against "none" {
                "smoothed-labels" => "hashed, smoothed labels";
                "teacher" => "hashed, with the teacher";
                "teacher-more" => "hashed, with the teacher of more texts";
            }
        }
        [("tweets-bert", "BERT, a part")] {
            { "none" => " of the tweets, no teacher"; }
            against "none" {
                "smoothed-labels" => ", smoothed labels";
                "teacher" => ", with the teacher";
                "teacher-more" => ", with the teacher of more texts";
            }
        }
        [("twitter", "BERT, all tweets")] {
            { "none" => ", no teacher"; }
            against "none" {
                "smoothed-labels" => ", smoothed labels";
                "teacher" => ", with the teacher";
            }
        }
    ),
    claims: &[Claim {
        id: "C16",
        text: "Twitter: with a teacher the student gains 1.7 points of accuracy. (Needs the whole data set, BERT and the \
            scale paper; rows of substitutes have other names.)",
        published: &[
            Published::new(TEACHER, metric::ACCURACY, 0.764, 0.004),
            Published::new(NONE, metric::ACCURACY, 0.747, 0.005),
            Published::new(TEACHER, metric::CROSS_ENTROPY, 0.489, 0.003),
            Published::new(NONE, metric::CROSS_ENTROPY, 0.501, 0.006),
            Published::new(TEACHER, metric::MAX_MIN, 0.79, 0.17),
            Published::new(NONE, metric::MAX_MIN, 0.83, 0.22),
        ],
        min_seeds: 3,
        checks: &[
            Check::better(metric::ACCURACY, TEACHER, NONE),
            Check::better(metric::CROSS_ENTROPY, TEACHER, NONE),
        ],
    }],
    point: Point::Epoch,
    figures: &[
        Figure::curves(
            "Test cross-entropy, 768 hashed words",
            metric::CROSS_ENTROPY,
            &[
                "tweets-hashed/none",
                "tweets-hashed/smoothed-labels",
                "tweets-hashed/teacher",
                "tweets-hashed/teacher-more",
            ],
        ),
        Figure::curves(
            "Test accuracy, 768 hashed words",
            metric::ACCURACY,
            &[
                "tweets-hashed/none",
                "tweets-hashed/smoothed-labels",
                "tweets-hashed/teacher",
                "tweets-hashed/teacher-more",
            ],
        ),
        Figure::curves(
            "Test cross-entropy, sentence vectors of BERT",
            metric::CROSS_ENTROPY,
            &["tweets-bert/none", "tweets-bert/smoothed-labels", "tweets-bert/teacher"],
        ),
    ],
};
