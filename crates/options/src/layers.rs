//! Options of the stacks of layers: `Encoder`, `Decoder`, `CrossAttender`, and the two halves of
//! `XTransformer`.

use crate::attention::AttentionBlockOptions;
use crate::context::StackContext;
use crate::feedforward::FeedForwardOptions;
use crate::types::size;
use crate::{options, LayerKind, OneOrMany, Probability, Problems};
use std::num::NonZeroUsize;

options! {
    /// What every stack of layers takes.
    pub struct StackOptions {
        /// Number of blocks; a block is attention, cross attention where there is a context, and
        /// feed-forward.
        depth: NonZeroUsize,
        /// Number of attention heads. <https://arxiv.org/abs/1706.03762>
        heads: NonZeroUsize = size(8),
        /// ScaleNorm in place of LayerNorm: vectors are brought to one learned length.
        /// <https://arxiv.org/abs/1910.05895>
        use_scalenorm: bool = false,
        /// RMSNorm in place of LayerNorm: no mean, no bias. Goes before `use_scalenorm` where both
        /// are on. <https://arxiv.org/abs/1910.07467>
        use_rmsnorm: bool = false,
        /// ALiBi: a penalty on the scores that grows linearly with the distance, with a slope per
        /// head. Absolute positions stay on unless `use_abs_pos_emb` is off.
        /// <https://arxiv.org/abs/2108.12409>
        alibi_pos_bias: bool = false,
        /// Only this many heads get the ALiBi penalty, the others see all distances alike. Absent:
        /// all heads.
        alibi_num_heads: Option<NonZeroUsize> = None,
        /// The slopes of ALiBi are learned.
        alibi_learned: bool = false,
        /// The relative positions of T5: a learned bias on the scores for each bucket of distances.
        /// Turns absolute positions off. <https://arxiv.org/abs/1910.10683>
        rel_pos_bias: bool = false,
        /// Number of buckets of `rel_pos_bias`; at most `rel_pos_max_distance`.
        rel_pos_num_buckets: NonZeroUsize = size(32),
        /// Distances from here on share the last bucket of `rel_pos_bias`.
        rel_pos_max_distance: NonZeroUsize = size(128),
        /// A small network turns each distance into a bias on the scores. Goes before
        /// `alibi_pos_bias` where both are on; absolute positions stay on.
        /// <https://arxiv.org/abs/2111.09883>
        dynamic_pos_bias: bool = false,
        /// `dynamic_pos_bias` sees the logarithm of the distance.
        dynamic_pos_bias_log_distance: bool = false,
        /// Number of hidden layers in the network of `dynamic_pos_bias`.
        dynamic_pos_bias_mlp_depth: NonZeroUsize = size(2),
        /// LayerNorm in the network of `dynamic_pos_bias`.
        dynamic_pos_bias_norm: bool = false,
        /// Rotary positions: queries, keys and values are turned by an angle that grows with the
        /// position. Turns absolute positions off. <https://arxiv.org/abs/2104.09864>
        rotary_pos_emb: bool = false,
        /// How many features of a head are turned: at least 32, at most all of them. Absent: half
        /// of `attn_dim_head`.
        rotary_emb_dim: Option<NonZeroUsize> = None,
        /// Rotary positions with a decay over the distance, made for lengths beyond those of the
        /// training. Decoders only; turns `rotary_pos_emb` on. <https://arxiv.org/abs/2212.10554>
        rotary_xpos: bool = false,
        /// Over how many positions the decay of `rotary_xpos` stretches.
        rotary_xpos_scale_base: f64 = 512.0,
        /// The sub-layers one by one: `'a'` self attention, `'c'` cross attention, `'f'`
        /// feed-forward. Goes before `par_ratio` and `sandwich_coef`.
        custom_layers: Option<Vec<LayerKind>> = None,
        /// This many self attentions at the start, as many feed-forwards at the end, and full
        /// blocks between them. <https://arxiv.org/abs/1911.03864>
        sandwich_coef: Option<usize> = None,
        /// Fewer attentions, all in the first two thirds: one block in so many sub-layers, the rest
        /// feed-forwards. Goes before `sandwich_coef`. <https://arxiv.org/abs/2009.04534>
        par_ratio: Option<usize> = None,
        /// The scores of self attention are added to those of the next layer.
        /// <https://arxiv.org/abs/2012.11747>
        residual_attn: bool = false,
        /// The scores of cross attention are added to those of the next one.
        /// <https://arxiv.org/abs/2012.11747>
        cross_residual_attn: bool = false,
        /// A second feed-forward in front of each attention; the output of every feed-forward
        /// counts half. <https://arxiv.org/abs/1906.02762>
        macaron: bool = false,
        /// Norm in front of each sub-layer; off: after the sum with the residual.
        /// <https://arxiv.org/abs/2002.04745>
        pre_norm: bool = true,
        /// A GRU cell in place of the sum with the residual. <https://arxiv.org/abs/1910.06764>
        gate_residual: bool = false,
        /// A learned factor per feature on the residual, as in NormFormer.
        /// <https://arxiv.org/abs/2110.09456>
        scale_residual: bool = false,
        /// A fixed factor on the residual. Without effect under `gate_residual`.
        scale_residual_constant: f64 = 1.0,
        /// Norm after the sum, larger residuals and smaller initial weights, for very deep stacks.
        /// Overrides `pre_norm` and `sandwich_norm`. <https://arxiv.org/abs/2203.00555>
        deepnorm: bool = false,
        /// Shifts parts of the features by up to this many positions before each sub-layer: to
        /// later ones, in encoders to earlier ones too. An array gives the number for each
        /// sub-layer. <https://doi.org/10.5281/zenodo.5196578>
        shift_tokens: OneOrMany<usize> = OneOrMany::One(0),
        /// A second norm on the output of each branch, as in CogView; needs `pre_norm`.
        /// <https://arxiv.org/abs/2105.13290>
        sandwich_norm: bool = false,
        /// The last linear layer of every branch starts at 0. Not with `attn_on_attn`.
        zero_init_branch_output: bool = false,
        /// Stochastic depth: how often a whole sub-layer is left out in training; an array gives
        /// the probability for each sub-layer. <https://arxiv.org/abs/1603.09382>
        layer_dropout: OneOrMany<Probability> = OneOrMany::One(Probability(0.0)),
        /// The share of the context that each cross attention drops in training, on top of what
        /// earlier ones dropped; not with `cross_residual_attn` over several of them.
        /// <https://arxiv.org/abs/2202.07765>
        cross_attn_tokens_dropout: Probability = Probability(0.0),
    }
    groups {
        "attn_" attn: AttentionBlockOptions,
        "ff_" ff: FeedForwardOptions,
    }
    checks conflicts
}

