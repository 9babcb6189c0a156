//! Options that take one of a few strings.

use crate::spec::ValueKind;
use crate::types::OptionType;
use serde_json::{json, Value};

/// Declares an enum whose variants are strings in JSON.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])+
        $Name:ident as $kind:ident { $( $(#[doc = $variant_doc:literal])+ $Variant:ident = $text:literal, )+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name { $( $(#[doc = $variant_doc])+ $Variant, )+ }

        impl OptionType for $Name {
            const KIND: ValueKind = ValueKind::$kind(&[$($text),+]);
            fn read(value: &Value) -> Option<Self> {
                match value.as_str()? {
                    $( $text => Some(Self::$Variant), )+
                    _ => None,
                }
            }
            fn write(&self) -> Value {
                match self { $( Self::$Variant => json!($text), )+ }
            }
        }
    };
}

choice! {
    /// The kind of a sub-layer.
    LayerKind as Text {
        /// Self attention.
        SelfAttention = "a",
        /// Cross attention to the context.
        CrossAttention = "c",
        /// Feed-forward.
        FeedForward = "f",
    }
}

choice! {
    /// Where the norms of a sub-layer stand.
    NormPosition as Text {
        /// Before the branch.
        Pre = "pre",
        /// After the residual connection.
        Post = "post",
        /// On the output of the branch.
        Branch = "branch",
        /// Before the branch and on its output.
        Sandwich = "sandwich",
    }
}

choice! {
    /// How the angles of rotary positions are scaled for sequences longer than those in training.
    RopeType as Text {
        /// All angles are divided by a factor.
        Linear = "linear",
        /// The base grows with the length of the sequence.
        Dynamic = "dynamic",
        /// Angles that turn slowly are divided by a factor, as in Llama 3.
        Llama3 = "llama3",
        /// YaRN: as `llama3`, with another transition, and larger scores.
        Yarn = "yarn",
        /// LongRoPE: each angle has its own factors, for short and for long sequences.
        Longrope = "longrope",
        /// The share of the features that rotate is counted in pairs over the whole head.
        Proportional = "proportional",
    }
}

choice! {
    /// The activation of a feed-forward layer.
    FfActivation as Text {
        /// `x Φ(x)`, where Φ is the cumulative distribution function of the normal distribution.
        Gelu = "gelu",
        /// `x (1 + tanh(sqrt(2/π) (x + 0.044715 x³))) / 2`.
        GeluTanh = "gelu_tanh",
        /// `x σ(x)`, where σ is the logistic function.
        Silu = "silu",
        /// `max(x, 0)`.
        Relu = "relu",
        /// `max(x, 0)^2`.
        ReluSquared = "relu_squared",
        /// `x σ(1.702 x)`.
        QuickGelu = "quick_gelu",
        /// `1 / (1 + exp(-x))`.
        Sigmoid = "sigmoid",
    }
}

choice! {
    /// What the head over an image reads.
    ImagePool as Text {
        /// The mean over the patches.
        Mean = "mean",
        /// The class token.
        Class = "cls",
    }
}

choice! {
    /// How the share of masked tokens decreases from 1 to 0 over the steps of a generation.
    Schedule as Text {
        /// `1 - t`.
        Linear = "linear",
        /// `cos(t * pi / 2)`.
        Cosine = "cosine",
    }
}

choice! {
    /// How the learning rate falls at the end of a schedule.
    Decay as Text {
        /// `1 - t`.
        Linear = "linear",
        /// `(1 + cos(pi * t)) / 2`.
        Cosine = "cosine",
        /// `1 - sqrt(t)`.
        Sqrt = "sqrt",
    }
}

choice! {
    /// How the learning rate of Muon follows the shape of a matrix.
    AdjustLr as Text {
        /// `sqrt(max(1, rows / columns))` times.
        Original = "original",
        /// `0.2 * sqrt(max(rows, columns))` times.
        MatchRmsAdamW = "match_rms_adamw",
        /// `sqrt(rows / columns)` times.
        SpectralUnclamped = "spectral_unclamped",
    }
}

choice! {
    /// A filter of the logits before sampling.
    Filter as Filter {
        /// Keeps the largest logits.
        TopK = "top_k",
        /// Keeps the largest logits up to a total probability.
        TopP = "top_p",
        /// Keeps the tokens whose probability is not far below the largest one.
        TopA = "top_a",
    }
}

/// The logit filter of a call: one of the package by name, or a function of the caller, which runs
/// outside of this crate (`{"$function": true}` in JSON).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterChoice {
    /// A filter of the package.
    Named(Filter),
    /// A function of the caller.
    Own,
}

impl OptionType for FilterChoice {
    const KIND: ValueKind = Filter::KIND;
    fn read(value: &Value) -> Option<Self> {
        match value.get("$function") {
            Some(_) => Some(Self::Own),
            None => Filter::read(value).map(Self::Named),
        }
    }
    fn write(&self) -> Value {
        match self {
            Self::Named(filter) => filter.write(),
            Self::Own => json!({ "$function": true }),
        }
    }
}
