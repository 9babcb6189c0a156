//! `AutoregressiveWrapper`.

use super::construction::{parse, refuse, require_logits_by_token, Construction};
use super::inputs::{columns, masked_token_tensors, segments, token_tensors};
use super::prompts::{first_columns, prompts};
use crate::generation::{check_length, Extent, Generation};
use crate::models::model::{Built, Class};
use crate::models::{AutoregressiveWrapper, Model, Targets};
use crate::{Args, Ctx, Error, Params, Result, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_options::autoregressive::AutoregressiveWrapperOptions;
use xt_options::calls::{AutoregressiveCall, ScoreOptions};
use xt_options::generation::GenerateOptions;
use xt_options::Problems;

/// Constructs an `AutoregressiveWrapper`.
pub fn new(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let options: AutoregressiveWrapperOptions = parse(with.class, options)?;
    let net = with.transformer(&options.net, "net", p)?;
    let mut problems = Problems::default();
    require_logits_by_token(&net, "net", &mut problems);
    refuse(with.class, problems)?;
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
        let (start, mask) = prompts(args, &options.prompts)?;
        if mask.is_some() && options.inputs.mask.is_some() {
            return Error::shape("mask does not go with an array of prompts, which have lengths");
        }
        let (inputs, tokens) = (&options.inputs, &options.tokens);
        let with = masked_token_tensors(inputs, tokens, mask, columns(&start), args)?;
        let seq_len = args.positional(1, "seq_len")?;
        if !stream {
            check_length(&start, seq_len, &options.sampling)?;
        }
        let caching = model.caching(options.cache.cache_kv);
        Generation::new(
            self.clone(),
            &start,
            Extent { seq_len, restricted: options.window.restrict_to_max_seq_len },
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
    let x = args.tensor(0, "x")?;
    // the last token is a target alone
    let inputs = columns(&x).saturating_sub(1);
    let mut with = token_tensors(&call.inputs, &call.tokens, inputs, args)?;
    with.layers.segments = segments(&call.packed, args)?;
    let lens = args.optional(call.lens)?.filter(|_| x.rank() == 2);
    let real = lens.map(|lens| first_columns("lens", &lens, &x)).transpose()?;
    let of = Targets { label_smoothing: call.loss.label_smoothing.0, real };
    if call.return_outputs {
        let (loss, logits) = model.forward_with_logits(&x, &with, &of, ctx)?;
        return Ok(Value::List(vec![loss.into(), logits.into()]));
    }
    Ok(model.forward(&x, &with, &of, ctx)?.into())
}

/// `AutoregressiveWrapper.score`.
fn call_score(model: &AutoregressiveWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: ScoreOptions = args.named()?;
    let tokens = args.tensor(0, "tokens")?;
    let with = token_tensors(&call.inputs, &call.tokens, columns(&tokens), args)?;
    Ok(model.score(&tokens, &with, call.counted.ignore_pad, ctx)?.into())
}
