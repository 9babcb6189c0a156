//! Selects the tensors of a pickle that are the weights.

use super::dict::entries;
use super::errors::{damaged, shown};
use super::paths::paths;
use super::pickle::Pickle;
use super::py_value::{damaged_pickle, unreadable, Id, PyValue, View};
use crate::{Error, Result};
use std::collections::HashMap;

/// Allowance beyond the size of the pickle for the shapes of tensors with several names, in
/// numbers.
const SHARED_SHAPES: usize = 1 << 20;

/// Keys under which programs usually save the weights of their model.
const USUAL_KEYS: [&str; 10] = [
    "model",
    "state_dict",
    "model_state_dict",
    "model_state",
    "module",
    "net",
    "network",
    "weights",
    "params",
    "ema",
];

/// A tensor, or a description of why it cannot be read.
#[derive(Clone, Copy)]
enum Found<'a> {
    /// A readable tensor.
    View(&'a View),
    /// An unreadable tensor, and the reason.
    Unreadable(&'static str),
}

/// The tensor with this id, if the value is one.
fn found(pickle: &Pickle, id: Id) -> Option<Found<'_>> {
    match pickle.values.get(id)? {
        PyValue::Tensor(view) => Some(Found::View(view)),
        PyValue::Unreadable(what) => Some(Found::Unreadable(what)),
        _ => None,
    }
}

/// The number of tensors of a dict, and of those with at least one axis or unreadable.
fn count(pickle: &Pickle, dict: Id) -> (usize, usize) {
    let tensors = entries(pickle, dict).filter_map(|(_, value)| found(pickle, value));
    tensors.fold((0, 0), |(all, wide), tensor| {
        let scalar = matches!(tensor, Found::View(view) if view.shape.is_empty());
        (all + 1, wide + usize::from(!scalar))
    })
}

/// A selected tensor with its name.
pub type Selected<'a> = (String, &'a View);

/// Limits the memory for names and shapes in proportion to the size of the file.
pub struct Budget(usize);

impl Budget {
    /// A budget for the tensors of a pickle.
    pub fn new(pickle: &Pickle) -> Self {
        Self(pickle.length + SHARED_SHAPES)
    }

    /// Selects a value under a name: `None` if it is no tensor.
    ///
    /// # Errors
    /// The tensor cannot be read, or the budget is exceeded.
    pub fn take<'a>(
        &mut self,
        pickle: &'a Pickle,
        name: String,
        id: Id,
    ) -> Result<Option<Selected<'a>>> {
        let view = match found(pickle, id) {
            None => return Ok(None),
            Some(Found::Unreadable(what)) => return Err(unreadable(&name, what)),
            Some(Found::View(view)) => view,
        };
        // a name costs only a few bytes in the file, but gets its own copy of the shape of a tensor
        // that has other names too
        self.spend(2 * view.shape.len() + 4)?;
        Ok(Some((name, view)))
    }

    /// Subtracts `size`; an error if the budget is exceeded.
    pub fn spend(&mut self, size: usize) -> Result<()> {
        let rest = self.0.checked_sub(size);
        self.0 = rest.ok_or_else(|| damaged_pickle("it has more tensors than its size allows"))?;
        Ok(())
    }
}

/// The tensors of a dict by name, of a list by index, or a single tensor as `0`.
fn tensors_in(pickle: &Pickle, id: Id) -> Result<Vec<Selected<'_>>> {
    let (mut tensor_paths, mut selected, mut budget) =
        (HashMap::new(), Vec::new(), Budget::new(pickle));
    let list = match pickle.values.get(id) {
        Some(PyValue::List(items) | PyValue::Tuple(items)) => items.as_slice(),
        Some(PyValue::Tensor(_) | PyValue::Unreadable(_)) => &[id],
        _ => &[],
    };
    for (place, item) in list.iter().enumerate() {
        selected.extend(budget.take(pickle, place.to_string(), *item)?);
    }
    for (name, value) in entries(pickle, id) {
        let Some(tensor) = budget.take(pickle, name.to_string(), value)? else { continue };
        match tensor_paths.get(name) {
            Some(place) => selected[*place] = tensor,
            None => {
                tensor_paths.insert(name, selected.len());
                selected.push(tensor);
            }
        }
    }
    Ok(selected)
}

/// A dict within the outer dict: its name, and its number of tensors.
type Inner<'a> = (&'a str, Id, usize);

/// The dicts in the outer dict that contain tensors. Each is counted only once, as many names can
/// refer to the same dict.
fn inner(pickle: &Pickle) -> Vec<Inner<'_>> {
    let mut seen = HashMap::new();
    let mut tensors = |dict: Id| *seen.entry(dict).or_insert_with(|| count(pickle, dict).0);
    let dicts = entries(pickle, pickle.root).map(|(name, dict)| (name, dict, tensors(dict)));
    dicts.filter(|(_, _, count)| *count > 0).collect()
}

