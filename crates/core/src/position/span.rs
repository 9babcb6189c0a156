//! Which positions meet in an attention.

/// The queries are the last `queries` of `keys` positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub queries: usize,
    pub keys: usize,
}

impl Span {
    /// Key minus query, of all pairs: from the last query and the first key to the first query and the last key.
    pub fn distances(self) -> impl Iterator<Item = i64> {
        (0..(self.queries + self.keys).saturating_sub(1) as i64).map(move |n| n + 1 - self.keys as i64)
    }
}
