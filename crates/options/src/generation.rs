//! Arguments of `generate` and `stream`, and of the filters of logits.

use crate::calls::{ContinuousInputs, LayerInputs, SourceInputs, TokenInputs};
use crate::types::size;
use crate::{options, Filter, FilterChoice, OneOrMany, Probability, Problems, Seed};
use std::num::NonZeroUsize;

const THRES: Probability = Probability(0.9);
const MIN_P_POW: f64 = 2.0;
const MIN_P_RATIO: f64 = 0.02;

options! {
    /// Options of `top_k` and `top_p`.
    pub struct TopKOptions {
        /// How much is dropped. Top k keeps a share of one less this, rounded up, of the tokens;
        /// top p the largest ones up to a probability of one less this, the first beyond it
        /// included.
        thres: Probability = THRES,
    }
    groups {}
}

options! {
    /// Options of `top_a`.
    pub struct TopAOptions {
        /// The power of the largest probability in the limit below which a token is dropped.
        min_p_pow: f64 = MIN_P_POW,
        /// The factor of the limit below which a token is dropped.
        min_p_ratio: f64 = MIN_P_RATIO,
    }
    groups {}
}

options! {
    /// How the next token is chosen, and when to stop. The order: penalty, filters, temperature,
    /// draw.
    pub struct SamplingOptions {
        /// The end of a sequence, or several tokens of which each is one. A row that has one gets
        /// `pad_value` from then on; generation stops once every row has. One in a prompt counts.
        eos_token: Option<OneOrMany<i64>> = None,
        /// The logits are divided by this before a token is drawn; 0 takes the likeliest one.
        temperature: f64 = 1.0,
        /// Which logits stay: those of `top_k` (<https://arxiv.org/abs/1805.04833>), of `top_p`
        /// (<https://arxiv.org/abs/1904.09751>), of `top_a`, or what a function of your own makes
        /// of them. Absent: `top_k`; none where `top_k_tokens`, `nucleus_p` or `min_p` is given, or
        /// with beams.
        filter_logits_fn: Option<FilterChoice> = None,
        /// How much `top_k` or `top_p` drops: the one keeps a share of one less this of the tokens,
        /// rounded up; the other the largest ones up to a probability of one less this, the first
        /// beyond it included. Absent: 0.9.
        filter_thres: Option<Probability> = None,
        /// The power of the largest probability in the limit below which `top_a` drops a token.
        /// Absent: 2.
        min_p_pow: Option<f64> = None,
        /// The factor of the limit below which `top_a` drops a token. Absent: 0.02.
        min_p_ratio: Option<f64> = None,
        /// Keeps this many of the likeliest tokens. <https://arxiv.org/abs/1805.04833>
        top_k_tokens: Option<NonZeroUsize> = None,
        /// Keeps the smallest set of likeliest tokens whose probability together is at least this.
        /// <https://arxiv.org/abs/1904.09751>
        nucleus_p: Option<Probability> = None,
        /// Keeps the tokens that are at least this share as likely as the likeliest one.
        /// <https://arxiv.org/abs/2407.01082>
        min_p: Option<Probability> = None,
        /// How much less likely tokens become that stand in the prompt or were drawn: positive
        /// logits are divided by this, negative ones multiplied. 1: not at all.
        /// <https://arxiv.org/abs/1909.05858>
        repetition_penalty: f64 = 1.0,
        /// How many sequences each prompt gets; their rows stand together, in the order of the
        /// prompts.
        num_return_sequences: NonZeroUsize = size(1),
        /// Makes the call repeatable, whatever was drawn before: in place of the seed of
        /// `manualSeed`.
        seed: Option<Seed> = None,
    }
    groups {}
    checks conflicts
}

impl SamplingOptions {
    /// Whether one of the filters under plain names is on.
    pub fn has_plain_filter(&self) -> bool {
        self.top_k_tokens.is_some() || self.nucleus_p.is_some() || self.min_p.is_some()
    }

