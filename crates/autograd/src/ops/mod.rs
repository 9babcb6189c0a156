//! Differentiable operations, one family per file. Every function returns a new tensor.

mod arithmetic;
mod index;
mod integer;
mod layers;
mod losses;
mod reduce;
mod shape;
mod unary;

pub use arithmetic::{
    add, affine, broadcast_shape, compare, compare_with, div, logical_not, matmul, maximum,
    minimum, mul, pow, promote_with_scalar, scalar_like, sub, with_scalar, Comparison,
};
pub use index::{embedding, gather, where_cond};
pub use layers::{
    activation, attention, dropout, expand_distance_bias, feedforward, glu, gru_gates, l2_norm,
    layer_norm, layer_norm_with_residual, linear, linear_all, masked_softmax, rotary, scale_norm,
    scale_norm_with_residual, token_shift, Inner, Layer,
};
pub use losses::{cross_entropy, linear_cross_entropy, mse, CrossEntropy};
pub use reduce::{argmax, log_softmax, max, mean, min, softmax, sum};
pub use shape::{broadcast_to, cast, cat, narrow, permute, reshape, stack, to_device, transpose};
pub use unary::{abs, exp, log, neg, sqrt, tanh};
pub use xt_kernels::ops::activation::Activation;
pub use xt_kernels::ops::softmax::Mask;
