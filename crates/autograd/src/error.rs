use thiserror::Error;

/// What goes wrong with tensors and their graph.
#[derive(Debug, Error)]
pub enum Error {
    /// Shapes, types or values that an operation does not take.
    #[error("{0}")]
    Invalid(String),
    #[error(transparent)]
    Kernel(#[from] xt_kernels::Error),
    #[error("the graph of this tensor was freed by an earlier backward: pass {{ retain_graph: true }} to the first one, or run the forward again")]
    GraphFreed,
    #[error("a parameter of shape {shape:?} has changed since the forward that made this graph: run the forward again before backward")]
    StaleParameter { shape: Vec<usize> },
    /// Training, or another device, where weights are for inference.
    #[error("a weight of shape {shape:?} is quantized ({format}), which is for inference on the CPU: call the model inside noGrad, or load its weights again before {what}")]
    Quantized { shape: Vec<usize>, format: &'static str, what: &'static str },
    /// A leaf whose model was disposed.
    #[error("a parameter of shape {shape:?} was disposed with its model and cannot be used any more")]
    Released { shape: Vec<usize> },
    #[error("backward needs a tensor with one element, such as a loss; this one has shape {shape:?}")]
    NotScalar { shape: Vec<usize> },
    #[error("this tensor depends on nothing that requires a gradient (was it made inside noGrad, or detached?)")]
    NoGraph,
    #[error("the call was aborted")]
    Aborted,
}

pub type Result<T> = std::result::Result<T, Error>;

/// An [`Error::Invalid`] as a result.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::Invalid(message.into()))
}
