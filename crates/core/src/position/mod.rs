//! Position embeddings, rotary positions and position biases; each kind has its own file.

mod absolute;
mod alibi;
mod bias;
mod dynamic;
mod embedding;
mod relative;
mod rotary;
mod sinusoidal;
mod span;
mod table;

pub use absolute::AbsolutePositions;
pub use bias::{PositionBias, ScoreBias};
pub use embedding::PositionEmbedding;
pub use rotary::{RotaryLayers, Rotation, Rotations};
pub use sinusoidal::SinusoidalPositions;
pub use span::Span;
