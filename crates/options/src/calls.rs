//! Arguments of `forward`, besides the positional ones.

use crate::{options, IdsRef, MaskRef, Problems, TensorRef};

options! {
    /// What the layers take from every call.
    pub struct LayerInputs {
        /// The sequence to attend to, (batch, length, width): exactly where the layers have cross
        /// attention.
        context: Option<TensorRef> = None,
        /// True where a position is real, (batch, length); others are not attended to.
        mask: Option<MaskRef> = None,
        /// True where a position of the context is real, (batch, context length).
        context_mask: Option<MaskRef> = None,
        /// True where a query (row) may attend to a key (column) in self attention: 2 axes, 3 with
        /// the heads in front, or 4 with batch and heads in front.
        attn_mask: Option<MaskRef> = None,
        /// True where a position may be attended to in self attention, (batch, length), in place of
        /// `mask`.
        self_attn_context_mask: Option<MaskRef> = None,
        /// Memories of the segment before, one for each self attention, as `return_mems` gives
        /// them. <https://arxiv.org/abs/1901.02860>
        mems: Option<Vec<TensorRef>> = None,
    }
    groups {}
}

options! {
    /// What a model over tokens takes from every call besides.
    pub struct TokenInputs {
        /// Positions as integers, (length) or (batch, length); or embeddings to add in their place,
        /// of another type.
        pos: Option<IdsRef> = None,
        /// Embeddings to stand in front of the sequence, (batch, count, width), as images do in
        /// PaLI; a `mask` covers them too. <https://arxiv.org/abs/2209.06794>
        prepend_embeds: Option<TensorRef> = None,
        /// Embeddings to add to those of the tokens.
        sum_embeds: Option<TensorRef> = None,
    }
    groups {}
}

options! {
    /// What a model over continuous values takes from every call besides.
    pub struct ContinuousInputs {
        /// Positions as integers, (length) or (batch, length).
        pos: Option<IdsRef> = None,
        /// Vectors of the layers' width to stand in front of the sequence, (batch, count, width); a
        /// `mask` covers them too.
        prepend_embeds: Option<TensorRef> = None,
    }
    groups {}
}

options! {
    /// Arguments of an `Attention`.
    pub struct AttentionCall {
        /// What keys and values are made from, (batch, context length, width). Absent: the input
        /// itself.
        context: Option<TensorRef> = None,
        /// True where a position is real, (batch, length); the output is 0 at others.
        mask: Option<MaskRef> = None,
        /// True where a key is real, (batch, context length). Absent: `mask`.
        context_mask: Option<MaskRef> = None,
        /// True where a query (row) may attend to a key (column): 2 axes, 3 with the heads in
        /// front, or 4 with batch and heads in front.
        attn_mask: Option<MaskRef> = None,
        /// Memories that stand in front of the keys' and values' input, (batch, count, width).
        mem: Option<TensorRef> = None,
    }
    groups {}
}

options! {
    /// Arguments of an `Encoder`, a `Decoder` or a `CrossAttender`.
    pub struct LayersCall {
        /// Gives the layers' inputs and attention maps besides.
        return_hiddens: bool = false,
    }
    groups { "" inputs: LayerInputs, }
}

options! {
    /// Arguments of a `TransformerWrapper`.
    pub struct TransformerCall {
        /// Gives the normed embeddings in place of the logits.
        return_embeddings: bool = false,
        /// Gives the logits and the embeddings.
        return_logits_and_embeddings: bool = false,
        /// Gives the layers' inputs and attention maps besides.
        return_intermediates: bool = false,
        /// Gives the memories for the next segment besides. <https://arxiv.org/abs/1901.02860>
        return_mems: bool = false,
        /// Gives the attention maps after the softmax besides.
        return_attn: bool = false,
    }
    groups { "" inputs: LayerInputs, "" tokens: TokenInputs, }
}

