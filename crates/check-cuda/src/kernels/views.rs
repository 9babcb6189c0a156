//! Cases of kernels that move elements.

use super::inputs::Inputs;
use crate::error::Result;
use xt_core::Array;
use xt_kernels::ops::layout::{contiguous, narrow};
use xt_kernels::ops::token_shift as shift;

pub fn copy(of: &Inputs) -> Result<Vec<Array>> {
    let (n, m) = (of.size(1031, 13), of.size(2053, 17));
    let x = of.any(&[n, m], 100, 1)?;
    let many = of.any(&[3, 5, of.size(31, 2), 7, of.size(41, 3)], 100, 2)?;
    Ok(vec![
        contiguous(&x.t()?)?,
        contiguous(&narrow(&narrow(&x, 0, 3, n - 7)?, 1, 5, m - 6)?.t()?)?,
        contiguous(&many.permute(&[4, 1, 3, 0, 2])?)?,
        contiguous(&x.unsqueeze(1)?.broadcast_as((n, 3, m))?)?,
    ])
}

pub fn join(of: &Inputs) -> Result<Vec<Array>> {
    let (n, m) = (of.size(517, 13), of.size(1031, 17));
    let (a, b) = (of.any(&[n, m, 3], 100, 1)?, of.any(&[n, 7, 3], 100, 2)?);
    let into = Array::zeros((n, m + 20, 3), a.dtype(), &of.device)?;
    into.slice_set(&a, 1, 5)?;
    into.slice_set(&b, 1, 9)?;
    Ok(vec![Array::cat(&[&a, &b], 1)?, a.pad_with_zeros(1, 2, 3)?, into])
}

pub fn take(of: &Inputs) -> Result<Vec<Array>> {
    let (n, m) = (of.size(1031, 13), of.size(517, 17));
    let x = of.any(&[n, m, 3], 100, 1)?;
    let rows = of.ids(&[of.size(2053, 23)], n, 2)?;
    let each = of.ids(&[of.size(777, 9), m, 3], n, 3)?;
    let last = of.ids(&[n, m, 5], 3, 4)?;
    Ok(vec![x.index_select(&rows, 0)?, x.gather(&each, 0)?, x.gather(&last, 2)?])
}

pub fn scatter_add(of: &Inputs) -> Result<Vec<Array>> {
    let (n, m) = (of.size(1031, 13), of.size(517, 17));
    // u8 holds the sums
    let (into, x) = (of.any(&[n, m], 2, 1)?, of.any(&[20, m], 2, 2)?);
    let ids = of.ids(&[20, m], n, 3)?;
    let last = of.ids(&[n, 20], m, 4)?;
    let more = of.any(&[n, 20], 2, 5)?;
    Ok(vec![into.scatter_add(&ids, &x, 0)?, into.scatter_add(&last, &more, 1)?])
}

pub fn token_shift(of: &Inputs) -> Result<Vec<Array>> {
    let (n, dim) = (of.size(1031, 13), of.size(517, 19));
    let x = of.normal(&[3, n, dim], 1)?;
    let mask = of.mask(&[3, n], 2)?;
    let by = [0, 1, -2];
    let plain = shift::Shifts { by: &by, ..shift::Shifts::default() };
    let masked = shift::Shifts { mask: Some(&mask), ..plain };
    let documents = of.documents(3, n)?;
    let packed = shift::Shifts { ranges: Some(&documents), ..masked };
    let mut all = vec![shift::forward(&x, plain)?];
    for shifts in [masked, packed] {
        all.extend([shift::forward(&x, shifts)?, shift::backward(&x, shifts)?]);
    }
    Ok(all)
}
