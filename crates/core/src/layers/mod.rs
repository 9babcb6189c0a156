//! The layers of the models; each has its own file.

mod cache;
pub mod deepnorm;
mod dropout;
mod embedding;
mod feedforward;
mod gru;
mod linear;
mod norm;
mod residual;
mod shift;
mod stack;
mod sublayer;
mod token_dropout;

pub(crate) use cache::last_columns;
pub use cache::{LayerCache, LayersCache};
pub use dropout::{dropout, dropout_active, fused_dropout};
pub use embedding::Embedding;
pub use feedforward::FeedForward;
pub use linear::{scaled, Linear, Logits};
pub use norm::{LastNorm, LayerNorm, Norm};
pub use stack::{AttentionLayers, Intermediates, LayerReturns, LayerTensors, LayersOutput};
pub use token_dropout::{drop_tokens, Context};
