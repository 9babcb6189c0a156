//! A model of any class, with its options, state dict and mode.

use crate::generation::{Caching, Generation};
use crate::memory::BytesByDevice;
use crate::params::with_low_rank;
use crate::{Activations, Args, Array, Ctx, Device, Entry, EntryKind, Error, Leaf, Result, Value};
use serde_json::{json, Value as Json};
use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A model of any class, and the specification from which it was constructed.
pub struct Model {
    /// The class name.
    pub(super) class: String,
    /// The options as given; nested models are replaced by `{"class", "options"}`.
    pub(super) options: Json,
    /// The state dict in PyTorch's order, without low-rank updates.
    pub(super) entries: Vec<Entry>,
    /// The model itself.
    pub(super) body: Box<dyn Class>,
    /// The models that were passed to the constructor, by option name.
    pub(super) children: Vec<(String, Arc<Model>)>,
    /// What calls have recorded of the outputs of layers.
    pub(super) activations: Arc<Activations>,
}

/// The differences between a loaded state dict and the model.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// The names of the model that the state dict does not contain.
    pub missing: Vec<String>,
    /// The names of the state dict that the model does not have.
    pub unexpected: Vec<String>,
}

/// The methods of a class. It is implemented for the `Arc` of a model, which other models share.
pub trait Class: Any + Send + Sync {
    /// Runs the method `forward`, `generate` or `score`. `model` is the model around it, with its
    /// options and state dict.
    ///
    /// # Errors
    ///
    /// [`Model::has_no`] if the class has no such method, and the errors of the method.
    fn call(&self, model: &Model, method: &str, args: &Args, ctx: &Ctx) -> Result<Value>;

    /// Starts a step-by-step generation; `method` is "generate" or "stream".
    ///
    /// # Errors
    ///
    /// [`Model::has_no`] if the class does not generate tokens autoregressively.
    fn generation(&self, model: &Model, method: &str, _: &Args) -> Result<Generation> {
        Err(model.has_no(&format!("{method} in steps")))
    }

    /// Sets training mode (`true`) or evaluation mode (`false`) of this model. Models that were
    /// passed to its constructor have their own mode.
    fn train(&self, on: bool);

    /// The name of the first positional argument if it is a tensor of vectors, which must have the
    /// type of the weights; `None` if it is a tensor of token ids.
    fn vectors(&self) -> Option<&'static str>;

    /// The reason why generation cannot cache keys and values; `None` if it can, and for models
    /// without autoregressive generation.
    fn not_cacheable(&self) -> Option<&'static str> {
        None
    }
}

/// What a constructor returns.
pub type Built = Result<Box<dyn Class>>;

impl Model {
    /// The class name.
    pub fn class(&self) -> &str {
        &self.class
    }

    /// The options as given; nested models are replaced by `{"class", "options"}`.
    pub fn options(&self) -> &Json {
        &self.options
    }

    /// `{"class", "options"}`: the specification that [`Model::from_spec`] takes, without weights.
    pub fn spec(&self) -> Json {
        json!({ "class": self.class, "options": self.options })
    }

    /// Checks that the weights that have not been drawn yet fit in memory, so that a model that is
    /// too large fails before its first computation.
    pub(crate) fn check_memory(&self) -> Result<()> {
        let (mut needed, mut most) = (BytesByDevice::default(), 0u64);
        for leaf in self.leaves() {
            let bytes = leaf.pending_bytes();
            if bytes > 0 {
                let device = leaf.device();
                needed.add(&device, bytes);
                // values are drawn on the CPU as f64, which takes twice the bytes of f32, and
                // copied from there
                most = most.max(bytes.saturating_mul(if device.is_cpu() { 2 } else { 3 }));
            }
        }
        needed.add(&Device::Cpu, most);
        needed.check_sum(&format!("this {}", self.class()))
    }

