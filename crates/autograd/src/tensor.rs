//! The differentiable tensor.

use crate::node::{Edge, Node};
use crate::{is_grad_enabled, reads, Array, DType, Device, Leaf, Result, ScalarType};
use std::sync::Arc;
use xt_kernels::ops::quantized::Packed;

/// Values with a place in the autograd graph. Cheap to clone: clones share values and graph.
#[derive(Clone)]
pub struct Tensor {
    repr: Repr,
    /// Candle has no boolean type: booleans are stored as u8 with this flag.
    boolean: bool,
}

#[derive(Clone)]
enum Repr {
    Leaf(Arc<Leaf>),
    /// The result of an operation, or a constant; `node` includes the index among the node's
    /// results.
    Value {
        array: Array,
        node: Option<(Arc<Node>, usize)>,
    },
}

impl Tensor {
    /// A tensor without a graph.
    pub fn constant(array: Array) -> Self {
        Self { repr: Repr::Value { array, node: None }, boolean: false }
    }

    /// A boolean tensor without a graph, stored as u8.
    pub fn boolean(array: Array) -> Self {
        Self { repr: Repr::Value { array, node: None }, boolean: true }
    }

    /// A tensor of a leaf: it accumulates a gradient, unless the leaf is frozen.
    pub fn leaf(leaf: Arc<Leaf>) -> Self {
        Self { repr: Repr::Leaf(leaf), boolean: false }
    }

    /// The result of an operation on `inputs`. `backward` maps the gradient of the result to the
    /// gradients of the inputs, `None` for those that need none; it is dropped if no input requires
    /// a gradient or recording is off.
    pub fn record(
        array: Array,
        inputs: &[&Tensor],
        backward: impl Fn(&Array) -> Result<Vec<Option<Array>>> + Send + Sync + 'static,
    ) -> Self {
        Self::record_long(array, inputs, move |grad, _| backward(grad))
    }

    /// As [`record`](Self::record) for a gradient that takes long: `backward` also gets what tells
    /// whether the pass was aborted.
    pub(crate) fn record_long(
        array: Array,
        inputs: &[&Tensor],
        backward: impl Fn(&Array, &dyn Fn() -> bool) -> Result<Vec<Option<Array>>>
            + Send
            + Sync
            + 'static,
    ) -> Self {
        let of_one = move |grads: &[Option<Array>], aborted: &dyn Fn() -> bool| match grads {
            [Some(grad)] => backward(grad, aborted),
            _ => Ok(Vec::new()),
        };
        Self::with_node(array, Self::node(inputs, 1, of_one).map(|node| (node, 0)))
    }

    /// As [`record`](Self::record) for several results: `backward` gets one gradient per result,
    /// `None` if nothing depends on that result.
    pub fn record_all(
        arrays: Vec<Array>,
        inputs: &[&Tensor],
        backward: impl Fn(&[Option<Array>]) -> Result<Vec<Option<Array>>> + Send + Sync + 'static,
    ) -> Vec<Self> {
        let node = Self::node(inputs, arrays.len(), move |grads, _| backward(grads));
        let one = |(i, array)| Self::with_node(array, node.clone().map(|node| (node, i)));
        arrays.into_iter().enumerate().map(one).collect()
    }

    /// As [`record_all`](Self::record_all) for two results.
    pub fn record_pair(
        (first, second): (Array, Array),
        inputs: &[&Tensor],
        backward: impl Fn(Option<&Array>, Option<&Array>) -> Result<Vec<Option<Array>>>
            + Send
            + Sync
            + 'static,
    ) -> (Self, Self) {
        let of_two = move |grads: &[Option<Array>], _: &dyn Fn() -> bool| match grads {
            [first, second] => backward(first.as_ref(), second.as_ref()),
            _ => Ok(Vec::new()),
        };
        let node = Self::node(inputs, 2, of_two);
        let one = |array, i| Self::with_node(array, node.clone().map(|node| (node, i)));
        (one(first, 0), one(second, 1))
    }

