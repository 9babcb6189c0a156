//! Named parameters in order, each with the law that its first values follow.

use crate::{Device, Leaf, Result, Rng, Tensor};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use xt_kernels::philox::Stream;
use xt_kernels::Array;

/// The law of a parameter's first values.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    Constant(f64),
    /// Evenly from -bound to bound.
    Uniform {
        bound: f64,
    },
    Normal {
        std: f64,
    },
    /// These values, row by row.
    Values(Vec<f64>),
}

impl Init {
    /// PyTorch's law for linear layers: evenly within 1 / sqrt(inputs).
    pub fn fan_in(inputs: usize) -> Self {
        Init::Uniform { bound: 1.0 / (inputs.max(1) as f64).sqrt() }
    }

    fn draw(&self, count: usize, stream: Stream) -> Vec<f64> {
        match self {
            Init::Constant(value) => vec![*value; count],
            Init::Uniform { bound } => stream.uniform(count).into_iter().map(|u| (2.0 * u - 1.0) * bound).collect(),
            Init::Normal { std } => stream.normal(count).into_iter().map(|z| z * std).collect(),
            Init::Values(values) => values.clone(),
        }
    }
}

/// A parameter, or a buffer of the state dict. Its values are drawn at first use, from a stream that was
/// reserved when it was made.
#[derive(Clone)]
pub struct Param {
    leaf: Arc<Leaf>,
    law: Arc<Mutex<Init>>,
    /// Whether it is the weight of a linear layer.
    matrix: bool,
}

impl Param {
    fn new(shape: &[usize], law: Init, stream: Stream) -> Self {
        let law = Arc::new(Mutex::new(law));
        let (count, dims, source) = (shape.iter().product(), shape.to_vec(), law.clone());
        let initial = move |device: &Device| {
            let values = source.lock().unwrap_or_else(PoisonError::into_inner).draw(count, stream);
            Array::from_vec(values, dims.as_slice(), device)
        };
        Self { leaf: Arc::new(Leaf::lazy(shape.to_vec(), initial)), law, matrix: false }
    }

    /// The parameter as a tensor that collects a gradient.
    pub fn tensor(&self) -> Tensor {
        Tensor::leaf(self.leaf.clone())
    }

    /// The values alone, without a graph.
    pub fn values(&self) -> Result<Array> {
        Ok(self.leaf.values()?)
    }

    pub fn leaf(&self) -> &Arc<Leaf> {
        &self.leaf
    }

    /// Whether it is the weight of a linear layer, (out, in), and nothing else.
    pub fn is_matrix(&self) -> bool {
        self.matrix
    }

    /// Another law, for values that have not been drawn yet.
    pub fn set_law(&self, law: Init) {
        *self.law.lock().unwrap_or_else(PoisonError::into_inner) = law;
    }
}

/// Whether an entry of the state dict is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Parameter,
    Buffer,
}

/// One entry of a state dict.
#[derive(Clone)]
pub struct Entry {
    pub name: String,
    pub kind: EntryKind,
    pub param: Param,
}

/// `entries`, whose names start with `prefix`: those of that place, then those of each inner place as they first occur.
fn own_first(entries: Vec<Entry>, prefix: &str) -> Vec<Entry> {
    let (mut own, mut inner): (Vec<Entry>, Vec<(String, Vec<Entry>)>) = Default::default();
    for entry in entries {
        let place = entry.name[prefix.len()..].split_once('.').map(|(place, _)| format!("{prefix}{place}."));
        match place {
            None => own.push(entry),
            Some(place) => match inner.iter_mut().find(|(name, _)| *name == place) {
                Some((_, list)) => list.push(entry),
                None => inner.push((place, vec![entry])),
            },
        }
    }
    own.extend(inner.into_iter().flat_map(|(place, list)| own_first(list, &place)));
    own
}

/// Where a model under construction registers its parameters. Names get the prefix of the place.
#[derive(Clone)]
pub struct Params {
    prefix: String,
    shared: Rc<Shared>,
}

struct Shared {
    rng: Rc<Rng>,
    entries: RefCell<Vec<Entry>>,
}

impl Params {
    pub fn new(rng: Rng) -> Self {
        Self::with_rng(Rc::new(rng))
    }

    fn with_rng(rng: Rc<Rng>) -> Self {
        Self { prefix: String::new(), shared: Rc::new(Shared { rng, entries: RefCell::default() }) }
    }

    /// An empty registry that draws from the same random numbers, for a part that is included later.
    pub fn apart(&self) -> Params {
        Self::with_rng(self.shared.rng.clone())
    }

    /// The place `name` inside this one.
    pub fn under(&self, name: impl std::fmt::Display) -> Params {
        Params { prefix: format!("{}{name}.", self.prefix), shared: self.shared.clone() }
    }

    /// A parameter of this place.
    pub fn add(&mut self, name: &str, shape: &[usize], law: Init) -> Param {
        self.register(name, EntryKind::Parameter, false, shape, law)
    }

    /// The weight of a linear layer of this place, (out, in).
    pub fn add_matrix(&mut self, name: &str, shape: &[usize; 2], law: Init) -> Param {
        self.register(name, EntryKind::Parameter, true, shape, law)
    }

    /// Values that belong to the state dict and are not trained.
    pub fn add_buffer(&mut self, name: &str, values: Vec<f64>) -> Param {
        let shape = [values.len()];
        self.register(name, EntryKind::Buffer, false, &shape, Init::Values(values))
    }

    fn register(&mut self, name: &str, kind: EntryKind, matrix: bool, shape: &[usize], law: Init) -> Param {
        let param = Param { matrix, ..Param::new(shape, law, self.shared.rng.stream()) };
        self.push(Entry { name: format!("{}{name}", self.prefix), kind, param: param.clone() });
        param
    }

    /// A parameter of another place, under a name of this one too.
    pub fn share(&mut self, name: &str, param: &Param) {
        let name = format!("{}{name}", self.prefix);
        self.push(Entry { name, kind: EntryKind::Parameter, param: param.clone() });
    }

    /// Takes over the entries of a model that this one shares.
    pub fn include(&mut self, entries: &[Entry]) {
        for entry in entries {
            self.push(Entry { name: format!("{}{}", self.prefix, entry.name), ..entry.clone() });
        }
    }

    fn push(&mut self, entry: Entry) {
        self.shared.entries.borrow_mut().push(entry);
    }

    /// How many entries there are so far.
    pub fn count(&self) -> usize {
        self.shared.entries.borrow().len()
    }

    /// The entries after the first `count`, as they were registered.
    pub fn since(&self, count: usize) -> Vec<Entry> {
        self.shared.entries.borrow().iter().skip(count).cloned().collect()
    }

    /// All entries in PyTorch's order: at each place its own, then those of the places inside it.
    pub fn entries(&self) -> Vec<Entry> {
        own_first(self.since(0), "")
    }
}
