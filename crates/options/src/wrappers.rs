//! Options of the wrappers that add embeddings and a head to a stack of layers.

use crate::context::StackContext;
use crate::heads::{EmbedOnlyOptions, HeadOptions, KindOptions, PoolOptions};
use crate::layers::StackOptions;
use crate::{options, Classes, ModuleRef, Probability, Problems};
use std::num::NonZeroUsize;

/// The classes allowed as `attn_layers` of a wrapper for tokens or continuous values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnyLayers;

impl Classes for AnyLayers {
    const NAMES: &'static [&'static str] = &["Encoder", "Decoder"];
}

options! {
    /// The vocabulary.
    pub struct TokenOptions {
        /// Size of the vocabulary. Token ids are from 0 to `num_tokens` - 1.
        num_tokens: NonZeroUsize,
        /// Factor of the token embeddings, before positions are added, such as the square root of
        /// the width in the original transformer and in Gemma. <https://arxiv.org/abs/1706.03762>
        emb_scale: f64 = 1.0,
    }
    groups {}
}

options! {
    /// The embedding of a sequence.
    pub struct SequenceOptions {
        /// Maximum sequence length with absolute position embeddings. Also the context window of
        /// generation, which uses only this many of the last tokens. 0: no absolute position
        /// embeddings, and no such window.
        max_seq_len: usize,
        /// Dropout probability for the embeddings in training.
        emb_dropout: Probability = Probability(0.0),
        /// Adds absolute position embeddings. Disabled automatically if the layers have
        /// `rel_pos_bias` or rotary position embeddings. Decoders also learn well without position
        /// embeddings. <https://arxiv.org/abs/2203.16634>
        use_abs_pos_emb: bool = true,
        /// Factor of the learned absolute position embeddings; 1 in GPT-2 and BERT. Absent: 1 /
        /// sqrt(width), or 1 with `l2norm_embed`. <https://arxiv.org/abs/1810.04805>
        abs_pos_emb_scale: Option<f64> = None,
        /// Sinusoidal absolute position embeddings with one learned scale, instead of a learned
        /// table. <https://arxiv.org/abs/2202.10447>
        scaled_sinu_pos_emb: bool = false,
    }
    groups {}
}

impl SequenceOptions {
    /// Whether there are absolute positions, if the layers have none.
    pub fn has_positions(&self) -> bool {
        self.use_abs_pos_emb && self.max_seq_len > 0
    }

    /// How many of the last positions a generation sees.
    pub fn window(&self) -> usize {
        if self.max_seq_len == 0 {
            usize::MAX
        } else {
            self.max_seq_len
        }
    }
}

options! {
    /// Memory tokens.
    pub struct MemoryTokenOptions {
        /// Number of learned memory tokens, which are prepended to the sequence and removed after
        /// the last layer. <https://arxiv.org/abs/2006.11527>
        num_memory_tokens: Option<usize> = None,
    }
    groups {}
}

options! {
    /// A norm after the embeddings.
    pub struct EmbeddingNormOptions {
        /// LayerNorm after the sum of embeddings and position embeddings, as in BLOOM.
        /// <https://arxiv.org/abs/2211.05100>
        post_emb_norm: bool = false,
    }
    groups {}
}

impl SequenceOptions {
    /// Reports conflicts with the width of the embeddings. `layers_have_positions`: with rotary
    /// positions or the T5 bias.
    pub fn check_width(
        &self,
        width: usize,
        layers_have_positions: bool,
        prefix: &str,
        problems: &mut Problems,
    ) {
        for (name, given) in [
            ("scaled_sinu_pos_emb", self.scaled_sinu_pos_emb),
            ("abs_pos_emb_scale", self.abs_pos_emb_scale.is_some()),
        ] {
            problems.require(
                self.max_seq_len > 0 || !given,
                &format!("{prefix}{name}"),
                format!("does not go with a `{prefix}max_seq_len` of 0: there are no positions"),
            );
        }
        let sinusoidal = self.scaled_sinu_pos_emb && self.has_positions() && !layers_have_positions;
        problems.require(
            !sinusoidal || width.is_multiple_of(2),
            &format!("{prefix}scaled_sinu_pos_emb"),
            format!(
                "needs embeddings of an even width, not of {width}: half are sines, half cosines"
            ),
        );
    }
}

