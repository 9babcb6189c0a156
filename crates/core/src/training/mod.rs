//! Optimizers and gradient clipping.

mod clip;
mod optimizer;

pub use clip::clip_grad_norm;
pub use optimizer::{Optimizer, OptimizerKind};
