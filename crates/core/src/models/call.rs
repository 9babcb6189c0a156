//! Calls by method name: arguments from JSON and tensors, results as values.

use super::Model;
use crate::generation::Generation;
use crate::ids::require_type;
use crate::{Activations, Args, Ctx, Error, Result, Value};

/// The named arguments whose floating-point tensors must have the type of the weights.
const VECTORS: [&str; 7] =
    ["context", "mem", "mems", "pos", "prepend_embeds", "src_prepend_embeds", "sum_embeds"];

impl Model {
    /// Runs the method `forward`, `generate` or `score` with the given arguments.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] if the class has no such method, and the errors of the method.
    pub fn call(&self, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        self.check_memory()?;
        self.check_tensors(args)?;
        self.body.call(self, method, args, ctx)
    }

    /// Like [`Model::call`], and records the sizes of the outputs of layers for
    /// [`Model::take_activations`]. Nothing is recorded of a call that fails.
    ///
    /// # Errors
    ///
    /// Those of [`Model::call`].
    pub fn call_recorded(&self, method: &str, args: &Args, ctx: &Ctx) -> Result<Value> {
        let activations = Activations::default();
        let value = self.call(method, args, &ctx.recording(&activations))?;
        self.activations.push(activations.take());
        Ok(value)
    }

    /// Checks that tensors are on the device of the weights, and that floating-point ones have
    /// their type.
    fn check_tensors(&self, args: &Args) -> Result<()> {
        let Some(leaf) = self.entries.first().map(|entry| entry.param.leaf()) else {
            return Ok(());
        };
        args.require_device(&leaf.device())?;
        let weights = leaf.dtype();
        let first = self.body.vectors();
        let positional =
            first.into_iter().filter_map(|name| Some((name, args.tensor(0, name).ok()?)));
        let vectors = positional
            .chain(VECTORS.into_iter().flat_map(|name| args.given(name).map(move |x| (name, x))));
        vectors
            .filter(|(_, x)| x.dtype().is_float())
            .try_for_each(|(name, x)| require_type(&x, name, weights))
    }

    /// Starts a step-by-step generation of tokens. `method` is "generate" or "stream", and `args`
    /// are its arguments.
    ///
    /// # Errors
    ///
    /// [`Error::NotAvailable`] if the class does not generate tokens autoregressively.
    pub fn generation(&self, method: &str, args: &Args) -> Result<Generation> {
        self.check_memory()?;
        self.check_tensors(args)?;
        self.body.generation(self, method, args)
    }

    /// All tokens of a generation.
    pub(super) fn generate(&self, args: &Args, ctx: &Ctx) -> Result<Value> {
        let mut generation = self.generation("generate", args)?;
        while !generation.done() {
            let logits = generation.logits(ctx)?;
            generation.accept(&logits, false, ctx.rng)?;
        }
        Ok(generation.tokens()?.into())
    }

    /// The error for a method that the class does not have.
    pub(super) fn has_no(&self, method: &str) -> Error {
        Error::NotAvailable(format!("{}.{method}", self.class()))
    }
}
