//! Masked generation: a model learns to predict masked tokens, and generates a whole sequence in a
//! few steps.
//!
//! Source: MaskGIT, <https://arxiv.org/abs/2202.04200>; self-conditioning on the previous step:
//! Analog Bits, <https://arxiv.org/abs/2208.04202>; the token critic:
//! <https://arxiv.org/abs/2209.04439>.

use super::masking::{largest, shuffled, subset, Grid};
use super::{Returns, TokenTensors, TransformerWrapper};
use crate::generation::{gumbel_argmax, gumbel_noise, likelihood, top_k};
use crate::ids::{not_ids, outside};
use crate::layers::Linear;
use crate::{Array, Ctx, DType, Error, Init, Mode, Param, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::{no_grad, ops, with_grad};
use xt_kernels::memory::alloc;
use xt_options::autoregressive::NonAutoregressiveWrapperOptions;
use xt_options::generation::NonAutoregressiveGenerate;
use xt_options::Schedule;

/// A transformer over tokens that is trained to predict masked tokens.
pub struct NonAutoregressiveWrapper {
    net: Arc<TransformerWrapper>,
    critic: Option<Critic>,
    condition: Option<SelfCondition>,
    /// The id that replaces masked tokens.
    mask_id: i64,
    /// The number of steps of a generation.
    steps: usize,
    /// How the share of masked tokens decreases over the steps.
    schedule: Schedule,
    /// The share of masked tokens that keep their id, in about half of the calls.
    no_replace_prob: f64,
    /// The share of masked tokens that get a random id, in about half of the calls.
    random_token_prob: f64,
    /// Whether a step may mask tokens again that an earlier step has filled in.
    can_mask_prev_unmasked: bool,
    /// The factor of the critic's loss in the total loss.
    critic_loss_weight: f64,
    mode: Mode,
}

/// A token critic, which distinguishes generated tokens from real ones.
pub enum Critic {
    /// A separate model with one logit per token.
    Model(Arc<TransformerWrapper>),
    /// The generator with a separate head from its embeddings to one logit per token.
    Itself(Linear),
}

/// Self-conditioning: the model receives its own embeddings of the previous step.
struct SelfCondition {
    /// Replaces the embeddings in the first step, `(dim)`.
    null_embed: Param,
    /// The projection of the previous embeddings.
    to_self_cond: Linear,
    /// The probability that training runs the model twice to obtain a previous step.
    probability: f64,
}

/// The losses of a forward pass, all scalars.
pub struct Losses {
    /// The total loss.
    pub loss: Tensor,
    /// The cross-entropy of the masked tokens; `None` if only the critic is trained.
    pub generator_loss: Option<Tensor>,
    /// The binary cross-entropy of the critic; `None` if the critic is not trained.
    pub critic_loss: Option<Tensor>,
}

/// Which parts a forward pass trains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// Train the generator only.
    pub only_generator: bool,
    /// Train the critic only.
    pub only_critic: bool,
    /// The temperature of sampling the tokens that the critic judges; absent: uniformly random in
    /// [0, 1).
    pub temperature: Option<f64>,
}

impl NonAutoregressiveWrapper {
    /// Wraps `net`, whose weights are shared, and registers the parameters of self-conditioning.
    pub fn new(
        net: Arc<TransformerWrapper>,
        critic: Option<Critic>,
        options: &NonAutoregressiveWrapperOptions,
        p: &mut Params,
    ) -> Self {
        let dim = net.emb_dim();
        let condition = options.self_cond.then(|| SelfCondition {
            null_embed: p.add("null_embed", &[dim], Init::Normal { std: 1.0 }),
            to_self_cond: Linear::new(dim, dim, false, &mut p.under("to_self_cond")),
            probability: options.self_cond_train_prob.0,
        });
        Self {
            net,
            critic,
            condition,
            mask_id: options.mask_id as i64,
            steps: options.steps.get(),
            schedule: options.schedule,
            no_replace_prob: options.no_replace_prob.0,
            random_token_prob: options.random_token_prob.0,
            can_mask_prev_unmasked: options.can_mask_prev_unmasked,
            critic_loss_weight: options.critic_loss_weight,
            mode: Mode::default(),
        }
    }

