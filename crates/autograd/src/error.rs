use thiserror::Error;

/// Errors of tensors and their autograd graph.
#[derive(Debug, Error)]
pub enum Error {
    /// An operation got a shape, type or value that it does not accept.
    #[error("{0}")]
    Invalid(String),
    /// A kernel failed.
    #[error(transparent)]
    Kernel(#[from] xt_kernels::Error),
    /// The graph was freed by an earlier backward pass.
    #[error("the graph of this tensor was freed by an earlier backward: pass {{ retain_graph: true }} to the first one, or run the forward again")]
    GraphFreed,
    /// The values of a parameter of this shape changed after the forward pass that recorded the
    /// graph.
    #[error("a parameter of shape {shape:?} has changed since the forward that made this graph: run the forward again before backward")]
    StaleParameter {
        /// Shape of the parameter.
        shape: Vec<usize>,
    },
    /// The weight is quantized, for inference on the CPU; the operation `what` (training, or a move
    /// to another device) needs plain values.
    #[error("a weight of shape {shape:?} is quantized ({format}), which is for inference on the CPU: call the model inside noGrad, or load its weights again before {what}")]
    Quantized {
        /// Shape of the weight.
        shape: Vec<usize>,
        /// Name of the format.
        format: &'static str,
        /// What was to be done.
        what: &'static str,
    },
    /// The leaf was released, because its model was disposed.
    #[error(
        "a parameter of shape {shape:?} was disposed with its model and cannot be used any more"
    )]
    Released {
        /// Shape of the leaf.
        shape: Vec<usize>,
    },
    /// The backward pass was started from a tensor with more or less than one element.
    #[error(
        "backward needs a tensor with one element, such as a loss; this one has shape {shape:?}"
    )]
    NotScalar {
        /// Shape of the tensor.
        shape: Vec<usize>,
    },
    /// The tensor has no graph: it depends on nothing that requires a gradient.
    #[error("this tensor depends on nothing that requires a gradient (was it made inside noGrad, or detached?)")]
    NoGraph,
    /// The caller aborted the call.
    #[error("the call was aborted")]
    Aborted,
}

/// A result with this crate's [`enum@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Returns [`Error::Invalid`] with `message`.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(message.into()))
}