    /// The filter of the reference that is on, its default included.
    pub fn filter(&self) -> Option<Filter> {
        match self.filter_logits_fn {
            Some(FilterChoice::Named(filter)) => Some(filter),
            Some(FilterChoice::Own) => None,
            None => (!self.has_plain_filter()).then_some(Filter::TopK),
        }
    }

    /// How much `top_k` or `top_p` drops.
    pub fn thres(&self) -> f64 {
        self.filter_thres.unwrap_or(THRES).0
    }

    /// Power and factor of the limit of `top_a`.
    pub fn limit(&self) -> (f64, f64) {
        (self.min_p_pow.unwrap_or(MIN_P_POW), self.min_p_ratio.unwrap_or(MIN_P_RATIO))
    }

    /// The tokens that end a sequence.
    pub fn ends(&self) -> Vec<i64> {
        match &self.eos_token {
            None => vec![],
            Some(OneOrMany::One(token)) => vec![*token],
            Some(OneOrMany::Many(tokens)) => tokens.clone(),
        }
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let mut require =
            |holds, name, message| problems.require(holds, &format!("{prefix}{name}"), message);
        require(self.temperature >= 0.0, "temperature", "must not be negative");
        let filter = self.filter();
        let keeps = filter != Some(Filter::TopK) || self.thres() < 1.0;
        require(
            keeps,
            "filter_thres",
            "must be less than 1 with `top_k`, which would keep no token",
        );
        let used =
            self.filter_thres.is_none() || matches!(filter, Some(Filter::TopK | Filter::TopP));
        require(used, "filter_thres", "is for `top_k` and `top_p` alone, and neither is on");
        for (absent, name) in
            [(self.min_p_pow.is_none(), "min_p_pow"), (self.min_p_ratio.is_none(), "min_p_ratio")]
        {
            require(
                absent || filter == Some(Filter::TopA),
                name,
                "is for a `filter_logits_fn` of `top_a` alone",
            );
        }
        let some = self.nucleus_p.is_none_or(|p| p.0 > 0.0);
        require(some, "nucleus_p", "must be more than 0, so that a token is kept");
        require(self.repetition_penalty > 0.0, "repetition_penalty", "must be more than 0");
    }
}

options! {
    /// Beam search: the likeliest sequences, found by keeping several open ones of each prompt.
    /// Nothing is drawn.
    pub struct BeamOptions {
        /// How many sequences of each prompt stay open. 1: no beam search.
        num_beams: NonZeroUsize = size(1),
        /// A sequence's log-probability is divided by its number of new tokens to this power: more
        /// than 0 prefers long ones, less than 0 short ones. <https://arxiv.org/abs/1609.08144>
        length_penalty: f64 = 1.0,
    }
    groups {}
    checks conflicts
}

impl BeamOptions {
    /// Whether several sequences of a prompt stay open.
    pub fn are_on(&self) -> bool {
        self.num_beams.get() > 1
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let used = self.are_on() || self.length_penalty == 1.0;
        problems.require(
            used,
            &format!("{prefix}length_penalty"),
            "needs `num_beams` of more than 1",
        );
    }

    /// Notes what does not go with these beams, in a generation that chooses as `sampling` says.
    fn check_sampling(&self, sampling: &SamplingOptions, prefix: &str, problems: &mut Problems) {
        let several = sampling.num_return_sequences.get() > 1;
        let mut require = |holds, name, message: &str| {
            problems.require(holds, &format!("{prefix}{name}"), message)
        };
        if !self.are_on() {
            let differ = !several || sampling.temperature != 0.0;
            let message =
                "would give the same sequence several times with a `temperature` of 0; raise it, or use `num_beams`";
            require(differ, "num_return_sequences", message);
            return;
        }
        require(
            sampling.seed.is_none(),
            "seed",
            "does not go with `num_beams`: beam search draws nothing",
        );
        let filters = [
            (sampling.filter_logits_fn.is_none(), "filter_logits_fn"),
            (sampling.filter_thres.is_none(), "filter_thres"),
            (sampling.top_k_tokens.is_none(), "top_k_tokens"),
            (sampling.nucleus_p.is_none(), "nucleus_p"),
            (sampling.min_p.is_none(), "min_p"),
        ];
        for (absent, name) in filters {
            require(absent, name, "does not go with `num_beams`: beam search looks at all tokens");
        }
        let plain = sampling.temperature <= 0.0 || sampling.temperature == 1.0;
        require(
            plain,
            "temperature",
            "does not go with `num_beams`: beam search draws nothing; leave it out",
        );
        let enough = sampling.num_return_sequences <= self.num_beams;
        require(enough, "num_return_sequences", "must not be more than `num_beams`");
    }

