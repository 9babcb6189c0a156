//! Logits as plain numbers.

use crate::{Array, DType, Device, Error, Result, Tensor};
use std::ops::Neg;
use xt_kernels::host::to_vec;
use xt_kernels::memory::alloc;

/// Logits of shape (.., width), copied to the CPU once.
pub struct LogitsTable {
    numbers: Numbers,
    width: usize,
}

/// The values: f32 logits stay f32, all others become f64.
enum Numbers {
    Single(Vec<f32>),
    Double(Vec<f64>),
}

impl LogitsTable {
    /// Copies `logits`, (.., width).
    ///
    /// # Errors
    /// The logits are no floating-point values, have no axis or no elements, or memory does not
    /// suffice.
    pub fn read(logits: &Tensor) -> Result<Self> {
        if logits.rank() == 0 || !logits.dtype().is_float() || logits.elem_count() == 0 {
            return Error::shape(format!(
                "logits must be floating-point of shape (rows, num_tokens), got {logits:?}"
            ));
        }
        let array = logits.array()?.to_device(&Device::Cpu)?;
        let numbers = match logits.dtype() {
            DType::F32 => Numbers::Single(to_vec(&array)?),
            _ => {
                alloc::check_like(&array, DType::F64, 1)?;
                Numbers::Double(to_vec(&array.to_dtype(DType::F64)?)?)
            }
        };
        Ok(Self { numbers, width: logits.dim(logits.rank() - 1) })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        let count = match &self.numbers {
            Numbers::Single(x) => x.len(),
            Numbers::Double(x) => x.len(),
        };
        count / self.width
    }

    /// The number of columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether row `i` contains a NaN.
    pub fn has_nan(&self, i: usize) -> bool {
        let range = i * self.width..(i + 1) * self.width;
        match &self.numbers {
            Numbers::Single(x) => x[range].iter().any(|x| x.is_nan()),
            Numbers::Double(x) => x[range].iter().any(|x| x.is_nan()),
        }
    }

    /// If a row contains +inf, only those tokens are possible, with equal probability: replaces
    /// +inf by 0 and all others by -inf, to avoid differences of infinities.
    pub fn force_infinite(&mut self) {
        match &mut self.numbers {
            Numbers::Single(x) => force(x, self.width, f32::INFINITY, 0.0),
            Numbers::Double(x) => force(x, self.width, f64::INFINITY, 0.0),
        }
    }

    /// Overwrites `row` with row `i`.
    pub fn copy_row(&self, i: usize, row: &mut Vec<f64>) {
        let range = i * self.width..(i + 1) * self.width;
        row.clear();
        match &self.numbers {
            Numbers::Single(x) => row.extend(x[range].iter().map(|x| f64::from(*x))),
            Numbers::Double(x) => row.extend_from_slice(&x[range]),
        }
    }

    /// A copy of row `i`.
    pub fn row(&self, i: usize) -> Vec<f64> {
        let mut row = Vec::with_capacity(self.width);
        self.copy_row(i, &mut row);
        row
    }

    /// Replaces one element by `change` of its value; ignores columns outside of the table.
    pub fn change(&mut self, row: usize, column: usize, change: impl Fn(f64) -> f64) {
        if column >= self.width {
            return;
        }
        let at = row * self.width + column;
        match &mut self.numbers {
            Numbers::Single(x) => x[at] = change(f64::from(x[at])) as f32,
            Numbers::Double(x) => x[at] = change(x[at]),
        }
    }

    /// A tensor with these values, and the shape, type and device of `like`.
    pub fn like(self, like: &Tensor) -> Result<Tensor> {
        let array = match self.numbers {
            Numbers::Single(x) => Array::from_vec(x, like.dims(), &Device::Cpu)?,
            Numbers::Double(x) => Array::from_vec(x, like.dims(), &Device::Cpu)?,
        };
        Ok(Tensor::constant(array.to_dtype(like.dtype())?.to_device(&like.device())?))
    }
}

/// [`LogitsTable::force_infinite`] for one type.
fn force<T: Copy + PartialEq + Neg<Output = T>>(all: &mut [T], width: usize, infinity: T, zero: T) {
    for row in all.chunks_exact_mut(width).filter(|row| row.contains(&infinity)) {
        row.iter_mut().for_each(|x| *x = if *x == infinity { zero } else { -infinity });
    }
}
