//! The dicts of a pickle.

use super::pickle::Pickle;
use super::value::{text, Id, Value};

/// The entries of a dict; none of what is no dict.
pub fn pairs(pickle: &Pickle, dict: Id) -> &[(Id, Id)] {
    match pickle.values.get(dict) {
        Some(Value::Dict(pairs)) => pairs,
        _ => &[],
    }
}

/// The entries of a dict whose key is text, in order. Of entries with the same key Python takes the last.
pub fn entries(pickle: &Pickle, dict: Id) -> impl DoubleEndedIterator<Item = (&str, Id)> {
    pairs(pickle, dict).iter().filter_map(|(key, value)| Some((text(&pickle.values, *key)?, *value)))
}
