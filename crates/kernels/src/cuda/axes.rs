//! The axes over which a kernel loops, for operands that are views.

use crate::error::bail;
use crate::Result;

/// The most axes that kernels loop over, `AXES` in common.cuh.
pub(crate) const AXES: usize = 6;

/// Sizes of the axes of a loop, and each operand's strides in elements: axes of size 1 are left
/// out, adjacent ones are joined where all operands allow it. In front, axes of size 1 fill up.
/// `Axes` in common.cuh has the same fields.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C)]
pub(crate) struct Axes<const N: usize> {
    pub dims: [u32; AXES],
    /// The first axis that does not just fill up; the last one if all do.
    pub first: u32,
    pub strides: [[i64; AXES]; N],
}

impl<const N: usize> Axes<N> {
    /// The axes of a loop over `dims`, in row-major order.
    ///
    /// # Errors
    /// If more axes are left than kernels loop over, or one is longer than 32 bits.
    pub fn new(dims: &[usize], strides: [&[usize]; N]) -> Result<Self> {
        // from the last axis to the first one
        let mut joined: Vec<(usize, [usize; N])> = Vec::new();
        for axis in (0..dims.len()).rev().filter(|axis| dims[*axis] != 1) {
            let own = strides.map(|strides| strides[axis]);
            let size = dims[axis];
            match joined.last_mut() {
                Some((inner, steps))
                    if (0..N).all(|i| own[i] == steps[i] * *inner)
                        && (*inner as u64 * size as u64) <= u64::from(u32::MAX) =>
                {
                    *inner *= size;
                }
                _ => joined.push((size, own)),
            }
        }
        if joined.len() > AXES {
            bail!(
                "a kernel for GPUs loops over {AXES} axes at most, got views of shape {dims:?}: \
                 reshape them to fewer axes, or use the CPU"
            );
        }
        let first = (AXES - joined.len().max(1)) as u32;
        let mut axes = Self { dims: [1; AXES], first, strides: [[0; AXES]; N] };
        for (i, (size, steps)) in joined.into_iter().enumerate() {
            let axis = AXES - 1 - i;
            let Ok(size) = u32::try_from(size) else { bail!("an axis of {size} is too long") };
            axes.dims[axis] = size;
            for (strides, step) in axes.strides.iter_mut().zip(steps) {
                strides[axis] = step as i64;
            }
        }
        Ok(axes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjacent_axes_are_joined_where_all_operands_allow_it() {
        let both = Axes::new(&[2, 3, 4], [&[12, 4, 1], &[12, 4, 1]]).unwrap();
        assert_eq!((both.dims, both.first), ([1, 1, 1, 1, 1, 24], 5));
        assert_eq!(both.strides, [[0, 0, 0, 0, 0, 1]; 2]);
        let row = Axes::new(&[2, 3, 4], [&[12, 4, 1], &[0, 0, 1]]).unwrap();
        assert_eq!((row.dims, row.first), ([1, 1, 1, 1, 6, 4], 4));
        assert_eq!(row.strides, [[0, 0, 0, 0, 4, 1], [0, 0, 0, 0, 0, 1]]);
        let scalar = Axes::new(&[1, 5], [&[7, 0]]).unwrap();
        assert_eq!((scalar.dims, scalar.strides), ([1, 1, 1, 1, 1, 5], [[0; AXES]]));
        assert_eq!(Axes::new(&[], [&[]]).unwrap().dims, [1; AXES]);
    }

    #[test]
    fn what_kernels_cannot_loop_over_is_refused() {
        let strides = [64, 32, 16, 8, 4, 2, 0];
        assert!(Axes::new(&[2; 7], [&strides.map(|s| s * 3)]).is_ok());
        assert!(Axes::new(&[2; 7], [&[1, 20, 3, 40, 5, 60, 7]]).is_err());
        assert!(Axes::new(&[1 << 33], [&[1]]).is_err());
    }
}
