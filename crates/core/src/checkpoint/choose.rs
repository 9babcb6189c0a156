//! Which tensors of a pickle are the weights.

use super::dict::entries;
use super::errors::{damaged, shown};
use super::paths::paths;
use super::pickle::Pickle;
use super::value::{damaged_pickle, strange, Id, Value, View};
use crate::{Error, Result};
use std::collections::HashMap;

/// Shapes of tensors that have several names may have so many more numbers than the pickle has
/// bytes.
const SHARED: usize = 1 << 20;

/// Keys under which programs save the weights of their model.
const USUAL: [&str; 10] =
    ["model", "state_dict", "model_state_dict", "model_state", "module", "net", "network", "weights", "params", "ema"];

/// A tensor, or what it is instead of one that can be read.
#[derive(Clone, Copy)]
enum Found<'a> {
    View(&'a View),
    Strange(&'static str),
}

fn found(pickle: &Pickle, id: Id) -> Option<Found<'_>> {
    match pickle.values.get(id)? {
        Value::Tensor(view) => Some(Found::View(view)),
        Value::Strange(what) => Some(Found::Strange(what)),
        _ => None,
    }
}

/// How many tensors a dict has, and how many of them have axes.
fn count(pickle: &Pickle, dict: Id) -> (usize, usize) {
    let tensors = entries(pickle, dict).filter_map(|(_, value)| found(pickle, value));
    tensors.fold((0, 0), |(all, wide), tensor| {
        let scalar = matches!(tensor, Found::View(view) if view.shape.is_empty());
        (all + 1, wide + usize::from(!scalar))
    })
}

/// A tensor that was chosen.
pub type Chosen<'a> = (String, &'a View);

/// Keeps the memory for names and shapes in proportion to the file.
pub struct Budget(usize);

impl Budget {
    pub fn new(pickle: &Pickle) -> Self {
        Self(pickle.length + SHARED)
    }

    /// Takes a tensor in, or says why not.
    pub fn take<'a>(&mut self, pickle: &'a Pickle, name: String, id: Id) -> Result<Option<Chosen<'a>>> {
        let view = match found(pickle, id) {
            None => return Ok(None),
            Some(Found::Strange(what)) => return Err(strange(&name, what)),
            Some(Found::View(view)) => view,
        };
        // a name costs a few bytes, and would get a copy of the shape of a tensor that has other
        // names too
        self.spend(2 * view.shape.len() + 4)?;
        Ok(Some((name, view)))
    }

    /// An error where this is more than there is left.
    pub fn spend(&mut self, size: usize) -> Result<()> {
        let rest = self.0.checked_sub(size);
        self.0 = rest.ok_or_else(|| damaged_pickle("it has more tensors than its size allows"))?;
        Ok(())
    }
}

/// The tensors of a dict under their names, of a list by their places, or one alone as `0`.
fn tensors_in(pickle: &Pickle, id: Id) -> Result<Vec<Chosen<'_>>> {
    let (mut places, mut chosen, mut budget) = (HashMap::new(), Vec::new(), Budget::new(pickle));
    let list = match pickle.values.get(id) {
        Some(Value::List(items) | Value::Tuple(items)) => items.as_slice(),
        Some(Value::Tensor(_) | Value::Strange(_)) => &[id],
        _ => &[],
    };
    for (place, item) in list.iter().enumerate() {
        chosen.extend(budget.take(pickle, place.to_string(), *item)?);
    }
    for (name, value) in entries(pickle, id) {
        let Some(tensor) = budget.take(pickle, name.to_string(), value)? else { continue };
        match places.get(name) {
            Some(place) => chosen[*place] = tensor,
            None => {
                places.insert(name, chosen.len());
                chosen.push(tensor);
            }
        }
    }
    Ok(chosen)
}

/// A dict in the outer one, and how many tensors it has.
type Inner<'a> = (&'a str, Id, usize);

/// The dicts in the outer one that have tensors. Many names can stand for the same dict, so that
/// each is looked at once.
fn inner(pickle: &Pickle) -> Vec<Inner<'_>> {
    let mut seen = HashMap::new();
    let mut tensors = |dict: Id| *seen.entry(dict).or_insert_with(|| count(pickle, dict).0);
    let dicts = entries(pickle, pickle.root).map(|(name, dict)| (name, dict, tensors(dict)));
    dicts.filter(|(_, _, count)| *count > 0).collect()
}

