//! The handle of a model.

use crate::abort::NativeAbortFlag;
use crate::errors::to_napi;
use crate::generation::NativeGeneration;
use crate::memory::report;
use crate::tensor::{tensors, NativeResult, NativeTensor};
use crate::work::{in_background, now, now_shared, Work};
use napi::bindgen_prelude::{ClassInstance, Uint8Array};
use napi::Env;
use napi_derive::napi;
use std::sync::Arc;
use xt_bindings::{self as bindings, AbortFlag, Context, Error, Model, Reply};

/// The handle of a model; empty once it is disposed.
#[napi]
pub struct NativeModule(Option<Arc<Model>>);

impl NativeModule {
    /// A handle of `model`.
    pub fn new(model: Arc<Model>) -> Self {
        Self(Some(model))
    }

    /// The model; an error once it is disposed.
    pub fn get(&self) -> napi::Result<Arc<Model>> {
        self.0.clone().ok_or_else(|| to_napi(Error::Disposed("this model")))
    }
}

#[napi]
impl NativeModule {
    /// Class, options and entries as JSON.
    #[napi]
    pub fn describe(&self) -> napi::Result<String> {
        Ok(bindings::describe(&*self.get()?))
    }

    /// The parameter or buffer with this name.
    #[napi]
    pub fn entry(&self, env: Env, name: String) -> napi::Result<NativeTensor> {
        let model = self.get()?;
        report(env, now(|| bindings::entry(&model, &name))).map(NativeTensor::new)
    }

    /// The model that was passed to the constructor as option `name`.
    #[napi]
    pub fn child(&self, name: String) -> napi::Result<NativeModule> {
        let model = self.get()?;
        now(|| bindings::child(&model, &name)).map(NativeModule::new)
    }

    /// Sets training mode.
    #[napi]
    pub fn train(&self, on: bool) -> napi::Result<()> {
        bindings::train(&*self.get()?, on);
        Ok(())
    }

    /// Moves all weights to a device.
    #[napi]
    pub fn to(&self, env: Env, device: String) -> napi::Result<()> {
        let model = self.get()?;
        report(env, now(|| model.move_to(&bindings::parse_device(&device)?)))
    }

    /// Quantizes the weights of linear layers to `format`, for inference.
    #[napi]
    pub fn quantize(&self, env: Env, format: String) -> napi::Result<()> {
        let model = self.get()?;
        report(env, now(|| bindings::quantize(&model, &format)))
    }

    /// The format of the quantized weights, if any.
    #[napi]
    pub fn quantization(&self) -> napi::Result<Option<String>> {
        Ok(bindings::quantization(&*self.get()?))
    }

    /// Copies tensors into entries, see [`bindings::load_state`].
    #[napi]
    pub fn load_state(
        &self,
        env: Env,
        names: String,
        inputs: Vec<ClassInstance<NativeTensor>>,
        strict: bool,
    ) -> napi::Result<String> {
        let (model, inputs) = (self.get()?, tensors(&inputs)?);
        report(env, now(|| bindings::load_state(&model, &names, &inputs, strict)))
    }

    /// Calls a method in the background, see [`bindings::call`].
    #[napi(ts_return_type = "Promise<NativeResult>")]
    pub fn call(
        &self,
        method: String,
        args: String,
        inputs: Vec<ClassInstance<NativeTensor>>,
        context: String,
        abort: &NativeAbortFlag,
    ) -> napi::Result<Work<Reply, NativeResult>> {
        let (model, inputs, abort) = (self.get()?, tensors(&inputs)?, abort.flag());
        let context = now(|| Context::parse(&context))?;
        let run = move |abort: &AbortFlag| {
            bindings::call(&model, &method, &args, &inputs, &context, abort)
        };
        Ok(in_background(abort, run, NativeResult::from))
    }

    /// Calls a method.
    #[napi]
    pub fn call_sync(
        &self,
        env: Env,
        method: String,
        args: String,
        inputs: Vec<ClassInstance<NativeTensor>>,
        context: String,
    ) -> napi::Result<NativeResult> {
        let (model, inputs) = (self.get()?, tensors(&inputs)?);
        let run = || {
            bindings::call(
                &model,
                &method,
                &args,
                &inputs,
                &Context::parse(&context)?,
                &AbortFlag::default(),
            )
        };
        report(env, now_shared(run)).map(NativeResult::from)
    }

    /// Starts a generation, see [`bindings::generation`].
    #[napi]
    pub fn generation(
        &self,
        method: String,
        args: String,
        inputs: Vec<ClassInstance<NativeTensor>>,
        context: String,
    ) -> napi::Result<NativeGeneration> {
        let (model, inputs) = (self.get()?, tensors(&inputs)?);
        let start =
            || bindings::generation(&model, &method, &args, &inputs, &Context::parse(&context)?);
        now(start).map(NativeGeneration::new)
    }

    /// Serialises the model to the bytes of a checkpoint, in the background.
    #[napi(ts_return_type = "Promise<Uint8Array>")]
    pub fn save_bytes(&self) -> napi::Result<Work<Vec<u8>, Uint8Array>> {
        let model = self.get()?;
        Ok(in_background(AbortFlag::default(), move |_| bindings::save(&model), Uint8Array::from))
    }

    /// Serialises the model to the bytes of a checkpoint.
    #[napi]
    pub fn save_bytes_sync(&self) -> napi::Result<Uint8Array> {
        let model = self.get()?;
        now(|| bindings::save(&model)).map(Uint8Array::from)
    }

    /// Frees the weights with these names, a JSON array, for good.
    #[napi]
    pub fn free_weights(&self, env: Env, names: String) -> napi::Result<()> {
        let model = self.get()?;
        report(env, now(|| bindings::release(&model, &names)))
    }

    /// Releases the model.
    #[napi]
    pub fn dispose(&mut self, env: Env) -> napi::Result<()> {
        self.0 = None;
        report(env, Ok(()))
    }
}
