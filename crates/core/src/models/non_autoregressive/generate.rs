//! Generation of all tokens at once, in a few steps.

use super::{Critic, NonAutoregressiveWrapper};
use crate::generation::{gumbel_argmax, gumbel_noise, likelihood, top_k};
use crate::models::masking::{top_scores, Grid};
use crate::models::{Returns, TokenTensors};
use crate::{Array, Ctx, DType, Error, Result, Tensor};
use xt_autograd::{no_grad, ops};
use xt_kernels::memory::alloc;
use xt_options::generation::NonAutoregressiveGenerate;

impl NonAutoregressiveWrapper {
    /// Generates sequences of `max_seq_len` tokens: i64, `(batch, n)`, or `(n)` without a batch
    /// size.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a tensor does not fit or logits or scores are NaN; `Aborted` if the call
    /// is cancelled.
    pub fn generate(
        &self,
        options: &NonAutoregressiveGenerate,
        with: &TokenTensors,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let ctx = &ctx.evaluating();
        let (batch, n) = (options.batch_size.map_or(1, |b| b.get()), self.net.max_seq_len());
        let device = self.net.token_table().leaf().device();
        // the logits are the largest tensor of a step
        let logits = [batch as u64, n as u64, self.net.num_tokens() as u64];
        alloc::check_wide_on(&device, &logits, DType::F32)?;
        let mut ids = Grid::from_fn(batch, n, |_, _| self.mask_id);
        let mut mask = Grid::from_fn(batch, n, |_, _| true);
        let mut last = self.condition.as_ref().map(|c| c.null_embed.tensor());
        for step in 1..=self.steps {
            ctx.check()?;
            let x = ids.to_tensor(&device)?;
            let (logits, embeddings) = no_grad(|| self.predict(&x, last.as_ref(), with, ctx))?;
            last = last.map(|_| embeddings);
            let logits = self.exclude_mask_id(&logits)?;
            let logits = options
                .filter_thres
                .map_or_else(|| Ok(logits.clone()), |thres| top_k(&logits, thres.0))?;
            let annealing = (self.steps - step) as f64 / self.steps as f64;
            let temperature = (options.start_temperature * annealing).max(1e-3);
            let sampled = Grid::new(gumbel_argmax(&logits, temperature, ctx.rng)?, n);
            ids = ids.replace_where(&mask, &sampled);
            let mut scores = match &self.critic {
                Some(critic) => {
                    let noise_level = options.noise_level_scale * annealing;
                    self.critic_scores(critic, &ids.to_tensor(&device)?, noise_level, ctx)?
                }
                None => Grid::new(likelihood(&logits, &sampled.values(), temperature)?, n)
                    .map(|p| 1.0 - p),
            };
            if !self.can_mask_prev_unmasked {
                scores = scores.zip(&mask, |s, hidden| if hidden { s } else { f64::MIN });
            }
            let masked = (self.mask_share(step as f64 / self.steps as f64) * n as f64) as usize;
            mask = top_scores(&scores, masked);
            ids = ids.zip(&mask, |id, hidden| if hidden { self.mask_id } else { id });
        }
        let out = ids.to_tensor(&device)?;
        Ok(if options.batch_size.is_none() { ops::reshape(&out, &[n])? } else { out })
    }

    /// The critic's scores of `ids`, i64 `(batch, n)`, plus Gumbel noise times `noise_level`.
    /// Tokens with a high score are masked again.
    fn critic_scores(
        &self,
        critic: &Critic,
        ids: &Tensor,
        noise_level: f64,
        ctx: &Ctx,
    ) -> Result<Grid<f64>> {
        let logits = no_grad(|| self.critic_logits(critic, ids, ctx))?;
        let logits = Grid::from_tensor_f64(&logits)?;
        if logits.values().iter().any(|score| score.is_nan()) {
            return Error::shape("the token critic's scores are NaN: has training diverged?");
        }
        let noise = Grid::new(gumbel_noise(logits.len(), ctx.rng), logits.width());
        Ok(logits.zip(&noise, |s, z| s + noise_level * z))
    }

    /// Excludes `mask_id` from the logits, `(batch, n, outputs)`, so that it is never sampled.
    fn exclude_mask_id(&self, logits: &Tensor) -> Result<Tensor> {
        let outputs = logits.dim(2);
        if outputs < 2 {
            return Ok(logits.clone());
        }
        let others = (0..outputs as i64).map(|id| u8::from(id != self.mask_id)).collect();
        let others = Tensor::boolean(Array::from_vec(others, (1, 1, outputs), &logits.device())?);
        Ok(ops::where_cond(&others, logits, &ops::scalar_like(logits, f64::NEG_INFINITY)?)?)
    }

    /// Logits `(batch, n, outputs)` and embeddings `(batch, n, dim)`, conditioned on `last`, the
    /// embeddings of the previous step.
    fn predict(
        &self,
        x: &Tensor,
        last: Option<&Tensor>,
        with: &TokenTensors,
        ctx: &Ctx,
    ) -> Result<(Tensor, Tensor)> {
        let mut with = with.clone();
        if let (Some(condition), Some(last)) = (&self.condition, last) {
            with.sum_embeds = Some(condition.to_self_cond.forward(last)?);
        }
        let returns = Returns { logits: true, embeddings: true, ..Returns::default() };
        let out = self.net.forward(x, &with, returns, ctx)?;
        let logits = out.logits.into_iter().next();
        logits.zip(out.embeddings).ok_or_else(|| Error::Internal("no logits".into()))
    }
}
