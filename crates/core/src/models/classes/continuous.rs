//! `ContinuousTransformerWrapper` and `ContinuousAutoregressiveWrapper`.

use super::construction::{parse, parse_and, Construction};
use super::inputs::{continuous_tensors, maps_after_softmax, segments};
use crate::layers::LayerReturns;
use crate::models::model::{Built, Class};
use crate::models::{ContinuousAutoregressiveWrapper, ContinuousTransformerWrapper, Model};
use crate::{Args, Ctx, Error, Params, Result, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_options::autoregressive::ContinuousAutoregressiveWrapperOptions;
use xt_options::calls::{ContinuousAutoregressiveCall, ContinuousTransformerCall};
use xt_options::generation::ContinuousGenerate;
use xt_options::wrappers::ContinuousTransformerWrapperOptions;
use xt_options::Problems;

/// Constructs a `ContinuousTransformerWrapper`.
pub fn transformer(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let check = |o: &ContinuousTransformerWrapperOptions, problems: &mut Problems| {
        if let Some(layers) = with.peek(&o.attn_layers) {
            o.sequence.check_width(layers.dim(), layers.has_pos_emb(), "", problems);
        }
    };
    let options: ContinuousTransformerWrapperOptions = parse_and(with.class, options, check)?;
    let (layers, child) = with.layers(&options.attn_layers)?;
    Ok(Box::new(Arc::new(ContinuousTransformerWrapper::new(layers, child.entries(), &options, p))))
}

impl Class for Arc<ContinuousTransformerWrapper> {
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        match method {
            "forward" => call_continuous(self, args, ctx),
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

/// `ContinuousTransformerWrapper.forward`: the output, and intermediates or attention weights.
fn call_continuous(model: &ContinuousTransformerWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: ContinuousTransformerCall = args.named()?;
    let mut with = continuous_tensors(&call.inputs, &call.values, args)?;
    with.layers.segments = segments(&call.packed, args)?;
    let wanted = call.return_intermediates || call.return_attn;
    let record = LayerReturns { hiddens: wanted, maps: wanted };
    let (y, intermediates) =
        model.forward(&args.tensor(0, "x")?, &with, call.return_embeddings, record, ctx)?;
    Ok(match (call.return_intermediates, call.return_attn) {
        (true, _) => Value::List(vec![y.into(), intermediates.into()]),
        (false, true) => Value::List(vec![y.into(), maps_after_softmax(intermediates)]),
        (false, false) => y.into(),
    })
}

/// Constructs a `ContinuousAutoregressiveWrapper`.
pub fn autoregressive(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let options: ContinuousAutoregressiveWrapperOptions = parse(with.class, options)?;
    let child = with.take(&options.net, "net")?;
    let none = || Error::Internal("net is no transformer over continuous values".into());
    let net = child.of::<ContinuousTransformerWrapper>().ok_or_else(none)?;
    p.submodule("net").include(child.entries());
    Ok(Box::new(Arc::new(ContinuousAutoregressiveWrapper::new(net.clone()))))
}

impl Class for Arc<ContinuousAutoregressiveWrapper> {
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        match method {
            "forward" => call_continuous_loss(self, args, ctx),
            "generate" => {
                let options: ContinuousGenerate = args.named()?;
                let with = continuous_tensors(&options.inputs, &options.values, args)?;
                let seq_len = args.positional(1, "seq_len")?;
                let cache_kv = options.cache.cache_kv;
                let start = args.tensor(0, "start")?;
                Ok(self.generate(&start, seq_len, &with, cache_kv, ctx)?.into())
            }
            _ => Err(model.has_no(method)),
        }
    }

    fn train(&self, on: bool) {
        self.mode().set(on);
    }

    fn vectors(&self) -> Option<&'static str> {
        Some("x")
    }

    fn not_cacheable(&self) -> Option<&'static str> {
        self.net().not_cacheable()
    }
}

/// `ContinuousAutoregressiveWrapper.forward`: the loss.
fn call_continuous_loss(
    model: &ContinuousAutoregressiveWrapper,
    args: &Args,
    ctx: &Ctx,
) -> Result<Value> {
    let call: ContinuousAutoregressiveCall = args.named()?;
    let mut with = continuous_tensors(&call.inputs, &call.values, args)?;
    with.layers.segments = segments(&call.packed, args)?;
    Ok(model.forward(&args.tensor(0, "x")?, &with, ctx)?.into())
}
