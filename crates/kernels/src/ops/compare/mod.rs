//! Element-wise comparisons with broadcasting.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
use crate::memory::alloc;
use crate::{Array, DType, Element, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// The kinds of comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Equal. False if an operand is NaN.
    Eq,
    /// Not equal. True if an operand is NaN.
    Ne,
    /// Less than.
    Lt,
    /// Less than or equal.
    Le,
    /// Greater than.
    Gt,
    /// Greater than or equal.
    Ge,
}

/// Kernel of [`compare`].
#[derive(Clone)]
struct Compare {
    a: Array,
    b: Array,
    op: Comparison,
}

arrays!(Compare { a, b });

impl Kernel for Compare {
    const NAME: &'static str = "compare";
    type Out = Array;

    fn check(&self) -> Result<()> {
        if self.a.dtype() != self.b.dtype() {
            bail!("types {:?} and {:?} differ", self.a.dtype(), self.b.dtype());
        }
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        let (a, b) = (self.a.host()?, self.b.host()?);
        let y = match self.op {
            Comparison::Eq => a.broadcast_eq(b)?,
            Comparison::Ne => a.broadcast_ne(b)?,
            Comparison::Lt => a.broadcast_lt(b)?,
            Comparison::Le => a.broadcast_le(b)?,
            Comparison::Gt => a.broadcast_gt(b)?,
            Comparison::Ge => a.broadcast_ge(b)?,
        };
        Ok(y.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.compute()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.compute())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::compare(&self.a, &self.b, self.op as u32, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let all = [
            Comparison::Eq,
            Comparison::Ne,
            Comparison::Lt,
            Comparison::Le,
            Comparison::Gt,
            Comparison::Ge,
        ];
        let whole = |dims: &[usize], seed| {
            crate::testing::map(&crate::testing::normal64(dims, seed), f64::round)
        };
        let of = |(a, b): (&[usize], &[usize])| {
            all.map(|op| Self { a: whole(a, 1), b: whole(b, 2), op })
        };
        let shapes: [(&[usize], &[usize]); 4] =
            [(&[5, 30], &[5, 30]), (&[5, 30], &[30]), (&[4, 1], &[6]), (&[0], &[1])];
        shapes.into_iter().flat_map(of).collect()
    }
}

impl Compare {
    /// The reference, if there is memory for the result.
    fn compute(&self) -> Result<Array> {
        let dims = self.a.shape().broadcast_shape_binary_op(self.b.shape(), "compare")?;
        alloc::check(dims.dims(), DType::U8)?;
        self.reference()
    }
}

/// Compares `a` and `b` element by element, with broadcasting. Returns u8: 1 where the comparison
/// is true, otherwise 0.
///
/// # Errors
/// If the types differ, or the shapes cannot be broadcast.
pub fn compare(a: &Array, b: &Array, op: Comparison) -> Result<Array> {
    run(&Compare { a: a.clone(), b: b.clone(), op })
}

#[allow(clippy::should_implement_trait)]
impl Array {
    /// `self == other` with broadcasting, as u8.
    pub fn eq(&self, other: &Self) -> Result<Self> {
        compare(self, other, Comparison::Eq)
    }

    /// `self != other` with broadcasting, as u8.
    pub fn ne(&self, other: &Self) -> Result<Self> {
        compare(self, other, Comparison::Ne)
    }

    /// `self < other` with broadcasting, as u8.
    pub fn lt(&self, other: &Self) -> Result<Self> {
        compare(self, other, Comparison::Lt)
    }

    /// `self <= other` with broadcasting, as u8.
    pub fn le(&self, other: &Self) -> Result<Self> {
        compare(self, other, Comparison::Le)
    }

    /// `self > other` with broadcasting, as u8.
    pub fn gt(&self, other: &Self) -> Result<Self> {
        compare(self, other, Comparison::Gt)
    }

    /// `self >= other` with broadcasting, as u8.
    pub fn ge(&self, other: &Self) -> Result<Self> {
        compare(self, other, Comparison::Ge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn equals_the_reference() {
        crate::testing::assert_matches_reference::<Compare>(0.0);
    }

    #[test]
    fn a_result_that_is_too_large_is_an_error() {
        let x = crate::testing::on_device(&crate::testing::normal(&[1, 1], 1));
        let (row, column) = ((1, 1 << 25), (1 << 25, 1));
        let [row, column] = [row, column].map(|dims| x.broadcast_as(dims).unwrap());
        let error = compare(&row, &column, Comparison::Eq).unwrap_err();
        assert!(matches!(error, Error::OutOfMemory(_)), "{error}");
    }
}
