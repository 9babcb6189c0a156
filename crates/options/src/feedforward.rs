//! Options of the feed-forward layer (`ff_*`).

use crate::{options, Probability, Problems};
use std::num::NonZeroUsize;

options! {
    /// Options of the feed-forward layer.
    pub struct FeedForwardOptions {
        /// Width of the hidden layer, as a multiple of the layer's own width (rounded down).
        mult: f64 = 4.0,
        /// Width of the output. Absent: the width of the input, which the sum with the residual
        /// needs.
        dim_out: Option<NonZeroUsize> = None,
        /// Gated linear unit: the hidden projection is twice as wide, and one half gates the other
        /// through the activation. <https://arxiv.org/abs/2002.05202>
        glu: bool = false,
        /// SiLU (Swish) as the activation instead of GELU; with `glu` this is SwiGLU.
        /// <https://arxiv.org/abs/2002.05202>
        swish: bool = false,
        /// The square of ReLU as the activation. Goes before `swish` where both are on.
        /// <https://arxiv.org/abs/2109.08668>
        relu_squared: bool = false,
        /// A LayerNorm right after the activation, as in NormFormer.
        /// <https://arxiv.org/abs/2110.09456>
        post_act_ln: bool = false,
        /// Dropout on the hidden layer while training.
        dropout: Probability = Probability(0.0),
        /// Linear layers without bias, as in PaLM. With `glu` the gated projection keeps its bias.
        /// <https://arxiv.org/abs/2204.02311>
        no_bias: bool = false,
        /// The last linear layer starts at 0, so that the branch adds nothing at first.
        zero_init_output: bool = false,
    }
    groups {}
    checks conflicts
}

impl FeedForwardOptions {
    /// Width of the hidden layer for an input of width `dim`.
    pub fn inner_dim(&self, dim: usize) -> usize {
        (dim as f64 * self.mult) as usize
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(self.mult > 0.0, &format!("{prefix}mult"), "must be greater than 0");
    }
}
