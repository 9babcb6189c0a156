//! The names that a pickle of PyTorch may use: those that `torch.load(weights_only=True)` takes.

use super::element::Element;
use super::errors::{damaged, shown};
use crate::Result;

/// Longest name of a type.
pub const SHORT: usize = 64;

/// What a name stands for. Calls of it only put values together.
#[derive(Clone, Debug, PartialEq)]
pub enum Global {
    OrderedDict,
    /// A function that gives a tensor.
    Rebuild(Rebuild),
    /// The function that gives a tensor of a class, or with attributes.
    Typed,
    TensorClass,
    Size,
    Storage(String),
    /// A type of values, as PyTorch names it.
    Dtype(&'static str),
    /// Something that needs no look.
    Inert,
}

/// How a tensor is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuild {
    Plain,
    V2,
    V3,
    Parameter,
    /// As none that is read: what it is.
    Strange(&'static str),
}

const ADVICE: &str =
    "Nothing in the file was executed. Save the state dict alone, in Python: torch.save(model.state_dict(), path)";

/// Classes of values that need no look. Python 2 and pickles of protocol 2 have another module.
const BUILTINS: [&str; 5] = ["set", "frozenset", "bytes", "bytearray", "complex"];

const QSCHEMES: [&str; 5] = [
    "per_tensor_affine",
    "per_tensor_symmetric",
    "per_channel_affine",
    "per_channel_symmetric",
    "per_channel_affine_float_qparams",
];

impl Global {
    /// The storage that has no type.
    pub const UNTYPED: &'static str = "UntypedStorage";

    /// Looks a name up, and nothing more.
    pub fn named(module: &str, name: &str) -> Result<Self> {
        let known = match (module, name) {
            ("collections", "OrderedDict") => Some(Global::OrderedDict),
            ("collections", "Counter") | ("_codecs", "encode") => Some(Global::Inert),
            ("builtins" | "__builtin__", name) if BUILTINS.contains(&name) => Some(Global::Inert),
            ("torch._tensor", "_rebuild_from_type_v2") => Some(Global::Typed),
            ("torch._utils", name) => rebuild(name).map(Global::Rebuild),
            ("torch.nn.parameter", "Parameter" | "Buffer") => Some(Global::TensorClass),
            ("torch.serialization", "_get_layout") => Some(Global::Inert),
            ("torch.cuda" | "torch.sparse" | "torch.cuda.sparse", name) => of_device(name),
            ("torch.storage", "TypedStorage") => Some(Global::Inert),
            ("torch.storage", Self::UNTYPED) => Some(Global::Storage(name.into())),
            ("torch", name) => in_torch(name),
            _ => None,
        };
        known.ok_or_else(|| {
            let name = shown(&format!("{module}.{name}"));
            damaged(format!(
                "the pickle in this file asks for `{name}`, which no state dict needs: it holds more than tensors. {ADVICE}"
            ))
        })
    }
}

/// Types of tensors and storages by their old names.
fn of_device(name: &str) -> Option<Global> {
    match name {
        name if name.ends_with("Tensor") => Some(Global::Inert),
        name if name.ends_with("Storage") && name.len() < SHORT => Some(Global::Storage(name.into())),
        _ => None,
    }
}

fn in_torch(name: &str) -> Option<Global> {
    if let Some(dtype) = Element::torch_name(name) {
        return Some(Global::Dtype(dtype));
    }
    match name {
        "Size" => Some(Global::Size),
        "device" => Some(Global::Inert),
        "Tensor" => Some(Global::TensorClass),
        name if QSCHEMES.contains(&name) => Some(Global::Inert),
        name => of_device(name),
    }
}

fn rebuild(name: &str) -> Option<Rebuild> {
    Some(match name {
        "_rebuild_tensor" => Rebuild::Plain,
        "_rebuild_tensor_v2" => Rebuild::V2,
        "_rebuild_tensor_v3" => Rebuild::V3,
        "_rebuild_parameter" | "_rebuild_parameter_with_state" => Rebuild::Parameter,
        "_rebuild_qtensor" => Rebuild::Strange("is quantized"),
        "_rebuild_sparse_tensor" => Rebuild::Strange("is sparse"),
        "_rebuild_nested_tensor" => Rebuild::Strange("is nested"),
        "_rebuild_meta_tensor_no_storage" => Rebuild::Strange("has no values (its device is `meta`)"),
        "_rebuild_wrapper_subclass" => Rebuild::Strange("is of a class around others"),
        "_rebuild_device_tensor_from_numpy" | "_rebuild_device_tensor_from_cpu_tensor" => {
            Rebuild::Strange("is of another device (save it with .cpu())")
        }
        _ => return None,
    })
}
