//! The second moment of Adafactor.

use crate::error::bail;
use crate::memory::alloc;
use crate::{Array, DType, Device, Result};

/// The running mean of the squared gradient.
#[derive(Clone, Debug)]
pub enum Second {
    /// Of each element: for weights with fewer than two axes.
    Full(Array),
    /// Of rows (.., n, 1) and columns (.., 1, m), of whose product it is estimated.
    Factored {
        /// The mean of each row.
        row: Array,
        /// The mean of each column.
        column: Array,
    },
}

impl Second {
    /// The shapes of the arrays for a weight of shape `dims`: one for [`Self::Full`], or rows and
    /// columns.
    pub fn shapes(dims: &[usize]) -> Vec<Vec<usize>> {
        let rank = dims.len();
        if rank < 2 {
            return vec![dims.to_vec()];
        }
        let without = |axis: usize| {
            let mut shape = dims.to_vec();
            shape[axis] = 1;
            shape
        };
        vec![without(rank - 1), without(rank - 2)]
    }

    /// A moment of zeros for a weight, of its type and on its device.
    pub fn zeros(weight: &Array) -> Result<Self> {
        let of = |shape: Vec<usize>| {
            alloc::check_on(&weight.device(), &shape, weight.dtype())?;
            Array::zeros(shape, weight.dtype(), &weight.device())
        };
        let all = Self::shapes(weight.dims()).into_iter().map(of).collect::<Result<Vec<_>>>()?;
        Self::of(all)
    }

    /// The moment with these arrays, in the order of [`Self::shapes`].
    ///
    /// # Errors
    /// If there are neither one nor two.
    pub fn of(arrays: Vec<Array>) -> Result<Self> {
        let count = arrays.len();
        let mut arrays = arrays.into_iter();
        match (arrays.next(), arrays.next()) {
            (Some(variance), None) => Ok(Self::Full(variance)),
            (Some(row), Some(column)) if count == 2 => Ok(Self::Factored { row, column }),
            _ => bail!("a second moment of {count} arrays"),
        }
    }

    /// The moment on a device.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        self.each(|array| array.to_device(device))
    }

    /// The arrays, in the order of [`Self::shapes`].
    pub fn arrays(&self) -> Vec<&Array> {
        match self {
            Self::Full(variance) => vec![variance],
            Self::Factored { row, column } => vec![row, column],
        }
    }

    pub(super) fn in_f32(&self) -> Result<Self> {
        self.to_dtype(DType::F32)
    }

    pub(super) fn to_dtype(&self, dtype: DType) -> Result<Self> {
        self.each(|array| array.to_dtype(dtype))
    }

    fn each(&self, f: impl Fn(&Array) -> Result<Array>) -> Result<Self> {
        Self::of(self.arrays().into_iter().map(f).collect::<Result<Vec<_>>>()?)
    }
}