    /// Notes that there are no beams in a stream.
    pub fn check_stream(&self, problems: &mut Problems) {
        let message = "does not go with stream(): which tokens come first is known at the end only; use generate()";
        problems.require(!self.are_on(), "num_beams", message);
    }
}

options! {
    /// What a generation keeps.
    pub struct CacheOptions {
        /// Whether keys and values are kept between the steps, so that a new token costs no new
        /// pass over the ones before. What comes out is the same but for rounding;
        /// `model.cacheable` tells whether the model allows it. Source: Fast Transformer Decoding,
        /// <https://arxiv.org/abs/1911.02150>.
        cache_kv: bool = true,
    }
    groups {}
}

options! {
    /// Arguments of an `AutoregressiveWrapper`'s generation; each step passes the tensors to the
    /// model.
    pub struct GenerateOptions {}
    groups {
        "" sampling: SamplingOptions,
        "" beams: BeamOptions,
        "" cache: CacheOptions,
        "" inputs: LayerInputs,
        "" tokens: TokenInputs,
    }
    checks conflicts
}

options! {
    /// Arguments of an `AutoregressiveWrapper`'s generation token by token; each step passes the
    /// tensors to the model.
    pub struct StreamOptions {}
    groups {
        "" sampling: SamplingOptions,
        "" cache: CacheOptions,
        "" inputs: LayerInputs,
        "" tokens: TokenInputs,
    }
}

options! {
    /// Arguments of an `XTransformer`'s generation.
    pub struct XTransformerGenerate {}
    groups {
        "" sampling: SamplingOptions,
        "" beams: BeamOptions,
        "" cache: CacheOptions,
        "" source: SourceInputs,
        "" tokens: TokenInputs,
    }
    checks conflicts
}

options! {
    /// Arguments of an `XTransformer`'s generation token by token.
    pub struct XTransformerStream {}
    groups {
        "" sampling: SamplingOptions,
        "" cache: CacheOptions,
        "" source: SourceInputs,
        "" tokens: TokenInputs,
    }
}

options! {
    /// Arguments of a `ContinuousAutoregressiveWrapper`'s generation; each step passes the tensors
    /// to the model.
    pub struct ContinuousGenerate {}
    groups { "" cache: CacheOptions, "" inputs: LayerInputs, "" values: ContinuousInputs, }
}

impl GenerateOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        self.beams.check_sampling(&self.sampling, prefix, problems);
    }
}

impl XTransformerGenerate {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        self.beams.check_sampling(&self.sampling, prefix, problems);
    }
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
        /// How much noise goes into the choice of the tokens to mask again; it falls to 0 over the
        /// steps.
        noise_level_scale: f64 = 1.0,
    }
    groups { "" inputs: LayerInputs, "" tokens: TokenInputs, }
    checks conflicts
}

impl NonAutoregressiveGenerate {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        let keeps = self.filter_thres.is_none_or(|thres| thres.0 < 1.0);
        problems.require(
            keeps,
            &format!("{prefix}filter_thres"),
            "must be less than 1, so that a token is kept",
        );
        let path = format!("{prefix}start_temperature");
        problems.require(self.start_temperature >= 0.0, &path, "must not be negative");
    }
}
