//! SGD, Adam, AdamW, Muon and Adafactor, with the options of PyTorch, and Lion; with a state that
//! can be saved.

mod composed;
mod settings;
mod state_dict;
mod update;

use crate::{Array, Error, Leaf, Result};
use std::sync::Arc;
use xt_kernels::ops::optimizer::{Second, Step};
use xt_options::Problems;

/// The algorithm of an optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptimizerKind {
    /// Stochastic gradient descent, with optional momentum.
    Sgd,
    /// Adam; weight decay is added to the gradient.
    Adam,
    /// Adam with decoupled weight decay.
    AdamW,
    /// Lion: the sign of a running mean of the gradient.
    Lion,
    /// Muon for matrices, AdamW for the groups of other parameters.
    Muon,
    /// Adafactor: the second moment of a matrix is kept by rows and columns.
    Adafactor,
}

impl OptimizerKind {
    /// The algorithm with the name `name`: that of PyTorch's class, where it has one.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "SGD" => Ok(Self::Sgd),
            "Adam" => Ok(Self::Adam),
            "AdamW" => Ok(Self::AdamW),
            "Lion" => Ok(Self::Lion),
            "Muon" => Ok(Self::Muon),
            "Adafactor" => Ok(Self::Adafactor),
            _ => Err(Error::Internal(format!("there is no optimizer {name}"))),
        }
    }

    /// The name of the class.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sgd => "SGD",
            Self::Adam => "Adam",
            Self::AdamW => "AdamW",
            Self::Lion => "Lion",
            Self::Muon => "Muon",
            Self::Adafactor => "Adafactor",
        }
    }

    /// Whether the format of PyTorch has a count of steps: in Python the others do not save one.
    pub fn counts_steps(self) -> bool {
        matches!(self, Self::Adam | Self::AdamW | Self::Adafactor)
    }
}

/// The state of one parameter between steps. The arrays are updated in place, as they are not
/// shared.
#[derive(Clone, Default)]
struct State {
    /// The number of steps so far.
    pub step: u64,
    /// Adam and Lion: running average of the gradient, in the shape of the parameter.
    pub exp_avg: Option<Array>,
    /// Adam: running average of the squared gradient, in the shape of the parameter.
    pub exp_avg_sq: Option<Array>,
    /// SGD and Muon: the momentum buffer, in the shape of the parameter.
    pub momentum_buffer: Option<Array>,
    /// Adafactor: running average of the squared gradient. Boxed: other states do without.
    pub second: Option<Box<Second>>,
}

impl State {
    /// The state after step number `step`.
    fn of(step: u64, step_state: Step) -> Self {
        match step_state {
            Step::Adam { mean, square, .. } => {
                Self { step, exp_avg: Some(mean), exp_avg_sq: Some(square), ..Self::default() }
            }
            Step::Sgd { buffer, .. } => Self { step, momentum_buffer: buffer, ..Self::default() },
            Step::Lion { mean, .. } => Self { step, exp_avg: Some(mean), ..Self::default() },
        }
    }
}

/// An optimizer over groups of parameters.
pub struct Optimizer {
    /// The algorithm.
    kind: OptimizerKind,
    /// The parameters, group by group.
    leaves: Vec<Arc<Leaf>>,
    /// Number of parameters of each group.
    groups: Vec<usize>,
    /// The state of each parameter.
    state: Vec<State>,
}

/// A copy that is not shared.
fn unshared_copy(array: &Array) -> Result<Array> {
    xt_kernels::memory::alloc::check_like(array, array.dtype(), 1)?;
    Ok(array.copy()?)
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

    /// The group of each parameter.
    fn group_of(&self) -> impl Iterator<Item = usize> + '_ {
        self.groups.iter().enumerate().flat_map(|(g, n)| std::iter::repeat_n(g, *n))
    }

    /// Clears the gradients of all parameters.
    pub fn zero_grad(&self) -> Result<()> {
        self.leaves.iter().try_for_each(|leaf| Ok(leaf.set_grad(None)?))
    }
}
