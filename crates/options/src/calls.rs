//! Named arguments of `forward`.

use crate::{options, ByName, IdsRef, MaskRef, Probability, Problems, TensorRef};

options! {
    /// Inputs of the layers in every call.
    pub struct LayerInputs {
        /// Input of the cross attentions, (batch, length, width). Required if the layers have cross
        /// attention, not allowed otherwise.
        context: Option<TensorRef> = None,
        /// True for real positions, false for padding, (batch, length). Padding is not attended to.
        mask: Option<MaskRef> = None,
        /// True for real positions of the context, false for padding, (batch, context length).
        context_mask: Option<MaskRef> = None,
        /// Position ids of the context as integers, (context length) or (batch, context length).
        /// With them rotary positions are those of cross attention too, by the angles of the self
        /// attention in the same block. A call with a `cache` needs the same ones again.
        context_pos: Option<IdsRef> = None,
        /// True where a query (row) may attend to a key (column) in self attention. Its shape is
        /// (queries, keys), (heads, queries, keys) or (batch, heads, queries, keys).
        attn_mask: Option<MaskRef> = None,
        /// True for the positions that self attention may attend to, (batch, length). Used instead
        /// of `mask`.
        self_attn_context_mask: Option<MaskRef> = None,
        /// Memories of the previous segment, one tensor for each self attention, as returned with
        /// `return_mems`. <https://arxiv.org/abs/1901.02860>
        mems: Option<Vec<TensorRef>> = None,
        /// True for real ones of `mems`, false for padding, one mask for each, (batch, memories).
        mem_masks: Option<Vec<MaskRef>> = None,
    }
    groups {}
    checks conflicts
}

impl LayerInputs {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let counts = [self.mems.as_ref().map(Vec::len), self.mem_masks.as_ref().map(Vec::len)];
        problems.require(
            counts[1].is_none() || counts[0] == counts[1],
            &format!("{prefix}mem_masks"),
            format!("must be as many as `{prefix}mems`, of which they are masks"),
        );
    }
}

options! {
    /// The documents of rows that consist of several.
    pub struct PackedInputs {
        /// The document of each position, (batch, length): equal integers, one beside the other,
        /// are one document. Self attention and token shift stay within a document, and positions
        /// count from its start, so that the result is that of a call for each document. Number
        /// documents from 1: 0 is padding, which may stand in several places, and has no loss. A
        /// loss is of all tokens but the first one of each document; give it the documents of all
        /// tokens, those of the last column too.
        segment_ids: Option<IdsRef> = None,
    }
    groups {}
}

options! {
    /// Inputs of a model over tokens, in addition to those of its layers.
    pub struct TokenInputs {
        /// Position ids as integers, (length) or (batch, length), for `alibi_given_pos` also
        /// (batch, heads, length). They are those of absolute positions, and of the layers with
        /// `rotary_given_pos` or `alibi_given_pos`. Generated tokens follow the last one, each by
        /// 1; where learned positions end, all move down. A tensor of another type is added to the
        /// token embeddings as position embeddings.
        pos: Option<IdsRef> = None,
        /// Embeddings to prepend to the sequence, (batch, count, width), such as image embeddings
        /// in PaLI. A `mask` has columns for them too, in front, or for the tokens alone.
        /// <https://arxiv.org/abs/2209.06794>
        prepend_embeds: Option<TensorRef> = None,
        /// True for real ones of `prepend_embeds`, false for padding, (batch, count). A `mask` is
        /// then of the tokens alone. Absent: those that `mask` says, or all.
        prepend_mask: Option<MaskRef> = None,
        /// Embeddings to add to the token embeddings.
        sum_embeds: Option<TensorRef> = None,
        /// Ids for the embeddings of the option `embed_num_tokens`, by each of its names a tensor,
        /// (length) or (batch, length). Generated tokens have that of the last one of the prompt.
        embed_ids: Option<ByName<IdsRef>> = None,
    }
    groups {}
}

options! {
    /// Inputs of a model over continuous values, in addition to those of its layers.
    pub struct ContinuousInputs {
        /// Position ids as integers, (length) or (batch, length).
        pos: Option<IdsRef> = None,
        /// Vectors of the layers' width to prepend to the sequence, (batch, count, width). A `mask`
        /// covers them too.
        prepend_embeds: Option<TensorRef> = None,
    }
    groups {}
}

options! {
    /// Arguments of `forward` of a single layer: none besides its input.
    pub struct ModuleCall {}
    groups {}
}

options! {
    /// Arguments of `forward` of an `Attention`.
    pub struct AttentionCall {
        /// Input of keys and values, (batch, context length, width). Absent: the input itself (self
        /// attention).
        context: Option<TensorRef> = None,
        /// True for real positions, false for padding, (batch, length). The output is 0 at padding.
        mask: Option<MaskRef> = None,
        /// True for real keys, false for padding, (batch, context length). Absent: `mask`.
        context_mask: Option<MaskRef> = None,
        /// True where a query (row) may attend to a key (column). Its shape is (queries, keys),
        /// (heads, queries, keys) or (batch, heads, queries, keys).
        attn_mask: Option<MaskRef> = None,
        /// Memories to prepend to the input of keys and values, (batch, count, width).
        mem: Option<TensorRef> = None,
        /// True for real memories, false for padding, (batch, count).
        mem_mask: Option<MaskRef> = None,
    }
    groups {}
}

