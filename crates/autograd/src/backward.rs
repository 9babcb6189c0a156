//! The backward pass: from a loss to the gradients of the leaves.

use crate::node::{Body, Edge, Node};
use crate::reads::key;
use crate::{Array, Error, Leaf, Result, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Tensor {
    /// Runs the backward pass from this tensor, which must have one element, and adds the gradients
    /// to the leaves that it depends on.
    /// The graph is freed during the pass unless `retain` is set. If an operation fails, or
    /// `aborted` returns true, the gradients of all leaves stay unchanged.
    ///
    /// # Errors
    /// [`Error::NotScalar`], [`Error::NoGraph`], [`Error::GraphFreed`], [`Error::Aborted`],
    /// [`Error::StaleParameter`] or [`Error::Released`], and errors of the kernels.
    pub fn backward(&self, retain: bool, aborted: &dyn Fn() -> bool) -> Result<()> {
        if self.elem_count() != 1 {
            return Err(Error::NotScalar { shape: self.dims().to_vec() });
        }
        let mut walk = Walk::default();
        let one = self.array()?.ones_like()?;
        walk.add(self.edge(), one)?;
        if walk.nodes.is_empty() && walk.leaves.is_empty() {
            return Err(Error::NoGraph);
        }
        walk.run(retain, aborted)?;
        walk.leaves.into_values().try_for_each(|(leaf, grad)| leaf.add_grad(grad))
    }

    /// The gradients of the leaves, by [`key`], from `grad`, that of this tensor. The graph is
    /// freed, and the leaves do not change.
    pub(crate) fn gradients(
        &self,
        grad: Array,
        aborted: &dyn Fn() -> bool,
    ) -> Result<BTreeMap<usize, Array>> {
        let mut walk = Walk::default();
        walk.add(self.edge(), grad)?;
        walk.run(false, aborted)?;
        Ok(walk.leaves.into_iter().map(|(key, (_, grad))| (key, grad)).collect())
    }
}

/// Gradients accumulated so far, for nodes and leaves that the pass has yet to process.
#[derive(Default)]
struct Walk {
    /// By node id: the node and one gradient slot per result.
    nodes: BTreeMap<u64, (Arc<Node>, Vec<Option<Array>>)>,
    /// By [`key`].
    leaves: BTreeMap<usize, (Arc<Leaf>, Array)>,
}

impl Walk {
    /// Processes all nodes.
    fn run(&mut self, retain: bool, aborted: &dyn Fn() -> bool) -> Result<()> {
        // Consumers have larger ids than their inputs: in descending order, each node is reached
        // only after its gradients have been accumulated in full.
        while let Some((_, (node, grads))) = self.nodes.pop_last() {
            if aborted() {
                return Err(Error::Aborted);
            }
            let body = node.take().ok_or(Error::GraphFreed)?;
            let done = self.step(&body, &grads, aborted);
            if retain {
                node.put_back(body);
            }
            done?;
        }
        Ok(())
    }

    /// Computes the gradients of one node's inputs and accumulates them.
    fn step(
        &mut self,
        body: &Body,
        grads: &[Option<Array>],
        aborted: &dyn Fn() -> bool,
    ) -> Result<()> {
        for edge in &body.inputs {
            if let Edge::Leaf(leaf, version) = edge {
                leaf.require_version(*version)?;
            }
        }
        let grads = (body.backward)(grads, aborted)?;
        for (edge, grad) in body.inputs.iter().zip(grads) {
            if let Some(grad) = grad {
                self.add(edge.clone(), grad)?;
            }
        }
        Ok(())
    }

    /// Accumulates `grad` at the target of `edge`.
    fn add(&mut self, edge: Edge, grad: Array) -> Result<()> {
        let sum = |old: Option<Array>| match old {
            None => Ok(grad.clone()),
            Some(old) => xt_kernels::ops::elementwise::add(&old, &grad),
        };
        match edge {
            Edge::NoGrad => {}
            Edge::Node(node, result) => {
                let count = node.results;
                let (_, grads) =
                    self.nodes.entry(node.id).or_insert_with(|| (node, vec![None; count]));
                let old = grads[result].take();
                grads[result] = Some(sum(old)?);
            }
            Edge::Leaf(leaf, version) => {
                leaf.require_version(version)?;
                let key = key(&leaf);
                let old = self.leaves.remove(&key).map(|(_, g)| g);
                self.leaves.insert(key, (leaf, sum(old)?));
            }
        }
        Ok(())
    }
}
