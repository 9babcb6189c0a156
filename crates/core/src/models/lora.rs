//! Low-rank updates of the linear layers of a model: they are added, merged into the weights, or
//! removed.

use super::Model;
use crate::lora::LowRank;
use crate::{DType, Entry, Error, Init, Leaf, Param, Result, Rng, Tensor};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use xt_autograd::no_grad;

/// Linear layers whose low-rank updates have one rank and one factor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraLayers {
    /// The names of the layers: those of their weights without `.weight`.
    pub modules: Vec<String>,
    /// The rank.
    pub r: usize,
    /// The factor of `B A`.
    pub scale: f64,
}

impl Model {
    /// Adds a low-rank update to each of these linear layers. `A` is drawn as the weight of a
    /// linear layer of PyTorch, `B` is 0: the output of the model stays the same.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if a name is not that of a linear layer, a layer has an update already, or
    /// the rank is 0; if memory is insufficient. Nothing is added then.
    pub fn add_lora(&self, layers: &LoraLayers, rng: &Rng) -> Result<()> {
        let weights = self.linear_weights(&layers.modules)?;
        let mut needed = 0u64;
        for (name, weight) in &weights {
            if weight.low_rank().is_some() {
                return Err(Error::State(format!("`{name}` has a low-rank update already")));
            }
            if layers.r == 0 {
                return Err(Error::State("a rank of 0".into()));
            }
            let elements = weight.leaf().shape().iter().map(|n| *n as u64).sum::<u64>();
            needed = needed.saturating_add(elements.saturating_mul(layers.r as u64));
        }
        needed = needed.saturating_mul(DType::F32.size_in_bytes() as u64);
        xt_kernels::memory::check(&format!("LoRA of rank {}", layers.r), needed)?;
        for (_, weight) in weights {
            let leaf = weight.leaf();
            let [out, inputs] = leaf.shape() else { continue };
            let a = Param::new(&[layers.r, *inputs], Init::fan_in(*inputs), rng.stream());
            let b = Param::new(&[*out, layers.r], Init::Constant(0.0), rng.stream());
            for matrix in [&a, &b] {
                matrix.leaf().move_to(&leaf.device(), leaf.dtype())?;
            }
            let (a, b) = (a.leaf().clone(), b.leaf().clone());
            weight.set_low_rank(Some(LowRank { a, b, scale: layers.scale }));
        }
        Ok(())
    }

    /// Checks that the low-rank updates of these layers can be added to their weights.
    ///
    /// # Errors
    ///
    /// As [`Model::merge_lora`].
    pub fn check_merge_lora(&self, modules: &[String]) -> Result<()> {
        self.mergeable(modules).map(|_| ())
    }

    /// The weights of these layers, whose low-rank updates can be merged.
    fn mergeable<'a>(&self, modules: &'a [String]) -> Result<Vec<(&'a str, Param)>> {
        let weights = self.linear_weights(modules)?;
        for (_, weight) in &weights {
            weight.leaf().require_plain("merging LoRA")?;
        }
        // the product, and the weight that replaces the one that is there
        let elements = |leaf: &Leaf| leaf.shape().iter().map(|n| *n as u64).product::<u64>();
        let most = weights.iter().map(|(_, weight)| elements(weight.leaf())).max().unwrap_or(0);
        let needed = most.saturating_mul(2 * DType::F32.size_in_bytes() as u64);
        xt_kernels::memory::check("merging LoRA", needed)?;
        Ok(weights)
    }

    /// Adds the low-rank updates of these layers to their weights, and removes them.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if a name is not that of a linear layer; if a weight is quantized, or
    /// memory is insufficient: both are checked before anything is merged. If memory ends
    /// meanwhile all the same, layers that were merged before stay merged, and another call
    /// continues with the others.
    pub fn merge_lora(&self, modules: &[String]) -> Result<()> {
        let weights = self.mergeable(modules)?;
        for (_, weight) in &weights {
            if let Some(update) = weight.low_rank() {
                let merged = no_grad(|| update.merged(&Tensor::constant(weight.values()?)))?;
                weight.leaf().set(merged.array()?)?;
            }
            remove(weight);
        }
        Ok(())
    }

    /// Removes the low-rank updates of these layers, and frees them.
    ///
    /// # Errors
    ///
    /// [`Error::State`] if a name is not that of a linear layer.
    pub fn remove_lora(&self, modules: &[String]) -> Result<()> {
        self.linear_weights(modules)?.iter().for_each(|(_, weight)| remove(weight));
        Ok(())
    }

    /// All layers with low-rank updates, those of equal rank and factor together.
    pub fn lora(&self) -> Vec<LoraLayers> {
        let mut all: Vec<LoraLayers> = Vec::new();
        for entry in &self.entries {
            let Some(update) = entry.param.low_rank() else { continue };
            let (r, scale) = (update.a.shape().first().copied().unwrap_or(0), update.scale);
            let name = layer_of(&entry.name).to_string();
            match all.iter_mut().find(|layers| layers.r == r && layers.scale == scale) {
                Some(layers) => layers.modules.push(name),
                None => all.push(LoraLayers { modules: vec![name], r, scale }),
            }
        }
        all
    }

    /// The names and weights of these linear layers, each once.
    fn linear_weights<'a>(&self, modules: &'a [String]) -> Result<Vec<(&'a str, Param)>> {
        let mut weights: Vec<(&str, Param)> = Vec::new();
        for name in modules {
            let linear = self.entries.iter().find(|Entry { name: weight, param, .. }| {
                param.is_linear_weight() && layer_of(weight) == name
            });
            let none = || Error::State(format!("`{name}` is no linear layer of {}", self.class));
            let param = &linear.ok_or_else(none)?.param;
            // one layer may have several names
            if !weights.iter().any(|(_, other)| Arc::ptr_eq(other.leaf(), param.leaf())) {
                weights.push((name, param.clone()));
            }
        }
        Ok(weights)
    }
}

/// The name of the layer with this weight; empty if the layer is the model itself.
fn layer_of(weight: &str) -> &str {
    weight.strip_suffix("weight").unwrap_or(weight).trim_end_matches('.')
}

/// Removes and frees the low-rank update of a weight.
fn remove(weight: &Param) {
    if let Some(update) = weight.low_rank() {
        weight.set_low_rank(None);
        update.a.release();
        update.b.release();
    }
}
