//! Token shift: segments of the features come from neighbouring positions.
//!
//! Shapes: `x` and `y` are (batch, n, dim), the mask, u8, (batch, n). With s shifts the first s segments of dim / s features move, each by its
//! number of positions, towards later ones where it is positive; zeros come in. Features that are left over stay, and so does a segment whose shift is 0.
//! Source: RWKV, <https://github.com/BlinkDL/RWKV-LM>.

use crate::host::parallel::{computed, rows_per_piece};
use crate::host::{self, dispatch, Real};
use crate::ops::elementwise;
use crate::ops::layout::{contiguous, narrow};
use crate::{Array, DType, Result};

/// How far each segment moves, and the positions that are there: others move into none.
#[derive(Clone, Copy)]
pub struct Shifts<'a> {
    pub by: &'a [i64],
    pub mask: Option<&'a Array>,
}

impl Shifts<'_> {
    /// Features of a segment; an error where the shapes do not fit.
    fn width(&self, x: &Array) -> Result<usize> {
        let (batch, n, dim) = x.dims3()?;
        if let Some(mask) = self.mask.filter(|mask| mask.dims() != [batch, n]) {
            candle_core::bail!("a mask of shape {:?} does not fit {:?}", mask.dims(), x.dims());
        }
        match dim.checked_div(self.by.len()) {
            None | Some(0) => candle_core::bail!("{dim} features are too few for {} shifts", self.by.len()),
            Some(width) => Ok(width),
        }
    }
}

/// Which of the two positions of a move the mask is asked about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Masked {
    Source,
    Target,
}

/// The shift on candle's own operations.
pub fn reference(x: &Array, shifts: Shifts) -> Result<Array> {
    let width = shifts.width(x)?;
    let clean = present(x, shifts.mask)?;
    joined(x, shifts.by, width, |segment, by| moved(&narrow(&clean, 2, segment, width)?, by))
}

fn backward_reference(grad: &Array, shifts: Shifts) -> Result<Array> {
    let width = shifts.width(grad)?;
    joined(grad, shifts.by, width, |segment, by| present(&moved(&narrow(grad, 2, segment, width)?, -by)?, shifts.mask))
}

/// Zeros at positions that are not there.
fn present(x: &Array, mask: Option<&Array>) -> Result<Array> {
    match mask {
        Some(mask) => elementwise::mul(x, &mask.ne(&mask.zeros_like()?)?.to_dtype(x.dtype())?.unsqueeze(2)?),
        None => Ok(x.clone()),
    }
}

fn joined(x: &Array, by: &[i64], width: usize, part: impl Fn(usize, i64) -> Result<Array>) -> Result<Array> {
    let segment = |(i, by): (usize, &i64)| if *by == 0 { narrow(x, 2, i * width, width) } else { part(i * width, *by) };
    let mut parts = by.iter().enumerate().map(segment).collect::<Result<Vec<_>>>()?;
    let done = width * by.len();
    if done < x.dim(2)? {
        parts.push(narrow(x, 2, done, x.dim(2)? - done)?);
    }
    Array::cat(&parts, 2)
}

fn moved(x: &Array, by: i64) -> Result<Array> {
    let n = x.dim(1)?;
    let far = (by.unsigned_abs() as usize).min(n);
    if far == n {
        x.zeros_like()
    } else if by > 0 {
        narrow(x, 1, 0, n - far)?.pad_with_zeros(1, far, 0)
    } else {
        narrow(x, 1, far, n - far)?.pad_with_zeros(1, 0, far)
    }
}

/// `x` shifted.
pub fn forward(x: &Array, shifts: Shifts) -> Result<Array> {
    dispatch!(x, T => shifted::<T>(x, shifts.by, shifts, Masked::Source), else reference(x, shifts))
}