options! {
    /// Options of a transformer over tokens.
    pub struct TransformerWrapperOptions {
        /// The attention layers. The model shares their weights.
        attn_layers: ModuleRef<AnyLayers>,
        /// Width of the token embeddings, which are projected to the width of the layers. Absent:
        /// the width of the layers.
        emb_dim: Option<NonZeroUsize> = None,
        /// Maximum length of the memories (Transformer-XL) that `return_mems` returns; 0: no limit.
        /// `return_mems` requires this option. <https://arxiv.org/abs/1901.02860>
        max_mem_len: Option<usize> = None,
        /// Number of layers by which memories move down in the next segment. Those of the lowest
        /// layers move to the top. <https://arxiv.org/abs/2012.15688>
        shift_mem_down: usize = 0,
        /// Output width of the head. Absent: `num_tokens`.
        logits_dim: Option<NonZeroUsize> = None,
        /// L2-normalises token and position embeddings, and gives them small initial values.
        /// <https://arxiv.org/abs/1910.05895>
        l2norm_embed: bool = false,
        /// Multiplies the gradient of the embeddings by this factor, as in CogView.
        /// <https://arxiv.org/abs/2105.13290>
        emb_frac_gradient: f64 = 1.0,
    }
    groups {
        "" tokens: TokenOptions,
        "" sequence: SequenceOptions,
        "" memory: MemoryTokenOptions,
        "" norm: EmbeddingNormOptions,
        "" embed_only: EmbedOnlyOptions,
        "" head: HeadOptions,
        "" pool: PoolOptions,
        "" kinds: KindOptions,
    }
    checks conflicts
}

/// The most heads of a wrapper: more are certainly a mistake.
const MAX_OUTPUT_HEADS: usize = 1024;

impl TransformerWrapperOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(
            self.pool.num_output_heads.get() <= MAX_OUTPUT_HEADS,
            &format!("{prefix}num_output_heads"),
            format!("must be at most {MAX_OUTPUT_HEADS}"),
        );
        problems.require(
            self.pool.num_output_heads.get() == 1 || !self.head.tie_embedding,
            &format!("{prefix}num_output_heads"),
            format!("does not go with `{prefix}tie_embedding`, whose head is the one embedding"),
        );
        let of_the_head = [
            ("tie_embedding", self.head.tie_embedding),
            ("logits_dim", self.logits_dim.is_some()),
            ("logits_scale", self.head.logits_scale != 1.0),
            ("logit_softclamp_value", self.head.logit_softclamp_value.is_some()),
            ("squeeze_out_last_dim", self.pool.squeeze_out_last_dim),
            ("num_output_heads", self.pool.num_output_heads.get() > 1),
        ];
        for (name, given) in of_the_head {
            problems.require(
                !(given && self.embed_only.return_only_embed),
                &format!("{prefix}{name}"),
                format!("is about the head; with `{prefix}return_only_embed` there is none"),
            );
        }
        let path = format!("{prefix}emb_frac_gradient");
        problems.require(self.emb_frac_gradient > 0.0, &path, "must be greater than 0");
    }
}

options! {
    /// Options of a transformer over continuous values.
    pub struct ContinuousTransformerWrapperOptions {
        /// The attention layers. The model shares their weights.
        attn_layers: ModuleRef<AnyLayers>,
        /// Width of the input, which is projected to the width of the layers. Absent: no
        /// projection.
        dim_in: Option<NonZeroUsize> = None,
        /// Width of the output, which is projected from the width of the layers. Absent: no
        /// projection.
        dim_out: Option<NonZeroUsize> = None,
        /// Has no effect; accepted as in the Python package, where it has none either.
        emb_dim: Option<NonZeroUsize> = None,
    }
    groups {
        "" sequence: SequenceOptions,
        "" norm: EmbeddingNormOptions,
    }
}

