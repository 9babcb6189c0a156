//! Nodes of the autograd graph, and the switch that enables recording.

use crate::{Array, Leaf, Result};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Maps the gradients of a node's results (`None` if nothing depends on that result) to those of
/// its inputs (`None` if that input needs none). What takes long asks the second argument whether
/// the pass was aborted.
pub(crate) type Backward =
    Box<dyn Fn(&[Option<Array>], &dyn Fn() -> bool) -> Result<Vec<Option<Array>>> + Send + Sync>;

/// One recorded operation.
pub(crate) struct Node {
    /// Increases with every node, so that inputs have smaller ids than the nodes that use them.
    pub id: u64,
    /// Number of results of the operation.
    pub results: usize,
    /// `None` once the graph is freed.
    body: Mutex<Option<Body>>,
}

/// The part of a node that is freed after its backward pass.
pub(crate) struct Body {
    /// Where the gradient of each input goes.
    pub inputs: Vec<Edge>,
    /// Captures arrays and leaves, and tensors only if they have no graph: dropping it drops no
    /// other node.
    pub backward: Backward,
}

/// The target of a gradient.
#[derive(Clone)]
pub(crate) enum Edge {
    /// The input needs no gradient.
    NoGrad,
    /// A node, and the index of the result among its results.
    Node(Arc<Node>, usize),
    /// A leaf, with its version at the time of recording.
    Leaf(Arc<Leaf>, u64),
}

/// The id of the next node.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl Node {
    /// A node with a new id.
    pub fn new(inputs: Vec<Edge>, results: usize, backward: Backward) -> Self {
        Self {
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            results,
            body: Mutex::new(Some(Body { inputs, backward })),
        }
    }

    /// Takes the body, leaving the node freed; dropping the body frees its arrays. `None` if it was
    /// freed already.
    pub fn take(&self) -> Option<Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Puts the body back, for a graph that is retained.
    pub fn put_back(&self, body: Body) {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }
}

impl Drop for Node {
    /// Frees the nodes that only this one refers to, with a work list: recursion over a long chain
    /// would overflow the stack.
    fn drop(&mut self) {
        let mut bodies: Vec<Body> = self.take().into_iter().collect();
        while let Some(body) = bodies.pop() {
            for edge in body.inputs {
                if let Edge::Node(node, _) = edge {
                    bodies.extend(Arc::into_inner(node).and_then(|node| node.take()));
                }
            }
        }
    }
}

thread_local! {
    static GRAD: Cell<bool> = const { Cell::new(true) };
}

/// Whether operations on this thread are recorded.
pub fn is_grad_enabled() -> bool {
    GRAD.get()
}

/// Runs `f` with recording on or off, on this thread.
pub fn with_grad<T>(on: bool, f: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            GRAD.set(self.0);
        }
    }
    let _restore = Restore(GRAD.replace(on));
    f()
}

/// Runs `f` without recording.
pub fn no_grad<T>(f: impl FnOnce() -> T) -> T {
    with_grad(false, f)
}