options! {
    /// Arguments of a `ContinuousTransformerWrapper`.
    pub struct ContinuousTransformerCall {
        /// Gives the normed embeddings, without the last projection.
        return_embeddings: bool = false,
        /// Gives the layers' inputs and attention maps besides.
        return_intermediates: bool = false,
        /// Gives the attention maps after the softmax besides.
        return_attn: bool = false,
    }
    groups { "" inputs: LayerInputs, "" values: ContinuousInputs, }
}

options! {
    /// Arguments of a `ViTransformerWrapper`.
    pub struct ViTransformerCall {
        /// Gives the embedding of each patch in place of the classes.
        return_embeddings: bool = false,
    }
    groups {}
}

options! {
    /// What the encoder of an `XTransformer` takes from every call.
    pub struct SourceInputs {
        /// True where a token of the source is real, (batch, source length).
        mask: Option<MaskRef> = None,
        /// True where a query (row) may attend to a key (column) in the encoder: 2 axes, 3 with the
        /// heads in front, or 4 with batch and heads in front.
        attn_mask: Option<MaskRef> = None,
    }
    groups {}
}

options! {
    /// Arguments of an `XTransformer`.
    pub struct XTransformerCall {
        /// Embeddings to stand in front of the source, (batch, count, width), as images do in PaLI;
        /// `mask` does not cover them. <https://arxiv.org/abs/2209.06794>
        src_prepend_embeds: Option<TensorRef> = None,
    }
    groups { "" source: SourceInputs, }
}

options! {
    /// Arguments of an `AutoregressiveWrapper`'s loss. A `mask` has one column less than the
    /// tokens.
    pub struct AutoregressiveCall {}
    groups { "" inputs: LayerInputs, "" tokens: TokenInputs, }
    checks conflicts
}

options! {
    /// Which tokens a score counts.
    pub struct CountedTokens {
        /// Leaves out tokens that are `pad_value`, as they stand behind an end. Off, since they may
        /// be tokens as well.
        ignore_pad: bool = false,
    }
    groups {}
}

options! {
    /// Arguments of an `AutoregressiveWrapper`'s score. A `mask` has a column for each token.
    pub struct ScoreOptions {}
    groups { "" counted: CountedTokens, "" inputs: LayerInputs, "" tokens: TokenInputs, }
    checks conflicts
}

options! {
    /// Arguments of an `XTransformer`'s score; the tensors belong to the source, as for its loss.
    pub struct XTransformerScore {
        /// Embeddings to stand in front of the source, (batch, count, width), as images do in PaLI;
        /// `mask` does not cover them. <https://arxiv.org/abs/2209.06794>
        src_prepend_embeds: Option<TensorRef> = None,
    }
    groups { "" counted: CountedTokens, "" source: SourceInputs, }
}

options! {
    /// Arguments of a `ContinuousAutoregressiveWrapper`'s loss. A `mask` may have one column less
    /// than the sequence.
    pub struct ContinuousAutoregressiveCall {}
    groups { "" inputs: LayerInputs, "" values: ContinuousInputs, }
    checks conflicts
}

options! {
    /// Arguments of a `NonAutoregressiveWrapper`'s loss.
    pub struct NonAutoregressiveCall {
        /// Gives the generator's loss only.
        only_train_generator: bool = false,
        /// Gives the critic's loss only; the generator gets no gradient.
        only_train_critic: bool = false,
        /// Temperature of the tokens that the critic judges. Absent: drawn from 0 to 1.
        generator_sample_temperature: Option<f64> = None,
    }
    groups { "" inputs: LayerInputs, "" tokens: TokenInputs, }
}

/// In the reference such a loss fails, as there are more predictions than targets.
fn no_targets(prepend_embeds: Option<TensorRef>, prefix: &str, problems: &mut Problems) {
    let path = format!("{prefix}prepend_embeds");
    problems.require(
        prepend_embeds.is_none(),
        &path,
        "does not go with a loss or a score: there are no targets for them",
    );
}

impl AutoregressiveCall {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        no_targets(self.tokens.prepend_embeds, prefix, problems);
    }
}

impl ScoreOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        no_targets(self.tokens.prepend_embeds, prefix, problems);
    }
}

impl ContinuousAutoregressiveCall {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        no_targets(self.values.prepend_embeds, prefix, problems);
    }
}
