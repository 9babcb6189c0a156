//! The sizes of what layers compute, recorded during a call.

use crate::{Array, Leaf, Result, Tensor};
use std::sync::{Arc, Mutex, PoisonError};
use xt_autograd::{no_grad, ops};

/// The mean square of an output of a layer.
pub struct MeanSquare {
    /// The first parameter of the layer, which tells its name.
    pub layer: Arc<Leaf>,
    /// One number, on the device of the layer.
    pub value: Array,
    /// The number of elements of the output.
    pub elements: usize,
}

/// Collects the mean squares of the outputs of layers, in the order in which they are computed.
#[derive(Default)]
pub struct Activations(Mutex<Vec<MeanSquare>>);

impl Activations {
    /// Adds the output of the layer with this first parameter. Nothing is copied from a device.
    pub fn record(&self, layer: &Arc<Leaf>, output: &Tensor) -> Result<()> {
        let output = Tensor::constant(output.array()?);
        let elements = output.elem_count();
        let value = no_grad(|| ops::mean(&ops::mul(&output, &output)?, None, false))?.array()?;
        self.push(vec![MeanSquare { layer: layer.clone(), value, elements }]);
        Ok(())
    }

    /// Adds records of another collection.
    pub fn push(&self, more: Vec<MeanSquare>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(more);
    }

    /// Removes and returns all records.
    pub fn take(&self) -> Vec<MeanSquare> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
