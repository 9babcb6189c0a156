//! Masked generation: a model learns to fill in masked tokens, and generates a whole sequence in a few steps.
//!
//! Source: MaskGIT, <https://arxiv.org/abs/2202.04200>; conditioning on the step before: Analog Bits,
//! <https://arxiv.org/abs/2208.04202>; the token critic: <https://arxiv.org/abs/2209.04439>.

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

pub struct NonAutoregressiveWrapper {
    net: Arc<TransformerWrapper>,
    critic: Option<Critic>,
    condition: Option<SelfCondition>,
    mask_id: i64,
    steps: usize,
    schedule: Schedule,
    no_replace_prob: f64,
    random_token_prob: f64,
    can_mask_prev_unmasked: bool,
    critic_loss_weight: f64,
    mode: Mode,
}

/// Tells generated tokens from real ones.
pub enum Critic {
    /// A model of its own, with one logit.
    Model(Arc<TransformerWrapper>),
    /// The generator with a head of its own.
    Itself(Linear),
}

/// The model sees its own embeddings of the step before.
struct SelfCondition {
    /// What it sees at the first step, (dim).
    null_embed: Param,
    to_self_cond: Linear,
    /// How often training runs the model twice, so that there is a step before.
    probability: f64,
}

/// What a forward gives.
pub struct Losses {
    pub loss: Tensor,
    pub generator_loss: Option<Tensor>,
    pub critic_loss: Option<Tensor>,
}

/// Which part a forward trains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    pub only_generator: bool,
    pub only_critic: bool,
    /// Temperature of the tokens that the critic judges; drawn where absent.
    pub temperature: Option<f64>,
}

impl NonAutoregressiveWrapper {
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

    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// The share of tokens that are masked at time `t`, from 0 to 1.
    fn share(&self, t: f64) -> f64 {
        match self.schedule {
            Schedule::Linear => 1.0 - t,
            Schedule::Cosine => (t * std::f64::consts::FRAC_PI_2).cos(),
        }
    }

    /// Losses of filling in randomly masked tokens, for ids, i64 (batch, max_seq_len).
    pub fn forward(&self, x: &Tensor, with: &TokenTensors, train: Training, ctx: &Ctx) -> Result<Losses> {
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
        // a critic that trains alone sends nothing back into the generator
        let logits =
            with_grad(xt_autograd::is_grad_enabled() && !train.only_critic, || self.net.logits(&masked, &with, ctx))?;
        const IGNORED: i64 = -100;
        let targets = original.zip(&mask, |id, hidden| if hidden { id } else { IGNORED }).to_tensor(&x.device())?;
        let loss = ops::cross_entropy(&logits, &targets, IGNORED)?;
        let Some(critic) = self.critic.as_ref().filter(|_| !train.only_generator) else {
            return Ok(Losses { loss: loss.clone(), generator_loss: Some(loss), critic_loss: None });
        };
        let temperature = train.temperature.unwrap_or_else(|| ctx.rng.stream().uniform(1)[0]);
        let sampled = Grid::new(gumbel_argmax(&logits, temperature, ctx.rng)?, n);
        let generated = original.choose(&mask, &sampled).to_tensor(&x.device())?;
        let labels = sampled.zip(&original, |a, b| if a == b { 0.0 } else { 1.0 }).to_tensor_like(&logits)?;
        let critic_loss = binary_cross_entropy(&self.judge(critic, &generated, ctx)?, &labels)?;
        if train.only_critic {
            return Ok(Losses { loss: critic_loss.clone(), generator_loss: None, critic_loss: Some(critic_loss) });
        }
        let total = ops::add(&loss, &ops::affine(&critic_loss, self.critic_loss_weight, 0.0)?)?;
        Ok(Losses { loss: total, generator_loss: Some(loss), critic_loss: Some(critic_loss) })
    }

    /// In each row a random number of random positions, at least one.
    fn random_mask(&self, batch: usize, n: usize, ctx: &Ctx) -> Grid<bool> {
        let times = ctx.rng.stream().uniform(batch);
        let ranks = shuffled(batch, n, ctx.rng);
        Grid::from_fn(batch, n, |row, i| (ranks.at(row, i) as f64) < (self.share(times[row]) * n as f64).max(1.0))
    }

