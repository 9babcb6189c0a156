//! The tensors of calls, from named arguments, and results as values.

use crate::ids::require_bool;
use crate::layers::{Intermediates, LayerTensors};
use crate::models::{ContinuousTensors, Score, SourceTensors, TokenTensors};
use crate::segments::Segments;
use crate::{Args, Array, DType, Device, Error, Result, Tensor, Value};
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::calls::{ContinuousInputs, LayerInputs, PackedInputs, SourceInputs, TokenInputs};

/// Layer inputs without any tensor.
pub fn no_inputs() -> LayerInputs {
    LayerInputs {
        context: None,
        mask: None,
        context_mask: None,
        context_pos: None,
        attn_mask: None,
        self_attn_context_mask: None,
        mems: None,
        mem_masks: None,
    }
}

/// Resolves the tensors of a stack of layers.
pub fn layer_tensors(inputs: &LayerInputs, args: &Args) -> Result<LayerTensors> {
    Ok(LayerTensors {
        context: args.optional(inputs.context)?,
        mask: args.optional(inputs.mask)?,
        context_mask: args.optional(inputs.context_mask)?,
        context_pos: args.optional(inputs.context_pos)?,
        attn_mask: args.optional(inputs.attn_mask)?,
        self_attn_context_mask: args.optional(inputs.self_attn_context_mask)?,
        mems: inputs.mems.iter().flatten().map(|r| args.resolve(*r)).collect::<Result<_>>()?,
        mem_masks: inputs
            .mem_masks
            .iter()
            .flatten()
            .map(|mask| args.resolve((*mask).into()))
            .collect::<Result<_>>()?,
        pos: None,
        causal: None,
        segments: None,
    })
}

/// Resolves the documents of packed rows.
pub fn segments(packed: &PackedInputs, args: &Args) -> Result<Option<Arc<Segments>>> {
    let ids = args.optional(packed.segment_ids)?;
    ids.map(|ids| Segments::new(&ids).map(Arc::new)).transpose()
}

/// Resolves the tensors of a transformer over tokens. `columns` is the number of tokens in a row of
/// its input.
pub fn token_tensors(
    inputs: &LayerInputs,
    tokens: &TokenInputs,
    columns: usize,
    args: &Args,
) -> Result<TokenTensors> {
    masked_token_tensors(inputs, tokens, None, columns, args)
}

/// Like [`token_tensors`]; `mask`, if there is one, is that of the tokens.
pub fn masked_token_tensors(
    inputs: &LayerInputs,
    tokens: &TokenInputs,
    mask: Option<Tensor>,
    columns: usize,
    args: &Args,
) -> Result<TokenTensors> {
    let kinds = tokens.embed_ids.iter().flat_map(|all| &all.0);
    let kinds = kinds.map(|(name, ids)| Ok((name.clone(), args.resolve((*ids).into())?)));
    let mut with = TokenTensors {
        pos: args.optional(tokens.pos)?,
        prepend_embeds: args.optional(tokens.prepend_embeds)?,
        sum_embeds: args.optional(tokens.sum_embeds)?,
        embed_ids: kinds.collect::<Result<_>>()?,
        layers: layer_tensors(inputs, args)?,
    };
    if mask.is_some() {
        see_whole_context(&mut with.layers)?;
    }
    with.layers.mask = mask.or(with.layers.mask);
    cover_front(&mut with, args.optional(tokens.prepend_mask)?, columns)?;
    Ok(with)
}

/// The number of tokens in a row of `x`, `(n)` or `(batch, n)`.
pub fn columns(x: &Tensor) -> usize {
    x.dims().last().copied().unwrap_or(0)
}

/// Gives masks over the `columns` tokens of a row the columns of the prepended embeddings: those of
/// `front`, bool `(batch, count)`, or true.
///
/// # Errors
///
/// [`crate::Error::Shape`] if `front` does not fit the embeddings, or a mask covers them already.
fn cover_front(with: &mut TokenTensors, front: Option<Tensor>, columns: usize) -> Result<()> {
    let Some(embeds) = with.prepend_embeds.as_ref().filter(|embeds| embeds.rank() == 3) else {
        return match front {
            Some(_) => Error::shape("prepend_mask needs prepend_embeds, which it is a mask of"),
            None => Ok(()),
        };
    };
    let (batch, count) = (embeds.dim(0), embeds.dim(1));
    let given = front.is_some();
    let front = match front {
        Some(mask) => checked_front(mask, [batch, count])?,
        None => ones([batch, count], &embeds.device())?,
    };
    let layers = &mut with.layers;
    if given && layers.mask.is_none() {
        see_whole_context(layers)?;
        layers.mask = Some(ones([batch, columns], &embeds.device())?);
    }
    for mask in [&mut layers.mask, &mut layers.self_attn_context_mask].into_iter().flatten() {
        let own = mask.dims().last().copied();
        if given && own == Some(columns + count) {
            return Error::shape(format!(
                "a mask has {} columns, those of prepend_embeds too: leave prepend_mask out, or give \
                 the mask {columns} columns",
                columns + count
            ));
        }
        if count > 0 && own == Some(columns) {
            require_bool(mask, "mask")?;
            let axis = mask.rank() - 1;
            let front = match axis {
                0 => ops::reshape(&front, &[batch * count])?,
                _ => front.clone(),
            };
            *mask = ops::cat(&[&front, mask], axis)?;
        }
    }
    Ok(())
}

/// `mask` as bool `(batch, count)`; without a batch axis for one row.
fn checked_front(mask: Tensor, [batch, count]: [usize; 2]) -> Result<Tensor> {
    require_bool(&mask, "prepend_mask")?;
    if mask.dims() == [batch, count] {
        return Ok(mask);
    }
    if batch == 1 && mask.dims() == [count] {
        return Ok(ops::reshape(&mask, &[1, count])?);
    }
    Error::shape(format!(
        "prepend_mask must have shape {:?}, as prepend_embeds, got {:?}",
        [batch, count],
        mask.dims()
    ))
}

/// Makes all of a context visible whose mask is not given: a mask of the sequence that is not the
/// caller's must not stand for it.
pub fn see_whole_context(layers: &mut LayerTensors) -> Result<()> {
    if let (Some(context), None) = (&layers.context, &layers.context_mask) {
        if context.rank() == 3 {
            layers.context_mask = Some(ones([context.dim(0), context.dim(1)], &context.device())?);
        }
    }
    Ok(())
}

/// A mask that is true everywhere.
fn ones(dims: [usize; 2], device: &Device) -> Result<Tensor> {
    Ok(Tensor::boolean(Array::ones(&dims, DType::U8, device)?))
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
