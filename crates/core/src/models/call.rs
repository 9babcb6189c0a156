//! Calls by method name: arguments from JSON and tensors, results as values.

use super::continuous::ContinuousTensors;
use super::x_transformer::SourceTensors;
use super::{
    AutoregressiveWrapper, BareAttention, Body, ContinuousAutoregressiveWrapper,
    ContinuousTransformerWrapper, Model, NonAutoregressiveWrapper, Returns, Score, TokenTensors,
    Training, TransformerOutput, TransformerWrapper, ViTransformerWrapper, XTransformer,
};
use crate::attention::AttentionInputs;
use crate::generation::{check_length, Generation};
use crate::ids::require_type;
use crate::layers::{AttentionLayers, Intermediates, LayerTensors, Record};
use crate::{Args, Ctx, Error, Result, Value};
use xt_options::calls::{
    AttentionCall, AutoregressiveCall, ContinuousAutoregressiveCall, ContinuousInputs,
    ContinuousTransformerCall, LayerInputs, LayersCall, NonAutoregressiveCall, ScoreOptions,
    SourceInputs, TokenInputs, TransformerCall, ViTransformerCall, XTransformerCall,
    XTransformerScore,
};
use xt_options::generation::{
    ContinuousGenerate, GenerateOptions, NonAutoregressiveGenerate, XTransformerGenerate,
};

/// The named arguments whose floating-point tensors must have the type of the weights.
const VECTORS: [&str; 7] =
    ["context", "mem", "mems", "pos", "prepend_embeds", "src_prepend_embeds", "sum_embeds"];

impl Model {
    /// Runs the method `forward`, `generate` or `score` with the given arguments.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] if the class has no such method, and the errors of the method.
    pub fn call(&self, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        self.check_memory()?;
        self.check_types(args)?;
        match (&self.body, method) {
            (Body::Attention(model), "forward") => call_attention(model, args, ctx),
            (Body::Layers(layers), "forward") => call_layers(layers, args, ctx),
            (Body::Transformer(model), "forward") => call_transformer(model, args, ctx),
            (Body::Continuous(model), "forward") => call_continuous(model, args, ctx),
            (Body::Vit(model), "forward") => call_vit(model, args, ctx),
            (Body::Autoregressive(model), "forward") => call_loss(model, args, ctx),
            (Body::Autoregressive(model), "score") => call_score(model, args, ctx),
            (Body::XTransformer(model), "score") => call_x_transformer_score(model, args, ctx),
            (Body::NonAutoregressive(model), "forward") => call_losses(model, args, ctx),
            (Body::NonAutoregressive(model), "generate") => {
                let options: NonAutoregressiveGenerate = args.named()?;
                let with = token_tensors(&options.inputs, &options.tokens, args)?;
                Ok(model.generate(&options, &with, ctx)?.into())
            }
            (Body::ContinuousAutoregressive(model), "forward") => {
                call_continuous_loss(model, args, ctx)
            }
            (Body::XTransformer(model), "forward") => call_x_transformer(model, args, ctx),
            (Body::ContinuousAutoregressive(model), "generate") => {
                let options: ContinuousGenerate = args.named()?;
                let with = continuous_tensors(&options.inputs, &options.values, args)?;
                let seq_len = args.positional(1, "seq_len")?;
                let cache_kv = options.cache.cache_kv;
                Ok(model.generate(&args.tensor(0, "start")?, seq_len, &with, cache_kv, ctx)?.into())
            }
            (Body::Autoregressive(_) | Body::XTransformer(_), "generate") => {
                let mut generation = self.generation("generate", args)?;
                while !generation.done() {
                    let logits = generation.logits(ctx)?;
                    generation.accept(&logits, false, ctx.rng)?;
                }
                Ok(generation.tokens()?.into())
            }
            _ => Err(Error::NotAvailable(format!("{}.{method}", self.class()))),
        }
    }

