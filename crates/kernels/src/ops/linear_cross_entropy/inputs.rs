//! The inputs of the loss, their gradients, and the size of a block of rows.

use crate::kernel::arrays;
use crate::ops::cross_entropy::CrossEntropy;
use crate::Array;

/// The inputs of the loss.
pub struct LossArgs<'a> {
    /// The input of the linear layer, (rows, in).
    pub x: &'a Array,
    /// The weight of the linear layer, (classes, in).
    pub weight: &'a Array,
    /// The bias of the linear layer, (classes).
    pub bias: Option<&'a Array>,
    /// The class of each row, i64, (rows).
    pub targets: &'a Array,
    /// Which targets count, and how.
    pub of: CrossEntropy,
    /// The limit c of the logits, which become `c tanh(logit / c)`.
    pub softclamp: Option<f64>,
}

/// The inputs whose gradients are computed.
#[derive(Clone, Copy, Default)]
pub struct NeedsGrad {
    /// Whether to compute the gradient of `x`.
    pub x: bool,
    /// Whether to compute the gradient of the weight.
    pub weight: bool,
    /// Whether to compute the gradient of the bias.
    pub bias: bool,
}

impl NeedsGrad {
    /// Whether any gradient is computed.
    pub fn any(self) -> bool {
        self.x || self.weight || self.bias
    }
}

/// The gradients of the mean loss; `None` where not requested.
#[derive(Clone, Default)]
pub struct Gradients {
    /// Gradient of the input, (rows, in).
    pub x: Option<Array>,
    /// Gradient of the weight, (classes, in).
    pub weight: Option<Array>,
    /// Gradient of the bias, (classes).
    pub bias: Option<Array>,
}

arrays!(Gradients { x, weight, bias });

/// Largest number of logits in memory at a time, except that there is always at least one row.
/// Blocks of fewer rows would read the weights too often.
pub(super) const BLOCK: usize = match (cfg!(test), cfg!(target_family = "wasm")) {
    (true, _) => 128,
    (false, true) => 1 << 20,
    (false, false) => 8 << 20,
};

/// [`BLOCK`] for GPUs, which need larger products to be busy.
#[cfg(feature = "cuda")]
pub(super) const GPU_BLOCK: usize = if cfg!(test) { BLOCK } else { 8 * BLOCK };

/// The number of rows per block: as few blocks of at most `block` logits as possible, all of about
/// the same size.
pub(super) fn block_rows(rows: usize, width: usize, block: usize) -> usize {
    let most = (block / width.max(1)).max(1);
    rows.div_ceil(rows.div_ceil(most).max(1)).max(1)
}
