//! The sizes of the outputs of layers, which a model records during calls.

use super::Model;
use crate::{DType, Leaf, Result, Tensor};
use std::collections::HashMap;
use std::sync::Arc;
use xt_autograd::{no_grad, ops};

impl Model {
    /// The root mean square of the output of each layer in the calls that were recorded since the
    /// last time, in the order of their first use. A layer is named by the beginning of its
    /// parameters' names, such as `net.attn_layers.layers.0`.
    ///
    /// # Errors
    ///
    /// If the values cannot be copied from their device.
    pub fn take_activation_norms(&self) -> Result<Vec<(String, f64)>> {
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
        // the sum and the number of mean squares of each layer
        let mut layers: Vec<(String, f64, f64)> = Vec::new();
        for (record, value) in records.iter().zip(values) {
            let Some(name) = names.get(&Arc::as_ptr(&record.layer)) else { continue };
            match layers.iter_mut().find(|(other, ..)| other == name) {
                Some((_, sum, count)) => (*sum, *count) = (*sum + value, *count + 1.0),
                None => layers.push((name.clone(), value, 1.0)),
            }
        }
        Ok(layers.into_iter().map(|(name, sum, count)| (name, (sum / count).sqrt())).collect())
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
