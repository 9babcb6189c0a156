//! Options of the wrappers for training and generation.

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
    /// Options of the wrapper that trains a model to predict the next token, and that generates
    /// tokens autoregressively.
    pub struct AutoregressiveWrapperOptions {
        /// The wrapped model. The wrapper shares its weights.
        net: ModuleRef<TokenModel>,
        /// Forgetful causal masking: share of the earlier tokens that each forward pass hides from
        /// later ones, in evaluation mode too. Must be less than 1.
        /// <https://arxiv.org/abs/2210.13432>
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
    /// Options of the wrapper that trains a model to predict the next vector, and that generates
    /// vectors autoregressively.
    pub struct ContinuousAutoregressiveWrapperOptions {
        /// The wrapped model. The wrapper shares its weights.
        net: ModuleRef<ContinuousModel>,
        /// Has no effect; accepted as in the Python package, where it has none either.
        ignore_index: i64 = -100,
        /// Has no effect; accepted as in the Python package, where it has none either.
        pad_value: i64 = 0,
    }
    groups {}
}

options! {
    /// Options of the wrapper that trains a model to predict masked tokens, and that generates all
    /// tokens in parallel in a few steps, as in MaskGIT. <https://arxiv.org/abs/2202.04200>
    pub struct NonAutoregressiveWrapperOptions {
        /// The wrapped model, with an `Encoder`. The wrapper shares its weights.
        net: ModuleRef<TokenModel>,
        /// Token id that replaces masked tokens.
        mask_id: usize,
        /// Number of generation steps.
        steps: NonZeroUsize = size(18),
        /// Self-conditioning: the model also receives its own embeddings from the previous step.
        /// <https://arxiv.org/abs/2208.04202>
        self_cond: bool = false,
        /// With `self_cond`: probability that a training step first runs the model to get the
        /// embeddings of a previous step.
        self_cond_train_prob: Probability = Probability(0.75),
        /// Share of the masked tokens that keep their id. Applied in a random half of the calls.
        /// <https://arxiv.org/abs/1810.04805>
        no_replace_prob: Probability = Probability(0.15),
        /// Share of the masked tokens that are replaced by random ids. Applied in a random half of
        /// the calls. <https://arxiv.org/abs/1810.04805>
        random_token_prob: Probability = Probability(0.1),
        /// How the share of masked tokens decreases over the steps.
        schedule: Schedule = Schedule::Linear,
        /// Lets a step mask tokens again that earlier steps have filled in.
        can_mask_prev_unmasked: bool = false,
        /// Token critic: a model with a `logits_dim` of 1 that learns to detect generated tokens.
        /// Generation uses its scores to select the tokens to mask again.
        /// <https://arxiv.org/abs/2209.04439>
        token_critic: Option<ModuleRef<TokenModel>> = None,
        /// Uses `net` with an additional head as the critic, instead of `token_critic`.
        self_token_critic: bool = false,
        /// Weight of the critic's loss in the total loss.
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
