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
    /// Options of a learning rate that grows evenly and then stays.
    pub struct LinearWarmupOptions {
        /// Learning rate after the warm-up.
        lr: NonNegative,
        /// Length of the warm-up in steps.
        warmup_steps: NonNegative,
    }
    groups {}
}

options! {
    /// Options of a learning rate that grows evenly and then falls along half a cosine.
    /// <https://arxiv.org/abs/1608.03983>
    pub struct CosineWarmupOptions {
        /// Learning rate after the warm-up.
        lr: NonNegative,
        /// Length of the warm-up in steps.
        warmup_steps: NonNegative,
        /// The step at which the rate has fallen to `min_lr`, where it stays.
        total_steps: NonNegative,
        /// Learning rate at the end.
        min_lr: NonNegative = NonNegative(0.0),
    }
    groups {}
    checks conflicts
}

impl CosineWarmupOptions {
    /// A warm-up may be longer than the whole, which then ends in it.
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let message = "must not be more than `lr`: the rate falls to it";
        problems.require(self.min_lr.0 <= self.lr.0, &format!("{prefix}min_lr"), message);
    }
}
