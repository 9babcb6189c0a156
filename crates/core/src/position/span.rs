//! The positions of queries and keys in one attention.

use std::ops::Range;

/// The positions of one attention: the queries are the last `queries` of `keys` positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The number of queries.
    pub queries: usize,
    /// The number of keys.
    pub keys: usize,
}

impl Span {
    /// All distances, key minus query, in ascending order: from the last query and the first key,
    /// `1 - keys`, to the first query and the last key, `queries - 1`.
    pub fn distances(self) -> Range<i64> {
        let first = 1 - self.keys as i64;
        first..first + (self.queries + self.keys).saturating_sub(1) as i64
    }
}
