//! The state of a PyTorch optimizer, as returned by `optimizer.state_dict()`: `state`, from the
//! index of a parameter to its averages, and `param_groups` with the settings.

use super::dict::{entries, pairs};
use super::errors::{damaged, shown, unsupported};
use super::paths::paths;
use super::pickle::Pickle;
use super::py_value::{damaged_pickle, text, unreadable, Id, PyValue};
use super::select::{resolve_path, Budget, Selected};
use crate::{Error, Result};
use serde_json::{json, Map, Value as Json};
use std::collections::HashSet;

/// The state of an optimizer in a file.
pub struct OptimizerState<'a> {
    /// The tensors `INDEX.FIELD`, and settings that are tensors.
    pub tensors: Vec<Selected<'a>>,
    /// Fields that are plain numbers, such as `INDEX.step`.
    pub numbers: Vec<(String, f64)>,
    /// The settings of each group; `{ "$tensor": name }` refers to a setting that is a tensor.
    pub groups: Json,
}

/// The entries `state` and `param_groups` of a dict, if it is the state of an optimizer.
fn parts(pickle: &Pickle, id: Id) -> Option<(Id, &[Id])> {
    let part = |wanted: &str| {
        entries(pickle, id).rfind(|(name, _)| *name == wanted).map(|(_, value)| value)
    };
    let (state, groups) = (part("state")?, part("param_groups")?);
    match (pickle.values.get(state)?, pickle.values.get(groups)?) {
        (PyValue::Dict(_), PyValue::List(groups)) => Some((state, groups)),
        _ => None,
    }
}

/// The states in a value, each with its path: the value itself, or the items of a list.
fn states(pickle: &Pickle, path: &str, id: Id) -> Vec<(String, Id)> {
    let list = match pickle.values.get(id) {
        Some(PyValue::List(items)) => items.as_slice(),
        _ => return parts(pickle, id).map(|_| (path.to_string(), id)).into_iter().collect(),
    };
    let items = list.iter().enumerate().filter(|(_, item)| parts(pickle, **item).is_some());
    items.map(|(i, item)| (format!("{path}.{i}"), *item)).collect()
}

/// The state at `key`, or the only one in the file.
fn find(pickle: &Pickle, key: Option<&str>) -> Result<Id> {
    if parts(pickle, pickle.root).is_some() && key.is_none_or(str::is_empty) {
        return Ok(pickle.root);
    }
    let mut seen = HashSet::new();
    let found: Vec<(String, Id)> = match key {
        Some(key) => {
            resolve_path(pickle, pickle.root, key).map_or(Vec::new(), |id| states(pickle, key, id))
        }
        None => entries(pickle, pickle.root)
            .filter(|(_, id)| seen.insert(*id))
            .flat_map(|(name, id)| states(pickle, name, id))
            .collect(),
    };
    match (found.as_slice(), key) {
        ([(_, id)], _) => Ok(*id),
        ([], key) => Err(no_state(pickle, key)),
        (several, _) => {
            let names: Vec<String> =
                several.iter().take(8).map(|(path, _)| format!("`{}`", shown(path))).collect();
            let there = names.join(", ");
            Err(damaged(format!("this file has several states of optimizers: choose one by the option `key`: {there}")))
        }
    }
}

/// The error for a file without a state of an optimizer where it is expected.
fn no_state(pickle: &Pickle, key: Option<&str>) -> Error {
    let there = paths(pickle, |id| parts(pickle, id).map(|_| String::new()));
    damaged(match key {
        None if there.is_empty() => {
            "this file holds no state of an optimizer: no dict with `state` and `param_groups`. In \
                                     Python: torch.save(optimizer.state_dict(), path)"
                .into()
        }
        None => {
            format!("this file has its states of optimizers deeper within: choose one by the option `key`: {there}")
        }
        Some(key) => {
            let there = if there.is_empty() { "none".into() } else { there };
            format!(
                "this file has no state of an optimizer named `{}`; it has: {there}",
                shown(key)
            )
        }
    })
}

