//! Options of one attention block (`attn_*`), and of the class `Attention`.

use crate::types::size;
use crate::{options, NonNegative, Probability, Problems};
use std::num::NonZeroUsize;

options! {
    /// Options of one attention block. In a stack of layers, each takes one value for all, or an
    /// array with one for each self attention; a cross attention takes that of the self attention
    /// before it.
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
        /// Grouped queries: number of heads of keys and values, each of which as many neighbouring
        /// query heads share. Must divide the number of heads. Absent: as many as query heads, or
        /// one with `one_kv_head`. <https://arxiv.org/abs/2305.13245>
        kv_heads: Option<NonZeroUsize> = None,
        /// RMSNorm of queries and keys, with a learned scale per head and feature, as in Qwen 3 and
        /// Gemma 3. <https://arxiv.org/abs/2302.05442>
        qk_rmsnorm: bool = false,
        /// As `qk_rmsnorm`, of the keys alone.
        k_rmsnorm: bool = false,
        /// With `qk_rmsnorm` or `k_rmsnorm`: normalises all heads of a position together, as in
        /// OLMo 2. <https://arxiv.org/abs/2501.00656>
        qk_rmsnorm_across_heads: bool = false,
        /// With `qk_rmsnorm` or `k_rmsnorm`: one learned scale per feature for all heads, as in
        /// Qwen 3 and Gemma 3. <https://arxiv.org/abs/2505.09388>
        qk_rmsnorm_shared: bool = false,
        /// With `qk_rmsnorm` or `k_rmsnorm`: stores the scales as the difference from 1, as in
        /// Gemma 3.
        qk_rmsnorm_add_unit_offset: bool = false,
        /// With `qk_rmsnorm` or `k_rmsnorm`: added to the mean square, for numerical stability.
        qk_rmsnorm_eps: NonNegative = NonNegative(1e-6),
        /// Factor of the attention scores, instead of one over the square root of `dim_head`.
        scale: Option<f64> = None,
        /// Limits the attention scores, with their biases by position, to `logit_softclamp_value`
        /// by a hyperbolic tangent, as in Gemma 2. <https://arxiv.org/abs/2408.00118>
        softclamp_logits: bool = false,
        /// With `softclamp_logits`: the limit, above 0.
        logit_softclamp_value: f64 = 50.0,
        /// Attention sinks: a learned score of each head that takes a part of the weights, as a key
        /// with a value of 0 would. <https://arxiv.org/abs/2309.17453>
        head_learned_sink: bool = false,
        /// A key and a value of 0 that every query can attend to, before all others: the weights of
        /// the others may have any sum up to 1.
        add_zero_kv: bool = false,
        /// Biases of the projections to queries, keys and values.
        qkv_bias: bool = false,
        /// Limits queries, keys and values to this absolute value, as in OLMo.
        /// <https://arxiv.org/abs/2402.00838>
        qkv_clip: Option<f64> = None,
        /// Dropout probability for the output of the attention in training.
        sublayer_dropout: Probability = Probability(0.0),
        /// Whether there is an output projection. Without it the output has the values of all heads
        /// side by side, whose width must be that of the output.
        project_out: bool = true,
        /// A bias of the output projection.
        out_bias: bool = false,
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

    /// Number of heads of keys and values of an attention with `heads` query heads.
    pub fn key_heads(&self, heads: usize) -> usize {
        self.kv_heads.map_or(if self.one_kv_head { 1 } else { heads }, NonZeroUsize::get)
    }

    /// Reports conflicts with the number of query heads.
    pub(crate) fn check_heads(&self, heads: NonZeroUsize, prefix: &str, problems: &mut Problems) {
        if let Some(kv_heads) = self.kv_heads {
            problems.require(
                heads.get().is_multiple_of(kv_heads.get()),
                &format!("{prefix}kv_heads"),
                format!("{kv_heads} does not divide the number of heads ({heads})"),
            );
        }
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let path = |name: &str| format!("{prefix}{name}");
        problems.require(
            !self.one_kv_head || self.kv_heads.is_none_or(|heads| heads.get() == 1),
            &path("kv_heads"),
            format!("does not go with `{prefix}one_kv_head`; choose one of the two"),
        );
        problems.require(
            !(self.k_rmsnorm && (self.qk_norm || self.qk_rmsnorm)),
            &path("k_rmsnorm"),
            format!("does not go with `{prefix}qk_norm` and `{prefix}qk_rmsnorm`; choose one"),
        );
        for (name, on) in [
            ("on_attn", self.on_attn),
            ("out_bias", self.out_bias),
            ("zero_init_output", self.zero_init_output),
        ] {
            problems.require(
                self.project_out || !on,
                &path(name),
                format!("is about the output projection; `{prefix}project_out` is false"),
            );
        }
        problems.require(
            !(self.qk_norm && self.qk_rmsnorm),
            &path("qk_rmsnorm"),
            format!("does not go with `{prefix}qk_norm`; choose one of the two"),
        );
        problems.require(
            !(self.qk_rmsnorm_across_heads && self.qk_rmsnorm_shared),
            &path("qk_rmsnorm_shared"),
            format!("does not go with `{prefix}qk_rmsnorm_across_heads`; choose one of the two"),
        );
        problems.require(
            !(self.qk_norm && self.scale.is_some()),
            &path("scale"),
            format!("does not go with `{prefix}qk_norm`: its scale is `{prefix}qk_norm_scale`"),
        );
        problems.require(
            self.logit_softclamp_value > 0.0 && self.logit_softclamp_value <= 1e30,
            &path("logit_softclamp_value"),
            "must be greater than 0",
        );
        problems.require(
            self.qkv_clip.is_none_or(|limit| limit > 0.0),
            &path("qkv_clip"),
            "must be greater than 0",
        );
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

    /// Reports an output of another width than `output`, where nothing projects it.
    pub(crate) fn check_output(
        &self,
        (heads, output): (NonZeroUsize, usize),
        prefix: &str,
        problems: &mut Problems,
    ) {
        let width = heads.get().saturating_mul(self.value_dim());
        problems.require(
            self.project_out || width == output,
            &format!("{prefix}project_out"),
            format!("must be true: all heads together are {width} wide, the output {output}"),
        );
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
        /// Width of the input.
        dim: NonZeroUsize,
        /// Number of attention heads. <https://arxiv.org/abs/1706.03762>
        heads: NonZeroUsize = size(8),
        /// Causal mask: a query does not attend to keys after its own position.
        causal: bool = false,
        /// Width of the input of keys and values, with a `context`. Absent: `dim`.
        dim_context: Option<NonZeroUsize> = None,
        /// Width of the output. Absent: `dim`.
        dim_out: Option<NonZeroUsize> = None,
    }
    groups { "" block: AttentionBlockOptions, }
    checks conflicts
}

impl AttentionOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        self.block.check_heads(self.heads, prefix, problems);
        let output = self.dim_out.unwrap_or(self.dim).get();
        self.block.check_output((self.heads, output), prefix, problems);
    }
}
