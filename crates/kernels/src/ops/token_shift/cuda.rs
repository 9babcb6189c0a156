//! Launches of the kernels in `token_shift.cu`.

use crate::cuda::{kernel_args, Array as CudaArray, Gpu, Name};
use crate::ops::layout::{by_size, contiguous};
use crate::{Array, DType, Result};
use std::sync::Arc;

/// The most shifts of one launch, as in `token_shift.cu`.
const SHIFTS: usize = 64;

kernel_args! {
    ShiftArgs {
        y: u64, x: u64, mask: u64, ranges: u64, rows: u64, n: u64, dim: u64,
        first: u64, features: u64, width: u64, by: [i64; SHIFTS], masks_source: u32,
    }
}

/// Moves segments of `width` features by `by`. The mask, u8, applies to the source of a move if
/// `masks_source`, else to its target; `ranges` are those of the documents.
pub(super) fn shift(
    x: &Array,
    (by, width): (&[i64], usize),
    (mask, masks_source): (Option<&Array>, bool),
    ranges: Option<&Array>,
    gpu: &Arc<Gpu>,
) -> Result<Array> {
    let x = contiguous(x)?;
    let mask = mask.map(|mask| contiguous(&mask.to_dtype(DType::U8)?)).transpose()?;
    let ranges = ranges.map(contiguous).transpose()?;
    let (batch, n, dim) = x.dims3()?;
    let y = CudaArray::uninit(gpu, x.dtype(), x.shape())?;
    let name = Name { module: "token_shift", kernel: "token_shift", dtype: by_size(x.dtype()) };
    let launch = |shifts: &[i64], first: usize, width: usize| {
        let mut own = [0; SHIFTS];
        own[..shifts.len()].copy_from_slice(shifts);
        let features = shifts.len() * width;
        let args = ShiftArgs {
            y: y.address(),
            x: x.address()?,
            mask: Array::address_or_null(mask.as_ref())?,
            ranges: Array::address_or_null(ranges.as_ref())?,
            rows: (batch * n) as u64,
            n: n as u64,
            dim: dim as u64,
            first: first as u64,
            features: features as u64,
            width: width as u64,
            by: own,
            masks_source: u32::from(masks_source),
        };
        gpu.for_each(name, batch * n * features, &args)
    };
    for (i, shifts) in by.chunks(SHIFTS).enumerate() {
        launch(shifts, i * SHIFTS * width, width)?;
    }
    // the remaining features stay
    let done = by.len() * width;
    launch(&[0], done, dim - done)?;
    Ok(y.into())
}
