//! The plain layers, one file each.

mod dropout;
mod embedding;
mod feedforward;
mod linear;
mod norm;
mod stack;
mod sublayer;

pub use dropout::dropout;
pub use embedding::Embedding;
pub use feedforward::FeedForward;
pub use linear::Linear;
pub use norm::{LayerNorm, Norm};
pub use stack::{AttentionLayers, Intermediates, LayerTensors, LayersOutput};
