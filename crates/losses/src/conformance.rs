//! Checks that a loss is what it claims to be: its derivatives, its limits, what it ignores, what it divides by, what stays finite.
//!
//! The commonest bug of a distillation loss raises no error: the divergence reversed, a T² too many, a sum in the place of a
//! mean, a gradient into the teacher. [`check`] looks for such bugs in any function of the student's logits (or features) and
//! a batch, and returns a [`Report`] of named checks; it never panics. Every loss of this crate goes through it in its
//! tests. For a loss of your own, turn the feature `conformance` of this crate on in your dev-dependencies.
//!
//! Six checks are made of every loss; the others where it has that [`Property`] by its definition.
//!
//! | check | what is asked | what it catches |
//! |---|---|---|
//! | `one number` | the value has shape () and is finite | losses of examples that nobody has averaged |
//! | `gradient equals differences` | f64, central differences of every number of the student | wrong backward passes, detached parts |
//! | `gradient reaches the student` | it is there, and not 0 | a detached student |
//! | `no gradient to the teacher` | none at all | a teacher that is trained |
//! | `single precision` | value and gradient in f32 are those in f64, to 1e-3 | cancellation |
//! | `finite at extremes` | value and gradient at ±1e6 of either role, f32 and f64 | `softmax` then `log` |
//! | `nonnegative`, `zero at the teacher` | of a divergence | wrong mixtures, missing terms |
//! | `order of examples` | another order of examples leaves value and gradient | rows that meet the wrong targets |
//! | `batch twice` | value and gradient of a batch repeated twice | sums for means, and reverse |
//! | `mask` | NaN, ∞ and −∞ in the place of the teacher's numbers outside 𝓘 leave value and gradient, f32 and f64 | a mask that multiplies |
//! | `shift of …`, `scale of …` | each row of a role plus a constant, or a role times one | logits taken for probabilities |
//! | `limit: …` | it equals another loss, in value and gradient or in gradient alone | T², reversed divergences, wrong weights |
//!
//! ```
//! use losses::candle_core::{Device, Result, Tensor};
//! use losses::conformance::{Batch, LossUnderTest, Property, check};
//!
//! # fn main() -> Result<()> {
//! // A loss of one's own: the cross-entropy of the student's softmax with the teacher's.
//! let log_softmax = |z: &Tensor| z.broadcast_sub(&z.exp()?.sum_keepdim(1)?.log()?);
//! let mine = |logits: &Tensor, batch: &Batch| -> Result<Tensor> {
//!     let teacher = log_softmax(&batch.teacher.detach())?.exp()?;
//!     (teacher * log_softmax(logits)?)?.sum(1)?.mean_all()?.neg()
//! };
//! let device = Device::Cpu;
//! let report = check(&LossUnderTest {
//!     loss: &mine,
//!     student: Tensor::new(&[[0.5, -1.0, 0.25], [1.0, 2.0, -0.5]], &device)?,
//!     teacher: Tensor::new(&[[1.5, 0.0, -0.75], [0.0, 1.0, 0.5]], &device)?,
//!     properties: vec![Property::Nonnegative, Property::AnyOrder, Property::Twice { factor: 1.0 }],
//! });
//! // Right where logits are small; but exp(1e6) is infinite.
//! assert_eq!(report.failures(), ["finite at extremes"]);
//! assert!(report.to_string().contains("ok    batch twice"));
//! # Ok(())
//! # }
//! ```

use std::fmt;

use candle_core::Tensor;
use core_tensors::Dataset;

use crate::error::Error;

mod evaluate;
mod extremes;
mod properties;

/// Relative half-width of a central difference.
const STEP: f64 = 1e-5;
/// Largest gap between a derivative and its difference, relative to the largest derivative: the error of the difference is 1e-8 or so.
const DERIVATIVE_TOLERANCE: f64 = 1e-6;
/// Largest relative gap between two ways to one number in f64: the tolerance of a [`Limit`] that is an identity.
pub const EXACT: f64 = 1e-9;
/// Largest relative gap between f32 and f64.
const SINGLE_TOLERANCE: f64 = 1e-3;
/// Size of an extreme logit.
const EXTREME: f64 = 1e6;

/// What a loss compares the student with: the teacher's numbers, and which examples they belong to.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The teacher's logits or features, first dimension m; f64 or f32 as the student's.
    pub teacher: Tensor,
    /// For each row, which row of [`LossUnderTest::student`] it is: where a loss finds labels and the like when rows move or come twice.
    pub examples: Vec<usize>,
}

impl Batch {
    /// The rows of `data` that this batch consists of, with its teacher's logits; 𝓘 as in `data`, everything without a teacher.
    pub fn dataset(&self, data: &Dataset) -> crate::Result<Dataset> {
        let rows = data.rows(&self.examples)?;
        let known: Vec<usize> = match rows.soft() {
            None => (0..self.examples.len()).collect(),
            Some(soft) => {
                let flags: Vec<f32> = soft.mask().to_vec1()?;
                (0..flags.len()).filter(|&i| flags[i] != 0.0).collect()
            }
        };
        let taught =
            rows.with_teacher(self.examples.len().max(1), |_| self.teacher.contiguous())?;
        Ok(taught.known_for(&known)?)
    }
}

/// A loss: the student's logits or features, first dimension m, and the batch they belong to → ().
///
/// Its error E may be any type that turns into a boxed one: `losses::Error`, `candle_core::Error`, `anyhow::Error`, your own.
pub type Loss<'a, E = Error> = &'a dyn Fn(&Tensor, &Batch) -> Result<Tensor, E>;

