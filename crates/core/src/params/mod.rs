//! Named parameters and buffers in the order of the state dict, and their initialisation.

mod init;

pub use init::Init;

use crate::lora::LowRank;
use crate::{Device, Leaf, Result, Rng, Tensor};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use xt_kernels::philox::Stream;
use xt_kernels::Array;

/// A parameter, or a buffer of the state dict. The values are drawn at first use, but their random
/// stream is reserved at construction, so the order of first uses does not affect them. Clones
/// share the values.
#[derive(Clone)]
pub struct Param {
    leaf: Arc<Leaf>,
    /// The initialisation, shared with the closure that draws the values.
    init: Arc<Mutex<Init>>,
    /// The place of a low-rank update; `None` unless this is the weight of a linear layer.
    low_rank: Option<Arc<RwLock<Option<LowRank>>>>,
}

impl Param {
    /// A parameter whose values are drawn from `init` and `stream` at first use.
    pub fn new(shape: &[usize], init: Init, stream: Stream) -> Self {
        let init = Arc::new(Mutex::new(init));
        let (count, dims, source) = (shape.iter().product(), shape.to_vec(), init.clone());
        let initial = move || {
            let values = source.lock().unwrap_or_else(PoisonError::into_inner).draw(count, stream);
            Array::from_vec(values, dims.as_slice(), &Device::Cpu)
        };
        Self { leaf: Arc::new(Leaf::lazy(shape.to_vec(), initial)), init, low_rank: None }
    }

    /// The parameter as a leaf tensor of the autograd graph.
    pub fn tensor(&self) -> Tensor {
        Tensor::leaf(self.leaf.clone())
    }

    /// The values as an array, without an autograd graph. Draws them if this is the first use.
    pub fn values(&self) -> Result<Array> {
        Ok(self.leaf.values()?)
    }

    /// The autograd leaf that stores the values and the gradient.
    pub fn leaf(&self) -> &Arc<Leaf> {
        &self.leaf
    }

    /// Whether this parameter was registered as the weight `(out, in)` of a linear layer.
    pub fn is_linear_weight(&self) -> bool {
        self.low_rank.is_some()
    }

    /// The low-rank update of this weight of a linear layer.
    pub fn low_rank(&self) -> Option<LowRank> {
        let place = self.low_rank.as_ref()?;
        place.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets or removes the low-rank update. Has no effect unless this is the weight of a linear
    /// layer.
    pub fn set_low_rank(&self, update: Option<LowRank>) {
        if let Some(place) = &self.low_rank {
            *place.write().unwrap_or_else(PoisonError::into_inner) = update;
        }
    }

    /// A parameter with the values of `leaf`, which keeps its own initialisation.
    fn of_leaf(leaf: Arc<Leaf>) -> Self {
        Self { leaf, init: Arc::new(Mutex::new(Init::Constant(0.0))), low_rank: None }
    }

    /// Replaces the initialisation. Has no effect once the values have been drawn.
    pub fn set_init(&self, init: Init) {
        *self.init.lock().unwrap_or_else(PoisonError::into_inner) = init;
    }
}

/// Whether an entry of the state dict is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Trained.
    Parameter,
    /// Stored in the state dict, but not trained.
    Buffer,
}

/// One entry of a state dict.
#[derive(Clone)]
pub struct Entry {
    /// The full name, with dots between its parts, as in PyTorch.
    pub name: String,
    /// Parameter or buffer.
    pub kind: EntryKind,
    /// The values; entries with tied weights share them.
    pub param: Param,
}

impl Entry {
    /// The matrices of the low-rank update of this weight of a linear layer, as entries: of
    /// `layer.weight` these are `layer.lora_A.weight` and `layer.lora_B.weight`.
    fn low_rank(&self) -> Vec<Entry> {
        let (Some(update), Some(layer)) = (self.param.low_rank(), self.name.strip_suffix("weight"))
        else {
            return Vec::new();
        };
        let entry = |matrix: &str, leaf: Arc<Leaf>| Entry {
            name: format!("{layer}{matrix}.weight"),
            kind: EntryKind::Parameter,
            param: Param::of_leaf(leaf),
        };
        vec![entry("lora_A", update.a), entry("lora_B", update.b)]
    }
}

/// `entries`, which are in PyTorch's order, and those of the low-rank updates of their weights.
pub fn with_low_rank(entries: &[Entry]) -> Vec<Entry> {
    let updates: Vec<Entry> = entries.iter().flat_map(Entry::low_rank).collect();
    if updates.is_empty() {
        return entries.to_vec();
    }
    own_entries_first(entries.iter().cloned().chain(updates).collect(), "")
}

