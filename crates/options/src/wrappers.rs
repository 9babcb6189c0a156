//! Options of the wrappers around a stack of layers: embeddings in front, a head behind.

use crate::context::StackContext;
use crate::layers::StackOptions;
use crate::types::size;
use crate::{options, Classes, ModuleRef, Probability, Problems};
use std::num::NonZeroUsize;

/// What `attn_layers` of a wrapper for text or for continuous values may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnyLayers;

impl Classes for AnyLayers {
    const NAMES: &'static [&'static str] = &["Encoder", "Decoder"];
}

/// What `attn_layers` of a wrapper for images may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EncoderLayers;

impl Classes for EncoderLayers {
    const NAMES: &'static [&'static str] = &["Encoder"];
}

options! {
    /// The vocabulary.
    pub struct TokenOptions {
        /// Number of tokens; ids go from 0 to one below it.
        num_tokens: NonZeroUsize,
    }
    groups {}
}

options! {
    /// How a sequence is embedded.
    pub struct SequenceOptions {
        /// The longest sequence that absolute positions cover; generation sees this many of the
        /// last tokens.
        max_seq_len: NonZeroUsize,
        /// Dropout on the embeddings while training.
        emb_dropout: Probability = Probability(0.0),
        /// Absolute positions are added to the embeddings. Off by itself where the layers have
        /// `rel_pos_bias` or rotary positions; decoders learn well without.
        /// <https://arxiv.org/abs/2203.16634>
        use_abs_pos_emb: bool = true,
        /// Absolute positions from sines and cosines with one learned factor, in place of a learned
        /// table. <https://arxiv.org/abs/2202.10447>
        scaled_sinu_pos_emb: bool = false,
    }
    groups {}
}

options! {
    /// Memory tokens.
    pub struct MemoryTokenOptions {
        /// This many learned vectors stand in front of the sequence, and are cut off after the
        /// layers. <https://arxiv.org/abs/2006.11527>
        num_memory_tokens: Option<usize> = None,
    }
    groups {}
}

options! {
    /// A norm after the embeddings.
    pub struct EmbeddingNormOptions {
        /// LayerNorm on the sum of embeddings and positions, as in BLOOM.
        /// <https://arxiv.org/abs/2211.05100>
        post_emb_norm: bool = false,
    }
    groups {}
}

impl SequenceOptions {
    /// Notes what does not go with the width of the embeddings. `layers_have_positions`: rotary or
    /// T5's.
    pub fn check_width(
        &self,
        width: usize,
        layers_have_positions: bool,
        prefix: &str,
        problems: &mut Problems,
    ) {
        let sinusoidal = self.scaled_sinu_pos_emb && self.use_abs_pos_emb && !layers_have_positions;
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
        /// The layers; their weights are shared with this model.
        attn_layers: ModuleRef<AnyLayers>,
        /// Width of the embeddings; they are projected to the width of the layers. Absent: that
        /// width.
        emb_dim: Option<NonZeroUsize> = None,
        /// Length of the memories that `return_mems` gives, which needs this option; 0 keeps them
        /// whole (Transformer-XL). <https://arxiv.org/abs/1901.02860>
        max_mem_len: Option<usize> = None,
        /// Memories go this many layers further down in the next segment, those of the lowest to
        /// the top. <https://arxiv.org/abs/2012.15688>
        shift_mem_down: usize = 0,
        /// The head uses the weights of the token embedding. <https://arxiv.org/abs/1608.05859>
        tie_embedding: bool = false,
        /// Width of the head. Absent: `num_tokens`.
        logits_dim: Option<NonZeroUsize> = None,
        /// Token and position embeddings of length 1, with small initial values.
        /// <https://arxiv.org/abs/1910.05895>
        l2norm_embed: bool = false,
        /// The share of the gradient that reaches the embeddings, as in CogView.
        /// <https://arxiv.org/abs/2105.13290>
        emb_frac_gradient: f64 = 1.0,
    }
    groups {
        "" tokens: TokenOptions,
        "" sequence: SequenceOptions,
        "" memory: MemoryTokenOptions,
        "" norm: EmbeddingNormOptions,
    }
    checks conflicts
}

impl TransformerWrapperOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let path = format!("{prefix}emb_frac_gradient");
        problems.require(self.emb_frac_gradient > 0.0, &path, "must be greater than 0");
    }
}

