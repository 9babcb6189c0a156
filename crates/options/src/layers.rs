//! Options of the stacks of layers: `Encoder`, `Decoder`, `CrossAttender`, and the encoder and
//! decoder of `XTransformer`.

use crate::attention::AttentionBlockOptions;
use crate::context::StackContext;
use crate::feedforward::FeedForwardOptions;
use crate::per_layer::PerLayer;
use crate::rotary_scaling::RotaryScaling;
use crate::types::size;
use crate::{
    options, parse, LayerKind, NonNegative, NormPosition, OneOrMany, Probability, Problems,
};
use serde_json::Value;
use std::num::NonZeroUsize;

options! {
    /// Options of every stack of layers.
    pub struct StackOptions {
        /// Number of blocks. A block consists of attention, cross attention if there is a context,
        /// and feed-forward.
        depth: NonZeroUsize,
        /// Number of attention heads. <https://arxiv.org/abs/1706.03762>
        heads: NonZeroUsize = size(8),
        /// ScaleNorm instead of LayerNorm: L2 normalisation with one learned scale.
        /// <https://arxiv.org/abs/1910.05895>
        use_scalenorm: bool = false,
        /// RMSNorm instead of LayerNorm: no mean, no bias. Takes precedence over `use_scalenorm`.
        /// <https://arxiv.org/abs/1910.07467>
        use_rmsnorm: bool = false,
        /// RMSNorm without learned scale instead of LayerNorm. <https://arxiv.org/abs/2307.14995>
        use_simple_rmsnorm: bool = false,
        /// Added to the variance (LayerNorm) or the mean square (RMSNorm) before the square root;
        /// with ScaleNorm the least divisor. Absent: LayerNorm adds 1e-5, RMSNorm divides by at
        /// least 1e-8. Holds for the LayerNorms of a wrapper around these layers too.
        norm_eps: Option<NonNegative> = None,
        /// A bias in the LayerNorms, those of a wrapper around these layers too.
        norm_bias: bool = true,
        /// Learned weights in the norms, those of a wrapper around these layers too. False: neither
        /// weights nor biases, as in OLMo. <https://arxiv.org/abs/2402.00838>
        norm_elementwise_affine: bool = true,
        /// Stores the weights of the norms as the difference from 1, so that weight decay draws
        /// them to 1.
        norm_add_unit_offset: bool = false,
        /// ALiBi: a penalty on the attention scores that grows linearly with the distance, with one
        /// slope per head. Absolute position embeddings stay on unless `use_abs_pos_emb` is false.
        /// <https://arxiv.org/abs/2108.12409>
        alibi_pos_bias: bool = false,
        /// Number of heads with ALiBi; the other heads have no position bias. Absent: all heads.
        alibi_num_heads: Option<NonZeroUsize> = None,
        /// Makes the slopes of ALiBi learned parameters.
        alibi_learned: bool = false,
        /// The slopes of ALiBi, one for each head that has it. Absent: the geometric series of the
        /// paper.
        alibi_slopes: Option<Vec<f64>> = None,
        /// The distances of ALiBi are those between the `pos` of a call, where it is given, rather
        /// than those in the sequence. Attention then stores its scores, and `attn_num_mem_kv` have
        /// no bias.
        alibi_given_pos: bool = false,
        /// T5 relative position bias: a learned bias on the attention scores for each bucket of
        /// distances. Disables absolute position embeddings. <https://arxiv.org/abs/1910.10683>
        rel_pos_bias: bool = false,
        /// Number of buckets of `rel_pos_bias`; at most `rel_pos_max_distance`.
        rel_pos_num_buckets: NonZeroUsize = size(32),
        /// Distances from this value on share the last bucket of `rel_pos_bias`.
        rel_pos_max_distance: NonZeroUsize = size(128),
        /// Factor of the biases of `rel_pos_bias`. Absent: the square root of `attn_dim_head`.
        rel_pos_scale: Option<f64> = None,
        /// Dynamic position bias: a small MLP computes a bias on the attention scores from each
        /// distance. Takes precedence over `alibi_pos_bias`. Absolute position embeddings stay on.
        /// <https://arxiv.org/abs/2111.09883>
        dynamic_pos_bias: bool = false,
        /// The MLP of `dynamic_pos_bias` takes the logarithm of the distance.
        dynamic_pos_bias_log_distance: bool = false,
        /// Number of hidden layers in the MLP of `dynamic_pos_bias`.
        dynamic_pos_bias_mlp_depth: NonZeroUsize = size(2),
        /// LayerNorm in the MLP of `dynamic_pos_bias`.
        dynamic_pos_bias_norm: bool = false,
        /// Rotary position embeddings (RoPE): queries, keys and values are rotated by an angle
        /// proportional to the position. Disables absolute position embeddings. Layers without self
        /// attention rotate those of cross attention, and calls need `context_pos`.
        /// <https://arxiv.org/abs/2104.09864>
        rotary_pos_emb: bool = false,
        /// Number of features per head that are rotated: at least 32, at most all of them. Absent:
        /// half of `attn_dim_head`.
        rotary_emb_dim: Option<NonZeroUsize> = None,
        /// xPos: rotary position embeddings with a decay over the distance, for sequences longer
        /// than those in training. Decoders only; enables `rotary_pos_emb`.
        /// <https://arxiv.org/abs/2212.10554>
        rotary_xpos: bool = false,
        /// Length scale of the decay of `rotary_xpos`, in positions; larger values mean a slower
        /// decay.
        rotary_xpos_scale_base: f64 = 512.0,
        /// Base of the geometric series of the angles of rotary positions. An array sets the base
        /// for each self attention.
        rotary_base: OneOrMany<f64> = OneOrMany::One(10_000.0),
        /// Scales the angles of rotary positions for sequences longer than those in training, with
        /// the names that Hugging Face's files have. An array sets it, or null, for each self
        /// attention.
        rotary_scaling: OneOrMany<Option<RotaryScaling>> = OneOrMany::One(None),
        /// Share of the features of a head that are rotated, in place of `rotary_emb_dim` and
        /// without its lower limit.
        rotary_partial_factor: Option<Probability> = None,
        /// Rotates pairs of features that follow each other, as in GPT-J, rather than pairs of a
        /// feature of the first half and one of the second half.
        rotary_interleaved: bool = false,
        /// Rotates the values too, as the Python package does. False: queries and keys only, as
        /// most models do.
        rotary_values: bool = true,
        /// Which self attentions have rotary positions, if the layers have them.
        /// <https://arxiv.org/abs/2501.18795>
        rotary_layers: OneOrMany<bool> = OneOrMany::One(true),
        /// Number of heads, counted from the last, that are rotated. Absent: all heads.
        rotate_num_heads: Option<NonZeroUsize> = None,
        /// Divides the positions before rotation: linear interpolation for longer sequences, at
        /// least 1. <https://arxiv.org/abs/2306.15595>
        rotary_interpolation_factor: f64 = 1.0,
        /// Multiplies the base of rotary positions by a power of this factor that stretches the
        /// slowest angle by the factor itself ("NTK-aware").
        rotary_base_rescale_factor: f64 = 1.0,
        /// Rotary positions are those of the `pos` of a call, where it is given, rather than the
        /// places in the sequence.
        rotary_given_pos: bool = false,
        /// Whether a wrapper around these layers leaves out absolute positions; not that of images,
        /// whose patches always have them. Absent: it does if the layers encode positions
        /// themselves, by `rotary_pos_emb` or `rel_pos_bias`.
        disable_abs_pos_emb: Option<bool> = None,
        /// Explicit list of the sub-layers: `'a'` self attention, `'c'` cross attention, `'f'`
        /// feed-forward. Takes precedence over `par_ratio` and `sandwich_coef`.
        custom_layers: Option<Vec<LayerKind>> = None,
        /// Sandwich transformer: this many self attentions at the start, the same number of
        /// feed-forwards at the end, and full blocks in between. <https://arxiv.org/abs/1911.03864>
        sandwich_coef: Option<usize> = None,
        /// PAR transformer: one attention block per this many sub-layers, all in the first two
        /// thirds of the stack; the other sub-layers are feed-forwards. Takes precedence over
        /// `sandwich_coef`. <https://arxiv.org/abs/2009.04534>
        par_ratio: Option<usize> = None,
        /// Residual attention (RealFormer): each self attention adds the pre-softmax scores of the
        /// previous one to its own. <https://arxiv.org/abs/2012.11747>
        residual_attn: bool = false,
        /// Residual attention (RealFormer) for cross attention: each cross attention adds the
        /// pre-softmax scores of the previous one to its own. <https://arxiv.org/abs/2012.11747>
        cross_residual_attn: bool = false,
        /// Macaron layers: an additional feed-forward before each attention. The output of every
        /// feed-forward is halved. <https://arxiv.org/abs/1906.02762>
        macaron: bool = false,
        /// Pre-norm: normalises the input of each sub-layer. False: post-norm, after the residual
        /// connection. <https://arxiv.org/abs/2002.04745>
        pre_norm: bool = true,
        /// The layers end with a norm of their own kind, in place of the LayerNorm of a wrapper
        /// around them. With post-norm it is the norm of the last sub-layer.
        pre_norm_has_final_norm: bool = false,
        /// A wrapper around these layers has a LayerNorm behind them, unless they end with a norm
        /// of their own.
        wrapper_norm: bool = true,
        /// A norm before each branch, and another after the residual connection.
        /// <https://arxiv.org/abs/2510.25741>
        pre_and_post_norm: bool = false,
        /// Where the norms of a sub-layer stand: `'pre'` before the branch, `'post'` after the
        /// residual connection, `'branch'` on the output of the branch alone, as in OLMo 2
        /// (<https://arxiv.org/abs/2501.00656>), `'sandwich'` before the branch and on its output.
        /// Absent: as `pre_norm` and `sandwich_norm` say.
        norm_position: Option<NormPosition> = None,
        /// Attention and feed-forward of a block both start from the input of the block, and both
        /// are added to it, as in GPT-J. <https://arxiv.org/abs/2204.06745>
        parallel_block: bool = false,
        /// With `parallel_block`: one norm for attention and feed-forward, as in Phi.
        /// <https://arxiv.org/abs/2309.05463>
        parallel_block_shared_norm: bool = false,
        /// Factor of the output of each branch before it is added to the residual.
        branch_scale: f64 = 1.0,
        /// LayerScale: a learned factor per feature of the output of each branch.
        /// <https://arxiv.org/abs/2103.17239>
        use_layerscale: bool = false,
        /// With `use_layerscale`: the initial value of the factors.
        layerscale_init_value: f64 = 0.0,
        /// Gated residual connections: a GRU cell instead of the sum.
        /// <https://arxiv.org/abs/1910.06764>
        gate_residual: bool = false,
        /// Multiplies the residual by a learned scale per feature, as in NormFormer.
        /// <https://arxiv.org/abs/2110.09456>
        scale_residual: bool = false,
        /// Multiplies the residual by a constant. Has no effect with `gate_residual`.
        scale_residual_constant: f64 = 1.0,
        /// DeepNorm: post-norm with larger residuals and smaller initial weights, for very deep
        /// stacks. Overrides `pre_norm` and `sandwich_norm`. <https://arxiv.org/abs/2203.00555>
        deepnorm: bool = false,
        /// ALBERT: the sub-layers of one block are run `depth` times, with the same weights.
        /// <https://arxiv.org/abs/1909.11942>
        weight_tie_layers: bool = false,
        /// The indices of the sub-layers in the order in which they are run, all at least once;
        /// one that is named several times has the same weights each time. Absent: each once.
        layers_execute_order: Option<Vec<usize>> = None,
        /// Value residual: the values of each attention are mixed with those of the first one of
        /// its kind. <https://arxiv.org/abs/2410.17897>
        add_value_residual: bool = false,
        /// With `add_value_residual`: self attentions learn the share of their own values, for each
        /// token and head. False: one half. Cross attentions always take one half.
        learned_value_residual_mix: bool = true,
        /// Token shift: before each sub-layer, parts of the features are shifted by up to this many
        /// positions, to later positions and in encoders also to earlier ones. An array sets the
        /// number for each sub-layer. <https://doi.org/10.5281/zenodo.5196578>
        shift_tokens: OneOrMany<usize> = OneOrMany::One(0),
        /// Sandwich norm: an additional norm on the output of each branch, as in CogView. Requires
        /// `pre_norm`. <https://arxiv.org/abs/2105.13290>
        sandwich_norm: bool = false,
        /// Initialises the last linear layer of every branch to zero. Cannot be combined with
        /// `attn_on_attn`.
        zero_init_branch_output: bool = false,
        /// Initialises the last linear layer of every branch with a standard deviation of one over
        /// the square root of twice its inputs times the number of the block, counted from 1.
        /// <https://arxiv.org/abs/2310.02244>
        depth_scale_residual: bool = false,
        /// Stochastic depth: probability of skipping a whole sub-layer in training. An array sets
        /// the probability for each sub-layer. <https://arxiv.org/abs/1603.09382>
        layer_dropout: OneOrMany<Probability> = OneOrMany::One(Probability(0.0)),
        /// Share of the context positions that each cross attention drops in training, in addition
        /// to those that earlier ones dropped. Cannot be combined with `cross_residual_attn` if
        /// there are several cross attentions. <https://arxiv.org/abs/2202.07765>
        cross_attn_tokens_dropout: Probability = Probability(0.0),
        /// Keeps only the inputs of the sub-layers for the backward pass, which computes the
        /// sub-layers again: less memory for about a third more time, and the same gradients. Where
        /// scores or attention maps are handed on, an attention keeps all.
        /// <https://arxiv.org/abs/1604.06174>
        gradient_checkpointing: bool = false,
    }
    groups {
        "attn_" attn: PerLayer<AttentionBlockOptions>,
        "ff_" ff: PerLayer<FeedForwardOptions>,
    }
    checks conflicts
}