options! {
    /// Arguments of `forward` of an `Encoder`, a `Decoder`, a `CrossAttender` or a
    /// `TransformerBlock`.
    pub struct LayersCall {
        /// Position ids as integers, (length) or (batch, length), for `rotary_given_pos` and
        /// `alibi_given_pos`; with this one also (batch, heads, length).
        pos: Option<IdsRef> = None,
        /// Whether self attentions hide later positions, in place of what the class says.
        causal: Option<bool> = None,
        /// Also returns the inputs of the layers and the attention maps.
        return_hiddens: bool = false,
    }
    groups { "" inputs: LayerInputs, "" packed: PackedInputs, }
}

options! {
    /// Arguments of `forward` of a `TransformerWrapper`.
    pub struct TransformerCall {
        /// Returns the embeddings after the final norm instead of the logits.
        return_embeddings: bool = false,
        /// Returns both the logits and the embeddings.
        return_logits_and_embeddings: bool = false,
        /// Also returns the inputs of the layers and the attention maps.
        return_intermediates: bool = false,
        /// Returns the embeddings instead of the logits, and the inputs of the layers and the
        /// attention maps.
        return_embeddings_and_intermediates: bool = false,
        /// Also returns the memories for the next segment. <https://arxiv.org/abs/1901.02860>
        return_mems: bool = false,
        /// Whether the memories of `return_mems` are cut off from the graph. Otherwise the loss of
        /// a later segment has gradients in this one and those before, whose graphs stay in memory:
        /// add up the losses of all, and call `backward` once.
        detach_mems: bool = true,
        /// Also returns the attention maps after the softmax.
        return_attn: bool = false,
        /// What a call with `return_cache` has given: keys and values of the positions before. The
        /// ids are then those of the new tokens alone, as are `embed_ids` and `sum_embeds`; masks
        /// and `pos` cover all positions. Within `noGrad`.
        /// <https://arxiv.org/abs/1911.02150>
        cache: Option<Vec<TensorRef>> = None,
        /// Also returns keys and values for a later call that goes on. Within `noGrad`.
        return_cache: bool = false,
        /// Leaves out the positions of `prepend_embeds` in logits and embeddings.
        excise_prepend_embeds: bool = false,
        /// Where each row starts, (batch): what is before is padding. Positions count from there.
        /// Instead of `pos`.
        seq_start_pos: Option<IdsRef> = None,
        /// Whether self attentions hide later positions, in place of what the class says.
        causal: Option<bool> = None,
    }
    groups { "" inputs: LayerInputs, "" packed: PackedInputs, "" tokens: TokenInputs, }
    checks conflicts
}

impl TransformerCall {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let others = [
            (self.tokens.pos.is_some(), "pos"),
            (self.packed.segment_ids.is_some(), "segment_ids"),
        ];
        for (given, name) in others {
            problems.require(
                !given || self.seq_start_pos.is_none(),
                &format!("{prefix}seq_start_pos"),
                format!("does not go with `{prefix}{name}`, which says the positions too"),
            );
        }
        let both = self.return_embeddings_and_intermediates;
        problems.require(
            !(self.return_mems && both),
            &format!("{prefix}return_mems"),
            format!("does not go with `{prefix}return_embeddings_and_intermediates`"),
        );
        problems.require(
            self.detach_mems || self.return_mems,
            &format!("{prefix}detach_mems"),
            format!("needs `{prefix}return_mems`"),
        );
        let kept = [("cache", self.cache.is_some()), ("return_cache", self.return_cache)];
        let whole = [
            ("return_intermediates", self.return_intermediates),
            ("return_embeddings_and_intermediates", self.return_embeddings_and_intermediates),
            ("return_mems", self.return_mems),
            ("return_attn", self.return_attn),
            ("segment_ids", self.packed.segment_ids.is_some()),
            ("causal", self.causal.is_some()),
        ];
        let first = [
            ("seq_start_pos", self.seq_start_pos.is_some()),
            ("prepend_embeds", self.tokens.prepend_embeds.is_some()),
            ("mems", self.inputs.mems.is_some()),
        ];
        for (name, _) in kept.into_iter().filter(|(_, given)| *given) {
            let first = first.iter().filter(|_| name == "cache");
            for (other, _) in whole.iter().chain(first).filter(|(_, given)| *given) {
                problems
                    .add(format!("{prefix}{name}"), format!("does not go with `{prefix}{other}`"));
            }
        }
    }
}

