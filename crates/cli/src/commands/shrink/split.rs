//! Which examples surgery sees, which choices are made by, and which only the final measures see.

use anyhow::{Result, ensure};
use candle_core::DType;
use core_tensors::Rng;
use models::graph::change::Standardization;

use super::case::Case;
use crate::data::user::{Prepared, split};
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
        Ok(Self { calibration, validation, test, parts, test_rows })
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
