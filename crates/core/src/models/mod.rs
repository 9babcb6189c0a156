//! The public classes, and [`Model`], which holds any of them by name.

mod autoregressive;
mod build;
mod call;
mod model;
mod transformer;

pub use autoregressive::AutoregressiveWrapper;
pub use model::{LoadReport, Model};
pub use transformer::{Returns, TokenTensors, TransformerOutput, TransformerWrapper};

use crate::layers::AttentionLayers;
use std::sync::Arc;

/// The classes that models can be of.
#[derive(Clone)]
pub enum Body {
    Layers(Arc<AttentionLayers>),
    Transformer(Arc<TransformerWrapper>),
    Autoregressive(Arc<AutoregressiveWrapper>),
}
