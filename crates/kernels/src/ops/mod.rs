//! The operations, a file or folder each.

pub mod activation;
pub mod attention;
pub mod convert;
pub mod cross_entropy;
pub mod dropout;
pub mod elementwise;
pub mod embedding;
pub mod extremes;
pub mod feedforward;
pub mod glu;
pub mod gru;
pub mod in_place;
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
pub mod softmax;
pub mod sparse_topk;
pub mod token_shift;
