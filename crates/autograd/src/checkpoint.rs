//! Gradient checkpointing: of a part of the graph only the inputs are kept, and the backward pass
//! computes the part again.
//!
//! Source: Training Deep Nets with Sublinear Memory Cost, <https://arxiv.org/abs/1604.06174>.

use crate::reads::{key, reads};
use crate::{is_grad_enabled, with_grad, Array, Error, Leaf, Result, Tensor};
use std::sync::Arc;

/// Returns `f(inputs)` without keeping its graph. The backward pass calls `f` again, records its
/// graph and runs through that.
///
/// `f` must give the same values each time. It may use leaves, such as parameters, which get their
/// gradients, but no other tensor with a graph besides `inputs`. It must read them on the calling
/// thread: where one has changed since, frozen or not, the backward pass is an error.
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
    let (y, read) = reads(|| f(&own.tensors), |leaf| own.has(leaf));
    // frees the graph
    let y = y?.array()?;
    let leaves: Vec<_> = read.leaves().filter(|leaf| leaf.requires_grad()).cloned().collect();
    let used: Vec<Tensor> = leaves.iter().cloned().map(Tensor::leaf).collect();
    let all: Vec<&Tensor> = inputs.iter().copied().chain(&used).collect();
    Ok(Tensor::record_long(y, &all, move |grad, aborted| {
        // frozen leaves too: the edges of this node know only those that get a gradient
        read.require_unchanged()?;
        let own = Inputs::new(&arrays);
        let (y, again) = reads(|| with_grad(true, || f(&own.tensors)), |leaf| own.has(leaf));
        again.require_among(&read)?;
        let mut grads = y.map_err(Into::into)?.gradients(grad.clone(), aborted)?;
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