    /// The ids with the masked ones replaced: most by the mask, some by random ids, some left as they are.
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

    /// How likely the critic holds each token for generated, as logits (batch, n).
    fn judge(&self, critic: &Critic, ids: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        let none = TokenTensors::default();
        let logits = match critic {
            Critic::Model(model) => model.logits(ids, &none, ctx)?,
            Critic::Itself(head) => head.forward(&self.net.embeddings(ids, &none, ctx)?)?,
        };
        Ok(ops::reshape(&logits, &[ids.dim(0), ids.dim(1)])?)
    }

    /// Sequences of `max_seq_len` tokens, i64 (batch, n); without a batch size one, (n).
    pub fn generate(&self, options: &NonAutoregressiveGenerate, with: &TokenTensors, ctx: &Ctx) -> Result<Tensor> {
        let ctx = &ctx.evaluating();
        let (batch, n) = (options.batch_size.map_or(1, |b| b.get()), self.net.max_seq_len());
        // the scores of a step, the largest that it makes
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
            let logits = options.filter_thres.map_or_else(|| Ok(logits.clone()), |thres| top_k(&logits, thres.0))?;
            let annealing = (self.steps - step) as f64 / self.steps as f64;
            let temperature = (options.start_temperature * annealing).max(1e-3);
            let sampled = Grid::new(gumbel_argmax(&logits, temperature, ctx.rng)?, n);
            ids = ids.choose(&mask, &sampled);
            let mut scores = match &self.critic {
                Some(critic) => {
                    let judged = no_grad(|| self.judge(critic, &ids.to_tensor(&device)?, ctx))?;
                    let judged = Grid::from_tensor_f64(&judged)?;
                    if judged.values().iter().any(|score| score.is_nan()) {
                        return Error::shape("the token critic's scores are NaN: has training diverged?");
                    }
                    let noise = gumbel_noise(ids.len(), ctx.rng);
                    let level = options.noise_level_scale * annealing;
                    judged.zip(&Grid::new(noise, n), |s, z| s + level * z)
                }
                None => Grid::new(likelihood(&logits, &sampled.values(), temperature)?, n).map(|p| 1.0 - p),
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

    /// The mask is no token to fill in.
    fn without_mask(&self, logits: &Tensor) -> Result<Tensor> {
        let outputs = logits.dim(2);
        if outputs < 2 {
            return Ok(logits.clone());
        }
        let others = (0..outputs as i64).map(|id| u8::from(id != self.mask_id)).collect();
        let others = Tensor::boolean(Array::from_vec(others, (1, 1, outputs), &logits.device())?);
        Ok(ops::where_cond(&others, logits, &ops::scalar_like(logits, f64::NEG_INFINITY)?)?)
    }

    fn run(&self, x: &Tensor, last: Option<&Tensor>, with: &TokenTensors, ctx: &Ctx) -> Result<(Tensor, Tensor)> {
        let mut with = with.clone();
        if let (Some(condition), Some(last)) = (&self.condition, last) {
            with.sum_embeds = Some(condition.to_self_cond.forward(last)?);
        }
        let returns = Returns { logits: true, embeddings: true, ..Returns::default() };
        let out = self.net.forward(x, &with, returns, ctx)?;
        out.logits.zip(out.embeddings).ok_or_else(|| Error::Internal("no logits".into()))
    }
}

/// Mean of `max(x, 0) - x y + log(1 + e^-|x|)`, for logits `x` and labels `y` of 0 or 1.
fn binary_cross_entropy(x: &Tensor, y: &Tensor) -> Result<Tensor> {
    let zero = ops::scalar_like(x, 0.0)?;
    let linear = ops::sub(&ops::maximum(x, &zero)?, &ops::mul(x, y)?)?;
    let rest = ops::log(&ops::affine(&ops::exp(&ops::neg(&ops::abs(x)?)?)?, 1.0, 1.0)?)?;
    Ok(ops::mean(&ops::add(&linear, &rest)?, None, false)?)
}
