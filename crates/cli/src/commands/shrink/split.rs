//! Which examples surgery sees, which choices are made by, and which only the final measures see.

use anyhow::{Result, ensure};
use candle_core::{DType, Tensor};
use core_tensors::Rng;
use models::graph::change::Standardization;

use super::case::Case;
use crate::data::user::{Prepared, split};
use crate::files::{note, printable};
use crate::ledger::shrink::Parts;

/// Share of its mean below which the std of a feature is rounding, as features are f32.
const ROUNDING: f64 = 1e-6;
/// Share of the data that choices are made by, and that of the final measures, where the user has no files of their own.
const SHARES: [f64; 2] = [0.2, 0.2];

/// The parts of the examples for one seed; no example is in two.
pub(super) struct Split {
    pub(super) calibration: Prepared,
    pub(super) validation: Prepared,
    pub(super) test: Prepared,
    pub(super) parts: Parts,
    /// Index in its file of each test example.
    pub(super) test_rows: Vec<usize>,
    /// What stands for the missing values of a feature: its name and the mean of the calibration part.
    pub(super) filled_in: Vec<(String, f64)>,
}

impl Split {
    pub(super) fn new(case: &Case, rng: &Rng) -> Result<Self> {
        let of = |own: &Option<Prepared>, share| if own.is_some() { 0.0 } else { share };
        let shares = [of(&case.validation, SHARES[0]), of(&case.test, SHARES[1])];
        let [calibration, validation, test] = &split(&case.data, shares, &mut rng.split("split"))?;
        let n_test = case.test.as_ref().map_or(Ok(0), |own| own.x.dim(0))?;
        let test_rows = if case.test.is_some() { (0..n_test).collect() } else { test.clone() };
        let part = |own: &Option<Prepared>, rows: &[usize]| match own {
            Some(own) => Ok(own.clone()),
            None => case.data.rows(rows),
        };
        let (validation, test) = (part(&case.validation, validation)?, part(&case.test, test)?);
        let calibration = case.data.rows(calibration)?;
        let mut examples = [calibration, validation, test];
        let filled_in = fill_in(&mut examples)?;
        let [calibration, validation, test] = examples;
        let parts = Parts {
            calibration: calibration.x.dim(0)?,
            validation: validation.x.dim(0)?,
            test: test.x.dim(0)?,
            has_own_test: case.test.is_some(),
        };
        for (n, name) in [
            (parts.calibration, "to fit"),
            (parts.validation, "to choose by"),
            (parts.test, "to measure with"),
        ] {
            ensure!(
                n >= 2,
                "too few examples: {n} are left {name}; give more, or files of your own by --validation and --test"
            );
        }
        Ok(Self { calibration, validation, test, parts, test_rows, filled_in })
    }
}

impl Split {
    /// With features of mean 0 and std 1 in the calibration part, and what it takes; as it is where that is not asked for.
    ///
    /// Features (m, n) one by one, images (m, c, h, w) by channel. A feature that never changes is only centered.
    pub(super) fn standardized(self, is_asked: bool) -> Result<(Self, Option<Standardization>)> {
        if !is_asked {
            return Ok((self, None));
        }
        let x = self.calibration.x.to_dtype(DType::F64)?;
        let (rows, shape) = match *x.dims() {
            [_, _, h, w] => {
                let channels = x.transpose(0, 1)?.flatten_from(1)?.t()?.contiguous()?;
                let n = channels.dim(1)?;
                ensure!(h * w > 0, "expected images with pixels");
                (channels, vec![n, 1, 1])
            }
            ref dims => {
                let shape = dims[1..].to_vec();
                (x.flatten_from(1)?, shape)
            }
        };
        let mean = rows.mean(0)?;
        let std: Vec<f64> = rows.broadcast_sub(&mean)?.sqr()?.mean(0)?.sqrt()?.to_vec1()?;
        let mean: Vec<f64> = mean.to_vec1()?;
        // What rounding of a constant leaves is no spread.
        let spread = |(std, mean): (f64, &f64)| if std > ROUNDING * mean.abs() { std } else { 1.0 };
        let std = std.into_iter().zip(&mean).map(spread).collect();
        let standardization = Standardization { shape, mean, std };
        let of = |part: Prepared| -> Result<Prepared> {
            Ok(Prepared { x: standardization.apply(&part.x)?, ..part })
        };
        let Self { calibration, validation, test, .. } = self;
        let (calibration, validation, test) = (of(calibration)?, of(validation)?, of(test)?);
        Ok((Self { calibration, validation, test, ..self }, Some(standardization)))
    }
}

