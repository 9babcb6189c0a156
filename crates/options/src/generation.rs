//! Arguments of `generate` and `stream`, and of the filters of logits.

use crate::calls::{ContinuousInputs, LayerInputs, SourceInputs, TokenInputs};
use crate::{options, Filter, Probability, Problems};
use std::num::NonZeroUsize;

options! {
    /// Options of `top_k` and `top_p`.
    pub struct TopKOptions {
        /// How much is dropped. Top k keeps a share of one less this, rounded up, of the tokens; top p the largest ones
        /// up to a probability of one less this, the first beyond it included.
        thres: Probability = Probability(0.9),
    }
    groups {}
}

impl TopKOptions {
    fn conflicts(&self, _prefix: &str, _problems: &mut Problems) {}
}

options! {
    /// Options of `top_a`.
    pub struct TopAOptions {
        /// The power of the largest probability in the limit below which a token is dropped.
        min_p_pow: f64 = 2.0,
        /// The factor of the limit below which a token is dropped.
        min_p_ratio: f64 = 0.02,
    }
    groups {}
}

impl TopAOptions {
    fn conflicts(&self, _prefix: &str, _problems: &mut Problems) {}
}

options! {
    /// How the next token is chosen, and when to stop.
    pub struct SamplingOptions {
        /// The end of a sequence: generation stops once every row has it, and `pad_value` fills up what is behind it.
        eos_token: Option<i64> = None,
        /// The logits are divided by this before a token is drawn; 0 takes the likeliest one.
        temperature: f64 = 1.0,
        /// Which logits stay: those of `top_k` (<https://arxiv.org/abs/1805.04833>), of `top_p`
        /// (<https://arxiv.org/abs/1904.09751>), of `top_a`, or what a function of your own makes of them.
        filter_logits_fn: Filter = Filter::TopK,
    }
    groups {
        "filter_" threshold: TopKOptions,
        "" top_a: TopAOptions,
    }
}

impl SamplingOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(self.temperature >= 0.0, &format!("{prefix}temperature"), "must not be negative");
        let keeps = self.filter_logits_fn != Filter::TopK || self.threshold.thres.0 < 1.0;
        let path = format!("{prefix}filter_thres");
        problems.require(keeps, &path, "must be less than 1 with `top_k`, which would keep no token");
    }
}

options! {
    /// Arguments of an `AutoregressiveWrapper`'s generation; each step passes the tensors to the model.
    pub struct GenerateOptions {}
    groups {
        "" sampling: SamplingOptions,
        "" inputs: LayerInputs,
        "" tokens: TokenInputs,
    }
}

options! {
    /// Arguments of an `XTransformer`'s generation.
    pub struct XTransformerGenerate {}
    groups {
        "" sampling: SamplingOptions,
        "" source: SourceInputs,
        "" tokens: TokenInputs,
    }
}

options! {
    /// Arguments of a `ContinuousAutoregressiveWrapper`'s generation; each step passes the tensors to the model.
    pub struct ContinuousGenerate {}
    groups { "" inputs: LayerInputs, "" values: ContinuousInputs, }
}

impl GenerateOptions {
    fn conflicts(&self, _prefix: &str, _problems: &mut Problems) {}
}

impl XTransformerGenerate {
    fn conflicts(&self, _prefix: &str, _problems: &mut Problems) {}
}

impl ContinuousGenerate {
    fn conflicts(&self, _prefix: &str, _problems: &mut Problems) {}
}

options! {
    /// Arguments of a `NonAutoregressiveWrapper`'s generation.
    pub struct NonAutoregressiveGenerate {
        /// Number of sequences. Absent: one, without the batch axis.
        batch_size: Option<NonZeroUsize> = None,
        /// Temperature of the first step; it falls to 0 over the steps.
        start_temperature: f64 = 1.0,
        /// How much of the logits each step drops, as `top_k` does; null keeps all.
        filter_thres: Option<Probability> = Some(Probability(0.7)),
        /// How much noise goes into the choice of the tokens to mask again; it falls to 0 over the steps.
        noise_level_scale: f64 = 1.0,
    }
    groups { "" inputs: LayerInputs, "" tokens: TokenInputs, }
}

impl NonAutoregressiveGenerate {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let keeps = self.filter_thres.is_none_or(|thres| thres.0 < 1.0);
        problems.require(keeps, &format!("{prefix}filter_thres"), "must be less than 1, so that a token is kept");
        let path = format!("{prefix}start_temperature");
        problems.require(self.start_temperature >= 0.0, &path, "must not be negative");
    }
}
