//! Matrix products with few rows, as in a decoding step of text generation.

pub(crate) mod kernel;
pub(crate) mod layers;
