//! Element-wise selection between two arrays.

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
use crate::{Array, DType, Element, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`Array::where_cond`].
#[derive(Clone)]
struct Select {
    yes: Array,
    no: Array,
    condition: Array,
}

arrays!(Select { yes, no, condition });

impl Kernel for Select {
    const NAME: &'static str = "select";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let Self { yes, no, condition } = self;
        if condition.dtype() != DType::U8 || yes.dtype() != no.dtype() {
            bail!("a condition {:?} of {:?} and {:?}", condition.dtype(), yes.dtype(), no.dtype());
        }
        if yes.dims() != condition.dims() || no.dims() != condition.dims() {
            bail!("a condition {:?} of {:?} and {:?}", condition.dims(), yes.dims(), no.dims());
        }
        Ok(())
    }

    fn reference(&self) -> Result<Array> {
        Ok(self.condition.host()?.where_cond(self.yes.host()?, self.no.host()?)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.reference()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.reference())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        cuda::select(&self.yes, &self.no, &self.condition, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        use crate::testing::normal64;
        let of = |dims: &[usize]| {
            let condition = normal64(dims, 3).gt(&normal64(dims, 4)).unwrap();
            Self { yes: normal64(dims, 1), no: normal64(dims, 2), condition }
        };
        [&[5, 30][..], &[7], &[], &[0, 3]].map(of).into()
    }
}

impl Array {
    /// Selects `yes` where `self`, u8, is not 0, otherwise `no`. All arrays have the same shape.
    ///
    /// # Errors
    /// If the shapes differ, `yes` and `no` have different types, or `self` is not u8.
    pub fn where_cond(&self, yes: &Self, no: &Self) -> Result<Self> {
        run(&Select { yes: yes.clone(), no: no.clone(), condition: self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_reference() {
        crate::testing::assert_matches_reference::<Select>(0.0);
    }
}
