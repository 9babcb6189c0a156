//! Options of single layers as models of their own: the parts of a user's `Module`. Names and
//! defaults are those of PyTorch, and of the Python package for `FeedForward`.

use crate::feedforward::FeedForwardOptions;
use crate::{options, NonNegative, OneOrMany, Probability, Problems};
use std::num::NonZeroUsize;

options! {
    /// Options of a linear layer.
    pub struct LinearOptions {
        /// Width of the input.
        in_features: NonZeroUsize,
        /// Width of the output.
        out_features: NonZeroUsize,
        /// Adds a learned bias.
        bias: bool = true,
    }
    groups {}
}

options! {
    /// Options of a table of vectors.
    pub struct EmbeddingOptions {
        /// Number of vectors.
        num_embeddings: NonZeroUsize,
        /// Width of the vectors.
        embedding_dim: NonZeroUsize,
        /// Index of a vector for padding: it starts as zeros and gets no gradient. Negative ones
        /// count from the end.
        padding_idx: Option<i64> = None,
    }
    groups {}
    checks conflicts
}

impl EmbeddingOptions {
    /// The index of the padding, counted from the front.
    pub fn padding(&self) -> Option<usize> {
        let count = self.num_embeddings.get();
        let index = match self.padding_idx? {
            index @ 0.. => usize::try_from(index).ok(),
            index => usize::try_from(index.unsigned_abs()).ok().and_then(|n| count.checked_sub(n)),
        };
        index.filter(|index| *index < count)
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(
            self.padding_idx.is_none() || self.padding().is_some(),
            &format!("{prefix}padding_idx"),
            format!("must be an index of the {} embeddings", self.num_embeddings),
        );
    }
}

options! {
    /// Options of a layer normalisation over the last axes.
    pub struct LayerNormOptions {
        /// Lengths of the axes that are normalised together, the last ones of the input.
        /// <https://arxiv.org/abs/1607.06450>
        normalized_shape: OneOrMany<NonZeroUsize>,
        /// Added to the variance.
        eps: NonNegative = NonNegative(1e-5),
        /// Learned weights, and biases.
        elementwise_affine: bool = true,
        /// With `elementwise_affine`: learned biases.
        bias: bool = true,
    }
    groups {}
    checks conflicts
}

impl LayerNormOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        check_shape(&self.normalized_shape, prefix, problems);
    }
}

options! {
    /// Options of a root mean square normalisation over the last axes.
    pub struct RMSNormOptions {
        /// Lengths of the axes that are normalised together, the last ones of the input.
        /// <https://arxiv.org/abs/1910.07467>
        normalized_shape: OneOrMany<NonZeroUsize>,
        /// Added to the mean of the squares. Absent: the distance from 1 to the next number of the
        /// input's type, 1.19e-7 for `f32`.
        eps: Option<NonNegative> = None,
        /// Learned weights.
        elementwise_affine: bool = true,
    }
    groups {}
    checks conflicts
}

impl RMSNormOptions {
    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        check_shape(&self.normalized_shape, prefix, problems);
    }
}

/// The lengths of the normalised axes.
pub fn normalized_axes(shape: &OneOrMany<NonZeroUsize>) -> Vec<usize> {
    match shape {
        OneOrMany::One(size) => vec![size.get()],
        OneOrMany::Many(sizes) => sizes.iter().map(|size| size.get()).collect(),
    }
}

fn check_shape(shape: &OneOrMany<NonZeroUsize>, prefix: &str, problems: &mut Problems) {
    problems.require(
        !normalized_axes(shape).is_empty(),
        &format!("{prefix}normalized_shape"),
        "needs the length of one axis at least",
    );
}

options! {
    /// Options of dropout.
    pub struct DropoutOptions {
        /// Probability with which an element becomes 0 in training; the others are divided by
        /// `1 - p`.
        p: Probability = Probability(0.5),
    }
    groups {}
}

options! {
    /// Options of a feed-forward layer, without norm and residual.
    pub struct FeedForwardModuleOptions {
        /// Width of the input, and of the output unless `dim_out` says another.
        dim: NonZeroUsize,
    }
    groups { "" block: FeedForwardOptions, }
}
