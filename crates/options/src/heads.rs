//! Options of a transformer over tokens for what comes before and after its layers: embeddings of
//! kinds, pooling, heads.

use crate::types::size;
use crate::{options, ByName, Problems};
use std::num::NonZeroUsize;

options! {
    /// The head that gives logits.
    pub struct HeadOptions {
        /// Ties the weights of the output head to the token embedding.
        /// <https://arxiv.org/abs/1608.05859>
        tie_embedding: bool = false,
        /// With `tie_embedding`: factor of the logits. T5, and x-transformers 2.x unless told
        /// otherwise, take 1 / sqrt(width). <https://arxiv.org/abs/1910.10683>
        tie_embedding_scale: f64 = 1.0,
        /// Factor of the logits, that of `tie_embedding_scale` besides.
        logits_scale: f64 = 1.0,
        /// A learned bias in the head. With `tie_embedding` there is none.
        logits_bias: bool = true,
        /// Limits the logits to this number `c`, as `c * tanh(logits / c)`, after all factors, as
        /// in Gemma 2. Absent: no limit. <https://arxiv.org/abs/2408.00118>
        logit_softclamp_value: Option<f64> = None,
    }
    groups {}
    checks conflicts
}

impl HeadOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(
            self.logit_softclamp_value.is_none_or(|limit| limit > 0.0 && limit <= 1e30),
            &format!("{prefix}logit_softclamp_value"),
            "must be greater than 0",
        );
    }
}

options! {
    /// Whether there is a head.
    pub struct EmbedOnlyOptions {
        /// No head: `forward` gives the embeddings after the final norm. For encoders whose output
        /// another model reads, such as BERT. <https://arxiv.org/abs/1810.04805>
        return_only_embed: bool = false,
    }
    groups {}
}

options! {
    /// What the head reads, and how many heads there are.
    pub struct PoolOptions {
        /// Class tokens, as in BERT: `num_cls_tokens` learned vectors precede the sequence, and the
        /// head reads their outputs in place of those of the sequence. With one class token there
        /// is no axis of the length. They stand in front, so that those of a Decoder see no tokens:
        /// take an Encoder. <https://arxiv.org/abs/1810.04805>
        use_cls_token: bool = false,
        /// Number of class tokens with `use_cls_token`.
        num_cls_tokens: NonZeroUsize = size(1),
        /// The head reads the mean over the positions, without those that `mask` hides, in place of
        /// each position.
        average_pool_embed: bool = false,
        /// Number of heads. With several, the logits are an array with those of each head.
        num_output_heads: NonZeroUsize = size(1),
        /// Removes the last axis of the logits of `forward` where the head has a width of 1.
        squeeze_out_last_dim: bool = false,
    }
    groups {}
    checks conflicts
}

impl PoolOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(
            !(self.use_cls_token && self.average_pool_embed),
            &format!("{prefix}average_pool_embed"),
            format!("does not go with `{prefix}use_cls_token`; choose one of the two"),
        );
    }
}

options! {
    /// Embeddings of kinds of tokens.
    pub struct KindOptions {
        /// Further embeddings that are added to those of the tokens, such as the segments of BERT:
        /// by each name the number of ids. `embed_ids` of a call gives the ids.
        /// <https://arxiv.org/abs/1810.04805>
        embed_num_tokens: ByName<NonZeroUsize> = ByName(vec![]),
    }
    groups {}
    checks conflicts
}

impl KindOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        for (name, _) in &self.embed_num_tokens.0 {
            problems.require(
                !name.is_empty() && !name.contains('.'),
                &format!("{prefix}embed_num_tokens"),
                format!("has the name '{name}'; names have a letter at least and no dot, which parts the names of weights"),
            );
        }
    }
}
