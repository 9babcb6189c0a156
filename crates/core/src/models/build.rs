//! Construction of models from a class name and options.

use super::{
    AutoregressiveWrapper, BareAttention, Body, ContinuousAutoregressiveWrapper,
    ContinuousTransformerWrapper, Critic, Model, NonAutoregressiveWrapper, TransformerConfig,
    TransformerWrapper, ViTransformerWrapper, XTransformer,
};
use crate::attention::Attention;
use crate::layers::{AttentionLayers, Linear};
use crate::{Error, Mode, Params, Result, Rng};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_options::attention::AttentionOptions;
use xt_options::autoregressive::{
    AutoregressiveWrapperOptions, ContinuousAutoregressiveWrapperOptions,
    NonAutoregressiveWrapperOptions,
};
use xt_options::layers::{CrossAttenderOptions, LayersOptions};
use xt_options::wrappers::{
    ContinuousTransformerWrapperOptions, TransformerWrapperOptions, ViTransformerWrapperOptions,
};
use xt_options::{nearest, Classes, ModuleRef, Options, Problems};

/// The class names that [`Model::build`] accepts.
const CLASSES: [&str; 11] = [
    "Encoder",
    "Decoder",
    "CrossAttender",
    "Attention",
    "TransformerWrapper",
    "AutoregressiveWrapper",
    "XTransformer",
    "ViTransformerWrapper",
    "ContinuousTransformerWrapper",
    "NonAutoregressiveWrapper",
    "ContinuousAutoregressiveWrapper",
];

impl Model {
    /// Constructs a model of class `class`. In the options, `{"$module": i}` refers to
    /// `modules[i]`, whose weights the new model shares. `rng` provides the initial values.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] with all problems of the options, or if the class is unknown.
    pub fn build(class: &str, options: &Json, modules: &[Arc<Model>], rng: Rng) -> Result<Model> {
        let mut p = Params::new(rng);
        let mut with = Parts { class, modules, used: Vec::new() };
        let p = &mut p;
        let body = match class {
            "Encoder" | "Decoder" => layers(class, options, p)?,
            "CrossAttender" => cross_attender(options, p)?,
            "Attention" => attention(options, p)?,
            "TransformerWrapper" => transformer(options, &mut with, p)?,
            "AutoregressiveWrapper" => autoregressive(options, &mut with, p)?,
            "NonAutoregressiveWrapper" => non_autoregressive(options, &mut with, p)?,
            "XTransformer" => {
                Body::XTransformer(Arc::new(XTransformer::new(&parse(class, options)?, p)?))
            }
            "ViTransformerWrapper" => vit(options, &mut with, p)?,
            "ContinuousTransformerWrapper" => continuous(options, &mut with, p)?,
            "ContinuousAutoregressiveWrapper" => continuous_autoregressive(options, &mut with, p)?,
            _ => return Err(unknown_class(class)),
        };
        Ok(Model {
            class: class.into(),
            options: with_specs(options, modules),
            entries: p.entries(),
            body,
            children: with.used,
        })
    }

    /// Constructs a model from `{"class", "options"}`, including nested models. `seed` is the seed
    /// of the initial values.
    ///
    /// # Errors
    ///
    /// [`Error::Checkpoint`] if the specification is malformed, and the errors of [`Model::build`].
    pub fn from_spec(spec: &Json, seed: u64) -> Result<Arc<Model>> {
        let mut calls = 0;
        from_spec(spec, seed, &mut calls)
    }
}

/// Constructs nested models first. `calls` counts the models, so that each draws different initial
/// values.
fn from_spec(spec: &Json, seed: u64, calls: &mut u64) -> Result<Arc<Model>> {
    let malformed = || Error::Checkpoint("a model is described by `class` and `options`".into());
    let class = spec.get("class").and_then(Json::as_str).ok_or_else(malformed)?;
    let mut options = spec.get("options").cloned().ok_or_else(malformed)?;
    let mut modules = Vec::new();
    for value in options.as_object_mut().ok_or_else(malformed)?.values_mut() {
        if value.get("class").is_some() {
            modules.push(from_spec(value, seed, calls)?);
            *value = json!({ "$module": modules.len() - 1 });
        }
    }
    *calls += 1;
    Ok(Arc::new(Model::build(class, &options, &modules, Rng::new(seed, *calls))?))
}

/// The models that were passed to a constructor, and those that it has used.
struct Parts<'a> {
    class: &'a str,
    modules: &'a [Arc<Model>],
    /// The models that were used, by option name.
    used: Vec<(String, Arc<Model>)>,
}

