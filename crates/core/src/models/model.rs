//! A model of any class: its options, its state dict, its mode.

use super::body::Body;
use crate::generation::Caching;
use crate::{Array, Device, Entry, EntryKind, Error, Leaf, Result};
use serde_json::{json, Value as Json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A model with what it was made from.
pub struct Model {
    pub(super) class: String,
    /// As given, with nested models as `{"class", "options"}`.
    pub(super) options: Json,
    pub(super) entries: Vec<Entry>,
    pub(super) body: Body,
    /// By the option that each was given as.
    pub(super) children: Vec<(String, Arc<Model>)>,
}

/// What `load_state` did not find, and what it could not use.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    pub missing: Vec<String>,
    pub unexpected: Vec<String>,
}

impl Model {
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The options as given, with nested models as `{"class", "options"}`.
    pub fn options(&self) -> &Json {
        &self.options
    }

    /// `{"class", "options"}`: what rebuilds this model, without its weights.
    pub fn spec(&self) -> Json {
        json!({ "class": self.class, "options": self.options })
    }

    /// A model that does not fit says so before its first computation, not in the middle of it.
    pub(crate) fn check_memory(&self) -> Result<()> {
        let pending = self.entries.iter().map(|entry| entry.param.leaf().pending_bytes());
        let (sum, largest) = pending.fold((0u64, 0), |(sum, largest), n| (sum.saturating_add(n), n.max(largest)));
        // values are drawn as f64
        let what = format!("this {}", self.class());
        Ok(xt_kernels::memory::check(&what, sum.saturating_add(largest.saturating_mul(2)))?)
    }

    /// The state dict's entries, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn entry(&self, name: &str) -> Result<&Entry> {
        let found = self.entries.iter().find(|e| e.name == name);
        found.ok_or_else(|| Error::State(format!("there is no parameter `{name}` in {}", self.class)))
    }

    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The model that was given as option `name`.
    pub fn child(&self, name: &str) -> Result<Arc<Model>> {
        let found = self.children.iter().find(|(given, _)| given == name);
        let none = || Error::State(format!("there is no model `{name}` in {}", self.class));
        found.map(|(_, child)| child.clone()).ok_or_else(none)
    }

    /// Entries whose tensor is that of an earlier one: name, and the earlier name.
    pub fn tied(&self) -> HashMap<&str, &str> {
        let mut first: HashMap<*const Leaf, &str> = HashMap::new();
        let mut tied = HashMap::new();
        for entry in &self.entries {
            match first.get(&Arc::as_ptr(entry.param.leaf())) {
                Some(name) => {
                    tied.insert(entry.name.as_str(), *name);
                }
                None => {
                    first.insert(Arc::as_ptr(entry.param.leaf()), &entry.name);
                }
            }
        }
        tied
    }

    /// Class, options and entries as JSON. Draws no values.
    pub fn describe(&self) -> Json {
        let tied = self.tied();
        let row = |e: &Entry| {
            let kind = if e.kind == EntryKind::Parameter { "parameter" } else { "buffer" };
            json!({ "name": e.name, "shape": e.param.leaf().shape(), "kind": kind, "tied": tied.get(e.name.as_str()) })
        };
        let entries: Vec<Json> = self.entries.iter().map(row).collect();
        let not_cacheable = self.body.not_cacheable();
        json!({ "class": self.class, "options": self.options, "entries": entries, "not_cacheable": not_cacheable })
    }

    /// Whether and with which weights a generation keeps what it has computed.
    pub(crate) fn caching(&self, on: bool) -> Caching {
        Caching { on, weights: self.entries.iter().map(|entry| entry.param.leaf().clone()).collect() }
    }

    /// Frees the weights with these names for good, whoever else holds them: optimizers, graphs.
    pub fn release(&self, names: &[String]) {
        let gone = self.entries.iter().filter(|entry| names.contains(&entry.name));
        gone.for_each(|entry| entry.param.leaf().release());
    }

    /// Sets training mode, of the models within too.
    pub fn train(&self, on: bool) {
        self.body.train(on);
        self.children.iter().for_each(|(_, child)| child.train(on));
    }

    /// Moves weights and gradients.
    pub fn move_to(&self, device: &Device) -> Result<()> {
        // before any has moved
        for leaf in self.entries.iter().map(|entry| entry.param.leaf()) {
            if !leaf.is_at(device, leaf.dtype()) {
                leaf.require_plain("moving it")?;
            }
        }
        self.entries.iter().try_for_each(|e| Ok(e.param.leaf().move_to(device, e.param.leaf().dtype())?))
    }

    /// Copies values in. All are checked first, so that an error leaves the model as it was.
    pub fn load_state(&self, state: &[(String, Array)], strict: bool) -> Result<LoadReport> {
        let given: HashMap<&str, &Array> = state.iter().map(|(name, array)| (name.as_str(), array)).collect();
        let known: HashSet<&str> = self.entries.iter().map(|e| e.name.as_str()).collect();
        let missing = self.entries.iter().filter(|e| !given.contains_key(e.name.as_str()));
        let unexpected = state.iter().filter(|(name, _)| !known.contains(name.as_str()));
        let report = LoadReport {
            missing: missing.map(|e| e.name.clone()).collect(),
            unexpected: unexpected.map(|(name, _)| name.clone()).collect(),
        };
        let mut wrong = Vec::new();
        for entry in &self.entries {
            let (shape, array) = (entry.param.leaf().shape(), given.get(entry.name.as_str()));
            if let Some(array) = array.filter(|a| a.dims() != shape) {
                wrong.push(format!("`{}` has shape {:?}, the model needs {shape:?}", entry.name, array.dims()));
            }
        }
        if strict {
            wrong.extend(report.missing.iter().map(|name| format!("`{name}` is missing")));
            wrong.extend(report.unexpected.iter().map(|name| format!("`{name}` is not in the model")));
        }
        if !wrong.is_empty() {
            return Err(Error::State(format!("the state does not fit {}:\n{}", self.class, wrong.join("\n"))));
        }
        for entry in &self.entries {
            if let Some(array) = given.get(entry.name.as_str()) {
                entry.param.leaf().set((*array).clone())?;
            }
        }
        Ok(report)
    }
}
