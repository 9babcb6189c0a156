//! Views: which values of a storage make up a tensor of PyTorch.

use super::data::room;
use crate::{DType, Result};

/// Sizes and steps of a tensor within its storage, in values. Who makes one has checked that it stays within.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

impl Layout {
    /// Whether it is the whole storage of `count` values, in row-major order.
    pub fn is_whole(&self, count: usize) -> bool {
        let mut step = 1;
        let in_order = self.shape.iter().zip(&self.strides).rev().all(|(size, stride)| {
            let fits = *size == 1 || *stride == step;
            step *= size;
            fits
        });
        self.offset == 0 && self.count() == count && (in_order || count == 0)
    }

    /// How many values it has.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Where each row along the last axis starts.
    fn rows(&self) -> impl Iterator<Item = usize> + '_ {
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

/// The values of a view, in row-major order.
pub fn gather<T: Copy>(from: &[T], layout: &Layout, dtype: DType) -> Result<Vec<T>> {
    let mut values = room(layout.count(), dtype)?;
    if layout.count() == 0 {
        return Ok(values);
    }
    let (size, stride) = (layout.shape.last().copied().unwrap_or(1), layout.strides.last().copied().unwrap_or(1));
    for start in layout.rows() {
        values.extend((0..size).filter_map(|i| from.get(start + i * stride)));
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(offset: usize, shape: &[usize], strides: &[usize]) -> Layout {
        Layout { offset, shape: shape.into(), strides: strides.into() }
    }

    #[test]
    fn views_are_read_by_their_strides() {
        let from: Vec<u8> = (0..24).collect();
        let of = |l: Layout| gather(&from, &l, DType::U8).unwrap();
        assert_eq!(of(layout(0, &[2, 3], &[1, 2])), [0, 2, 4, 1, 3, 5]);
        assert_eq!(of(layout(5, &[2, 2, 2], &[12, 0, 3])), [5, 8, 5, 8, 17, 20, 17, 20]);
        assert_eq!(of(layout(7, &[], &[])), [7]);
        assert!(of(layout(0, &[3, 0], &[1, 1])).is_empty());
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
