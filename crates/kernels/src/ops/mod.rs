//! The operations. Each submodule implements one operation, or a family of related operations.
//!
//! An operation consists of a reference implementation on candle, a CPU kernel where one exists,
//! and public functions that run it, usually `forward` and `backward`. The submodules that are not
//! public add methods to [`Array`](crate::Array).

pub mod activation;
pub mod attention;
mod cast;
pub mod compare;
mod concat;
pub mod convert;
pub mod cross_entropy;
pub mod cumsum;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod extremes;
pub mod feedforward;
mod fill;
pub mod glu;
pub mod gru;
pub mod in_place;
mod index;
pub mod layer_norm;
pub mod layout;
pub mod linear;
pub mod linear_cross_entropy;
pub mod matmul;
pub mod optimizer;
pub mod quantized;
pub mod reduce;
pub mod rotary;
pub mod scale_norm;
mod select;
pub mod softmax;
pub mod sort;
pub mod sparse_topk;
pub mod token_shift;
