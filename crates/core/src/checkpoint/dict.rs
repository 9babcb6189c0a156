//! Access to the dicts of a pickle.

use super::pickle::Pickle;
use super::py_value::{text, Id, PyValue};

/// The entries of a dict; empty for any other value.
pub fn pairs(pickle: &Pickle, dict: Id) -> &[(Id, Id)] {
    match pickle.values.get(dict) {
        Some(PyValue::Dict(pairs)) => pairs,
        _ => &[],
    }
}

/// The entries of a dict with a text key, in order. As in Python, the last of several entries with
/// the same key counts.
pub fn entries(pickle: &Pickle, dict: Id) -> impl DoubleEndedIterator<Item = (&str, Id)> {
    pairs(pickle, dict)
        .iter()
        .filter_map(|(key, value)| Some((text(&pickle.values, *key)?, *value)))
}
