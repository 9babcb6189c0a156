//! Token shift: segments of the features are taken from neighbouring positions.
//!
//! Shapes: `x` and `y` are (batch, n, dim), the mask is (batch, n), u8, and ranges are
//! (batch, n, 2), i64.
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
#[derive(Clone, Copy, Default)]
pub struct Shifts<'a> {
    /// Number of positions that each segment moves by.
    pub by: &'a [i64],
    /// Mask, u8, (batch, n): 0 for padding, whose features do not move to other positions.
    pub mask: Option<&'a Array>,
    /// The document of each position, if a sequence has several: i64, (batch, n, 2), the first
    /// position and the one after the last. Features stay in their document.
    pub ranges: Option<&'a Array>,
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
    /// See [`Shifts::ranges`].
    ranges: Option<Array>,
    by: Vec<i64>,
    masked: Masked,
}

arrays!(Shift { x, mask, ranges });

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
        if let Some(ranges) = self.ranges.as_ref().filter(|ranges| ranges.dims() != [batch, n, 2]) {
            bail!("ranges of shape {:?} do not fit {:?}", ranges.dims(), self.x.dims());
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
        let segment = |(i, by): (usize, &i64)| -> Result<HostArray> {
            if *by == 0 {
                return Ok(narrow_on_host(x, 2, i * width, width)?);
            }
            let y = shift_positions(&narrow_on_host(&clean, 2, i * width, width)?, *by)?;
            let y = zero_masked(&y, self.sources_in_range(*by)?.as_ref())?;
            if self.masked == Masked::Source {
                Ok(y)
            } else {
                Ok(zero_masked(&y, present)?)
            }
        };
        let mut parts = self.by.iter().enumerate().map(segment).collect::<Result<Vec<_>>>()?;
        let done = width * self.by.len();
        if done < x.dim(2)? {
            parts.push(narrow_on_host(x, 2, done, x.dim(2)? - done)?);
        }
        Ok(HostArray::cat(&parts, 2)?.into())
    }

    fn cpu<T: Blas>(&self) -> Result<Array> {
        self.shifted::<T>()
    }

    #[cfg(feature = "cuda")]
    fn cuda(&self, gpu: &Arc<Gpu>) -> Result<Array> {
        let mask = (self.mask.as_ref(), self.masked == Masked::Source);
        cuda::shift(&self.x, (&self.by, self.width()), mask, self.ranges.as_ref(), gpu)
    }

    #[cfg(test)]
    fn cases() -> Vec<Self> {
        let of = |(dims, by): ([usize; 3], &[i64])| {
            let present: Vec<u8> = (0..dims[0] * dims[1]).map(|i| u8::from(i % 3 != 1)).collect();
            let mask = Array::from_vec(present, (dims[0], dims[1]), &crate::Device::Cpu).unwrap();
            let with = |mask: Option<Array>, ranges: Option<Array>| {
                [Masked::Source, Masked::Target].map(|masked| {
                    let x = crate::testing::normal64(&dims, 1);
                    Self { x, mask: mask.clone(), ranges: ranges.clone(), by: by.into(), masked }
                })
            };
            let documents = ranges_of_three(dims[0], dims[1]);
            [
                with(None, None),
                with(Some(mask.clone()), None),
                with(None, Some(documents.clone())),
                with(Some(mask), Some(documents)),
            ]
            .concat()
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
    shifted(x, shifts, shifts.by.into(), Masked::Source)
}

/// Computes the gradient of `x` from `grad`, the gradient of the output, both (batch, n, dim).
///
/// # Errors
/// As for [`forward`].
pub fn backward(grad: &Array, shifts: Shifts) -> Result<Array> {
    let by = shifts.by.iter().map(|by| by.saturating_neg()).collect();
    shifted(grad, shifts, by, Masked::Target)
}

/// Runs the kernel with the mask and the ranges of `shifts`.
fn shifted(x: &Array, shifts: Shifts, by: Vec<i64>, masked: Masked) -> Result<Array> {
    let (mask, ranges) = (shifts.mask.cloned(), shifts.ranges.cloned());
    run(&Shift { x: x.clone(), mask, ranges, by, masked })
}

impl Shift {
    /// Whether the source of a move by `by` is in the document of its target: u8, (batch, n).
    /// `None` without ranges.
    fn sources_in_range(&self, by: i64) -> Result<Option<HostArray>> {
        let Some(ranges) = &self.ranges else { return Ok(None) };
        let (batch, n, _) = ranges.dims3()?;
        let values = ranges.flatten_all()?.to_vec1::<i64>()?;
        let inside = (0..batch * n).map(|row| {
            let source = ((row % n) as i64).saturating_sub(by);
            u8::from((values[2 * row]..values[2 * row + 1]).contains(&source))
        });
        let inside = inside.collect::<Vec<u8>>();
        Ok(Some(HostArray::from_vec(inside, (batch, n), self.x.host()?.device())?))
    }

    /// CPU kernel of [`forward`] and [`backward`].
    fn shifted<T: Real>(&self) -> Result<Array> {
        let (_, n, dim) = self.x.dims3()?;
        let x = contiguous(&self.x)?;
        let xs = host::slice::<T>(&x)?;
        let xs: &[T] = &xs;
        let mask = self.mask.as_ref().map(|mask| host::to_vec::<u8>(&mask.to_dtype(DType::U8)?));
        let (mask, width) = (mask.transpose()?, self.width());
        let ranges = self.ranges.as_ref().map(host::to_vec::<i64>).transpose()?;
        // the positions of a row that its features may come from
        let document = |row: usize| match &ranges {
            Some(ranges) => ranges[2 * row]..ranges[2 * row + 1],
            None => 0..n as i64,
        };
        let rows = rows_per_piece(dim);
        let y = build_zeroed(xs.len(), rows * dim, |piece, y: &mut [T]| {
            for (i, y) in y.chunks_exact_mut(dim).enumerate() {
                let row = piece * rows + i;
                let (sequence, at) = (row / n, row % n);
                let document = document(row);
                for (segment, by) in self.by.iter().enumerate() {
                    let features = segment * width..(segment + 1) * width;
                    let source = (at as i64).checked_sub(*by).filter(|at| document.contains(at));
                    let source = source.and_then(|at| usize::try_from(at).ok());
                    let Some(source) = source.map(|at| sequence * n + at) else { continue };
                    let masked_row = if self.masked == Masked::Source { source } else { row };
                    if *by == 0 || mask.as_ref().is_none_or(|mask| mask[masked_row] != 0) {
                        y[features.clone()].copy_from_slice(&xs[source * dim..][features]);
                    }
                }
                let done = width * self.by.len();
                y[done..].copy_from_slice(&xs[row * dim..][done..dim]);
            }
        })?;
        host::array(y, x.dims())
    }
}

/// Ranges of documents of three positions, (batch, n, 2).
#[cfg(test)]
fn ranges_of_three(batch: usize, n: usize) -> Array {
    let of = |at: usize| [(at / 3 * 3) as i64, (at / 3 * 3 + 3).min(n) as i64];
    let values: Vec<i64> = (0..batch * n).flat_map(|row| of(row % n)).collect();
    Array::from_vec(values, (batch, n, 2), &crate::Device::Cpu).unwrap()
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
            let documents = ranges_of_three(2, 4).to_device(&device()).unwrap();
            for (mask, ranges) in [(None, None), (Some(&present), None), (None, Some(&documents))] {
                let shifts = Shifts { by, mask, ranges };
                gradcheck(&x, &weight, &backward(&weight, shifts).unwrap(), |x| {
                    forward(&on_device(x), shifts).unwrap()
                });
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let x = on_device(&normal(&[2, 3, 2], 1));
        assert!(forward(&x, Shifts { by: &[0, 1, 2], ..Shifts::default() }).is_err());
        assert!(forward(&x, Shifts::default()).is_err());
        assert!(forward(&x, Shifts { by: &[0, 1], mask: Some(&mask(2, 2)), ranges: None }).is_err());
        let flat = on_device(&normal(&[3, 2], 1));
        assert!(forward(&flat, Shifts { by: &[0, 1], ..Shifts::default() }).is_err());
        assert!(forward(&x, Shifts { by: &[i64::MIN, i64::MAX], ..Shifts::default() }).is_ok());
    }
}
