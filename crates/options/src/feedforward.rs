//! Options of the feed-forward layer (`ff_*`).

use crate::{options, FfActivation, Probability, Problems};
use std::num::NonZeroUsize;

options! {
    /// Options of the feed-forward layer. In a stack of layers, each takes one value for all, or an
    /// array with one for each feed-forward.
    pub struct FeedForwardOptions {
        /// Width of the hidden layer as a multiple of the input width, rounded down.
        mult: f64 = 4.0,
        /// Width of the hidden layer. Absent: from `mult`.
        inner_dim: Option<NonZeroUsize> = None,
        /// Width of the output. Absent: the width of the input, which the residual connection
        /// needs.
        dim_out: Option<NonZeroUsize> = None,
        /// Gated linear unit (GLU): the hidden projection is twice as wide, and one half is
        /// multiplied by the activation of the other half. <https://arxiv.org/abs/2002.05202>
        glu: bool = false,
        /// SiLU (Swish) activation instead of GELU; with `glu` this is SwiGLU.
        /// <https://arxiv.org/abs/2002.05202>
        swish: bool = false,
        /// Squared ReLU activation. Takes precedence over `swish`.
        /// <https://arxiv.org/abs/2109.08668>
        relu_squared: bool = false,
        /// Activation by name, instead of `swish` and `relu_squared`; with `glu` that of the gate.
        /// `'gelu'` is the exact one, `'gelu_tanh'` and `'quick_gelu'` are its approximations by a
        /// hyperbolic tangent and by `x * sigmoid(1.702 * x)`. Absent: from these options, or else
        /// GELU. <https://arxiv.org/abs/1606.08415>
        activation: Option<FfActivation> = None,
        /// With `glu`: a bias in the gated projection, which `no_bias` does not remove.
        glu_bias: bool = true,
        /// With `glu`: multiplies each feature of the hidden layer by a learned factor, 1 at first.
        glu_mult_bias: bool = false,
        /// LayerNorm after the activation, as in NormFormer. <https://arxiv.org/abs/2110.09456>
        post_act_ln: bool = false,
        /// Dropout probability for the hidden layer in training.
        dropout: Probability = Probability(0.0),
        /// Dropout probability for the output in training.
        sublayer_dropout: Probability = Probability(0.0),
        /// Linear layers without bias, as in PaLM. With `glu`, the gated projection keeps its
        /// bias unless `glu_bias` is false.
        /// <https://arxiv.org/abs/2204.02311>
        no_bias: bool = false,
        /// Initialises the last linear layer to zero, so that the branch initially adds nothing to
        /// the residual.
        zero_init_output: bool = false,
    }
    groups {}
    checks conflicts
}

impl FeedForwardOptions {
    /// Width of the hidden layer for an input of width `dim`.
    pub fn inner_dim(&self, dim: usize) -> usize {
        self.inner_dim.map_or((dim as f64 * self.mult) as usize, NonZeroUsize::get)
    }

    /// The activation: by name, or from `relu_squared` and `swish`, in this order.
    pub fn activation(&self) -> FfActivation {
        let by_flags = match (self.relu_squared, self.swish) {
            (true, _) => FfActivation::ReluSquared,
            (false, true) => FfActivation::Silu,
            (false, false) => FfActivation::Gelu,
        };
        self.activation.unwrap_or(by_flags)
    }

    fn conflicts(&self, prefix: &str, problems: &mut Problems) {
        problems.require(
            self.glu || !self.glu_mult_bias,
            &format!("{prefix}glu_mult_bias"),
            format!("needs `{prefix}glu`"),
        );
        problems.require(self.mult > 0.0, &format!("{prefix}mult"), "must be greater than 0");
        for (flag, name) in [(self.swish, "swish"), (self.relu_squared, "relu_squared")] {
            problems.require(
                !flag || self.activation.is_none(),
                &format!("{prefix}activation"),
                format!("does not go with `{prefix}{name}`: both choose the activation"),
            );
        }
    }
}
