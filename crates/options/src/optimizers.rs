//! Options of the optimizers, with PyTorch's defaults.

use crate::{options, NonNegative, Problems};

options! {
    /// Options of stochastic gradient descent with momentum.
    pub struct SgdOptions {
        /// Learning rate.
        lr: NonNegative = NonNegative(1e-3),
        /// Momentum factor.
        momentum: NonNegative = NonNegative(0.0),
        /// Dampening: once there is momentum, the gradient is multiplied by `1 - dampening`.
        dampening: f64 = 0.0,
        /// Weight decay (L2 penalty): adds `weight_decay` times the weight to its gradient.
        weight_decay: NonNegative = NonNegative(0.0),
        /// Nesterov momentum. Requires `momentum`, and a `dampening` of 0.
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
    /// Options common to Adam and AdamW.
    pub struct MomentOptions {
        /// Learning rate.
        lr: NonNegative = NonNegative(1e-3),
        /// Decay rates of the running averages of the gradient and of its square, two numbers from
        /// 0 to below 1.
        betas: Vec<f64> = vec![0.9, 0.999],
        /// Added to the denominator (the square root of the second average) for numerical
        /// stability.
        eps: NonNegative = NonNegative(1e-8),
    }
    groups {}
    checks conflicts
}

impl MomentOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        check_betas(&self.betas, prefix, problems);
    }
}

options! {
    /// Options of Adam. <https://arxiv.org/abs/1412.6980>
    pub struct AdamOptions {
        /// Weight decay (L2 penalty): adds `weight_decay` times the weight to its gradient.
        weight_decay: NonNegative = NonNegative(0.0),
    }
    groups { "" moments: MomentOptions, }
}

options! {
    /// Options of AdamW. <https://arxiv.org/abs/1711.05101>
    pub struct AdamWOptions {
        /// Decoupled weight decay: each step multiplies each weight by `1 - lr * weight_decay`.
        weight_decay: NonNegative = NonNegative(0.01),
    }
    groups { "" moments: MomentOptions, }
}

options! {
    /// Options of Lion. <https://arxiv.org/abs/2302.06675>
    pub struct LionOptions {
        /// Learning rate: a third to a tenth of that of AdamW.
        lr: NonNegative = NonNegative(1e-4),
        /// Share of the running average in the direction of a step, and decay rate of that
        /// average: two numbers from 0 to below 1.
        betas: Vec<f64> = vec![0.9, 0.99],
        /// Decoupled weight decay: each step multiplies each weight by `1 - lr * weight_decay`.
        weight_decay: NonNegative = NonNegative(0.0),
    }
    groups {}
    checks conflicts
}

impl LionOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        check_betas(&self.betas, prefix, problems);
    }
}

fn check_betas(betas: &[f64], prefix: &str, problems: &mut Problems) {
    problems.require(
        betas.len() == 2 && betas.iter().all(|beta| (0.0..1.0).contains(beta)),
        &format!("{prefix}betas"),
        "must be two numbers, each from 0 to below 1",
    );
}
