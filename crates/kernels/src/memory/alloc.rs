//! Fallible allocation: returns an error if memory is short, where Rust's allocator would abort the
//! process.

use crate::array::Element;
use crate::memory::counters::LARGE;
use crate::memory::shortage;
use crate::{memory, Array, DType, Device, Error, Result};

/// [`LARGE`] for a process with a limited address space, where a trial allocation is cheap.
const LARGE_IF_LIMITED: usize = 1 << 18;

/// Checks that an array of this shape can be allocated.
///
/// # Errors
/// [`Error::OutOfMemory`] if it cannot.
pub fn check(dims: &[usize], dtype: DType) -> Result<()> {
    let bytes = dims.iter().fold(dtype.size_in_bytes() as u64, |n, d| n.saturating_mul(*d as u64));
    // a product that has overflowed may still have a factor of 0
    if fits(bytes) || dims.contains(&0) {
        return Ok(());
    }
    let sizes: Vec<u64> = dims.iter().map(|d| *d as u64).collect();
    Err(too_large(&sizes, dtype, bytes))
}

/// [`check`] for sizes that may exceed the address space.
///
/// # Errors
/// [`Error::OutOfMemory`] if the array cannot be allocated.
pub fn check_wide(dims: &[u64], dtype: DType) -> Result<()> {
    let bytes = dims.iter().fold(dtype.size_in_bytes() as u64, |n, d| n.saturating_mul(*d));
    if fits(bytes) || dims.contains(&0) {
        return Ok(());
    }
    Err(too_large(dims, dtype, bytes))
}

/// Checks that `times` arrays of type `dtype`, each with as many elements as `like`, can be
/// allocated together.
///
/// # Errors
/// [`Error::OutOfMemory`] if they cannot.
pub fn check_like(like: &Array, dtype: DType, times: usize) -> Result<()> {
    check_on(&like.device(), &[like.elem_count(), times], dtype)
}

/// [`check`] for an array on `device`.
///
/// # Errors
/// As for [`check`].
pub fn check_on(device: &Device, dims: &[usize], dtype: DType) -> Result<()> {
    match device {
        Device::Cpu => check(dims, dtype),
        #[cfg(feature = "cuda")]
        Device::Cuda(gpu) => {
            let sizes = dims.iter().map(|size| *size as u64);
            let bytes = sizes.fold(dtype.size_in_bytes() as u64, u64::saturating_mul);
            gpu.check_memory(&format!("a tensor of shape {dims:?} and type {dtype:?}"), bytes)
        }
    }
}

/// [`check_wide`] for an array on `device`.
///
/// # Errors
/// As for [`check`].
pub fn check_wide_on(device: &Device, dims: &[u64], dtype: DType) -> Result<()> {
    match device {
        Device::Cpu => check_wide(dims, dtype),
        #[cfg(feature = "cuda")]
        Device::Cuda(gpu) => {
            let sizes = dims.iter().copied();
            let bytes = sizes.fold(dtype.size_in_bytes() as u64, u64::saturating_mul);
            gpu.check_memory(&format!("a tensor of shape {dims:?} and type {dtype:?}"), bytes)
        }
    }
}

/// The error for an array of this shape, which needs `bytes`.
#[cold]
fn too_large(dims: &[u64], dtype: DType, bytes: u64) -> Error {
    memory::out_of_memory(&format!("a tensor of shape {dims:?} and type {dtype:?}"), bytes)
}

/// Whether `bytes` are available. A large block is allocated on trial, because free memory may be
/// fragmented.
fn fits(bytes: u64) -> bool {
    if bytes > isize::MAX as u64 || !shortage::fits(bytes) {
        return false;
    }
    let large = if shortage::needs_trial() { LARGE_IF_LIMITED.min(LARGE) } else { LARGE };
    let size = bytes as usize;
    size < large || shortage::without_retry(|| Vec::<u8>::new().try_reserve_exact(size)).is_ok()
}

/// Checks that arrays of these sizes in bytes can all be allocated on `device`, with none of them
/// freed before the last one is. `what`, which needs them, is named in the message.
///
/// # Errors
/// [`Error::OutOfMemory`] if they cannot.
pub fn check_all(device: &Device, what: &str, bytes: &[u64]) -> Result<()> {
    match device {
        Device::Cpu => check_all_on_host(what, bytes),
        #[cfg(feature = "cuda")]
        Device::Cuda(gpu) => {
            gpu.check_memory(what, bytes.iter().copied().fold(0, u64::saturating_add))
        }
    }
}

fn check_all_on_host(what: &str, bytes: &[u64]) -> Result<()> {
    let needed = bytes.iter().fold(0, |sum: u64, bytes| sum.saturating_add(*bytes));
    memory::check(what, needed)?;
    if shortage::needs_trial() {
        // the total may be available, but in pieces that are too small
        let mut blocks = Vec::new();
        for bytes in bytes {
            let mut block = Vec::<u8>::new();
            let size = usize::try_from(*bytes).unwrap_or(usize::MAX);
            if shortage::without_retry(|| block.try_reserve_exact(size)).is_err() {
                return Err(memory::out_of_memory(what, needed));
            }
            blocks.push(block);
        }
    }
    Ok(())
}

/// Returns an empty vector with capacity for `count` elements.
///
/// # Errors
/// [`Error::OutOfMemory`] if it cannot be allocated.
pub fn with_capacity<T: Element>(count: usize) -> Result<Vec<T>> {
    reserved(count).ok_or_else(|| {
        let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
        too_large(&[count as u64], T::DTYPE, bytes)
    })
}

/// An empty vector with capacity for `count` elements of any type; `None` if it cannot be
/// allocated.
pub(crate) fn reserved<T>(count: usize) -> Option<Vec<T>> {
    let bytes = (count as u64).saturating_mul(size_of::<T>() as u64);
    let mut values = Vec::new();
    // no trial allocation first: this is the allocation itself
    let done = shortage::fits(bytes)
        && shortage::without_retry(|| values.try_reserve_exact(count)).is_ok();
    done.then_some(values)
}

/// Returns a vector of `count` elements with the same value.
///
/// # Errors
/// [`Error::OutOfMemory`] if it cannot be allocated.
pub fn filled<T: Element>(value: T, count: usize) -> Result<Vec<T>> {
    let mut values = with_capacity(count)?;
    values.resize(count, value);
    Ok(values)
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
        assert!(check(&[usize::MAX, usize::MAX, 0], DType::F32).is_ok());
        assert!(
            with_capacity::<f32>(1 << 40).is_err() && with_capacity::<f64>(usize::MAX).is_err()
        );
        assert_eq!(filled(3f32, 2).unwrap(), [3.0, 3.0]);
        let text = check_wide(&[5, 1 << 40], DType::F32).unwrap_err().to_string();
        assert!(text.contains("[5, 1099511627776] and type F32 needs 20480.0 GiB"), "{text}");
    }
}
