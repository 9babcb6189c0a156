//! The key/value cache of one attention during generation: a new token computes its own keys and
//! values and attends to all.
//!
//! The buffers have capacity for more positions than they contain, and each step writes its part in
//! place. When the capacity is exhausted it doubles, up to the total length that is known from the
//! start. These buffers are the only arrays that are modified after construction. That is safe
//! because no autograd graph refers to them (generation records none) and views of them do not
//! outlive the step.
//!
//! Source: Fast Transformer Decoding, <https://arxiv.org/abs/1911.02150>, section 2.4.1.

use crate::{Array, Device, Error, Result, Tensor};
use xt_kernels::ops::layout::narrow;

/// Minimum extra capacity of the first buffers, in positions, if that many are still expected.
const MIN_EXTRA: usize = 256;

/// The cached keys and values of one attention.
pub struct KeyValues {
    /// Before the first step: the number of positions expected after it. Then: the expected total.
    expected: usize,
    /// Keys and values, `(batch, heads, capacity, width)` each; absent before the first step.
    buffers: Option<(Array, Array)>,
    /// The number of positions in the buffers.
    length: usize,
}

impl KeyValues {
    /// An empty cache. `expected` is the number of positions expected after the first step.
    pub fn new(expected: usize) -> Self {
        Self { expected, buffers: None, length: 0 }
    }

    /// A cache of these keys and values, `(batch, heads, length, width)` each. They are copied when
    /// more are appended, never written.
    pub fn of(k: &Tensor, v: &Tensor) -> Result<Self> {
        let fits = k.rank() == 4 && v.rank() == 4 && k.dims()[..3] == v.dims()[..3];
        if !fits || k.dtype() != v.dtype() || !k.dtype().is_float() {
            return Error::shape(format!(
                "cache: keys {:?} and values {:?} do not fit together: pass what a call has given",
                k.dims(),
                v.dims()
            ));
        }
        // buffers are contiguous; a caller may give views, such as one row for several
        let contiguous = xt_kernels::ops::layout::contiguous;
        let buffers = (contiguous(&k.array()?)?, contiguous(&v.array()?)?);
        Ok(Self { expected: 0, length: k.dim(2), buffers: Some(buffers) })
    }

    /// The number of rows; `None` before the first step.
    pub fn batch(&self) -> Option<usize> {
        self.buffers.as_ref().and_then(|(keys, _)| keys.dims().first().copied())
    }

    /// The number of heads, and the widths of keys and values; `None` before the first step.
    pub fn widths(&self) -> Option<[usize; 3]> {
        let (keys, values) = self.buffers.as_ref()?;
        match (keys.dims(), values.dims()) {
            ([_, heads, _, key], [_, _, _, value]) => Some([*heads, *key, *value]),
            _ => None,
        }
    }

    /// The number of positions.
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whether nothing has been appended yet.
    pub fn is_empty(&self) -> bool {
        self.buffers.is_none()
    }

    /// The device of the buffers; `None` before the first step.
    pub fn device(&self) -> Option<Device> {
        self.buffers.as_ref().map(|(keys, _)| keys.device())
    }

    /// Appends keys and values, `(batch, heads, count, width)` each.
    pub fn append(&mut self, k: &Tensor, v: &Tensor) -> Result<()> {
        let (k, v) = (k.array()?, v.array()?);
        let count = k.dim(2)?;
        self.reserve(&k, &v, count)?;
        self.write(&k, &v, self.length)?;
        self.length += count;
        Ok(())
    }

    /// Ensures capacity for `count` more positions.
    fn reserve(&mut self, k: &Array, v: &Array, count: usize) -> Result<()> {
        let Some((keys, values)) = &self.buffers else {
            let capacity = count + self.expected.min(count.max(MIN_EXTRA));
            self.expected = self.expected.saturating_add(count);
            self.buffers = Some((with_capacity(k, capacity)?, with_capacity(v, capacity)?));
            return Ok(());
        };
        fits(keys, k)?;
        fits(values, v)?;
        let (capacity, needed) = (keys.dim(2)?, self.length + count);
        if needed <= capacity {
            return Ok(());
        }
        let capacity = (2 * capacity).min(self.expected).max(needed);
        let (new_keys, new_values) = (with_capacity(k, capacity)?, with_capacity(v, capacity)?);
        new_keys.slice_set(keys, 2, 0)?;
        new_values.slice_set(values, 2, 0)?;
        self.buffers = Some((new_keys, new_values));
        Ok(())
    }

    /// Writes keys and values into the buffers, from position `at`.
    fn write(&mut self, k: &Array, v: &Array, at: usize) -> Result<()> {
        let Some((keys, values)) = &self.buffers else {
            return Ok(());
        };
        keys.slice_set(&xt_kernels::ops::layout::contiguous(k)?, 2, at)?;
        values.slice_set(&xt_kernels::ops::layout::contiguous(v)?, 2, at)?;
        Ok(())
    }

    /// All cached keys and values, `(batch, heads, length, width)` each, as views of the buffers.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if the cache is empty.
    pub fn all(&self) -> Result<(Tensor, Tensor)> {
        let Some((keys, values)) = &self.buffers else {
            return Err(Error::Internal("an empty cache".into()));
        };
        let view = |buffer: &Array| -> Result<Tensor> {
            Ok(Tensor::constant(narrow(buffer, 2, 0, self.length)?))
        };
        Ok((view(keys)?, view(values)?))
    }

    /// Selects batch rows: row `i` becomes the former row `rows[i]`. `rows` is u32, of any length.
    pub fn reorder(&mut self, rows: &Array) -> Result<()> {
        let Some((keys, values)) = &self.buffers else {
            return Ok(());
        };
        let chosen = |buffer: &Array| -> Result<Array> {
            // copies only the positions that have been written
            let part = xt_kernels::ops::layout::contiguous(&narrow(buffer, 2, 0, self.length)?)?;
            let row = part.elem_count() / part.dim(0)?.max(1);
            let dims = [rows.elem_count(), row];
            xt_kernels::memory::alloc::check_on(&part.device(), &dims, part.dtype())?;
            let part = part.index_select(rows, 0)?;
            let whole = with_capacity(&part, buffer.dim(2)?)?;
            whole.slice_set(&part, 2, 0)?;
            Ok(whole)
        };
        self.buffers = Some((chosen(keys)?, chosen(values)?));
        Ok(())
    }
}

/// Checks that `new` has the type, the device and, but for the positions, the shape of `old`, both
/// `(batch, heads, positions, width)`.
fn fits(old: &Array, new: &Array) -> Result<()> {
    let ((b, h, _, w), (b2, h2, _, w2)) = (old.dims4()?, new.dims4()?);
    let same = (b, h, w) == (b2, h2, w2) && old.dtype() == new.dtype();
    if same && old.device().same_device(&new.device()) {
        return Ok(());
    }
    Error::shape(format!(
        "cache: {:?} ({:?}) does not go on with {:?} ({:?}): pass the cache that this model gave \
         for the same rows",
        old.dims(),
        old.dtype(),
        new.dims(),
        new.dtype()
    ))
}

/// A zero buffer `(batch, heads, capacity, width)` with the other sizes, the type and the device of
/// `x`, `(batch, heads, count, width)`.
fn with_capacity(x: &Array, capacity: usize) -> Result<Array> {
    let (batch, heads, _, width) = x.dims4()?;
    let (dims, device) = ([batch, heads, capacity, width], x.device());
    xt_kernels::memory::alloc::check_on(&device, &dims, x.dtype())?;
    Ok(Array::zeros(&dims, x.dtype(), &device)?)
}