options! {
    /// Options of a transformer over continuous values.
    pub struct ContinuousTransformerWrapperOptions {
        /// The layers; their weights are shared with this model.
        attn_layers: ModuleRef<AnyLayers>,
        /// Width of the input; it is projected to the width of the layers. Absent: no projection.
        dim_in: Option<NonZeroUsize> = None,
        /// Width of the output, by a projection. Absent: no projection.
        dim_out: Option<NonZeroUsize> = None,
        /// Accepted as in Python, and without effect there and here.
        emb_dim: Option<NonZeroUsize> = None,
    }
    groups {
        "" sequence: SequenceOptions,
        "" norm: EmbeddingNormOptions,
    }
}

options! {
    /// Options of a transformer over images. <https://arxiv.org/abs/2010.11929>
    pub struct ViTransformerWrapperOptions {
        /// Height and width of the largest image, in pixels; a multiple of `patch_size`.
        image_size: NonZeroUsize,
        /// Height and width of a patch, in pixels; each patch becomes one position.
        patch_size: NonZeroUsize,
        /// The layers; their weights are shared with this model.
        attn_layers: ModuleRef<EncoderLayers>,
        /// Number of channels of the images.
        channels: NonZeroUsize = size(3),
        /// Number of classes of the head. Absent: the mean over the patches comes out.
        num_classes: Option<NonZeroUsize> = None,
        /// Accepted as in Python, and without effect there and here; `emb_dropout` has one.
        dropout: Probability = Probability(0.0),
        /// Dropout on the embedded patches while training.
        emb_dropout: Probability = Probability(0.0),
    }
    groups { "" norm: EmbeddingNormOptions, }
    checks conflicts
}

impl ViTransformerWrapperOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let (image, patch) = (self.image_size.get(), self.patch_size.get());
        problems.require(
            image.is_multiple_of(patch),
            &format!("{prefix}image_size"),
            format!("{image} is not a multiple of `{prefix}patch_size` ({patch})"),
        );
    }
}

options! {
    /// Options of the encoder of an `XTransformer`.
    pub struct EncoderHalfOptions {}
    groups {
        "" tokens: TokenOptions,
        "" sequence: SequenceOptions,
        "" memory: MemoryTokenOptions,
        "" stack: StackOptions,
    }
}

options! {
    /// Options of the decoder of an `XTransformer`. It always attends to the encoder's output.
    pub struct DecoderHalfOptions {
        /// Blocks of cross attention and feed-forward, without self attention.
        only_cross: bool = false,
    }
    groups {
        "" tokens: TokenOptions,
        "" sequence: SequenceOptions,
        "" stack: StackOptions,
    }
}

options! {
    /// Which targets count in a loss over tokens, and what fills up a sequence.
    pub struct TargetOptions {
        /// Targets with this id do not count in the loss.
        ignore_index: i64 = -100,
        /// What stands after the end of a generated sequence, behind its `eos_token`.
        pad_value: i64 = 0,
    }
    groups {}
}

options! {
    /// Options of an encoder and a decoder over tokens. <https://arxiv.org/abs/1706.03762>
    pub struct XTransformerOptions {
        /// Width of encoder and decoder.
        dim: NonZeroUsize,
        /// The decoder uses the token embedding of the encoder.
        tie_token_emb: bool = false,
        /// Residuals and initial weights scaled as in DeepNet. The norms stay in front unless
        /// `enc_pre_norm` and `dec_pre_norm` are off. <https://arxiv.org/abs/2203.00555>
        deepnorm: bool = false,
        /// The share of the encoder's output that the decoder does not see in training.
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
    /// Where the encoder's layers stand.
    pub fn encoder_context(&self) -> StackContext {
        StackContext { dim: self.dim.get(), cross_attend: false, only_cross: false }
    }

    /// Where the decoder's layers stand.
    pub fn decoder_context(&self) -> StackContext {
        StackContext {
            dim: self.dim.get(),
            cross_attend: true,
            only_cross: self.decoder.only_cross,
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
            stack.check_direction(context, causal, &prefix, problems);
            sequence.check_width(context.dim, stack.has_pos_emb(), &prefix, problems);
            problems.require(
                !(self.deepnorm && stack.deepnorm),
                &format!("{prefix}deepnorm"),
                "does not go with `deepnorm`, which sets the residuals of both halves; choose one of the two",
            );
        }
    }
}
