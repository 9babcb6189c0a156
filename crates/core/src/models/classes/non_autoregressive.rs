//! `NonAutoregressiveWrapper`.

use super::construction::{parse, refuse, require_logits_by_token, Construction};
use super::inputs::{columns, token_tensors};
use crate::layers::Linear;
use crate::models::model::{Built, Class};
use crate::models::{Critic, Model, NonAutoregressiveWrapper, Training};
use crate::{Args, Ctx, Params, Result, Value};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_options::autoregressive::NonAutoregressiveWrapperOptions;
use xt_options::calls::NonAutoregressiveCall;
use xt_options::generation::NonAutoregressiveGenerate;
use xt_options::Problems;

/// Constructs a `NonAutoregressiveWrapper`.
pub fn new(options: &Json, with: &mut Construction, p: &mut Params) -> Built {
    let options: NonAutoregressiveWrapperOptions = parse(with.class, options)?;
    let net = with.transformer(&options.net, "net", p)?;
    let mut problems = Problems::default();
    require_logits_by_token(&net, "net", &mut problems);
    problems.require(net.max_seq_len() > 0, "net", "must have a `max_seq_len` above 0");
    problems.require(
        options.mask_id < net.num_tokens(),
        "mask_id",
        format!("must be below {}", net.num_tokens()),
    );
    problems.require(
        !options.self_cond || net.emb_dim() == net.layers().dim(),
        "self_cond",
        "needs a model whose embeddings are as wide as its layers",
    );
    problems.require(net.outputs() >= net.num_tokens(), "net", "must give a logit for each token");
    let critic = match &options.token_critic {
        Some(reference) => Some(Critic::Model(with.transformer(reference, "token_critic", p)?)),
        None if options.self_token_critic => {
            let place = p.submodule("token_critic");
            place.submodule("net").include(with.used[0].1.entries());
            Some(Critic::Head(Linear::new(
                net.layers().dim(),
                1,
                true,
                &mut place.submodule("to_logits"),
            )))
        }
        None => None,
    };
    if let Some(Critic::Model(model)) = &critic {
        require_logits_by_token(model, "token_critic", &mut problems);
        problems.require(model.outputs() == 1, "token_critic", "must have a `logits_dim` of 1");
    }
    refuse(with.class, problems)?;
    Ok(Box::new(Arc::new(NonAutoregressiveWrapper::new(net, critic, &options, p))))
}

impl Class for Arc<NonAutoregressiveWrapper> {
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        match method {
            "forward" => call_losses(self, args, ctx),
            "generate" => {
                let options: NonAutoregressiveGenerate = args.named()?;
                let columns = self.columns();
                let with = token_tensors(&options.inputs, &options.tokens, columns, args)?;
                Ok(self.generate(&options, &with, ctx)?.into())
            }
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

/// `NonAutoregressiveWrapper.forward`: the losses as fields.
fn call_losses(model: &NonAutoregressiveWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: NonAutoregressiveCall = args.named()?;
    let x = args.tensor(0, "x")?;
    let with = token_tensors(&call.inputs, &call.tokens, columns(&x), args)?;
    let train = Training {
        only_generator: call.only_train_generator,
        only_critic: call.only_train_critic,
        temperature: call.generator_sample_temperature,
    };
    let losses = model.forward(&x, &with, train, ctx)?;
    Ok(Value::Fields(vec![
        ("loss", losses.loss.into()),
        ("generator_loss", losses.generator_loss.into()),
        ("critic_loss", losses.critic_loss.into()),
    ]))
}
