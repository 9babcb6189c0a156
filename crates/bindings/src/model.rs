//! Models: construction, calls, state, checkpoints and generation.

use crate::{parse, AbortFlag, Context, Error, Result};
use serde_json::{json, Value as Json};
use std::sync::{Arc, Mutex, TryLockError};
use xt_core::generation::Generation;
use xt_core::models::parse_format;
use xt_core::{checkpoint, with_grad, Args, Array, Ctx, EntryKind, Model, Rng, Tensor};

/// A result that contains tensors: `{"$tensor": i}` in the JSON refers to `tensors[i]`.
pub struct Reply {
    /// The result as JSON.
    pub json: String,
    /// The tensors to which the JSON refers.
    pub tensors: Vec<Tensor>,
}

/// Builds a model by class name; `{"$module": i}` in the options refers to `modules[i]`.
pub fn construct(
    class: &str,
    options: &str,
    modules: &[Arc<Model>],
    context: &Context,
) -> Result<Arc<Model>> {
    Ok(Arc::new(Model::build(class, &parse(options)?, modules, context.rng())?))
}

/// Class, options and entries of a model as JSON. Does not initialise weights.
pub fn describe(model: &Model) -> String {
    model.describe().to_string()
}

/// The parameter or buffer with this name.
pub fn entry(model: &Model, name: &str) -> Result<Tensor> {
    let entry = model.entry(name)?;
    Ok(match entry.kind {
        EntryKind::Parameter => entry.param.tensor(),
        EntryKind::Buffer => Tensor::constant(entry.param.values()?),
    })
}

/// The model that was passed to the constructor as option `name`.
pub fn child(model: &Model, name: &str) -> Result<Arc<Model>> {
    model.child(name)
}

/// Frees the weights with these names for good; `names` is a JSON array.
pub fn release(model: &Model, names: &str) -> Result<()> {
    model.release(&parse::<Vec<String>>(names)?);
    Ok(())
}

/// Sets training mode, also of the models within.
pub fn train(model: &Model, on: bool) {
    model.train(on);
}

/// Quantizes the weights of linear layers to `format`, for inference.
pub fn quantize(model: &Model, format: &str) -> Result<()> {
    model.quantize(parse_format(format)?)
}

/// The format of the quantized weights, if any.
pub fn quantization(model: &Model) -> Option<String> {
    model.quantization().map(|format| format.name().into())
}

/// Copies `tensors` into the entries with these names, a JSON array. Returns JSON
/// `{ "missing", "unexpected" }`.
pub fn load_state(model: &Model, names: &str, tensors: &[Tensor], strict: bool) -> Result<String> {
    let names: Vec<String> = parse(names)?;
    let arrays =
        tensors.iter().map(Tensor::array).collect::<std::result::Result<Vec<Array>, _>>()?;
    let state: Vec<(String, Array)> = names.into_iter().zip(arrays).collect();
    let report = model.load_state(&state, strict)?;
    Ok(json!({ "missing": report.missing, "unexpected": report.unexpected }).to_string())
}

/// Calls a method of the model; `args` is a JSON array that may refer to `tensors`.
pub fn call(
    model: &Model,
    method: &str,
    args: &str,
    tensors: &[Tensor],
    context: &Context,
    abort: &AbortFlag,
) -> Result<Reply> {
    let rng = context.rng();
    let aborted = || abort.is_set();
    let args = Args::new(format!("{}.{method}", model.class()), parse(args)?, tensors)?;
    let value = with_grad(context.grad, || model.call(method, &args, &Ctx::new(&rng, &aborted)))?;
    let mut tensors = Vec::new();
    let json: Json = value.into_json(&mut tensors);
    Ok(Reply { json: json.to_string(), tensors })
}

/// Serialises the model to the bytes of a checkpoint.
pub fn save(model: &Model) -> Result<Vec<u8>> {
    checkpoint::save(model)
}

/// A generation whose steps the caller triggers, with its random numbers.
pub struct Generating {
    generation: Mutex<Generation>,
    rng: Rng,
}

/// Starts a generation for `method`, "generate" or "stream", with its arguments.
pub fn generation(
    model: &Model,
    method: &str,
    args: &str,
    tensors: &[Tensor],
    context: &Context,
) -> Result<Generating> {
    let args = Args::new(format!("{}.{method}", model.class()), parse(args)?, tensors)?;
    Ok(Generating { generation: Mutex::new(model.generation(method, &args)?), rng: context.rng() })
}

impl Generating {
    /// Runs `f` on the generation.
    ///
    /// # Errors
    /// Another call is using the generation.
    fn with<T>(&self, f: impl FnOnce(&mut Generation) -> Result<T>) -> Result<T> {
        match self.generation.try_lock() {
            Ok(mut generation) => f(&mut generation),
            Err(TryLockError::Poisoned(p)) => f(&mut p.into_inner()),
            Err(TryLockError::WouldBlock) => {
                Err(Error::State("this generation is computing a token: await it first".into()))
            }
        }
    }

    /// The logits of the next token, (rows, num_tokens).
    pub fn logits(&self, abort: &AbortFlag) -> Result<Tensor> {
        let aborted = || abort.is_set();
        self.with(|g| g.logits(&Ctx::new(&self.rng, &aborted)))
    }

    /// Draws the next token of every row from `logits`, (rows, num_tokens); `None` if the
    /// generation is over. `filtered` tells whether the caller's filter was applied.
    pub fn accept(&self, logits: &Tensor, filtered: bool) -> Result<Option<Vec<i64>>> {
        self.with(|g| g.accept(logits, filtered, &self.rng))
    }

    /// Performs one step: computes logits and draws the next token of every row. Returns whether
    /// the generation is over.
    pub fn step(&self, abort: &AbortFlag) -> Result<bool> {
        let logits = self.logits(abort)?;
        self.accept(&logits, false)?;
        self.done()
    }

    /// Whether the generation is over.
    pub fn done(&self) -> Result<bool> {
        self.with(|g| Ok(g.done()))
    }

    /// All new tokens so far, i64, (count) or (rows, count).
    pub fn tokens(&self) -> Result<Tensor> {
        self.with(|g| g.tokens())
    }
}