/// The paths of dicts and lists of tensors, with their number of tensors, for messages.
fn tensor_paths(pickle: &Pickle) -> String {
    let tensors = |id: Id| {
        let items = match pickle.values.get(id) {
            Some(PyValue::List(items) | PyValue::Tuple(items)) => items.as_slice(),
            _ => &[],
        };
        let listed = items.iter().filter(|item| found(pickle, **item).is_some()).count();
        let all = listed + count(pickle, id).0;
        (all > 0).then(|| format!(" (tensors: {all})"))
    };
    paths(pickle, tensors)
}

/// The value under `key` in a dict or a list, or at the end of a path of keys and indices separated
/// by dots.
pub fn resolve_path(pickle: &Pickle, from: Id, key: &str) -> Option<Id> {
    let mut place = (from, key);
    loop {
        let (id, rest) = place;
        let step = |name: &str| match name.len() == rest.len() {
            true => Some(""),
            false => rest.strip_prefix(name)?.strip_prefix('.').filter(|rest| !rest.is_empty()),
        };
        if let Some(PyValue::List(items) | PyValue::Tuple(items)) = pickle.values.get(id) {
            let name = rest.split('.').next()?;
            place = (*items.get(name.parse::<usize>().ok()?)?, step(name)?);
        } else {
            let whole =
                entries(pickle, id).rfind(|(name, _)| *name == rest).map(|(_, value)| value);
            let part = || {
                let parts = entries(pickle, id)
                    .filter(|(name, _)| rest.starts_with(name) && step(name).is_some());
                parts
                    .max_by_key(|(name, _)| name.len())
                    .and_then(|(name, value)| Some((value, step(name)?)))
            };
            place = whole.map(|value| (value, "")).or_else(part)?;
        }
        if place.1.is_empty() {
            return Some(place.0);
        }
    }
}

/// The tensors under `key`; the outer dict if it is empty.
fn weights_at<'a>(pickle: &'a Pickle, key: &str) -> Result<Vec<Selected<'a>>> {
    let id =
        if key.is_empty() { Some(pickle.root) } else { resolve_path(pickle, pickle.root, key) };
    let selected = id.map_or(Ok(Vec::new()), |id| tensors_in(pickle, id))?;
    if !selected.is_empty() {
        return Ok(selected);
    }
    let there = Some(tensor_paths(pickle)).filter(|tensor_paths| !tensor_paths.is_empty());
    let there = there.unwrap_or_else(|| "none".into());
    Err(damaged(format!(
        "this file has no dict of tensors named `{}`; it has: {there}",
        shown(key)
    )))
}

/// The weights of a file: the value at `key` (a path with dots; the outer dict if empty), or else
///
/// - a tensor, or a list of tensors, if the file contains nothing else;
/// - the only dict of tensors: the outer one, or one in it. A tensor without axes, such as a loss,
///   does not make the outer dict one;
/// - of several dicts, the only one with a usual key ([`USUAL_KEYS`]), if none has more tensors.
///
/// # Errors
/// The weights are missing or ambiguous.
pub fn weights<'a>(pickle: &'a Pickle, key: Option<&str>) -> Result<Vec<Selected<'a>>> {
    if let Some(key) = key {
        return weights_at(pickle, key);
    }
    let (all, wide) = count(pickle, pickle.root);
    let dicts = inner(pickle);
    let usual: Vec<&Inner> =
        dicts.iter().filter(|(name, _, _)| USUAL_KEYS.contains(name)).collect();
    let most = dicts.iter().map(|(_, _, count)| *count).fold(all, usize::max);
    match (dicts.as_slice(), usual.as_slice()) {
        ([], _) => {
            let selected = tensors_in(pickle, pickle.root)?;
            let is_empty_dict = pickle.values.get(pickle.root) == Some(&PyValue::Dict(Vec::new()));
            (is_empty_dict || !selected.is_empty())
                .then_some(selected)
                .ok_or_else(|| no_tensors(pickle))
        }
        (_, [(_, dict, count)]) if *count == most => tensors_in(pickle, *dict),
        ([(_, dict, _)], _) if wide == 0 => tensors_in(pickle, *dict),
        _ => Err(ambiguous(pickle, all)),
    }
}

/// The error for a file without a dict of tensors in the outer dict.
fn no_tensors(pickle: &Pickle) -> Error {
    match tensor_paths(pickle) {
        there if there.is_empty() => damaged(
            "this file holds no state dict: no dict from names to tensors. In Python: torch.save(model.state_dict(), path)"
                .into(),
        ),
        there => damaged(format!("this file has its tensors deeper within: choose them by the option `key`: {there}")),
    }
}

/// The error for a file with several dicts of tensors.
fn ambiguous(pickle: &Pickle, outer: usize) -> Error {
    let outer = match outer {
        0 => String::new(),
        count => format!("; `` is the outer dict itself (tensors: {count})"),
    };
    let there = tensor_paths(pickle);
    damaged(format!(
        "this file has several dicts of tensors: choose one by the option `key`: {there}{outer}"
    ))
}
