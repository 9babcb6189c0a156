//! A step of an optimizer: all updates are prepared before the first is applied. And the memory
//! that steps need.

use super::composed::{Composed, Rule};
use super::settings::GroupSettings;
use super::{Optimizer, State};
use crate::memory::BytesByDevice;
use crate::{Array, Device, Error, Result};
use serde_json::Value as Json;
use xt_kernels::ops::optimizer::{self as kernels, Second, Step, Update};

/// The update of one parameter in a step.
enum PlannedUpdate {
    /// Already computed: the new weight and state.
    Computed(Array, State),
    /// To be computed when it is applied, updating the state in place. Only the new weights of a
    /// few parameters are allocated at a time.
    InPlace(Update),
    /// To be computed before any update is applied.
    Composed(Composed),
}

/// Small parameters are updated in one batch of at most this many elements: on the CPU few, whose
/// new weights stay in its caches; on a GPU as many as keep it busy.
fn max_batch(device: &Device) -> usize {
    match device.is_cpu() {
        true => 1 << 18,
        false => 1 << 24,
    }
}

impl Optimizer {
    /// Returns an error if memory does not suffice for training with these settings, one JSON
    /// object per group.
    pub fn check_memory(&self, groups: &[Json]) -> Result<()> {
        let settings = self.all_settings(groups)?;
        let mut needed = BytesByDevice::default();
        for (leaf, group) in self.leaves.iter().zip(self.group_of()) {
            let settings = &settings[group];
            let gradient = leaf.bytes().saturating_add(leaf.pending_bytes());
            let parts = [gradient, settings.state_bytes(leaf), settings.step_bytes(leaf)];
            needed.add(&leaf.device(), parts.into_iter().fold(0, u64::saturating_add));
        }
        needed.check_sum("training with this optimizer")
    }

    /// Bytes of the state arrays that the next step will allocate for a parameter.
    fn missing(&self, index: usize, settings: &GroupSettings) -> u64 {
        let (leaf, State { exp_avg, exp_avg_sq, momentum_buffer, second, .. }) =
            (&self.leaves[index], &self.state[index]);
        let all = settings.state_bytes(leaf);
        let arrays = [exp_avg, exp_avg_sq, momentum_buffer].into_iter().flatten().count() as u64;
        let there = if second.is_some() { all } else { leaf.bytes().saturating_mul(arrays) };
        all.saturating_sub(there)
    }

    /// Performs one step with these settings, one JSON object per group. Parameters that have no
    /// gradient or are frozen do not change.
    ///
    /// Weights and state are changed at the end, so that an error or an abort leaves all of them
    /// unchanged. Only what is updated in place is computed then, of which memory was checked.
    ///
    /// # Errors
    /// The settings are invalid, a parameter is quantized but not frozen, a parameter was released,
    /// memory does not suffice, or `aborted` returned true.
    pub fn step(&mut self, groups: &[Json], aborted: &dyn Fn() -> bool) -> Result<()> {
        let settings = self.all_settings(groups)?;
        let trained =
            |(i, _): &(usize, usize)| self.leaves[*i].requires_grad() && self.leaves[*i].has_grad();
        let mut missing = BytesByDevice::default();
        for (i, group) in self.group_of().enumerate().filter(trained) {
            missing.add(&self.leaves[i].device(), self.missing(i, &settings[group]));
        }
        missing.check_sum("the first step of this optimizer")?;
        let planned = self.plan_all(&settings, aborted)?;
        let planned = self.compute(planned, aborted)?;
        self.apply(planned)
    }

    /// Prepares the updates of all parameters that are trained and have a gradient.
    fn plan_all(
        &self,
        settings: &[GroupSettings],
        aborted: &dyn Fn() -> bool,
    ) -> Result<Vec<(usize, PlannedUpdate)>> {
        let (mut planned, mut needed) = (Vec::new(), BytesByDevice::default());
        for (index, group) in self.group_of().enumerate() {
            if aborted() {
                return Err(xt_autograd::Error::Aborted.into());
            }
            let leaf = &self.leaves[index];
            leaf.require_not_released()?;
            if leaf.requires_grad() {
                leaf.require_plain("training")?;
            }
            if let Some((grad, factor)) = leaf.grad_and_factor().filter(|_| leaf.requires_grad()) {
                let plan = self.plan(index, (grad, factor), &settings[group])?;
                match &plan {
                    PlannedUpdate::InPlace(_) => needed.add(&leaf.device(), leaf.bytes()),
                    PlannedUpdate::Composed(of) => {
                        needed.add(&leaf.device(), settings[group].step_bytes(leaf));
                        needed.add_in_turn(&leaf.device(), of.working_bytes());
                    }
                    PlannedUpdate::Computed(..) => {}
                }
                planned.push((index, plan));
            }
        }
        // checks all of them together: old weights that are referenced elsewhere are not freed
        // during the step
        needed.check_each("a step of the optimizer")?;
        Ok(planned)
    }

