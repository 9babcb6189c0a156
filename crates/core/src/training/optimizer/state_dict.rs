//! The state of an optimizer as named tensors, with PyTorch's names: `INDEX.step`, `INDEX.exp_avg`,
//! `INDEX.exp_avg_sq`, `INDEX.momentum_buffer`, `INDEX.row_var`, `INDEX.col_var` and
//! `INDEX.variance`.

use super::settings::GroupSettings;
use super::{unshared_copy, Optimizer, OptimizerKind, State};
use crate::{Array, DType, Device, Error, Result, Tensor};
use serde_json::Value as Json;
use xt_kernels::ops::optimizer::Second;

impl Optimizer {
    /// A copy of the current state.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut named = Vec::new();
        for (i, s) in self.state.iter().enumerate().filter(|(_, s)| s.step > 0) {
            let step = Array::full(s.step as f64, (), &Device::Cpu)?.to_dtype(DType::F32)?;
            named.push((format!("{i}.step"), Tensor::constant(step)));
            let arrays = [
                ("exp_avg", &s.exp_avg),
                ("exp_avg_sq", &s.exp_avg_sq),
                ("momentum_buffer", &s.momentum_buffer),
            ];
            let second = s.second.iter().flat_map(|second| {
                let arrays = second.arrays();
                second_fields(arrays.len()).iter().copied().zip(arrays)
            });
            let arrays =
                arrays.into_iter().filter_map(|(name, array)| Some((name, array.as_ref()?)));
            for (name, array) in arrays.chain(second) {
                named.push((format!("{i}.{name}"), Tensor::constant(unshared_copy(array)?)));
            }
        }
        Ok(named)
    }

    /// Replaces the state, for steps with these settings, one JSON object per group. It stays
    /// unchanged on an error.
    ///
    /// # Errors
    /// The settings are invalid, a name is not one that steps of its parameter read, a tensor has
    /// another shape than its parameter, or the state of a parameter is incomplete.
    pub fn load_state(&mut self, named: &[(String, Tensor)], groups: &[Json]) -> Result<()> {
        let settings = self.all_settings(groups)?;
        let settings: Vec<_> = self.group_of().map(|group| &settings[group]).collect();
        let mut state = vec![State::default(); self.leaves.len()];
        let mut second = vec![Vec::new(); self.leaves.len()];
        for (name, tensor) in named {
            let (index, field) = self.place(name, &settings)?;
            match field {
                "step" => state[index].step = count(name, tensor)?,
                "row_var" | "col_var" | "variance" => second[index].push((field, tensor)),
                "exp_avg" => state[index].exp_avg = Some(self.of_parameter(name, index, tensor)?),
                "exp_avg_sq" => {
                    state[index].exp_avg_sq = Some(self.of_parameter(name, index, tensor)?);
                }
                _ => state[index].momentum_buffer = Some(self.of_parameter(name, index, tensor)?),
            }
        }
        for (index, own) in state.iter_mut().enumerate() {
            own.second = self.second(index, &second[index])?.map(Box::new);
            check_whole(index, own, settings[index])?;
        }
        self.state = state;
        Ok(())
    }

    /// The parameter index and the field of a name, by the settings of each parameter.
    fn place<'a>(&self, name: &'a str, settings: &[&GroupSettings]) -> Result<(usize, &'a str)> {
        let place = name
            .split_once('.')
            .and_then(|(index, field)| Some((index.parse::<usize>().ok()?, field)));
        let known = place.and_then(|(index, field)| Some((index, field, settings.get(index)?)));
        match known {
            Some((index, field, own)) if own.fields().contains(&field) => Ok((index, field)),
            // the others have the same state for all groups
            Some((index, _, own)) if self.kind == OptimizerKind::Muon => {
                Err(Error::Checkpoint(format!(
                    "`{name}` is no state of parameter {index}, which {} steps: give its group the \
                     `use_muon` that it had",
                    if matches!(own, GroupSettings::Muon(_)) { "Muon" } else { "AdamW" }
                )))
            }
            _ => Err(Error::Checkpoint(format!(
                "`{name}` is no state of this optimizer ({} of {} parameters)",
                self.kind.name(),
                self.leaves.len()
            ))),
        }
    }

    /// A copy of a state array of the shape of the parameter, with its type.
    fn of_parameter(&self, name: &str, index: usize, tensor: &Tensor) -> Result<Array> {
        let leaf = &self.leaves[index];
        if tensor.dims() != leaf.shape() {
            let (got, want) = (tensor.dims(), leaf.shape());
            return Err(Error::Checkpoint(format!(
                "`{name}` has shape {got:?}, the parameter {want:?}"
            )));
        }
        self.copied(index, tensor)
    }

    /// The second moment of Adafactor from its tensors by field; `None` without any.
    fn second(&self, index: usize, given: &[(&str, &Tensor)]) -> Result<Option<Second>> {
        if given.is_empty() {
            return Ok(None);
        }
        let dims = self.leaves[index].shape();
        let shapes = Second::shapes(dims);
        let fields = second_fields(shapes.len());
        let mut arrays = Vec::new();
        for (field, shape) in fields.iter().zip(&shapes) {
            let found = given.iter().find(|(name, tensor)| name == field && tensor.dims() == shape);
            let Some((_, tensor)) = found.filter(|_| given.len() == fields.len()) else {
                return Err(Error::Checkpoint(format!(
                    "the state of parameter {index} does not fit its shape {dims:?}: it needs {}",
                    fields
                        .iter()
                        .zip(&shapes)
                        .map(|(f, s)| format!("`{index}.{f}` {s:?}"))
                        .collect::<Vec<_>>()
                        .join(" and ")
                )));
            };
            arrays.push(self.copied(index, tensor)?);
        }
        Ok(Some(Second::of(arrays)?))
    }

    /// A copy of a state array, with the type of the parameter.
    fn copied(&self, index: usize, tensor: &Tensor) -> Result<Array> {
        let leaf = &self.leaves[index];
        let array = tensor.array()?;
        xt_kernels::memory::alloc::check_like(&array, leaf.dtype(), 2)?;
        Ok(array.to_dtype(leaf.dtype())?.copy()?)
    }
}