options! {
    /// Options of a stack of layers.
    pub struct LayersOptions {
        /// Width of the model.
        dim: NonZeroUsize,
        /// Adds cross attention to each block. Calls must then pass a `context`.
        cross_attend: bool = false,
        /// With `cross_attend`: blocks consist of cross attention and feed-forward, without self
        /// attention.
        only_cross: bool = false,
        /// Width of the `context`, with `cross_attend`. Absent: `dim`.
        cross_attn_dim_context: Option<NonZeroUsize> = None,
    }
    groups { "" stack: StackOptions, }
    checks conflicts
}

impl LayersOptions {
    /// The properties of the model that the order of the layers depends on.
    pub fn context(&self) -> StackContext {
        StackContext {
            dim: self.dim.get(),
            cross_attend: self.cross_attend,
            only_cross: self.only_cross,
            dim_context: self.cross_attn_dim_context.unwrap_or(self.dim).get(),
        }
    }

    /// Reports conflicts with the class, `Encoder` or `Decoder`.
    pub fn check_class(&self, class: &str, problems: &mut Problems) {
        self.stack.check_direction(self.context(), class == "Decoder", "", problems);
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        self.stack.check_context(self.context(), prefix, problems);
        problems.require(
            self.cross_attend || self.cross_attn_dim_context.is_none(),
            &format!("{prefix}cross_attn_dim_context"),
            format!("needs `{prefix}cross_attend`"),
        );
    }
}