options! {
    /// Options of a stack of layers.
    pub struct LayersOptions {
        /// Width of the model.
        dim: NonZeroUsize,
        /// Blocks have a cross attention; a `context` must then be given.
        cross_attend: bool = false,
        /// With `cross_attend`: blocks of cross attention and feed-forward, without self attention.
        only_cross: bool = false,
    }
    groups { "" stack: StackOptions, }
    checks conflicts
}

impl LayersOptions {
    /// Where the stack stands: what its order of layers depends on.
    pub fn context(&self) -> StackContext {
        StackContext {
            dim: self.dim.get(),
            cross_attend: self.cross_attend,
            only_cross: self.only_cross,
        }
    }

    /// Notes what does not go with the class, `Encoder` or `Decoder`.
    pub fn check_class(&self, class: &str, problems: &mut Problems) {
        self.stack.check_direction(self.context(), class == "Decoder", "", problems);
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        self.stack.check_context(self.context(), prefix, problems);
    }
}

options! {
    /// Options of a stack that attends to a context only: no self attention, not causal.
    pub struct CrossAttenderOptions {
        /// Width of the model.
        dim: NonZeroUsize,
    }
    groups { "" stack: StackOptions, }
    checks conflicts
}

impl CrossAttenderOptions {
    /// Where the stack stands: what its order of layers depends on.
    pub fn context(&self) -> StackContext {
        StackContext { dim: self.dim.get(), cross_attend: true, only_cross: true }
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        self.stack.check_context(self.context(), prefix, problems);
        self.stack.check_direction(self.context(), false, prefix, problems);
    }
}
