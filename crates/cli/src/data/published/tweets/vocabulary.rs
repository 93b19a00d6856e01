//! Numbers of words, learned from texts to train on.

use std::cmp::Reverse;
use std::collections::HashMap;

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};

use super::words;

/// The words that have a number of their own.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    numbers: HashMap<String, u32>,
}

/// Texts as numbers of their words.
#[derive(Clone, Debug)]
pub struct Numbered {
    /// (m, L), u32, padded with [`Vocabulary::PADDING`] behind the last word.
    pub x: Tensor,
    /// Texts that were cut.
    pub n_cut: usize,
    /// Words cut off.
    pub n_dropped: usize,
    /// Words that stayed without a number of their own.
    pub n_unknown: usize,
}

impl Vocabulary {
    /// Behind the last word of a text.
    pub const PADDING: u32 = 0;
    /// A word outside the vocabulary.
    pub const UNKNOWN: u32 = 1;

    /// The words that occur `at_least` times in some texts, numbered from 2 by falling frequency, then by alphabet.
    ///
    /// Give it texts to train on alone: one that has seen the others has learned from them.
    pub fn new(texts: &[String], at_least: usize) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for word in texts.iter().flat_map(|text| words(text)) {
            *counts.entry(word).or_default() += 1;
        }
        let mut kept: Vec<(String, usize)> =
            counts.into_iter().filter(|&(_, count)| count >= at_least).collect();
        kept.sort_unstable_by(|(a, m), (b, n)| (Reverse(m), a).cmp(&(Reverse(n), b)));
        let words = kept.into_iter().map(|(word, _)| word);
        Self { numbers: words.zip(Self::UNKNOWN + 1..).collect() }
    }

    /// Rows of an embedding table: the words, the unknown one, and padding.
    pub fn n_words(&self) -> usize {
        self.numbers.len() + Self::UNKNOWN as usize + 1
    }

    /// The number of a word as [`words`] spells it.
    pub fn number(&self, word: &str) -> u32 {
        self.numbers.get(word).copied().unwrap_or(Self::UNKNOWN)
    }

    /// The numbers of texts, L that of the longest and at most `longest` ≥ 1, whose first words stay.
    pub fn encode(&self, texts: &[String], longest: usize, device: &Device) -> Result<Numbered> {
        if longest == 0 {
            bail!("words of a text: wanted at least 1, found 0");
        }
        let (mut n_cut, mut n_dropped, mut n_unknown) = (0, 0, 0);
        let mut rows = Vec::with_capacity(texts.len());
        for text in texts {
            let mut row: Vec<u32> = words(text).iter().map(|word| self.number(word)).collect();
            n_cut += usize::from(row.len() > longest);
            n_dropped += row.len().saturating_sub(longest);
            row.truncate(longest);
            n_unknown += row.iter().filter(|&&number| number == Self::UNKNOWN).count();
            rows.push(row);
        }
        let n_columns = rows.iter().map(Vec::len).max().unwrap_or(0).max(1);
        rows.iter_mut().for_each(|row| row.resize(n_columns, Self::PADDING));
        let x = Tensor::from_vec(rows.concat(), (texts.len(), n_columns), device)?;
        Ok(Numbered { x, n_cut, n_dropped, n_unknown })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn frequent_words_come_first_and_rare_ones_are_unknown() {
        let vocabulary = Vocabulary::new(&texts(&["b a b", "C c a b", "rare !"]), 2);
        let numbers = ["b", "a", "c", "rare", "!", ""].map(|word| vocabulary.number(word));
        assert_eq!(numbers, [2, 3, 4, 1, 1, 1]);
        assert_eq!(vocabulary.n_words(), 5);
        // Every word occurs at least once, and no word is a word too.
        assert_eq!(Vocabulary::new(&texts(&["b a b", ""]), 0).n_words(), 4);
    }

    #[test]
    fn texts_are_padded_to_the_longest_and_cut_to_the_cap() {
        let vocabulary = Vocabulary::new(&texts(&["a a b"]), 1);
        let some = texts(&["a b", "", "b b b a new a"]);
        let encode = |longest| vocabulary.encode(&some, longest, &Device::Cpu).unwrap();
        let whole = encode(9);
        let wanted = [[2, 3, 0, 0, 0, 0], [0; 6], [3, 3, 3, 2, 1, 2]];
        assert_eq!(whole.x.to_vec2::<u32>().unwrap(), wanted);
        assert_eq!((whole.n_cut, whole.n_dropped, whole.n_unknown), (0, 0, 1));
        let cut = encode(4);
        let wanted = [[2, 3, 0, 0], [0; 4], [3, 3, 3, 2]];
        assert_eq!(cut.x.to_vec2::<u32>().unwrap(), wanted);
        assert_eq!((cut.n_cut, cut.n_dropped, cut.n_unknown), (1, 2, 0));
    }

    #[test]
    fn texts_without_a_word_have_one_column() {
        let vocabulary = Vocabulary::new(&[], 1);
        let dims = |some: &[&str]| {
            let encoded = vocabulary.encode(&texts(some), 5, &Device::Cpu).unwrap();
            encoded.x.dims().to_vec()
        };
        assert_eq!((dims(&["", " "]), dims(&[])), (vec![2, 1], vec![0, 1]));
        assert!(vocabulary.encode(&[], 0, &Device::Cpu).is_err());
    }
}
