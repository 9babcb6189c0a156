//! What attention is computed of, and its gradients.

use crate::ops::dropout::Dropout;
use crate::ops::softmax::Mask;
use crate::Array;

/// What attention is made of.
#[derive(Clone)]
pub struct Inputs {
    pub q: Array,
    pub k: Array,
    pub v: Array,
    pub bias: Option<Array>,
    pub scale: f64,
    pub mask: Mask,
    /// Of the weights.
    pub dropout: Option<Dropout>,
}

/// Gradients of the inputs, in their shapes.
pub struct Gradients {
    pub q: Array,
    pub k: Array,
    pub v: Array,
    pub bias: Option<Array>,
}
