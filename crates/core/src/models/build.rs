//! Construction of models from a class name and options.

use super::classes::{Construction, CLASSES};
use super::Model;
use crate::{Error, Params, Result, Rng};
use serde_json::{json, Value as Json};
use std::sync::Arc;
use xt_options::{nearest, Problems};

impl Model {
    /// Constructs a model of class `class`. In the options, `{"$module": i}` refers to
    /// `modules[i]`, whose weights the new model shares. `rng` provides the initial values.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] with all problems of the options, or if the class is unknown.
    pub fn build(class: &str, options: &Json, modules: &[Arc<Model>], rng: Rng) -> Result<Model> {
        let mut p = Params::new(rng);
        let mut with = Construction { class, modules, used: Vec::new() };
        let known = CLASSES.iter().find(|(name, _)| *name == class);
        let (_, construct) = known.ok_or_else(|| unknown_class(class))?;
        let body = construct(options, &mut with, &mut p)?;
        Ok(Model {
            class: class.into(),
            options: with_specs(options, modules),
            entries: p.entries(),
            body,
            children: with.used,
            activations: Arc::default(),
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
        if value.get("class").is_some_and(Json::is_string) {
            modules.push(from_spec(value, seed, calls)?);
            *value = json!({ "$module": modules.len() - 1 });
        }
    }
    *calls += 1;
    Ok(Arc::new(Model::build(class, &options, &modules, Rng::new(seed, *calls))?))
}

/// The error for an unknown class, with the nearest class name as a suggestion.
fn unknown_class(class: &str) -> Error {
    let names = CLASSES.map(|(name, _)| name);
    let mut problems = Problems::default();
    problems.add("class", format!("there is no class {class}"));
    if let Some(problem) = problems.0.first_mut() {
        problem.did_you_mean = nearest(class, names);
        problem.allowed = Some(names.join(", "));
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
