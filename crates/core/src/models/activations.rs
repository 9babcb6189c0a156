//! The sizes of the outputs of layers, which a model records during calls.

use super::Model;
use crate::{Activations, DType, Leaf, Result, Tensor};
use std::collections::HashMap;
use std::sync::Arc;
use xt_autograd::{no_grad, ops};

/// The sizes of the outputs of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerActivations {
    /// The beginning of the names of its parameters, such as `net.attn_layers.layers.0`.
    pub name: String,
    /// The mean of the squares of all elements.
    pub mean_square: f64,
    /// The number of elements.
    pub elements: usize,
}

impl Model {
    /// Where calls whose caller wants that record the sizes of the outputs of layers.
    pub fn activations(&self) -> &Arc<Activations> {
        &self.activations
    }

    /// The sizes of the outputs of each layer in the calls that were recorded since the last time,
    /// over the elements of all of them, in the order of their first use.
    ///
    /// # Errors
    ///
    /// If the values cannot be copied from their device.
    pub fn take_activations(&self) -> Result<Vec<LayerActivations>> {
        let records = self.activations.take();
        let names = self.layer_names();
        let mut values = Vec::new();
        let parts: Vec<Tensor> = records
            .iter()
            .map(|record| no_grad(|| ops::reshape(&Tensor::constant(record.value.clone()), &[1])))
            .collect::<std::result::Result<_, _>>()?;
        if !parts.is_empty() {
            // all of them in one copy
            let joined = no_grad(|| ops::cat(&parts.iter().collect::<Vec<_>>(), 0))?;
            values = joined.array()?.to_dtype(DType::F64)?.to_vec1::<f64>()?;
        }
        let mut layers: Vec<LayerActivations> = Vec::new();
        for (record, value) in records.iter().zip(values) {
            let Some(name) = names.get(&Arc::as_ptr(&record.layer)) else { continue };
            match layers.iter_mut().find(|layer| layer.name == *name) {
                Some(layer) => layer.add(value, record.elements),
                None => layers.push(LayerActivations {
                    name: name.clone(),
                    mean_square: value,
                    elements: record.elements,
                }),
            }
        }
        Ok(layers)
    }

    /// The names of layers by any of their parameters: the names of parameters up to the number
    /// behind `layers`.
    fn layer_names(&self) -> HashMap<*const Leaf, String> {
        let mut names = HashMap::new();
        for entry in &self.entries {
            let parts: Vec<&str> = entry.name.split('.').collect();
            let Some(at) = parts.iter().position(|part| *part == "layers") else { continue };
            let Some(layer) = parts.get(..at + 2) else { continue };
            names.entry(Arc::as_ptr(entry.param.leaf())).or_insert_with(|| layer.join("."));
        }
        names
    }
}

impl LayerActivations {
    /// Adds an output with this mean square.
    fn add(&mut self, mean_square: f64, elements: usize) {
        let all = self.elements + elements;
        if all > 0 {
            let share = elements as f64 / all as f64;
            self.mean_square += (mean_square - self.mean_square) * share;
        }
        self.elements = all;
    }
}
