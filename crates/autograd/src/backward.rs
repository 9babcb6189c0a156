//! From a loss to the gradients of the leaves.

use crate::node::{Body, Edge, Node};
use crate::{Array, Error, Leaf, Result, Tensor};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Tensor {
    /// Adds the gradients of this tensor, of one element, to the leaves that it depends on.
    ///
    /// The graph is freed on the way, unless `retain`. Where anything fails, or `aborted` gives true, no leaf's
    /// gradient has changed.
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
        // nodes with larger numbers come first: all of a node's gradient is there when its turn comes
        while let Some((_, (node, grads))) = walk.nodes.pop_last() {
            if aborted() {
                return Err(Error::Aborted);
            }
            let body = node.take().ok_or(Error::GraphFreed)?;
            let done = walk.step(&body, &grads);
            if retain {
                node.put_back(body);
            }
            done?;
        }
        walk.leaves.into_values().try_for_each(|(leaf, grad)| leaf.add_grad(grad))
    }
}

/// Gradients that wait for their node or leaf.
#[derive(Default)]
struct Walk {
    /// With a gradient for each result.
    nodes: BTreeMap<u64, (Arc<Node>, Vec<Option<Array>>)>,
    /// By address: a leaf has no number.
    leaves: BTreeMap<usize, (Arc<Leaf>, Array)>,
}

impl Walk {
    fn step(&mut self, body: &Body, grads: &[Option<Array>]) -> Result<()> {
        for edge in &body.inputs {
            if let Edge::Leaf(leaf, version) = edge {
                leaf.require_version(*version)?;
            }
        }
        let grads = (body.backward)(grads)?;
        for (edge, grad) in body.inputs.iter().zip(grads) {
            if let Some(grad) = grad {
                self.add(edge.clone(), grad)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, edge: Edge, grad: Array) -> Result<()> {
        let sum = |old: Option<Array>| match old {
            None => Ok(grad.clone()),
            Some(old) => xt_kernels::ops::elementwise::add(&old, &grad),
        };
        match edge {
            Edge::Nowhere => {}
            Edge::Node(node, result) => {
                let count = node.results;
                let (_, grads) = self.nodes.entry(node.id).or_insert_with(|| (node, vec![None; count]));
                let old = grads[result].take();
                grads[result] = Some(sum(old)?);
            }
            Edge::Leaf(leaf, version) => {
                leaf.require_version(version)?;
                let key = Arc::as_ptr(&leaf).addr();
                let old = self.leaves.remove(&key).map(|(_, g)| g);
                self.leaves.insert(key, (leaf, sum(old)?));
            }
        }
        Ok(())
    }
}
