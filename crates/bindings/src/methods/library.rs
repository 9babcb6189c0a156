//! Functions of the library: construction of all objects, operations, and information.

use super::optimizer::Optimizer;
use super::reader::Reader;
use super::Heavy;
use crate::{parse, AbortFlag, Context, Error, Result};
use serde::Deserialize;
use serde_json::{json, Value as Json};
use std::collections::HashMap;
use std::sync::Arc;
use xt_core::checkpoint::{self, Settings};
use xt_core::training::{self, OptimizerKind};
use xt_core::{Array, Device, Leaf, Model, ScalarType, Tensor};
use xt_kernels::host::parallel;
use xt_kernels::memory::{self, alloc};
use xt_options::sets::{self, OptionSet};
use xt_options::Problems;

/// A tensor of type `dtype` from values in row-major order, little-endian. `source` is the type of
/// the bytes: f32 for f16 and bf16.
///
/// # Errors
/// The number of bytes does not fit the shape.
pub fn tensor(
    bytes: &[u8],
    source: ScalarType,
    dtype: ScalarType,
    shape: &[usize],
    device: &Device,
) -> Result<Tensor> {
    alloc::check(shape, dtype.dtype())?;
    let count: usize = shape.iter().product();
    if bytes.len() != count * source.dtype().size_in_bytes() {
        return Err(Error::Shape(format!(
            "{} bytes for {count} values of type {} in shape {shape:?}",
            bytes.len(),
            source.name()
        )));
    }
    alloc::check(shape, source.dtype())?;
    let array = Array::from_raw_buffer(bytes, source.dtype(), shape, &Device::Cpu)?;
    let plain =
        if source == ScalarType::Bool { Tensor::boolean(array) } else { Tensor::constant(array) };
    let cast = xt_autograd::ops::cast(&plain, dtype.dtype(), dtype == ScalarType::Bool)?;
    Ok(xt_autograd::ops::to_device(&cast, device)?)
}

/// A light operation, computed at once. `args` is a JSON object. Creation (no inputs; args `shape,
/// dtype, device`): `zeros ones full{value} arange{start,end,step} rand randn randint{low,high}`.
/// Elementwise: `neg exp log sqrt abs tanh sigmoid relu gelu silu logical_not sin cos sign square
/// reciprocal rsqrt round floor ceil isnan isinf isfinite clone`, `clamp{min?,max?}`; with
/// broadcasting, the second input or `{scalar}`: `add sub mul div pow maximum minimum eq ne lt le
/// gt ge`, and `masked_fill{value}` (x, mask). Reductions `{dims?: number[], keepdim}`: `sum mean
/// max min prod any all`, `std{correction}`, `var{correction}`, `norm{p}`; `argmax{dim, keepdim}`,
/// `argmin{dim, keepdim}`. `argsort{dim,k,descending}`, `cumsum{dim}`, `tril{diagonal}`,
/// `triu{diagonal}`, `outer`, `flip{dims}`, `repeat{shape}`, `expand{shape}`, `select{dim,start}`,
/// `matmul`, `softmax{dim}`, `log_softmax{dim}`, `cross_entropy{ignore_index, label_smoothing}`
/// (logits (.., classes), targets), `mse`, `reshape{shape}`, `permute{dims}`,
/// `slice{dim,start,end}`, `cat{dim}`, `stack{dim}`, `gather{dim}` (x, index), `where` (condition,
/// a, b), `cast{dtype}`, `to_device{device}`, `top_k{thres}`, `top_p{thres}`,
/// `top_a{min_p_pow,min_p_ratio}`.
pub fn op(name: &str, inputs: &[Tensor], args: &str, context: &Context) -> Result<Tensor> {
    crate::ops::op(name, inputs, args, context)
}

/// Adds the gradients of `loss`, one element, to its leaves. Frees the graph unless `retain` is
/// set.
pub fn backward(loss: &Tensor, retain: bool, abort: &AbortFlag) -> Heavy<()> {
    Ok(loss.backward(retain, &|| abort.is_set())?)
}

/// A model by class name; `{"$module": i}` in the JSON of the options refers to `modules[i]`, whose
/// weights it shares. Its own weights go to the device of those, or to `device` if it shares none.
pub fn construct(
    class_name: &str,
    options: &str,
    modules: &[Arc<Model>],
    device: &Device,
    context: &Context,
) -> Result<Arc<Model>> {
    let model = Model::build(class_name, &parse(options)?, modules, context.rng())?;
    model.place(device, modules)?;
    Ok(Arc::new(model))
}

/// The settings of a file, as the TypeScript layer passes them.
#[derive(Deserialize)]
struct ReaderSettings {
    size: Option<f64>,
    key: Option<String>,
    widen: bool,
    #[serde(default)]
    optimizer: bool,
}

