//! Kinds of positions, one file each.

mod absolute;
mod rotary;

pub use absolute::AbsolutePositions;
pub use rotary::{Rotary, Rotation};