/// Fills in missing features, which are NaN, with the mean of the calibration part, which comes first; says so.
fn fill_in(parts: &mut [Prepared; 3]) -> Result<Vec<(String, f64)>> {
    let mut is_complete = true;
    for part in parts.iter() {
        // The sum is NaN where one of the numbers is.
        let sum = part.x.sum_all()?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
        is_complete &= !sum.is_nan();
    }
    if is_complete {
        return Ok(Vec::new());
    }
    let rows =
        |part: &Prepared| -> Result<Vec<Vec<f32>>> { Ok(part.x.flatten_from(1)?.to_vec2()?) };
    let mut numbers = Vec::new();
    for part in parts.iter() {
        numbers.push(rows(part)?);
    }
    let missing = |of: &[Vec<f32>], i: usize| of.iter().filter(|row| row[i].is_nan()).count();
    let (mut filled_in, mut n_missing) = (Vec::new(), 0);
    for i in 0..numbers[0].first().map_or(0, Vec::len) {
        let n: usize = numbers.iter().map(|of| missing(of, i)).sum();
        if n == 0 {
            continue;
        }
        let name = parts[0].feature_names.get(i).filter(|name| !name.is_empty());
        let name = name.cloned().unwrap_or_else(|| format!("feature {}", i + 1));
        let known = numbers[0].iter().map(|row| f64::from(row[i])).filter(|value| !value.is_nan());
        let known: Vec<f64> = known.collect();
        ensure!(
            !known.is_empty(),
            "{}: `{}`: every value of the {} examples to fit is missing, so that there is no mean of them; --drop leaves the \
             column out",
            parts[0].name,
            printable(&name),
            numbers[0].len()
        );
        let mean = crate::ledger::stats::mean(&known);
        let of_column = numbers.iter_mut().flatten().map(|row| &mut row[i]);
        of_column.filter(|value| value.is_nan()).for_each(|value| *value = mean as f32);
        n_missing += n;
        filled_in.push((name, mean));
    }
    if filled_in.is_empty() {
        return Ok(filled_in);
    }
    for (part, numbers) in parts.iter_mut().zip(numbers) {
        let shape = part.x.dims().to_vec();
        part.x = Tensor::from_vec(numbers.concat(), shape, part.x.device())?;
    }
    let values = if n_missing == 1 { "missing value is" } else { "missing values are" };
    note(&format!("{n_missing} {values} filled in: {}", filled_in_words(&filled_in)));
    Ok(filled_in)
}

/// What stands for missing values, in words.
pub(super) fn filled_in_words(filled_in: &[(String, f64)]) -> String {
    let of = |(name, mean): &(String, f64)| format!("`{}` with {mean}", printable(name));
    let listed: Vec<String> = filled_in.iter().map(of).collect();
    format!("{}, the means of the examples to fit", listed.join(", "))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn missing_values_are_the_mean_of_the_calibration_part_in_every_part() {
        let nan = f32::NAN;
        let part = |rows: &[[f32; 2]]| Prepared {
            name: "data".into(),
            x: Tensor::from_slice(rows.as_flattened(), (rows.len(), 2), &Device::Cpu).unwrap(),
            targets: None,
            class_names: Vec::new(),
            image: None,
            images: None,
            feature_names: vec!["a".into(), "b".into()],
        };
        // The other parts would move the mean of `b` to 25.
        let mut parts = [
            part(&[[1.0, 2.0], [2.0, nan], [3.0, 4.0]]),
            part(&[[4.0, 94.0], [nan, nan]]),
            part(&[[nan, 0.0], [5.0, nan]]),
        ];
        let filled_in = fill_in(&mut parts).unwrap();
        assert_eq!(filled_in, [("a".to_owned(), 2.0), ("b".to_owned(), 3.0)]);
        let found = parts.map(|part| part.x.to_vec2::<f32>().unwrap().concat());
        assert_eq!(found[0], [1.0, 2.0, 2.0, 3.0, 3.0, 4.0]);
        assert_eq!(
            (&found[1][..], &found[2][..]),
            (&[4.0, 94.0, 2.0, 3.0][..], &[2.0, 0.0, 5.0, 3.0][..])
        );

        let mut parts = [part(&[[1.0, nan], [1.0, nan]]), part(&[[1.0, 2.0]]), part(&[[1.0, 2.0]])];
        let error = fill_in(&mut parts).unwrap_err().to_string();
        assert!(error.contains("`b`") && error.contains("--drop"), "{error}");
        let mut parts = [part(&[[1.0, 2.0]]), part(&[[1.0, 2.0]]), part(&[[1.0, 2.0]])];
        assert!(fill_in(&mut parts).unwrap().is_empty());
    }
}
