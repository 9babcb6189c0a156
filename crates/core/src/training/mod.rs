//! Optimizers, gradient clipping, and averages of weights.

mod average;
mod clip;
mod optimizer;

pub use average::{average, swap_values};
pub use clip::{clip_grad_norm, clip_grad_value, grad_norms};
pub use optimizer::{Optimizer, OptimizerKind};
