//! The error of a part: any error, with its message.

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(String);

/// The result of a part.
pub type Result<T> = std::result::Result<T, Error>;

impl From<String> for Error {
    fn from(message: String) -> Self {
        Self(message)
    }
}

impl From<&str> for Error {
    fn from(message: &str) -> Self {
        Self(message.into())
    }
}

macro_rules! from {
    ($($Error:ty),+) => {$(
        impl From<$Error> for Error {
            fn from(error: $Error) -> Self {
                Self(error.to_string())
            }
        }
    )+};
}

from!(
    xt_kernels::Error,
    xt_autograd::Error,
    xt_core::Error,
    lexopt::Error,
    std::io::Error,
    serde_json::Error
);
