//! Optimizer steps and the norm of gradients, for many parameters in one pass.

mod adafactor;
mod arrays;
#[cfg(feature = "cuda")]
mod cuda;
mod in_place;
mod muon;
mod norm;
mod out_of_place;
mod second;
mod step;
#[cfg(test)]
mod tests;

pub use adafactor::{adafactor, Adafactor};
pub use in_place::update_all;
pub use muon::{muon, AdjustLr, Muon};
pub use norm::sum_of_squares;
pub use out_of_place::update_out_of_place;
pub use second::Second;
pub use step::{Adam, Lion, Sgd, Step, Update};
