//! The differentiable tensor.

use crate::error::invalid;
use crate::node::{Edge, Node};
use crate::{is_grad_enabled, Array, DType, Device, Leaf, Result};
use std::sync::Arc;
use xt_kernels::ops::quantized::Packed;

/// Values with a place in the graph. Cheap to clone: a clone is the same tensor.
#[derive(Clone)]
pub struct Tensor {
    repr: Repr,
    /// Candle has no boolean type: these are u8 with this mark.
    boolean: bool,
}

#[derive(Clone)]
enum Repr {
    Leaf(Arc<Leaf>),
    /// `node` says which of its results this is.
    Value {
        array: Array,
        node: Option<(Arc<Node>, usize)>,
    },
}

/// The element type as users name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    F32,
    F64,
    F16,
    BF16,
    I64,
    U8,
    Bool,
}

impl Kind {
    pub const NAMES: [(&'static str, Kind); 7] = [
        ("f32", Kind::F32),
        ("f64", Kind::F64),
        ("f16", Kind::F16),
        ("bf16", Kind::BF16),
        ("i64", Kind::I64),
        ("u8", Kind::U8),
        ("bool", Kind::Bool),
    ];

    pub fn parse(name: &str) -> Result<Self> {
        match Self::NAMES.iter().find(|(n, _)| *n == name) {
            Some((_, kind)) => Ok(*kind),
            None => invalid(format!("`{name}` is no dtype; allowed: {}", Self::NAMES.map(|(n, _)| n).join(", "))),
        }
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, k)| *k == self).map_or("", |(n, _)| n)
    }

    /// How the values lie in memory.
    pub fn dtype(self) -> DType {
        match self {
            Kind::F32 => DType::F32,
            Kind::F64 => DType::F64,
            Kind::F16 => DType::F16,
            Kind::BF16 => DType::BF16,
            Kind::I64 => DType::I64,
            Kind::U8 | Kind::Bool => DType::U8,
        }
    }

    pub fn is_float(self) -> bool {
        self.dtype().is_float()
    }
}

impl Tensor {
    /// Values without a graph.
    pub fn constant(array: Array) -> Self {
        Self { repr: Repr::Value { array, node: None }, boolean: false }
    }

    /// Truth values, stored as u8.
    pub fn boolean(array: Array) -> Self {
        Self { repr: Repr::Value { array, node: None }, boolean: true }
    }

    /// A tensor that collects a gradient, unless its leaf is frozen.
    pub fn leaf(leaf: Arc<Leaf>) -> Self {
        Self { repr: Repr::Leaf(leaf), boolean: false }
    }

    /// The result of an operation on `inputs`. `backward` gives the gradient of each input for that of the result;
    /// it is kept only where an input needs it.
    pub fn record(
        array: Array,
        inputs: &[&Tensor],
        backward: impl Fn(&Array) -> Result<Vec<Option<Array>>> + Send + Sync + 'static,
    ) -> Self {
        let of_one = move |grads: &[Option<Array>]| match grads {
            [Some(grad)] => backward(grad),
            _ => Ok(Vec::new()),
        };
        Self::with_node(array, Self::node(inputs, 1, of_one).map(|node| (node, 0)))
    }

    /// [`record`](Self::record) of several results: `backward` gets a gradient for each, `None` where nothing depends on it.
    pub fn record_all(
        arrays: Vec<Array>,
        inputs: &[&Tensor],
        backward: impl Fn(&[Option<Array>]) -> Result<Vec<Option<Array>>> + Send + Sync + 'static,
    ) -> Vec<Self> {
        let node = Self::node(inputs, arrays.len(), backward);
        let one = |(i, array)| Self::with_node(array, node.clone().map(|node| (node, i)));
        arrays.into_iter().enumerate().map(one).collect()
    }

