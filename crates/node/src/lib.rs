//! The addon for Node: `ts/native/native.ts` on napi-rs. Each function forwards to `xt-bindings`;
//! heavy ones run on the addon's own threads.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod abort;
mod errors;
mod generation;
// never called in a test program, which no environment loads
#[cfg_attr(test, allow(dead_code))]
mod load;
mod memory;
mod module;
mod optimizer;
mod promise;
mod reader;
#[cfg(target_os = "linux")]
mod small;
mod tensor;
mod threads;
mod work;

use abort::NativeAbortFlag;
use memory::report;
use module::NativeModule;
use napi::bindgen_prelude::{ClassInstance, Uint8Array};
use napi::Env;
use napi_derive::napi;
use optimizer::NativeOptimizer;
use reader::NativeReader;
use tensor::{tensors, NativeTensor};
use work::{in_background, now, now_shared, Work};
use xt_bindings::{self as bindings, AbortFlag, Context};

/// A new abort flag.
#[napi]
pub fn abort_flag() -> NativeAbortFlag {
    NativeAbortFlag::default()
}

/// Creates a tensor, see [`bindings::from_bytes`].
#[napi]
pub fn tensor(
    env: Env,
    bytes: &[u8],
    source: String,
    dtype: String,
    shape: Vec<f64>,
    device: String,
) -> napi::Result<NativeTensor> {
    let shape: Vec<usize> = shape.into_iter().map(|d| d as usize).collect();
    report(env, now(|| bindings::from_bytes(bytes, &source, &dtype, &shape, &device)))
        .map(NativeTensor::new)
}

/// Runs a tensor operation, see [`bindings::op`].
#[napi]
pub fn op(
    env: Env,
    name: String,
    inputs: Vec<ClassInstance<NativeTensor>>,
    args: String,
    context: String,
) -> napi::Result<NativeTensor> {
    let inputs = tensors(&inputs)?;
    report(env, now(|| bindings::op(&name, &inputs, &args, &Context::parse(&context)?)))
        .map(NativeTensor::new)
}

/// Runs the backward pass in the background, see [`bindings::backward`].
#[napi(ts_return_type = "Promise<void>")]
pub fn backward(
    loss: &NativeTensor,
    retain: bool,
    abort: &NativeAbortFlag,
) -> napi::Result<Work<(), ()>> {
    let (loss, abort) = (loss.get()?, abort.flag());
    Ok(in_background(abort, move |abort| bindings::backward(&loss, retain, abort), |()| ()))
}

/// Runs the backward pass.
#[napi]
pub fn backward_sync(env: Env, loss: &NativeTensor, retain: bool) -> napi::Result<()> {
    let loss = loss.get()?;
    report(env, now_shared(|| bindings::backward(&loss, retain, &AbortFlag::default())))
}

/// Builds a model, see [`bindings::construct`].
#[napi]
pub fn construct(
    env: Env,
    class_name: String,
    options: String,
    modules: Vec<ClassInstance<NativeModule>>,
    context: String,
) -> napi::Result<NativeModule> {
    let modules = modules.iter().map(|m| m.get()).collect::<napi::Result<Vec<_>>>()?;
    let built =
        now(|| bindings::construct(&class_name, &options, &modules, &Context::parse(&context)?));
    report(env, built).map(NativeModule::new)
}

/// Creates an optimizer, see [`bindings::optimizer`].
#[napi]
pub fn optimizer(
    kind: String,
    parameters: Vec<ClassInstance<NativeTensor>>,
    groups: String,
) -> napi::Result<NativeOptimizer> {
    let parameters = tensors(&parameters)?;
    now(|| bindings::optimizer(&kind, &parameters, &groups)).map(NativeOptimizer::new)
}

