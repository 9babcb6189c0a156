//! Errors of kernels.

/// An error of a kernel, with a human-readable message.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operation does not accept these shapes, dtypes, devices or values.
    #[error("{0}")]
    Invalid(String),
    /// There is not enough memory. The message says what was to be allocated, how many bytes it
    /// needs and how many are available.
    #[error("{0}")]
    OutOfMemory(String),
    /// A GPU or its driver has failed.
    #[error("{0}")]
    Device(String),
    /// An error of candle, whose tensors are the host arrays.
    #[error("{}", message(.0))]
    Host(#[from] candle_core::Error),
}

/// Result of a kernel.
pub type Result<T> = std::result::Result<T, Error>;

/// The message of a candle error, without the backtrace that candle adds if `RUST_BACKTRACE` is
/// set.
fn message(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => message(inner),
        candle_core::Error::Context { inner, context } => format!("{context}: {}", message(inner)),
        other => other.to_string(),
    }
}

/// Returns an [`Error::Invalid`] from the calling function. The arguments are those of `format!`.
macro_rules! bail {
    ($($message:tt)*) => {
        return Err($crate::Error::Invalid(format!($($message)*)))
    };
}
pub(crate) use bail;

/// A size in MiB or GiB, for messages.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..=0xfff_ffff => format!("{} MiB", bytes.div_ceil(1 << 20)),
        _ => format!("{:.1} GiB", bytes as f64 / (1u64 << 30) as f64),
    }
}
