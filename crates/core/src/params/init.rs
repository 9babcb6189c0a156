//! The distributions of the initial values of parameters.

use std::ops::Range;
use xt_kernels::philox::Stream;

/// The distribution of the initial values of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub enum Init {
    /// All elements have this value.
    Constant(f64),
    /// Uniform over `[-bound, bound)`.
    Uniform {
        /// The largest absolute value.
        bound: f64,
    },
    /// Normal with mean 0.
    Normal {
        /// The standard deviation.
        std: f64,
    },
    /// Normal with mean 0, and 0 at some places.
    NormalOutside {
        /// The standard deviation.
        std: f64,
        /// The places, in row-major order.
        zeros: Range<usize>,
    },
    /// The given values, in row-major order.
    Values(Vec<f64>),
}

impl Init {
    /// PyTorch's default initialisation of linear layers: uniform over `[-b, b)` with
    /// `b = 1 / sqrt(inputs)`.
    pub fn fan_in(inputs: usize) -> Self {
        Init::Uniform { bound: 1.0 / (inputs.max(1) as f64).sqrt() }
    }

    /// Draws `count` values from `stream`. `Values` ignores both arguments.
    pub(super) fn draw(&self, count: usize, stream: Stream) -> Vec<f64> {
        match self {
            Init::Constant(value) => vec![*value; count],
            Init::Uniform { bound } => {
                stream.uniform(count).into_iter().map(|u| (2.0 * u - 1.0) * bound).collect()
            }
            Init::Normal { std } => stream.normal(count).into_iter().map(|z| z * std).collect(),
            Init::NormalOutside { std, zeros } => {
                let mut values = Init::Normal { std: *std }.draw(count, stream);
                values[zeros.clone()].fill(0.0);
                values
            }
            Init::Values(values) => values.clone(),
        }
    }
}
