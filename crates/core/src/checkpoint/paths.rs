//! Paths to values within a pickle, for messages.

use super::dict::entries;
use super::errors::shown;
use super::pickle::Pickle;
use super::py_value::{Id, PyValue};
use std::collections::{HashMap, VecDeque};

/// The greatest depth of the search.
const DEPTH: usize = 4;
/// The greatest number of values that the search visits.
const VALUES: usize = 10_000;
/// The greatest length of a key that the search follows.
const KEY: usize = 256;
/// The greatest number of paths in a message.
const NAMED: usize = 8;

/// The paths, of keys and indices separated by dots, to the dicts and lists for which `describe`
/// returns a text, each followed by that text, in breadth-first order. Empty if there are none.
/// Each value is visited only once, as many names can refer to the same value.
pub fn paths(pickle: &Pickle, describe: impl Fn(Id) -> Option<String>) -> String {
    let mut seen: HashMap<Id, Option<String>> = HashMap::from([(pickle.root, None)]);
    let mut queue = VecDeque::from([(String::new(), pickle.root, 0)]);
    let (mut named, mut count) = (vec![], 0usize);
    while let Some((path, id, depth)) = queue.pop_front() {
        let mut visit = |name: &str, child: Id| {
            let holds = matches!(
                pickle.values.get(child),
                Some(PyValue::Dict(_) | PyValue::List(_) | PyValue::Tuple(_))
            );
            let known = seen.contains_key(&child);
            if !holds || name.len() > KEY || !known && seen.len() >= VALUES {
                return;
            }
            let path = || if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            match seen.entry(child).or_insert_with(|| describe(child)) {
                Some(_) if named.len() >= NAMED => count += 1,
                Some(what) => {
                    count += 1;
                    named.push(format!("`{}`{what}", shown(&path())));
                }
                None if !known && depth + 1 < DEPTH => queue.push_back((path(), child, depth + 1)),
                None => {}
            }
        };
        match pickle.values.get(id) {
            Some(PyValue::List(items) | PyValue::Tuple(items)) => {
                items.iter().enumerate().for_each(|(i, child)| visit(&i.to_string(), *child));
            }
            _ => entries(pickle, id).for_each(|(name, child)| visit(name, child)),
        }
    }
    let more = count - named.len();
    match more {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}
