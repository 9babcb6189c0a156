//! Combines the masks of one attention into one.
//!
//! The masks cover the keys of the sequence. Keys that precede these are always allowed: learned
//! keys, and memories that have no mask of their own.

use crate::ids::require_bool;
use crate::mask::allow_prefix;
use crate::segments::Bounds;
use crate::{Array, DType, Error, Result, Tensor};
use xt_autograd::ops::{self, Mask};
use xt_kernels::ops::elementwise;

/// The restrictions of one attention.
pub struct Masks<'a> {
    /// bool, `(batch, keys)`.
    pub keys: Option<&'a Tensor>,
    /// bool, `(batch, count)`: the memories, which precede the keys of the sequence.
    pub memories: Option<&'a Tensor>,
    /// bool, `(i, keys)`, `(heads, i, keys)` or `(batch, heads, i, keys)`.
    pub pairs: Option<&'a Tensor>,
    /// Whether this is cross attention.
    pub cross: bool,
    /// Whether `keys` is the mask of the queries, which also serves as the mask of a context
    /// without its own.
    pub from_queries: bool,
    /// The number of keys before those that the masks cover.
    pub prefix: usize,
    /// The largest distance to an earlier key that a query may attend to.
    pub max_attend_past: Option<usize>,
    /// Whether queries do not attend to later positions.
    pub causal: bool,
    /// The documents of packed rows.
    pub bounds: Option<&'a Bounds>,
}

impl Masks<'_> {
    /// The combined mask for scores of shape `dims`, `(batch, heads, i, j)`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if a mask is not boolean or does not fit.
    pub fn combined(&self, dims: [usize; 4]) -> Result<Mask> {
        // keys before the sequence belong to every document: no range has them and a part of it
        let (ranges, documents) = match self.bounds {
            Some(bounds) if self.prefix == 0 => (Some(bounds.ranges().clone()), None),
            Some(bounds) => (None, Some(bounds.behind_prefix(self.prefix)?)),
            None => (None, None),
        };
        let memories = self.memory_mask(dims)?;
        let parts = [self.key_mask(dims)?, memories, self.pair_mask(dims)?, documents];
        let mut allowed: Option<Array> = None;
        for part in parts.into_iter().flatten() {
            allowed = Some(match allowed {
                Some(all) => elementwise::mul(&all, &part)?,
                None => part,
            });
        }
        Ok(Mask { allowed, causal: self.causal, window: self.max_attend_past, ranges })
    }

    /// The mask of the keys as u8, `(batch, 1, 1, j)`.
    fn key_mask(&self, [batch, _, _, j]: [usize; 4]) -> Result<Option<Array>> {
        let Some(mask) = self.keys else {
            return Ok(None);
        };
        let name = if self.cross { "context_mask" } else { "mask" };
        let len = j - self.prefix;
        if self.cross && self.from_queries && mask.dims() != [batch, len] {
            return Error::shape(format!(
                "mask stands for the context too where context_mask is missing, but has {} columns, the context {len}: pass context_mask",
                mask.dim(1)
            ));
        }
        require_mask(mask, name, &[batch, len])?;
        let mask = allow_prefix(mask, 1, self.prefix)?.array()?;
        Ok(Some(mask.reshape((batch, 1, 1, j))?))
    }

    /// The mask of the memories as u8, `(batch, 1, 1, j)`.
    fn memory_mask(&self, [batch, _, _, j]: [usize; 4]) -> Result<Option<Array>> {
        let Some(mask) = self.memories else {
            return Ok(None);
        };
        require_bool(mask, "a mask of memories")?;
        let count = mask.dims().last().copied().unwrap_or(0);
        if mask.dims() != [batch, count] || count > self.prefix {
            return Error::shape(format!(
                "a mask of memories must have shape (batch, memories), got {:?}",
                mask.dims()
            ));
        }
        let parts = [self.prefix - count, j - self.prefix]
            .map(|count| Array::ones((batch, count), DType::U8, &mask.device()));
        let [before, behind] = parts;
        let all = Array::cat(&[before?, mask.array()?, behind?], 1)?;
        Ok(Some(all.reshape((batch, 1, 1, j))?))
    }

    /// The mask of pairs of queries and keys as u8, broadcastable to `(batch, heads, i, j)`.
    fn pair_mask(&self, [batch, heads, i, j]: [usize; 4]) -> Result<Option<Array>> {
        let Some(mask) = self.pairs else {
            return Ok(None);
        };
        let d = mask.dims();
        let dims = match d.len() {
            2 => [1, 1, d[0], d[1]],
            3 => [1, d[0], d[1], d[2]],
            4 => [d[0], d[1], d[2], d[3]],
            _ => return Error::shape(format!("attn_mask must have 2, 3 or 4 axes, got {d:?}")),
        };
        let one_or = |size: usize, full: usize| size == full || size == 1;
        let j = j - self.prefix;
        let fits = one_or(dims[0], batch) && one_or(dims[1], heads) && dims[2] == i && dims[3] == j;
        require_bool(mask, "attn_mask")?;
        if !fits {
            return Error::shape(format!(
                "attn_mask must be bool of shape ({i}, {j}), ({heads}, {i}, {j}) or ({batch}, {heads}, {i}, {j}), got {d:?}"
            ));
        }
        Ok(Some(allow_prefix(&ops::reshape(mask, &dims)?, 3, self.prefix)?.array()?))
    }
}

/// Checks that `mask` is boolean and has shape `dims`.
///
/// # Errors
///
/// [`Error::Shape`] if it does not.
pub fn require_mask(mask: &Tensor, name: &str, dims: &[usize]) -> Result<()> {
    require_bool(mask, name)?;
    if mask.rank() == 2 && dims.len() == 2 && mask.dim(0) == dims[0] && mask.dim(1) != dims[1] {
        let other = if name == "context_mask" { "the context" } else { "x" };
        return Error::shape(format!(
            "{name} has {} columns, {other} has {}",
            mask.dim(1),
            dims[1]
        ));
    }
    if mask.dims() != dims {
        return Error::shape(format!("{name} must have shape {dims:?}, got {:?}", mask.dims()));
    }
    Ok(())
}
