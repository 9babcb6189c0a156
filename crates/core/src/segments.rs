//! The documents of packed rows: several sequences, one after the other, in one row.
//!
//! A model sees them as if each were a row of its own. Attention and token shift stay within a
//! document, and positions count from its start.

use crate::ids::wrong_ids;
use crate::{Array, DType, Device, Error, Result, Tensor};
use std::collections::HashSet;
use std::ops::Range;

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
    /// [`Error::Shape`] if the positions of a document are not one beside the other.
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
            if !seen.insert(id) {
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

    /// The positions of the document of each position, as columns of its row: i64 `(batch, n, 2)`,
    /// the first one and the one after the last.
    ///
    /// # Errors
    ///
    /// If memory cannot be allocated.
    pub fn bounds(&self) -> Result<Array> {
        let [batch, n] = self.dims;
        let of = |range: Range<usize>| {
            let start = range.start % n;
            let bounds = [start as i64, (start + range.len()) as i64];
            range.flat_map(move |_| bounds)
        };
        let bounds = self.ranges().flat_map(of).collect::<Vec<i64>>();
        Ok(Array::from_vec(bounds, (batch, n, 2), &self.device)?)
    }

    /// The number of positions of each document, in order.
    pub fn lengths(&self) -> impl Iterator<Item = usize> + '_ {
        self.ranges().map(|range| range.len())
    }

    /// The positions of each document, counted over all rows.
    fn ranges(&self) -> impl Iterator<Item = Range<usize>> + '_ {
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