    /// Computes the updates that are made of several operations, parameter by parameter.
    fn compute(
        &self,
        planned: Vec<(usize, PlannedUpdate)>,
        aborted: &dyn Fn() -> bool,
    ) -> Result<Vec<(usize, PlannedUpdate)>> {
        let one = |(index, plan): (usize, PlannedUpdate)| match plan {
            PlannedUpdate::Composed(_) if aborted() => Err(xt_autograd::Error::Aborted.into()),
            PlannedUpdate::Composed(of) => {
                let (weight, state) = of.compute(self.state[index].step + 1)?;
                Ok((index, PlannedUpdate::Computed(weight, state)))
            }
            plan => Ok((index, plan)),
        };
        planned.into_iter().map(one).collect()
    }

    /// Applies the updates. Small ones of one type and device are computed in batches.
    fn apply(&mut self, planned: Vec<(usize, PlannedUpdate)>) -> Result<()> {
        let (mut batch, mut batch_size): (Vec<(usize, Update)>, usize) = (Vec::new(), 0);
        for (index, plan) in planned {
            match plan {
                PlannedUpdate::Computed(weight, state) => self.put(index, weight, state)?,
                PlannedUpdate::Composed(_) => {
                    return Err(Error::Internal("a step that was not computed".into()));
                }
                PlannedUpdate::InPlace(update) => {
                    let (dtype, device) = (update.weight.dtype(), update.weight.device());
                    let fits = |(_, other): &(usize, Update)| {
                        other.weight.dtype() == dtype && other.weight.device().same_device(&device)
                    };
                    let size = update.weight.elem_count();
                    let full = batch_size + size > max_batch(&device);
                    if full || !batch.first().is_none_or(fits) {
                        self.put_all(std::mem::take(&mut batch))?;
                        batch_size = 0;
                    }
                    batch.push((index, update));
                    batch_size += size;
                }
            }
        }
        self.put_all(batch)
    }

    /// Stores the new weight and state of a parameter.
    fn put(&mut self, index: usize, weight: Array, state: State) -> Result<()> {
        self.leaves[index].set(weight)?;
        self.state[index] = state;
        Ok(())
    }

    /// Computes and stores a batch of updates.
    fn put_all(&mut self, planned: Vec<(usize, Update)>) -> Result<()> {
        let (places, updates): (Vec<_>, Vec<_>) = planned.into_iter().unzip();
        let weights = kernels::update_all(&updates)?;
        for ((index, update), weight) in places.into_iter().zip(updates).zip(weights) {
            let state = State::of(self.state[index].step + 1, update.step);
            self.put(index, weight, state)?;
        }
        Ok(())
    }

    /// Prepares the update of a parameter. Everything that may fail, such as allocation, happens in
    /// this phase.
    fn plan(
        &self,
        index: usize,
        (grad, factor): (Array, f64),
        settings: &GroupSettings,
    ) -> Result<PlannedUpdate> {
        let (weight, old) = (self.leaves[index].values()?, &self.state[index]);
        let rule = match settings {
            GroupSettings::Adafactor(s) => {
                let settings = kernels::Adafactor { step: old.step + 1, ..*s };
                let second = match &old.second {
                    Some(second) => second.to_device(&weight.device())?,
                    None => Second::zeros(&weight)?,
                };
                Some(Rule::Adafactor(settings, second))
            }
            GroupSettings::Muon(s) => {
                Some(Rule::Muon(*s, existing_or_zeros(&old.momentum_buffer, &weight)?))
            }
            _ => None,
        };
        if let Some(rule) = rule {
            return Ok(PlannedUpdate::Composed(Composed { weight, grad, factor, rule }));
        }
        let step = fused_step(old, &weight, settings)?;
        let update = Update { weight, grad, factor, step };
        if update.is_in_place() {
            return Ok(PlannedUpdate::InPlace(update));
        }
        let (weight, step) = kernels::update_out_of_place(&update)?;
        Ok(PlannedUpdate::Computed(weight, State::of(old.step + 1, step)))
    }
}

/// A state array on the device of the weight; zeros before the first step.
fn existing_or_zeros(array: &Option<Array>, weight: &Array) -> Result<Array> {
    Ok(match array {
        Some(array) => array.to_device(&weight.device())?,
        None => {
            xt_kernels::memory::alloc::check_like(weight, weight.dtype(), 1)?;
            weight.zeros_like()?
        }
    })
}

/// The step of one kernel, with its state after the `old` one.
fn fused_step(old: &State, weight: &Array, settings: &GroupSettings) -> Result<Step> {
    let state = |array| existing_or_zeros(array, weight);
    match settings {
        GroupSettings::Sgd(s) => {
            let settings = kernels::Sgd { first: old.momentum_buffer.is_none(), ..*s };
            let buffer = (s.momentum != 0.0).then(|| state(&old.momentum_buffer)).transpose()?;
            Ok(Step::Sgd { settings, buffer })
        }
        GroupSettings::Lion(s) => Ok(Step::Lion { settings: *s, mean: state(&old.exp_avg)? }),
        GroupSettings::Adam(s) => {
            let settings = kernels::Adam { step: old.step + 1, ..*s };
            let (mean, square) = (state(&old.exp_avg)?, state(&old.exp_avg_sq)?);
            Ok(Step::Adam { settings, mean, square })
        }
        GroupSettings::Muon(_) | GroupSettings::Adafactor(_) => {
            Err(Error::Internal("these steps are made of several operations".into()))
        }
    }
}
