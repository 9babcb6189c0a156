//! Which class a model is of.

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

/// The classes that models can be of.
#[derive(Clone)]
pub enum Body {
    Attention(Arc<BareAttention>),
    Layers(Arc<AttentionLayers>),
    Transformer(Arc<TransformerWrapper>),
    Continuous(Arc<ContinuousTransformerWrapper>),
    Vit(Arc<ViTransformerWrapper>),
    Autoregressive(Arc<AutoregressiveWrapper>),
    NonAutoregressive(Arc<NonAutoregressiveWrapper>),
    ContinuousAutoregressive(Arc<ContinuousAutoregressiveWrapper>),
    XTransformer(Arc<XTransformer>),
}

/// An attention by itself.
pub struct BareAttention {
    pub attention: Attention,
    pub dim: usize,
    pub mode: Mode,
}

impl Body {
    /// Why a generation cannot keep keys and values between its steps; `None` where it can, and for models that generate nothing that way.
    pub(crate) fn not_cacheable(&self) -> Option<&'static str> {
        match self {
            Body::Autoregressive(model) => model.net().not_cacheable(),
            Body::XTransformer(model) => model.decoder().net().not_cacheable(),
            Body::ContinuousAutoregressive(model) => model.net().not_cacheable(),
            _ => None,
        }
    }

    /// Sets the mode of this model; those that it was given have their own.
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