/// A loss, the point it is looked at, and the properties it should have.
pub struct LossUnderTest<'a, E = Error> {
    /// The loss.
    pub loss: Loss<'a, E>,
    /// The student's logits or features, f64, m ≥ 2 examples along the first dimension; no special point, no ties.
    pub student: Tensor,
    /// The teacher's, f64, as many examples, any further dimensions.
    pub teacher: Tensor,
    /// What is to be checked beyond what every loss must do.
    pub properties: Vec<Property<'a, E>>,
}

/// Whose numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one that is trained.
    Student,
    /// The one that is learned from.
    Teacher,
}

/// A property that a loss has by its definition.
pub enum Property<'a, E = Error> {
    /// Never below 0.
    Nonnegative,
    /// 0 where the student's numbers are the teacher's, both of one shape.
    ZeroAtTeacher,
    /// The order of the examples does not matter.
    AnyOrder,
    /// A batch repeated twice has `factor` times the loss: 1 for a mean over examples, 2 for a sum.
    Twice {
        /// The factor.
        factor: f64,
    },
    /// What the teacher says of other examples than these plays no part, not even where it is no number.
    Mask {
        /// 𝓘, from 0: not all of the examples.
        known: Vec<usize>,
    },
    /// A constant added to all numbers of an example changes nothing, another one for each example.
    Shift(Role),
    /// A positive factor of all numbers of a role changes nothing.
    Scale(Role),
    /// It equals another loss, or tends to it.
    Limit(Limit<'a, E>),
}

/// Two losses that should be one.
pub struct Limit<'a, E = Error> {
    /// What the check is called, after `limit: `.
    pub name: &'a str,
    /// The loss at or near its limit; often the tested one, with a parameter that is almost 0.
    pub loss: Loss<'a, E>,
    /// What it should be there, by other means.
    pub reference: Loss<'a, E>,
    /// Largest gap, relative to the reference (to its largest derivative).
    pub tolerance: f64,
    /// What is compared.
    pub compared: Compared,
}

/// What two losses share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Value and gradient.
    All,
    /// The gradient alone: they differ by a constant.
    Gradient,
}

/// One check and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was asked.
    pub name: String,
    /// Whether the loss is as it should be.
    pub is_passed: bool,
    /// What was found, in words and numbers.
    pub finding: String,
}

/// What [`check`] found; prints as one line a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// In the order of the table above, properties in their own.
    pub checks: Vec<Check>,
}

impl Report {
    /// Whether every check was passed.
    pub fn is_passed(&self) -> bool {
        self.checks.iter().all(|check| check.is_passed)
    }

    /// Names of the checks that were not.
    pub fn failures(&self) -> Vec<&str> {
        let failed = self.checks.iter().filter(|check| !check.is_passed);
        failed.map(|check| check.name.as_str()).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
        for Check { name, is_passed, finding } in &self.checks {
            let verdict = if *is_passed { "ok  " } else { "FAIL" };
            writeln!(f, "{verdict}  {name:width$}  {finding}")?;
        }
        Ok(())
    }
}

/// Asks a loss everything that holds of every loss, and the properties it should have.
///
/// An error of the loss is the failure of the check that met it. It is evaluated some hundred times, and twice for every number
/// of the student: a handful of examples will do.
pub fn check<E: Into<Failure>>(tested: &LossUnderTest<'_, E>) -> Report {
    let mut checks = vec![
        named("one number", evaluate::one_number(tested)),
        named("gradient equals differences", evaluate::differences(tested)),
        named("gradient reaches the student", evaluate::reaches_student(tested)),
        named("no gradient to the teacher", evaluate::spares_teacher(tested)),
        named("single precision", evaluate::single_precision(tested)),
        named("finite at extremes", extremes::finite(tested)),
    ];
    for property in &tested.properties {
        let (name, answer) = match property {
            Property::Nonnegative => ("nonnegative".to_owned(), extremes::nonnegative(tested)),
            Property::ZeroAtTeacher => {
                ("zero at the teacher".to_owned(), properties::zero_at_teacher(tested))
            }
            Property::AnyOrder => ("order of examples".to_owned(), properties::any_order(tested)),
            Property::Twice { factor } => {
                ("batch twice".to_owned(), properties::twice(tested, *factor))
            }
            Property::Mask { known } => ("mask".to_owned(), properties::mask(tested, known)),
            Property::Shift(role) => {
                (format!("shift of {}", role.whose()), properties::shift(tested, *role))
            }
            Property::Scale(role) => {
                (format!("scale of {}", role.whose()), properties::scale(tested, *role))
            }
            Property::Limit(limit) => {
                (format!("limit: {}", limit.name), properties::limit(tested, limit))
            }
        };
        checks.push(named(&name, answer));
    }
    Report { checks }
}

/// Any error, of the loss or of a check.
type Failure = Box<dyn std::error::Error + Send + Sync>;
/// Whether a check is passed, and what was found.
type Answer = Result<(bool, String), Failure>;

fn named(name: &str, answer: Answer) -> Check {
    let (is_passed, finding) = answer.unwrap_or_else(|error| (false, format!("failed: {error}")));
    Check { name: name.to_owned(), is_passed, finding }
}

impl Role {
    fn whose(self) -> &'static str {
        match self {
            Self::Student => "the student",
            Self::Teacher => "the teacher",
        }
    }
}

#[cfg(test)]
mod broken;
#[cfg(test)]
mod tests;
