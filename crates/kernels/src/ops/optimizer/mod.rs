//! Optimizer steps and the norm of gradients, for many parameters in one pass.

#[cfg(feature = "cuda")]
mod cuda;
mod in_place;
mod norm;
mod out_of_place;
mod step;
#[cfg(test)]
mod tests;

pub use in_place::update_all;
pub use norm::sum_of_squares;
pub use out_of_place::update_out_of_place;
pub use step::{Adam, Lion, Sgd, Step, Update};
