//! A transformer with an encoder and a decoder over tokens.
//!
//! Source: Attention Is All You Need, <https://arxiv.org/abs/1706.03762>.

use super::transformer::{HeadConfig, TokenTensors, TransformerConfig, TransformerWrapper};
use super::{AutoregressiveWrapper, Score, Targets};
use crate::layers::{deepnorm, drop_tokens, AttentionLayers, Context, LayerTensors};
use crate::{Array, Ctx, DType, Mode, Params, Result, Tensor};
use std::sync::Arc;
use xt_autograd::{no_grad, ops};
use xt_options::context::StackContext;
use xt_options::layers::StackOptions;
use xt_options::wrappers::XTransformerOptions;

/// An encoder over source tokens and a decoder over target tokens that attends to the encoded
/// source.
pub struct XTransformer {
    encoder: TransformerWrapper,
    decoder: Arc<AutoregressiveWrapper>,
    /// The share of the encoded source that is dropped in training.
    cross_attn_tokens_dropout: f64,
    mode: Mode,
}

/// The optional tensors that accompany the source tokens.
#[derive(Clone, Default)]
pub struct SourceTensors {
    /// bool, `(batch, source length)`.
    pub mask: Option<Tensor>,
    /// bool, with 2, 3 or 4 axes, for the self attention of the encoder.
    pub attn_mask: Option<Tensor>,
    /// Embeddings to prepend to the source, `(batch, count, dim)`; `mask` does not cover them.
    pub prepend_embeds: Option<Tensor>,
}

/// The configuration of the encoder or the decoder.
struct StackSpec<'a> {
    context: StackContext,
    causal: bool,
    stack: &'a StackOptions,
    config: TransformerConfig,
    /// With DeepNorm: the factor of the residual stream, and the gain of the initialisation.
    deepnorm: Option<(f64, f64)>,
}

impl XTransformer {
    /// Registers the parameters of encoder and decoder.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Options`] if the options of a stack do not describe a valid order of
    /// sub-layers.
    pub fn new(options: &XTransformerOptions, p: &mut Params) -> Result<Self> {
        let (enc, dec) = (&options.encoder, &options.decoder);
        let (enc_depth, dec_depth) = (enc.stack.depth.get() as f64, dec.stack.depth.get() as f64);
        let common = enc_depth.powi(4) * dec_depth;
        let encoder = StackSpec {
            context: options.encoder_context(),
            causal: false,
            stack: &enc.stack,
            config: TransformerConfig {
                head: HeadConfig {
                    count: usize::from(!enc.embed_only.return_only_embed),
                    ..HeadConfig::default()
                },
                ..TransformerConfig::plain(&enc.tokens, &enc.sequence, enc.memory.num_memory_tokens)
            },
            deepnorm: options
                .deepnorm
                .then(|| (0.81 * common.powf(1.0 / 16.0), 0.87 * common.powf(-1.0 / 16.0))),
        };
        let decoder = StackSpec {
            context: options.decoder_context(),
            causal: true,
            stack: &dec.stack,
            config: TransformerConfig {
                head: HeadConfig::from(&dec.head),
                ..TransformerConfig::plain(&dec.tokens, &dec.sequence, None)
            },
            deepnorm: options
                .deepnorm
                .then(|| ((3.0 * dec_depth).powf(0.25), (12.0 * dec_depth).powf(-0.25))),
        };
        let encoder = encoder.build(None, &mut p.submodule("encoder"))?;
        let tied = options.tie_token_emb.then(|| encoder.token_table().clone());
        let net = decoder.build(tied.as_ref(), &mut p.submodule("decoder.net"))?;
        Ok(Self {
            encoder,
            decoder: Arc::new(AutoregressiveWrapper::new(Arc::new(net), &options.targets, 0.0)),
            cross_attn_tokens_dropout: options.cross_attn_tokens_dropout.0,
            mode: Mode::default(),
        })
    }

    /// Sets training mode (`true`) or evaluation mode (`false`) of this model, the encoder and the
    /// decoder.
    pub fn train(&self, on: bool) {
        self.mode.set(on);
        for net in [&self.encoder, self.decoder.net()] {
            net.mode().set(on);
            net.layers().mode().set(on);
        }
        self.decoder.mode().set(on);
    }

    /// The decoder.
    pub fn decoder(&self) -> &Arc<AutoregressiveWrapper> {
        &self.decoder
    }

