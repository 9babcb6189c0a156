//! Views: the elements of a storage that make up a PyTorch tensor.

/// Offset, shape and strides of a tensor in its storage, in elements. Whoever constructs one has
/// checked that it stays within the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The index of the first element.
    pub offset: usize,
    /// The size of each axis.
    pub shape: Vec<usize>,
    /// The stride of each axis.
    pub strides: Vec<usize>,
}

impl Layout {
    /// Whether it selects all `count` elements of the storage, in row-major order.
    pub fn is_whole(&self, count: usize) -> bool {
        let mut step = 1;
        let in_order = self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == step;
            step *= size;
            fits
        });
        self.offset == 0 && self.count() == count && (in_order || count == 0)
    }

    /// The number of elements.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The index of the first element of each row along the last axis.
    pub fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        let outer = &self.shape[..self.shape.len().saturating_sub(1)];
        (0..outer.iter().product()).map(move |row: usize| {
            let mut left = row;
            let step = |(size, stride): (&usize, &usize)| {
                let index = left % size;
                left /= size;
                index * stride
            };
            self.offset + outer.iter().zip(&self.strides).rev().map(step).sum::<usize>()
        })
    }
}

/// The number of elements of a shape; `None` if the product of all axes that are not 0 overflows.
pub(super) fn count_of(shape: &[usize]) -> Option<usize> {
    let product = shape.iter().try_fold(1usize, |n, d| n.checked_mul((*d).max(1)))?;
    Some(if shape.contains(&0) { 0 } else { product })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(offset: usize, shape: &[usize], strides: &[usize]) -> Layout {
        Layout { offset, shape: shape.into(), strides: strides.into() }
    }

    #[test]
    fn the_whole_storage_in_its_order_needs_no_copy() {
        assert!(layout(0, &[2, 3], &[3, 1]).is_whole(6));
        assert!(layout(0, &[2, 1, 3], &[3, 99, 1]).is_whole(6));
        assert!(layout(0, &[], &[]).is_whole(1));
        assert!(layout(0, &[0, 3], &[3, 1]).is_whole(0));
        assert!(!layout(0, &[2, 3], &[1, 2]).is_whole(6));
        assert!(!layout(0, &[2, 2], &[2, 1]).is_whole(6));
        assert!(!layout(1, &[2, 3], &[3, 1]).is_whole(6));
    }
}
