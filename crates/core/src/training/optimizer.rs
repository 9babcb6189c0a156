//! SGD, Adam and AdamW, with the options of PyTorch and a state that can be saved.

use crate::{Array, Error, Leaf, Result};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_kernels::ops::optimizer::{self as kernels, Step, Update};
use xt_options::optimizers::{AdamOptions, AdamWOptions, MomentOptions, SgdOptions};
use xt_options::{NonNegative, Options, Problems};

/// The algorithm of an optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimizerKind {
    /// Stochastic gradient descent, with optional momentum.
    Sgd,
    /// Adam; weight decay is added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
}

impl OptimizerKind {
    /// The algorithm with PyTorch's name `name`.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "SGD" => Ok(Self::Sgd),
            "Adam" => Ok(Self::Adam),
            "AdamW" => Ok(Self::AdamW),
            _ => Err(Error::Internal(format!("there is no optimizer {name}"))),
        }
    }

    /// The name of the class in PyTorch.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "SGD",
            Self::Adam => "Adam",
            Self::AdamW => "AdamW",
        }
    }
}

/// The state of one parameter between steps. The arrays are updated in place, as they are not
/// shared.
#[derive(Clone, Default)]
pub(super) struct State {
    /// The number of steps so far.
    pub step: u64,
    /// Adam: running average of the gradient, in the shape of the parameter.
    pub exp_avg: Option<Array>,
    /// Adam: running average of the squared gradient, in the shape of the parameter.
    pub exp_avg_sq: Option<Array>,
    /// SGD: the momentum buffer, in the shape of the parameter.
    pub momentum_buffer: Option<Array>,
}

impl State {
    /// The state after step number `step`.
    fn of(step: u64, kept: Step) -> Self {
        match kept {
            Step::Adam { mean, square, .. } => {
                Self { step, exp_avg: Some(mean), exp_avg_sq: Some(square), momentum_buffer: None }
            }
            Step::Sgd { buffer, .. } => Self { step, momentum_buffer: buffer, ..Self::default() },
        }
    }
}

/// An optimizer over groups of parameters.
pub struct Optimizer {
    /// The algorithm.
    pub(super) kind: OptimizerKind,
    /// The parameters, group by group.
    pub(super) leaves: Vec<Arc<Leaf>>,
    /// Number of parameters of each group.
    groups: Vec<usize>,
    /// The state of each parameter.
    pub(super) state: Vec<State>,
}

/// The update of one parameter in a step.
enum Plan {
    /// Already computed: the new weight and state.
    Made(Array, Step),
    /// To be computed when it is applied, updating the state in place. Only the new weights of a
    /// few parameters are allocated at a time.
    Later(Update),
}

/// A copy that is not shared.
pub(super) fn copied(array: &Array) -> Result<Array> {
    xt_kernels::memory::alloc::check_like(array, array.dtype(), 1)?;
    Ok(array.copy()?)
}

/// Small parameters are updated in one batch of at most this many elements.
const TOGETHER: usize = 1 << 18;

/// The settings of one group; `first` and `step` are set per parameter.
enum Settings {
    Sgd(kernels::Sgd),
    Adam(kernels::Adam),
}

impl Settings {
    /// The number of state arrays per parameter.
    fn kept(&self) -> u64 {
        match self {
            Settings::Sgd(settings) if settings.momentum == 0.0 => 0,
            Settings::Sgd(_) => 1,
            Settings::Adam(_) => 2,
        }
    }
}

/// The saturating sum of byte counts.
fn sum(bytes: impl Iterator<Item = u64>) -> u64 {
    bytes.fold(0, u64::saturating_add)
}

impl Optimizer {
    /// `groups` contains the number of parameters of each group; `leaves` are the parameters, group
    /// by group.
    ///
    /// # Errors
    /// A parameter occurs twice.
    pub fn new(kind: OptimizerKind, leaves: Vec<Arc<Leaf>>, groups: Vec<usize>) -> Result<Self> {
        if groups.iter().sum::<usize>() != leaves.len() {
            return Err(Error::Internal("the groups do not cover the parameters".into()));
        }
        let mut seen = std::collections::HashSet::new();
        if !leaves.iter().all(|leaf| seen.insert(Arc::as_ptr(leaf))) {
            let mut problems = Problems::default();
            problems.add("parameters", "a parameter stands in the list twice");
            return Err(Error::Options { class: kind.name().into(), problems });
        }
        let state = vec![State::default(); leaves.len()];
        Ok(Self { kind, leaves, groups, state })
    }

    /// Returns an error if memory does not suffice for training with these settings, one JSON
    /// object per group.
    pub fn check_memory(&self, groups: &[Json]) -> Result<()> {
        let settings = self.all_settings(groups)?;
        let pending = sum(self.leaves.iter().map(|leaf| leaf.pending_bytes()));
        // gradient, state and new weight
        let each = |(leaf, group): (&Arc<Leaf>, usize)| {
            leaf.bytes().saturating_mul(1 + settings[group].kept() + 1)
        };
        let needed = sum(self.leaves.iter().zip(self.group_of()).map(each)).saturating_add(pending);
        Ok(xt_kernels::memory::check("training with this optimizer", needed)?)
    }

    /// The settings of all groups.
    fn all_settings(&self, groups: &[Json]) -> Result<Vec<Settings>> {
        let settings = groups
            .iter()
            .enumerate()
            .map(|(i, g)| self.settings(i, g))
            .collect::<Result<Vec<_>>>()?;
        match settings.len() == self.groups.len() {
            true => Ok(settings),
            false => Err(Error::Internal("settings for another number of groups".into())),
        }
    }

