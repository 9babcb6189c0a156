//! Protection against panics: no argument of a user may end the process.

use crate::{Error, Result};
use std::panic::{catch_unwind, AssertUnwindSafe};

/// Runs `f` and turns a panic into an error. Data that `f` has changed stays consistent, since
/// values are set in single assignments.
pub fn guard<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|s| s.to_string());
        let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
        Err(Error::Internal(text.unwrap_or_else(|| "panic".into())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors() {
        let error = guard::<()>(|| panic!("slip {}", 1)).unwrap_err();
        assert!(error.code() == "internal" && error.to_string().contains("slip 1"));
    }
}
