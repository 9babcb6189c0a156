//! Options of the learning-rate schedules.

use crate::choices::Decay;
use crate::{options, NonNegative, Problems};

options! {
    /// Options of a constant learning rate.
    pub struct ConstantOptions {
        /// Learning rate.
        lr: NonNegative,
    }
    groups {}
}

options! {
    /// Options of a linear warm-up to a constant learning rate.
    pub struct LinearWarmupOptions {
        /// Learning rate after the warm-up.
        lr: NonNegative,
        /// Length of the warm-up in steps.
        warmup_steps: NonNegative,
    }
    groups {}
}

options! {
    /// Options of a linear warm-up followed by cosine decay. <https://arxiv.org/abs/1608.03983>
    pub struct CosineWarmupOptions {
        /// Learning rate after the warm-up.
        lr: NonNegative,
        /// Length of the warm-up in steps.
        warmup_steps: NonNegative,
        /// The step at which the learning rate reaches `min_lr`, where it stays.
        total_steps: NonNegative,
        /// Final learning rate.
        min_lr: NonNegative = NonNegative(0.0),
    }
    groups {}
    checks conflicts
}

options! {
    /// Options of a linear warm-up followed by linear decay.
    pub struct LinearDecayOptions {
        /// Learning rate after the warm-up.
        lr: NonNegative,
        /// Length of the warm-up in steps.
        warmup_steps: NonNegative,
        /// The step at which the learning rate reaches `min_lr`, where it stays.
        total_steps: NonNegative,
        /// Final learning rate.
        min_lr: NonNegative = NonNegative(0.0),
    }
    groups {}
    checks conflicts
}

options! {
    /// Options of a linear warm-up followed by decay with the inverse square root of the step.
    /// <https://arxiv.org/abs/1706.03762>
    pub struct InverseSqrtOptions {
        /// Learning rate after the warm-up.
        lr: NonNegative,
        /// Length of the warm-up in steps.
        warmup_steps: NonNegative,
    }
    groups {}
}

options! {
    /// Options of a linear warm-up, a constant learning rate, and decay at the end.
    /// <https://arxiv.org/abs/2404.06395>
    pub struct WarmupStableDecayOptions {
        /// Learning rate between warm-up and decay.
        lr: NonNegative,
        /// Length of the warm-up in steps.
        warmup_steps: NonNegative,
        /// Length of the decay in steps.
        decay_steps: NonNegative,
        /// The step at which the learning rate reaches `min_lr`, where it stays.
        total_steps: NonNegative,
        /// Final learning rate.
        min_lr: NonNegative = NonNegative(0.0),
        /// How the learning rate falls: evenly, along half a cosine, or as 1 less the square root
        /// of the share of the decay that is over. <https://arxiv.org/abs/2405.18392>
        decay: Decay = Decay::Linear,
    }
    groups {}
    checks conflicts
}

/// A rate that falls to `min_lr` must not be lower. `warmup_steps` may be greater than
/// `total_steps`: the schedule then ends during the warm-up.
macro_rules! falls_to_min_lr {
    ($($Options:ident)+) => {$(
        impl $Options {
            fn conflicts(&self, prefix: &str, problems: &mut Problems) {
                let message = "must not be more than `lr`: the rate falls to it";
                problems.require(self.min_lr.0 <= self.lr.0, &format!("{prefix}min_lr"), message);
            }
        }
    )+};
}

falls_to_min_lr! { CosineWarmupOptions LinearDecayOptions WarmupStableDecayOptions }
