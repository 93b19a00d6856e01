//! From a trained network and examples to a smaller network: what can go, how much of it for a budget, and what is left.

mod budget;
mod judge;
mod likelihood;
mod plan;
#[cfg(test)]
mod tests;

pub(crate) use budget::{Amount, Budget, Narrowed};
pub(crate) use judge::Judge;
pub(crate) use likelihood::OutputLikelihood;
pub(crate) use plan::{Plan, PlanOptions, Resource};
