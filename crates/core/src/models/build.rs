//! Models from their class name and options.

use super::{AutoregressiveWrapper, Body, Model, TransformerWrapper};
use crate::layers::AttentionLayers;
use crate::{Error, Params, Result, Rng};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_options::autoregressive::AutoregressiveWrapperOptions;
use xt_options::layers::LayersOptions;
use xt_options::wrappers::TransformerWrapperOptions;
use xt_options::{nearest, Classes, ModuleRef, Options, Problems};

/// Classes that are there.
const CLASSES: [&str; 4] = ["Encoder", "Decoder", "TransformerWrapper", "AutoregressiveWrapper"];

/// Classes of the package that are still to come.
const LATER: [&str; 7] = [
    "CrossAttender",
    "Attention",
    "XTransformer",
    "ViTransformerWrapper",
    "ContinuousTransformerWrapper",
    "NonAutoregressiveWrapper",
    "ContinuousAutoregressiveWrapper",
];

impl Model {
    /// A model of class `class`. `{"$module": i}` in the options stands for `modules[i]`, whose weights it shares.
    pub fn build(class: &str, options: &Json, modules: &[Arc<Model>], rng: Rng) -> Result<Model> {
        let mut p = Params::new(rng);
        let mut with = Parts { class, modules, used: Vec::new() };
        let body = match class {
            "Encoder" | "Decoder" => layers(class, options, &mut p)?,
            "TransformerWrapper" => transformer(options, &mut with, &mut p)?,
            "AutoregressiveWrapper" => autoregressive(options, &mut with, &mut p)?,
            _ if LATER.contains(&class) => return Err(Error::NotAvailable(format!("the class {class}"))),
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

    /// A model from `{"class", "options"}`, nested models included. `seed` is for the first values.
    pub fn from_spec(spec: &Json, seed: u64) -> Result<Arc<Model>> {
        let mut calls = 0;
        from_spec(spec, seed, &mut calls)
    }
}

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

/// The models that a constructor was given, and those that it used.
struct Parts<'a> {
    class: &'a str,
    modules: &'a [Arc<Model>],
    used: Vec<(String, Arc<Model>)>,
}

impl Parts<'_> {
    /// The model behind a reference, which must be of an allowed class.
    fn take<C: Classes>(&mut self, reference: &ModuleRef<C>, path: &str) -> Result<Arc<Model>> {
        let model = self.modules.get(reference.index).cloned();
        let model = model.ok_or_else(|| Error::Internal(format!("there is no module {}", reference.index)))?;
        if !C::NAMES.contains(&model.class()) {
            let mut problems = Problems::default();
            problems.add(path, format!("got a {}; allowed: {}", model.class(), C::NAMES.join(" or ")));
            return Err(Error::Options { class: self.class.into(), problems });
        }
        self.used.push((path.into(), model.clone()));
        Ok(model)
    }
}

fn parse<T: Options>(class: &str, options: &Json) -> Result<T> {
    xt_options::parse(options).map_err(|problems| Error::Options { class: class.into(), problems })
}

fn layers(class: &str, options: &Json, p: &mut Params) -> Result<Body> {
    let options: LayersOptions = parse(class, options)?;
    let mut problems = Problems::default();
    options.check_class(class, &mut problems);
    if !problems.0.is_empty() {
        return Err(Error::Options { class: class.into(), problems });
    }
    Ok(Body::Layers(Arc::new(AttentionLayers::new(options.place(), class == "Decoder", &options.stack, p)?)))
}

fn transformer(options: &Json, with: &mut Parts, p: &mut Params) -> Result<Body> {
    let options: TransformerWrapperOptions = parse(with.class, options)?;
    let child = with.take(&options.attn_layers, "attn_layers")?;
    let Body::Layers(layers) = &child.body else {
        return Err(Error::Internal("attn_layers is no stack of layers".into()));
    };
    Ok(Body::Transformer(Arc::new(TransformerWrapper::new(layers.clone(), child.entries(), &options, p))))
}

fn autoregressive(options: &Json, with: &mut Parts, p: &mut Params) -> Result<Body> {
    let options: AutoregressiveWrapperOptions = parse(with.class, options)?;
    let child = with.take(&options.net, "net")?;
    let Body::Transformer(net) = &child.body else {
        return Err(Error::Internal("net is no transformer over tokens".into()));
    };
    p.under("net").include(child.entries());
    Ok(Body::Autoregressive(Arc::new(AutoregressiveWrapper::new(net.clone(), &options))))
}

fn unknown_class(class: &str) -> Error {
    let mut problems = Problems::default();
    problems.add("class", format!("there is no class {class}"));
    if let Some(problem) = problems.0.first_mut() {
        problem.did_you_mean = nearest(class, CLASSES.into_iter().chain(LATER));
        problem.allowed = Some(CLASSES.join(", "));
    }
    Error::Options { class: class.into(), problems }
}

/// The options with every `{"$module": i}` as the specification of that model.
fn with_specs(options: &Json, modules: &[Arc<Model>]) -> Json {
    match options {
        Json::Object(map) => {
            let module = map.get("$module").and_then(Json::as_u64).and_then(|i| modules.get(i as usize));
            match module {
                Some(model) => model.spec(),
                None => map.iter().map(|(k, v)| (k.clone(), with_specs(v, modules))).collect(),
            }
        }
        other => other.clone(),
    }
}
