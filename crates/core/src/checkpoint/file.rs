//! The types with which a file is read.

use super::layout::Layout;
use crate::Tensor;
use std::collections::HashMap;

/// The most bytes that are requested at once.
pub(super) const CHUNK: u64 = 4 << 20;

/// A range of bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first byte.
    pub offset: u64,
    /// The number of bytes.
    pub length: u64,
}

/// How a file is read.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The size of the file in bytes, if known.
    pub size: Option<u64>,
    /// The path of the state dict in a PyTorch file, if there are several.
    pub key: Option<String>,
    /// Whether to read the state of an optimizer from a PyTorch file, instead of weights.
    pub optimizer: bool,
    /// Whether half precision is converted to f32.
    pub widen: bool,
}

/// How a tensor is built from what is read.
pub(super) struct TensorPlan {
    /// The name of the tensor.
    pub name: String,
    /// The index of the sink that contains its values.
    pub sink: usize,
    /// The shape of the tensor.
    pub shape: Vec<usize>,
    /// The elements that it selects from the sink; `None`: all, in order.
    pub view: Option<Layout>,
}

/// The content of a file.
pub struct File {
    /// The tensors by name: of safetensors sorted by name, of PyTorch in the order of the dict.
    pub tensors: Vec<(String, Tensor)>,
    /// The metadata of safetensors. For the state of an optimizer, the settings of its groups as
    /// JSON.
    pub metadata: HashMap<String, String>,
}