/// A file of tensors, which is read as bytes are fed to it; `settings` is JSON of `ReaderSettings`.
pub fn reader(settings: &str) -> Result<Arc<Reader>> {
    let ReaderSettings { size, key, widen, optimizer } = parse(settings)?;
    let settings = Settings { size: size.map(|size| size as u64), key, widen, optimizer };
    Ok(Arc::new(Reader::new(settings)))
}

/// The leaves of the parameters; an error if one is no leaf.
fn leaves(parameters: &[Tensor]) -> Result<Vec<Arc<Leaf>>> {
    let leaf = |t: &Tensor| {
        t.as_leaf().cloned().ok_or_else(|| {
            Error::Shape(
                "a parameter must be a leaf: one of `parameters()`, or a tensor made with requires_grad".into(),
            )
        })
    };
    parameters.iter().map(leaf).collect()
}

/// A group of parameters, as the TypeScript layer describes it.
#[derive(Deserialize)]
struct Group {
    count: usize,
    settings: Json,
}

/// An optimizer. `kind`: SGD, Adam, AdamW, Lion, Muon or Adafactor; `groups` is a JSON array with
/// `{ "count", "settings" }` for each group.
pub fn optimizer(kind: &str, parameters: &[Tensor], groups: &str) -> Result<Arc<Optimizer>> {
    let (counts, settings): (Vec<_>, Vec<_>) =
        parse::<Vec<Group>>(groups)?.into_iter().map(|group| (group.count, group.settings)).unzip();
    let kind = OptimizerKind::parse(kind)?;
    let optimizer = training::Optimizer::new(kind, leaves(parameters)?, counts)?;
    optimizer.check_memory(&settings)?;
    Ok(Arc::new(Optimizer::new(optimizer)))
}

/// Scales the gradients so that their common norm is at most `max`. Returns the norm before.
pub fn clip_grad_norm(parameters: &[Tensor], max: f64, abort: &AbortFlag) -> Heavy<f64> {
    training::clip_grad_norm(&leaves(parameters)?, max, &|| abort.is_set())
}

/// The norm of the gradients of each of consecutive groups of parameters, whose sizes are `counts`:
/// f64, `(groups)`.
pub fn grad_norms(parameters: &[Tensor], counts: &[usize], abort: &AbortFlag) -> Heavy<Tensor> {
    let norms = training::grad_norms(&leaves(parameters)?, counts, &|| abort.is_set())?;
    Ok(Tensor::constant(Array::from_vec(norms, counts.len(), &Device::Cpu)?))
}

/// Limits each element of the gradients to `-value` to `value`.
pub fn clip_grad_value(parameters: &[Tensor], value: f64, abort: &AbortFlag) -> Heavy<()> {
    training::clip_grad_value(&leaves(parameters)?, value, &|| abort.is_set())
}

/// Moves averages towards parameters, pair by pair: `average ← decay · average + (1 - decay) ·
/// parameter`.
pub fn average(averages: &[Tensor], parameters: &[Tensor], decay: f64) -> Heavy<()> {
    training::average(&leaves(averages)?, &leaves(parameters)?, decay)
}

/// Exchanges the values of leaves, pair by pair.
pub fn swap_values(some: &[Tensor], others: &[Tensor]) -> Result<()> {
    training::swap_values(&leaves(some)?, &leaves(others)?)
}

/// The bytes of a safetensors file of named tensors; `names`, an array, and `metadata`, an object
/// of strings, are JSON.
pub fn write_tensors(names: &str, tensors: &[Tensor], metadata: &str) -> Heavy<Vec<u8>> {
    let (names, metadata): (Vec<String>, HashMap<String, String>) =
        (parse(names)?, parse(metadata)?);
    checkpoint::write_tensors(names.into_iter().zip(tensors.iter().cloned()).collect(), metadata)
}

/// The bytes of a file of PyTorch with the state of an optimizer: `names` are those of
/// `NativeOptimizer.state()`, `groups` is a JSON array of the settings of each group, with the
/// indices of its parameters (`params`).
pub fn write_optimizer(
    kind: &str,
    names: &str,
    tensors: &[Tensor],
    groups: &str,
) -> Heavy<Vec<u8>> {
    let names: Vec<String> = parse(names)?;
    let kind = OptimizerKind::parse(kind)?;
    let state = names.into_iter().zip(tensors.iter().cloned()).collect();
    checkpoint::write_optimizer(kind, state, &parse(groups)?)
}

fn set(name: &str) -> Result<OptionSet> {
    sets::find(name)
        .ok_or_else(|| Error::Internal(format!("there are no options of the name {name}")))
}

