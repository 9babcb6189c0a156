//! What a stack keeps between the steps of a generation.

use crate::attention::KeyValues;
use crate::{Array, Device, Result, Tensor};
use xt_autograd::ops;

/// What one sub-layer keeps.
pub struct LayerCache {
    /// Whether keys and values are those of a context, which are the same for all rows of a prompt.
    pub(super) cross: bool,
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
    /// For sub-layers of which some attend to a context, with room for `room` positions behind those of the first step.
    pub(super) fn new(crosses: impl Iterator<Item = bool>, room: usize) -> Self {
        let layer = |cross| {
            let room = if cross { 0 } else { room };
            LayerCache { cross, key_values: KeyValues::new(room), tail: None }
        };
        Self { layers: crosses.map(layer).collect(), seen: 0, memories: 0 }
    }

    /// Positions of the sequence so far.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Row i of the batch continues what was row `from[i]`, one of the same prompt.
    pub fn reorder(&mut self, from: &[usize]) -> Result<()> {
        self.select(from, |layer| !layer.cross)
    }

    /// Each row becomes `times` rows, one after the other.
    pub fn repeat(&mut self, rows: usize, times: usize) -> Result<()> {
        let from: Vec<usize> = (0..rows).flat_map(|row| std::iter::repeat_n(row, times)).collect();
        self.select(&from, |_| true)
    }

    fn select(&mut self, from: &[usize], moves: impl Fn(&LayerCache) -> bool) -> Result<()> {
        let rows: Vec<u32> = from.iter().map(|row| *row as u32).collect();
        let rows = Array::from_vec(rows, from.len(), &Device::Cpu)?;
        for layer in &mut self.layers {
            if moves(layer) {
                layer.key_values.reorder(&rows)?;
            }
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
