//! Tables of the values to which handles refer. Only one JavaScript thread uses a module, so the
//! tables are thread-local.

use crate::errors::{to_js, Thrown};
use js_sys::{Array, Uint32Array};
use slab::Slab;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::LocalKey;
use xt_bindings::Reply;
use xt_bindings::{Error, Generating, Model, Optimizer, Reading, Tensor};

/// An index into a table.
pub type Handle = u32;

thread_local! {
    static TENSOR: RefCell<Slab<Tensor>> = const { RefCell::new(Slab::new()) };
    static MODEL: RefCell<Slab<Arc<Model>>> = const { RefCell::new(Slab::new()) };
    static GENERATION: RefCell<Slab<Rc<Generating>>> = const { RefCell::new(Slab::new()) };
    static READER: RefCell<Slab<Rc<Reading>>> = const { RefCell::new(Slab::new()) };
    static OPTIMIZER: RefCell<Slab<SharedOptimizer>> = const { RefCell::new(Slab::new()) };
}

/// The tensors.
pub static TENSORS: Table<Tensor> = Table { slab: &TENSOR, what: "this tensor" };
/// The models.
pub static MODELS: Table<Arc<Model>> = Table { slab: &MODEL, what: "this model" };
/// The generations.
pub static GENERATIONS: Table<Rc<Generating>> =
    Table { slab: &GENERATION, what: "this generation" };
/// The files that are being read.
pub static READERS: Table<Rc<Reading>> = Table { slab: &READER, what: "this file" };
/// The optimizers.
pub static OPTIMIZERS: Table<SharedOptimizer> = Table { slab: &OPTIMIZER, what: "this optimizer" };

/// An optimizer, shared between its handle and a running call.
#[derive(Clone)]
pub struct SharedOptimizer(pub Rc<RefCell<Optimizer>>);

impl From<Optimizer> for SharedOptimizer {
    fn from(optimizer: Optimizer) -> Self {
        Self(Rc::new(RefCell::new(optimizer)))
    }
}

/// A table of values by handle. The values are references, and so cheap to clone.
pub struct Table<T: 'static> {
    slab: &'static LocalKey<RefCell<Slab<T>>>,
    /// Names the value in error messages.
    what: &'static str,
}

impl<T: Clone> Table<T> {
    /// Adds a value and returns its handle.
    pub fn insert(&self, value: T) -> Handle {
        self.slab.with_borrow_mut(|slab| slab.insert(value) as Handle)
    }

    /// A clone of the value; an error once it is removed.
    pub fn get(&self, handle: Handle) -> Thrown<T> {
        let value = self.slab.with_borrow(|slab| slab.get(handle as usize).cloned());
        value.ok_or_else(|| to_js(Error::Disposed(self.what)))
    }

    /// Removes a value. It is dropped after the borrow of the table has ended, since that may take
    /// long.
    pub fn remove(&self, handle: Handle) {
        drop(self.slab.with_borrow_mut(|slab| slab.try_remove(handle as usize)));
    }
}

/// The tensors of handles; an error if one is removed.
pub fn tensors(handles: &[Handle]) -> Thrown<Vec<Tensor>> {
    handles.iter().map(|handle| TENSORS.get(*handle)).collect()
}

/// A result for JavaScript: `[json, handles]`.
pub fn reply(reply: Reply) -> Array {
    let handles: Vec<Handle> =
        reply.tensors.into_iter().map(|tensor| TENSORS.insert(tensor)).collect();
    Array::of2(&reply.json.into(), &Uint32Array::from(handles.as_slice()).into())
}
