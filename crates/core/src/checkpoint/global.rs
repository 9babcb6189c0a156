//! The names that a PyTorch pickle may refer to: those that `torch.load(weights_only=True)`
//! accepts.

use super::element::Element;
use super::errors::{damaged, shown};
use crate::Result;

/// The greatest length of the name of a type.
pub const MAX_TYPE_NAME: usize = 64;

/// The meaning of a name. Calling one only constructs values.
#[derive(Clone, Debug, PartialEq)]
pub enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// A function that constructs a tensor.
    Rebuild(Rebuild),
    /// The function that constructs a tensor of a class, or with attributes.
    Typed,
    /// A class of tensors: `Tensor`, `Parameter` or `Buffer`.
    TensorClass,
    /// `torch.Size`.
    Size,
    /// A storage class, by name.
    Storage(String),
    /// A dtype, by PyTorch's name.
    Dtype(&'static str),
    /// A name whose values are ignored.
    Inert,
}

/// A function that constructs a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuild {
    /// `_rebuild_tensor`.
    Plain,
    /// `_rebuild_tensor_v2`.
    V2,
    /// `_rebuild_tensor_v3`.
    V3,
    /// `_rebuild_parameter` and `_rebuild_parameter_with_state`.
    Parameter,
    /// A function for a kind of tensor that cannot be read, and the reason.
    Unreadable(&'static str),
}

const ADVICE: &str =
    "Nothing in the file was executed. Save the state dict alone, in Python: torch.save(model.state_dict(), path)";

/// Classes whose values are ignored. Python 2, and pickles of protocol 2, have them in another
/// module.
const BUILTINS: [&str; 5] = ["set", "frozenset", "bytes", "bytearray", "complex"];

const QSCHEMES: [&str; 5] = [
    "per_tensor_affine",
    "per_tensor_symmetric",
    "per_channel_affine",
    "per_channel_symmetric",
    "per_channel_affine_float_qparams",
];

impl Global {
    /// The name of the storage class without a type.
    pub const UNTYPED: &'static str = "UntypedStorage";

    /// Looks a name up, without any further effect.
    ///
    /// # Errors
    /// The name is not one of those that a state dict may refer to.
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

/// Tensor and storage classes by their old names.
fn of_device(name: &str) -> Option<Global> {
    match name {
        name if name.ends_with("Tensor") => Some(Global::Inert),
        name if name.ends_with("Storage") && name.len() < MAX_TYPE_NAME => {
            Some(Global::Storage(name.into()))
        }
        _ => None,
    }
}

/// The names in the module `torch`.
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

/// The functions in `torch._utils`.
fn rebuild(name: &str) -> Option<Rebuild> {
    Some(match name {
        "_rebuild_tensor" => Rebuild::Plain,
        "_rebuild_tensor_v2" => Rebuild::V2,
        "_rebuild_tensor_v3" => Rebuild::V3,
        "_rebuild_parameter" | "_rebuild_parameter_with_state" => Rebuild::Parameter,
        "_rebuild_qtensor" => Rebuild::Unreadable("is quantized"),
        "_rebuild_sparse_tensor" => Rebuild::Unreadable("is sparse"),
        "_rebuild_nested_tensor" => Rebuild::Unreadable("is nested"),
        "_rebuild_meta_tensor_no_storage" => {
            Rebuild::Unreadable("has no values (its device is `meta`)")
        }
        "_rebuild_wrapper_subclass" => Rebuild::Unreadable("is of a class around others"),
        "_rebuild_device_tensor_from_numpy" | "_rebuild_device_tensor_from_cpu_tensor" => {
            Rebuild::Unreadable("is of another device (save it with .cpu())")
        }
        _ => return None,
    })
}
