//! Quantized leaves.

use super::state::Values;
use super::{lock, Leaf};
use crate::{Error, Result};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use xt_kernels::ops::quantized::{self, Format, Packed};

impl Leaf {
    /// The quantized values, if [`Leaf::quantize`] was called.
    pub fn packed(&self) -> Option<Arc<Packed>> {
        match &lock(&self.state).values {
            Values::Packed(packed) => Some(packed.clone()),
            Values::Pending(_) | Values::Ready(_) | Values::Released => None,
        }
    }

    /// Returns the error that [`Leaf::quantize`] would return, apart from a lack of memory. Does
    /// not initialise the values.
    pub fn check_quantize(&self, format: Format) -> Result<()> {
        let state = lock(&self.state);
        state.check_quantizable()?;
        match &state.values {
            Values::Ready(values) => Ok(quantized::check(values, format)?),
            Values::Packed(packed) => Ok(quantized::check(&packed.values()?, format)?),
            Values::Released => Err(Error::Released { shape: self.shape.clone() }),
            Values::Pending(_) => Ok(()),
        }
    }

    /// Quantizes the values, which must have two axes, until new values are set; frees the f32
    /// values and the gradient. Graphs recorded before become stale.
    pub fn quantize(&self, format: Format) -> Result<()> {
        let mut state = lock(&self.state);
        state.check_quantizable()?;
        if matches!(&state.values, Values::Packed(packed) if packed.format() == format) {
            return Ok(());
        }
        let packed = Packed::new(&state.array(&self.shape)?, format)?;
        state.values = Values::Packed(Arc::new(packed));
        self.version.fetch_add(1, Ordering::SeqCst);
        *lock(&self.grad) = None;
        Ok(())
    }

    /// Returns an error if the leaf is quantized; `what` names the operation that needs f32.
    pub fn require_plain(&self, what: &'static str) -> Result<()> {
        match self.packed() {
            None => Ok(()),
            Some(packed) => Err(Error::Quantized {
                shape: self.shape.clone(),
                format: packed.format().name(),
                what,
            }),
        }
    }
}
