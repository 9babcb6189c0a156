//! The settings and state of optimizer steps.

use crate::error::bail;
use crate::kernel::{arrays, Arrays};
use crate::ops::in_place;
use crate::{Array, Result};

/// Settings of one step of Adam or AdamW.
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Learning rate.
    pub lr: f64,
    /// Decay rate of the running mean of the gradient.
    pub beta1: f64,
    /// Decay rate of the running mean of the squared gradient.
    pub beta2: f64,
    /// Number added to the denominator for numerical stability.
    pub eps: f64,
    /// Weight decay coefficient.
    pub weight_decay: f64,
    /// If true, weight decay shrinks the weights directly (AdamW). If false, it is added to the
    /// gradient (Adam).
    pub decoupled: bool,
    /// Number of this step, starting at 1.
    pub step: u64,
}

impl Adam {
    /// Bias correction: returns the corrected learning rate, and the divisor of the root of the
    /// mean square.
    pub(super) fn corrections(self) -> (f64, f64) {
        let power = |beta: f64| 1.0 - beta.powf(self.step as f64);
        (self.lr / power(self.beta1), power(self.beta2).sqrt())
    }
}

/// Settings of one step of stochastic gradient descent (SGD).
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f64,
    /// Momentum factor.
    pub momentum: f64,
    /// Dampening of the momentum: the gradient is multiplied by 1 - `dampening` before it is added
    /// to the buffer.
    pub dampening: f64,
    /// Weight decay coefficient, added to the gradient.
    pub weight_decay: f64,
    /// Whether to use Nesterov momentum.
    pub nesterov: bool,
    /// Whether this is the first step. It initialises the momentum buffer with the gradient itself,
    /// as PyTorch does.
    pub first: bool,
}

/// Settings of one step of Lion.
#[derive(Clone, Copy, Debug)]
pub struct Lion {
    /// Learning rate.
    pub lr: f64,
    /// Share of the running mean in the direction of this step.
    pub beta1: f64,
    /// Decay rate of the running mean of the gradient.
    pub beta2: f64,
    /// Weight decay coefficient; weight decay shrinks the weights directly.
    pub weight_decay: f64,
}

/// An optimizer step with its state. The arrays of the state have the shape of the weight.
#[derive(Clone, Debug)]
pub enum Step {
    /// Adam, <https://arxiv.org/abs/1412.6980>, or AdamW, <https://arxiv.org/abs/1711.05101>.
    /// `mean` and `square` are the running means of the gradient and of its square.
    Adam {
        /// Settings of this step.
        settings: Adam,
        /// Running average of the gradient.
        mean: Array,
        /// Running average of the squared gradient.
        square: Array,
    },
    /// Stochastic gradient descent. `buffer` is the momentum buffer, the running sum of the
    /// gradients; `None` without momentum.
    Sgd {
        /// Settings of this step.
        settings: Sgd,
        /// Momentum buffer; `None` without momentum.
        buffer: Option<Array>,
    },
    /// Lion, <https://arxiv.org/abs/2302.06675>: the sign of a running mean of the gradient.
    Lion {
        /// Settings of this step.
        settings: Lion,
        /// Running average of the gradient.
        mean: Array,
    },
}

impl Step {
    /// The arrays of the state.
    pub(super) fn state(&self) -> Vec<&Array> {
        match self {
            Self::Adam { mean, square, .. } => vec![mean, square],
            Self::Sgd { buffer, .. } => buffer.iter().collect(),
            Self::Lion { mean, .. } => vec![mean],
        }
    }
}

/// The update of one parameter.
#[derive(Clone, Debug)]
pub struct Update {
    /// The weight, of any shape.
    pub weight: Array,
    /// The gradient, of the shape of the weight.
    pub grad: Array,
    /// Factor by which the gradient is multiplied first, for example to clip its norm.
    pub factor: f64,
    /// The optimizer step and its state.
    pub step: Step,
}

arrays!(Update { weight, grad, step });

impl Update {
    /// Checks that gradient and state have the shape of the weight.
    pub(super) fn check(&self) -> Result<()> {
        let Self { weight, grad, step, .. } = self;
        let mut others = [grad].into_iter().chain(step.state());
        match others.find(|array| array.dims() != weight.dims()) {
            Some(array) => {
                bail!("an array {:?} for a parameter {:?}", array.dims(), weight.dims())
            }
            None => Ok(()),
        }
    }

    /// Whether [`super::update_all`] accepts this update: the arrays must be f32 or f64, of one
    /// type and shape, on one device.
    pub fn is_in_place(&self) -> bool {
        in_place::is_possible(&[&[&self.weight, &self.grad], &self.step.state()[..]].concat())
    }
}

impl Arrays for Step {
    fn each<'a>(&'a self, f: &mut dyn FnMut(&'a Array)) {
        self.state().into_iter().for_each(f);
    }

    fn each_mut(&mut self, f: &mut dyn FnMut(&mut Array)) {
        match self {
            Self::Adam { mean, square, .. } => [mean, square].into_iter().for_each(f),
            Self::Sgd { buffer, .. } => buffer.iter_mut().for_each(f),
            Self::Lion { mean, .. } => f(mean),
        }
    }
}