/// Gradient of `x` for `grad`, that of `y`.
pub fn backward(grad: &Array, shifts: Shifts) -> Result<Array> {
    let back: Vec<i64> = shifts.by.iter().map(|by| -by).collect();
    dispatch!(grad, T => shifted::<T>(grad, &back, shifts, Masked::Target), else backward_reference(grad, shifts))
}

fn shifted<T: Real>(x: &Array, by: &[i64], shifts: Shifts, masked: Masked) -> Result<Array> {
    let (_, n, dim) = x.dims3()?;
    let width = shifts.width(x)?;
    let x = contiguous(x)?;
    let xs = host::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    let mask = shifts.mask.map(|mask| mask.to_dtype(DType::U8)?.flatten_all()?.to_vec1::<u8>()).transpose()?;
    let rows = rows_per_piece(dim);
    let y = computed(xs.len(), rows * dim, |piece, y: &mut [T]| {
        for (i, y) in y.chunks_exact_mut(dim).enumerate() {
            let row = piece * rows + i;
            let (sequence, at) = (row / n, row % n);
            for (segment, by) in by.iter().enumerate() {
                let features = segment * width..(segment + 1) * width;
                let source = (at as i64).checked_sub(*by).and_then(|at| usize::try_from(at).ok()).filter(|at| *at < n);
                let Some(source) = source.map(|at| sequence * n + at) else { continue };
                let asked = if masked == Masked::Source { source } else { row };
                if *by == 0 || mask.as_ref().is_none_or(|mask| mask[asked] != 0) {
                    y[features.clone()].copy_from_slice(&xs[source * dim..][features]);
                }
            }
            let done = width * by.len();
            y[done..].copy_from_slice(&xs[row * dim..][done..dim]);
        }
    })?;
    host::array(y, x.dims())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{close, differences, f64s, normal};
    use crate::Device;

    fn mask(batch: usize, n: usize) -> Array {
        let there: Vec<u8> = (0..batch * n).map(|i| u8::from(i % 3 != 1)).collect();
        Array::from_vec(there, (batch, n), &Device::Cpu).unwrap()
    }

    #[test]
    fn equals_the_reference() {
        for (dims, by) in [
            ([2, 5, 7], vec![0, 1]),
            ([3, 4, 9], vec![-1, 0, 1]),
            ([1, 1, 6], vec![0, 1, 2]),
            ([2, 300, 40], vec![0, 1, 9]),
        ] {
            let x = normal(&dims, 1);
            let there = mask(dims[0], dims[1]);
            for mask in [None, Some(&there)] {
                let shifts = Shifts { by: &by, mask };
                close(&forward(&x, shifts).unwrap(), &reference(&x, shifts).unwrap(), 0.0);
                close(&backward(&x, shifts).unwrap(), &backward_reference(&x, shifts).unwrap(), 0.0);
                let wide = f64s(&x.narrow(1, 0, dims[1].min(4)).unwrap().contiguous().unwrap());
                let part = mask.map(|mask| mask.narrow(1, 0, dims[1].min(4)).unwrap().contiguous().unwrap());
                let shifts = Shifts { by: &by, mask: part.as_ref() };
                let weight = f64s(&normal(wide.dims(), 2));
                if wide.elem_count() < 100 {
                    differences(&wide, &weight, &backward(&weight, shifts).unwrap(), |x| forward(x, shifts).unwrap());
                }
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let x = normal(&[2, 3, 2], 1);
        assert!(forward(&x, Shifts { by: &[0, 1, 2], mask: None }).is_err());
        assert!(forward(&x, Shifts { by: &[], mask: None }).is_err());
        assert!(forward(&x, Shifts { by: &[0, 1], mask: Some(&mask(2, 2)) }).is_err());
        assert!(forward(&normal(&[3, 2], 1), Shifts { by: &[0, 1], mask: None }).is_err());
        assert!(forward(&x, Shifts { by: &[i64::MIN, i64::MAX], mask: None }).is_ok());
    }
}
