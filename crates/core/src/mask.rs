//! Extension of masks to positions that are prepended to a sequence.

use crate::{Array, DType, Result, Tensor};
use xt_autograd::ops;

/// Prepends `count` entries that are true to the boolean `mask` along `axis`: `(.., n, ..)` to
/// `(.., count + n, ..)`. `axis` must be less than the rank.
pub fn allow_prefix(mask: &Tensor, axis: usize, count: usize) -> Result<Tensor> {
    if count == 0 {
        return Ok(mask.clone());
    }
    let mut dims = mask.dims().to_vec();
    dims[axis] = count;
    let prefix = Tensor::boolean(Array::ones(dims, DType::U8, &mask.device())?);
    Ok(ops::cat(&[&prefix, mask], axis)?)
}
