//! The handle of an optimizer.

use crate::abort::NativeAbortFlag;
use crate::errors::to_napi;
use crate::memory::report;
use crate::tensor::{tensors, NativeResult, NativeTensor};
use crate::work::{in_background, now, now_shared, Work};
use napi::bindgen_prelude::ClassInstance;
use napi::Env;
use napi_derive::napi;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use xt_bindings::{self as bindings, AbortFlag, Error, Optimizer};

/// The handle of an optimizer; empty once it is disposed.
#[napi]
pub struct NativeOptimizer(Option<Arc<Mutex<Optimizer>>>);

/// Locks the optimizer, ignoring poison: a step that fails leaves the optimizer unchanged, so its
/// data is consistent.
fn lock(optimizer: &Mutex<Optimizer>) -> MutexGuard<'_, Optimizer> {
    optimizer.lock().unwrap_or_else(PoisonError::into_inner)
}

impl NativeOptimizer {
    /// A handle of `optimizer`.
    pub fn new(optimizer: Optimizer) -> Self {
        Self(Some(Arc::new(Mutex::new(optimizer))))
    }

    /// The optimizer; an error once it is disposed.
    fn get(&self) -> napi::Result<Arc<Mutex<Optimizer>>> {
        self.0.clone().ok_or_else(|| to_napi(Error::Disposed("this optimizer")))
    }
}

#[napi]
impl NativeOptimizer {
    /// Performs one step in the background, see [`bindings::optimizer_step`].
    #[napi(ts_return_type = "Promise<void>")]
    pub fn step(&self, groups: String, abort: &NativeAbortFlag) -> napi::Result<Work<(), ()>> {
        let (optimizer, abort) = (self.get()?, abort.flag());
        Ok(in_background(
            abort,
            move |abort| bindings::optimizer_step(&mut lock(&optimizer), &groups, abort),
            |()| (),
        ))
    }

    /// Performs one step.
    #[napi]
    pub fn step_sync(&self, env: Env, groups: String) -> napi::Result<()> {
        let optimizer = self.get()?;
        report(
            env,
            now_shared(|| {
                bindings::optimizer_step(&mut lock(&optimizer), &groups, &AbortFlag::default())
            }),
        )
    }

    /// Clears the gradients of all parameters.
    #[napi]
    pub fn zero_grad(&self, env: Env) -> napi::Result<()> {
        let optimizer = self.get()?;
        report(env, now(|| lock(&optimizer).zero_grad()))
    }

    /// The state, see [`bindings::optimizer_state`].
    #[napi]
    pub fn state(&self) -> napi::Result<NativeResult> {
        let optimizer = self.get()?;
        now(|| bindings::optimizer_state(&lock(&optimizer))).map(NativeResult::from)
    }

    /// Replaces the state, see [`bindings::optimizer_load_state`].
    #[napi]
    pub fn load_state(
        &self,
        names: String,
        inputs: Vec<ClassInstance<NativeTensor>>,
    ) -> napi::Result<()> {
        let (optimizer, inputs) = (self.get()?, tensors(&inputs)?);
        now(|| bindings::optimizer_load_state(&mut lock(&optimizer), &names, &inputs))
    }

    /// Releases the optimizer.
    #[napi]
    pub fn dispose(&mut self, env: Env) -> napi::Result<()> {
        self.0 = None;
        report(env, Ok(()))
    }
}