options! {
    /// Arguments of `forward` of a `ContinuousTransformerWrapper`.
    pub struct ContinuousTransformerCall {
        /// Returns the embeddings after the final norm, without the output projection.
        return_embeddings: bool = false,
        /// Also returns the inputs of the layers and the attention maps.
        return_intermediates: bool = false,
        /// Also returns the attention maps after the softmax.
        return_attn: bool = false,
    }
    groups { "" inputs: LayerInputs, "" packed: PackedInputs, "" values: ContinuousInputs, }
}

options! {
    /// Arguments of `forward` of a `ViTransformerWrapper`.
    pub struct ViTransformerCall {
        /// Returns the embedding of each patch instead of the class logits, and before them that of
        /// the class token of `use_cls_token`.
        return_embeddings: bool = false,
    }
    groups {}
}

options! {
    /// Inputs of the encoder of an `XTransformer`.
    pub struct SourceInputs {
        /// True for real tokens of the source, false for padding, (batch, source length).
        mask: Option<MaskRef> = None,
        /// True where a query (row) may attend to a key (column) in the encoder. Its shape is
        /// (queries, keys), (heads, queries, keys) or (batch, heads, queries, keys).
        attn_mask: Option<MaskRef> = None,
        /// Embeddings to prepend to the source, (batch, count, width), such as image embeddings in
        /// PaLI. `mask` does not cover them. <https://arxiv.org/abs/2209.06794>
        src_prepend_embeds: Option<TensorRef> = None,
    }
    groups {}
}

options! {
    /// Arguments of `forward` of an `XTransformer`.
    pub struct XTransformerCall {
        /// Returns the logits of the target in place of the loss, (batch, target length,
        /// `dec_num_tokens`): of each token those of the one that follows.
        return_logits: bool = false,
    }
    groups { "" loss: LossInputs, "" source: SourceInputs, }
}

options! {
    /// Arguments of the loss of an `AutoregressiveWrapper`. A `mask` has one column fewer than the
    /// tokens, since the last one is a target alone; integer `pos` and `embed_ids` may have as many
    /// as the tokens. `prepend_embeds` have no targets.
    pub struct AutoregressiveCall {
        /// The number of real tokens of each row, (batch), which are the first ones: the others
        /// have no loss. They must be token ids all the same.
        lens: Option<IdsRef> = None,
        /// Also returns the logits, (batch, length - 1, `num_tokens`), those of each token but the
        /// last. They take memory that the loss alone does without.
        return_outputs: bool = false,
    }
    groups {
        "" loss: LossInputs, "" inputs: LayerInputs, "" packed: PackedInputs, "" tokens: TokenInputs,
    }
}

options! {
    /// Arguments of a loss.
    pub struct LossInputs {
        /// Label smoothing: the share of the probability that targets spread over all tokens, from
        /// 0 to 1. <https://arxiv.org/abs/1512.00567>
        label_smoothing: Probability = Probability(0.0),
    }
    groups {}
}

options! {
    /// Which tokens count in a score.
    pub struct CountedTokens {
        /// Excludes tokens equal to `pad_value`, such as the padding after the end of a sequence.
        /// Off by default, since regular tokens may have this id too.
        ignore_pad: bool = false,
    }
    groups {}
}

options! {
    /// Arguments of `score` of an `AutoregressiveWrapper`. A `mask` has one column per token;
    /// integer `pos` and `embed_ids` may have one fewer, since the last token is a target alone.
    /// `prepend_embeds` have no score.
    pub struct ScoreOptions {}
    groups { "" counted: CountedTokens, "" inputs: LayerInputs, "" tokens: TokenInputs, }
}

options! {
    /// Arguments of `score` of an `XTransformer`. The tensors belong to the source, as for the
    /// loss.
    pub struct XTransformerScore {}
    groups { "" counted: CountedTokens, "" source: SourceInputs, }
}

options! {
    /// Arguments of the loss of a `ContinuousAutoregressiveWrapper`. A `mask` may have one column
    /// fewer than the sequence.
    pub struct ContinuousAutoregressiveCall {}
    groups { "" inputs: LayerInputs, "" packed: PackedInputs, "" values: ContinuousInputs, }
    checks conflicts
}

options! {
    /// Arguments of the loss of a `NonAutoregressiveWrapper`.
    pub struct NonAutoregressiveCall {
        /// Returns only the loss of the generator.
        only_train_generator: bool = false,
        /// Returns only the loss of the critic; the generator gets no gradient.
        only_train_critic: bool = false,
        /// Sampling temperature of the generated tokens in the input of the critic. Absent: a
        /// random number from 0 to 1.
        generator_sample_temperature: Option<f64> = None,
    }
    groups { "" inputs: LayerInputs, "" tokens: TokenInputs, }
}

/// Prepended vectors have no targets. The Python package fails too, as it has more predictions than
/// targets.
fn no_targets(prepend_embeds: Option<TensorRef>, prefix: &str, problems: &mut Problems) {
    let path = format!("{prefix}prepend_embeds");
    problems.require(
        prepend_embeds.is_none(),
        &path,
        "does not go with a loss: there are no targets for them",
    );
}

impl ContinuousAutoregressiveCall {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        no_targets(self.values.prepend_embeds, prefix, problems);
    }
}
