//! Tables of the values to which handles refer. Only one JavaScript thread uses a module, so the
//! tables are thread-local.

use crate::errors::{to_js, Thrown};
use js_sys::{Array, Uint32Array};
use slab::Slab;
use std::cell::RefCell;
use std::sync::Arc;
use std::thread::LocalKey;
use xt_bindings::methods::{generation::Generation, optimizer::Optimizer, reader::Reader, Reply};
use xt_bindings::{Error, Model, Tensor};

/// An index into a table.
pub type Handle = u32;

thread_local! {
    static TENSOR: RefCell<Slab<Tensor>> = const { RefCell::new(Slab::new()) };
    static MODEL: RefCell<Slab<Arc<Model>>> = const { RefCell::new(Slab::new()) };
    static GENERATION: RefCell<Slab<Arc<Generation>>> = const { RefCell::new(Slab::new()) };
    static READER: RefCell<Slab<Arc<Reader>>> = const { RefCell::new(Slab::new()) };
    static OPTIMIZER: RefCell<Slab<Arc<Optimizer>>> = const { RefCell::new(Slab::new()) };
}

/// The tensors.
pub static TENSORS: Table<Tensor> = Table { slab: &TENSOR, what: "this tensor" };
/// The models.
pub static MODELS: Table<Arc<Model>> = Table { slab: &MODEL, what: "this model" };
/// The generations.
pub static GENERATIONS: Table<Arc<Generation>> =
    Table { slab: &GENERATION, what: "this generation" };
/// The files that are being read.
pub static READERS: Table<Arc<Reader>> = Table { slab: &READER, what: "this file" };
/// The optimizers.
pub static OPTIMIZERS: Table<Arc<Optimizer>> = Table { slab: &OPTIMIZER, what: "this optimizer" };

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

/// The models of handles; an error if one is removed.
pub fn models(handles: &[Handle]) -> Thrown<Vec<Arc<Model>>> {
    handles.iter().map(|handle| MODELS.get(*handle)).collect()
}

/// The numbers of JavaScript as sizes.
pub fn sizes(numbers: &[f64]) -> Vec<usize> {
    numbers.iter().map(|n| *n as usize).collect()
}

/// Sizes as the numbers of JavaScript.
pub fn numbers(sizes: Vec<usize>) -> Vec<f64> {
    sizes.into_iter().map(|n| n as f64).collect()
}

/// A result for JavaScript: `[json, handles]`.
pub fn reply(reply: Reply) -> Array {
    let handles: Vec<Handle> =
        reply.tensors.into_iter().map(|tensor| TENSORS.insert(tensor)).collect();
    Array::of2(&reply.json.into(), &Uint32Array::from(handles.as_slice()).into())
}
