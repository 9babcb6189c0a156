//! The public model classes, and [`Model`], which wraps any of them.

mod activations;
mod autoregressive;
mod build;
mod call;
mod classes;
mod continuous;
mod lora;
mod masking;
mod memory;
mod model;
mod non_autoregressive;
mod quantize;
mod score;
mod transformer;
mod vit;
mod x_transformer;

pub use activations::LayerActivations;
pub use autoregressive::{AutoregressiveWrapper, Targets};
pub use continuous::{
    ContinuousAutoregressiveWrapper, ContinuousTensors, ContinuousTransformerWrapper,
};
pub use lora::LoraLayers;
pub use model::{LoadReport, Model};
pub use non_autoregressive::{Critic, Losses, NonAutoregressiveWrapper, Training};
pub use quantize::parse_format;
pub use score::Score;
pub use transformer::{
    HeadConfig, Returns, TokenTensors, TransformerConfig, TransformerOutput, TransformerWrapper,
};
pub use vit::ViTransformerWrapper;
pub use x_transformer::{SourceTensors, XTransformer};
