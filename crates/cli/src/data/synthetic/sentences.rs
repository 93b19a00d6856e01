//! Made-up short texts of likes and dislikes, for when tweets are not there.

use core_tensors::Rng;

use super::images::chance;

/// Probability that a text has the other class than its words say, as labels by emoticon do.
const NOISE: f64 = 0.1;
/// Words that say what is felt: negative ones, positive ones.
const FEELINGS: [[&str; 20]; 2] = [
    [
        "sad", "awful", "bad", "tired", "boring", "horrible", "sick", "terrible", "lonely", "ugly",
        "annoying", "gross", "scary", "painful", "broken", "lost", "angry", "useless", "late",
        "cold",
    ],
    [
        "happy",
        "great",
        "good",
        "awesome",
        "fun",
        "lovely",
        "sweet",
        "wonderful",
        "amazing",
        "cute",
        "excited",
        "nice",
        "cool",
        "perfect",
        "brilliant",
        "ready",
        "proud",
        "useful",
        "early",
        "warm",
    ],
];
/// What one does about it, likewise.
const VERBS: [[&str; 8]; 2] = [
    ["hate", "miss", "regret", "can't stand", "dread", "lost", "wasted", "am sick of"],
    ["love", "enjoy", "adore", "like", "thank you for", "found", "won", "look forward to"],
];
/// Words that lean to a class without deciding it, likewise.
const LEANING: [[&str; 10]; 2] = [
    ["rain", "homework", "monday", "exam", "headache", "traffic", "dentist", "work", "bill", "flu"],
    ["sun", "party", "friday", "holiday", "music", "coffee", "beach", "friends", "cake", "summer"],
];
/// Probability that the topic of a text leans to its class.
const LEANS: f64 = 0.65;
const TOPICS: [&str; 30] = [
    "phone", "house", "movie", "game", "song", "book", "show", "car", "dog", "cat", "dinner",
    "school", "class", "week", "night", "morning", "weather", "city", "train", "flight", "team",
    "boss", "sister", "brother", "computer", "garden", "store", "job", "photo", "video",
];
const OPENINGS: [&str; 12] = [
    "",
    "",
    "",
    "@ann_lee ",
    "@Bob ",
    "omg ",
    "well, ",
    "ok so ",
    "lol ",
    "ugh ",
    "RT @news: ",
    "hey! ",
];
const SUBJECTS: [&str; 8] = ["the", "my", "this", "our", "the new", "that old", "your", "today's"];
const ENDINGS: [&str; 10] =
    ["", "", ".", "!!", "...", " haha", " :/", " #fact", " http://bit.ly/x1Yz", " &amp; that's it"];

/// `n` texts in random order of classes, 0 = negative and 1 = positive; counts differ by at most one.
///
/// A text says one thing, or the opposite of it under a negation, or first one thing and after "but" the other, which
/// counts: so the order of words matters. One in ten has the wrong class.
pub(crate) fn draw(n: usize, rng: &mut Rng) -> (Vec<String>, Vec<u32>) {
    let labels: Vec<u32> = rng.permutation(n).into_iter().map(|i| (i % 2) as u32).collect();
    let texts = labels.iter().map(|&label| {
        let says = if chance(rng, NOISE) { 1 - label } else { label };
        text(says as usize, rng)
    });
    (texts.collect(), labels)
}

fn text(class: usize, rng: &mut Rng) -> String {
    let mut text = pick(&OPENINGS, rng).to_owned();
    if chance(rng, 0.2) {
        text.push_str(&clause(1 - class, rng));
        text.push_str(if chance(rng, 0.5) { " but " } else { ", but " });
    }
    text.push_str(&clause(class, rng));
    if chance(rng, 0.2) {
        text.push_str(&format!(" at {}", 1 + rng.below(12)));
    }
    text.push_str(pick(&ENDINGS, rng));
    if chance(rng, 0.3) { stretched(&text, rng) } else { text }
}

/// One statement that feels so.
fn clause(class: usize, rng: &mut Rng) -> String {
    let topic = if chance(rng, 0.5) {
        let leaning = if chance(rng, LEANS) { class } else { 1 - class };
        pick(&LEANING[leaning], rng)
    } else {
        pick(&TOPICS, rng)
    };
    let (subject, other) = (pick(&SUBJECTS, rng), 1 - class);
    match rng.below(8) {
        0 | 1 => format!("i {} {subject} {topic}", pick(&VERBS[class], rng)),
        2 | 3 => format!("{subject} {topic} is so {}", pick(&FEELINGS[class], rng)),
        4 => format!("{subject} {topic} is not {}", pick(&FEELINGS[other], rng)),
        5 => format!("i don't think {subject} {topic} was {}", pick(&FEELINGS[other], rng)),
        _ => format!("feeling {} about {subject} {topic}", pick(&FEELINGS[class], rng)),
    }
}

/// The text with one of its letters a few times over, which makes a rare word.
fn stretched(text: &str, rng: &mut Rng) -> String {
    let at = rng.below(text.len());
    let (before, behind) = text.split_at(at);
    match behind.chars().next() {
        Some(c) if c.is_alphabetic() => {
            let again = c.to_string().repeat(1 + rng.below(3));
            format!("{before}{again}{behind}")
        }
        _ => text.to_owned(),
    }
}

fn pick<'a>(words: &[&'a str], rng: &mut Rng) -> &'a str {
    words[rng.below(words.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_texts() {
        let first = draw(200, &mut Rng::new(0));
        assert_eq!(first, draw(200, &mut Rng::new(0)));
        assert_ne!(first, draw(200, &mut Rng::new(1)));
    }

    #[test]
    fn classes_are_balanced_and_texts_are_plain() {
        let (texts, labels) = draw(1001, &mut Rng::new(2));
        let n_positive = labels.iter().filter(|&&label| label == 1).count();
        assert!(n_positive == 500 || n_positive == 501);
        assert!(
            texts.iter().all(|text| text.is_ascii() && !text.contains('\n') && text.len() > 10)
        );
        assert_eq!(draw(0, &mut Rng::new(0)), (vec![], vec![]));
    }
}
