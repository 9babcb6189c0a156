//! Which leaves a part of a computation reads, frozen ones too, of which no graph knows.

use crate::{Error, Leaf, Result};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Leaves with their versions when they were read, by [`key`].
#[derive(Default)]
pub(crate) struct Reads(BTreeMap<usize, (Arc<Leaf>, u64)>);

thread_local! {
    /// Those of the innermost [`reads`] that runs on this thread.
    static READS: RefCell<Option<Reads>> = const { RefCell::new(None) };
}

/// What a leaf is known by, since leaves have no id: its address.
pub(crate) fn key(leaf: &Arc<Leaf>) -> usize {
    Arc::as_ptr(leaf).addr()
}

/// Notes that the values of a leaf are read.
pub(crate) fn note(leaf: &Arc<Leaf>) {
    READS.with_borrow_mut(|reads| {
        if let Some(Reads(all)) = reads {
            all.entry(key(leaf)).or_insert_with(|| (leaf.clone(), leaf.version()));
        }
    });
}

/// Runs `f`, and tells which leaves it has read on this thread, besides those of its own.
pub(crate) fn reads<T>(f: impl FnOnce() -> T, own: impl Fn(&Arc<Leaf>) -> bool) -> (T, Reads) {
    struct Restore(Option<Reads>);
    impl Drop for Restore {
        fn drop(&mut self) {
            READS.set(self.0.take());
        }
    }
    let outer = Restore(READS.replace(Some(Reads::default())));
    let result = f();
    let mut read = READS.take().unwrap_or_default();
    drop(outer);
    read.0.retain(|_, (leaf, _)| !own(leaf));
    // whatever is around this part reads them too
    read.leaves().for_each(note);
    (result, read)
}

impl Reads {
    /// The leaves.
    pub fn leaves(&self) -> impl Iterator<Item = &Arc<Leaf>> {
        self.0.values().map(|(leaf, _)| leaf)
    }

    /// Returns an error if the values of a leaf have changed since they were read.
    pub fn require_unchanged(&self) -> Result<()> {
        self.0.values().try_for_each(|(leaf, version)| leaf.require_version(*version))
    }

    /// Returns an error if there is a leaf that `others` does not have.
    pub fn require_among(&self, others: &Self) -> Result<()> {
        match self.0.iter().find(|(key, _)| !others.0.contains_key(key)) {
            Some((_, (leaf, _))) => Err(Error::StaleParameter { shape: leaf.shape().to_vec() }),
            None => Ok(()),
        }
    }
}
