//! The state that a stack keeps between the steps of a generation.

use crate::attention::KeyValues;
use crate::{Array, Device, Result, Tensor};
use xt_autograd::ops;

/// The cached state of one sub-layer.
pub struct LayerCache {
    /// Whether this is a cross attention. Its keys and values come from the context and are the
    /// same for all rows of a prompt.
    pub(crate) cross: bool,
    /// The keys and values of an attention.
    pub key_values: KeyValues,
    /// The last inputs of a token shift, `(batch, up to the largest shift, dim)`.
    pub tail: Option<Tensor>,
}

impl LayerCache {
    /// The device of the cached state; `None` before the first step.
    fn device(&self) -> Option<Device> {
        self.key_values.device().or_else(|| self.tail.as_ref().map(Tensor::device))
    }
}

/// The cached state of a stack. After an error it must be discarded, because its layers may be at
/// different positions.
pub struct LayersCache {
    /// One entry per sub-layer.
    pub(crate) layers: Vec<LayerCache>,
    /// The number of positions that the stack has processed, without memories.
    pub(crate) seen: usize,
    /// The number of memories before these positions.
    pub(crate) memories: usize,
}

impl LayersCache {
    /// An empty cache with one entry for each item of `crosses`, which tells whether the sub-layer
    /// is a cross attention. `expected` is the number of positions expected after the first step.
    pub(super) fn new(crosses: impl Iterator<Item = bool>, expected: usize) -> Self {
        let layer = |cross| {
            let expected = if cross { 0 } else { expected };
            LayerCache { cross, key_values: KeyValues::new(expected), tail: None }
        };
        Self { layers: crosses.map(layer).collect(), seen: 0, memories: 0 }
    }

    /// The number of positions that the stack has processed, without memories.
    pub fn seen(&self) -> usize {
        self.seen
    }

    /// Selects batch rows: row `i` becomes the former row `from[i]`, which must belong to the same
    /// prompt.
    pub fn reorder(&mut self, from: &[usize]) -> Result<()> {
        // keys and values of a context are equal for all rows of a prompt, so they stay in place
        self.select(from, |layer| !layer.cross)
    }

    /// Repeats each of the `rows` batch rows `times` times; copies of a row are adjacent.
    pub fn repeat_rows(&mut self, rows: usize, times: usize) -> Result<()> {
        let from: Vec<usize> = (0..rows).flat_map(|row| std::iter::repeat_n(row, times)).collect();
        self.select(&from, |_| true)
    }

    /// Selects batch rows in all token shifts, and in the keys and values of the layers for which
    /// `moves` returns true.
    fn select(&mut self, from: &[usize], moves: impl Fn(&LayerCache) -> bool) -> Result<()> {
        let rows: Vec<u32> = from.iter().map(|row| *row as u32).collect();
        // all layers are on one device
        let device = self.layers.iter().find_map(LayerCache::device);
        let rows = Array::from_vec(rows, from.len(), &device.unwrap_or(Device::Cpu))?;
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

/// The last `count` positions of `x`: `(batch, n, ..)` to `(batch, min(count, n), ..)`.
pub(crate) fn last_columns(x: &Tensor, count: usize) -> Result<Tensor> {
    let count = count.min(x.dim(1));
    Ok(ops::narrow(x, 1, x.dim(1) - count, count)?)
}
