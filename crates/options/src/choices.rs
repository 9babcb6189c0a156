//! Options that are one of a few words.

use crate::spec::Kind;
use crate::types::OptionType;
use serde_json::{json, Value};

/// Declares an enum whose variants stand in JSON as strings.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])+
        $Name:ident as $kind:ident { $( $(#[doc = $variant_doc:literal])+ $Variant:ident = $text:literal, )+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $Name { $( $(#[doc = $variant_doc])+ $Variant, )+ }

        impl OptionType for $Name {
            const KIND: Kind = Kind::$kind(&[$($text),+]);
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
    /// What a sub-layer is.
    LayerKind as Text {
        /// Attention of the sequence to itself.
        SelfAttention = "a",
        /// Attention of the sequence to the context.
        CrossAttention = "c",
        /// Feed-forward.
        FeedForward = "f",
    }
}

choice! {
    /// How the share of masked tokens falls from 1 to 0 over the steps of a generation.
    Schedule as Text {
        /// `1 - t`.
        Linear = "linear",
        /// `cos(t * pi / 2)`.
        Cosine = "cosine",
    }
}

choice! {
    /// What is done to logits before a token is drawn from them.
    Filter as Filter {
        /// Keeps the largest ones.
        TopK = "top_k",
        /// Keeps the largest ones up to a total probability.
        TopP = "top_p",
        /// Keeps those whose probability is not far below the largest one.
        TopA = "top_a",
    }
}

/// How the caller filters logits: by name, or by a function of its own, which runs outside
/// (`{"$function": true}` in JSON).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterChoice {
    /// One of the package.
    Named(Filter),
    /// A function of the caller.
    Own,
}

impl OptionType for FilterChoice {
    const KIND: Kind = Filter::KIND;
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
