use serde_json::{json, Value};
use thiserror::Error;
use xt_options::Problems;

/// Everything that can go wrong, each kind with a code for programs and a message for people.
#[derive(Debug, Error)]
pub enum Error {
    /// Options or arguments: all problems at once.
    #[error("{class}:\n{problems}")]
    Options { class: String, problems: Problems },
    #[error("{0} is not available in this version yet")]
    NotAvailable(String),
    /// Shapes or values of tensors.
    #[error("{0}")]
    Shape(String),
    #[error(transparent)]
    Tensor(#[from] xt_autograd::Error),
    #[error("{0}")]
    Checkpoint(String),
    /// What a file rightly holds, and this library does not read.
    #[error("{0}")]
    Unsupported(String),
    /// A state dict that does not fit the model.
    #[error("{0}")]
    State(String),
    /// A file that cannot be read or written.
    #[error("{0}")]
    File(String),
    #[error("{0} was disposed and cannot be used any more")]
    Disposed(&'static str),
    #[error("internal error, please report it: {0}")]
    Internal(String),
}

pub type Result<T> = std::result::Result<T, Error>;

impl From<xt_kernels::Error> for Error {
    fn from(error: xt_kernels::Error) -> Self {
        Error::Tensor(error.into())
    }
}

impl Error {
    /// An [`Error::Shape`] as a result.
    pub fn shape<T>(message: impl Into<String>) -> Result<T> {
        Err(Error::Shape(message.into()))
    }

    /// A short word that programs can compare.
    pub fn code(&self) -> &'static str {
        use xt_autograd::Error as Graph;
        match self {
            Error::Options { problems, .. } if problems.only_later() => "not_available",
            Error::Options { .. } => "invalid_options",
            Error::NotAvailable(_) | Error::Unsupported(_) => "not_available",
            Error::Tensor(Graph::Kernel(xt_kernels::Error::OutOfMemory(_))) => "out_of_memory",
            Error::Shape(_) | Error::Tensor(Graph::Invalid(_) | Graph::Kernel(_)) => "invalid_tensor",
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

    /// What crosses to TypeScript.
    pub fn to_json(&self) -> Value {
        let problems = match self {
            Error::Options { problems, .. } => problems.to_json(),
            _ => json!([]),
        };
        json!({ "code": self.code(), "message": self.to_string(), "problems": problems })
    }
}
