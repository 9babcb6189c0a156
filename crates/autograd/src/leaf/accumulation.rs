//! The gradient that a leaf accumulates.

use super::{lock, Leaf};
use crate::error::invalid;
use crate::gradient::Gradient;
use crate::{Array, Result};
use std::sync::atomic::Ordering;

impl Leaf {
    /// Whether operations recorded from now on propagate a gradient to this leaf.
    pub fn requires_grad(&self) -> bool {
        self.requires_grad.load(Ordering::SeqCst)
    }

    /// Turns gradients on or off (a frozen leaf has none). Existing graphs and the gradient do not
    /// change.
    pub fn set_requires_grad(&self, on: bool) {
        self.requires_grad.store(on, Ordering::SeqCst);
    }

    /// The gradient as it is now: later additions do not change the returned array.
    pub fn grad(&self) -> Result<Option<Array>> {
        lock(&self.grad).as_mut().map(Gradient::share).transpose()
    }

    /// An array and a factor whose product is the gradient. Later additions may change the array in
    /// place, so read it before.
    pub fn grad_and_factor(&self) -> Option<(Array, f64)> {
        lock(&self.grad).as_ref().map(Gradient::array_and_factor)
    }

    /// Whether the leaf has a gradient.
    pub fn has_grad(&self) -> bool {
        lock(&self.grad).is_some()
    }

    /// Multiplies the gradient by `factor`; the multiplication is deferred until the next read.
    pub fn scale_grad(&self, factor: f64) {
        if let Some(grad) = lock(&self.grad).as_mut() {
            grad.scale(factor);
        }
    }

    /// Limits each element of the gradient to `-limit` to `limit`.
    pub fn clamp_grad(&self, limit: f64) -> Result<()> {
        lock(&self.grad).as_mut().map_or(Ok(()), |grad| grad.clamp(limit))
    }

    /// Sets the gradient, or clears it with `None`.
    ///
    /// # Errors
    /// The gradient has another shape than the values.
    pub fn set_grad(&self, grad: Option<Array>) -> Result<()> {
        if let Some(grad) = &grad {
            if grad.dims() != self.shape {
                return invalid(format!(
                    "a gradient of shape {:?} for a tensor of shape {:?}",
                    grad.dims(),
                    self.shape
                ));
            }
        }
        *lock(&self.grad) = grad.map(Gradient::new);
        Ok(())
    }

    /// Adds to the gradient.
    pub fn add_grad(&self, more: Array) -> Result<()> {
        let mut grad = lock(&self.grad);
        match grad.as_mut() {
            Some(grad) => grad.add(&more),
            None => {
                *grad = Some(Gradient::new(xt_kernels::ops::layout::contiguous(&more)?));
                Ok(())
            }
        }
    }
}
