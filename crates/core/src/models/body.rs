//! The class of a model.

use super::autoregressive::AutoregressiveWrapper;
use super::continuous::{ContinuousAutoregressiveWrapper, ContinuousTransformerWrapper};
use super::non_autoregressive::NonAutoregressiveWrapper;
use super::transformer::TransformerWrapper;
use super::vit::ViTransformerWrapper;
use super::x_transformer::XTransformer;
use crate::attention::Attention;
use crate::layers::AttentionLayers;
use crate::Mode;
use std::sync::Arc;

/// A model of one of the public classes.
#[derive(Clone)]
pub enum Body {
    /// `Attention`.
    Attention(Arc<BareAttention>),
    /// `Encoder`, `Decoder` or `CrossAttender`.
    Layers(Arc<AttentionLayers>),
    /// `TransformerWrapper`.
    Transformer(Arc<TransformerWrapper>),
    /// `ContinuousTransformerWrapper`.
    Continuous(Arc<ContinuousTransformerWrapper>),
    /// `ViTransformerWrapper`.
    Vit(Arc<ViTransformerWrapper>),
    /// `AutoregressiveWrapper`.
    Autoregressive(Arc<AutoregressiveWrapper>),
    /// `NonAutoregressiveWrapper`.
    NonAutoregressive(Arc<NonAutoregressiveWrapper>),
    /// `ContinuousAutoregressiveWrapper`.
    ContinuousAutoregressive(Arc<ContinuousAutoregressiveWrapper>),
    /// `XTransformer`.
    XTransformer(Arc<XTransformer>),
}

/// A single attention layer as a model.
pub struct BareAttention {
    /// The attention layer.
    pub attention: Attention,
    /// The width of input and output.
    pub dim: usize,
    /// Training or evaluation mode.
    pub mode: Mode,
}

impl Body {
    /// The reason why generation cannot cache keys and values; `None` if it can, and for models
    /// without autoregressive generation.
    pub(crate) fn not_cacheable(&self) -> Option<&'static str> {
        match self {
            Body::Autoregressive(model) => model.net().not_cacheable(),
            Body::XTransformer(model) => model.decoder().net().not_cacheable(),
            Body::ContinuousAutoregressive(model) => model.net().not_cacheable(),
            _ => None,
        }
    }

    /// Sets training mode (`true`) or evaluation mode (`false`) of this model. Models that were
    /// passed to its constructor have their own mode.
    pub(crate) fn train(&self, on: bool) {
        match self {
            Body::Attention(model) => model.mode.set(on),
            Body::Layers(model) => model.mode().set(on),
            Body::Transformer(model) => model.mode().set(on),
            Body::Continuous(model) => model.mode().set(on),
            Body::Vit(model) => model.mode().set(on),
            Body::Autoregressive(model) => model.mode().set(on),
            Body::NonAutoregressive(model) => model.mode().set(on),
            Body::ContinuousAutoregressive(model) => model.mode().set(on),
            Body::XTransformer(model) => model.train(on),
        }
    }
}
