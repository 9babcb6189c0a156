//! The state of an optimizer as named tensors, with PyTorch's names: `INDEX.step`, `INDEX.exp_avg`,
//! `INDEX.exp_avg_sq`, `INDEX.momentum_buffer`, `INDEX.row_var`, `INDEX.col_var` and
//! `INDEX.variance`.

use super::{unshared_copy, Optimizer, OptimizerKind, State};
use crate::{Array, DType, Device, Error, Result, Tensor};
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

    /// Replaces the state. It stays unchanged on an error.
    ///
    /// # Errors
    /// A name is not one of this optimizer, a tensor has another shape than its parameter, or the
    /// state of a parameter is incomplete.
    pub fn load_state(&mut self, named: &[(String, Tensor)]) -> Result<()> {
        let mut state = vec![State::default(); self.leaves.len()];
        let mut second = vec![Vec::new(); self.leaves.len()];
        for (name, tensor) in named {
            let (index, field) = self.place(name)?;
            match field {
                "step" => state[index].step = count(name, tensor)?,
                "row_var" | "col_var" | "variance" => second[index].push((field, tensor)),
                "exp_avg" => state[index].exp_avg = Some(self.average(name, index, tensor)?),
                "exp_avg_sq" => state[index].exp_avg_sq = Some(self.average(name, index, tensor)?),
                _ => state[index].momentum_buffer = Some(self.average(name, index, tensor)?),
            }
        }
        for (index, own) in state.iter_mut().enumerate() {
            own.second = self.second(index, &second[index])?.map(Box::new);
            self.check_whole(index, own)?;
        }
        self.state = state;
        Ok(())
    }

    /// The parameter index and the field of a name.
    fn place<'a>(&self, name: &'a str) -> Result<(usize, &'a str)> {
        let fields: &[&str] = match self.kind {
            OptimizerKind::Sgd => &["step", "momentum_buffer"],
            OptimizerKind::Adam | OptimizerKind::AdamW => &["step", "exp_avg", "exp_avg_sq"],
            OptimizerKind::Lion => &["step", "exp_avg"],
            OptimizerKind::Muon => &["step", "momentum_buffer", "exp_avg", "exp_avg_sq"],
            OptimizerKind::Adafactor => &["step", "row_var", "col_var", "variance"],
        };
        let place = name
            .split_once('.')
            .and_then(|(index, field)| Some((index.parse::<usize>().ok()?, field)));
        place
            .filter(|(index, field)| *index < self.leaves.len() && fields.contains(field))
            .ok_or_else(|| {
                let (kind, count) = (self.kind.name(), self.leaves.len());
                Error::Checkpoint(format!(
                    "`{name}` is no state of this optimizer ({kind} of {count} parameters)"
                ))
            })
    }

    /// A copy of a state array of the shape of the parameter, with its type.
    fn average(&self, name: &str, index: usize, tensor: &Tensor) -> Result<Array> {
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

    /// Returns an error if the state of a parameter is incomplete.
    fn check_whole(&self, index: usize, own: &mut State) -> Result<()> {
        let of_adamw = own.exp_avg.is_some() && self.kind == OptimizerKind::Muon;
        if !self.kind.counts_steps() && !of_adamw {
            let there = own.momentum_buffer.is_some() || own.exp_avg.is_some();
            own.step = own.step.max(u64::from(there));
            return Ok(());
        }
        if self.kind == OptimizerKind::Adafactor {
            return match (own.step > 0) == own.second.is_some() {
                true => Ok(()),
                false => Err(Error::Checkpoint(format!(
                    "the state of parameter {index} is not whole: it needs `{index}.step` and the averages"
                ))),
            };
        }
        let parts = [own.step > 0, own.exp_avg.is_some(), own.exp_avg_sq.is_some()];
        if parts == [parts[0]; 3] || parts == [false, true, true] {
            return Ok(());
        }
        Err(Error::Checkpoint(format!(
            "the state of parameter {index} is not whole: it needs `{index}.step`, `{index}.exp_avg` and \
             `{index}.exp_avg_sq`"
        )))
    }
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
