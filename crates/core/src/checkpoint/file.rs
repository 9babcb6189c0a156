//! What is read of a file, and how.

use super::layout::Layout;
use crate::Tensor;
use std::collections::HashMap;

/// Most bytes that are asked for at once.
pub(super) const CHUNK: u64 = 4 << 20;

/// Bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub offset: u64,
    pub length: u64,
}

/// How the tensors are read.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Of the file, where it is known.
    pub size: Option<u64>,
    /// Which of several state dicts in a file of PyTorch.
    pub key: Option<String>,
    /// Whether the state of an optimizer is wanted of such a file, instead of weights.
    pub optimizer: bool,
    /// Whether values of half precision become f32.
    pub widen: bool,
}

/// How a tensor is made of what is read.
pub(super) struct Plan {
    pub name: String,
    /// The number of the sink with its values.
    pub sink: usize,
    pub shape: Vec<usize>,
    /// Which of them it has; none: all, in their order.
    pub view: Option<Layout>,
}

/// What a file holds.
pub struct File {
    /// By name: of safetensors in the order of the names, of PyTorch in that of the dict.
    pub tensors: Vec<(String, Tensor)>,
    /// Of safetensors.
    pub metadata: HashMap<String, String>,
}