options! {
    /// Options of the encoder of an `XTransformer`.
    pub struct EncoderHalfOptions {}
    groups {
        "" tokens: TokenOptions,
        "" sequence: SequenceOptions,
        "" memory: MemoryTokenOptions,
        "" embed_only: EmbedOnlyOptions,
        "" stack: StackOptions,
    }
}

options! {
    /// Options of the decoder of an `XTransformer`, which always has cross attention to the
    /// encoder's output.
    pub struct DecoderHalfOptions {
        /// Blocks consist of cross attention and feed-forward, without self attention.
        only_cross: bool = false,
    }
    groups {
        "" tokens: TokenOptions,
        "" sequence: SequenceOptions,
        "" head: HeadOptions,
        "" stack: StackOptions,
    }
}

options! {
    /// The ignored targets of a loss over tokens, and the padding of generated sequences.
    pub struct TargetOptions {
        /// The loss ignores targets with this id.
        ignore_index: i64 = -100,
        /// Token id that fills a generated sequence after its `eos_token`.
        pad_value: i64 = 0,
    }
    groups {}
}

options! {
    /// Options of an encoder-decoder transformer over tokens. <https://arxiv.org/abs/1706.03762>
    pub struct XTransformerOptions {
        /// Width of encoder and decoder.
        dim: NonZeroUsize,
        /// Shares the token embedding of the encoder with the decoder.
        tie_token_emb: bool = false,
        /// Scales residuals and initial weights as in DeepNet. Pre-norm is kept unless
        /// `enc_pre_norm` and `dec_pre_norm` are false. <https://arxiv.org/abs/2203.00555>
        deepnorm: bool = false,
        /// Share of the encoder's output positions that are hidden from the decoder in training.
        /// <https://arxiv.org/abs/2202.07765>
        cross_attn_tokens_dropout: Probability = Probability(0.0),
    }
    groups {
        "" targets: TargetOptions,
        "enc_" encoder: EncoderHalfOptions,
        "dec_" decoder: DecoderHalfOptions,
    }
    checks conflicts
}

impl XTransformerOptions {
    /// The [`StackContext`] of the encoder.
    pub fn encoder_context(&self) -> StackContext {
        StackContext {
            dim: self.dim.get(),
            cross_attend: false,
            only_cross: false,
            dim_context: self.dim.get(),
        }
    }

    /// The [`StackContext`] of the decoder.
    pub fn decoder_context(&self) -> StackContext {
        StackContext {
            dim: self.dim.get(),
            cross_attend: true,
            only_cross: self.decoder.only_cross,
            dim_context: self.dim.get(),
        }
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let (enc, dec) = (&self.encoder, &self.decoder);
        let halves = [
            ("enc_", &enc.stack, &enc.sequence, self.encoder_context(), false),
            ("dec_", &dec.stack, &dec.sequence, self.decoder_context(), true),
        ];
        for (half, stack, sequence, context, causal) in halves {
            let prefix = format!("{prefix}{half}");
            stack.check_context(context, &prefix, problems);
            stack.check_rotary_acts(context, &prefix, problems);
            stack.check_direction(context, causal, &prefix, problems);
            sequence.check_width(context.dim, stack.has_pos_emb(), &prefix, problems);
            problems.require(
                !(self.deepnorm && stack.deepnorm),
                &format!("{prefix}deepnorm"),
                "does not go with `deepnorm`, which sets the residuals of both halves; choose one of the two",
            );
            problems.require(
                !(self.deepnorm && stack.depth_scale_residual),
                &format!("{prefix}depth_scale_residual"),
                "does not go with `deepnorm`, which sets the same initial weights",
            );
        }
    }
}
