//! Conversion between number types, with the semantics of `as` in Rust. See [`crate::ops::convert`]
//! for the checked conversion to integers.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
use crate::{Array, DType, Element, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`Array::to_dtype`].
#[derive(Clone)]
struct Cast {
    x: Array,
    dtype: DType,
}

arrays!(Cast { x });

impl Kernel for Cast {
    const NAME: &'static str = "cast";
    type Out = Array;

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        Ok(self.x.host()?.to_dtype(self.dtype)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.reference()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.reference())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::cast(&self.x, self.dtype, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |dtype| Self { x: crate::testing::normal64(&[5, 30], 1), dtype };
        [DType::F64, DType::F32].map(of).into()
    }
}

impl Array {
    /// Converts the values to another type, with the semantics of `as` in Rust.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        if self.dtype() == dtype {
            return Ok(self.clone());
        }
        run(&Cast { x: self.clone(), dtype })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_reference() {
        crate::testing::assert_matches_reference::<Cast>(1e-7);
    }
}
