//! Functions of two arrays.

use super::broadcast::broadcast;
#[cfg(feature = "cuda")]
use super::cuda;
use crate::array::HostArray;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
use crate::ops::select;
use crate::{Array, Element, Result, Shape};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Functions of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a · b`.
    Mul,
    /// `a / b`.
    Div,
    /// The greater one; NaN if one of them is NaN.
    Max,
    /// The smaller one; NaN if one of them is NaN.
    Min,
}

/// Returns `y` if `second`, `x` if `first`, and NaN if both comparisons are false. A plain select
/// between `x` and `y` would be compiled to `relaxed_max` of WebAssembly relaxed SIMD, which may
/// lose NaN.
#[inline(always)]
pub(super) fn ordered<T: Copy + std::ops::Add<Output = T>>(
    second: bool,
    first: bool,
    x: T,
    y: T,
) -> T {
    if second {
        y
    } else if first {
        x
    } else {
        x + y
    }
}

/// Kernel of [`binary`].
#[derive(Clone)]
pub(super) struct BinaryKernel {
    pub(super) a: Array,
    pub(super) b: Array,
    pub(super) op: Binary,
}

arrays!(BinaryKernel { a, b });

impl BinaryKernel {
    /// The broadcast shape of the operands.
    fn dims(&self) -> Result<Shape> {
        if self.a.dims() == self.b.dims() {
            return Ok(self.a.shape().clone());
        }
        Ok(self.a.shape().broadcast_shape_binary_op(self.b.shape(), "broadcast")?)
    }

    /// CPU kernel, for any type.
    fn compute<T: Element>(&self) -> Result<Array> {
        let Self { a, b, op } = self;
        match op {
            Binary::Add => broadcast::<T>(a, b, |x, y| x + y),
            Binary::Sub => broadcast::<T>(a, b, |x, y| x - y),
            Binary::Mul => broadcast::<T>(a, b, |x, y| x * y),
            Binary::Div => broadcast::<T>(a, b, |x, y| x / y),
            Binary::Max => broadcast::<T>(a, b, |x, y| ordered(x < y, x >= y, x, y)),
            Binary::Min => broadcast::<T>(a, b, |x, y| ordered(x > y, x <= y, x, y)),
        }
    }
}

impl Kernel for BinaryKernel {
    const NAME: &'static str = "binary";
    type Out = Array;

    fn check(&self) -> Result<()> {
        if self.a.dtype() != self.b.dtype() {
            bail!("types {:?} and {:?} differ", self.a.dtype(), self.b.dtype());
        }
        self.dims().map(|_| ())
    }

    fn reference(&self) -> Result<Array> {
        let (a, b) = (self.a.host()?, self.b.host()?);
        let y = match self.op {
            Binary::Add => a.broadcast_add(b)?,
            Binary::Sub => a.broadcast_sub(b)?,
            Binary::Mul => a.broadcast_mul(b)?,
            Binary::Div => a.broadcast_div(b)?,
            Binary::Max => winner(a, b, |x, y| x.lt(y))?,
            Binary::Min => winner(a, b, |x, y| x.gt(y))?,
        };
        Ok(y.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.compute::<T>()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.compute::<T>())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::binary(&self.a, &self.b, self.op as u32, self.dims()?, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let shapes: [(&[usize], &[usize]); 14] = [
            (&[7, 500], &[7, 500]),
            (&[2, 3, 5], &[5]),
            (&[2, 3, 5], &[3, 1]),
            (&[2, 1, 5], &[3, 1]),
            (&[4, 1], &[1, 6]),
            (&[], &[3, 4]),
            (&[1, 1], &[1]),
            (&[1], &[100_000]),
            (&[3, 70, 130], &[1, 70, 130]),
            (&[3, 1, 130], &[3, 70, 1]),
            (&[2, 5, 40, 40], &[5, 1, 1]),
            (&[20_000], &[2, 1]),
            (&[0, 3], &[3]),
            (&[40, 30], &[40, 1]),
        ];
        let all = [Binary::Add, Binary::Sub, Binary::Mul, Binary::Div, Binary::Max, Binary::Min];
        let both = |(one, other): (&[usize], &[usize])| {
            // Divisors that are not close to 0.
            let b = crate::testing::normal64(other, 2);
            let b = crate::testing::map(&b, |x| x + x.signum());
            let a = crate::testing::normal64(one, 1);
            all.map(|op| {
                [
                    Self { a: a.clone(), b: b.clone(), op },
                    Self { a: b.clone(), b: crate::testing::map(&a, |x| x + x.signum()), op },
                ]
            })
        };
        shapes.into_iter().flat_map(both).flatten().collect()
    }
}

/// `b` where it wins over `a` or is NaN, otherwise `a`.
fn winner(
    a: &HostArray,
    b: &HostArray,
    wins: impl Fn(&HostArray, &HostArray) -> candle_core::Result<HostArray>,
) -> candle_core::Result<HostArray> {
    let dims = a.shape().broadcast_shape_binary_op(b.shape(), "broadcast")?;
    let (a, b) = (a.broadcast_as(&dims)?, b.broadcast_as(&dims)?);
    select::on_host(&wins(&a, &b)?.maximum(&b.ne(&b)?)?, &b, &a)
}

/// Applies `op` to `a` and `b` element by element, with broadcasting. The operands must have the
/// same type.
///
/// # Errors
/// If the types differ, or the shapes cannot be broadcast.
pub fn binary(a: &Array, b: &Array, op: Binary) -> Result<Array> {
    run(&BinaryKernel { a: a.clone(), b: b.clone(), op })
}

/// Computes `a + b` with broadcasting.
pub fn add(a: &Array, b: &Array) -> Result<Array> {
    binary(a, b, Binary::Add)
}

/// Computes `a - b` with broadcasting.
pub fn sub(a: &Array, b: &Array) -> Result<Array> {
    binary(a, b, Binary::Sub)
}

/// Computes `a · b` element by element, with broadcasting.
pub fn mul(a: &Array, b: &Array) -> Result<Array> {
    binary(a, b, Binary::Mul)
}

/// Computes `a / b` element by element, with broadcasting.
pub fn div(a: &Array, b: &Array) -> Result<Array> {
    binary(a, b, Binary::Div)
}
