//! Differentiable operations, one family per file. Every function returns a new tensor.

mod arithmetic;
mod index;
mod integer;
mod layers;
mod losses;
mod matmul;
mod reduce;
mod repeat;
mod shape;
mod statistics;
mod unary;

pub use arithmetic::{
    add, affine, broadcast_shape, compare, compare_with, div, logical_not, maximum, minimum, mul,
    pow, promote_with_scalar, scalar_like, sub, with_scalar, Comparison,
};
pub use index::{argsort, embedding, gather, masked_fill, triangle, where_cond};
pub use layers::{
    activation, attention, dropout, expand_distance_bias, feedforward, glu, gru_gates, l2_norm,
    layer_norm, layer_norm_with_residual, linear, linear_all, masked_softmax, rms_norm,
    rms_norm_with_residual, rotary, scale_norm, scale_norm_with_residual, token_shift,
    AttentionSettings, Inner, Layer,
};
pub use losses::{
    cross_entropy, linear_cross_entropy, mse, softclamped_cross_entropy, CrossEntropy,
};
pub use matmul::matmul;
pub use reduce::{argmax, argmin, log_softmax, max, mean, min, softmax, sum};
pub use repeat::{flip, outer, repeat};
pub use shape::{broadcast_to, cast, cat, narrow, permute, reshape, stack, to_device, transpose};
pub use statistics::{all, any, cumsum, norm, product, std, var};
pub use unary::{
    abs, clamp, copy, cos, exp, is_finite, is_infinite, is_nan, log, neg, reciprocal, rounded,
    rsqrt, sign, sin, sqrt, square, tanh,
};
pub use xt_kernels::ops::activation::Activation;
pub use xt_kernels::ops::elementwise::Unary;
pub use xt_kernels::ops::softmax::Mask;
