//! The masks of attention.

use crate::array::{HostArray, HostResult};
use crate::error::bail;
use crate::host;
use crate::kernel::arrays;
use crate::memory::alloc;
use crate::ops::{elementwise, select};
use crate::{Array, DType, Device, Result};
use std::ops::Range;

/// Which keys each query may attend to. A key must satisfy all conditions. The default allows every
/// key.
#[derive(Clone, Default)]
pub struct Mask {
    /// Mask, u8, 1 where a key is allowed; broadcastable to (batch, heads, i, j).
    pub allowed: Option<Array>,
    /// Whether the mask is causal: query r of i sees the keys up to r + j - i, so the last query
    /// sees all keys.
    pub causal: bool,
    /// Window: query r of i sees no key before r + j - i - `window`.
    pub window: Option<usize>,
    /// The keys that each query may attend to, as a range: i64, (batch, i, 2), the first key and
    /// the one after the last. For sequences that consist of several documents.
    pub ranges: Option<Array>,
}

arrays!(Mask { allowed, ranges });

impl Mask {
    /// Whether every key is allowed.
    pub(super) fn is_empty(&self) -> bool {
        self.allowed.is_none() && !self.is_by_position()
    }

    /// Whether positions exclude some keys.
    fn is_by_position(&self) -> bool {
        self.causal || self.window.is_some() || self.ranges.is_some()
    }

    /// Checks that the mask fits scores of shape (batch, heads, i, j).
    pub(crate) fn check(&self, dims: [usize; 4]) -> Result<()> {
        if let Some(ranges) = &self.ranges {
            let wanted = [dims[0], dims[2], 2];
            if ranges.dims() != wanted || ranges.dtype() != DType::I64 {
                bail!("ranges of keys {:?} do not fit scores {dims:?}", ranges.dims());
            }
        }
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let (b, h, i, j) = allowed.dims4()?;
        let sizes = [b, h, i, j];
        if (0..4).any(|axis| sizes[axis] != 1 && sizes[axis] != dims[axis]) {
            bail!("mask {sizes:?} does not fit scores {dims:?}");
        }
        if allowed.dtype() != DType::U8 {
            bail!("a mask of {:?}, which must be u8", allowed.dtype());
        }
        Ok(())
    }

    /// The range of the `j` keys that query `r` of `i` sees by its position, without
    /// [`Mask::ranges`].
    fn visible_keys(&self, r: usize, i: usize, j: usize) -> Range<usize> {
        let end = if self.causal { (r + j + 1).saturating_sub(i).min(j) } else { j };
        let start =
            self.window.map_or(0, |window| (r + j).saturating_sub(i.saturating_add(window)));
        start.min(end)..end
    }

    /// The mask of `i` queries and `j` keys with `count` more keys in front, which every query may
    /// attend to; arrays are made on `device`.
    pub fn with_prefix(
        &self,
        count: usize,
        (i, j): (usize, usize),
        device: &Device,
    ) -> Result<Self> {
        // a causal mask leaves the keys in front to all queries, unless there are more queries
        // than keys
        let by_start = self.window.is_some() || self.ranges.is_some() || (self.causal && j < i);
        let mut mask = self.clone();
        if by_start {
            mask = Self { allowed: self.dense(i, j, device)?, ..Self::default() };
        }
        if let Some(allowed) = &mask.allowed {
            let (batch, heads, rows, _) = allowed.dims4()?;
            let allowed = allowed.broadcast_as((batch, heads, rows, j))?;
            let front = Array::ones((batch, heads, rows, count), DType::U8, device)?;
            mask.allowed = Some(Array::cat(&[&front, &allowed], 3)?);
        }
        Ok(mask)
    }

    /// Combines all conditions into one mask, u8, (1 or batch, 1 or heads, 1 or i, j). Returns
    /// `None` if every key is allowed.
    pub fn dense(&self, i: usize, j: usize, device: &Device) -> Result<Option<Array>> {
        if !self.is_by_position() {
            return Ok(self.allowed.clone());
        }
        let ranges = self.ranges.as_ref().map(|ranges| ranges.flatten_all()?.to_vec1::<i64>());
        let ranges = ranges.transpose()?;
        let batch = self.ranges.as_ref().map_or(Ok(1), |ranges| ranges.dim(0))?;
        let row = |row: usize| {
            let visible = self.visible_keys(row % i, i, j);
            let visible = match &ranges {
                Some(ranges) => within(visible, [ranges[2 * row], ranges[2 * row + 1]]),
                None => visible,
            };
            (0..j).map(move |c| u8::from(visible.contains(&c)))
        };
        alloc::check(&[batch, i, j], DType::U8)?;
        let mut all = alloc::with_capacity::<u8>(batch * i * j)?;
        (0..batch * i).for_each(|r| all.extend(row(r)));
        let visible = Array::from_vec(all, (batch, 1, i, j), device)?;
        match &self.allowed {
            Some(allowed) => Ok(Some(elementwise::mul(&visible, allowed)?)),
            None => Ok(Some(visible)),
        }
    }
}

/// The part of `visible` that is in a range of [`Mask::ranges`].
fn within(visible: Range<usize>, [start, end]: [i64; 2]) -> Range<usize> {
    let at_least_zero = |at: i64| usize::try_from(at).unwrap_or(0);
    let end = visible.end.min(at_least_zero(end));
    visible.start.max(at_least_zero(start)).min(end)..end
}

