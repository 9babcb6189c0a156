//! The cache of a stack as tensors, which a caller keeps between its calls.

use super::AttentionLayers;
use crate::attention::KeyValues;
use crate::layers::cache::{LayerCache, LayersCache};
use crate::layers::sublayer::SubLayer;
use crate::{Array, DType, Device, Error, Result, Tensor};
use std::sync::Arc;
use xt_options::LayerKind;

impl AttentionLayers {
    /// The state of `cache`: i64 `(2)` with the numbers of positions and of memories; then for each
    /// run of a sub-layer the keys and the values of an attention, `(batch, heads, length, width)`
    /// each, and the last inputs of a token shift, `(batch, count, dim)`. All are on `device`, that
    /// of the model.
    pub fn cache_tensors(&self, cache: &LayersCache, device: &Device) -> Result<Vec<Tensor>> {
        let counts = vec![cache.seen as i64, cache.memories as i64];
        let mut all = vec![Tensor::constant(Array::from_vec(counts, 2, device)?)];
        for (run, kept) in self.runs().zip(&cache.layers) {
            if run.attention().is_some() {
                let (keys, values) = kept.key_values.all()?;
                all.extend([keys, values]);
            }
            if run.shifts() {
                let tail = kept.tail.clone();
                all.push(tail.ok_or_else(|| Error::Internal("no tail".into()))?);
            }
        }
        Ok(all)
    }

    /// The cache of which [`AttentionLayers::cache_tensors`] has given `tensors`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if they are not of these layers.
    pub fn cache_of(&self, tensors: &[Tensor]) -> Result<LayersCache> {
        let mut rest = tensors.iter();
        let counts = rest.next().filter(|t| t.dtype() == DType::I64 && t.dims() == [2]);
        let counts = counts.ok_or_else(not_of_these_layers)?.array()?;
        let counts: Vec<i64> = counts.to_device(&Device::Cpu)?.to_vec1()?;
        let mut layers = Vec::new();
        for run in self.runs() {
            let mut next = || rest.next().ok_or_else(not_of_these_layers);
            let key_values = match run.attention() {
                Some(_) => KeyValues::of(next()?, next()?)?,
                None => KeyValues::new(0),
            };
            let tail = if run.shifts() { Some(next()?.clone()) } else { None };
            let cross = run.kind == LayerKind::CrossAttention;
            layers.push(LayerCache { cross, key_values, tail });
        }
        let count = |index: usize| usize::try_from(counts[index]).ok();
        let (seen, memories) = count(0).zip(count(1)).ok_or_else(not_of_these_layers)?;
        let all = seen.checked_add(memories).filter(|_| seen > 0);
        let mut batches = layers.iter().filter_map(|layer| layer.key_values.batch());
        let batch = batches.next();
        let fits = |(run, layer): (&Arc<SubLayer>, &LayerCache)| {
            let length = run.attention().map(|attention| attention.num_mem_kv()).zip(all);
            let whole = length.is_none_or(|(learned, all)| {
                layer.cross || layer.key_values.length().checked_sub(learned) == Some(all)
            });
            whole && run.attention().is_none_or(|a| a.takes(&layer.key_values))
        };
        let fits = all.is_some()
            && batches.all(|other| Some(other) == batch)
            && self.runs().zip(&layers).all(fits);
        if rest.next().is_some() || !fits {
            return Err(not_of_these_layers());
        }
        Ok(LayersCache { layers, seen, memories })
    }
}

fn not_of_these_layers() -> Error {
    Error::Shape("cache is not of these layers: pass the list that `return_cache` gave".into())
}
