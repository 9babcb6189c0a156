//! Options of the wrappers that train a model to generate.

use crate::types::size;
use crate::wrappers::TargetOptions;
use crate::{options, Classes, ModuleRef, Probability, Problems, Schedule};
use std::num::NonZeroUsize;

/// A model over tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenModel;

impl Classes for TokenModel {
    const NAMES: &'static [&'static str] = &["TransformerWrapper"];
}

/// A model over continuous values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ContinuousModel;

impl Classes for ContinuousModel {
    const NAMES: &'static [&'static str] = &["ContinuousTransformerWrapper"];
}

options! {
    /// Options of the wrapper that trains a model to predict the next token, and generates with it.
    pub struct AutoregressiveWrapperOptions {
        /// The model; its weights are shared with this one.
        net: ModuleRef<TokenModel>,
        /// The share of the earlier tokens that each step hides from the later ones, less than 1;
        /// evaluation too (forgetful causal mask). <https://arxiv.org/abs/2210.13432>
        mask_prob: Probability = Probability(0.0),
    }
    groups { "" targets: TargetOptions, }
    checks conflicts
}

impl AutoregressiveWrapperOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(
            self.mask_prob.0 < 1.0,
            &format!("{prefix}mask_prob"),
            "must be less than 1",
        );
    }
}

options! {
    /// Options of the wrapper that trains a model to predict the next vector, and generates with
    /// it.
    pub struct ContinuousAutoregressiveWrapperOptions {
        /// The model; its weights are shared with this one.
        net: ModuleRef<ContinuousModel>,
        /// Accepted as in Python, and without effect there and here.
        ignore_index: i64 = -100,
        /// Accepted as in Python, and without effect there and here.
        pad_value: i64 = 0,
    }
    groups {}
}

options! {
    /// Options of the wrapper that trains a model to fill in masked tokens, and generates all
    /// tokens at once in a few steps. <https://arxiv.org/abs/2202.04200>
    pub struct NonAutoregressiveWrapperOptions {
        /// The model, over an Encoder; its weights are shared with this one.
        net: ModuleRef<TokenModel>,
        /// The token that stands for a masked one.
        mask_id: usize,
        /// Number of steps of a generation.
        steps: NonZeroUsize = size(18),
        /// The model sees its own embeddings of the step before. <https://arxiv.org/abs/2208.04202>
        self_cond: bool = false,
        /// With `self_cond`: how often training runs the model twice, so that there is a step
        /// before.
        self_cond_train_prob: Probability = Probability(0.75),
        /// The share of the masked tokens that stay as they are, in about every second call.
        /// <https://arxiv.org/abs/1810.04805>
        no_replace_prob: Probability = Probability(0.15),
        /// The share of the masked tokens that become random ones, in about every second call.
        /// <https://arxiv.org/abs/1810.04805>
        random_token_prob: Probability = Probability(0.1),
        /// How the share of masked tokens falls over the steps.
        schedule: Schedule = Schedule::Linear,
        /// A step may mask again what an earlier one filled in.
        can_mask_prev_unmasked: bool = false,
        /// A model, with a `logits_dim` of 1, that learns which tokens were generated, and so which
        /// to mask again. <https://arxiv.org/abs/2209.04439>
        token_critic: Option<ModuleRef<TokenModel>> = None,
        /// `net` itself with a head of its own as the critic, in place of `token_critic`.
        self_token_critic: bool = false,
        /// Weight of the critic's loss in the sum of both.
        critic_loss_weight: f64 = 1.0,
    }
    groups {}
    checks conflicts
}

impl NonAutoregressiveWrapperOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(
            !(self.self_token_critic && self.token_critic.is_some()),
            &format!("{prefix}self_token_critic"),
            format!("does not go with `{prefix}token_critic`; choose one of the two"),
        );
    }
}
