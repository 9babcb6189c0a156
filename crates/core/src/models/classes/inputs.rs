//! The tensors of calls, from named arguments, and results as values.

use crate::layers::{Intermediates, LayerTensors};
use crate::models::{ContinuousTensors, Score, SourceTensors, TokenTensors};
use crate::segments::Segments;
use crate::{Args, Result, Value};
use std::sync::Arc;
use xt_options::calls::{ContinuousInputs, LayerInputs, PackedInputs, SourceInputs, TokenInputs};

/// Layer inputs without any tensor.
pub fn no_inputs() -> LayerInputs {
    LayerInputs {
        context: None,
        mask: None,
        context_mask: None,
        attn_mask: None,
        self_attn_context_mask: None,
        mems: None,
    }
}

/// Resolves the tensors of a stack of layers.
pub fn layer_tensors(inputs: &LayerInputs, args: &Args) -> Result<LayerTensors> {
    Ok(LayerTensors {
        context: args.optional(inputs.context)?,
        mask: args.optional(inputs.mask)?,
        context_mask: args.optional(inputs.context_mask)?,
        attn_mask: args.optional(inputs.attn_mask)?,
        self_attn_context_mask: args.optional(inputs.self_attn_context_mask)?,
        mems: inputs.mems.iter().flatten().map(|r| args.resolve(*r)).collect::<Result<_>>()?,
        segments: None,
    })
}

/// Resolves the documents of packed rows.
pub fn segments(packed: &PackedInputs, args: &Args) -> Result<Option<Arc<Segments>>> {
    let ids = args.optional(packed.segment_ids)?;
    ids.map(|ids| Segments::new(&ids).map(Arc::new)).transpose()
}

/// Resolves the tensors of a transformer over tokens.
pub fn token_tensors(
    inputs: &LayerInputs,
    tokens: &TokenInputs,
    args: &Args,
) -> Result<TokenTensors> {
    Ok(TokenTensors {
        pos: args.optional(tokens.pos)?,
        prepend_embeds: args.optional(tokens.prepend_embeds)?,
        sum_embeds: args.optional(tokens.sum_embeds)?,
        layers: layer_tensors(inputs, args)?,
    })
}

/// Resolves the tensors of a transformer over continuous vectors.
pub fn continuous_tensors(
    inputs: &LayerInputs,
    values: &ContinuousInputs,
    args: &Args,
) -> Result<ContinuousTensors> {
    Ok(ContinuousTensors {
        pos: args.optional(values.pos)?,
        prepend_embeds: args.optional(values.prepend_embeds)?,
        layers: layer_tensors(inputs, args)?,
    })
}

/// Resolves the tensors of the source of an `XTransformer`.
pub fn source_tensors(source: &SourceInputs, args: &Args) -> Result<SourceTensors> {
    Ok(SourceTensors {
        mask: args.optional(source.mask)?,
        attn_mask: args.optional(source.attn_mask)?,
        prepend_embeds: args.optional(source.src_prepend_embeds)?,
    })
}

/// The attention weights of all attentions, `(batch, heads, i, j)` each.
pub fn maps_after_softmax(intermediates: Intermediates) -> Value {
    let maps = intermediates.attn_intermediates.into_iter().map(|m| m.post_softmax_attn);
    maps.collect::<Vec<_>>().into()
}

impl From<crate::attention::AttentionMaps> for Value {
    fn from(maps: crate::attention::AttentionMaps) -> Self {
        Value::Fields(vec![
            ("pre_softmax_attn", maps.pre_softmax_attn.into()),
            ("post_softmax_attn", maps.post_softmax_attn.into()),
        ])
    }
}

impl From<Intermediates> for Value {
    fn from(intermediates: Intermediates) -> Self {
        let maps = intermediates.attn_intermediates.into_iter().map(Value::from).collect();
        Value::Fields(vec![
            ("hiddens", intermediates.hiddens.into()),
            ("attn_intermediates", Value::List(maps)),
        ])
    }
}

impl From<Score> for Value {
    fn from(score: Score) -> Self {
        Value::Fields(vec![
            ("log_probs", score.log_probs.into()),
            ("perplexity", score.perplexity.into()),
        ])
    }
}
