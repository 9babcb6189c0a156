//! Refuses what memory cannot hold, where Rust's allocator would abort the process.

use crate::{memory, DType, Result};
use candle_core::WithDType;

/// Blocks from this size on are tried before they are taken: there may be enough memory, and none of it in one piece.
pub(crate) const LARGE: usize = if cfg!(target_family = "wasm") { 1 << 16 } else { 1 << 28 };

/// An error where an array of this shape cannot be allocated.
pub fn check(dims: &[usize], dtype: DType) -> Result<()> {
    let wide: Vec<u64> = dims.iter().map(|d| *d as u64).collect();
    check_wide(&wide, dtype)
}

/// As [`check`], for sizes that may be larger than what can be addressed.
pub fn check_wide(dims: &[u64], dtype: DType) -> Result<()> {
    let size = dtype.size_in_bytes() as u64;
    let bytes = if dims.contains(&0) { 0 } else { dims.iter().fold(size, |n, d| n.saturating_mul(*d)) };
    if fits(bytes) {
        return Ok(());
    }
    Err(memory::out_of_memory(&format!("a tensor of shape {dims:?} and type {dtype:?}"), bytes))
}

fn fits(bytes: u64) -> bool {
    let Some(size) = usize::try_from(bytes).ok().filter(|_| bytes <= memory::largest()) else {
        return false;
    };
    size < LARGE || Vec::<u8>::new().try_reserve_exact(size).is_ok()
}

/// An error where arrays of these bytes cannot be allocated one after the other, none of them freed before the last; `what` needs them.
pub fn check_all(what: &str, bytes: &[u64]) -> Result<()> {
    let needed = bytes.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
    memory::check(what, needed)?;
    if cfg!(target_family = "wasm") {
        // memory there may be enough, but in pieces that are too small
        let mut rooms = Vec::new();
        for bytes in bytes {
            let mut room = Vec::<u8>::new();
            if room.try_reserve_exact(usize::try_from(*bytes).unwrap_or(usize::MAX)).is_err() {
                return Err(memory::out_of_memory(what, needed));
            }
            rooms.push(room);
        }
    }
    Ok(())
}

/// Room for `count` numbers, or an error where it cannot be allocated.
pub(crate) fn room<T: WithDType>(count: usize) -> Result<Vec<T>> {
    check(&[count], T::DTYPE)?;
    Ok(Vec::with_capacity(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_sizes_are_errors() {
        assert!(check(&[1 << 30, 1 << 30], DType::F32).is_err());
        assert!(check(&[usize::MAX, 2], DType::F32).is_err());
        assert!(check(&[2, 3], DType::F32).is_ok());
        assert!(check_wide(&[u64::MAX, 0], DType::F32).is_ok());
        let text = check_wide(&[5, 1 << 40], DType::F32).unwrap_err().to_string();
        assert!(text.contains("[5, 1099511627776] and type F32 needs 20480.0 GiB"), "{text}");
    }
}
