//! Refuses what memory cannot hold, where Rust's allocator would abort the process.

use crate::{DType, Error, Result};

/// An error where an array of this shape cannot be allocated.
pub fn check(dims: &[usize], dtype: DType) -> Result<()> {
    let bytes = dims.iter().try_fold(dtype.size_in_bytes(), |n, d| n.checked_mul(*d));
    let fits = bytes.is_some_and(|n| Vec::<u8>::new().try_reserve_exact(n).is_ok());
    if !fits {
        return Err(Error::Msg(format!("out of memory: a tensor of shape {dims:?} and type {dtype:?} does not fit")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_sizes_are_errors() {
        assert!(check(&[1 << 30, 1 << 30], DType::F32).is_err());
        assert!(check(&[usize::MAX, 2], DType::F32).is_err());
        assert!(check(&[2, 3], DType::F32).is_ok());
    }
}
