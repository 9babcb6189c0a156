//! `Encoder`, `Decoder`, `CrossAttender` and `TransformerBlock`: stacks of layers without
//! embeddings.

use super::construction::{parse, parse_and, Construction};
use super::inputs::{layer_tensors, segments};
use crate::layers::{AttentionLayers, LayerReturns};
use crate::models::model::{Built, Class};
use crate::models::Model;
use crate::{Args, Ctx, Error, Params, Result, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_options::calls::LayersCall;
use xt_options::layers::{one_block, CrossAttenderOptions, LayersOptions};

/// Constructs an `Encoder`.
pub fn encoder(options: &Json, _: &mut Construction, p: &mut Params) -> Built {
    stack("Encoder", options, p)
}

/// Constructs a `Decoder`.
pub fn decoder(options: &Json, _: &mut Construction, p: &mut Params) -> Built {
    stack("Decoder", options, p)
}

/// Constructs an `Encoder` or `Decoder`.
fn stack(class: &str, options: &Json, p: &mut Params) -> Built {
    let options: LayersOptions =
        parse_and(class, options, |o: &LayersOptions, problems| o.check_class(class, problems))?;
    Ok(Box::new(Arc::new(AttentionLayers::new(
        options.context(),
        class == "Decoder",
        None,
        &options.stack,
        p,
    )?)))
}

/// Constructs a `TransformerBlock`.
pub fn block(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let options = one_block(options)
        .map_err(|problems| Error::Options { class: with.class.into(), problems })?;
    let (context, stack) = (options.layers.context(), &options.layers.stack);
    Ok(Box::new(Arc::new(AttentionLayers::new(context, options.causal, None, stack, p)?)))
}

/// Constructs a `CrossAttender`.
pub fn cross_attender(options: &Json, _: &mut Construction, p: &mut Params) -> Built {
    let options: CrossAttenderOptions = parse("CrossAttender", options)?;
    Ok(Box::new(Arc::new(AttentionLayers::new(options.context(), false, None, &options.stack, p)?)))
}

impl Class for Arc<AttentionLayers> {
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        match method {
            "forward" => call_layers(self, args, ctx),
            _ => Err(model.has_no(method)),
        }
    }

    fn train(&self, on: bool) {
        self.mode().set(on);
    }

    fn vectors(&self) -> Option<&'static str> {
        Some("x")
    }
}

/// `forward` of a stack: the output, or with `return_hiddens` the output and the intermediates.
fn call_layers(layers: &AttentionLayers, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: LayersCall = args.named()?;
    let record = LayerReturns { hiddens: call.return_hiddens, maps: call.return_hiddens };
    let mut with = layer_tensors(&call.inputs, args)?;
    with.segments = segments(&call.packed, args)?;
    with.pos = args.optional(call.pos)?;
    if with.pos.is_some() && !layers.takes_pos() {
        return Error::shape(
            "pos needs the option `rotary_given_pos` or `alibi_given_pos` of these layers",
        );
    }
    with.causal = call.causal;
    let out = layers.forward(&args.tensor(0, "x")?, &with, record, ctx)?;
    Ok(if call.return_hiddens {
        Value::List(vec![out.x.into(), out.intermediates.into()])
    } else {
        out.x.into()
    })
}
