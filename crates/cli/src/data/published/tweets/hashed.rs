//! Texts as vectors of a fixed width: their words and runs of words, hashed.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};
use candle_core::{Device, Tensor};
use core_tensors::fnv1a;

use super::words;

/// A fixed view of texts that needs no training: words and runs of neighbors, each at a place and with a sign that its
/// hash gives.
///
/// xⱼ = Σ_g s(g) ω(g) over the runs g of a text with place j, then x ← x / ‖x‖ (0 stays)
///
/// A run of several words is spelled with a blank between. With H the FNV-1a hash of 64 bits of the bytes of g, its place is
/// ⌊H / 2³²⌋ mod n and s(g) = −1 where bit 31 of H is set, else 1. The weights ω are 1, or
/// ω(g) = 1 + log((1 + m) / (1 + m_g)) with m_g of the m texts learned from holding g.
///
/// It stands in where the sentence vectors of a language model are not there; it is far from them. With few places most
/// runs share theirs with frequent ones, so that weights and long runs may do harm: with n = 768 a linear model of tweets
/// is best on words alone with weight 1.
///
/// Source: Weinberger et al. (2009), equation 2; the weights are scikit-learn's smooth ones.
#[derive(Clone, Debug)]
pub struct HashedWords {
    n: usize,
    longest: usize,
    frequencies: Option<Frequencies>,
}

#[derive(Clone, Debug)]
struct Frequencies {
    n_texts: usize,
    /// By hash.
    n_texts_with: HashMap<u64, u32>,
}

impl HashedWords {
    /// Vectors of `n` ≥ 1 numbers of runs of 1, …, `longest` ≥ 1 words, each with weight 1.
    pub fn new(n: usize, longest: usize) -> Result<Self> {
        if n == 0 || longest == 0 {
            bail!(
                "numbers of a text and words of a run: wanted at least 1, found {n} and {longest}"
            );
        }
        Ok(Self { n, longest, frequencies: None })
    }

    /// The same with runs weighted by how rare they are among texts to train on.
    pub fn weighted(self, texts: &[String]) -> Self {
        let mut n_texts_with: HashMap<u64, u32> = HashMap::new();
        for text in texts {
            for hash in self.hashes(text).into_iter().collect::<HashSet<_>>() {
                *n_texts_with.entry(hash).or_default() += 1;
            }
        }
        let frequencies = Some(Frequencies { n_texts: texts.len(), n_texts_with });
        Self { frequencies, ..self }
    }

    /// The vectors of texts, (m, n), f32.
    pub fn features(&self, texts: &[String], device: &Device) -> Result<Tensor> {
        let mut x = vec![0f32; texts.len() * self.n];
        for (row, text) in x.chunks_exact_mut(self.n).zip(texts) {
            for hash in self.hashes(text) {
                let sign = if hash & (1 << 31) == 0 { 1.0 } else { -1.0 };
                row[(hash >> 32) as usize % self.n] += sign * self.weight(hash);
            }
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            if norm > 0.0 {
                row.iter_mut().for_each(|x| *x /= norm);
            }
        }
        Ok(Tensor::from_vec(x, (texts.len(), self.n), device)?)
    }

    fn weight(&self, hash: u64) -> f32 {
        let Some(Frequencies { n_texts, n_texts_with }) = &self.frequencies else { return 1.0 };
        let with = n_texts_with.get(&hash).copied().unwrap_or(0);
        (1.0 + ((1.0 + *n_texts as f64) / (1.0 + f64::from(with))).ln()) as f32
    }

    /// The hashes of the runs of a text.
    fn hashes(&self, text: &str) -> Vec<u64> {
        let words = words(text);
        let runs = (1..=self.longest).flat_map(|length| words.windows(length));
        runs.map(|run| fnv1a(run.join(" ").as_bytes())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(hashed: &HashedWords, texts: &[&str]) -> Vec<Vec<f32>> {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        hashed.features(&texts, &Device::Cpu).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // Test vectors of draft-eastlake-fnv.
        let wanted = [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x8594_4171_f739_67e8];
        assert_eq!([&b""[..], b"a", b"foobar"].map(fnv1a), wanted);
    }

    #[test]
    fn a_word_goes_to_its_place_with_its_sign() {
        let hashed = HashedWords::new(768, 2).unwrap();
        // 0xaf63dc4c mod 768 = 588 (0xaf63dc4c = 2942557260) and bit 31 of 0x8601ec8c is set.
        assert_eq!(2_942_557_260u64 % 768, 588);
        let row = &rows(&hashed, &["a"])[0];
        assert_eq!(row[588], -1.0);
        assert_eq!(row.iter().filter(|&&x| x != 0.0).count(), 1);
    }

    #[test]
    fn vectors_have_length_one_and_know_the_order_of_words() {
        let hashed = HashedWords::new(768, 2).unwrap();
        let found = rows(&hashed, &["not bad , good", "not good , bad", "", "A  a a"]);
        for row in [&found[0], &found[1], &found[3]] {
            assert!((row.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-6);
        }
        assert_ne!(found[0], found[1]);
        let alone = rows(&HashedWords::new(768, 1).unwrap(), &["not bad , good", "not good , bad"]);
        assert_eq!(alone[0], alone[1]);
        assert!(found[2].iter().all(|&x| x == 0.0));
        // Three times a and twice its pair.
        assert!((found[3][588] + 3.0 / 13f32.sqrt()).abs() < 1e-6, "{}", found[3][588]);
    }

    #[test]
    fn rare_words_weigh_more() {
        let learned: Vec<String> =
            ["a", "a b", "b a", "a a"].iter().map(|&text| text.to_owned()).collect();
        let hashed = HashedWords::new(768, 2).unwrap().weighted(&learned);
        let weight = |gram: &str| f64::from(hashed.weight(fnv1a(gram.as_bytes())));
        let wanted = |with: f64| 1.0 + (5.0 / (1.0 + with)).ln();
        for (gram, with) in [("a", 4.0), ("b", 2.0), ("a b", 1.0), ("new", 0.0)] {
            assert!((weight(gram) - wanted(with)).abs() < 1e-6, "{gram}: {}", weight(gram));
        }
        assert!(HashedWords::new(0, 1).is_err() && HashedWords::new(1, 0).is_err());
    }
}
