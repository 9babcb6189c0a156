//! Memory for intermediate results of a loop over pieces.

use super::pool::threads;
use crate::memory::{alloc, out_of_memory};
use crate::Result;
use std::sync::{Mutex, PoisonError};

/// Buffers for the pieces of a loop, one for each thread. They are allocated before the loop, where
/// memory that is short is an error; a piece of a loop could only end the process.
pub(crate) struct Buffers<T>(Mutex<Vec<Vec<T>>>);

impl<T> Buffers<T> {
    /// Buffers with room for `len` elements each, for a loop over `pieces` pieces.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) if they cannot be allocated.
    pub fn new(pieces: usize, len: usize) -> Result<Self> {
        let bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        let count = pieces.min(threads());
        let needed = bytes.saturating_mul(count as u64);
        crate::memory::check("working memory", needed)?;
        let buffer =
            |_| alloc::reserved(len).ok_or_else(|| out_of_memory("working memory", needed));
        Ok(Self(Mutex::new((0..count).map(buffer).collect::<Result<_>>()?)))
    }

    /// Runs `f` with an empty buffer that no other piece has at this time.
    pub fn with(&self, f: impl FnOnce(&mut Vec<T>)) {
        let buffers = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut buffer = buffers().pop().unwrap_or_default();
        buffer.clear();
        f(&mut buffer);
        buffers().push(buffer);
    }
}