    /// [`record_all`](Self::record_all) of two results.
    pub fn record_pair(
        (first, second): (Array, Array),
        inputs: &[&Tensor],
        backward: impl Fn(Option<&Array>, Option<&Array>) -> Result<Vec<Option<Array>>> + Send + Sync + 'static,
    ) -> (Self, Self) {
        let of_two = move |grads: &[Option<Array>]| match grads {
            [first, second] => backward(first.as_ref(), second.as_ref()),
            _ => Ok(Vec::new()),
        };
        let node = Self::node(inputs, 2, of_two);
        let one = |array, i| Self::with_node(array, node.clone().map(|node| (node, i)));
        (one(first, 0), one(second, 1))
    }

    /// Nothing where no input needs a gradient.
    fn node(
        inputs: &[&Tensor],
        results: usize,
        backward: impl Fn(&[Option<Array>]) -> Result<Vec<Option<Array>>> + Send + Sync + 'static,
    ) -> Option<Arc<Node>> {
        let needed = is_grad_enabled() && inputs.iter().any(|t| t.requires_grad());
        needed.then(|| Arc::new(Node::new(inputs.iter().map(|t| t.edge()).collect(), results, Box::new(backward))))
    }

    fn with_node(array: Array, node: Option<(Arc<Node>, usize)>) -> Self {
        Self { repr: Repr::Value { array, node }, boolean: false }
    }

    pub(crate) fn edge(&self) -> Edge {
        match &self.repr {
            Repr::Leaf(leaf) if leaf.requires_grad() => Edge::Leaf(leaf.clone(), leaf.version()),
            Repr::Leaf(_) => Edge::Nowhere,
            Repr::Value { node: Some((node, result)), .. } => Edge::Node(node.clone(), *result),
            Repr::Value { node: None, .. } => Edge::Nowhere,
        }
    }

    /// The values.
    pub fn array(&self) -> Result<Array> {
        match &self.repr {
            Repr::Leaf(leaf) => leaf.values(),
            Repr::Value { array, .. } => Ok(array.clone()),
        }
    }

    /// The leaf behind this tensor, if it is one.
    pub fn as_leaf(&self) -> Option<&Arc<Leaf>> {
        match &self.repr {
            Repr::Leaf(leaf) => Some(leaf),
            Repr::Value { .. } => None,
        }
    }

    /// The values of a quantized leaf as they are kept.
    pub fn packed(&self) -> Option<Arc<Packed>> {
        self.as_leaf().and_then(|leaf| leaf.packed())
    }

    /// Whether a backward reaches this tensor: not a frozen leaf.
    pub fn requires_grad(&self) -> bool {
        match &self.repr {
            Repr::Leaf(leaf) => leaf.requires_grad(),
            Repr::Value { node, .. } => node.is_some(),
        }
    }

    /// The same values without a graph.
    pub fn detach(&self) -> Result<Self> {
        Ok(Self { repr: Repr::Value { array: self.array()?, node: None }, boolean: self.boolean })
    }

    pub fn dims(&self) -> &[usize] {
        match &self.repr {
            Repr::Leaf(leaf) => leaf.shape(),
            Repr::Value { array, .. } => array.dims(),
        }
    }

    pub fn rank(&self) -> usize {
        self.dims().len()
    }

    pub fn elem_count(&self) -> usize {
        self.dims().iter().product()
    }

    /// The size of axis `axis`; 1 past the end.
    pub fn dim(&self, axis: usize) -> usize {
        self.dims().get(axis).copied().unwrap_or(1)
    }

    pub fn dtype(&self) -> DType {
        match &self.repr {
            Repr::Leaf(leaf) => leaf.dtype(),
            Repr::Value { array, .. } => array.dtype(),
        }
    }

    pub fn device(&self) -> Device {
        match &self.repr {
            Repr::Leaf(leaf) => leaf.device(),
            Repr::Value { array, .. } => array.device(),
        }
    }

    /// The element type as users name it; `None` for types of arrays that are not offered.
    pub fn kind(&self) -> Option<Kind> {
        match (self.dtype(), self.boolean) {
            (DType::U8, true) => Some(Kind::Bool),
            (dtype, _) => Kind::NAMES.iter().map(|(_, k)| *k).find(|k| *k != Kind::Bool && k.dtype() == dtype),
        }
    }

    pub fn is_boolean(&self) -> bool {
        self.boolean
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({:?}, {:?})", self.dims(), self.dtype())
    }
}