/// Reads the state at `key` (a path with dots), or the only one in the file.
pub fn read<'a>(pickle: &'a Pickle, key: Option<&str>) -> Result<OptimizerState<'a>> {
    let id = find(pickle, key)?;
    let (state, groups) =
        parts(pickle, id).ok_or_else(|| Error::Internal("a state has no parts".into()))?;
    let mut reading =
        Reading { pickle, budget: Budget::new(pickle), tensors: Vec::new(), numbers: Vec::new() };
    let mut seen = HashSet::new();
    for (key, fields) in pairs(pickle, state) {
        match pickle.values.get(*key) {
            Some(PyValue::Int(index)) if seen.insert(*index) => reading.fields(*index, *fields)?,
            Some(PyValue::Int(index)) => {
                return Err(damaged_pickle(&format!("it has two states of parameter {index}")));
            }
            _ => return Err(unsupported(BY_NAME.into())),
        }
    }
    let groups = groups
        .iter()
        .enumerate()
        .map(|(i, group)| reading.group(i, *group))
        .collect::<Result<Vec<_>>>()?;
    Ok(OptimizerState {
        tensors: reading.tensors,
        numbers: reading.numbers,
        groups: Json::Array(groups),
    })
}

const BY_NAME: &str =
    "the state of this optimizer has its parameters by name, which is not supported: save \
                       optimizer.state_dict(), which has them by number";

/// A state that is being read.
struct Reading<'a> {
    pickle: &'a Pickle,
    budget: Budget,
    tensors: Vec<Selected<'a>>,
    numbers: Vec<(String, f64)>,
}

impl Reading<'_> {
    /// Reads the state of one parameter.
    fn fields(&mut self, index: i64, fields: Id) -> Result<()> {
        let mut names = HashSet::new();
        for (key, value) in pairs(self.pickle, fields) {
            let Some(field) = text(&self.pickle.values, *key) else { continue };
            self.budget.spend(field.len() + 8)?;
            let name = format!("{index}.{field}");
            if !names.insert(field) {
                return Err(damaged_pickle(&format!("it has two states named `{}`", shown(&name))));
            }
            match self.pickle.values.get(*value) {
                Some(PyValue::None) => {}
                Some(PyValue::Int(n)) => self.numbers.push((name, *n as f64)),
                Some(PyValue::Float(x)) => self.numbers.push((name, *x)),
                Some(PyValue::Tensor(_) | PyValue::Unreadable(_)) => self.tensor(name, *value)?,
                _ => {
                    return Err(unreadable(
                        &name,
                        "of the optimizer's state is neither a tensor nor a number",
                    ))
                }
            }
        }
        Ok(())
    }

    /// Selects a tensor.
    fn tensor(&mut self, name: String, id: Id) -> Result<()> {
        self.tensors.extend(self.budget.take(self.pickle, name, id)?);
        Ok(())
    }

    /// The settings of a group, without those that have an unsupported type.
    fn group(&mut self, index: usize, group: Id) -> Result<Json> {
        let mut settings = Map::new();
        for (key, id) in entries(self.pickle, group) {
            self.budget.spend(key.len() + 8)?;
            let path = format!("param_groups.{index}.{key}");
            let value = match self.pickle.values.get(id) {
                Some(PyValue::Tuple(items) | PyValue::List(items)) => {
                    self.budget.spend(items.len())?;
                    let items = items.iter().enumerate();
                    let list = items.map(|(i, item)| self.setting(format!("{path}.{i}"), *item));
                    list.collect::<Result<Option<Vec<_>>>>()?.map(Json::Array)
                }
                _ => self.setting(path, id)?,
            };
            if let Some(value) = value {
                settings.insert(key.into(), value);
            }
        }
        Ok(Json::Object(settings))
    }

    /// A setting as JSON; `None` if its type is not supported.
    fn setting(&mut self, path: String, id: Id) -> Result<Option<Json>> {
        Ok(match self.pickle.values.get(id) {
            Some(PyValue::None) => Some(Json::Null),
            Some(PyValue::Bool(b)) => Some(json!(b)),
            Some(PyValue::Int(n)) => Some(json!(n)),
            Some(PyValue::Float(x)) => Some(json!(x)),
            Some(PyValue::Text(text)) => {
                self.budget.spend(text.len())?;
                Some(json!(text))
            }
            Some(PyValue::Tensor(_)) => {
                self.tensor(path.clone(), id)?;
                Some(json!({ "$tensor": path }))
            }
            _ => None,
        })
    }
}