/// Returns an error if the state of a parameter is incomplete. Where Python saves no count of
/// steps, that there is a state counts as one.
fn check_whole(index: usize, own: &mut State, settings: &GroupSettings) -> Result<()> {
    let needs = match settings {
        GroupSettings::Sgd(_) | GroupSettings::Muon(_) | GroupSettings::Lion(_) => {
            let there = own.momentum_buffer.is_some() || own.exp_avg.is_some();
            own.step = own.step.max(u64::from(there));
            return Ok(());
        }
        GroupSettings::Adafactor(_) if (own.step > 0) == own.second.is_some() => return Ok(()),
        GroupSettings::Adafactor(_) => format!("`{index}.step` and the averages"),
        GroupSettings::Adam(_) => {
            let parts = [own.step > 0, own.exp_avg.is_some(), own.exp_avg_sq.is_some()];
            if parts == [parts[0]; 3] || parts == [false, true, true] {
                return Ok(());
            }
            format!("`{index}.step`, `{index}.exp_avg` and `{index}.exp_avg_sq`")
        }
    };
    Err(Error::Checkpoint(format!("the state of parameter {index} is not whole: it needs {needs}")))
}

/// The names of the arrays of a second moment.
fn second_fields(count: usize) -> &'static [&'static str] {
    match count {
        1 => &["variance"],
        _ => &["row_var", "col_var"],
    }
}

/// A step count from a tensor with one element.
fn count(name: &str, tensor: &Tensor) -> Result<u64> {
    let values: Vec<f64> = tensor.array()?.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?;
    match values.as_slice() {
        [steps] if (0.0..=9e15).contains(steps) && steps.fract() == 0.0 => Ok(*steps as u64),
        _ => Err(Error::Checkpoint(format!("`{name}` is no number of steps"))),
    }
}
