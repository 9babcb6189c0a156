//! Options of the optimizers, with PyTorch's defaults.

use crate::{options, NonNegative, Problems};

options! {
    /// Options of gradient descent with momentum.
    pub struct SgdOptions {
        /// Learning rate.
        lr: NonNegative = NonNegative(1e-3),
        /// How much of the step before goes into this one.
        momentum: NonNegative = NonNegative(0.0),
        /// How much less the gradient counts once there is momentum.
        dampening: f64 = 0.0,
        /// This much of each weight is added to its gradient.
        weight_decay: NonNegative = NonNegative(0.0),
        /// Looks ahead by one momentum step; needs `momentum` and no `dampening`.
        nesterov: bool = false,
    }
    groups {}
    checks conflicts
}

impl SgdOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(
            !self.nesterov || (self.momentum.0 > 0.0 && self.dampening == 0.0),
            &format!("{prefix}nesterov"),
            format!("needs `{prefix}momentum` above 0 and `{prefix}dampening` 0"),
        );
    }
}

options! {
    /// What Adam and AdamW have in common.
    pub struct MomentOptions {
        /// Learning rate.
        lr: NonNegative = NonNegative(1e-3),
        /// How slowly the averages of the gradient and of its square move, two numbers from 0 to
        /// below 1.
        betas: Vec<f64> = vec![0.9, 0.999],
        /// Added to the root of the second average, so that nothing is divided by 0.
        eps: NonNegative = NonNegative(1e-8),
    }
    groups {}
    checks conflicts
}

impl MomentOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(
            self.betas.len() == 2 && self.betas.iter().all(|beta| (0.0..1.0).contains(beta)),
            &format!("{prefix}betas"),
            "must be two numbers, each from 0 to below 1",
        );
    }
}

options! {
    /// Options of Adam. <https://arxiv.org/abs/1412.6980>
    pub struct AdamOptions {
        /// This much of each weight is added to its gradient.
        weight_decay: NonNegative = NonNegative(0.0),
    }
    groups { "" moments: MomentOptions, }
}

options! {
    /// Options of AdamW. <https://arxiv.org/abs/1711.05101>
    pub struct AdamWOptions {
        /// Each step takes this much, times the learning rate, off each weight.
        weight_decay: NonNegative = NonNegative(0.01),
    }
    groups { "" moments: MomentOptions, }
}