    /// The group of each parameter.
    fn group_of(&self) -> impl Iterator<Item = usize> + '_ {
        self.groups.iter().enumerate().flat_map(|(g, n)| std::iter::repeat_n(g, *n))
    }

    /// Bytes of the state arrays that the next step will allocate for a parameter.
    fn missing(&self, index: usize, settings: &Settings) -> u64 {
        let State { exp_avg, exp_avg_sq, momentum_buffer, .. } = &self.state[index];
        let there = [exp_avg, exp_avg_sq, momentum_buffer].into_iter().flatten().count() as u64;
        self.leaves[index].bytes().saturating_mul(settings.kept().saturating_sub(there))
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
        let missing = self
            .group_of()
            .enumerate()
            .filter(trained)
            .map(|(i, group)| self.missing(i, &settings[group]));
        let missing = sum(missing);
        if missing > 0 {
            xt_kernels::memory::check("the first step of this optimizer", missing)?;
        }
        let (mut planned, mut bytes) = (Vec::new(), Vec::new());
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
                if matches!(plan, Plan::Later(_)) {
                    bytes.push(leaf.bytes());
                }
                planned.push((index, plan));
            }
        }
        // checks all of them together: old weights that are referenced elsewhere are not freed
        // during the step
        xt_kernels::memory::alloc::check_all("a step of the optimizer", &bytes)?;
        let (mut later, mut together): (Vec<(usize, Update)>, usize) = (Vec::new(), 0);
        for (index, plan) in planned {
            match plan {
                Plan::Made(weight, step) => self.put(index, weight, step)?,
                Plan::Later(update) => {
                    let fits = |(_, other): &(usize, Update)| {
                        other.weight.dtype() == update.weight.dtype()
                    };
                    let size = update.weight.elem_count();
                    if together + size > TOGETHER || !later.first().is_none_or(fits) {
                        self.put_all(std::mem::take(&mut later))?;
                        together = 0;
                    }
                    later.push((index, update));
                    together += size;
                }
            }
        }
        self.put_all(later)
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
        settings: &Settings,
    ) -> Result<Plan> {
        let (weight, old) = (self.leaves[index].values()?, &self.state[index]);
        let kept = |array: &Option<Array>| match array {
            Some(array) => array.to_device(&weight.device()),
            None => {
                xt_kernels::memory::alloc::check(weight.dims(), weight.dtype())?;
                weight.zeros_like()
            }
        };
        let step = match settings {
            Settings::Sgd(s) => {
                let settings = kernels::Sgd { first: old.momentum_buffer.is_none(), ..*s };
                Step::Sgd {
                    settings,
                    buffer: (s.momentum != 0.0).then(|| kept(&old.momentum_buffer)).transpose()?,
                }
            }
            Settings::Adam(s) => {
                let settings = kernels::Adam { step: old.step + 1, ..*s };
                Step::Adam { settings, mean: kept(&old.exp_avg)?, square: kept(&old.exp_avg_sq)? }
            }
        };
        let update = Update { weight, grad, factor, step };
        if update.is_in_place() {
            return Ok(Plan::Later(update));
        }
        let (weight, step) = kernels::update_out_of_place(&update)?;
        Ok(Plan::Made(weight, step))
    }

    /// Parses the settings of a group.
    fn settings(&self, group: usize, json: &Json) -> Result<Settings> {
        let adam = |o: MomentOptions, weight_decay: NonNegative, decoupled| {
            let beta = |i: usize| o.betas.get(i).copied().unwrap_or_default();
            Settings::Adam(kernels::Adam {
                lr: o.lr.0,
                beta1: beta(0),
                beta2: beta(1),
                eps: o.eps.0,
                weight_decay: weight_decay.0,
                decoupled,
                step: 0,
            })
        };
        Ok(match self.kind {
            OptimizerKind::Sgd => {
                let SgdOptions { lr, momentum, dampening, weight_decay, nesterov } =
                    self.parse(group, json)?;
                Settings::Sgd(kernels::Sgd {
                    lr: lr.0,
                    momentum: momentum.0,
                    dampening,
                    weight_decay: weight_decay.0,
                    nesterov,
                    first: false,
                })
            }
            OptimizerKind::Adam => {
                let o: AdamOptions = self.parse(group, json)?;
                adam(o.moments, o.weight_decay, false)
            }
            OptimizerKind::AdamW => {
                let o: AdamWOptions = self.parse(group, json)?;
                adam(o.moments, o.weight_decay, true)
            }
        })
    }

    fn parse<T: Options>(&self, group: usize, json: &Json) -> Result<T> {
        xt_options::parse(json).map_err(|problems| Error::Options {
            class: self.kind.name().into(),
            problems: if self.groups.len() > 1 {
                problems.under(&format!("param_groups[{group}]"))
            } else {
                problems
            },
        })
    }

    /// Checks the settings, one JSON object per group, without a step.
    pub fn check(&self, groups: &[Json]) -> Result<()> {
        groups.iter().enumerate().try_for_each(|(i, g)| self.settings(i, g).map(|_| ()))
    }

    /// Clears the gradients of all parameters.
    pub fn zero_grad(&self) -> Result<()> {
        self.leaves.iter().try_for_each(|leaf| Ok(leaf.set_grad(None)?))
    }
}
