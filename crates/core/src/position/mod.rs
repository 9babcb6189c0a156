//! Kinds of positions, one file each.

mod absolute;
mod alibi;
mod bias;
mod dynamic;
mod embedding;
mod relative;
mod rotary;
mod sinusoidal;

pub use absolute::AbsolutePositions;
pub use bias::{PositionBias, ScoreBias, Span};
pub use embedding::PositionEmbedding;
pub use rotary::{Rotary, Rotation};
pub use sinusoidal::SinusoidalPositions;
