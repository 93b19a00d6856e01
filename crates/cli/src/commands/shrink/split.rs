//! Which examples surgery sees, which choices are made by, and which only the final measures see.

use anyhow::{Result, ensure};
use core_tensors::Rng;

use super::case::Case;
use crate::data::user::{Prepared, split};
use crate::ledger::shrink::Parts;

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
        let [calibration, validation, test] =
            split(&case.data, shares, &mut rng.split("split"))?;
        let n_test = case.test.as_ref().map_or(Ok(0), |own| own.x.dim(0))?;
        let test_rows = if case.test.is_some() { (0..n_test).collect() } else { test.clone() };
        let part = |own: &Option<Prepared>, rows: &[usize]| match own {
            Some(own) => Ok(own.clone()),
            None => case.data.rows(rows),
        };
        let (validation, test) = (part(&case.validation, &validation)?, part(&case.test, &test)?);
        let calibration = case.data.rows(&calibration)?;
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
                "{}: too few examples: {n} are left {name}; give more, or files of your own by --validation and --test",
                case.data.name
            );
        }
        Ok(Self { calibration, validation, test, parts, test_rows })
    }
}