options! {
    /// Options of one block of layers: attention, cross attention if there is a context, and
    /// feed-forward.
    pub struct TransformerBlockOptions {
        /// Causal mask: a position does not see later ones.
        causal: bool = false,
    }
    groups { "" layers: LayersOptions, }
    checks conflicts
}

/// Reads the options of a `TransformerBlock`, which has a depth of 1.
///
/// # Errors
///
/// All problems of the options.
pub fn one_block(options: &Value) -> Result<TransformerBlockOptions, Problems> {
    let mut options = options.clone();
    if let Some(options) = options.as_object_mut() {
        options.entry("depth").or_insert(1.into());
    }
    parse(&options)
}

impl TransformerBlockOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let (context, stack) = (self.layers.context(), &self.layers.stack);
        stack.check_direction(context, self.causal, prefix, problems);
        problems.require(
            stack.depth.get() == 1,
            &format!("{prefix}depth"),
            "is 1 in a TransformerBlock: take an Encoder or a Decoder for more blocks",
        );
    }
}

options! {
    /// Options of a stack with cross attention only: no self attention, not causal.
    pub struct CrossAttenderOptions {
        /// Width of the model.
        dim: NonZeroUsize,
        /// Width of the `context`. Absent: `dim`.
        cross_attn_dim_context: Option<NonZeroUsize> = None,
    }
    groups { "" stack: StackOptions, }
    checks conflicts
}

impl CrossAttenderOptions {
    /// The properties of the model that the order of the layers depends on.
    pub fn context(&self) -> StackContext {
        StackContext {
            dim: self.dim.get(),
            cross_attend: true,
            only_cross: true,
            dim_context: self.cross_attn_dim_context.unwrap_or(self.dim).get(),
        }
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        self.stack.check_context(self.context(), prefix, problems);
        self.stack.check_direction(self.context(), false, prefix, problems);
    }
}