/// Clips gradients in the background, see [`bindings::clip_grad_norm`].
#[napi(ts_return_type = "Promise<number>")]
pub fn clip_grad_norm(
    parameters: Vec<ClassInstance<NativeTensor>>,
    max: f64,
    abort: &NativeAbortFlag,
) -> napi::Result<Work<f64, f64>> {
    let (parameters, abort) = (tensors(&parameters)?, abort.flag());
    Ok(in_background(
        abort,
        move |abort| bindings::clip_grad_norm(&parameters, max, abort),
        |norm| norm,
    ))
}

/// Clips gradients.
#[napi]
pub fn clip_grad_norm_sync(
    parameters: Vec<ClassInstance<NativeTensor>>,
    max: f64,
) -> napi::Result<f64> {
    let parameters = tensors(&parameters)?;
    now_shared(|| bindings::clip_grad_norm(&parameters, max, &AbortFlag::default()))
}

/// Serialises tensors to safetensors in the background, see [`bindings::write_tensors`].
#[napi(ts_return_type = "Promise<Uint8Array>")]
pub fn write_tensors(
    names: String,
    inputs: Vec<ClassInstance<NativeTensor>>,
    metadata: String,
) -> napi::Result<Work<Vec<u8>, Uint8Array>> {
    let inputs = tensors(&inputs)?;
    let write = move |_: &AbortFlag| bindings::write_tensors(&names, &inputs, &metadata);
    Ok(in_background(AbortFlag::default(), write, Uint8Array::from))
}

/// Serialises tensors to safetensors.
#[napi]
pub fn write_tensors_sync(
    names: String,
    inputs: Vec<ClassInstance<NativeTensor>>,
    metadata: String,
) -> napi::Result<Uint8Array> {
    let inputs = tensors(&inputs)?;
    now(|| bindings::write_tensors(&names, &inputs, &metadata)).map(Uint8Array::from)
}

/// Serialises the state of an optimizer in the background, see [`bindings::write_optimizer`].
#[napi(ts_return_type = "Promise<Uint8Array>")]
pub fn write_optimizer(
    kind: String,
    names: String,
    inputs: Vec<ClassInstance<NativeTensor>>,
    groups: String,
) -> napi::Result<Work<Vec<u8>, Uint8Array>> {
    let inputs = tensors(&inputs)?;
    let write = move |_: &AbortFlag| bindings::write_optimizer(&kind, &names, &inputs, &groups);
    Ok(in_background(AbortFlag::default(), write, Uint8Array::from))
}

/// Serialises the state of an optimizer.
#[napi]
pub fn write_optimizer_sync(
    kind: String,
    names: String,
    inputs: Vec<ClassInstance<NativeTensor>>,
    groups: String,
) -> napi::Result<Uint8Array> {
    let inputs = tensors(&inputs)?;
    now(|| bindings::write_optimizer(&kind, &names, &inputs, &groups)).map(Uint8Array::from)
}

/// Starts to read a file, see [`bindings::reader`].
#[napi]
pub fn reader(settings: String) -> napi::Result<NativeReader> {
    now(|| bindings::reader(&settings)).map(NativeReader::new)
}

/// Checks options and fills in defaults, see [`bindings::resolve_options`].
#[napi]
pub fn resolve_options(name: String, options: String) -> napi::Result<String> {
    now(|| bindings::resolve_options(&name, &options))
}

/// The settings of each parameter group, see [`bindings::resolve_groups`].
#[napi]
pub fn resolve_groups(name: String, common: String, groups: String) -> napi::Result<String> {
    now(|| bindings::resolve_groups(&name, &common, &groups))
}

/// Sets the number of threads of the CPU kernels.
#[napi]
pub fn set_num_threads(count: u32) -> napi::Result<()> {
    now(|| bindings::set_num_threads(count as usize))
}

/// Build and runtime information as JSON, see [`bindings::info`].
#[napi]
pub fn info() -> String {
    bindings::info()
}

/// Bytes of native memory in use, without the buffers of the threads.
#[napi]
pub fn memory_held() -> f64 {
    bindings::memory::held() as f64
}

/// Bytes of the buffers that the threads keep.
#[napi]
pub fn memory_kept() -> f64 {
    bindings::memory::kept() as f64
}
