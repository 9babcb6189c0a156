//! Calls by name: arguments from JSON and tensors, results as values.

use super::{AutoregressiveWrapper, Body, Model, Returns, TokenTensors, TransformerOutput, TransformerWrapper};
use crate::generation::Generation;
use crate::layers::{AttentionLayers, Intermediates, LayerTensors};
use crate::{Args, Ctx, Error, Result, Value};
use xt_options::calls::{AutoregressiveCall, LayerInputs, LayersCall, TokenInputs, TransformerCall};
use xt_options::generation::GenerateOptions;

impl Model {
    /// Runs `forward` or `generate`.
    pub fn call(&self, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        match (&self.body, method) {
            (Body::Layers(layers), "forward") => call_layers(layers, args, ctx),
            (Body::Transformer(model), "forward") => call_transformer(model, args, ctx),
            (Body::Autoregressive(model), "forward") => call_loss(model, args, ctx),
            (Body::Autoregressive(_), "generate") => {
                let mut generation = self.generation(args)?;
                while !generation.done() {
                    let logits = generation.logits(ctx)?;
                    generation.accept(&logits, false, ctx.rng)?;
                }
                Ok(generation.tokens()?.into())
            }
            _ => Err(Error::NotAvailable(format!("{}.{method}", self.class()))),
        }
    }

    /// A generation in steps; arguments as for `generate`.
    pub fn generation(&self, args: &Args) -> Result<Generation> {
        let Body::Autoregressive(model) = &self.body else {
            return Err(Error::NotAvailable(format!("{}.generate", self.class())));
        };
        let options: GenerateOptions = args.named()?;
        let with = token_tensors(&options.inputs, &options.tokens, args)?;
        let start = args.tensor(0, "start_tokens")?;
        Generation::new(model.clone(), &start, args.positional(1, "seq_len")?, options.sampling, with)
    }
}

fn layer_tensors(inputs: &LayerInputs, args: &Args) -> Result<LayerTensors> {
    Ok(LayerTensors {
        context: args.optional(inputs.context)?,
        mask: args.optional(inputs.mask)?,
        context_mask: args.optional(inputs.context_mask)?,
        attn_mask: args.optional(inputs.attn_mask)?,
        self_attn_context_mask: args.optional(inputs.self_attn_context_mask)?,
    })
}

fn token_tensors(inputs: &LayerInputs, tokens: &TokenInputs, args: &Args) -> Result<TokenTensors> {
    Ok(TokenTensors {
        pos: args.optional(tokens.pos)?,
        prepend_embeds: args.optional(tokens.prepend_embeds)?,
        sum_embeds: args.optional(tokens.sum_embeds)?,
        layers: layer_tensors(inputs, args)?,
    })
}

fn call_layers(layers: &AttentionLayers, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: LayersCall = args.named()?;
    let out = layers.forward(&args.tensor(0, "x")?, &layer_tensors(&call.inputs, args)?, call.return_hiddens, ctx)?;
    Ok(if call.return_hiddens { Value::List(vec![out.x.into(), out.intermediates.into()]) } else { out.x.into() })
}

fn call_transformer(model: &TransformerWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: TransformerCall = args.named()?;
    let returns = Returns {
        logits: call.return_logits_and_embeddings || !call.return_embeddings,
        embeddings: call.return_logits_and_embeddings || call.return_embeddings,
        intermediates: call.return_intermediates || call.return_attn,
    };
    let with = token_tensors(&call.inputs, &call.tokens, args)?;
    let TransformerOutput { logits, embeddings, intermediates } =
        model.forward(&args.tensor(0, "x")?, &with, returns, ctx)?;
    let mut out: Vec<Value> = logits.into_iter().chain(embeddings).map(Value::Tensor).collect();
    let first = if out.len() == 1 { out.remove(0) } else { Value::List(out) };
    Ok(match (call.return_intermediates, call.return_attn) {
        (true, _) => Value::List(vec![first, intermediates.into()]),
        (false, true) => {
            let maps = intermediates.attn_intermediates.into_iter().map(|m| m.post_softmax_attn).collect::<Vec<_>>();
            Value::List(vec![first, maps.into()])
        }
        (false, false) => first,
    })
}

fn call_loss(model: &AutoregressiveWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: AutoregressiveCall = args.named()?;
    let with = token_tensors(&call.inputs, &call.tokens, args)?;
    Ok(model.forward(&args.tensor(0, "x")?, &with, ctx)?.into())
}

impl From<Intermediates> for Value {
    fn from(intermediates: Intermediates) -> Self {
        let maps = intermediates.attn_intermediates.into_iter().map(|m| {
            Value::Fields(vec![
                ("pre_softmax_attn", m.pre_softmax_attn.into()),
                ("post_softmax_attn", m.post_softmax_attn.into()),
            ])
        });
        Value::Fields(vec![
            ("hiddens", intermediates.hiddens.into()),
            ("attn_intermediates", Value::List(maps.collect())),
        ])
    }
}
