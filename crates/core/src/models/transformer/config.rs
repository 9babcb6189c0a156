//! The configuration of a transformer over tokens.

use super::head::HeadConfig;
use std::num::NonZeroUsize;
use xt_options::heads::PoolOptions;
use xt_options::wrappers::{SequenceOptions, TokenOptions, TransformerWrapperOptions};

/// The configuration of a transformer over tokens, without its layers.
#[derive(Clone)]
pub struct TransformerConfig {
    /// The size of the vocabulary.
    pub num_tokens: usize,
    /// The factor of the token embeddings.
    pub emb_scale: f64,
    /// Sequence length, positions and dropout of the embeddings.
    pub sequence: SequenceOptions,
    /// The width of the embeddings; absent: the width of the layers.
    pub emb_dim: Option<usize>,
    /// The width of the head; absent: `num_tokens`.
    pub logits_dim: Option<usize>,
    /// The number of learned tokens before the sequence.
    pub num_memory_tokens: usize,
    /// Layer normalisation of the embeddings.
    pub post_emb_norm: bool,
    /// Scale token and position embeddings to length 1.
    pub l2norm_embed: bool,
    /// The head that gives logits.
    pub head: HeadConfig,
    /// What the head reads; absent: each position.
    pub pool: Option<PoolOptions>,
    /// The number of ids of each kind of further embeddings, by name.
    pub kinds: Vec<(String, NonZeroUsize)>,
    /// The share of the gradient that reaches the embeddings.
    pub emb_frac_gradient: f64,
    /// The length of the returned memories, 0 for all; absent: memories cannot be returned.
    pub max_mem_len: Option<usize>,
    /// The number of layers by which memories move down in the next segment.
    pub shift_mem_down: usize,
}

impl TransformerConfig {
    /// The default configuration with this vocabulary, sequence and number of memory tokens.
    pub fn plain(
        tokens: &TokenOptions,
        sequence: &SequenceOptions,
        num_memory_tokens: Option<usize>,
    ) -> Self {
        Self {
            num_tokens: tokens.num_tokens.get(),
            emb_scale: tokens.emb_scale,
            sequence: sequence.clone(),
            emb_dim: None,
            logits_dim: None,
            num_memory_tokens: num_memory_tokens.unwrap_or(0),
            post_emb_norm: false,
            l2norm_embed: false,
            head: HeadConfig::default(),
            pool: None,
            kinds: Vec::new(),
            emb_frac_gradient: 1.0,
            max_mem_len: None,
            shift_mem_down: 0,
        }
    }
}

/// The number of heads that the options ask for.
fn heads(o: &TransformerWrapperOptions) -> usize {
    match o.embed_only.return_only_embed {
        true => 0,
        false => o.pool.num_output_heads.get(),
    }
}

impl From<&TransformerWrapperOptions> for TransformerConfig {
    fn from(o: &TransformerWrapperOptions) -> Self {
        Self {
            emb_dim: o.emb_dim.map(|n| n.get()),
            logits_dim: o.logits_dim.map(|n| n.get()),
            post_emb_norm: o.norm.post_emb_norm,
            l2norm_embed: o.l2norm_embed,
            head: HeadConfig { count: heads(o), ..HeadConfig::from(&o.head) },
            pool: Some(o.pool.clone()),
            kinds: o.kinds.embed_num_tokens.0.clone(),
            emb_frac_gradient: o.emb_frac_gradient,
            max_mem_len: o.max_mem_len,
            shift_mem_down: o.shift_mem_down,
            ..Self::plain(&o.tokens, &o.sequence, o.memory.num_memory_tokens)
        }
    }
}
