//! Bayesian distillation: the authors' protocol, start and prior by variational inference, rankings of units.

pub(super) mod authors;
pub(super) mod elbo;
pub(super) mod ranking;
