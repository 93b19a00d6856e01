//! Training of Gaussian posteriors: by variational inference, and as the authors' code has it.

mod empirical_bayes;
mod variational;

pub use empirical_bayes::{BayesCourse, BayesEnd, BayesStart, area};
pub use variational::{VariationalCourse, VariationalEnd, VariationalStart};
