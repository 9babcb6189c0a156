//! `AutoregressiveWrapper`.

use super::construction::{parse, Construction};
use super::inputs::{segments, token_tensors};
use crate::generation::{check_length, Generation};
use crate::models::model::{Built, Class};
use crate::models::{AutoregressiveWrapper, Model};
use crate::{Args, Ctx, Params, Result, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_options::autoregressive::AutoregressiveWrapperOptions;
use xt_options::calls::{AutoregressiveCall, ScoreOptions};
use xt_options::generation::GenerateOptions;

/// Constructs an `AutoregressiveWrapper`.
pub fn new(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let options: AutoregressiveWrapperOptions = parse(with.class, options)?;
    let net = with.transformer(&options.net, "net", p)?;
    let wrapper = AutoregressiveWrapper::new(net, &options.targets, options.mask_prob.0);
    Ok(Box::new(Arc::new(wrapper)))
}

impl Class for Arc<AutoregressiveWrapper> {
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        match method {
            "forward" => call_loss(self, args, ctx),
            "generate" => model.generate(args, ctx),
            "score" => call_score(self, args, ctx),
            _ => Err(model.has_no(method)),
        }
    }

    fn train(&self, on: bool) {
        self.mode().set(on);
    }

    fn vectors(&self) -> Option<&'static str> {
        None
    }

    fn generation(&self, model: &Model, method: &str, args: &Args) -> Result<Generation> {
        let stream = method == "stream";
        let options: GenerateOptions = args.named_and(|o: &GenerateOptions, problems| {
            if stream {
                o.beams.check_stream(problems);
            }
        })?;
        let with = token_tensors(&options.inputs, &options.tokens, args)?;
        let start = args.tensor(0, "start_tokens")?;
        let seq_len = args.positional(1, "seq_len")?;
        if !stream {
            check_length(&start, seq_len, &options.sampling)?;
        }
        let caching = model.caching(options.cache.cache_kv);
        Generation::new(
            self.clone(),
            &start,
            seq_len,
            options.sampling,
            &options.beams,
            with,
            caching,
        )
    }

    fn not_cacheable(&self) -> Option<&'static str> {
        self.net().not_cacheable()
    }
}

/// `AutoregressiveWrapper.forward`: the loss.
fn call_loss(model: &AutoregressiveWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: AutoregressiveCall = args.named()?;
    let mut with = token_tensors(&call.inputs, &call.tokens, args)?;
    with.layers.segments = segments(&call.packed, args)?;
    let smoothing = call.loss.label_smoothing.0;
    Ok(model.forward(&args.tensor(0, "x")?, &with, smoothing, ctx)?.into())
}

/// `AutoregressiveWrapper.score`.
fn call_score(model: &AutoregressiveWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: ScoreOptions = args.named()?;
    let with = token_tensors(&call.inputs, &call.tokens, args)?;
    Ok(model.score(&args.tensor(0, "tokens")?, &with, call.counted.ignore_pad, ctx)?.into())
}
