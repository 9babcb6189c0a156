//! Element-wise selection between two arrays.

#[cfg(feature = "cuda")]
mod cuda;
use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
use crate::memory::alloc;
use crate::ops::layout::contiguous;
use crate::{Array, DType, Element, Result};
use half::{bf16, f16};
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

/// [`Array::where_cond`] for host arrays. Not candle's function of that name, which is compiled for
/// each pair of dtypes of the condition and the values: 0.5 MB of WebAssembly.
pub(crate) fn on_host(
    condition: &HostArray,
    yes: &HostArray,
    no: &HostArray,
) -> HostResult<HostArray> {
    match yes.dtype() {
        DType::U8 => pick::<u8>(condition, yes, no),
        DType::U32 => pick::<u32>(condition, yes, no),
        DType::I64 => pick::<i64>(condition, yes, no),
        DType::F16 => pick::<f16>(condition, yes, no),
        DType::BF16 => pick::<bf16>(condition, yes, no),
        DType::F32 => pick::<f32>(condition, yes, no),
        DType::F64 => pick::<f64>(condition, yes, no),
        dtype => Err(candle_core::Error::UnsupportedDTypeForOp(dtype, "select").bt()),
    }
}

fn pick<T: Element>(
    condition: &HostArray,
    yes: &HostArray,
    no: &HostArray,
) -> HostResult<HostArray> {
    if condition.elem_count() == 0 {
        return yes.zeros_like(); // candle would read past the end of the storage
    }
    let values = |x: &HostArray| x.flatten_all()?.to_vec1::<T>();
    let chosen = condition
        .flatten_all()?
        .to_vec1::<u8>()?
        .into_iter()
        .zip(values(yes)?.into_iter().zip(values(no)?))
        .map(|(condition, (yes, no))| if condition != 0 { yes } else { no });
    HostArray::from_vec(chosen.collect(), condition.shape(), condition.device())
}

impl Select {
    /// The CPU kernel.
    fn compute<T: Element>(&self) -> Result<Array> {
        let all = [contiguous(&self.condition)?, contiguous(&self.yes)?, contiguous(&self.no)?];
        let (condition, yes, no) =
            (host::slice::<u8>(&all[0])?, host::slice::<T>(&all[1])?, host::slice::<T>(&all[2])?);
        let mut chosen = alloc::with_capacity::<T>(condition.len())?;
        chosen.extend(condition.iter().zip(yes.iter().zip(no.iter())).map(
            |(condition, (yes, no))| {
                if *condition != 0 {
                    *yes
                } else {
                    *no
                }
            },
        ));
        host::array(chosen, self.condition.dims())
    }
}

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
        Ok(on_host(self.condition.host()?, self.yes.host()?, self.no.host()?)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.compute::<T>()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.compute::<T>())
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
