//! Masked generation: a model learns to predict masked tokens, and generates a whole sequence in a
//! few steps.
//!
//! Source: MaskGIT, <https://arxiv.org/abs/2202.04200>; self-conditioning on the previous step:
//! Analog Bits, <https://arxiv.org/abs/2208.04202>; the token critic:
//! <https://arxiv.org/abs/2209.04439>.

mod generate;
mod loss;

use super::{TokenTensors, TransformerWrapper};
use crate::layers::Linear;
use crate::{Ctx, Init, Mode, Param, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::ops;
use xt_options::autoregressive::NonAutoregressiveWrapperOptions;
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
    Head(Linear),
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
            to_self_cond: Linear::new(dim, dim, false, &mut p.submodule("to_self_cond")),
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

    /// The number of tokens in a row.
    pub fn columns(&self) -> usize {
        self.net.max_seq_len()
    }

    /// The share of masked tokens at time `t`, from 0 (start) to 1 (end).
    fn mask_share(&self, t: f64) -> f64 {
        match self.schedule {
            Schedule::Linear => 1.0 - t,
            Schedule::Cosine => (t * std::f64::consts::FRAC_PI_2).cos(),
        }
    }

    /// The critic's logits that each token is generated, `(batch, n)`.
    fn critic_logits(&self, critic: &Critic, ids: &Tensor, ctx: &Ctx) -> Result<Tensor> {
        let none = TokenTensors::default();
        let logits = match critic {
            Critic::Model(model) => model.logits(ids, &none, ctx)?,
            Critic::Head(head) => head.forward(&self.net.embeddings(ids, &none, ctx)?)?,
        };
        Ok(ops::reshape(&logits, &[ids.dim(0), ids.dim(1)])?)
    }
}
