//! Nodes of the graph, and whether new ones are recorded.

use crate::{Array, Leaf, Result};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Gradients of a node's inputs for those of its results; `None` for an input that needs none, and for a result that nothing depends on.
pub(crate) type Backward = Box<dyn Fn(&[Option<Array>]) -> Result<Vec<Option<Array>>> + Send + Sync>;

/// One operation of a forward.
pub(crate) struct Node {
    /// Grows with every node, so that inputs have smaller numbers than what is made from them.
    pub id: u64,
    pub results: usize,
    body: Mutex<Option<Body>>,
}

pub(crate) struct Body {
    pub inputs: Vec<Edge>,
    /// Holds arrays only, never tensors: so dropping it drops no other node.
    pub backward: Backward,
}

/// Where a gradient goes.
#[derive(Clone)]
pub(crate) enum Edge {
    Nowhere,
    /// One of the node's results.
    Node(Arc<Node>, usize),
    /// With the version that the forward has seen.
    Leaf(Arc<Leaf>, u64),
}

static NEXT: AtomicU64 = AtomicU64::new(0);

impl Node {
    pub fn new(inputs: Vec<Edge>, results: usize, backward: Backward) -> Self {
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), results, body: Mutex::new(Some(Body { inputs, backward })) }
    }

    /// Takes the body out: the arrays that it holds are freed with it.
    pub fn take(&self) -> Option<Body> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Puts a body back, for a graph that is to be walked again.
    pub fn put_back(&self, body: Body) {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = Some(body);
    }
}

impl Drop for Node {
    /// Frees the nodes that only this one holds, one after the other: a chain may be longer than the stack is deep.
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

/// Runs `f` with recording on or off.
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
