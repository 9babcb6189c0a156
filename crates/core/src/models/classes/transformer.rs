//! `TransformerWrapper`.

use super::construction::{parse_and, Construction};
use super::inputs::{columns, maps_after_softmax, segments, token_tensors};
use super::prompts::start_rows;
use crate::layers::AttentionLayers;
use crate::models::model::{Built, Class};
use crate::models::{Model, Returns, TransformerConfig, TransformerOutput, TransformerWrapper};
use crate::{Args, Ctx, Error, Params, Result, Tensor, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::calls::TransformerCall;
use xt_options::wrappers::TransformerWrapperOptions;
use xt_options::{Problems, TensorRef};

/// Constructs a `TransformerWrapper`.
pub fn new(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let check = |o: &TransformerWrapperOptions, problems: &mut Problems| {
        if let Some(layers) = with.peek(&o.attn_layers) {
            check_transformer(o, layers, problems);
        }
    };
    let options: TransformerWrapperOptions = parse_and(with.class, options, check)?;
    let (layers, child) = with.layers(&options.attn_layers)?;
    let config = TransformerConfig::from(&options);
    Ok(Box::new(Arc::new(TransformerWrapper::new(layers, child.entries(), None, &config, p))))
}

/// Adds the problems of options that do not fit the layers.
fn check_transformer(
    o: &TransformerWrapperOptions,
    layers: &AttentionLayers,
    problems: &mut Problems,
) {
    let emb_dim = o.emb_dim.map_or(layers.dim(), |n| n.get());
    o.sequence.check_width(emb_dim, layers.has_pos_emb(), "", problems);
    problems.require(
        !o.head.tie_embedding || emb_dim == layers.dim(),
        "tie_embedding",
        format!("needs embeddings as wide as the layers ({}), not {emb_dim}", layers.dim()),
    );
    problems.require(
        !o.head.tie_embedding || o.logits_dim.is_none_or(|n| n == o.tokens.num_tokens),
        "logits_dim",
        "does not go with `tie_embedding`, whose head gives one logit for each token",
    );
}

impl Class for Arc<TransformerWrapper> {
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        match method {
            "forward" => call_transformer(self, args, ctx),
            _ => Err(model.has_no(method)),
        }
    }

    fn train(&self, on: bool) {
        self.mode().set(on);
    }

    fn vectors(&self) -> Option<&'static str> {
        None
    }
}

/// `TransformerWrapper.forward`: logits or embeddings or both, and what else is requested.
fn call_transformer(model: &TransformerWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: TransformerCall = args.named()?;
    let both = call.return_embeddings_and_intermediates;
    let embeddings_alone = call.return_embeddings || both || !model.has_head();
    let returns = Returns {
        logits: call.return_logits_and_embeddings || !embeddings_alone,
        embeddings: call.return_logits_and_embeddings || embeddings_alone,
        intermediates: call.return_intermediates || both || call.return_attn,
        mems: call.return_mems,
        attached_mems: !call.detach_mems,
    };
    let x = args.tensor(0, "x")?;
    let mut with = token_tensors(&call.inputs, &call.tokens, columns(&x), args)?;
    if let Some(starts) = args.optional(call.seq_start_pos)? {
        if model.affected_by_padding_before(&with) {
            return Error::shape(
                "seq_start_pos does not go with these layers, in which padding changes what is \
                 behind it: call each row alone (rotary positions alone go with \
                 `rotary_given_pos`)",
            );
        }
        start_rows(&mut with, &starts, &x)?;
    }
    with.layers.causal = call.causal;
    with.layers.segments = segments(&call.packed, args)?;
    let (output, cache) = match (&call.cache, call.return_cache) {
        (None, false) => (model.forward(&x, &with, returns, ctx)?, None),
        (before, wanted) => {
            let all = |list: &Vec<TensorRef>| list.iter().map(|r| args.resolve(*r)).collect();
            let before: Option<Vec<Tensor>> = before.as_ref().map(all).transpose()?;
            let run = (before.as_deref(), returns);
            let (output, cache) = model.forward_after(&x, &with, run, ctx)?;
            (output, wanted.then_some(cache))
        }
    };
    let TransformerOutput { mut logits, mut embeddings, intermediates, mems } = output;
    let front = with.prepend_embeds.as_ref().map_or(0, |embeds| embeds.dim(1));
    if call.excise_prepend_embeds && model.without_positions().is_none() {
        for y in logits.iter_mut().chain(&mut embeddings) {
            *y = ops::narrow(y, 1, front, y.dim(1) - front)?;
        }
    }
    let mut out: Vec<Value> = Vec::new();
    if returns.logits {
        out.push(finished(model, logits)?);
    }
    out.extend(embeddings.map(Value::Tensor));
    let first = if out.len() == 1 { out.remove(0) } else { Value::List(out) };
    if let Some(cache) = cache {
        return Ok(Value::List(vec![first, cache.into()]));
    }
    // if several are requested, the precedence is that of the Python package
    Ok(match (call.return_intermediates || both, mems, call.return_attn) {
        (true, _, _) => Value::List(vec![first, intermediates.into()]),
        (false, Some(mems), _) => Value::List(vec![first, mems.into()]),
        (false, None, true) => Value::List(vec![first, maps_after_softmax(intermediates)]),
        (false, None, false) => first,
    })
}

/// The logits of the heads as a result: a tensor, or a list of several heads.
fn finished(model: &TransformerWrapper, mut logits: Vec<Tensor>) -> Result<Value> {
    if model.squeezes() {
        for y in &mut logits {
            let dims = y.dims()[..y.rank() - 1].to_vec();
            *y = ops::reshape(y, &dims)?;
        }
    }
    Ok(match logits.len() {
        1 => logits.remove(0).into(),
        _ => logits.into(),
    })
}
