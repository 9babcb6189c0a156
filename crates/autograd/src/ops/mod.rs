//! Differentiable operations, one family per file. Every function returns a new tensor.

mod arithmetic;
mod index;
mod layers;
mod losses;
mod reduce;
mod shape;
mod unary;
mod whole;

pub use arithmetic::{
    add, affine, beside_scalar, compare, compare_with, div, equal_shape, logical_not, matmul,
    maximum, minimum, mul, pow, scalar_like, sub, with_scalar, Comparison,
};
pub use index::{embedding, gather, where_cond};
pub use layers::{
    activation, attention, dropout, feedforward, glu, gru_gates, l2_norm, layer_norm,
    layer_norm_and_past, linear, linears, masked_softmax, rotary, scale_norm, scale_norm_and_past,
    spread, token_shift, Inner, Layer,
};
pub use losses::{cross_entropy, linear_cross_entropy, mse};
pub use reduce::{argmax, log_softmax, max, mean, min, softmax, sum};
pub use shape::{broadcast_to, cast, cat, narrow, permute, reshape, stack, to_device, transpose};
pub use unary::{abs, exp, log, neg, sqrt, tanh};
pub use xt_kernels::ops::activation::Activation;
pub use xt_kernels::ops::softmax::Mask;
