//! `XTransformer`.

use super::construction::{parse, Construction};
use super::inputs::{columns, no_inputs, source_tensors, token_tensors};
use crate::generation::{check_length, Extent, Generation};
use crate::models::model::{Built, Class};
use crate::models::{Model, Targets, XTransformer};
use crate::{Args, Ctx, Params, Result, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_options::calls::{XTransformerCall, XTransformerScore};
use xt_options::generation::XTransformerGenerate;

/// Constructs an `XTransformer`.
pub fn new(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    Ok(Box::new(Arc::new(XTransformer::new(&parse(with.class, options)?, p)?)))
}

impl Class for Arc<XTransformer> {
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        match method {
            "forward" => call_x_transformer(self, args, ctx),
            "generate" => model.generate(args, ctx),
            "score" => call_x_transformer_score(self, args, ctx),
            _ => Err(model.has_no(method)),
        }
    }

    fn train(&self, on: bool) {
        XTransformer::train(self, on);
    }

    fn vectors(&self) -> Option<&'static str> {
        None
    }

    fn generation(&self, model: &Model, method: &str, args: &Args) -> Result<Generation> {
        let stream = method == "stream";
        let options: XTransformerGenerate =
            args.named_and(|o: &XTransformerGenerate, problems| {
                if stream {
                    o.beams.check_stream(problems);
                }
            })?;
        let start = args.tensor(1, "seq_out_start")?;
        let with = token_tensors(&no_inputs(), &options.tokens, columns(&start), args)?;
        let seq_len = args.positional(2, "seq_len")?;
        if !stream {
            check_length(&start, seq_len, &options.sampling)?;
        }
        let decoder = self.decoder().clone();
        let source = source_tensors(&options.source, args)?;
        let caching = model.caching(options.cache.cache_kv);
        let generation = Generation::new(
            decoder,
            &start,
            Extent { seq_len, restricted: options.window.restrict_to_max_seq_len },
            options.sampling,
            &options.beams,
            with,
            caching,
        )?;
        Ok(generation.with_source(self.clone(), args.tensor(0, "seq_in")?, source))
    }

    fn not_cacheable(&self) -> Option<&'static str> {
        self.decoder().net().not_cacheable()
    }
}

/// `XTransformer.forward`: the loss, or the logits.
fn call_x_transformer(model: &XTransformer, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: XTransformerCall = args.named()?;
    let with = source_tensors(&call.source, args)?;
    let (src, tgt) = (args.tensor(0, "src")?, args.tensor(1, "tgt")?);
    if call.return_logits {
        return Ok(model.logits((&src, &tgt), &with, ctx)?.into());
    }
    let of = Targets { label_smoothing: call.loss.label_smoothing.0, real: None };
    Ok(model.forward((&src, &tgt), &with, &of, ctx)?.into())
}

/// `XTransformer.score`.
fn call_x_transformer_score(model: &XTransformer, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: XTransformerScore = args.named()?;
    let with = source_tensors(&call.source, args)?;
    let (src, tgt) = (args.tensor(0, "src")?, args.tensor(1, "tgt")?);
    Ok(model.score(&src, &tgt, &with, call.counted.ignore_pad, ctx)?.into())
}
