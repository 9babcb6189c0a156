//! Where in a pickle something stands, in words, for messages.

use super::dict::entries;
use super::errors::shown;
use super::pickle::Pickle;
use super::value::{Id, Value};
use std::collections::{HashMap, VecDeque};

/// How deep is looked, into how many values, and at keys of which length.
const DEPTH: usize = 4;
const VALUES: usize = 10_000;
const KEY: usize = 256;
/// How many places a message names.
const NAMED: usize = 8;

/// The paths, of keys and places with dots, to the dicts and lists within the outer one of which `told`
/// says something, each followed by that; the less deep first. Empty where there are none. Many names can
/// stand for the same value, so that each is looked into once.
pub fn paths(pickle: &Pickle, told: impl Fn(Id) -> Option<String>) -> String {
    let mut seen: HashMap<Id, Option<String>> = HashMap::from([(pickle.root, None)]);
    let mut queue = VecDeque::from([(String::new(), pickle.root, 0)]);
    let (mut named, mut count) = (vec![], 0usize);
    while let Some((path, id, depth)) = queue.pop_front() {
        let mut visit = |name: &str, child: Id| {
            let holds = matches!(pickle.values.get(child), Some(Value::Dict(_) | Value::List(_) | Value::Tuple(_)));
            let known = seen.contains_key(&child);
            if !holds || name.len() > KEY || !known && seen.len() >= VALUES {
                return;
            }
            let path = || if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
            match seen.entry(child).or_insert_with(|| told(child)) {
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
            Some(Value::List(items) | Value::Tuple(items)) => {
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