/// Sorts `entries`, whose names start with `prefix`, into PyTorch's order: first the entries
/// directly under `prefix`, then those of each submodule in the order in which the submodules first
/// occur.
fn own_entries_first(entries: Vec<Entry>, prefix: &str) -> Vec<Entry> {
    let (mut own, mut inner): (Vec<Entry>, Vec<(String, Vec<Entry>)>) = Default::default();
    // the place of each submodule in `inner`: there may be thousands
    let mut places: HashMap<String, usize> = HashMap::new();
    for entry in entries {
        let submodule = entry.name[prefix.len()..]
            .split_once('.')
            .map(|(submodule, _)| format!("{prefix}{submodule}."));
        match submodule {
            None => own.push(entry),
            Some(submodule) => {
                let place = *places.entry(submodule.clone()).or_insert(inner.len());
                match inner.get_mut(place) {
                    Some((_, list)) => list.push(entry),
                    None => inner.push((submodule, vec![entry])),
                }
            }
        }
    }
    own.extend(inner.into_iter().flat_map(|(submodule, list)| own_entries_first(list, &submodule)));
    own
}

/// The registry in which a model under construction registers its parameters. Each value of this
/// type refers to one module path and adds that path as a prefix to names. Clones share the
/// registry.
#[derive(Clone)]
pub struct Params {
    prefix: String,
    registry: Rc<Registry>,
}

/// The state shared by all module paths of a registry.
struct Registry {
    rng: Rc<Rng>,
    entries: RefCell<Vec<Entry>>,
}

impl Params {
    /// An empty registry at the root path. `rng` provides the streams of the initial values.
    pub fn new(rng: Rng) -> Self {
        Self::with_rng(Rc::new(rng))
    }

    /// An empty registry at the root path that draws from `rng`.
    fn with_rng(rng: Rc<Rng>) -> Self {
        Self {
            prefix: String::new(),
            registry: Rc::new(Registry { rng, entries: RefCell::default() }),
        }
    }

    /// An empty registry with the same random number generator, for a part whose entries are
    /// included later.
    pub fn new_root(&self) -> Params {
        Self::with_rng(self.registry.rng.clone())
    }

    /// The path of the submodule `name` under this one.
    pub fn submodule(&self, name: impl std::fmt::Display) -> Params {
        Params { prefix: format!("{}{name}.", self.prefix), registry: self.registry.clone() }
    }

    /// Registers a parameter under this path.
    pub fn add(&mut self, name: &str, shape: &[usize], init: Init) -> Param {
        self.register(name, EntryKind::Parameter, self.draw(shape, init))
    }

    /// Registers the weight `(out, in)` of a linear layer under this path.
    pub fn add_linear_weight(&mut self, name: &str, shape: &[usize; 2], init: Init) -> Param {
        let low_rank = Some(Arc::default());
        self.register(name, EntryKind::Parameter, Param { low_rank, ..self.draw(shape, init) })
    }

    /// Registers a one-dimensional buffer: values that belong to the state dict and are not
    /// trained.
    pub fn add_buffer(&mut self, name: &str, values: Vec<f64>) -> Param {
        let shape = [values.len()];
        self.register(name, EntryKind::Buffer, self.draw(&shape, Init::Values(values)))
    }

    /// A parameter whose values are drawn from the next stream of this registry.
    fn draw(&self, shape: &[usize], init: Init) -> Param {
        Param::new(shape, init, self.registry.rng.stream())
    }

    /// Adds an entry under this path.
    fn register(&mut self, name: &str, kind: EntryKind, param: Param) -> Param {
        self.push(Entry { name: format!("{}{name}", self.prefix), kind, param: param.clone() });
        param
    }

    /// Registers an existing parameter under an additional name of this path (tied weights).
    pub fn share(&mut self, name: &str, param: &Param) {
        let name = format!("{}{name}", self.prefix);
        self.push(Entry { name, kind: EntryKind::Parameter, param: param.clone() });
    }

    /// Adds all entries of a submodule that was built elsewhere, under this path. The values are
    /// shared.
    pub fn include(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.push(Entry { name: format!("{}{}", self.prefix, entry.name), ..entry.clone() });
        }
    }

    /// Adds an entry; its name already includes the path.
    fn push(&mut self, entry: Entry) {
        self.registry.entries.borrow_mut().push(entry);
    }

    /// The number of entries registered so far, under all paths.
    pub fn count(&self) -> usize {
        self.registry.entries.borrow().len()
    }

    /// The entries after the first `count`, in order of registration.
    pub fn since(&self, count: usize) -> Vec<Entry> {
        self.registry.entries.borrow().iter().skip(count).cloned().collect()
    }

    /// All entries in PyTorch's order: for each module first its own parameters, then those of its
    /// submodules.
    pub fn entries(&self) -> Vec<Entry> {
        own_entries_first(self.since(0), "")
    }
}
