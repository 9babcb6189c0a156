//! What goes wrong in kernels.

/// An error of a kernel, with a message for people.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Shapes, types, devices or values that an operation does not take.
    #[error("{0}")]
    Invalid(String),
    /// Memory that is not there: what was to be allocated, the bytes it needs and those that are left.
    #[error("{0}")]
    OutOfMemory(String),
    /// An error of candle, whose tensors are the arrays of the host.
    #[error("{}", message(.0))]
    Host(#[from] candle_core::Error),
}

/// A result of a kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// The message without the stack trace that candle adds where `RUST_BACKTRACE` is set.
fn message(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => message(inner),
        candle_core::Error::Context { inner, context } => format!("{context}: {}", message(inner)),
        other => other.to_string(),
    }
}

/// Returns an [`Error::Invalid`] with a message, which is formatted as by `format!`.
macro_rules! bail {
    ($($message:tt)*) => {
        return Err($crate::Error::Invalid(format!($($message)*)))
    };
}
pub(crate) use bail;
