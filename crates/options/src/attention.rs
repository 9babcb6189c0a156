//! Options of one attention block (`attn_*`), and of the class `Attention`.

use crate::types::size;
use crate::{options, Probability, Problems};
use std::num::NonZeroUsize;

options! {
    /// Options of one attention block.
    pub struct AttentionBlockOptions {
        /// Width of one head.
        dim_head: NonZeroUsize = size(64),
        /// Learned mixing of the attention maps across the heads, before and after the softmax.
        /// <https://arxiv.org/abs/2003.02436>
        talking_heads: bool = false,
        /// A learned factor for the output of each head, as in NormFormer.
        /// <https://arxiv.org/abs/2110.09456>
        head_scale: bool = false,
        /// Each query attends to this many keys only, those with the largest scores.
        /// <https://arxiv.org/abs/1912.11637>
        sparse_topk: Option<NonZeroUsize> = None,
        /// This many learned keys and values, which every query sees besides those of the sequence.
        /// <https://arxiv.org/abs/1907.01470>
        num_mem_kv: usize = 0,
        /// Dropout on the attention map while training.
        dropout: Probability = Probability(0.0),
        /// Attention on attention: the output passes through a gated linear unit.
        /// <https://arxiv.org/abs/1908.06954>
        on_attn: bool = false,
        /// Gates the aggregated values with the block's input, as in AlphaFold 2.
        /// <https://doi.org/10.1038/s41586-021-03819-2>
        gate_values: bool = false,
        /// The output projection starts at 0, so that the branch adds nothing at first. Not with
        /// `on_attn`.
        zero_init_output: bool = false,
        /// A query sees keys at most this many positions back.
        max_attend_past: Option<usize> = None,
        /// Cosine similarity: queries and keys are brought to length 1 before their product.
        /// <https://arxiv.org/abs/2010.04245>
        qk_norm: bool = false,
        /// With `qk_norm`: features are normalised in this many groups, each at least 3 wide.
        qk_norm_groups: NonZeroUsize = size(1),
        /// With `qk_norm`: the factor for the similarities, in place of one over the root of the
        /// head's width.
        qk_norm_scale: f64 = 10.0,
        /// With `qk_norm`: a learned factor per feature of queries and keys, as in the
        /// 22-billion-parameter ViT. <https://arxiv.org/abs/2302.05442>
        qk_norm_dim_scale: bool = false,
        /// All query heads share one head of keys and values (multi-query attention).
        /// <https://arxiv.org/abs/1911.02150>
        one_kv_head: bool = false,
        /// The keys serve as the values too. `value_dim_head` must then equal `dim_head`.
        shared_kv: bool = false,
        /// Width of one head's values. Absent: `dim_head`.
        value_dim_head: Option<NonZeroUsize> = None,
        /// The output is multiplied with a projection of the query's input, and added to itself.
        /// <https://arxiv.org/abs/2208.06061>
        tensor_product: bool = false,
    }
    groups {}
    checks conflicts
}

impl AttentionBlockOptions {
    /// Width of one head's values.
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
    /// One multi-head attention block, without norm and residual.
    pub struct AttentionOptions {
        /// Width of the input and of the output.
        dim: NonZeroUsize,
        /// Number of attention heads. <https://arxiv.org/abs/1706.03762>
        heads: NonZeroUsize = size(8),
        /// A query sees no key after its own position.
        causal: bool = false,
    }
    groups { "" block: AttentionBlockOptions, }
}
