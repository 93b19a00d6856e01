//! Examples in three parts: one to work with, one to choose by, one to judge by.

use std::collections::HashMap;

use anyhow::{Result, bail};
use candle_core::DType;
use core_tensors::{Rng, Targets, fnv1a};

use super::prepared::Prepared;

/// Indices of the examples for calibration, validation and test, each in ascending order; together every example once.
///
/// `shares` are those of validation and test. Each class is split by these shares, what a fraction leaves over going to the
/// part with the largest remainder, and a class of three examples or more is in every part that has a share; values and
/// examples without labels are split as one class.
pub(crate) fn split(
    prepared: &Prepared,
    shares: [f64; 2],
    rng: &mut Rng,
) -> Result<[Vec<usize>; 3]> {
    let [validation, test] = shares;
    let is_share = |share: f64| (0.0..1.0).contains(&share);
    if !is_share(validation) || !is_share(test) || validation + test >= 1.0 {
        bail!(
            "expected shares of validation and test data of 0 or more, together below 1, found {validation} and {test}"
        );
    }
    let shares = [1.0 - validation - test, validation, test];
    let m = prepared.n_examples();
    let mut parts = [const { Vec::new() }; 3];
    for (class, members) in classes(prepared)?.into_iter().enumerate() {
        let counts = counts(members.len(), shares, class);
        let mut order = rng.permutation(members.len()).into_iter().map(|i| members[i]);
        for (part, n) in parts.iter_mut().zip(counts) {
            part.extend(order.by_ref().take(n));
        }
    }
    let is_missing = |(part, share): (&Vec<usize>, &f64)| part.is_empty() && *share > 0.0;
    if parts.iter().zip(&shares).any(is_missing) {
        bail!(
            "{}: expected enough examples for calibration, validation and test, found {m}",
            prepared.name
        );
    }
    parts.iter_mut().for_each(|part| part.sort_unstable());
    Ok(parts)
}

/// The examples of each class that occurs; all of them where there are no classes.
fn classes(prepared: &Prepared) -> Result<Vec<Vec<usize>>> {
    let m = prepared.n_examples();
    let mut classes = match &prepared.targets {
        Some(Targets::Classes { labels, n_classes }) => {
            let mut classes = vec![Vec::new(); *n_classes];
            for (i, label) in labels.to_vec1::<u32>()?.into_iter().enumerate() {
                if let Some(class) = classes.get_mut(label as usize) {
                    class.push(i);
                }
            }
            classes
        }
        Some(Targets::Values(_)) | None => vec![(0..m).collect()],
    };
    classes.retain(|class| !class.is_empty());
    Ok(classes)
}

/// How many of `n` go to each part: the whole part of its share, and one more to the largest remainders, among equal ones to
/// the part `first` and those after it.
fn counts(n: usize, shares: [f64; 3], first: usize) -> [usize; 3] {
    let quotas = shares.map(|share| share * n as f64);
    let mut counts = quotas.map(|quota| quota.floor() as usize);
    let mut order = [0, 1, 2];
    // Equal remainders go to another part first for each class: many small classes then add up to the shares.
    order.rotate_left(first % 3);
    order.sort_by(|&i, &j| quotas[j].fract().total_cmp(&quotas[i].fract()));
    let mut left = n.saturating_sub(counts.iter().sum());
    for i in order.into_iter().cycle().filter(|&i| shares[i] > 0.0) {
        if left == 0 {
            break;
        }
        counts[i] += 1;
        left -= 1;
    }
    if n >= counts.len() {
        for i in 0..counts.len() {
            if counts[i] > 0 || shares[i] == 0.0 {
                continue;
            }
            let mut largest = 0;
            for j in 1..counts.len() {
                if counts[j] > counts[largest] {
                    largest = j;
                }
            }
            counts[largest] -= 1;
            counts[i] += 1;
        }
    }
    counts
}

/// How many examples equal one of an earlier part, number by number: what is judged on them was seen before.
pub(crate) fn duplicates_across(prepared: &Prepared, parts: &[Vec<usize>]) -> Result<usize> {
    let m = prepared.n_examples();
    let n: usize = prepared.x.dims().iter().skip(1).product();
    let x = prepared.x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
    let row = |i: usize| x.get(i * n..(i + 1) * n).unwrap_or_default();
    let hash = |i: usize| {
        let bytes: Vec<u8> =
            row(i).iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
        fnv1a(&bytes)
    };
    let mut seen: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut n_duplicates = 0;
    for part in parts {
        let hashes: Vec<u64> = part.iter().map(|&i| if i < m { hash(i) } else { 0 }).collect();
        let is_seen = |(&i, hash): (&usize, &u64)| {
            let is_same = |&j: &usize| row(i) == row(j);
            seen.get(hash).is_some_and(|others| others.iter().any(is_same))
        };
        n_duplicates += part.iter().zip(&hashes).filter(|&(i, hash)| is_seen((i, hash))).count();
        for (&i, hash) in part.iter().zip(hashes) {
            let others = seen.entry(hash).or_default();
            // One of equal examples is enough, or many equal ones would be compared with each other.
            if !others.iter().any(|&j| row(i) == row(j)) {
                others.push(i);
            }
        }
    }
    Ok(n_duplicates)
}

#[cfg(test)]
mod tests;
