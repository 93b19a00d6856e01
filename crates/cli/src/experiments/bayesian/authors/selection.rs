//! Which weights of a teacher its student gets: random units, their right weights or the authors' scrambled ones.

use crate::data::synthetic::legacy::NumpyRandom;
use anyhow::{Result, ensure};
use bayes_posterior::{Diagonal, EditOptions, Gaussian, Posterior, align, transform};
use models::{Architecture, Mlp};

/// How a student comes from its teacher.
pub(super) struct Cut {
    /// Widths of the student.
    pub(super) student: &'static [usize],
    /// The hidden layer of the teacher that is removed, counted from 1; the others keep as many units as the student has.
    pub(super) removed: Option<usize>,
}

/// Which weights are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Those between kept units.
    Correct,
    /// The authors' index bug: the mask of a block, laid out (in, out), is flattened and read as if it were (out, in),
    /// the layout of the weights. The right number of weights of the right block, at the wrong positions; biases are right.
    Scrambled,
}

impl Cut {
    /// Layers of the teacher that stay, inputs first.
    fn layers(&self, teacher: &[usize]) -> Vec<usize> {
        (0..teacher.len()).filter(|&layer| Some(layer) != self.removed).collect()
    }

    /// Kept units of each layer that stays, ascending: uniform subsets, drawn layer by layer after `numpy.random.seed`.
    pub(super) fn kept_units(&self, teacher: &[usize], seed: u32) -> Result<Vec<Vec<usize>>> {
        let layers = self.layers(teacher);
        ensure!(
            layers.len() == self.student.len(),
            "a student of {} layers wanted as many of its teacher, found {}",
            self.student.len(),
            layers.len()
        );
        let mut numpy = NumpyRandom::new(seed);
        let draw = |(&layer, &n): (&usize, &usize)| {
            // Inputs and outputs are drawn too, all of them.
            let mut units = numpy.choice_without_replacement(teacher[layer] as u32, n)?;
            units.sort_unstable();
            Ok(units.into_iter().map(|unit| unit as usize).collect())
        };
        layers.iter().zip(self.student).map(draw).collect()
    }

    /// Means and logarithms of variances of the student's parameters out of those of the teacher's.
    ///
    /// Behind a removed layer kept unit k of the layer before it takes the place of unit k.
    pub(super) fn select(
        &self,
        (teacher, student): (&Mlp, &Mlp),
        kept: &[Vec<usize>],
        selection: Selection,
        (mean, log_variance): (&[f64], &[f64]),
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        match selection {
            Selection::Correct => self.correct((teacher, student), kept, (mean, log_variance)),
            Selection::Scrambled => {
                let indices = self.scrambled(&teacher.widths, kept);
                let pick = |values: &[f64]| indices.iter().map(|&i| values[i]).collect();
                Ok((pick(mean), pick(log_variance)))
            }
        }
    }

    /// Theorems 1 and 2 on the teacher's Gaussian.
    fn correct(
        &self,
        (teacher, student): (&Mlp, &Mlp),
        kept: &[Vec<usize>],
        (mean, log_variance): (&[f64], &[f64]),
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        let covariance = Diagonal::new(log_variance.iter().map(|v| v.exp()).collect())?;
        let gaussian = Gaussian::new(teacher.layout(), mean.to_vec(), covariance)?;
        let layers = self.layers(&teacher.widths);
        let dropped: Vec<usize> = self.removed.into_iter().collect();
        let plan = align(teacher, student, &dropped, |layer| {
            let units = layers.iter().position(|&l| l == layer).map(|index| &kept[index]);
            let stays = |unit: &usize| units.is_none_or(|units| units.contains(unit));
            let (last, mut first): (Vec<usize>, Vec<usize>) =
                (0..teacher.widths[layer]).partition(stays);
            first.extend(last);
            bayes_posterior::Result::Ok(first)
        })?;
        // LeakyReLU twice is not LeakyReLU once; the authors remove the layer all the same.
        let options = EditOptions { allow_inexact: true, ..EditOptions::strict() };
        let edited = transform(Posterior::new(teacher.clone(), gaussian)?, &plan, &options)?;
        let gaussian = edited.posterior.into_gaussian();
        let log_variance = gaussian.covariance().variance().iter().map(|v| v.ln()).collect();
        Ok((gaussian.mean().to_vec(), log_variance))
    }