    /// Checks that floating-point arguments have the type of the weights.
    fn check_types(&self, args: &Args) -> Result<()> {
        let Some(weights) = self.entries.first().map(|entry| entry.param.leaf().dtype()) else {
            return Ok(());
        };
        let first = match &self.body {
            Body::Vit(_) => Some("img"),
            Body::Attention(_)
            | Body::Layers(_)
            | Body::Continuous(_)
            | Body::ContinuousAutoregressive(_) => Some("x"),
            Body::Transformer(_)
            | Body::Autoregressive(_)
            | Body::NonAutoregressive(_)
            | Body::XTransformer(_) => None,
        };
        let positional =
            first.into_iter().filter_map(|name| Some((name, args.tensor(0, name).ok()?)));
        let vectors = positional
            .chain(VECTORS.into_iter().flat_map(|name| args.given(name).map(move |x| (name, x))));
        vectors
            .filter(|(_, x)| x.dtype().is_float())
            .try_for_each(|(name, x)| require_type(&x, name, weights))
    }

    /// Starts a step-by-step generation of tokens. `method` is "generate" or "stream", and `args`
    /// are its arguments.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] if the class does not generate tokens autoregressively.
    pub fn generation(&self, method: &str, args: &Args) -> Result<Generation> {
        self.check_memory()?;
        self.check_types(args)?;
        let stream = method == "stream";
        match &self.body {
            Body::Autoregressive(model) => {
                let options: GenerateOptions =
                    args.named_and(|o: &GenerateOptions, problems| {
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
                let caching = self.caching(options.cache.cache_kv);
                Generation::new(
                    model.clone(),
                    &start,
                    seq_len,
                    options.sampling,
                    &options.beams,
                    with,
                    caching,
                )
            }
            Body::XTransformer(model) => {
                let options: XTransformerGenerate =
                    args.named_and(|o: &XTransformerGenerate, problems| {
                        if stream {
                            o.beams.check_stream(problems);
                        }
                    })?;
                let with = token_tensors(&no_inputs(), &options.tokens, args)?;
                let start = args.tensor(1, "seq_out_start")?;
                let seq_len = args.positional(2, "seq_len")?;
                if !stream {
                    check_length(&start, seq_len, &options.sampling)?;
                }
                let decoder = model.decoder().clone();
                let source = source_tensors(&options.source, None, args)?;
                let caching = self.caching(options.cache.cache_kv);
                let generation = Generation::new(
                    decoder,
                    &start,
                    seq_len,
                    options.sampling,
                    &options.beams,
                    with,
                    caching,
                )?;
                Ok(generation.with_source(model.clone(), args.tensor(0, "seq_in")?, source))
            }
            _ => Err(Error::NotAvailable(format!("{}.{method} in steps", self.class()))),
        }
    }
}

/// Layer inputs without any tensor.
fn no_inputs() -> LayerInputs {
    LayerInputs {
        context: None,
        mask: None,
        context_mask: None,
        attn_mask: None,
        self_attn_context_mask: None,
        mems: None,
    }
}

/// Resolves the tensors of a stack of layers.
fn layer_tensors(inputs: &LayerInputs, args: &Args) -> Result<LayerTensors> {
    Ok(LayerTensors {
        context: args.optional(inputs.context)?,
        mask: args.optional(inputs.mask)?,
        context_mask: args.optional(inputs.context_mask)?,
        attn_mask: args.optional(inputs.attn_mask)?,
        self_attn_context_mask: args.optional(inputs.self_attn_context_mask)?,
        mems: inputs.mems.iter().flatten().map(|r| args.resolve(*r)).collect::<Result<_>>()?,
    })
}

/// Resolves the tensors of a transformer over tokens.
fn token_tensors(inputs: &LayerInputs, tokens: &TokenInputs, args: &Args) -> Result<TokenTensors> {
    Ok(TokenTensors {
        pos: args.optional(tokens.pos)?,
        prepend_embeds: args.optional(tokens.prepend_embeds)?,
        sum_embeds: args.optional(tokens.sum_embeds)?,
        layers: layer_tensors(inputs, args)?,
    })
}

/// Resolves the tensors of a transformer over continuous vectors.
fn continuous_tensors(
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

/// Resolves the tensors of the source of an `XTransformer`; `front` refers to the embeddings to
/// prepend.
fn source_tensors(
    source: &SourceInputs,
    front: Option<xt_options::TensorRef>,
    args: &Args,
) -> Result<SourceTensors> {
    Ok(SourceTensors {
        mask: args.optional(source.mask)?,
        attn_mask: args.optional(source.attn_mask)?,
        prepend_embeds: args.optional(front)?,
    })
}

/// `Attention.forward`: the output and the attention maps.
fn call_attention(model: &BareAttention, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: AttentionCall = args.named()?;
    let x = args.tensor(0, "x")?;
    let (context, mem) = (args.optional(call.context)?, args.optional(call.mem)?);
    for (name, t) in [("x", Some(&x)), ("context", context.as_ref()), ("mem", mem.as_ref())] {
        if let Some(t) =
            t.filter(|t| t.rank() != 3 || t.dim(2) != model.dim || t.dim(0) != x.dim(0))
        {
            return Error::shape(format!(
                "{name} must have shape (batch, length, {}), got {:?}",
                model.dim,
                t.dims()
            ));
        }
    }
    let (mask, context_mask) = (args.optional(call.mask)?, args.optional(call.context_mask)?);
    let attn_mask = args.optional(call.attn_mask)?;
    let inputs = AttentionInputs {
        context: context.as_ref(),
        mem: mem.as_ref(),
        mask: mask.as_ref(),
        context_mask: context_mask.as_ref(),
        attn_mask: attn_mask.as_ref(),
        maps: true,
        ..AttentionInputs::default()
    };
    let (y, maps) = model.attention.forward(&x, &inputs, None, &ctx.inside(&model.mode))?;
    let maps = maps.ok_or_else(|| Error::Internal("no maps".into()))?;
    Ok(Value::List(vec![y.into(), maps.into()]))
}

/// `forward` of a stack: the output, or with `return_hiddens` the output and the intermediates.
fn call_layers(layers: &AttentionLayers, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: LayersCall = args.named()?;
    let record = Record { hiddens: call.return_hiddens, maps: call.return_hiddens };
    let out =
        layers.forward(&args.tensor(0, "x")?, &layer_tensors(&call.inputs, args)?, record, ctx)?;
    Ok(if call.return_hiddens {
        Value::List(vec![out.x.into(), out.intermediates.into()])
    } else {
        out.x.into()
    })
}

/// `TransformerWrapper.forward`: logits or embeddings or both, and what else is requested.
fn call_transformer(model: &TransformerWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: TransformerCall = args.named()?;
    let returns = Returns {
        logits: call.return_logits_and_embeddings || !call.return_embeddings,
        embeddings: call.return_logits_and_embeddings || call.return_embeddings,
        intermediates: call.return_intermediates || call.return_attn,
        mems: call.return_mems,
    };
    let with = token_tensors(&call.inputs, &call.tokens, args)?;
    let TransformerOutput { logits, embeddings, intermediates, mems } =
        model.forward(&args.tensor(0, "x")?, &with, returns, ctx)?;
    let mut out: Vec<Value> = logits.into_iter().chain(embeddings).map(Value::Tensor).collect();
    let first = if out.len() == 1 { out.remove(0) } else { Value::List(out) };
    // if several are requested, the precedence is that of the Python package
    Ok(match (call.return_intermediates, mems, call.return_attn) {
        (true, _, _) => Value::List(vec![first, intermediates.into()]),
        (false, Some(mems), _) => Value::List(vec![first, mems.into()]),
        (false, None, true) => Value::List(vec![first, maps_after_softmax(intermediates)]),
        (false, None, false) => first,
    })
}

/// The attention weights of all attentions, `(batch, heads, i, j)` each.
fn maps_after_softmax(intermediates: Intermediates) -> Value {
    let maps = intermediates.attn_intermediates.into_iter().map(|m| m.post_softmax_attn);
    maps.collect::<Vec<_>>().into()
}

/// `ContinuousTransformerWrapper.forward`: the output, and intermediates or attention weights.
fn call_continuous(model: &ContinuousTransformerWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: ContinuousTransformerCall = args.named()?;
    let with = continuous_tensors(&call.inputs, &call.values, args)?;
    let wanted = call.return_intermediates || call.return_attn;
    let record = Record { hiddens: wanted, maps: wanted };
    let (y, intermediates) =
        model.forward(&args.tensor(0, "x")?, &with, call.return_embeddings, record, ctx)?;
    Ok(match (call.return_intermediates, call.return_attn) {
        (true, _) => Value::List(vec![y.into(), intermediates.into()]),
        (false, true) => Value::List(vec![y.into(), maps_after_softmax(intermediates)]),
        (false, false) => y.into(),
    })
}

/// `ViTransformerWrapper.forward`.
fn call_vit(model: &ViTransformerWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: ViTransformerCall = args.named()?;
    Ok(model.forward(&args.tensor(0, "img")?, call.return_embeddings, ctx)?.into())
}

/// `AutoregressiveWrapper.forward`: the loss.
fn call_loss(model: &AutoregressiveWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: AutoregressiveCall = args.named()?;
    let with = token_tensors(&call.inputs, &call.tokens, args)?;
    Ok(model.forward(&args.tensor(0, "x")?, &with, ctx)?.into())
}

/// `AutoregressiveWrapper.score`.
fn call_score(model: &AutoregressiveWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: ScoreOptions = args.named()?;
    let with = token_tensors(&call.inputs, &call.tokens, args)?;
    Ok(model.score(&args.tensor(0, "tokens")?, &with, call.counted.ignore_pad, ctx)?.into())
}

/// `XTransformer.score`.
fn call_x_transformer_score(model: &XTransformer, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: XTransformerScore = args.named()?;
    let with = source_tensors(&call.source, call.src_prepend_embeds, args)?;
    let (src, tgt) = (args.tensor(0, "src")?, args.tensor(1, "tgt")?);
    Ok(model.score(&src, &tgt, &with, call.counted.ignore_pad, ctx)?.into())
}

impl From<Score> for Value {
    fn from(score: Score) -> Self {
        Value::Fields(vec![
            ("log_probs", score.log_probs.into()),
            ("perplexity", score.perplexity.into()),
        ])
    }
}

/// `NonAutoregressiveWrapper.forward`: the losses as fields.
fn call_losses(model: &NonAutoregressiveWrapper, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: NonAutoregressiveCall = args.named()?;
    let with = token_tensors(&call.inputs, &call.tokens, args)?;
    let train = Training {
        only_generator: call.only_train_generator,
        only_critic: call.only_train_critic,
        temperature: call.generator_sample_temperature,
    };
    let losses = model.forward(&args.tensor(0, "x")?, &with, train, ctx)?;
    Ok(Value::Fields(vec![
        ("loss", losses.loss.into()),
        ("generator_loss", losses.generator_loss.into()),
        ("critic_loss", losses.critic_loss.into()),
    ]))
}

/// `ContinuousAutoregressiveWrapper.forward`: the loss.
fn call_continuous_loss(
    model: &ContinuousAutoregressiveWrapper,
    args: &Args,
    ctx: &Ctx,
) -> Result<Value> {
    let call: ContinuousAutoregressiveCall = args.named()?;
    let with = continuous_tensors(&call.inputs, &call.values, args)?;
    Ok(model.forward(&args.tensor(0, "x")?, &with, ctx)?.into())
}

/// `XTransformer.forward`: the loss.
fn call_x_transformer(model: &XTransformer, args: &Args, ctx: &Ctx) -> Result<Value> {
    let call: XTransformerCall = args.named()?;
    let with = source_tensors(&call.source, call.src_prepend_embeds, args)?;
    Ok(model.forward(&args.tensor(0, "src")?, &args.tensor(1, "tgt")?, &with, ctx)?.into())
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
