//! `Attention`: a single attention layer.

use super::construction::{parse, Construction};
use crate::attention::{Attention, AttentionInputs, Widths};
use crate::models::model::{Built, Class};
use crate::models::Model;
use crate::{Args, Ctx, Error, Mode, Params, Result, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_options::attention::AttentionOptions;
use xt_options::calls::AttentionCall;

/// A single attention layer as a model.
pub struct BareAttention {
    /// The attention layer.
    pub attention: Attention,
    /// The width of the input.
    pub dim: usize,
    /// The width of the input of keys and values.
    pub dim_context: usize,
    /// Training or evaluation mode.
    pub mode: Mode,
}

/// Constructs an `Attention`.
pub fn new(options: &Json, _: &mut Construction, p: &mut Params) -> Built {
    let o: AttentionOptions = parse("Attention", options)?;
    let (dim, dim_context) = (o.dim.get(), o.dim_context.unwrap_or(o.dim).get());
    let output = o.dim_out.unwrap_or(o.dim).get();
    let widths = Widths { input: dim, context: dim_context, output };
    let attention = Attention::new(widths, o.heads.get(), (o.causal, false), &o.block, p);
    Ok(Box::new(Arc::new(BareAttention { attention, dim, dim_context, mode: Mode::default() })))
}

impl Class for Arc<BareAttention> {
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        match method {
            "forward" => call_attention(self, args, ctx),
            _ => Err(model.has_no(method)),
        }
    }

    fn train(&self, on: bool) {
        self.mode.set(on);
    }

    fn vectors(&self) -> Option<&'static str> {
        Some("x")
    }
}

/// `Attention.forward`: the output and the attention maps.
fn call_attention(model: &BareAttention, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: AttentionCall = args.named()?;
    let x = args.tensor(0, "x")?;
    let (context, mem) = (args.optional(call.context)?, args.optional(call.mem)?);
    if context.is_none() && model.dim_context != model.dim {
        return Error::shape("context is missing: `dim_context` says that it has another width");
    }
    for (name, t, width) in [
        ("x", Some(&x), model.dim),
        ("context", context.as_ref(), model.dim_context),
        ("mem", mem.as_ref(), model.dim_context),
    ] {
        if let Some(t) = t.filter(|t| t.rank() != 3 || t.dim(2) != width || t.dim(0) != x.dim(0)) {
            return Error::shape(format!(
                "{name} must have shape (batch, length, {width}), got {:?}",
                t.dims()
            ));
        }
    }
    let (mask, context_mask) = (args.optional(call.mask)?, args.optional(call.context_mask)?);
    let (attn_mask, mem_mask) = (args.optional(call.attn_mask)?, args.optional(call.mem_mask)?);
    if mem_mask.is_some() && mem.is_none() {
        return Error::shape("mem_mask needs mem, which it is a mask of");
    }
    let memories = mem.as_ref().map(|mem| vec![mem.dim(0), mem.dim(1)]);
    if mem_mask.as_ref().is_some_and(|mask| Some(mask.dims()) != memories.as_deref()) {
        return Error::shape("mem_mask must be bool of shape (batch, count), as mem");
    }
    let inputs = AttentionInputs {
        context: context.as_ref(),
        mem: mem.as_ref(),
        mem_mask: mem_mask.as_ref(),
        mask: mask.as_ref(),
        context_mask: context_mask.as_ref(),
        attn_mask: attn_mask.as_ref(),
        maps: true,
        ..AttentionInputs::default()
    };
    let out = model.attention.forward(&x, &inputs, None, &ctx.for_model(&model.mode))?;
    let maps = out.maps.ok_or_else(|| Error::Internal("no maps".into()))?;
    Ok(Value::List(vec![out.y.into(), maps.into()]))
}