    /// A new node, or `None` if no input requires a gradient or recording is off.
    fn node(
        inputs: &[&Tensor],
        results: usize,
        backward: impl Fn(&[Option<Array>], &dyn Fn() -> bool) -> Result<Vec<Option<Array>>>
            + Send
            + Sync
            + 'static,
    ) -> Option<Arc<Node>> {
        let needed = is_grad_enabled() && inputs.iter().any(|t| t.requires_grad());
        needed.then(|| {
            Arc::new(Node::new(
                inputs.iter().map(|t| t.edge()).collect(),
                results,
                Box::new(backward),
            ))
        })
    }

    fn with_node(array: Array, node: Option<(Arc<Node>, usize)>) -> Self {
        Self { repr: Repr::Value { array, node }, boolean: false }
    }

    /// Where the gradient of this tensor goes.
    pub(crate) fn edge(&self) -> Edge {
        match &self.repr {
            Repr::Leaf(leaf) if leaf.requires_grad() => Edge::Leaf(leaf.clone(), leaf.version()),
            Repr::Leaf(_) => Edge::NoGrad,
            Repr::Value { node: Some((node, result)), .. } => Edge::Node(node.clone(), *result),
            Repr::Value { node: None, .. } => Edge::NoGrad,
        }
    }

    /// The values. Initialises or dequantizes those of a leaf, if necessary.
    pub fn array(&self) -> Result<Array> {
        match &self.repr {
            Repr::Leaf(leaf) => {
                reads::note(leaf);
                leaf.values()
            }
            Repr::Value { array, .. } => Ok(array.clone()),
        }
    }

    /// The leaf of this tensor, if it is one.
    pub fn as_leaf(&self) -> Option<&Arc<Leaf>> {
        match &self.repr {
            Repr::Leaf(leaf) => Some(leaf),
            Repr::Value { .. } => None,
        }
    }

    /// The quantized values, if this is a quantized leaf.
    pub fn packed(&self) -> Option<Arc<Packed>> {
        let leaf = self.as_leaf()?;
        reads::note(leaf);
        leaf.packed()
    }

    /// Whether a backward pass propagates a gradient to this tensor; false for a frozen leaf.
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

    /// The shape.
    pub fn dims(&self) -> &[usize] {
        match &self.repr {
            Repr::Leaf(leaf) => leaf.shape(),
            Repr::Value { array, .. } => array.dims(),
        }
    }

    /// The number of axes.
    pub fn rank(&self) -> usize {
        self.dims().len()
    }

    /// The number of elements.
    pub fn elem_count(&self) -> usize {
        self.dims().iter().product()
    }

    /// The size of axis `axis`; 1 if there is no such axis.
    pub fn dim(&self, axis: usize) -> usize {
        self.dims().get(axis).copied().unwrap_or(1)
    }

    /// The type of the array; u8 for booleans.
    pub fn dtype(&self) -> DType {
        match &self.repr {
            Repr::Leaf(leaf) => leaf.dtype(),
            Repr::Value { array, .. } => array.dtype(),
        }
    }

    /// The device of the values.
    pub fn device(&self) -> Device {
        match &self.repr {
            Repr::Leaf(leaf) => leaf.device(),
            Repr::Value { array, .. } => array.device(),
        }
    }

    /// The element type; `None` for array types that [`ScalarType`] does not have.
    pub fn scalar_type(&self) -> Option<ScalarType> {
        match (self.dtype(), self.boolean) {
            (DType::U8, true) => Some(ScalarType::Bool),
            (dtype, _) => ScalarType::NAMES
                .iter()
                .map(|(_, k)| *k)
                .find(|k| *k != ScalarType::Bool && k.dtype() == dtype),
        }
    }

    /// Whether the values are booleans.
    pub fn is_boolean(&self) -> bool {
        self.boolean
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({:?}, {:?})", self.dims(), self.dtype())
    }
}
