//! The axes of a reduction, as groups of adjacent ones.

use std::ops::Range;

/// The axes to reduce, last ones first. Adjacent axes are merged; axes of size 1 are left out.
pub(crate) fn groups(dims: &[usize], axes: &[usize]) -> Vec<Range<usize>> {
    let is_reduced = |axis: &usize| axes.contains(axis) && dims[*axis] != 1;
    let mut groups = vec![];
    let mut end = dims.len();
    while end > 0 {
        let first = (0..end).rev().take_while(is_reduced).last();
        groups.extend(first.map(|first| first..end));
        end = first.unwrap_or(end) - usize::from(first.is_none());
    }
    groups
}

/// The number of elements before, in and after the axes in `range`.
pub(crate) fn split(dims: &[usize], range: &Range<usize>) -> (usize, usize, usize) {
    let size = |axes: Range<usize>| dims[axes].iter().product::<usize>();
    (size(0..range.start), size(range.clone()), size(range.end..dims.len()))
}
