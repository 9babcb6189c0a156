//! What a stack keeps between the steps of a generation.

use crate::attention::KeyValues;
use crate::{Array, Device, Result, Tensor};
use xt_autograd::ops;

/// What one sub-layer keeps.
pub struct LayerCache {
    /// Of an attention.
    pub key_values: KeyValues,
    /// Of a token shift: the last inputs, (batch, up to the largest shift, dim).
    pub tail: Option<Tensor>,
}

/// What a stack keeps. One that an error has interrupted must be thrown away: its layers may be at different positions.
pub struct LayersCache {
    pub(super) layers: Vec<LayerCache>,
    /// Positions of the sequence that the stack has seen.
    pub(super) seen: usize,
    /// Memories in front of them.
    pub(super) memories: usize,
}

impl LayersCache {
    /// For `layers` sub-layers, with room for `room` positions behind those of the first step.
    pub(super) fn new(layers: usize, room: usize) -> Self {
        let layer = |_| LayerCache { key_values: KeyValues::new(room), tail: None };
        Self { layers: (0..layers).map(layer).collect(), seen: 0, memories: 0 }
    }

    /// Positions of the sequence so far.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Row i of the batch continues what was row `from[i]`.
    pub fn reorder(&mut self, from: &[usize]) -> Result<()> {
        let rows: Vec<u32> = from.iter().map(|row| *row as u32).collect();
        let rows = Array::from_vec(rows, from.len(), &Device::Cpu)?;
        for layer in &mut self.layers {
            layer.key_values.reorder(&rows)?;
            if let Some(tail) = &layer.tail {
                layer.tail = Some(Tensor::constant(tail.array()?.index_select(&rows, 0)?));
            }
        }
        Ok(())
    }
}

/// The last `count` columns of `x`, (batch, n, ..).
pub(crate) fn last_columns(x: &Tensor, count: usize) -> Result<Tensor> {
    let count = count.min(x.dim(1));
    Ok(ops::narrow(x, 1, x.dim(1) - count, count)?)
}
