//! Element-wise operations with broadcasting, distributed over threads.

mod binary;
mod broadcast;
mod clamp;
#[cfg(feature = "cuda")]
mod cuda;
mod lerp;
mod map;
#[cfg(test)]
mod tests;
mod unary;

pub use binary::{add, binary, div, mul, sub, Binary};
pub use clamp::{clamp, clamp_backward};
pub use lerp::lerp;
pub(crate) use map::{map, zip};
pub(crate) use unary::scalar;
pub use unary::{affine, unary, Unary};

/// Whether `x` is NaN; false for integers.
#[inline(always)]
#[allow(clippy::eq_op)]
pub(crate) fn is_nan<T: PartialEq>(x: T) -> bool {
    x != x
}
