//! Options of the optimizers, with PyTorch's defaults.

use crate::{options, AdjustLr, NonNegative, Problems};

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

options! {
    /// Options of Muon, and of the AdamW that steps the groups with `use_muon` false.
    /// <https://kellerjordan.github.io/posts/muon/>
    pub struct MuonOptions {
        /// Learning rate: of matrices before `adjust_lr_fn`; of AdamW as it is.
        lr: NonNegative = NonNegative(1e-3),
        /// Decoupled weight decay: each step multiplies each weight by `1 - lr * weight_decay`.
        weight_decay: NonNegative = NonNegative(0.1),
        /// Momentum: share of the old running average of the gradient in the new one.
        momentum: NonNegative = NonNegative(0.95),
        /// Nesterov momentum.
        nesterov: bool = true,
        /// The three coefficients of the Newton–Schulz iteration.
        ns_coefficients: Vec<f64> = vec![3.4445, -4.775, 2.0315],
        /// The least norm that a matrix is divided by; AdamW adds it to the denominator.
        eps: NonNegative = NonNegative(1e-7),
        /// Number of steps of the Newton–Schulz iteration.
        ns_steps: usize = 5,
        /// How the rate follows the shape of a matrix (rows, columns). `original`:
        /// `sqrt(max(1, rows / columns))` times; `match_rms_adamw`:
        /// `0.2 * sqrt(max(rows, columns))` times, so that rate and weight decay of AdamW can be
        /// used; `spectral_unclamped`: `sqrt(rows / columns)` times.
        /// <https://arxiv.org/abs/2502.16982>
        adjust_lr_fn: AdjustLr = AdjustLr::Original,
        /// Whether Muon steps the parameters of this group, which must be matrices; else AdamW.
        use_muon: bool = true,
        /// Where `use_muon` is false: decay rates of the running averages of the gradient and of
        /// its square, two numbers from 0 to below 1.
        betas: Vec<f64> = vec![0.9, 0.999],
    }
    groups {}
    checks conflicts
}

/// More steps than this are a slip: five are enough.
const MAX_NS_STEPS: usize = 99;

impl MuonOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        check_betas(&self.betas, prefix, problems);
        let mut require = |ok, name: &str, text: &str| {
            problems.require(ok, &format!("{prefix}{name}"), text);
        };
        require(self.momentum.0 < 1.0, "momentum", "must be a number from 0 to below 1");
        require(self.ns_coefficients.len() == 3, "ns_coefficients", "must be three numbers");
        require(self.ns_steps <= MAX_NS_STEPS, "ns_steps", "must be below 100");
    }
}

options! {
    /// Options of Adafactor. <https://arxiv.org/abs/1804.04235>
    pub struct AdafactorOptions {
        /// Largest step relative to the size of the weights; at step `t` at most `1 / sqrt(t)`.
        lr: NonNegative = NonNegative(1e-2),
        /// At step `t`, the running average of the squared gradient takes in the new one with the
        /// weight `t ^ beta2_decay`.
        beta2_decay: f64 = -0.8,
        /// Least root of that average, and least size of the weights that steps are relative to.
        /// The first absent: the distance of 1 from the next number of the type.
        eps: Vec<Option<NonNegative>> = vec![None, Some(NonNegative(1e-3))],
        /// Largest root mean square of an update, before the learning rate.
        d: f64 = 1.0,
        /// Decoupled weight decay: each step multiplies each weight by `1 - lr * weight_decay`.
        weight_decay: NonNegative = NonNegative(0.0),
    }
    groups {}
    checks conflicts
}

impl AdafactorOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let mut require = |ok, name: &str, text: &str| {
            problems.require(ok, &format!("{prefix}{name}"), text);
        };
        require(self.beta2_decay <= 0.0, "beta2_decay", "must be a number up to 0");
        let eps = matches!(self.eps[..], [_, Some(_)]);
        require(eps, "eps", "must be two numbers from 0, of which the first may be null");
        require(self.d >= 1e-9, "d", "must be a number from 1e-9");
    }
}

fn check_betas(betas: &[f64], prefix: &str, problems: &mut Problems) {
    problems.require(
        betas.len() == 2 && betas.iter().all(|beta| (0.0..1.0).contains(beta)),
        &format!("{prefix}betas"),
        "must be two numbers, each from 0 to below 1",
    );
}
