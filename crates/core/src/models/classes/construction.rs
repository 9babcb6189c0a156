//! What the constructors of several classes need.

use crate::layers::AttentionLayers;
use crate::models::{Model, TransformerWrapper};
use crate::{Error, Params, Result};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_options::{Classes, ModuleRef, Options, Problems};

/// A construction that is under way: the models that were passed to the constructor, and those that
/// it has used.
pub struct Construction<'a> {
    /// The name of the class.
    pub class: &'a str,
    /// The models that options refer to.
    pub modules: &'a [Arc<Model>],
    /// The models that were used, by option name.
    pub used: Vec<(String, Arc<Model>)>,
}

impl Construction<'_> {
    /// The model that `reference`, the option `path`, refers to. Records its use.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if its class is not allowed.
    pub fn take<C: Classes>(&mut self, reference: &ModuleRef<C>, path: &str) -> Result<Arc<Model>> {
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

    /// The stack of layers that a reference refers to, or `None` if it refers to another model or
    /// to none. Does not record a use.
    pub fn peek<C: Classes>(&self, reference: &ModuleRef<C>) -> Option<&AttentionLayers> {
        self.modules.get(reference.index)?.of::<AttentionLayers>().map(Arc::as_ref)
    }

    /// The stack of layers that `attn_layers` refers to, and its model.
    pub fn layers<C: Classes>(
        &mut self,
        reference: &ModuleRef<C>,
    ) -> Result<(Arc<AttentionLayers>, Arc<Model>)> {
        let child = self.take(reference, "attn_layers")?;
        let none = || Error::Internal("attn_layers is no stack of layers".into());
        let layers = child.of::<AttentionLayers>().ok_or_else(none)?.clone();
        Ok((layers, child))
    }

    /// The transformer over tokens that the option `path` refers to. Adds its entries to `p` under
    /// that name.
    pub fn transformer<C: Classes>(
        &mut self,
        reference: &ModuleRef<C>,
        path: &str,
        p: &mut Params,
    ) -> Result<Arc<TransformerWrapper>> {
        let child = self.take(reference, path)?;
        let none = || Error::Internal(format!("{path} is no transformer over tokens"));
        let net = child.of::<TransformerWrapper>().ok_or_else(none)?.clone();
        p.submodule(path).include(child.entries());
        Ok(net)
    }
}

/// Adds a problem if `net`, the option `path`, does not give one row of logits for each token.
pub fn require_logits_by_token(net: &TransformerWrapper, path: &str, problems: &mut Problems) {
    if let Some(option) = net.without_logits_by_token() {
        problems.add(path, format!("has `{option}`, and must give logits for each token"));
    }
}

/// Parses and checks options.
pub fn parse<T: Options>(class: &str, options: &Json) -> Result<T> {
    parse_and(class, options, |_, _| {})
}

/// Like [`parse`], with an additional check: `also` adds problems that do not follow from the
/// options alone.
pub fn parse_and<T: Options>(
    class: &str,
    options: &Json,
    also: impl FnOnce(&T, &mut Problems),
) -> Result<T> {
    xt_options::parse_and(options, also)
        .map_err(|problems| Error::Options { class: class.into(), problems })
}

/// Returns [`Error::Options`] if there are problems.
pub fn refuse(class: &str, problems: Problems) -> Result<()> {
    if problems.0.is_empty() {
        return Ok(());
    }
    Err(Error::Options { class: class.into(), problems })
}
