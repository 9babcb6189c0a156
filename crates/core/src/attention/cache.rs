//! Keys and values of the positions that a generation has seen: a new token projects its own and attends to all.
//!
//! Buffers have room for more positions than there are; a step writes its part of them in place. Where the room is used up it doubles, up to
//! the length that is known from the start. This is the one exception to the rule that arrays are never changed: no graph holds these
//! (generation keeps none), and views of them end with the step.
//!
//! Source: Fast Transformer Decoding, <https://arxiv.org/abs/1911.02150>, section 2.4.1.

use crate::{Array, Result, Tensor};
use xt_kernels::ops::layout::narrow;

/// Positions that a first buffer has room for at least, where so many will come.
const LEAST: usize = 256;

/// The keys and values of one attention.
pub struct KeyValues {
    /// How many positions there will be; before the first step, behind those of that step.
    room: usize,
    /// (batch, heads, room, width) each; absent before the first step.
    buffers: Option<(Array, Array)>,
    length: usize,
}

impl KeyValues {
    /// Empty, with room for `room` positions behind the first ones.
    pub fn new(room: usize) -> Self {
        Self { room, buffers: None, length: 0 }
    }

    pub fn is_empty(&self) -> bool {
        self.buffers.is_none()
    }

    /// Adds keys and values, (batch, heads, count, width).
    pub fn append(&mut self, k: &Tensor, v: &Tensor) -> Result<()> {
        let (k, v) = (k.array()?, v.array()?);
        let count = k.dim(2)?;
        self.reserve(&k, &v, count)?;
        self.put(&k, &v, self.length)?;
        self.length += count;
        Ok(())
    }

    /// Makes room for `count` more positions.
    fn reserve(&mut self, k: &Array, v: &Array, count: usize) -> Result<()> {
        let Some((keys, values)) = &self.buffers else {
            let capacity = count + self.room.min(count.max(LEAST));
            self.room = self.room.saturating_add(count);
            self.buffers = Some((with_capacity(k, capacity)?, with_capacity(v, capacity)?));
            return Ok(());
        };
        let (capacity, needed) = (keys.dim(2)?, self.length + count);
        if needed <= capacity {
            return Ok(());
        }
        let capacity = (2 * capacity).min(self.room).max(needed);
        let (more_keys, more_values) = (with_capacity(k, capacity)?, with_capacity(v, capacity)?);
        more_keys.slice_set(keys, 2, 0)?;
        more_values.slice_set(values, 2, 0)?;
        self.buffers = Some((more_keys, more_values));
        Ok(())
    }

    fn put(&mut self, k: &Array, v: &Array, at: usize) -> Result<()> {
        let Some((keys, values)) = &self.buffers else {
            return Ok(());
        };
        keys.slice_set(&xt_kernels::ops::layout::contiguous(k)?, 2, at)?;
        values.slice_set(&xt_kernels::ops::layout::contiguous(v)?, 2, at)?;
        Ok(())
    }

    /// All keys and values so far, (batch, heads, length, width), as views of the buffers.
    pub fn all(&self) -> Result<(Tensor, Tensor)> {
        let Some((keys, values)) = &self.buffers else {
            return Err(crate::Error::Internal("an empty cache".into()));
        };
        let view = |buffer: &Array| -> Result<Tensor> { Ok(Tensor::constant(narrow(buffer, 2, 0, self.length)?)) };
        Ok((view(keys)?, view(values)?))
    }

    /// Row i of the batch continues what was row `rows[i]`; `rows`, u32, may be more or fewer than before.
    pub fn reorder(&mut self, rows: &Array) -> Result<()> {
        let Some((keys, values)) = &self.buffers else {
            return Ok(());
        };
        let chosen = |buffer: &Array| -> Result<Array> {
            // what was not written yet is not copied
            let part = xt_kernels::ops::layout::contiguous(&narrow(buffer, 2, 0, self.length)?)?;
            let row = part.elem_count() / part.dim(0)?.max(1);
            xt_kernels::memory::alloc::check(&[rows.elem_count(), row], part.dtype())?;
            let part = part.index_select(rows, 0)?;
            let whole = with_capacity(&part, buffer.dim(2)?)?;
            whole.slice_set(&part, 2, 0)?;
            Ok(whole)
        };
        self.buffers = Some((chosen(keys)?, chosen(values)?));
        Ok(())
    }
}

/// A buffer for `capacity` positions like those of `x`, (batch, heads, count, width).
fn with_capacity(x: &Array, capacity: usize) -> Result<Array> {
    let (batch, heads, _, width) = x.dims4()?;
    xt_kernels::memory::alloc::check(&[batch, heads, capacity, width], x.dtype())?;
    Ok(Array::zeros((batch, heads, capacity, width), x.dtype(), &x.device())?)
}
