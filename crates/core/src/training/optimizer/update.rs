//! A step of an optimizer: all updates are prepared before the first is applied. And the memory
//! that steps need.

use super::composed::{Composed, Rule};
use super::settings::GroupSettings;
use super::{Optimizer, State};
use crate::memory::BytesByDevice;
use crate::{Array, Device, Result};
use serde_json::Value as Json;
use xt_kernels::ops::optimizer::{self as kernels, Second, Step, Update};

/// The update of one parameter in a step.
enum PlannedUpdate {
    /// Already computed: the new weight and state.
    Computed(Array, Step),
    /// To be computed when it is applied, updating the state in place. Only the new weights of a
    /// few parameters are allocated at a time.
    InPlace(Update),
    /// To be computed when it is applied.
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
            // gradient, state and new weight
            let arrays = 1 + settings[group].state_arrays() + 1;
            let bytes = leaf.bytes().saturating_mul(arrays);
            needed.add(&leaf.device(), bytes.saturating_add(leaf.pending_bytes()));
        }
        needed.check_sum("training with this optimizer")
    }

    /// Bytes of the state arrays that the next step will allocate for a parameter.
    fn missing(&self, index: usize, settings: &GroupSettings) -> u64 {
        let State { exp_avg, exp_avg_sq, momentum_buffer, .. } = &self.state[index];
        let there = [exp_avg, exp_avg_sq, momentum_buffer].into_iter().flatten().count() as u64;
        self.leaves[index].bytes().saturating_mul(settings.state_arrays().saturating_sub(there))
    }

    /// Performs one step with these settings, one JSON object per group. Parameters that have no
    /// gradient or are frozen do not change.
    ///
    /// Weights and state are changed at the end, so that an error or an abort leaves all of them
    /// unchanged.
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
        self.apply(planned)
    }

    /// Prepares the updates of all parameters that are trained and have a gradient.
    fn plan_all(
        &self,
        settings: &[GroupSettings],
        aborted: &dyn Fn() -> bool,
    ) -> Result<Vec<(usize, PlannedUpdate)>> {
        let (mut planned, mut needed) = (Vec::new(), BytesByDevice::default());
        let mut in_turn = BytesByDevice::default();
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
                        needed.add(&leaf.device(), leaf.bytes());
                        in_turn.add_in_turn(&leaf.device(), of.working_bytes());
                    }
                    PlannedUpdate::Computed(..) => {}
                }
                planned.push((index, plan));
            }
        }
        for (device, bytes) in in_turn.each() {
            bytes.iter().for_each(|bytes| needed.add(device, *bytes));
        }
        // checks all of them together: old weights that are referenced elsewhere are not freed
        // during the step
        for (device, bytes) in needed.each() {
            xt_kernels::memory::alloc::check_all(device, "a step of the optimizer", bytes)?;
        }
        Ok(planned)
    }

    /// Applies the updates. Small ones of one type and device are computed in batches.
    fn apply(&mut self, planned: Vec<(usize, PlannedUpdate)>) -> Result<()> {
        let (mut batch, mut batch_size): (Vec<(usize, Update)>, usize) = (Vec::new(), 0);
        for (index, plan) in planned {
            match plan {
                PlannedUpdate::Computed(weight, step) => self.put(index, weight, step)?,
                PlannedUpdate::Composed(of) => {
                    let (weight, state) = of.compute(self.state[index].step + 1)?;
                    self.leaves[index].set(weight)?;
                    self.state[index] = state;
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
    fn put(&mut self, index: usize, weight: Array, step: Step) -> Result<()> {
        self.leaves[index].set(weight)?;
        self.state[index] = State::of(self.state[index].step + 1, step);
        Ok(())
    }

    /// Computes and stores a batch of updates.
    fn put_all(&mut self, planned: Vec<(usize, Update)>) -> Result<()> {
        let (places, updates): (Vec<_>, Vec<_>) = planned.into_iter().unzip();
        let weights = kernels::update_all(&updates)?;
        for ((index, update), weight) in places.into_iter().zip(updates).zip(weights) {
            self.put(index, weight, update.step)?;
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
        let existing_or_zeros = |array: &Option<Array>| match array {
            Some(array) => array.to_device(&weight.device()),
            None => {
                xt_kernels::memory::alloc::check_like(&weight, weight.dtype(), 1)?;
                weight.zeros_like()
            }
        };
        let step = match settings {
            GroupSettings::Adafactor(s) => {
                let settings = kernels::Adafactor { step: old.step + 1, ..*s };
                let second = match &old.second {
                    Some(second) => second.to_device(&weight.device())?,
                    None => Second::zeros(&weight)?,
                };
                let rule = Rule::Adafactor(settings, second);
                return Ok(PlannedUpdate::Composed(Composed { weight, grad, factor, rule }));
            }
            GroupSettings::Muon(s) => {
                let buffer = existing_or_zeros(&old.momentum_buffer)?;
                let rule = Rule::Muon(*s, buffer);
                return Ok(PlannedUpdate::Composed(Composed { weight, grad, factor, rule }));
            }
            GroupSettings::Sgd(s) => {
                let settings = kernels::Sgd { first: old.momentum_buffer.is_none(), ..*s };
                Step::Sgd {
                    settings,
                    buffer: (s.momentum != 0.0)
                        .then(|| existing_or_zeros(&old.momentum_buffer))
                        .transpose()?,
                }
            }
            GroupSettings::Lion(s) => {
                Step::Lion { settings: *s, mean: existing_or_zeros(&old.exp_avg)? }
            }
            GroupSettings::Adam(s) => {
                let settings = kernels::Adam { step: old.step + 1, ..*s };
                Step::Adam {
                    settings,
                    mean: existing_or_zeros(&old.exp_avg)?,
                    square: existing_or_zeros(&old.exp_avg_sq)?,
                }
            }
        };
        let update = Update { weight, grad, factor, step };
        if update.is_in_place() {
            return Ok(PlannedUpdate::InPlace(update));
        }
        let (weight, step) = kernels::update_out_of_place(&update)?;
        Ok(PlannedUpdate::Computed(weight, step))
    }
}
