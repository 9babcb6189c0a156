//! Concatenation of arrays.

#[cfg(feature = "cuda")]
use crate::cuda::{self, Gpu};
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::kernel::{arrays, run, Kernel};
#[cfg(feature = "cuda")]
use crate::ops::layout::{copy_to, narrow};
use crate::{Array, Element, Result};
use std::borrow::Borrow;
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// Kernel of [`Array::cat`].
#[derive(Clone)]
struct Concat {
    parts: Vec<Array>,
    axis: usize,
}

arrays!(Concat { parts });

impl Kernel for Concat {
    const NAME: &'static str = "cat";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let Some((first, others)) = self.parts.split_first() else { bail!("cat: no tensors") };
        let fits = |other: &&Array| {
            let alike = |(axis, (a, b)): (usize, (&usize, &usize))| axis == self.axis || a == b;
            other.dtype() == first.dtype()
                && other.rank() == first.rank()
                && first.dims().iter().zip(other.dims()).enumerate().all(alike)
        };
        if self.axis >= first.rank() {
            bail!("cat: there is no axis {} in shape {:?}", self.axis, first.dims());
        }
        match others.iter().find(|other| !fits(other)) {
            Some(other) => {
                bail!("cat: {:?} beside {:?} along axis {}", other.dims(), first.dims(), self.axis)
            }
            None => Ok(()),
        }
    }

    fn reference(&self) -> Result<Array> {
        let parts = self.parts.iter().map(Array::host).collect::<Result<Vec<_>>>()?;
        Ok(crate::array::HostArray::cat(&parts, self.axis)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.reference()
    }

    fn cpu_other<T: Element>(&self) -> Option<Result<Array>> {
        Some(self.reference())
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        let sizes: Vec<usize> = self.parts.iter().map(|part| part.dims()[self.axis]).collect();
        let mut dims = self.parts[0].dims().to_vec();
        dims[self.axis] = sizes.iter().sum();
        let y: Array = cuda::Array::uninit(gpu, self.parts[0].dtype(), dims.as_slice())?.into();
        let mut start = 0;
        for (part, size) in self.parts.iter().zip(sizes) {
            copy_to(narrow(&y, self.axis, start, size)?.cuda()?, part)?;
            start += size;
        }
        Ok(y)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(shapes, axis): (&[&[usize]], usize)| {
            let part =
                |(seed, dims): (usize, &&[usize])| crate::testing::normal64(dims, seed as u64);
            Self { parts: shapes.iter().enumerate().map(part).collect(), axis }
        };
        let all: [(&[&[usize]], usize); 4] = [
            (&[&[2, 3], &[1, 3]], 0),
            (&[&[2, 3, 4], &[2, 5, 4], &[2, 1, 4]], 1),
            (&[&[7]], 0),
            (&[&[0, 2], &[3, 2]], 0),
        ];
        all.map(of).into()
    }
}

impl Array {
    /// Concatenates arrays along `axis`. The other axes and the types must agree.
    ///
    /// # Errors
    /// If they do not, or there is no array.
    pub fn cat<A: Borrow<Array>>(arrays: &[A], axis: usize) -> Result<Self> {
        run(&Concat { parts: arrays.iter().map(|array| array.borrow().clone()).collect(), axis })
    }

    /// Stacks arrays of one shape along a new axis.
    ///
    /// # Errors
    /// If the shapes or types differ, or there is no array.
    pub fn stack<A: Borrow<Array>>(arrays: &[A], axis: usize) -> Result<Self> {
        let raised = arrays
            .iter()
            .map(|array| array.borrow().unsqueeze(axis))
            .collect::<Result<Vec<_>>>()?;
        Self::cat(&raised, axis)
    }

    /// Pads `axis` with zeros, `before` at its start and `behind` at its end.
    pub fn pad_with_zeros(&self, axis: usize, before: usize, behind: usize) -> Result<Self> {
        let zeros = |size: usize| {
            let mut dims = self.dims().to_vec();
            if let Some(dim) = dims.get_mut(axis) {
                *dim = size;
            }
            Self::zeros(dims, self.dtype(), &self.device())
        };
        match (before, behind) {
            (0, 0) => Ok(self.clone()),
            (0, _) => Self::cat(&[self, &zeros(behind)?], axis),
            (_, 0) => Self::cat(&[&zeros(before)?, self], axis),
            _ => Self::cat(&[&zeros(before)?, self, &zeros(behind)?], axis),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_reference() {
        crate::testing::assert_matches_reference::<Concat>(0.0);
    }
}
