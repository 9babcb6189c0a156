//! The settings of the groups of an optimizer.

use super::{Optimizer, OptimizerKind};
use crate::{Error, Result};
use serde_json::Value as Json;
use xt_kernels::ops::optimizer as kernels;
use xt_options::optimizers::{AdamOptions, AdamWOptions, LionOptions, MomentOptions, SgdOptions};
use xt_options::{NonNegative, Options};

/// The settings of one group; `first` and `step` are set per parameter.
pub enum GroupSettings {
    /// Of stochastic gradient descent.
    Sgd(kernels::Sgd),
    /// Of Adam and AdamW.
    Adam(kernels::Adam),
    /// Of Lion.
    Lion(kernels::Lion),
}

impl GroupSettings {
    /// The number of state arrays per parameter.
    pub fn state_arrays(&self) -> u64 {
        match self {
            GroupSettings::Sgd(settings) if settings.momentum == 0.0 => 0,
            GroupSettings::Sgd(_) | GroupSettings::Lion(_) => 1,
            GroupSettings::Adam(_) => 2,
        }
    }
}

impl Optimizer {
    /// The settings of all groups.
    pub(super) fn all_settings(&self, groups: &[Json]) -> Result<Vec<GroupSettings>> {
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

    /// Parses the settings of a group.
    fn settings(&self, group: usize, json: &Json) -> Result<GroupSettings> {
        let beta = |betas: &[f64], i: usize| betas.get(i).copied().unwrap_or_default();
        let adam = |o: MomentOptions, weight_decay: NonNegative, decoupled| {
            GroupSettings::Adam(kernels::Adam {
                lr: o.lr.0,
                beta1: beta(&o.betas, 0),
                beta2: beta(&o.betas, 1),
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
                GroupSettings::Sgd(kernels::Sgd {
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
            OptimizerKind::Lion => {
                let LionOptions { lr, betas, weight_decay } = self.parse(group, json)?;
                GroupSettings::Lion(kernels::Lion {
                    lr: lr.0,
                    beta1: beta(&betas, 0),
                    beta2: beta(&betas, 1),
                    weight_decay: weight_decay.0,
                })
            }
        })
    }

    fn parse<T: Options>(&self, group: usize, json: &Json) -> Result<T> {
        xt_options::parse(json).map_err(|problems| Error::Options {
            class: self.kind.name().into(),
            problems: if self.groups.len() > 1 {
                problems.nested_under(&format!("param_groups[{group}]"))
            } else {
                problems
            },
        })
    }

    /// Checks the settings, one JSON object per group, without a step.
    pub fn check(&self, groups: &[Json]) -> Result<()> {
        groups.iter().enumerate().try_for_each(|(i, g)| self.settings(i, g).map(|_| ()))
    }
}