/// Where dicts and lists of tensors stand, at any depth that programs use, with how many tensors they
/// have: for messages.
fn places(pickle: &Pickle) -> String {
    let tensors = |id: Id| {
        let items = match pickle.values.get(id) {
            Some(Value::List(items) | Value::Tuple(items)) => items.as_slice(),
            _ => &[],
        };
        let listed = items.iter().filter(|item| found(pickle, **item).is_some()).count();
        let all = listed + count(pickle, id).0;
        (all > 0).then(|| format!(" (tensors: {all})"))
    };
    paths(pickle, tensors)
}

/// What stands in a dict or a list under `key`, or at the end of a path of keys and places with
/// dots.
pub fn at(pickle: &Pickle, from: Id, key: &str) -> Option<Id> {
    let mut place = (from, key);
    loop {
        let (id, rest) = place;
        let step = |name: &str| match name.len() == rest.len() {
            true => Some(""),
            false => rest.strip_prefix(name)?.strip_prefix('.').filter(|rest| !rest.is_empty()),
        };
        if let Some(Value::List(items) | Value::Tuple(items)) = pickle.values.get(id) {
            let name = rest.split('.').next()?;
            place = (*items.get(name.parse::<usize>().ok()?)?, step(name)?);
        } else {
            let whole = entries(pickle, id).rfind(|(name, _)| *name == rest).map(|(_, value)| value);
            let part = || {
                let parts = entries(pickle, id).filter(|(name, _)| rest.starts_with(name) && step(name).is_some());
                parts.max_by_key(|(name, _)| name.len()).and_then(|(name, value)| Some((value, step(name)?)))
            };
            place = whole.map(|value| (value, "")).or_else(part)?;
        }
        if place.1.is_empty() {
            return Some(place.0);
        }
    }
}

fn keyed<'a>(pickle: &'a Pickle, key: &str) -> Result<Vec<Chosen<'a>>> {
    let id = if key.is_empty() { Some(pickle.root) } else { at(pickle, pickle.root, key) };
    let chosen = id.map_or(Ok(Vec::new()), |id| tensors_in(pickle, id))?;
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let there = Some(places(pickle)).filter(|places| !places.is_empty());
    let there = there.unwrap_or_else(|| "none".into());
    Err(damaged(format!("this file has no dict of tensors named `{}`; it has: {there}", shown(key))))
}

/// The weights of a file: what is named `key` (a path with dots; empty: the outer dict), or else
///
/// - a tensor, or a list of tensors, where the file is nothing else;
/// - the only dict of tensors: the outer one, or one in it. A number as a tensor without axes, such
///   as a loss, does not make the outer dict one;
/// - of several, the only one that has a usual key ([`USUAL`]), if none has more tensors.
///
/// Whatever else there is to choose from is an error.
pub fn weights<'a>(pickle: &'a Pickle, key: Option<&str>) -> Result<Vec<Chosen<'a>>> {
    if let Some(key) = key {
        return keyed(pickle, key);
    }
    let (all, wide) = count(pickle, pickle.root);
    let dicts = inner(pickle);
    let usual: Vec<&Inner> = dicts.iter().filter(|(name, _, _)| USUAL.contains(name)).collect();
    let most = dicts.iter().map(|(_, _, count)| *count).fold(all, usize::max);
    match (dicts.as_slice(), usual.as_slice()) {
        ([], _) => {
            let chosen = tensors_in(pickle, pickle.root)?;
            let is_empty_dict = pickle.values.get(pickle.root) == Some(&Value::Dict(Vec::new()));
            (is_empty_dict || !chosen.is_empty()).then_some(chosen).ok_or_else(|| no_tensors(pickle))
        }
        (_, [(_, dict, count)]) if *count == most => tensors_in(pickle, *dict),
        ([(_, dict, _)], _) if wide == 0 => tensors_in(pickle, *dict),
        _ => Err(ambiguous(pickle, all)),
    }
}

fn no_tensors(pickle: &Pickle) -> Error {
    match places(pickle) {
        there if there.is_empty() => damaged(
            "this file holds no state dict: no dict from names to tensors. In Python: torch.save(model.state_dict(), path)"
                .into(),
        ),
        there => damaged(format!("this file has its tensors deeper within: choose them by the option `key`: {there}")),
    }
}

fn ambiguous(pickle: &Pickle, outer: usize) -> Error {
    let outer = match outer {
        0 => String::new(),
        count => format!("; `` is the outer dict itself (tensors: {count})"),
    };
    let there = places(pickle);
    damaged(format!("this file has several dicts of tensors: choose one by the option `key`: {there}{outer}"))
}
