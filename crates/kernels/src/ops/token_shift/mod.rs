//! Token shift: segments of the features are taken from neighbouring positions.
//!
//! Shapes: `x` and `y` are (batch, n, dim), the mask is (batch, n), u8.
//!
//! With s shifts, the first s segments of dim / s features (rounded down) move by one shift each:
//! to later positions if the shift is positive, to earlier ones if it is negative. Vacated
//! positions are filled with zeros. Remaining features, and segments with a shift of 0, stay
//! unchanged.
//!
//! Source: RWKV, <https://github.com/BlinkDL/RWKV-LM>.

#[cfg(feature = "cuda")]
mod cuda;

use crate::array::{HostArray, HostResult};
#[cfg(feature = "cuda")]
use crate::cuda::Gpu;
use crate::error::bail;
use crate::host::gemm::blas::Blas;
use crate::host::parallel::{build_zeroed, rows_per_piece};
use crate::host::{self, Real};
use crate::kernel::{arrays, run, Kernel};
use crate::ops::layout::{contiguous, narrow_on_host};
use crate::{Array, DType, Result};
#[cfg(feature = "cuda")]
use std::sync::Arc;

/// The shifts of the segments, and the mask of the sequence.
#[derive(Clone, Copy)]
pub struct Shifts<'a> {
    /// Number of positions that each segment moves by.
    pub by: &'a [i64],
    /// Mask, u8, (batch, n): 0 for padding, whose features do not move to other positions.
    pub mask: Option<&'a Array>,
}

/// Whether the mask applies to the source or to the target position of a move.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Masked {
    /// The source: in the forward pass.
    Source,
    /// The target: in the backward pass.
    Target,
}

/// Kernel of [`forward`] and [`backward`].
#[derive(Clone)]
struct Shift {
    x: Array,
    mask: Option<Array>,
    by: Vec<i64>,
    masked: Masked,
}

arrays!(Shift { x, mask });

impl Shift {
    /// The number of features of a segment.
    fn width(&self) -> usize {
        self.x.dims().last().map_or(0, |dim| dim / self.by.len().max(1))
    }
}

impl Kernel for Shift {
    const NAME: &'static str = "token_shift";
    type Out = Array;

    fn check(&self) -> Result<()> {
        let (batch, n, dim) = self.x.dims3()?;
        if let Some(mask) = self.mask.as_ref().filter(|mask| mask.dims() != [batch, n]) {
            bail!("a mask of shape {:?} does not fit {:?}", mask.dims(), self.x.dims());
        }
        match dim.checked_div(self.by.len()) {
            None | Some(0) => bail!("{dim} features are too few for {} shifts", self.by.len()),
            Some(_) => Ok(()),
        }
    }