/// Replaces the scores that the mask excludes by the lowest finite number.
pub(crate) fn masked_fill(scores: &HostArray, mask: &Mask) -> Result<HostArray> {
    // candle creates the fill values as an f64 array.
    alloc::check(&[scores.elem_count(), 2], DType::F64)?;
    match dense(scores, mask)? {
        None => Ok(scores.clone()),
        Some(allowed) => Ok(select::on_host(&allowed, scores, &lowest(scores)?)?),
    }
}

/// The mask, broadcast to the shape of the scores; `None` if every key is allowed.
pub(super) fn dense(scores: &HostArray, mask: &Mask) -> Result<Option<HostArray>> {
    if mask.is_empty() {
        return Ok(None);
    }
    let (_, _, i, j) = scores.dims4()?;
    match mask.dense(i, j, &Device::Cpu)? {
        Some(mask) => Ok(Some(mask.host()?.broadcast_as(scores.shape())?)),
        None => Ok(None),
    }
}

/// An array like `scores`, filled with the lowest finite value of its type.
pub(super) fn lowest(scores: &HostArray) -> HostResult<HostArray> {
    let value = match scores.dtype() {
        DType::F64 => f64::MIN,
        DType::F16 => -65504.0,
        _ => f64::from(f32::MIN),
    };
    // The lowest finite bf16 is greater than the lowest f32.
    let value = if scores.dtype() == DType::BF16 { -3.389e38 } else { value };
    HostArray::full(value, scores.shape(), scores.device())?.to_dtype(scores.dtype())
}

/// The mask of each row of scores: its part of the mask array, and the range of keys that are
/// visible by position.
pub(crate) struct MaskRows<'a> {
    /// The storage of [`Mask::allowed`].
    mask: Option<host::Slice<'a, u8>>,
    /// Index of the first element in `mask`.
    offset: usize,
    /// Strides of the mask over (batch, heads, i, j); 0 for broadcast axes.
    strides: [usize; 4],
    /// The storage of [`Mask::ranges`], the index of its first element, and its strides over
    /// (batch, i, 2).
    ranges: Option<(host::Slice<'a, i64>, usize, &'a [usize])>,
    /// Shape of the scores, (batch, heads, i, j).
    pub(super) dims: [usize; 4],
    /// The settings for the range of visible keys.
    position_mask: &'a Mask,
}

impl<'a> MaskRows<'a> {
    /// The rows of `scores`, which may have any rank if the mask is empty.
    pub(super) fn new(scores: &Array, mask: &'a Mask) -> Result<Self> {
        if mask.is_empty() {
            let (count, width) = host::rows_and_width(scores);
            return Self::with_dims([1, 1, count, width], mask);
        }
        let (b, h, i, j) = scores.dims4()?;
        Self::with_dims([b, h, i, j], mask)
    }

    /// The rows of scores of shape (batch, heads, i, j).
    pub(crate) fn with_dims(dims: [usize; 4], mask: &'a Mask) -> Result<Self> {
        let mut rows = MaskRows {
            mask: None,
            offset: 0,
            strides: [0; 4],
            ranges: None,
            dims,
            position_mask: mask,
        };
        mask.check(dims)?;
        if let Some(ranges) = &mask.ranges {
            let (slice, offset) = host::strided::<i64>(ranges)?;
            rows.ranges = Some((slice, offset, ranges.stride()));
        }
        if let Some(allowed) = &mask.allowed {
            for (axis, size) in allowed.dims().iter().enumerate() {
                rows.strides[axis] = if *size == 1 { 0 } else { allowed.stride()[axis] };
            }
            let (slice, offset) = host::strided::<u8>(allowed)?;
            (rows.mask, rows.offset) = (Some(slice), offset);
        }
        Ok(rows)
    }

    /// The range of keys that row `row` sees by its position.
    pub(crate) fn visible(&self, row: usize) -> Range<usize> {
        let [_, heads, i, j] = self.dims;
        let visible = self.position_mask.visible_keys(row % i, i, j);
        let Some((ranges, offset, strides)) = &self.ranges else { return visible };
        let at = offset + row / (heads * i) * strides[0] + row % i * strides[1];
        within(visible, [ranges[at], ranges[at + strides[2]]])
    }

    /// The range of keys that at least one of `count` rows sees by its position, from row `first`
    /// on; the rows are of one head.
    pub(crate) fn visible_to_any(&self, first: usize, count: usize) -> Range<usize> {
        if self.ranges.is_none() {
            return self.visible(first).start..self.visible(first + count - 1).end;
        }
        let all = (first..first + count).map(|row| self.visible(row));
        all.filter(|visible| !visible.is_empty())
            .reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
            .unwrap_or(0..0)
    }

    /// The part of the mask array for row `row`, one number per key. If it is not contiguous, it is
    /// copied to `line`.
    pub(crate) fn allowed<'b>(&'b self, row: usize, line: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        let mask: &[u8] = self.mask.as_ref()?;
        let [_, h, i, j] = self.dims;
        let at = self.offset
            + (row / (h * i)) * self.strides[0]
            + (row / i % h) * self.strides[1]
            + (row % i) * self.strides[2];
        if self.strides[3] == 1 {
            return mask.get(at..at + j);
        }
        line.clear();
        line.extend((0..j).map(|c| mask.get(at + c * self.strides[3]).copied().unwrap_or(0)));
        Some(line)
    }
}
