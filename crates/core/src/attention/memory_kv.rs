//! Learned keys and values in front of those of the sequence, without positions, visible to every query.
//!
//! Source: Augmenting Self-attention with Persistent Memory, <https://arxiv.org/abs/1907.01470>.

use super::qk_norm::QkNorm;
use crate::{Init, Param, Params, Result, Tensor};
use xt_autograd::ops;
use xt_options::attention::AttentionBlockOptions;

pub struct MemoryKv {
    mem_k: Param,
    mem_v: Param,
}

impl MemoryKv {
    /// Memories (heads, count, head dimension); one head where keys and values have one.
    pub fn new(heads: usize, options: &AttentionBlockOptions, p: &mut Params) -> Self {
        let heads = if options.one_kv_head { 1 } else { heads };
        let shape = [heads, options.num_mem_kv, options.dim_head.get()];
        let mut memory = |name: &str| p.add(name, &shape, Init::Normal { std: 1.0 });
        Self { mem_k: memory("mem_k"), mem_v: memory("mem_v") }
    }

    /// Keys and values, (batch, heads, count + j, head dimension).
    pub fn forward(&self, k: &Tensor, v: &Tensor, norm: Option<&QkNorm>) -> Result<(Tensor, Tensor)> {
        let mem_k = self.mem_k.tensor();
        let mem_k = norm.map_or_else(|| Ok(mem_k.clone()), |norm| norm.memory_key(&mem_k))?;
        let front = |memory: &Tensor, x: &Tensor| -> Result<Tensor> {
            let dims = [x.dim(0), memory.dim(0), memory.dim(1), memory.dim(2)];
            Ok(ops::cat(&[&ops::broadcast_to(memory, &dims)?, x], 2)?)
        };
        Ok((front(&mem_k, k)?, front(&self.mem_v.tensor(), v)?))
    }
}
