//! Reusable scratch memory.

use crate::host::Real;
use crate::memory::count_kept;

/// Size of a cache line, in bytes.
const LINE: usize = 64;

/// A scratch buffer that grows as needed; counted as [`kept`](crate::memory::kept).
#[derive(Default)]
pub(crate) struct Scratch<T>(Vec<T>);

impl<T: Real> Scratch<T> {
    /// Creates an empty buffer; allocates nothing.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Returns `length` elements, aligned to a cache line. Their values are unspecified.
    pub fn get(&mut self, length: usize) -> &mut [T] {
        let needed = length + LINE / size_of::<T>();
        if self.0.len() < needed {
            // the old contents are not needed: after clearing, growing does not copy them
            let before = self.bytes();
            self.0.clear();
            self.0.resize(needed, T::ZERO);
            count_kept(self.bytes() - before);
        }
        let first = self.0.as_ptr().align_offset(LINE).min(needed - length);
        &mut self.0[first..first + length]
    }

    /// Returns `length` elements, aligned to a cache line and set to zero.
    pub fn zeroed(&mut self, length: usize) -> &mut [T] {
        let numbers = self.get(length);
        numbers.fill(T::ZERO);
        numbers
    }

    /// Current size of the buffer in elements, with the padding for alignment.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<T> Scratch<T> {
    /// Allocated bytes.
    fn bytes(&self) -> i64 {
        (self.0.capacity() * size_of::<T>()) as i64
    }
}

impl<T> Drop for Scratch<T> {
    fn drop(&mut self) {
        count_kept(-self.bytes());
    }
}

/// Row stride, in elements, for rows of `width` elements: an odd multiple of 16, which is one cache
/// line of f32. Rows then map to different cache sets; with a stride of a power of two, all would
/// map to the same.
pub(crate) fn padded_stride(width: usize) -> usize {
    width.next_multiple_of(16) | 16
}

/// Whether `row`, a row stride, is an odd multiple of 16 as from [`padded_stride`].
pub(crate) fn is_padded(row: usize) -> bool {
    row % 32 == 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn begin_with_a_line_and_grow() {
        let mut buffer = Scratch::<f32>::new();
        for length in [5, 1000, 17, 0, 3000] {
            buffer.zeroed(length);
            let numbers = buffer.get(length);
            assert_eq!((numbers.len(), numbers.as_ptr() as usize % LINE), (length, 0));
        }
    }

    #[test]
    fn is_counted_as_kept() {
        let mut buffer = Scratch::<f64>::new();
        // more than all that other tests keep meanwhile
        const LENGTH: usize = 1 << 25;
        let bytes = (LENGTH * size_of::<f64>()) as i64;
        buffer.get(LENGTH);
        assert!(crate::memory::kept() >= bytes);
        drop(buffer);
        assert!(crate::memory::kept() < bytes);
    }

    #[test]
    fn rows_lie_an_odd_number_of_lines_apart() {
        assert_eq!(
            [1, 16, 17, 64, 256, 500, 512].map(padded_stride),
            [16, 16, 48, 80, 272, 528, 528]
        );
        assert!(
            (1..2000).all(|width| is_padded(padded_stride(width)) && padded_stride(width) >= width)
        );
    }
}
