//! Gradient checkpointing: of a part of the graph only the inputs are kept, and the backward pass
//! computes the part again.
//!
//! Source: Training Deep Nets with Sublinear Memory Cost, <https://arxiv.org/abs/1604.06174>.

use crate::node::{Edge, Node};
use crate::{is_grad_enabled, with_grad, Array, Error, Leaf, Result, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Returns `f(inputs)` without keeping its graph. The backward pass calls `f` again, records its
/// graph and runs through that.
///
/// `f` must give the same values each time. It may use leaves, such as parameters, which get their
/// gradients, but no other tensor with a graph besides `inputs`.
///
/// # Errors
/// Those of `f`.
pub fn checkpoint<E, F>(inputs: &[&Tensor], f: F) -> std::result::Result<Tensor, E>
where
    E: From<Error> + Into<Error>,
    F: Fn(&[Tensor]) -> std::result::Result<Tensor, E> + Send + Sync + 'static,
{
    if !is_grad_enabled() {
        return f(&inputs.iter().map(|input| (*input).clone()).collect::<Vec<_>>());
    }
    let arrays: Vec<_> = inputs
        .iter()
        .map(|input| Ok((input.array()?, input.requires_grad())))
        .collect::<Result<_>>()?;
    let own = Inputs::new(&arrays);
    let y = f(&own.tensors)?;
    let used: Vec<Tensor> = y.leaves().filter(|leaf| !own.has(leaf)).map(Tensor::leaf).collect();
    // frees the graph
    let y = y.array()?;
    let all: Vec<&Tensor> = inputs.iter().copied().chain(&used).collect();
    let leaves: Vec<_> = used.iter().filter_map(|leaf| leaf.as_leaf().cloned()).collect();
    Ok(Tensor::record(y, &all, move |grad| {
        let own = Inputs::new(&arrays);
        let y = with_grad(true, || f(&own.tensors)).map_err(Into::into)?;
        let mut grads = y.gradients(grad.clone())?;
        let of_inputs = own.leaves.iter().map(|leaf| leaf.as_ref());
        Ok(of_inputs.chain(leaves.iter().map(Some)).map(|leaf| grads.remove(&key(leaf?))).collect())
    }))
}

/// The inputs of one call, as leaves of a graph of its own.
struct Inputs {
    tensors: Vec<Tensor>,
    /// `None` for those that require no gradient.
    leaves: Vec<Option<Arc<Leaf>>>,
}

impl Inputs {
    fn new(arrays: &[(Array, bool)]) -> Self {
        let leaf =
            |(array, needed): &(Array, bool)| needed.then(|| Arc::new(Leaf::new(array.clone())));
        let leaves: Vec<_> = arrays.iter().map(leaf).collect();
        let tensor = |((array, _), leaf): (&(Array, bool), &Option<Arc<Leaf>>)| match leaf {
            Some(leaf) => Tensor::leaf(leaf.clone()),
            None => Tensor::constant(array.clone()),
        };
        Self { tensors: arrays.iter().zip(&leaves).map(tensor).collect(), leaves }
    }

    fn has(&self, leaf: &Arc<Leaf>) -> bool {
        self.leaves.iter().flatten().any(|own| Arc::ptr_eq(own, leaf))
    }
}

/// What a leaf is known by, since leaves have no id: its address.
pub(crate) fn key(leaf: &Arc<Leaf>) -> usize {
    Arc::as_ptr(leaf).addr()
}

impl Tensor {
    /// The leaves that the graph of this tensor ends in, each once.
    fn leaves(&self) -> impl Iterator<Item = Arc<Leaf>> {
        let mut nodes: BTreeMap<u64, Arc<Node>> = BTreeMap::new();
        let mut leaves = BTreeMap::new();
        let mut add = |edge: Edge, nodes: &mut BTreeMap<u64, Arc<Node>>| match edge {
            Edge::NoGrad => {}
            Edge::Node(node, _) => drop(nodes.insert(node.id, node)),
            Edge::Leaf(leaf, _) => drop(leaves.insert(key(&leaf), leaf)),
        };
        add(self.edge(), &mut nodes);
        // inputs have smaller ids than the nodes that use them: no node comes twice
        while let Some((_, node)) = nodes.pop_last() {
            for edge in node.inputs() {
                add(edge, &mut nodes);
            }
        }
        leaves.into_values()
    }
}
