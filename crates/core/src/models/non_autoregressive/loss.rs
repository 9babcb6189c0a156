//! The losses of predicting masked tokens, and of the critic.

use super::{Critic, Losses, NonAutoregressiveWrapper, SelfCondition, Training};
use crate::generation::gumbel_argmax;
use crate::ids::{out_of_vocabulary, wrong_ids};
use crate::models::masking::{random_subset, shuffled, Grid};
use crate::models::TokenTensors;
use crate::{Ctx, DType, Result, Tensor};
use xt_autograd::ops::{self, CrossEntropy};
use xt_autograd::{no_grad, with_grad};

impl NonAutoregressiveWrapper {
    /// Masks random tokens of `x`, i64 `(batch, max_seq_len)`, and returns the losses of predicting
    /// them.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Shape`] if `x` has another shape or type, or an id is not in the vocabulary.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        train: Training,
        ctx: &Ctx,
    ) -> Result<Losses> {
        let n = self.net.max_seq_len();
        if x.rank() != 2 || x.dim(1) != n || x.dtype() != DType::I64 {
            return wrong_ids("token ids", &format!("(batch, {n}), `max_seq_len`"), x);
        }
        if let Some(error) = out_of_vocabulary(x, self.net.num_tokens(), None) {
            return Err(error);
        }
        let original = Grid::from_tensor(x)?;
        let mask = self.random_mask(original.rows(), n, ctx);
        let masked = self.replace_masked(&original, &mask, ctx).to_tensor(&x.device())?;
        let mut with = with.clone();
        if let Some(condition) = &self.condition {
            with.sum_embeds = Some(self.training_condition(condition, &masked, &with, ctx)?);
        }
        // when only the critic is trained, the generator needs no autograd graph
        let logits = with_grad(xt_autograd::is_grad_enabled() && !train.only_critic, || {
            self.net.logits(&masked, &with, ctx)
        })?;
        const IGNORED: i64 = -100;
        let targets = original
            .zip(&mask, |id, hidden| if hidden { id } else { IGNORED })
            .to_tensor(&x.device())?;
        let loss = ops::cross_entropy(&logits, &targets, CrossEntropy::ignoring(IGNORED))?;
        let Some(critic) = self.critic.as_ref().filter(|_| !train.only_generator) else {
            return Ok(Losses {
                loss: loss.clone(),
                generator_loss: Some(loss),
                critic_loss: None,
            });
        };
        let temperature = train.temperature.unwrap_or_else(|| ctx.rng.stream().uniform(1)[0]);
        let critic_loss =
            self.critic_loss(critic, &original, &mask, (&logits, temperature), ctx)?;
        if train.only_critic {
            return Ok(Losses {
                loss: critic_loss.clone(),
                generator_loss: None,
                critic_loss: Some(critic_loss),
            });
        }
        let total = ops::add(&loss, &ops::affine(&critic_loss, self.critic_loss_weight, 0.0)?)?;
        Ok(Losses { loss: total, generator_loss: Some(loss), critic_loss: Some(critic_loss) })
    }

    /// The loss of the critic, which judges tokens sampled from `logits`, `(batch, n, outputs)`, in
    /// place of the masked ones.
    fn critic_loss(
        &self,
        critic: &Critic,
        original: &Grid<i64>,
        mask: &Grid<bool>,
        (logits, temperature): (&Tensor, f64),
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let sampled = Grid::new(gumbel_argmax(logits, temperature, ctx.rng)?, original.width());
        let generated = original.replace_where(mask, &sampled).to_tensor(&logits.device())?;
        let labels =
            sampled.zip(original, |a, b| if a == b { 0.0 } else { 1.0 }).to_tensor_like(logits)?;
        binary_cross_entropy(&self.critic_logits(critic, &generated, ctx)?, &labels)
    }

    /// A random mask `(batch, n)` with a random number of masked positions in each row, at least
    /// one.
    fn random_mask(&self, batch: usize, n: usize, ctx: &Ctx) -> Grid<bool> {
        let times = ctx.rng.stream().uniform(batch);
        let ranks = shuffled(batch, n, ctx.rng);
        Grid::from_fn(batch, n, |row, i| {
            (ranks.at(row, i) as f64) < (self.mask_share(times[row]) * n as f64).max(1.0)
        })
    }

    /// Replaces the masked ids: most by `mask_id`, some by random ids; some keep their value.
    fn replace_masked(&self, ids: &Grid<i64>, mask: &Grid<bool>, ctx: &Ctx) -> Grid<i64> {
        let (mut replaced, mut ids, mut left) = (mask.clone(), ids.clone(), 1.0);
        if self.no_replace_prob > 0.0 && ctx.rng.bernoulli(0.5) {
            left -= self.no_replace_prob;
            let kept = random_subset(mask, self.no_replace_prob, ctx.rng);
            replaced = replaced.zip(&kept, |a, b| a && !b);
        }
        if self.random_token_prob > 0.0 && ctx.rng.bernoulli(0.5) {
            let random = random_subset(&replaced, self.random_token_prob * left, ctx.rng);
            let drawn = ctx.rng.stream().below(self.net.num_tokens() as u64, ids.len());
            let drawn = Grid::new(drawn.into_iter().map(|id| id as i64).collect(), ids.width());
            ids = ids.replace_where(&random, &drawn);
            replaced = replaced.zip(&random, |a, b| a && !b);
        }
        ids.zip(&replaced, |id, hidden| if hidden { self.mask_id } else { id })
    }

    /// The conditioning of a training step, `(batch, n, dim)` or `(dim)`: with the given
    /// probability from the embeddings of a first pass, otherwise from `null_embed`.
    fn training_condition(
        &self,
        condition: &SelfCondition,
        masked: &Tensor,
        with: &TokenTensors,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let seen = if ctx.rng.bernoulli(condition.probability) {
            no_grad(|| self.net.embeddings(masked, with, ctx))?
        } else {
            condition.null_embed.tensor()
        };
        condition.to_self_cond.forward(&seen)
    }
}

/// The mean binary cross-entropy of logits `x` and labels `y` (0 or 1), in the numerically stable
/// form `max(x, 0) - x y + log(1 + e^-|x|)`.
fn binary_cross_entropy(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let zero = ops::scalar_like(x, 0.0)?;
    let linear = ops::sub(&ops::maximum(x, &zero)?, &ops::mul(x, y)?)?;
    let rest = ops::log(&ops::affine(&ops::exp(&ops::neg(&ops::abs(x)?)?)?, 1.0, 1.0)?)?;
    Ok(ops::mean(&ops::add(&linear, &rest)?, None, false)?)
}
