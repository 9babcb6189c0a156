//! Arguments of `generate`, `stream` and the logit filters.

use crate::calls::{ContinuousInputs, LayerInputs, SourceInputs, TokenInputs};
use crate::types::size;
use crate::{options, Filter, FilterChoice, IdsRef, OneOrMany, Probability, Problems, Seed};
use std::num::NonZeroUsize;

const THRES: Probability = Probability(0.9);
const MIN_P_POW: f64 = 2.0;
const MIN_P_RATIO: f64 = 0.02;

options! {
    /// Options of `top_k` and `top_p`.
    pub struct TopKOptions {
        /// Share to drop. `top_k` keeps a share of `1 - thres` of the tokens, rounded up. `top_p`
        /// keeps the most likely tokens until their total probability exceeds `1 - thres`; the
        /// token that exceeds it is kept too.
        thres: Probability = THRES,
    }
    groups {}
}

options! {
    /// Options of `top_a`.
    pub struct TopAOptions {
        /// Exponent of the threshold `min_p_ratio * p_max ** min_p_pow`, where `p_max` is the
        /// largest probability in the batch. Tokens with a probability below the threshold are
        /// dropped.
        min_p_pow: f64 = MIN_P_POW,
        /// Factor of the threshold `min_p_ratio * p_max ** min_p_pow`, where `p_max` is the largest
        /// probability in the batch. Tokens with a probability below the threshold are dropped.
        min_p_ratio: f64 = MIN_P_RATIO,
    }
    groups {}
}

options! {
    /// How the next token is selected, and when generation stops. The order is: repetition penalty,
    /// filters, temperature, sampling; with `temperature_first` the temperature before the filters.
    pub struct SamplingOptions {
        /// End-of-sequence token, or several of them. After the first one, a row is filled with
        /// `pad_value`; generation stops once every row has ended. An end token in a prompt counts
        /// too.
        eos_token: Option<OneOrMany<i64>> = None,
        /// Whether an end token in a prompt ends its row too. False: one that is generated alone,
        /// as chats need it, whose turns all end with one.
        eos_in_prompt: bool = true,
        /// Divides the logits before sampling; 0 selects the most likely token (greedy decoding).
        temperature: f64 = 1.0,
        /// Divides the logits by the temperature before the filters, as transformers does, and not
        /// after them: `nucleus_p` and `min_p` then see the probabilities of the draw.
        temperature_first: bool = false,
        /// Filter of the logits: `top_k` (<https://arxiv.org/abs/1805.04833>), `top_p`
        /// (<https://arxiv.org/abs/1904.09751>), `top_a`, or a function that maps logits to logits.
        /// Absent: `top_k`, or no filter if `top_k_tokens`, `nucleus_p` or `min_p` is given or with
        /// beam search.
        filter_logits_fn: Option<FilterChoice> = None,
        /// Share that `top_k` or `top_p` drops. `top_k` keeps a share of `1 - filter_thres` of the
        /// tokens, rounded up. `top_p` keeps the most likely tokens until their total probability
        /// exceeds `1 - filter_thres`; the token that exceeds it is kept too. Absent: 0.9.
        filter_thres: Option<Probability> = None,
        /// With `top_a`: exponent of the threshold `min_p_ratio * p_max ** min_p_pow`, where
        /// `p_max` is the largest probability in the batch. Tokens with a probability below the
        /// threshold are dropped. Absent: 2.
        min_p_pow: Option<f64> = None,
        /// With `top_a`: factor of the threshold `min_p_ratio * p_max ** min_p_pow`, where `p_max`
        /// is the largest probability in the batch. Tokens with a probability below the threshold
        /// are dropped. Absent: 0.02.
        min_p_ratio: Option<f64> = None,
        /// Top-k sampling: keeps this many of the most likely tokens.
        /// <https://arxiv.org/abs/1805.04833>
        top_k_tokens: Option<NonZeroUsize> = None,
        /// Top-p (nucleus) sampling: keeps the smallest set of most likely tokens whose total
        /// probability is at least this. <https://arxiv.org/abs/1904.09751>
        nucleus_p: Option<Probability> = None,
        /// Min-p sampling: keeps the tokens whose probability is at least this share of the largest
        /// probability. <https://arxiv.org/abs/2407.01082>
        min_p: Option<Probability> = None,
        /// Penalty for tokens that are already in the prompt or were generated: positive logits are
        /// divided by it, negative ones multiplied by it. 1 has no effect.
        /// <https://arxiv.org/abs/1909.05858>
        repetition_penalty: f64 = 1.0,
        /// Number of sequences per prompt. The rows of one prompt are consecutive, in the order of
        /// the prompts.
        num_return_sequences: NonZeroUsize = size(1),
        /// Random seed of this call, instead of that of `manualSeed`. Makes the result
        /// reproducible, regardless of earlier random numbers.
        seed: Option<Seed> = None,
    }
    groups {}
    checks conflicts
}

impl SamplingOptions {
    /// Whether `top_k_tokens`, `nucleus_p` or `min_p` is set.
    pub fn has_plain_filter(&self) -> bool {
        self.top_k_tokens.is_some() || self.nucleus_p.is_some() || self.min_p.is_some()
    }

    /// The filter in use of those in the Python package; `top_k` by default.
    pub fn filter(&self) -> Option<Filter> {
        match self.filter_logits_fn {
            Some(FilterChoice::Named(filter)) => Some(filter),
            Some(FilterChoice::Own) => None,
            None => (!self.has_plain_filter()).then_some(Filter::TopK),
        }
    }

    /// The share that `top_k` or `top_p` drops.
    pub fn thres(&self) -> f64 {
        self.filter_thres.unwrap_or(THRES).0
    }

