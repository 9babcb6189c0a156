//! The inputs of a case.

use crate::error::Result;
use xt_core::{Array, DType, Device};
use xt_kernels::philox::Stream;

/// All dtypes that arrays on a GPU have.
pub const ALL: &[DType] =
    &[DType::F32, DType::F64, DType::F16, DType::BF16, DType::I64, DType::U32, DType::U8];

/// Makes the inputs of a case: the same numbers for the GPU and the CPU.
pub struct Inputs {
    /// Where they lie.
    pub device: Device,
    /// The dtype that is checked.
    pub dtype: DType,
    /// Whether floating-point numbers, once rounded to `dtype`, become f64: for the exact results.
    pub exact: bool,
    /// Whether sizes are small.
    pub quick: bool,
}

impl Inputs {
    /// One of two sizes.
    pub fn size(&self, large: usize, small: usize) -> usize {
        if self.quick {
            small
        } else {
            large
        }
    }

    /// Standard normal numbers in `dtype`.
    ///
    /// # Errors
    /// If memory is short.
    pub fn normal(&self, dims: &[usize], seed: u64) -> Result<Array> {
        self.floats(dims, seed, |x| x)
    }

    /// `f` of standard normal numbers, in `dtype`.
    ///
    /// # Errors
    /// If memory is short.
    pub fn floats(&self, dims: &[usize], seed: u64, f: impl Fn(f64) -> f64) -> Result<Array> {
        let numbers = Stream { seed, call: 0, draw: 0 }.normal(dims.iter().product());
        let numbers = numbers.into_iter().map(f).collect();
        let mut array = Array::from_vec(numbers, dims, &Device::Cpu)?.to_dtype(self.dtype)?;
        if self.exact {
            array = array.to_dtype(DType::F64)?;
        }
        Ok(array.to_device(&self.device)?)
    }

    /// Normal numbers, or integers below `bound`, by `dtype`.
    ///
    /// # Errors
    /// If memory is short.
    pub fn any(&self, dims: &[usize], bound: u64, seed: u64) -> Result<Array> {
        match self.dtype.is_float() {
            true => self.normal(dims, seed),
            false => {
                let host = Array::from_vec(drawn(dims, bound, seed), dims, &Device::Cpu)?;
                Ok(host.to_dtype(self.dtype)?.to_device(&self.device)?)
            }
        }
    }

    /// Indices below `bound`, i64.
    ///
    /// # Errors
    /// If memory is short.
    pub fn ids(&self, dims: &[usize], bound: usize, seed: u64) -> Result<Array> {
        Ok(Array::from_vec(drawn(dims, bound as u64, seed), dims, &self.device)?)
    }

    /// A mask, u8, in which one of four entries is 0.
    ///
    /// # Errors
    /// If memory is short.
    pub fn mask(&self, dims: &[usize], seed: u64) -> Result<Array> {
        let bits = drawn(dims, 4, seed).into_iter().map(|drawn| u8::from(drawn != 0)).collect();
        Ok(Array::from_vec(bits, dims, &self.device)?)
    }

    /// The documents of packed rows, i64 `(batch, n, 2)`, shorter and longer ones: the first
    /// position of the document of each position, and the one after the last.
    ///
    /// # Errors
    /// If memory is short.
    pub fn documents(&self, batch: usize, n: usize) -> Result<Array> {
        let mut ranges = Vec::new();
        for row in 0..batch {
            let (mut start, mut length) = (0, row + 1);
            while start < n {
                let end = n.min(start + length);
                (start..end).for_each(|_| ranges.extend([start as i64, end as i64]));
                (start, length) = (end, 2 * length + 1);
            }
        }
        Ok(Array::from_vec(ranges, (batch, n, 2), &self.device)?)
    }
}

fn drawn(dims: &[usize], bound: u64, seed: u64) -> Vec<i64> {
    let numbers = Stream { seed, call: 1, draw: 0 }.below(bound, dims.iter().product());
    numbers.into_iter().map(|number| number as i64).collect()
}
