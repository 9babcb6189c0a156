//! Options of the learning-rate schedules.

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

impl CosineWarmupOptions {
    /// `warmup_steps` may be greater than `total_steps`; the schedule then ends during the warm-up.
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let message = "must not be more than `lr`: the rate falls to it";
        problems.require(self.min_lr.0 <= self.lr.0, &format!("{prefix}min_lr"), message);
    }
}