impl Parts<'_> {
    /// The model that `reference`, the option `path`, refers to. Records its use.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if its class is not allowed.
    fn take<C: Classes>(&mut self, reference: &ModuleRef<C>, path: &str) -> Result<Arc<Model>> {
        let model = self.modules.get(reference.index).cloned();
        let model = model
            .ok_or_else(|| Error::Internal(format!("there is no module {}", reference.index)))?;
        if !C::NAMES.contains(&model.class()) {
            let mut problems = Problems::default();
            problems
                .add(path, format!("got a {}; allowed: {}", model.class(), C::NAMES.join(" or ")));
            return Err(Error::Options { class: self.class.into(), problems });
        }
        self.used.push((path.into(), model.clone()));
        Ok(model)
    }
}

impl Parts<'_> {
    /// The stack of layers that a reference refers to, or `None` if it refers to another model or
    /// to none. Does not record a use.
    fn peek<C: Classes>(&self, reference: &ModuleRef<C>) -> Option<&AttentionLayers> {
        match &self.modules.get(reference.index)?.body {
            Body::Layers(layers) => Some(layers),
            _ => None,
        }
    }

    /// The stack of layers that `attn_layers` refers to, and its model.
    fn layers<C: Classes>(
        &mut self,
        reference: &ModuleRef<C>,
    ) -> Result<(Arc<AttentionLayers>, Arc<Model>)> {
        let child = self.take(reference, "attn_layers")?;
        match &child.body {
            Body::Layers(layers) => Ok((layers.clone(), child.clone())),
            _ => Err(Error::Internal("attn_layers is no stack of layers".into())),
        }
    }
}

impl Parts<'_> {
    /// The transformer over tokens that the option `path` refers to. Adds its entries to `p` under
    /// that name.
    fn transformer<C: Classes>(
        &mut self,
        reference: &ModuleRef<C>,
        path: &str,
        p: &mut Params,
    ) -> Result<Arc<TransformerWrapper>> {
        let child = self.take(reference, path)?;
        let Body::Transformer(net) = &child.body else {
            return Err(Error::Internal(format!("{path} is no transformer over tokens")));
        };
        p.under(path).include(child.entries());
        Ok(net.clone())
    }
}

/// Parses and checks options.
fn parse<T: Options>(class: &str, options: &Json) -> Result<T> {
    parse_and(class, options, |_, _| {})
}

/// Like [`parse`], with an additional check: `also` adds problems that do not follow from the
/// options alone.
fn parse_and<T: Options>(
    class: &str,
    options: &Json,
    also: impl FnOnce(&T, &mut Problems),
) -> Result<T> {
    xt_options::parse_and(options, also)
        .map_err(|problems| Error::Options { class: class.into(), problems })
}

/// Returns [`Error::Options`] if there are problems.
fn refuse(class: &str, problems: Problems) -> Result<()> {
    if problems.0.is_empty() {
        return Ok(());
    }
    Err(Error::Options { class: class.into(), problems })
}

/// Builds an `Encoder` or `Decoder`.
fn layers(class: &str, options: &Json, p: &mut Params) -> Result<Body> {
    let options: LayersOptions =
        parse_and(class, options, |o: &LayersOptions, problems| o.check_class(class, problems))?;
    Ok(Body::Layers(Arc::new(AttentionLayers::new(
        options.context(),
        class == "Decoder",
        None,
        &options.stack,
        p,
    )?)))
}

/// Builds a `CrossAttender`.
fn cross_attender(options: &Json, p: &mut Params) -> Result<Body> {
    let options: CrossAttenderOptions = parse("CrossAttender", options)?;
    Ok(Body::Layers(Arc::new(AttentionLayers::new(
        options.context(),
        false,
        None,
        &options.stack,
        p,
    )?)))
}

/// Builds an `Attention`.
fn attention(options: &Json, p: &mut Params) -> Result<Body> {
    let o: AttentionOptions = parse("Attention", options)?;
    let attention = Attention::new(o.dim.get(), o.heads.get(), o.causal, &o.block, p);
    Ok(Body::Attention(Arc::new(BareAttention {
        attention,
        dim: o.dim.get(),
        mode: Mode::default(),
    })))
}

/// Builds a `TransformerWrapper`.
fn transformer(options: &Json, with: &mut Parts, p: &mut Params) -> Result<Body> {
    let check = |o: &TransformerWrapperOptions, problems: &mut Problems| {
        if let Some(layers) = with.peek(&o.attn_layers) {
            check_transformer(o, layers, problems);
        }
    };
    let options: TransformerWrapperOptions = parse_and(with.class, options, check)?;
    let (layers, child) = with.layers(&options.attn_layers)?;
    let config = TransformerConfig::from(&options);
    Ok(Body::Transformer(Arc::new(TransformerWrapper::new(
        layers,
        child.entries(),
        None,
        &config,
        p,
    ))))
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
        !o.tie_embedding || emb_dim == layers.dim(),
        "tie_embedding",
        format!("needs embeddings as wide as the layers ({}), not {emb_dim}", layers.dim()),
    );
    problems.require(
        !o.tie_embedding || o.logits_dim.is_none_or(|n| n == o.tokens.num_tokens),
        "logits_dim",
        "does not go with `tie_embedding`, whose head gives one logit for each token",
    );
}

