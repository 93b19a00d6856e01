//! λ and T, chosen: on a grid by cross-validation, and by gradient descent on a validation loss.

mod grid_search;
mod hyperparameters;

pub use grid_search::{Chosen, Grid, cross_validate, with_choice};
pub use hyperparameters::{MetaCourse, MetaDescent, hypergradient, train_with_hyperparameters};