fn invalid(name: &str) -> impl Fn(Problems) -> Error + '_ {
    move |problems| Error::Options { class: name.into(), problems }
}

/// The options of a class (`AdamW`, `Decoder`), a function (`top_k`, `cosineWarmup`) or an
/// interface (`TransformerCall`), as JSON, with defaults for those that are absent.
///
/// # Errors
/// `invalid_options`, with every problem.
pub fn resolve_options(name: &str, options: &str) -> Result<String> {
    Ok(set(name)?.resolve(&parse(options)?).map_err(invalid(name))?.to_string())
}

/// The same for parameter groups: `groups` is a JSON array with the options of each group, which
/// have precedence over the `common` ones. Problems of a group have paths such as
/// `param_groups[1].lr`.
pub fn resolve_groups(name: &str, common: &str, groups: &str) -> Result<String> {
    let groups: Vec<Json> = parse(groups)?;
    let settings = set(name)?.resolve_groups(&parse(common)?, &groups).map_err(invalid(name))?;
    Ok(Json::Array(settings).to_string())
}

/// Sets the number of threads of the CPU kernels, for calls that begin later.
///
/// # Errors
/// `not_available` in WebAssembly.
pub fn set_num_threads(count: f64) -> Result<()> {
    if cfg!(target_family = "wasm") {
        return Err(Error::Unsupported(
            "the number of threads is set when WebAssembly starts: spawn({ threads }) of x-transformers/worker".into(),
        ));
    }
    Ok(parallel::set_threads(count as usize)?)
}

/// JSON of a `RuntimeInfo`: version, target, SIMD variant, number of threads, whether CUDA is
/// compiled in, and the kernels that ran without an implementation for their device and type, with
/// the number of calls.
pub fn info() -> String {
    let target = if cfg!(target_family = "wasm") { "wasm" } else { "native" };
    let simd = if cfg!(target_feature = "relaxed-simd") { "relaxed" } else { "plain" };
    let fallbacks = xt_kernels::fallbacks().into_iter().map(|(of, count)| {
        json!({ "kernel": of.kernel, "device": of.device, "dtype": of.dtype, "count": count })
    });
    json!({
        "version": xt_core::VERSION,
        "target": target,
        "simd": simd,
        "threads": parallel::threads(),
        "cuda": cfg!(feature = "cuda"),
        "fallbacks": fallbacks.collect::<Vec<_>>(),
    })
    .to_string()
}

/// JSON of a `CudaInfo`: whether a GPU can be used, and what the driver tells of all of them. It is
/// looked up once.
pub fn cuda_info() -> String {
    #[cfg(feature = "cuda")]
    {
        let status = xt_kernels::cuda::status();
        let version = |(major, minor): (i32, i32)| format!("{major}.{minor}");
        let devices = status.gpus.iter().map(|gpu| {
            json!({
                "index": gpu.index,
                "name": gpu.name,
                "compute_capability": version(gpu.capability),
                "memory_bytes": gpu.bytes,
                "reason": gpu.reason(),
            })
        });
        json!({
            "available": status.reason.is_none(),
            "reason": status.reason,
            "driver": status.driver.map(version),
            "cublas_lt": xt_kernels::cuda::cublas_lt().map(|path| path.to_string_lossy()),
            "devices": devices.collect::<Vec<_>>(),
        })
        .to_string()
    }
    #[cfg(not(feature = "cuda"))]
    {
        let reason = Device::cuda(0).err().map(|error| error.to_string());
        let none: [Json; 0] = [];
        json!({
            "available": false, "reason": reason, "driver": null, "cublas_lt": null,
            "devices": none,
        })
        .to_string()
    }
}

/// Bytes of native memory in use by tensors, weights and graphs.
pub fn memory_held() -> f64 {
    memory::held() as f64
}

/// Bytes of tensors, weights and graphs on GPUs.
pub fn memory_on_gpus() -> f64 {
    memory::gpu_held() as f64
}

/// Bytes of the buffers that threads keep.
pub fn memory_kept() -> f64 {
    memory::kept() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_have_the_name_of_the_options() {
        let error = resolve_options("top_k", r#"{"thres":2,"k":1}"#).unwrap_err();
        assert_eq!(error.code(), "invalid_options");
        assert!(error.to_string().starts_with("top_k:\n"), "{error}");
        let error = resolve_groups("SGD", "{}", r#"[{},{"lr":-1}]"#).unwrap_err();
        assert!(error.to_string().contains("param_groups[1].lr: got -1"), "{error}");
    }

    #[test]
    fn a_name_that_nobody_declares_is_an_error() {
        assert_eq!(resolve_options("nothing", "{}").unwrap_err().code(), "internal");
    }
}
