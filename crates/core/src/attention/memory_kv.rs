//! Learned keys and values that precede those of the sequence. They have no positions and are
//! visible to every query.
//!
//! Source: Augmenting Self-attention with Persistent Memory, <https://arxiv.org/abs/1907.01470>.

use super::qk_norm::QkNorm;
use crate::needs::{Needs, Variant};
use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::attention::AttentionBlockOptions;

/// Learned keys and values, `(heads, count, head dimension)` each.
pub struct MemoryKv {
    mem_k: Param,
    mem_v: Param,
}

impl MemoryKv {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.mem_k.leaf().shape().get(1).copied().unwrap_or(0)
    }

    /// Registers the keys and values, `(key/value heads, count, head dimension)`.
    pub fn new(heads: usize, options: &AttentionBlockOptions, p: &mut Params) -> Self {
        let shape = [options.key_heads(heads), options.num_mem_kv, options.dim_head.get()];
        let mut memory = |name: &str| p.add(name, &shape, Init::Normal { std: 1.0 });
        Self { mem_k: memory("mem_k"), mem_v: memory("mem_v") }
    }

    /// Prepends the learned keys and values: `(batch, heads, j, head dimension)` to
    /// `(batch, heads, count + j, head dimension)`. `norm` normalises the learned keys.
    pub fn forward(
        &self,
        k: &Tensor,
        v: &Tensor,
        norm: Option<&QkNorm>,
    ) -> Result<(Tensor, Tensor)> {
        let mem_k = self.mem_k.tensor();
        let mem_k = norm.map_or_else(|| Ok(mem_k.clone()), |norm| norm.memory_key(&mem_k))?;
        let front = |memory: &Tensor, x: &Tensor| -> Result<Tensor> {
            let dims = [x.dim(0), memory.dim(0), memory.dim(1), memory.dim(2)];
            Ok(ops::cat(&[&ops::broadcast_to(memory, &dims)?, x], 2)?)
        };
        // (batch, heads, count + j, head dimension)
        Ok((front(&mem_k, k)?, front(&self.mem_v.tensor(), v)?))
    }
}

impl Variant for MemoryKv {
    /// Its keys stand in front.
    fn needs(&self) -> Needs {
        Needs { prefix_keys: true, ..Needs::NONE }
    }
}