    fn reference(&self) -> Result<Array> {
        let (x, width) = (self.x.host()?, self.width());
        let present = self.mask.as_ref().map(Array::host).transpose()?;
        let clean =
            if self.masked == Masked::Source { zero_masked(x, present)? } else { x.clone() };
        let segment = |(i, by): (usize, &i64)| {
            if *by == 0 {
                return narrow_on_host(x, 2, i * width, width);
            }
            let y = shift_positions(&narrow_on_host(&clean, 2, i * width, width)?, *by)?;
            if self.masked == Masked::Source {
                Ok(y)
            } else {
                zero_masked(&y, present)
            }
        };
        let mut parts = self.by.iter().enumerate().map(segment).collect::<HostResult<Vec<_>>>()?;
        let done = width * self.by.len();
        if done < x.dim(2)? {
            parts.push(narrow_on_host(x, 2, done, x.dim(2)? - done)?);
        }
        Ok(HostArray::cat(&parts, 2)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        shifted::<T>(&self.x, &self.by, self.mask.as_ref(), self.width(), self.masked)
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        let masks_source = self.masked == Masked::Source;
        cuda::shift(&self.x, (&self.by, self.width()), self.mask.as_ref(), masks_source, gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(dims, by): ([usize; 3], &[i64])| {
            let present: Vec<u8> = (0..dims[0] * dims[1]).map(|i| u8::from(i % 3 != 1)).collect();
            let mask = Array::from_vec(present, (dims[0], dims[1]), &crate::Device::Cpu).unwrap();
            let with = |mask: Option<Array>| {
                [Masked::Source, Masked::Target].map(|masked| {
                    let x = crate::testing::normal64(&dims, 1);
                    Self { x, mask: mask.clone(), by: by.into(), masked }
                })
            };
            [with(None), with(Some(mask))].concat()
        };
        let sizes: [([usize; 3], &[i64]); 4] = [
            ([2, 5, 7], &[0, 1]),
            ([3, 4, 9], &[-1, 0, 1]),
            ([1, 1, 6], &[0, 1, 2]),
            ([2, 300, 40], &[0, 1, 9]),
        ];
        sizes.into_iter().flat_map(of).collect()
    }
}

/// Sets masked positions to zero.
fn zero_masked(x: &HostArray, mask: Option<&HostArray>) -> HostResult<HostArray> {
    match mask {
        Some(mask) => x.broadcast_mul(&mask.ne(0u8)?.to_dtype(x.dtype())?.unsqueeze(2)?),
        None => Ok(x.clone()),
    }
}

/// Moves all features by `by` positions, and fills with zeros.
fn shift_positions(x: &HostArray, by: i64) -> HostResult<HostArray> {
    let n = x.dim(1)?;
    let far = (by.unsigned_abs() as usize).min(n);
    if far == n {
        x.zeros_like()
    } else if by > 0 {
        narrow_on_host(x, 1, 0, n - far)?.pad_with_zeros(1, far, 0)
    } else {
        narrow_on_host(x, 1, far, n - far)?.pad_with_zeros(1, 0, far)
    }
}

/// Shifts `x`, (batch, n, dim).
///
/// # Errors
/// If the mask does not fit, or there are no shifts or more shifts than features.
pub fn forward(x: &Array, shifts: Shifts) -> Result<Array> {
    let Shifts { by, mask } = shifts;
    run(&Shift { x: x.clone(), mask: mask.cloned(), by: by.into(), masked: Masked::Source })
}

/// Computes the gradient of `x` from `grad`, the gradient of the output, both (batch, n, dim).
///
/// # Errors
/// As for [`forward`].
pub fn backward(grad: &Array, shifts: Shifts) -> Result<Array> {
    let Shifts { by, mask } = shifts;
    let by = by.iter().map(|by| by.saturating_neg()).collect();
    run(&Shift { x: grad.clone(), mask: mask.cloned(), by, masked: Masked::Target })
}

/// CPU kernel of [`forward`] and [`backward`].
fn shifted<T: Real>(
    x: &Array,
    by: &[i64],
    mask: Option<&Array>,
    width: usize,
    masked: Masked,
) -> Result<Array> {
    let (_, n, dim) = x.dims3()?;
    let x = contiguous(x)?;
    let xs = host::slice::<T>(&x)?;
    let xs: &[T] = &xs;
    let mask = mask.map(|mask| host::to_vec::<u8>(&mask.to_dtype(DType::U8)?)).transpose()?;
    let rows = rows_per_piece(dim);
    let y = build_zeroed(xs.len(), rows * dim, |piece, y: &mut [T]| {
        for (i, y) in y.chunks_exact_mut(dim).enumerate() {
            let row = piece * rows + i;
            let (sequence, at) = (row / n, row % n);
            for (segment, by) in by.iter().enumerate() {
                let features = segment * width..(segment + 1) * width;
                let source = (at as i64)
                    .checked_sub(*by)
                    .and_then(|at| usize::try_from(at).ok())
                    .filter(|at| *at < n);
                let Some(source) = source.map(|at| sequence * n + at) else { continue };
                let masked_row = if masked == Masked::Source { source } else { row };
                if *by == 0 || mask.as_ref().is_none_or(|mask| mask[masked_row] != 0) {
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
    use crate::testing::{
        assert_matches_reference, device, gradcheck, normal, normal64, on_device,
    };

    fn mask(batch: usize, n: usize) -> Array {
        let present: Vec<u8> = (0..batch * n).map(|i| u8::from(i % 3 != 1)).collect();
        Array::from_vec(present, (batch, n), &device()).unwrap()
    }

    #[test]
    fn equals_the_reference() {
        assert_matches_reference::<Shift>(0.0);
    }

    #[test]
    fn gradient_agrees_with_differences() {
        let [x, weight] = [1, 2].map(|seed| on_device(&normal64(&[2, 4, 9], seed)));
        let present = mask(2, 4);
        for by in [&[0, 1][..], &[-1, 0, 1], &[0, 1, 9]] {
            for mask in [None, Some(&present)] {
                let shifts = Shifts { by, mask };
                gradcheck(&x, &weight, &backward(&weight, shifts).unwrap(), |x| {
                    forward(&on_device(x), shifts).unwrap()
                });
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let x = on_device(&normal(&[2, 3, 2], 1));
        assert!(forward(&x, Shifts { by: &[0, 1, 2], mask: None }).is_err());
        assert!(forward(&x, Shifts { by: &[], mask: None }).is_err());
        assert!(forward(&x, Shifts { by: &[0, 1], mask: Some(&mask(2, 2)) }).is_err());
        let flat = on_device(&normal(&[3, 2], 1));
        assert!(forward(&flat, Shifts { by: &[0, 1], mask: None }).is_err());
        assert!(forward(&x, Shifts { by: &[i64::MIN, i64::MAX], mask: None }).is_ok());
    }
}
