//! Tables of numbers by position or distance. They are computed on the host and copied to the
//! device of the model, where they are kept for later calls.

use crate::{Array, DType, Device, Result};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};
use xt_kernels::ops::layout::narrow;

/// A table with a row for each of some consecutive integers, which are positions or distances.
#[derive(Default)]
pub struct PositionTable(Mutex<Option<Kept>>);

/// What a table depends on besides its rows.
#[derive(Clone)]
pub struct Kind {
    /// The dtype of the numbers.
    pub dtype: DType,
    /// The device of the table.
    pub device: Device,
    /// The version of the numbers from which the rows are computed.
    pub version: u64,
    /// What else distinguishes the rows from others of this version.
    pub variant: usize,
}

struct Kept {
    kind: Kind,
    rows: Range<i64>,
    /// `(rows, width)`.
    table: Array,
}

impl PositionTable {
    /// The rows for `rows`, `(rows, width)`; `write` appends the numbers of one row. If the table
    /// has grown before, as in a generation, it grows to twice its size.
    pub fn rows(
        &self,
        rows: Range<i64>,
        width: usize,
        kind: &Kind,
        write: &dyn Fn(i64, &mut Vec<f64>),
    ) -> Result<Array> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let old = kept.as_ref().filter(|kept| kept.kind.is_same(kind));
        if let Some(old) = old.filter(|old| covers(&old.rows, &rows)) {
            let first = (rows.start - old.rows.start) as usize;
            return Ok(narrow(&old.table, 0, first, (rows.end - rows.start).max(0) as usize)?);
        }
        let made = old.map_or(rows.clone(), |old| grown(&old.rows, &rows));
        let mut values = Vec::with_capacity((made.end - made.start).max(0) as usize * width);
        made.clone().for_each(|row| write(row, &mut values));
        let table = kind.table(values, width)?;
        let first = (rows.start - made.start) as usize;
        let wanted = narrow(&table, 0, first, (rows.end - rows.start).max(0) as usize)?;
        *kept = Some(Kept { kind: kind.clone(), rows: made, table });
        Ok(wanted)
    }
}

impl Kind {
    /// The table of these numbers, `(rows, width)`, on its device.
    pub fn table(&self, values: Vec<f64>, width: usize) -> Result<Array> {
        let count = values.len() / width.max(1);
        let table = Array::from_vec(values, (count, width), &Device::Cpu)?;
        Ok(table.to_dtype(self.dtype)?.to_device(&self.device)?)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.dtype == other.dtype
            && self.version == other.version
            && self.variant == other.variant
            && self.device.same_device(&other.device)
    }
}

/// Whether `all` has every integer of `some`.
fn covers(all: &Range<i64>, some: &Range<i64>) -> bool {
    all.start <= some.start && some.end <= all.end
}

/// The rows of a table that has `old` and needs `wanted`: twice as many where it grows at one end.
fn grown(old: &Range<i64>, wanted: &Range<i64>) -> Range<i64> {
    let both = old.start.min(wanted.start)..old.end.max(wanted.end);
    let more = both.end - both.start;
    let start = if wanted.start < old.start { both.start - more } else { both.start };
    let end = if wanted.end > old.end { both.end + more } else { both.end };
    // a position is not negative, and a distance of a generation is not positive
    let start = if both.start >= 0 { start.max(0) } else { start };
    let end = if both.end <= 1 { end.min(1) } else { end };
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn rows_are_made_once_and_the_table_grows() {
        let (table, made) = (PositionTable::default(), Cell::new(0));
        let rows = |range: Range<i64>, version| {
            let kind = Kind { dtype: DType::F64, device: Device::Cpu, version, variant: 0 };
            let rows = table.rows(range.clone(), 2, &kind, &|row, values| {
                made.set(made.get() + 1);
                values.extend([row as f64, (row * row) as f64]);
            });
            let want: Vec<_> = range.map(|row| vec![row as f64, (row * row) as f64]).collect();
            assert_eq!(rows.unwrap().to_vec2::<f64>().unwrap(), want);
            made.replace(0)
        };
        assert_eq!([rows(0..5, 1), rows(0..5, 1), rows(2..4, 1)], [5, 0, 0]);
        // a generation, token by token
        assert_eq!(
            [rows(5..6, 1), rows(6..7, 1), rows(11..12, 1), rows(12..13, 1)],
            [12, 0, 0, 26]
        );
        assert_eq!([rows(0..3, 2), rows(0..3, 2)], [3, 0]);
        assert_eq!([rows(-4..3, 2), rows(-6..1, 2), rows(-20..-18, 2)], [14, 0, 46]);
        assert_eq!(rows(3..3, 2), 0);
    }
}
