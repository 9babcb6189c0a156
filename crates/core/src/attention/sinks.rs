//! Scores of keys whose values are 0, which take a part of the attention weights.
//!
//! Sources: a learned score per head: Efficient Streaming Language Models with Attention Sinks,
//! <https://arxiv.org/abs/2309.17453>.

use crate::needs::{Needs, Variant};
use crate::{Array, Init, Param, Params, Result, Tensor};
use xt_autograd::ops::{self, Mask};
use xt_options::attention::AttentionBlockOptions;

/// The sinks of an attention.
pub struct Sinks {
    /// A learned score of each head, `(heads)`.
    learned: Option<Param>,
    /// Whether there is a score of 0, that of a key of zeros.
    zero: bool,
}

impl Sinks {
    /// Registers the learned scores, 0 at first; `None` if no sink is enabled.
    pub fn new(heads: usize, options: &AttentionBlockOptions, p: &mut Params) -> Option<Self> {
        let learned = options
            .head_learned_sink
            .then(|| p.submodule("attend").add("head_attn_sink", &[heads], Init::Constant(0.0)));
        let zero = options.add_zero_kv;
        (zero || learned.is_some()).then_some(Self { learned, zero })
    }

    /// All scores, `(heads, count)`, in the type and on the device of `like`.
    pub fn scores(&self, heads: usize, like: &Tensor) -> Result<Tensor> {
        let zeros = || Array::zeros(&[heads, 1], like.dtype(), &like.device());
        let zero = if self.zero { Some(Tensor::constant(zeros()?)) } else { None };
        let learned = self.learned.as_ref();
        let learned = learned.map(|sink| ops::reshape(&sink.tensor(), &[heads, 1])).transpose()?;
        let all: Vec<&Tensor> = learned.iter().chain(&zero).collect();
        Ok(ops::cat(&all, 1)?)
    }

    /// The weights of the keys, `(batch, heads, i, j)`, for their `scores` and the sinks.
    pub fn softmax(&self, scores: &Tensor, mask: &Mask) -> Result<Tensor> {
        let [batch, heads, i, j] = [scores.dim(0), scores.dim(1), scores.dim(2), scores.dim(3)];
        let sinks = self.scores(heads, scores)?;
        let count = sinks.dim(1);
        let front = ops::reshape(&sinks, &[1, heads, 1, count])?;
        let front = ops::broadcast_to(&front, &[batch, heads, i, count])?;
        let mask = mask.with_prefix(count, (i, j), &scores.device())?;
        let weights = ops::masked_softmax(&ops::cat(&[&front, scores], 3)?, &mask)?;
        Ok(ops::narrow(&weights, 3, count, j)?)
    }
}

impl Variant for Sinks {
    /// They have no positions.
    fn needs(&self) -> Needs {
        Needs::NONE
    }
}
