//! The function between the two linear layers.

use crate::array::{HostArray, HostResult};
use crate::ops::activation::{self, Activation};
use crate::ops::glu;
use crate::{Array, Result};

/// The function between the two linear layers.
#[derive(Clone, Copy, Debug)]
pub enum Inner {
    /// An element-wise activation.
    Activation(Activation),
    /// A gated linear unit with this activation, see [`crate::ops::glu`].
    Glu(Activation),
}

impl Inner {
    /// The ratio of the width of the input to the width of the output.
    pub(super) fn expansion(self) -> usize {
        match self {
            Self::Activation(_) => 1,
            Self::Glu(_) => 2,
        }
    }

    /// Computes `hidden` from `up`.
    pub(super) fn on_host(self, up: &HostArray) -> HostResult<HostArray> {
        match self {
            Self::Activation(kind) => activation::on_host(up, kind),
            Self::Glu(kind) => glu::on_host(up, kind),
        }
    }

    /// Computes the gradient of `up` from `grad`, the gradient of `hidden`.
    pub(super) fn backward_on_host(
        self,
        up: &HostArray,
        grad: &HostArray,
    ) -> HostResult<HostArray> {
        match self {
            Self::Activation(kind) => grad * activation::slope_on_host(up, kind)?,
            Self::Glu(kind) => glu::backward_on_host(up, grad, kind),
        }
    }

    /// [`Self::backward_on_host`] for arrays on any device.
    #[cfg(feature = "cuda")]
    pub(super) fn backward(self, up: &Array, grad: &Array) -> Result<Array> {
        match self {
            Self::Activation(kind) => activation::backward(up, grad, kind),
            Self::Glu(kind) => glu::backward(up, grad, kind),
        }
    }

    /// Computes `hidden` from `up` in a separate pass.
    pub(super) fn apply(self, up: &Array) -> Result<Array> {
        match self {
            Self::Activation(kind) => activation::forward(up, kind),
            Self::Glu(kind) => glu::forward(up, kind),
        }
    }
}