    /// The mean cross-entropy of the target tokens given the target tokens before them and the
    /// source. `src` and `tgt` are i64, `(batch, length)`. `of` is that of
    /// [`AutoregressiveWrapper::forward`].
    pub fn forward(
        &self,
        (src, tgt): (&Tensor, &Tensor),
        with: &SourceTensors,
        of: &Targets,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let with = self.decoder_inputs(src, with, ctx)?;
        self.decoder.forward(tgt, &with, of, ctx)
    }

    /// The logits `(batch, target length, tokens)` of the tokens that follow those of the target.
    /// `src` and `tgt` are i64, `(batch, length)`.
    pub fn logits(
        &self,
        (src, tgt): (&Tensor, &Tensor),
        with: &SourceTensors,
        ctx: &Ctx,
    ) -> Result<Tensor> {
        let with = self.decoder_inputs(src, with, ctx)?;
        self.decoder.net().logits(tgt, &with, ctx)
    }

    /// What the decoder reads of the source.
    fn decoder_inputs(
        &self,
        src: &Tensor,
        with: &SourceTensors,
        ctx: &Ctx,
    ) -> Result<TokenTensors> {
        let own = ctx.for_model(&self.mode);
        let (encoded, mask) = self.encode(src, with, ctx)?;
        let mut context = Context { x: Some(encoded), mask, pos: None };
        if own.training && self.cross_attn_tokens_dropout > 0.0 {
            context = drop_tokens(context, self.cross_attn_tokens_dropout, &own)?;
        }
        let Context { x: context, mask: context_mask, .. } = context;
        let layers = LayerTensors { context, context_mask, ..LayerTensors::default() };
        Ok(TokenTensors { layers, ..TokenTensors::default() })
    }

    /// The log-probabilities of the target tokens given the target tokens before them and the
    /// source; see [`AutoregressiveWrapper::score`]. Dropout is off, and no autograd graph is
    /// recorded.
    pub fn score(
        &self,
        src: &Tensor,
        tgt: &Tensor,
        with: &SourceTensors,
        ignore_pad: bool,
        ctx: &Ctx,
    ) -> Result<Score> {
        let layers = self.encoded(src, with, ctx)?;
        self.decoder.score(
            tgt,
            &TokenTensors { layers, ..TokenTensors::default() },
            ignore_pad,
            ctx,
        )
    }

    /// Encodes the source once for a generation. Returns the encoded source as the context of the
    /// decoder, and its mask.
    pub fn encoded(&self, src: &Tensor, with: &SourceTensors, ctx: &Ctx) -> Result<LayerTensors> {
        let (context, context_mask) = no_grad(|| self.encode(src, with, &ctx.evaluating()))?;
        Ok(LayerTensors { context: Some(context), context_mask, ..LayerTensors::default() })
    }

    /// Encodes the source. Returns `(batch, count + source length, dim)` and the mask over it.
    fn encode(
        &self,
        src: &Tensor,
        with: &SourceTensors,
        ctx: &Ctx,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let mut mask = with.mask.clone();
        if let (Some(own), Some(front)) = (&with.mask, &with.prepend_embeds) {
            let ones = Array::ones((own.dim(0), front.dim(1)), DType::U8, &own.device())?;
            mask = Some(ops::cat(&[&Tensor::boolean(ones), own], 1)?);
        }
        let tensors = TokenTensors {
            prepend_embeds: with.prepend_embeds.clone(),
            layers: LayerTensors {
                mask: mask.clone(),
                attn_mask: with.attn_mask.clone(),
                ..LayerTensors::default()
            },
            ..TokenTensors::default()
        };
        Ok((self.encoder.embeddings(src, &tensors, ctx)?, mask))
    }
}

impl StackSpec<'_> {
    /// Builds the stack and the transformer around it. `tied` is a token embedding to share.
    fn build(&self, tied: Option<&crate::Param>, p: &mut Params) -> Result<TransformerWrapper> {
        let mut stack_params = p.new_root();
        let alpha = self.deepnorm.map(|(alpha, _)| alpha);
        let layers =
            AttentionLayers::new(self.context, self.causal, alpha, self.stack, &mut stack_params)?;
        let before = p.count();
        let model = TransformerWrapper::new(
            Arc::new(layers),
            &stack_params.entries(),
            tied,
            &self.config,
            p,
        );
        if let Some((_, beta)) = self.deepnorm {
            deepnorm::initialise(&p.since(before), beta);
        }
        Ok(model)
    }
}