/// Builds a `ContinuousTransformerWrapper`.
fn continuous(options: &Json, with: &mut Parts, p: &mut Params) -> Result<Body> {
    let check = |o: &ContinuousTransformerWrapperOptions, problems: &mut Problems| {
        if let Some(layers) = with.peek(&o.attn_layers) {
            o.sequence.check_width(layers.dim(), layers.has_pos_emb(), "", problems);
        }
    };
    let options: ContinuousTransformerWrapperOptions = parse_and(with.class, options, check)?;
    let (layers, child) = with.layers(&options.attn_layers)?;
    Ok(Body::Continuous(Arc::new(ContinuousTransformerWrapper::new(
        layers,
        child.entries(),
        &options,
        p,
    ))))
}

/// Builds a `ViTransformerWrapper`.
fn vit(options: &Json, with: &mut Parts, p: &mut Params) -> Result<Body> {
    let options: ViTransformerWrapperOptions = parse(with.class, options)?;
    let (layers, child) = with.layers(&options.attn_layers)?;
    Ok(Body::Vit(Arc::new(ViTransformerWrapper::new(layers, child.entries(), &options, p))))
}

/// Builds an `AutoregressiveWrapper`.
fn autoregressive(options: &Json, with: &mut Parts, p: &mut Params) -> Result<Body> {
    let options: AutoregressiveWrapperOptions = parse(with.class, options)?;
    let net = with.transformer(&options.net, "net", p)?;
    let wrapper = AutoregressiveWrapper::new(net, &options.targets, options.mask_prob.0);
    Ok(Body::Autoregressive(Arc::new(wrapper)))
}

/// Builds a `NonAutoregressiveWrapper`.
fn non_autoregressive(options: &Json, with: &mut Parts, p: &mut Params) -> Result<Body> {
    let options: NonAutoregressiveWrapperOptions = parse(with.class, options)?;
    let net = with.transformer(&options.net, "net", p)?;
    let mut problems = Problems::default();
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
            let place = p.under("token_critic");
            place.under("net").include(with.used[0].1.entries());
            Some(Critic::Itself(Linear::new(
                net.layers().dim(),
                1,
                true,
                &mut place.under("to_logits"),
            )))
        }
        None => None,
    };
    if let Some(Critic::Model(model)) = &critic {
        problems.require(model.outputs() == 1, "token_critic", "must have a `logits_dim` of 1");
    }
    refuse(with.class, problems)?;
    Ok(Body::NonAutoregressive(Arc::new(NonAutoregressiveWrapper::new(net, critic, &options, p))))
}

/// Builds a `ContinuousAutoregressiveWrapper`.
fn continuous_autoregressive(options: &Json, with: &mut Parts, p: &mut Params) -> Result<Body> {
    let options: ContinuousAutoregressiveWrapperOptions = parse(with.class, options)?;
    let child = with.take(&options.net, "net")?;
    let Body::Continuous(net) = &child.body else {
        return Err(Error::Internal("net is no transformer over continuous values".into()));
    };
    p.under("net").include(child.entries());
    Ok(Body::ContinuousAutoregressive(Arc::new(ContinuousAutoregressiveWrapper::new(net.clone()))))
}

/// The error for an unknown class, with the nearest class name as a suggestion.
fn unknown_class(class: &str) -> Error {
    let mut problems = Problems::default();
    problems.add("class", format!("there is no class {class}"));
    if let Some(problem) = problems.0.first_mut() {
        problem.did_you_mean = nearest(class, CLASSES);
        problem.allowed = Some(CLASSES.join(", "));
    }
    Error::Options { class: class.into(), problems }
}

/// Replaces every `{"$module": i}` in the options by the specification of that model.
fn with_specs(options: &Json, modules: &[Arc<Model>]) -> Json {
    match options {
        Json::Object(map) => {
            let module =
                map.get("$module").and_then(Json::as_u64).and_then(|i| modules.get(i as usize));
            match module {
                Some(model) => model.spec(),
                None => map.iter().map(|(k, v)| (k.clone(), with_specs(v, modules))).collect(),
            }
        }
        other => other.clone(),
    }
}
