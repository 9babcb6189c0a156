//! The documents of packed rows: several sequences, one after the other, in one row.
//!
//! A model sees them as if each were a row of its own. Attention and token shift stay within a
//! document, and positions count from its start.

use crate::ids::wrong_ids;
use crate::{Array, DType, Device, Error, Result, Tensor};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use xt_kernels::memory::alloc;

/// The document of the positions that a loss leaves out.
const PADDING: i64 = 0;

/// The documents of a batch of rows.
pub struct Segments {
    /// The document of each position, row by row.
    ids: Vec<i64>,
    /// The number of rows and of their positions.
    dims: [usize; 2],
    device: Device,
}

impl Segments {
    /// The documents with these ids, i64 `(batch, n)`, whose values are copied to the host.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if the positions of a document other than [`PADDING`] are not one beside
    /// the other.
    pub fn new(ids: &Tensor) -> Result<Self> {
        if ids.rank() != 2 || ids.dtype() != DType::I64 {
            return wrong_ids("segment_ids", "(batch, length)", ids);
        }
        let dims = [ids.dim(0), ids.dim(1)];
        let (device, values) = (ids.device(), ids.array()?.to_device(&Device::Cpu)?);
        let all = Self { ids: values.flatten_all()?.to_vec1()?, dims, device };
        let mut seen = HashSet::new();
        for range in all.ranges() {
            let (row, at) = (range.start / dims[1], range.start % dims[1]);
            if at == 0 {
                seen.clear();
            }
            let id = all.ids[range.start];
            // each run of padding counts as a document of its own
            if id != PADDING && !seen.insert(id) {
                return Error::shape(format!(
                    "segment_ids has {id} again at [{row}, {at}], after others: the positions of \
                     a document must be one beside the other"
                ));
            }
        }
        Ok(all)
    }

    /// Checks that there is one id for each position of `(batch, n)`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if there is not.
    pub fn check(&self, dims: [usize; 2]) -> Result<()> {
        if self.dims == dims {
            return Ok(());
        }
        Error::shape(format!("segment_ids must have shape {dims:?}, got {:?}", self.dims))
    }

    /// Those of all positions but the last of each row.
    pub fn without_last(&self) -> Self {
        let [batch, n] = self.dims;
        let rows = self.ids.chunks_exact(n.max(1)).flat_map(|row| &row[..n - 1]);
        let ids = rows.copied().collect();
        Self { ids, dims: [batch, n.saturating_sub(1)], device: self.device.clone() }
    }

    /// Whether each position but the first of a row is predicted from its own document, and is no
    /// padding: bool, `(batch, n - 1)`.
    ///
    /// # Errors
    ///
    /// If memory cannot be allocated.
    pub fn predicted(&self) -> Result<Tensor> {
        let [batch, n] = self.dims;
        let rows = self.ids.chunks_exact(n.max(1)).flat_map(|row| row.windows(2));
        let counts = rows.map(|pair| u8::from(pair[0] == pair[1] && pair[1] != PADDING));
        let dims = (batch, n.saturating_sub(1));
        Ok(Tensor::boolean(Array::from_vec(counts.collect::<Vec<u8>>(), dims, &self.device)?))
    }

    /// The place of each position in its document, i64 `(batch, n)`.
    ///
    /// # Errors
    ///
    /// If memory cannot be allocated.
    pub fn positions(&self) -> Result<Tensor> {
        let places = self.ranges().flat_map(|range| (0..range.len()).map(|place| place as i64));
        let (places, [batch, n]) = (places.collect::<Vec<i64>>(), self.dims);
        Ok(Tensor::constant(Array::from_vec(places, (batch, n), &self.device)?))
    }

    /// The positions of the document of each position.
    ///
    /// # Errors
    ///
    /// If memory cannot be allocated.
    pub fn bounds(&self) -> Result<Bounds> {
        let [batch, n] = self.dims;
        let columns = |range: Range<usize>| {
            let start = range.start % n;
            std::iter::repeat_n(start..start + range.len(), range.len())
        };
        let columns = self.ranges().flat_map(columns).collect::<Vec<_>>();
        let ends = columns.iter().flat_map(|range| [range.start as i64, range.end as i64]);
        let ranges = Array::from_vec(ends.collect::<Vec<_>>(), (batch, n, 2), &self.device)?;
        Ok(Bounds { columns, ranges, behind_prefix: Mutex::default() })
    }

    /// The positions of each document, counted over all rows; none is empty.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        let n = self.dims[1].max(1);
        let mut at = 0;
        std::iter::from_fn(move || {
            let (start, id) = (at, *self.ids.get(at)?);
            at += 1;
            while at % n != 0 && self.ids.get(at) == Some(&id) {
                at += 1;
            }
            Some(start..at)
        })
    }
}

/// The positions of the document of each position, for all layers of a pass.
pub struct Bounds {
    /// The columns of its row, row by row.
    columns: Vec<Range<usize>>,
    /// See [`Bounds::ranges`].
    ranges: Array,
    /// The last result of [`Bounds::behind_prefix`], and the number of keys before the sequence.
    behind_prefix: Mutex<Option<(usize, Array)>>,
}

impl Bounds {
    /// The columns, i64 `(batch, n, 2)`: the first one and the one after the last.
    pub fn ranges(&self) -> &Array {
        &self.ranges
    }

    /// Which keys each position may attend to where `prefix` keys, which belong to every document,
    /// precede the sequence: u8, `(batch, 1, n, prefix + n)`. Made once for all attentions with
    /// as many.
    ///
    /// # Errors
    ///
    /// If memory cannot be allocated.
    pub fn behind_prefix(&self, prefix: usize) -> Result<Array> {
        let mut kept = self.behind_prefix.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, mask)) = kept.as_ref().filter(|(count, _)| *count == prefix) {
            return Ok(mask.clone());
        }
        let ([batch, n, _], device) = (self.ranges.dims3()?.into(), self.ranges.device());
        let dims = [batch, 1, n, prefix + n];
        alloc::check_on(&device, &dims, DType::U8)?;
        let mut allowed = alloc::filled(0u8, dims.iter().product())?;
        for (row, columns) in allowed.chunks_exact_mut(prefix + n).zip(&self.columns) {
            row[..prefix].fill(1);
            row[prefix + columns.start..prefix + columns.end].fill(1);
        }
        let mask = Array::from_vec(allowed, &dims, &device)?;
        *kept = Some((prefix, mask.clone()));
        Ok(mask)
    }
}
