//! The error type of this crate.

use serde_json::{json, Value};
use thiserror::Error;
use xt_options::Problems;

/// All errors of this crate. Each kind has a code for programs ([`Error::code`]) and a message for
/// users.
#[derive(Debug, Error)]
pub enum Error {
    /// Invalid options or arguments of `class`; `problems` lists all of them.
    #[error("{class}:\n{problems}")]
    Options {
        /// The class or function.
        class: String,
        /// All that is wrong.
        problems: Problems,
    },
    /// A feature that this version does not implement yet.
    #[error("{0} is not available in this version yet")]
    NotAvailable(String),
    /// Invalid shapes, element types or values of tensors.
    #[error("{0}")]
    Shape(String),
    /// An error of the autograd or kernel layer.
    #[error(transparent)]
    Tensor(#[from] xt_autograd::Error),
    /// A malformed checkpoint.
    #[error("{0}")]
    Checkpoint(String),
    /// A valid file content that this library cannot read.
    #[error("{0}")]
    Unsupported(String),
    /// A state dict that does not fit the model.
    #[error("{0}")]
    State(String),
    /// A file that cannot be read or written.
    #[error("{0}")]
    File(String),
    /// Use of an object after it was disposed; the string names the object.
    #[error("{0} was disposed and cannot be used any more")]
    Disposed(&'static str),
    /// A bug in this library.
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

/// A result with [`enum@Error`] as its error type.
pub type Result<T> = std::result::Result<T, Error>;

impl From<xt_kernels::Error> for Error {
    fn from(error: xt_kernels::Error) -> Self {
        Error::Tensor(error.into())
    }
}

impl From<Error> for xt_autograd::Error {
    /// For functions that a backward pass calls; there only the message of other errors is left.
    fn from(error: Error) -> Self {
        match error {
            Error::Tensor(error) => error,
            other => Self::Invalid(other.to_string()),
        }
    }
}

impl Error {
    /// Returns an [`Error::Shape`] wrapped in `Err`.
    pub fn shape<T>(message: impl Into<String>) -> Result<T> {
        Err(Error::Shape(message.into()))
    }

    /// A short, stable identifier of the kind of error, for programs to compare.
    pub fn code(&self) -> &'static str {
        use xt_autograd::Error as Graph;
        match self {
            Error::Options { .. } => "invalid_options",
            Error::NotAvailable(_) | Error::Unsupported(_) => "not_available",
            Error::Tensor(Graph::Kernel(xt_kernels::Error::OutOfMemory(_))) => "out_of_memory",
            Error::Tensor(Graph::Kernel(xt_kernels::Error::Device(_))) => "device",
            Error::Shape(_) | Error::Tensor(Graph::Invalid(_) | Graph::Kernel(_)) => {
                "invalid_tensor"
            }
            Error::Tensor(Graph::GraphFreed) => "graph_freed",
            Error::Tensor(Graph::StaleParameter { .. }) => "stale_parameters",
            Error::Tensor(Graph::Quantized { .. }) => "quantized",
            Error::Tensor(Graph::NotScalar { .. }) => "not_scalar",
            Error::Tensor(Graph::NoGraph) => "no_graph",
            Error::Tensor(Graph::Aborted) => "aborted",
            Error::Checkpoint(_) => "invalid_checkpoint",
            Error::State(_) => "invalid_state",
            Error::File(_) => "file",
            Error::Disposed(_) | Error::Tensor(Graph::Released { .. }) => "disposed",
            Error::Internal(_) => "internal",
        }
    }

    /// The JSON object that is passed to TypeScript: `code`, `message` and `problems`.
    pub fn to_json(&self) -> Value {
        let problems = match self {
            Error::Options { problems, .. } => problems.to_json(),
            _ => json!([]),
        };
        json!({ "code": self.code(), "message": self.to_string(), "problems": problems })
    }
}
