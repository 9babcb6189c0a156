//! The masks of one attention, made into one.

use super::require_mask;
use crate::{Array, Error, Result, Tensor};

/// Which scores, (batch, heads, i, j), count: u8, broadcastable to them. `None` where all do.
///
/// `cross`: the keys are those of a context; `borrowed`: their mask is that of the queries, for want of one of their own.
pub fn combined(
    keys: Option<&Tensor>,
    attn_mask: Option<&Tensor>,
    scores: &Tensor,
    (cross, borrowed): (bool, bool),
) -> Result<Option<Array>> {
    let (batch, heads, i, j) = (scores.dim(0), scores.dim(1), scores.dim(2), scores.dim(3));
    let keys = match keys {
        None => None,
        Some(mask) => {
            if cross && borrowed && mask.dims() != [batch, j] {
                return Error::shape(format!(
                    "mask stands for the context too where context_mask is missing, but has {} columns, the context {j}: pass context_mask",
                    mask.dim(1)
                ));
            }
            require_mask(mask, if cross { "context_mask" } else { "mask" }, &[batch, j])?;
            Some(mask.array()?.reshape((batch, 1, 1, j))?)
        }
    };
    let pairs = match attn_mask {
        None => None,
        Some(mask) => {
            let dims = match mask.rank() {
                2 => [1, 1, mask.dim(0), mask.dim(1)],
                3 => [1, mask.dim(0), mask.dim(1), mask.dim(2)],
                4 => [mask.dim(0), mask.dim(1), mask.dim(2), mask.dim(3)],
                _ => return Error::shape(format!("attn_mask must have 2, 3 or 4 axes, got {:?}", mask.dims())),
            };
            let fits = dims.iter().zip([batch, heads, i, j]).all(|(m, s)| *m == s || *m == 1);
            if !mask.is_boolean() || !fits {
                return Error::shape(format!(
                    "attn_mask must be bool of shape ({i}, {j}), ({heads}, {i}, {j}) or ({batch}, {heads}, {i}, {j}), got {} of shape {:?}",
                    mask.kind().map_or("?", |k| k.name()),
                    mask.dims()
                ));
            }
            Some(mask.array()?.reshape(&dims)?)
        }
    };
    Ok(match (keys, pairs) {
        (Some(keys), Some(pairs)) => Some(keys.broadcast_mul(&pairs)?),
        (keys, pairs) => keys.or(pairs),
    })
}