    /// Training or evaluation mode of this wrapper; `net` has its own.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The share of masked tokens at time `t`, from 0 (start) to 1 (end).
    fn share(&self, t: f64) -> f64 {
        match self.schedule {
            Schedule::Linear => 1.0 - t,
            Schedule::Cosine => (t * std::f64::consts::FRAC_PI_2).cos(),
        }
    }

    /// Masks random tokens of `x`, i64 `(batch, max_seq_len)`, and returns the losses of predicting
    /// them.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if `x` has another shape or type, or an id is not in the vocabulary.
    pub fn forward(
        &self,
        x: &Tensor,
        with: &TokenTensors,
        train: Training,
        ctx: &Ctx,
    ) -> Result<Losses> {
        let n = self.net.max_seq_len();
        if x.rank() != 2 || x.dim(1) != n || x.dtype() != DType::I64 {
            return not_ids("token ids", &format!("(batch, {n}), `max_seq_len`"), x);
        }
        if let Some(error) = outside(x, self.net.num_tokens(), None) {
            return Err(error);
        }
        let original = Grid::from_tensor(x)?;
        let mask = self.random_mask(original.rows(), n, ctx);
        let masked = self.masked(&original, &mask, ctx).to_tensor(&x.device())?;
        let mut with = with.clone();
        if let Some(condition) = &self.condition {
            with.sum_embeds = Some(self.condition_of_training(condition, &masked, &with, ctx)?);
        }
        // when only the critic is trained, the generator needs no autograd graph
        let logits = with_grad(xt_autograd::is_grad_enabled() && !train.only_critic, || {
            self.net.logits(&masked, &with, ctx)
        })?;
        const IGNORED: i64 = -100;
        let targets = original
            .zip(&mask, |id, hidden| if hidden { id } else { IGNORED })
            .to_tensor(&x.device())?;
        let loss = ops::cross_entropy(&logits, &targets, IGNORED)?;
        let Some(critic) = self.critic.as_ref().filter(|_| !train.only_generator) else {
            return Ok(Losses {
                loss: loss.clone(),
                generator_loss: Some(loss),
                critic_loss: None,
            });
        };
        let temperature = train.temperature.unwrap_or_else(|| ctx.rng.stream().uniform(1)[0]);
        let sampled = Grid::new(gumbel_argmax(&logits, temperature, ctx.rng)?, n);
        let generated = original.choose(&mask, &sampled).to_tensor(&x.device())?;
        let labels = sampled
            .zip(&original, |a, b| if a == b { 0.0 } else { 1.0 })
            .to_tensor_like(&logits)?;
        let critic_loss = binary_cross_entropy(&self.judge(critic, &generated, ctx)?, &labels)?;
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

    /// A random mask `(batch, n)` with a random number of masked positions in each row, at least
    /// one.
    fn random_mask(&self, batch: usize, n: usize, ctx: &Ctx) -> Grid<bool> {
        let times = ctx.rng.stream().uniform(batch);
        let ranks = shuffled(batch, n, ctx.rng);
        Grid::from_fn(batch, n, |row, i| {
            (ranks.at(row, i) as f64) < (self.share(times[row]) * n as f64).max(1.0)
        })
    }

    /// Replaces the masked ids: most by `mask_id`, some by random ids; some keep their value.
    fn masked(&self, ids: &Grid<i64>, mask: &Grid<bool>, ctx: &Ctx) -> Grid<i64> {
        let (mut replaced, mut ids, mut left) = (mask.clone(), ids.clone(), 1.0);
        if self.no_replace_prob > 0.0 && ctx.rng.chance(0.5) {
            left -= self.no_replace_prob;
            let kept = subset(mask, self.no_replace_prob, ctx.rng);
            replaced = replaced.zip(&kept, |a, b| a && !b);
        }
        if self.random_token_prob > 0.0 && ctx.rng.chance(0.5) {
            let random = subset(&replaced, self.random_token_prob * left, ctx.rng);
            let drawn = ctx.rng.stream().below(self.net.num_tokens() as u64, ids.len());
            let drawn = Grid::new(drawn.into_iter().map(|id| id as i64).collect(), ids.width());
            ids = ids.choose(&random, &drawn);
            replaced = replaced.zip(&random, |a, b| a && !b);
        }
        ids.zip(&replaced, |id, hidden| if hidden { self.mask_id } else { id })
    }

    /// The conditioning of a training step, `(batch, n, dim)` or `(dim)`: with the given
    /// probability from the embeddings of a first pass, otherwise from `null_embed`.
    fn condition_of_training(
        &self,
        condition: &SelfCondition,
        masked: &Tensor,
        with: &TokenTensors,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let seen = if ctx.rng.chance(condition.probability) {
            no_grad(|| self.net.embeddings(masked, with, ctx))?
        } else {
            condition.null_embed.tensor()
        };
        condition.to_self_cond.forward(&seen)
    }

    /// The critic's logits that each token is generated, `(batch, n)`.
    fn judge(&self, critic: &Critic, ids: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        let none = TokenTensors::default();
        let logits = match critic {
            Critic::Model(model) => model.logits(ids, &none, ctx)?,
            Critic::Itself(head) => head.forward(&self.net.embeddings(ids, &none, ctx)?)?,
        };
        Ok(ops::reshape(&logits, &[ids.dim(0), ids.dim(1)])?)
    }

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
        // the logits are the largest tensor of a step
        alloc::check_wide(&[batch as u64, n as u64, self.net.num_tokens() as u64], DType::F32)?;
        let device = self.net.token_table().leaf().device();
        let mut ids = Grid::from_fn(batch, n, |_, _| self.mask_id);
        let mut mask = Grid::from_fn(batch, n, |_, _| true);
        let mut last = self.condition.as_ref().map(|c| c.null_embed.tensor());
        for step in 1..=self.steps {
            ctx.check()?;
            let x = ids.to_tensor(&device)?;
            let (logits, embeddings) = no_grad(|| self.run(&x, last.as_ref(), with, ctx))?;
            last = last.map(|_| embeddings);
            let logits = self.without_mask(&logits)?;
            let logits = options
                .filter_thres
                .map_or_else(|| Ok(logits.clone()), |thres| top_k(&logits, thres.0))?;
            let annealing = (self.steps - step) as f64 / self.steps as f64;
            let temperature = (options.start_temperature * annealing).max(1e-3);
            let sampled = Grid::new(gumbel_argmax(&logits, temperature, ctx.rng)?, n);
            ids = ids.choose(&mask, &sampled);
            let mut scores = match &self.critic {
                Some(critic) => {
                    let judged = no_grad(|| self.judge(critic, &ids.to_tensor(&device)?, ctx))?;
                    let judged = Grid::from_tensor_f64(&judged)?;
                    if judged.values().iter().any(|score| score.is_nan()) {
                        return Error::shape(
                            "the token critic's scores are NaN: has training diverged?",
                        );
                    }
                    let noise = gumbel_noise(ids.len(), ctx.rng);
                    let level = options.noise_level_scale * annealing;
                    judged.zip(&Grid::new(noise, n), |s, z| s + level * z)
                }
                None => Grid::new(likelihood(&logits, &sampled.values(), temperature)?, n)
                    .map(|p| 1.0 - p),
            };
            if !self.can_mask_prev_unmasked {
                scores = scores.zip(&mask, |s, hidden| if hidden { s } else { f64::MIN });
            }
            let left = (self.share(step as f64 / self.steps as f64) * n as f64) as usize;
            mask = largest(&scores, left);
            ids = ids.zip(&mask, |id, hidden| if hidden { self.mask_id } else { id });
        }
        let out = ids.to_tensor(&device)?;
        Ok(if options.batch_size.is_none() { ops::reshape(&out, &[n])? } else { out })
    }

    /// Excludes `mask_id` from the logits, `(batch, n, outputs)`, so that it is never sampled.
    fn without_mask(&self, logits: &Tensor) -> Result<Tensor> {
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
    fn run(
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
        out.logits.zip(out.embeddings).ok_or_else(|| Error::Internal("no logits".into()))
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
