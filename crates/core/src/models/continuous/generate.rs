//! Generation of continuous vectors.

use super::autoregressive::{require_width, ContinuousAutoregressiveWrapper};
use super::{ContinuousTensors, ContinuousTransformerWrapper};
use crate::layers::{last_columns, LayerTensors, LayersCache};
use crate::{Ctx, Error, Result, Tensor};
use xt_autograd::{no_grad, ops};
use xt_kernels::memory::alloc;

impl ContinuousAutoregressiveWrapper {
    /// Generates the `seq_len` vectors that follow `start`, `(n, dim)` or `(batch, n, dim)`. The
    /// result has the same axes. `cache_kv` enables caching of keys and values between the steps.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if `start` does not fit; `Aborted` if the call is cancelled.
    pub fn generate(
        &self,
        start: &Tensor,
        seq_len: usize,
        with: &ContinuousTensors,
        cache_kv: bool,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let single = start.rank() == 2;
        if !matches!(start.rank(), 2 | 3) || start.elem_count() == 0 {
            return Error::shape(format!(
                "start must have shape (length, dim) or (batch, length, dim), got {:?}",
                start.dims()
            ));
        }
        let start = start.detach()?;
        let ctx = &ctx.evaluating();
        let mut all = if single {
            ops::reshape(&start, &[1, start.dim(0), start.dim(1)])?
        } else {
            start.clone()
        };
        let prompt = all.dim(1);
        let columns = (prompt as u64).saturating_add(seq_len as u64);
        let dims = [all.dim(0) as u64, columns, all.dim(2) as u64];
        alloc::check_wide_on(&all.device(), &dims, all.dtype())?;
        let mut steps = VectorStepRunner::new(self.net(), with, cache_kv, seq_len);
        for _ in 0..seq_len {
            ctx.check()?;
            let next = no_grad(|| steps.next(&all, ctx))?;
            all = ops::cat(&[&all, &next], 1)?;
        }
        let new = ops::narrow(&all, 1, prompt, seq_len)?;
        Ok(if single { ops::reshape(&new, &[seq_len, new.dim(2)])? } else { new })
    }
}

/// Computes the next vector in each step of a generation.
struct VectorStepRunner<'a> {
    net: &'a ContinuousTransformerWrapper,
    with: &'a ContinuousTensors,
    cache: Option<LayersCache>,
}

impl<'a> VectorStepRunner<'a> {
    /// Prepares a generation of `count` vectors.
    fn new(
        net: &'a ContinuousTransformerWrapper,
        with: &'a ContinuousTensors,
        cache_kv: bool,
        count: usize,
    ) -> Self {
        let LayerTensors { mask, attn_mask, self_attn_context_mask, .. } = &with.layers;
        // these tensors fit one sequence length only, so the cache cannot be used
        let fixed = mask.is_some()
            || attn_mask.is_some()
            || self_attn_context_mask.is_some()
            || with.pos.is_some();
        let cached = cache_kv && !fixed && net.not_cacheable().is_none();
        Self { net, with, cache: cached.then(|| net.layers.cache(count.min(net.window))) }
    }

    /// The vector that follows all vectors so far, `(batch, n, dim)` to `(batch, 1, dim)`.
    fn next(&mut self, all: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        let n = all.dim(1);
        let seen = n.min(self.net.window);
        if n > seen {
            // from now on the window slides, which changes the result of every position in it
            self.cache = None;
        }
        if self.cache.as_ref().is_some_and(|cache| !self.net.layers.goes_on(cache, 1)) {
            self.cache = self.cache.take().map(|_| self.net.layers.cache(0));
        }
        let x = match &self.cache {
            Some(cache) if cache.seen() > 0 => last_columns(all, 1)?,
            _ => last_columns(all, seen)?,
        };
        let next = self.net.next(&x, self.with, self.cache.as_mut(), ctx)?;
        require_width(&next, all.dim(2))?;
        Ok(next)
    }
}
