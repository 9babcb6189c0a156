//! The settings of the groups of an optimizer.

use super::{Optimizer, OptimizerKind};
use crate::{Error, Leaf, Result};
use serde_json::Value as Json;
use std::sync::Arc;
use xt_kernels::ops::optimizer as kernels;
use xt_options::optimizers::{
    AdafactorOptions, AdamOptions, AdamWOptions, LionOptions, MomentOptions, MuonOptions,
    SgdOptions,
};
use xt_options::{AdjustLr, NonNegative, Options, Problems};

/// The settings of one group; `first` and `step` are set per parameter.
pub enum GroupSettings {
    /// Of stochastic gradient descent.
    Sgd(kernels::Sgd),
    /// Of Adam and AdamW.
    Adam(kernels::Adam),
    /// Of Lion.
    Lion(kernels::Lion),
    /// Of a group of matrices of Muon.
    Muon(kernels::Muon),
    /// Of Adafactor.
    Adafactor(kernels::Adafactor),
}

impl GroupSettings {
    /// Bytes of the state arrays of a parameter.
    pub fn state_bytes(&self, leaf: &Leaf) -> u64 {
        let of = |arrays: u64| leaf.bytes().saturating_mul(arrays);
        match self {
            GroupSettings::Sgd(settings) if settings.momentum == 0.0 => 0,
            GroupSettings::Sgd(_) | GroupSettings::Lion(_) | GroupSettings::Muon(_) => of(1),
            GroupSettings::Adam(_) => of(2),
            GroupSettings::Adafactor(_) => {
                let size = leaf.dtype().size_in_bytes() as u64;
                let shapes = kernels::Second::shapes(leaf.shape());
                let count = |shape: &Vec<usize>| shape.iter().product::<usize>() as u64;
                shapes.iter().map(|shape| count(shape).saturating_mul(size)).sum()
            }
        }
    }

    /// Bytes of the new weight and of what else a step of a parameter makes anew.
    pub fn step_bytes(&self, leaf: &Leaf) -> u64 {
        let state = match self {
            // the other rules update their state in place
            GroupSettings::Muon(_) | GroupSettings::Adafactor(_) => self.state_bytes(leaf),
            _ => 0,
        };
        leaf.bytes().saturating_add(state)
    }

    /// The names of what the state of a parameter has.
    pub fn fields(&self) -> &'static [&'static str] {
        match self {
            GroupSettings::Sgd(_) | GroupSettings::Muon(_) => &["step", "momentum_buffer"],
            GroupSettings::Adam(_) => &["step", "exp_avg", "exp_avg_sq"],
            GroupSettings::Lion(_) => &["step", "exp_avg"],
            GroupSettings::Adafactor(_) => &["step", "row_var", "col_var", "variance"],
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
        self.check_matrices(&settings)?;
        match settings.len() == self.groups.len() {
            true => Ok(settings),
            false => Err(Error::Internal("settings for another number of groups".into())),
        }
    }

    /// Returns an error if Muon is to step what is no matrix.
    fn check_matrices(&self, settings: &[GroupSettings]) -> Result<()> {
        let is_muon = |group: usize| matches!(settings.get(group), Some(GroupSettings::Muon(_)));
        let wrong =
            |(leaf, group): &(&Arc<Leaf>, usize)| is_muon(*group) && leaf.shape().len() != 2;
        let Some((leaf, group)) = self.leaves.iter().zip(self.group_of()).find(wrong) else {
            return Ok(());
        };
        let mut problems = Problems::default();
        problems.add(
            format!("param_groups[{group}].params"),
            format!(
                "Muon steps matrices, and one has the shape {:?}: new Muon(model.muonParameters()) \
                 steps the hidden matrices of a model with Muon and all else with AdamW",
                leaf.shape()
            ),
        );
        Err(Error::Options { class: self.kind.name().into(), problems })
    }

    /// Parses the settings of a group.
    fn settings(&self, group: usize, json: &Json) -> Result<GroupSettings> {
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
            OptimizerKind::Muon => muon(self.parse(group, json)?),
            OptimizerKind::Adafactor => adafactor(&self.parse(group, json)?),
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

/// One of two betas; they were checked.
fn beta(betas: &[f64], i: usize) -> f64 {
    betas.get(i).copied().unwrap_or_default()
}

/// The settings of a group of Muon: of matrices, or of what AdamW steps.
fn muon(o: MuonOptions) -> GroupSettings {
    if !o.use_muon {
        return GroupSettings::Adam(kernels::Adam {
            lr: o.lr.0,
            beta1: beta(&o.betas, 0),
            beta2: beta(&o.betas, 1),
            eps: o.eps.0,
            weight_decay: o.weight_decay.0,
            decoupled: true,
            step: 0,
        });
    }
    let coefficient = |i: usize| o.ns_coefficients.get(i).copied().unwrap_or_default();
    GroupSettings::Muon(kernels::Muon {
        lr: o.lr.0,
        weight_decay: o.weight_decay.0,
        momentum: o.momentum.0,
        nesterov: o.nesterov,
        coefficients: [coefficient(0), coefficient(1), coefficient(2)],
        eps: o.eps.0,
        steps: o.ns_steps,
        adjust: match o.adjust_lr_fn {
            AdjustLr::Original => kernels::AdjustLr::Original,
            AdjustLr::MatchRmsAdamW => kernels::AdjustLr::MatchRmsAdamW,
            AdjustLr::SpectralUnclamped => kernels::AdjustLr::SpectralUnclamped,
        },
    })
}

fn adafactor(o: &AdafactorOptions) -> GroupSettings {
    let eps = |i: usize| o.eps.get(i).copied().flatten().map(|eps| eps.0);
    GroupSettings::Adafactor(kernels::Adafactor {
        lr: o.lr.0,
        beta2_decay: o.beta2_decay,
        eps1: eps(0),
        eps2: eps(1).unwrap_or_default(),
        d: o.d,
        weight_decay: o.weight_decay.0,
        step: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Array, DType, Device};
    use serde_json::json;

    #[test]
    fn the_state_of_adafactor_counts_rows_and_columns_and_all_of_a_vector() {
        let settings = adafactor(&xt_options::parse(&json!({})).unwrap());
        let bytes = |shape: &[usize]| {
            let leaf = Leaf::new(Array::zeros(shape, DType::F32, &Device::Cpu).unwrap());
            (settings.state_bytes(&leaf), settings.step_bytes(&leaf))
        };
        assert_eq!(bytes(&[6, 4]), (4 * 10, 4 * (24 + 10)));
        assert_eq!(bytes(&[2, 3, 5]), (4 * (6 + 10), 4 * (30 + 16)));
        assert_eq!([bytes(&[7]), bytes(&[])], [(4 * 7, 4 * 14), (4, 8)]);
    }
}