    /// Exponent and factor of the threshold of `top_a`.
    pub fn limit(&self) -> (f64, f64) {
        (self.min_p_pow.unwrap_or(MIN_P_POW), self.min_p_ratio.unwrap_or(MIN_P_RATIO))
    }

    /// The tokens that end a row where they stand in its prompt.
    pub fn ends_of_prompts(&self) -> Vec<i64> {
        if self.eos_in_prompt {
            self.ends()
        } else {
            vec![]
        }
    }

    /// The end-of-sequence tokens.
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
        require(
            !self.temperature_first || filter != Some(Filter::TopA),
            "temperature_first",
            "does not go with `top_a`, which makes all tokens that it keeps equally likely",
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
    /// Beam search: keeps the most likely open sequences of each prompt at every step, and does not
    /// sample.
    pub struct BeamOptions {
        /// Number of beams (open sequences) per prompt. 1: no beam search.
        num_beams: NonZeroUsize = size(1),
        /// Exponent of the length: the log-probability of a sequence is divided by its number of
        /// new tokens to this power. Above 0 favours long sequences, below 0 short ones.
        /// <https://arxiv.org/abs/1609.08144>
        length_penalty: f64 = 1.0,
    }
    groups {}
    checks conflicts
}

impl BeamOptions {
    /// Whether beam search is on.
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

    /// Reports conflicts between these options and `sampling`.
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

    /// Reports an error if beam search is on, which `stream` does not support.
    pub fn check_stream(&self, problems: &mut Problems) {
        let message = "does not go with stream(): which tokens come first is known at the end only; use generate()";
        problems.require(!self.are_on(), "num_beams", message);
    }
}

options! {
    /// The cache of a generation.
    pub struct CacheOptions {
        /// Caches keys and values between the steps, as in Fast Transformer Decoding, so that a new
        /// token needs no new pass over the earlier ones. The results are the same up to rounding.
        /// `model.cacheable` tells whether the model supports it.
        /// <https://arxiv.org/abs/1911.02150>
        cache_kv: bool = true,
    }
    groups {}
}

options! {
    /// The window of a generation.
    pub struct WindowOptions {
        /// The model sees the last `max_seq_len` tokens. If false, it sees all, however many: for
        /// models without learned absolute positions, such as those with rotary positions, which
        /// then keep their cache too.
        restrict_to_max_seq_len: bool = true,
    }
    groups {}
}

options! {
    /// The lengths of prompts.
    pub struct PromptOptions {
        /// Number of real tokens at the start of each prompt, (batch); what follows is padding.
        /// Instead of a `mask`. Prompts as an array, each with a length of its own, need none.
        prompt_lens: Option<IdsRef> = None,
    }
    groups {}
}

options! {
    /// Arguments of `generate` of an `AutoregressiveWrapper`. Each step passes the tensors to the
    /// model.
    pub struct GenerateOptions {}
    groups {
        "" sampling: SamplingOptions,
        "" beams: BeamOptions,
        "" cache: CacheOptions,
        "" window: WindowOptions,
        "" prompts: PromptOptions,
        "" inputs: LayerInputs,
        "" tokens: TokenInputs,
    }
    checks conflicts
}

options! {
    /// Arguments of `stream` of an `AutoregressiveWrapper`, which generates token by token. Each
    /// step passes the tensors to the model.
    pub struct StreamOptions {}
    groups {
        "" sampling: SamplingOptions,
        "" cache: CacheOptions,
        "" window: WindowOptions,
        "" prompts: PromptOptions,
        "" inputs: LayerInputs,
        "" tokens: TokenInputs,
    }
}

options! {
    /// Arguments of `generate` of an `XTransformer`.
    pub struct XTransformerGenerate {}
    groups {
        "" sampling: SamplingOptions,
        "" beams: BeamOptions,
        "" cache: CacheOptions,
        "" window: WindowOptions,
        "" source: SourceInputs,
        "" tokens: TokenInputs,
    }
    checks conflicts
}

options! {
    /// Arguments of `stream` of an `XTransformer`, which generates token by token.
    pub struct XTransformerStream {}
    groups {
        "" sampling: SamplingOptions,
        "" cache: CacheOptions,
        "" window: WindowOptions,
        "" source: SourceInputs,
        "" tokens: TokenInputs,
    }
}

options! {
    /// Arguments of `generate` of a `ContinuousAutoregressiveWrapper`. Each step passes the tensors
    /// to the model.
    pub struct ContinuousGenerate {}
    groups { "" cache: CacheOptions, "" inputs: LayerInputs, "" values: ContinuousInputs, }
}

impl GenerateOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        self.beams.check_sampling(&self.sampling, prefix, problems);
        problems.require(
            self.prompts.prompt_lens.is_none() || self.inputs.mask.is_none(),
            &format!("{prefix}prompt_lens"),
            format!("does not go with `{prefix}mask`, which says what is real too"),
        );
    }
}

impl XTransformerGenerate {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        self.beams.check_sampling(&self.sampling, prefix, problems);
    }
}

options! {
    /// Arguments of `generate` of a `NonAutoregressiveWrapper`.
    pub struct NonAutoregressiveGenerate {
        /// Number of sequences. Absent: one sequence, without batch axis.
        batch_size: Option<NonZeroUsize> = None,
        /// Sampling temperature of the first step; it decreases to 0 over the steps.
        start_temperature: f64 = 1.0,
        /// Share of the logits that each step drops, as with `top_k`; null keeps all.
        filter_thres: Option<Probability> = Some(Probability(0.7)),
        /// With a critic: scale of the random noise in the selection of the tokens to mask again;
        /// it decreases to 0 over the steps.
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
