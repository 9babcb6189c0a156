//! Keys and values of the positions that a generation has seen: a new token projects its own and attends to all.
//!
//! Buffers have room for all positions from the start; a step writes its part of them in place. This is the one exception to the rule that arrays
//! are never changed: no graph holds these (generation keeps none), and views of them end with the step.
//!
//! Source: Fast Transformer Decoding, <https://arxiv.org/abs/1911.02150>, section 2.4.1.

use crate::{Array, Result, Tensor};

/// The keys and values of one attention.
pub struct KeyValues {
    /// How many positions will be added to the first ones.
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
        if self.buffers.is_none() {
            let capacity = count + self.room;
            self.buffers = Some((with_capacity(&k, capacity)?, with_capacity(&v, capacity)?));
        }
        self.put(&k, &v, self.length)?;
        self.length += count;
        Ok(())
    }

    /// Writes other keys and values over the first ones.
    pub fn replace_front(&mut self, k: &Tensor, v: &Tensor) -> Result<()> {
        self.put(&k.array()?, &v.array()?, 0)
    }

    fn put(&mut self, k: &Array, v: &Array, at: usize) -> Result<()> {
        let Some((keys, values)) = &self.buffers else {
            return Ok(());
        };
        keys.slice_set(&k.contiguous()?, 2, at)?;
        values.slice_set(&v.contiguous()?, 2, at)?;
        Ok(())
    }

    /// All keys and values so far, (batch, heads, length, width), as views of the buffers.
    pub fn all(&self) -> Result<(Tensor, Tensor)> {
        let Some((keys, values)) = &self.buffers else {
            return Err(crate::Error::Internal("an empty cache".into()));
        };
        let view = |buffer: &Array| -> Result<Tensor> { Ok(Tensor::constant(buffer.narrow(2, 0, self.length)?)) };
        Ok((view(keys)?, view(values)?))
    }

    /// Row i of the batch continues what was row `rows[i]`; `rows`, u32, may be more or fewer than before.
    pub fn reorder(&mut self, rows: &Array) -> Result<()> {
        if let Some((keys, values)) = &mut self.buffers {
            (*keys, *values) = (keys.index_select(rows, 0)?, values.index_select(rows, 0)?);
        }
        Ok(())
    }
}

/// A buffer for `capacity` positions like those of `x`, (batch, heads, count, width).
fn with_capacity(x: &Array, capacity: usize) -> Result<Array> {
    let (batch, heads, _, width) = x.dims4()?;
    xt_kernels::alloc::check(&[batch, heads, capacity, width], x.dtype())?;
    Ok(Array::zeros((batch, heads, capacity, width), x.dtype(), x.device())?)
}
