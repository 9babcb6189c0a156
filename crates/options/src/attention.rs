//! Options of one attention block (`attn_*`), and of the class `Attention`.

use crate::types::size;
use crate::{options, Probability, Problems};
use std::num::NonZeroUsize;

options! {
    /// Options of one attention block.
    pub struct AttentionBlockOptions {
        /// Dimension of each head.
        dim_head: NonZeroUsize = size(64),
        /// Talking heads: learned linear maps across the heads, applied to the attention scores
        /// before the softmax and to the weights after it. <https://arxiv.org/abs/2003.02436>
        talking_heads: bool = false,
        /// Multiplies the output of each head by a learned scale, as in NormFormer.
        /// <https://arxiv.org/abs/2110.09456>
        head_scale: bool = false,
        /// Sparse attention: number of keys that each query attends to, those with the largest
        /// scores. Absent: all keys. <https://arxiv.org/abs/1912.11637>
        sparse_topk: Option<NonZeroUsize> = None,
        /// Number of learned memory keys and values, which every query can attend to in addition to
        /// those of the sequence. <https://arxiv.org/abs/1907.01470>
        num_mem_kv: usize = 0,
        /// Dropout probability for the attention weights in training.
        dropout: Probability = Probability(0.0),
        /// Attention on attention: a gated linear unit (GLU) after the output projection.
        /// <https://arxiv.org/abs/1908.06954>
        on_attn: bool = false,
        /// Multiplies the aggregated values by a sigmoid gate computed from the block's input, as
        /// in AlphaFold 2. <https://doi.org/10.1038/s41586-021-03819-2>
        gate_values: bool = false,
        /// Initialises the output projection to zero, so that the block initially outputs zeros.
        /// Cannot be combined with `on_attn`.
        zero_init_output: bool = false,
        /// Sliding window: a query does not attend to keys more than this many positions before it.
        /// Absent: no limit.
        max_attend_past: Option<usize> = None,
        /// Cosine similarity attention: queries and keys are L2-normalised before their dot
        /// product. <https://arxiv.org/abs/2010.04245>
        qk_norm: bool = false,
        /// With `qk_norm`: number of groups of features that are normalised separately, each of at
        /// least 3 features.
        qk_norm_groups: NonZeroUsize = size(1),
        /// With `qk_norm`: scale of the attention scores, instead of one over the square root of
        /// `dim_head`.
        qk_norm_scale: f64 = 10.0,
        /// With `qk_norm`: a learned scale per feature of the normalised queries and keys, as in
        /// ViT-22B. <https://arxiv.org/abs/2302.05442>
        qk_norm_dim_scale: bool = false,
        /// Multi-query attention: all query heads share one head of keys and values.
        /// <https://arxiv.org/abs/1911.02150>
        one_kv_head: bool = false,
        /// Uses the keys as the values too. `value_dim_head` must then equal `dim_head`.
        shared_kv: bool = false,
        /// Dimension of the values of each head. Absent: `dim_head`.
        value_dim_head: Option<NonZeroUsize> = None,
        /// Tensor product attention: the output `y` of each head becomes `y * r + y`, where `r` is
        /// a projection of the query input. <https://arxiv.org/abs/2208.06061>
        tensor_product: bool = false,
    }
    groups {}
    checks conflicts
}

impl AttentionBlockOptions {
    /// Dimension of the values of each head.
    pub fn value_dim(&self) -> usize {
        self.value_dim_head.unwrap_or(self.dim_head).get()
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let path = |name: &str| format!("{prefix}{name}");
        let dim_head = self.dim_head.get();
        let (wide, value_dim_head) = (self.value_dim() == dim_head, path("value_dim_head"));
        problems.require(
            wide || !self.shared_kv,
            &value_dim_head,
            format!("must equal `{prefix}dim_head` ({dim_head}) with `{prefix}shared_kv`: keys and values are one"),
        );
        problems.require(
            wide || self.num_mem_kv == 0,
            &value_dim_head,
            format!("must equal `{prefix}dim_head` ({dim_head}) with `{prefix}num_mem_kv`"),
        );
        problems.require(
            !(self.on_attn && self.zero_init_output),
            &path("zero_init_output"),
            format!("does not go with `{prefix}on_attn`, whose gate would have to start at 0 too"),
        );
        if self.qk_norm {
            self.check_groups(prefix, problems);
        }
    }

    fn check_groups(&self, prefix: &str, problems: &mut Problems) {
        let (dim_head, groups) = (self.dim_head.get(), self.qk_norm_groups.get());
        let path = format!("{prefix}qk_norm_groups");
        if !dim_head.is_multiple_of(groups) {
            problems.add(path, format!("{groups} does not divide `{prefix}dim_head` ({dim_head})"));
        } else if dim_head / groups <= 2 {
            let width = dim_head / groups;
            problems
                .add(path, format!("gives groups of width {width} (`{prefix}dim_head` is {dim_head}); 3 is the least"));
        }
    }
}

options! {
    /// Options of a multi-head attention layer, without norm and residual.
    pub struct AttentionOptions {
        /// Width of the input and of the output.
        dim: NonZeroUsize,
        /// Number of attention heads. <https://arxiv.org/abs/1706.03762>
        heads: NonZeroUsize = size(8),
        /// Causal mask: a query does not attend to keys after its own position.
        causal: bool = false,
    }
    groups { "" block: AttentionBlockOptions, }
}