    /// Indices into the teacher's vec(·), for networks with biases.
    fn scrambled(&self, teacher: &[usize], kept: &[Vec<usize>]) -> Vec<usize> {
        let layers = self.layers(teacher);
        let starts: Vec<usize> = teacher
            .windows(2)
            .scan(0, |start, pair| {
                let own = *start;
                *start += pair[1] * (pair[0] + 1);
                Some(own)
            })
            .collect();
        let mut indices = Vec::new();
        for (index, pair) in layers.windows(2).enumerate() {
            let (before, layer) = (pair[0], pair[1]);
            let (n_in, n_out) = (teacher[layer - 1], teacher[layer]);
            let rows = &kept[index + 1];
            // Of a block behind a removed layer every column stays.
            let all: Vec<usize> = (0..n_in).collect();
            let cols = if before + 1 == layer { &kept[index] } else { &all };
            // Block t leads to layer t + 1; a row holds the weights of one unit and its bias.
            let at = |out: usize, input: usize| starts[layer - 1] + out * (n_in + 1) + input;
            let mask = cols.iter().flat_map(|i| rows.iter().map(move |out| i * n_out + out));
            let weights: Vec<usize> = mask.map(|at_in| at(at_in / n_in, at_in % n_in)).collect();
            for (weights, &out) in weights.chunks_exact(cols.len().max(1)).zip(rows) {
                indices.extend(weights);
                indices.push(at(out, n_in));
            }
        }
        indices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::bayesian::authors::network;

    const BY_LAYER: Cut = Cut { student: &[10, 50, 1], removed: Some(2) };

    #[test]
    fn seed_0_keeps_the_published_units() {
        let kept = BY_LAYER.kept_units(&[10, 100, 50, 1], 0).unwrap();
        let published = [
            1, 2, 3, 4, 6, 7, 8, 10, 13, 15, 16, 17, 18, 21, 22, 24, 26, 27, 30, 33, 41, 42, 43,
            44, 45, 48, 51, 52, 54, 59, 60, 61, 63, 66, 67, 68, 71, 73, 75, 76, 78, 79, 83, 84, 85,
            86, 89, 90, 93, 94,
        ];
        assert_eq!(kept, [(0..10).collect(), published.to_vec(), vec![0]]);
    }

    /// Numbers that tell where they come from: 100 · block + 10 · row + column, the bias last.
    fn places(teacher: &[usize]) -> Vec<f64> {
        let mut values = Vec::new();
        for (block, pair) in teacher.windows(2).enumerate() {
            for row in 0..pair[1] {
                values.extend((0..=pair[0]).map(|col| (100 * block + 10 * row + col) as f64));
            }
        }
        values
    }

    fn select(cut: &Cut, teacher: &[usize], kept: &[Vec<usize>], selection: Selection) -> Vec<f64> {
        let (teacher, student) = (network(teacher), network(cut.student));
        let mean = places(&teacher.widths);
        // Variances that tell where they come from, too.
        let log_variance: Vec<f64> = mean.iter().map(|place| place / 1000.0).collect();
        let (mean, log_variance) =
            cut.select((&teacher, &student), kept, selection, (&mean, &log_variance)).unwrap();
        for (place, v) in mean.iter().zip(&log_variance) {
            assert!((v - place / 1000.0).abs() < 1e-12, "a mean and a variance of two places");
        }
        mean
    }

    #[test]
    fn units_keep_the_weights_between_them() {
        let cut = Cut { student: &[2, 2, 1], removed: None };
        let kept = [vec![0, 1], vec![0, 2], vec![0]];
        let found = select(&cut, &[2, 3, 1], &kept, Selection::Correct);
        assert_eq!(found, [0.0, 1.0, 2.0, 20.0, 21.0, 22.0, 100.0, 102.0, 103.0]);
    }

    #[test]
    fn the_scrambled_mask_takes_as_many_weights_from_elsewhere() {
        // numpy: mask = np.zeros((2, 3), bool); mask[:, [0, 2]] = True
        // np.flatnonzero(mask) is [0, 2, 3, 5]; of weights (3, 2) these are (0, 0), (1, 0), (1, 1), (2, 1).
        let cut = Cut { student: &[2, 2, 1], removed: None };
        let kept = [vec![0, 1], vec![0, 2], vec![0]];
        let found = select(&cut, &[2, 3, 1], &kept, Selection::Scrambled);
        assert_eq!(found, [0.0, 10.0, 2.0, 11.0, 21.0, 22.0, 100.0, 102.0, 103.0]);
    }

    #[test]
    fn behind_a_removed_layer_unit_k_takes_the_place_of_unit_k() {
        let cut = Cut { student: &[1, 2, 1], removed: Some(2) };
        let kept = [vec![0], vec![1, 2], vec![0]];
        for selection in [Selection::Correct, Selection::Scrambled] {
            // One input: both layouts of the first mask are the same.
            let found = select(&cut, &[1, 3, 2, 1], &kept, selection);
            assert_eq!(found, [10.0, 11.0, 20.0, 21.0, 200.0, 201.0, 202.0]);
        }
    }

    #[test]
    fn sizes_are_those_of_the_logs() {
        // 2121, 601 and 39 760 numbers in the authors' logs.
        let by_units = Cut { student: &[10, 100, 10, 1], removed: None };
        let of_images = Cut { student: &[784, 50, 10], removed: Some(2) };
        for (teacher, cut, n) in [
            ([10, 100, 50, 1], by_units, 2121),
            ([10, 100, 50, 1], BY_LAYER, 601),
            ([784, 800, 50, 10], of_images, 39_760),
        ] {
            let kept = cut.kept_units(&teacher, 0).unwrap();
            for selection in [Selection::Correct, Selection::Scrambled] {
                assert_eq!(select(&cut, &teacher, &kept, selection).len(), n);
            }
        }
        let cut = Cut { student: &[10, 50, 1], removed: None };
        assert!(cut.kept_units(&[10, 100, 50, 1], 0).is_err());
    }
}