    /// The entries of the state dict in PyTorch's order, without low-rank updates.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries of the state dict in PyTorch's order. Those of low-rank updates stand behind
    /// the parameters of their layers.
    pub fn all_entries(&self) -> Vec<Entry> {
        with_low_rank(&self.entries)
    }

    /// The leaves of all entries, without their names.
    fn leaves(&self) -> impl Iterator<Item = Arc<Leaf>> + '_ {
        self.entries.iter().flat_map(|Entry { param, .. }| {
            let updates = param.low_rank().map(|update| [update.a, update.b]);
            [param.leaf().clone()].into_iter().chain(updates.into_iter().flatten())
        })
    }

    /// The entry `name` of the state dict.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if there is no such entry.
    pub fn entry(&self, name: &str) -> Result<Entry> {
        let found = self.all_entries().into_iter().find(|e| e.name == name);
        found.ok_or_else(|| {
            Error::State(format!("there is no parameter `{name}` in {}", self.class))
        })
    }

    /// The model itself if it is a `T`.
    pub(super) fn of<T: Any>(&self) -> Option<&Arc<T>> {
        (self.body.as_ref() as &dyn Any).downcast_ref()
    }

    /// The model that was passed to the constructor as option `name`.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if there is no such model.
    pub fn child(&self, name: &str) -> Result<Arc<Model>> {
        let found = self.children.iter().find(|(given, _)| given == name);
        let none = || Error::State(format!("there is no model `{name}` in {}", self.class));
        found.map(|(_, child)| child.clone()).ok_or_else(none)
    }

    /// Entries with tied weights: maps each name to the first name with the same parameter.
    pub fn tied(&self) -> HashMap<String, String> {
        let mut first: HashMap<*const Leaf, String> = HashMap::new();
        let mut tied = HashMap::new();
        for Entry { name, param, .. } in self.all_entries() {
            match first.get(&Arc::as_ptr(param.leaf())) {
                Some(other) => drop(tied.insert(name, other.clone())),
                None => drop(first.insert(Arc::as_ptr(param.leaf()), name)),
            }
        }
        tied
    }

    /// The class, options and entries as JSON. Does not draw weights.
    pub fn describe(&self) -> Json {
        let tied = self.tied();
        let row = |e: &Entry| {
            let kind = if e.kind == EntryKind::Parameter { "parameter" } else { "buffer" };
            json!({
                "name": e.name,
                "shape": e.param.leaf().shape(),
                "kind": kind,
                "tied": tied.get(&e.name),
                "linear": e.param.is_linear_weight(),
            })
        };
        let entries: Vec<Json> = self.all_entries().iter().map(row).collect();
        json!({
            "class": self.class,
            "options": self.options,
            "entries": entries,
            "lora": self.lora(),
            "not_cacheable": self.body.not_cacheable(),
        })
    }

    /// The caching settings of a generation: whether keys and values are cached (`on`), and the
    /// weights on which the cache depends.
    pub(crate) fn caching(&self, on: bool) -> Caching {
        Caching { on, weights: self.leaves().collect() }
    }

    /// Frees the weights with these names permanently, even if optimizers or autograd graphs still
    /// refer to them.
    pub fn release(&self, names: &[String]) {
        let entries = self.all_entries();
        let gone = entries.iter().filter(|entry| names.contains(&entry.name));
        gone.for_each(|entry| entry.param.leaf().release());
    }

    /// Sets training mode (`true`) or evaluation mode (`false`) of this model and of the models
    /// passed to its constructor.
    pub fn train(&self, on: bool) {
        self.body.train(on);
        self.children.iter().for_each(|(_, child)| child.train(on));
    }

    /// Moves weights and gradients to `device`; nothing is moved if there is an error.
    ///
    /// # Errors
    ///
    /// If a quantized weight would have to move, or if memory is insufficient.
    pub fn move_to(&self, device: &Device) -> Result<()> {
        self.move_leaves(self.leaves().collect::<Vec<_>>().iter(), device)
    }

    fn move_leaves<'a>(
        &self,
        leaves: impl Iterator<Item = &'a Arc<Leaf>>,
        device: &Device,
    ) -> Result<()> {
        if cfg!(not(feature = "cuda")) {
            return Ok(()); // as in Args::require_device
        }
        let mut needed = BytesByDevice::default();
        let mut moving: Vec<&Arc<Leaf>> = Vec::new();
        for leaf in leaves.filter(|leaf| !leaf.is_at(device, leaf.dtype())) {
            // tied weights have several names
            if !moving.iter().any(|other| Arc::ptr_eq(other, leaf)) {
                leaf.require_plain("moving it")?;
                needed.add(device, leaf.bytes_to_move());
                moving.push(leaf);
            }
        }
        needed.check_sum(&format!("this {} on {}", self.class(), device.name()))?;
        // all copies are made before the first weight changes
        let copies = moving.iter().map(|leaf| leaf.copy_to(device, leaf.dtype()));
        let copies = copies.collect::<xt_autograd::Result<Vec<_>>>()?;
        moving.iter().zip(copies).for_each(|(leaf, copy)| leaf.take(copy));
        Ok(())
    }

    /// Moves the weights of a new model to the device of the models that it contains, `inner`, or
    /// to `device` if there are none. The weights of `inner` stay where they are.
    pub fn place(&self, device: &Device, inner: &[Arc<Model>]) -> Result<()> {
        let first = inner.iter().find_map(|model| model.entries.first());
        let device = first.map_or_else(|| device.clone(), |entry| entry.param.leaf().device());
        if device.is_cpu() {
            return Ok(()); // new weights are there
        }
        let shared: Vec<&Arc<Leaf>> =
            inner.iter().flat_map(|model| &model.entries).map(|entry| entry.param.leaf()).collect();
        let own = self.entries.iter().map(|entry| entry.param.leaf());
        let own = own.filter(|leaf| !shared.iter().any(|other| Arc::ptr_eq(other, leaf)));
        self.move_leaves(own, &device)
    }

    /// Copies the values of a state dict into the model. With `strict`, missing and unexpected
    /// names are errors. Names and shapes are checked before anything is copied.
    ///
    /// # Errors
    ///
    /// [`Error::State`] with all mismatches; the model is unchanged then.
    pub fn load_state(&self, state: &[(String, Array)], strict: bool) -> Result<LoadReport> {
        let given: HashMap<&str, &Array> =
            state.iter().map(|(name, array)| (name.as_str(), array)).collect();
        let entries = self.all_entries();
        let known: HashSet<&str> = entries.iter().map(|e| e.name.as_str()).collect();
        let missing = entries.iter().filter(|e| !given.contains_key(e.name.as_str()));
        let unexpected = state.iter().filter(|(name, _)| !known.contains(name.as_str()));
        let report = LoadReport {
            missing: missing.map(|e| e.name.clone()).collect(),
            unexpected: unexpected.map(|(name, _)| name.clone()).collect(),
        };
        let mut wrong = Vec::new();
        for entry in &entries {
            let (shape, array) = (entry.param.leaf().shape(), given.get(entry.name.as_str()));
            if let Some(array) = array.filter(|a| a.dims() != shape) {
                wrong.push(format!(
                    "`{}` has shape {:?}, the model needs {shape:?}",
                    entry.name,
                    array.dims()
                ));
            }
        }
        if strict {
            wrong.extend(report.missing.iter().map(|name| format!("`{name}` is missing")));
            wrong.extend(
                report.unexpected.iter().map(|name| format!("`{name}` is not in the model")),
            );
        }
        if !wrong.is_empty() {
            return Err(Error::State(format!(
                "the state does not fit {}:\n{}",
                self.class,
                wrong.join("\n")
            )));
        }
        for entry in &entries {
            if let Some(array) = given.get(entry.name.as_str()) {
                entry.param.leaf().set((*array).clone())?;
            }
        }
        Ok(report)
    }
}
