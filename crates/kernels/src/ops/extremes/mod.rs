//! Maximum and minimum along axes, and their positions.
//!
//! NaN propagates, as in PyTorch: if a value is NaN, maximum and minimum are NaN, and their
//! position is that of the first NaN.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(test)]
mod tests;

use crate::array::HostArray;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::contiguous;
use crate::ops::reduce::by_axes;
use crate::ops::select;
use crate::{Array, DType, Element, Result};
use cpu::{extreme_axis, larger, position_on_last_axis, row_max, row_min, smaller};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// The kinds of extreme value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The maximum.
    Max,
    /// The minimum.
    Min,
}

/// Kernel of [`extreme`].
#[derive(Clone)]
pub(super) struct Reduce {
    x: Array,
    axes: Vec<usize>,
    kind: Extreme,
}

/// Kernel of [`position`].
#[derive(Clone)]
pub(super) struct Position {
    x: Array,
    axis: usize,
    kind: Extreme,
}

arrays! {
    Reduce { x }
    Position { x }
}

/// Checks that the axes exist and are not empty.
fn check(x: &Array, axes: &[usize]) -> Result<()> {
    match axes.iter().find(|axis| x.dims().get(**axis).is_none_or(|size| *size == 0)) {
        Some(axis) => bail!("axis {axis} of shape {:?} holds nothing", x.dims()),
        None => Ok(()),
    }
}

/// The result for an empty array whose reduced axes are not empty.
fn empty_result(x: &Array, axes: &[usize], dtype: DType) -> Result<Array> {
    let size = |(axis, size): (usize, &usize)| if axes.contains(&axis) { 1 } else { *size };
    Array::zeros(x.dims().iter().enumerate().map(size).collect::<Vec<_>>(), dtype, &x.device())
}

#[cfg(test)]
pub(super) const SIZES: [(&[usize], &[usize]); 12] = [
    (&[2, 3, 5], &[2]),
    (&[2, 3, 5], &[1]),
    (&[2, 3, 5], &[0]),
    (&[2, 3, 5], &[0, 2]),
    (&[2, 3, 5], &[]),
    (&[4, 1, 6], &[1, 2]),
    (&[2, 3, 4, 5, 6], &[1, 3]),
    (&[3, 20_000], &[1]),
    (&[20_000, 3], &[0]),
    (&[3, 8, 9000], &[1]),
    (&[0, 3], &[1]),
    (&[3, 2, 0], &[1]),
];

/// Numbers with many equal values.
#[cfg(test)]
pub(super) fn numbers(dims: &[usize]) -> Array {
    crate::testing::map(&crate::testing::normal64(dims, 1), |x| (20.0 * x.abs()).floor())
}

impl Kernel for Reduce {
    const NAME: &'static str = "extreme";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.x, &self.axes)
    }

    fn reference(&self) -> Result<Array> {
        let (x, kind) = (self.x.host()?, self.kind);
        if x.elem_count() == 0 {
            return empty_result(&self.x, &self.axes, x.dtype());
        }
        let mut y = x.clone();
        // candle ignores NaN.
        let mut missing = x.ne(x)?;
        for axis in &self.axes {
            y = if kind == Extreme::Max { y.max_keepdim(*axis)? } else { y.min_keepdim(*axis)? };
            missing = missing.max_keepdim(*axis)?;
        }
        if !x.dtype().is_float() {
            return Ok(y.into());
        }
        let nan = HostArray::full(f64::NAN, y.shape(), y.device())?.to_dtype(y.dtype())?;
        Ok(select::on_host(&missing, &nan, &y)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.compute::<T>()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.compute::<T>())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::extreme(&self.x, &self.axes, self.kind == Extreme::Min, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(dims, axes): (&[usize], &[usize])| {
            [Extreme::Max, Extreme::Min].map(|kind| Self {
                x: numbers(dims),
                axes: axes.into(),
                kind,
            })
        };
        SIZES.into_iter().flat_map(of).collect()
    }
}

impl Reduce {
    /// CPU kernel, for any type.
    fn compute<T: Element>(&self) -> Result<Array> {
        let Self { x, axes, kind } = self;
        match kind {
            Extreme::Max => {
                by_axes::<T>(x, axes, |xs, dims| extreme_axis(xs, dims, row_max, larger))
            }
            Extreme::Min => {
                by_axes::<T>(x, axes, |xs, dims| extreme_axis(xs, dims, row_min, smaller))
            }
        }
    }
}

impl Kernel for Position {
    const NAME: &'static str = "position";
    type Out = Array;

    fn check(&self) -> Result<()> {
        check(&self.x, &[self.axis])
    }

    fn reference(&self) -> Result<Array> {
        let (x, axis) = (self.x.host()?, self.axis);
        if x.elem_count() == 0 {
            return empty_result(&self.x, &[axis], DType::I64);
        }
        let missing = x.ne(x)?;
        let first = missing.argmax_keepdim(axis)?;
        let missing = missing.max_keepdim(axis)?;
        let number = match self.kind {
            Extreme::Max => x.argmax_keepdim(axis)?,
            Extreme::Min => x.to_dtype(DType::F64)?.neg()?.argmax_keepdim(axis)?,
        };
        let index = select::on_host(&missing, &first, &number)?;
        Ok(index.to_dtype(DType::I64)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.compute::<T>()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.compute::<T>())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::position(&self.x, self.axis, self.kind == Extreme::Min, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let one = |(dims, axes): (&[usize], &[usize])| match axes {
            [axis] => Some([Extreme::Max, Extreme::Min].map(|kind| Self {
                x: numbers(dims),
                axis: *axis,
                kind,
            })),
            _ => None,
        };
        SIZES.into_iter().filter_map(one).flatten().collect()
    }
}

impl Position {
    /// CPU kernel, for any type.
    fn compute<T: Element>(&self) -> Result<Array> {
        let last = self.x.rank() - 1;
        let lines = contiguous(&self.x.transpose(self.axis, last)?)?;
        let row = if self.kind == Extreme::Max { row_max } else { row_min };
        position_on_last_axis::<T>(&lines, row)?.transpose(self.axis, last)
    }
}

/// Computes the maximum or minimum of `x` over `axes`, each of which is kept with size 1. No axis
/// may be given twice.
///
/// # Errors
/// If an axis does not exist or is empty.
pub fn extreme(x: &Array, axes: &[usize], kind: Extreme) -> Result<Array> {
    run(&Reduce { x: x.clone(), axes: axes.into(), kind })
}

/// Computes the index of the maximum or minimum along `axis`, which is kept with size 1, as i64. If
/// several values are equal, the first one counts.
///
/// # Errors
/// If the axis does not exist or is empty.
pub fn position(x: &Array, axis: usize, kind: Extreme) -> Result<Array> {
    run(&Position { x: x.clone(), axis, kind })
}
