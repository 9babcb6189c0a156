//! The values of a PyTorch pickle.

use super::element::Element;
use super::errors::{damaged, shown, unsupported};
use super::global::{Global, Rebuild};
use crate::{Error, Result};

/// An index into the list of values.
pub type Id = usize;

/// The values that state dicts need. All other values that PyTorch may write are `Other`.
#[derive(Clone, Debug, PartialEq)]
pub enum PyValue {
    /// `None`.
    None,
    /// A boolean.
    Bool(bool),
    /// An integer that fits into i64.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Text(String),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dict: keys and values, in order.
    Dict(Vec<(Id, Id)>),
    /// A class, function or dtype.
    Global(Global),
    /// A storage.
    Storage(Box<Storage>),
    /// A tensor.
    Tensor(Box<View>),
    /// A tensor whose values cannot be read, and the reason.
    Unreadable(&'static str),
    /// Bytes, sets, devices and others, which are ignored.
    Other,
}

/// A record of the file with values of one type.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// The name of the record.
    pub key: String,
    /// The class in Python, such as `FloatStorage`; `UntypedStorage` for bytes.
    pub kind: String,
    /// The number of values; for `UntypedStorage`, of bytes.
    pub count: u64,
}

/// A tensor: a view of a storage.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The storage.
    pub storage: Storage,
    /// For an untyped storage, the dtype of the tensor.
    pub dtype: Option<&'static str>,
    /// The index of the first element in the storage.
    pub offset: u64,
    /// The size of each axis.
    pub shape: Vec<u64>,
    /// The stride of each axis, in elements.
    pub strides: Vec<u64>,
}

/// The error for a damaged pickle.
pub fn damaged_pickle(why: &str) -> Error {
    damaged(format!("the description of the tensors in this file (data.pkl) is damaged: {why}"))
}

/// The error for a tensor named `name` that cannot be read; `what` is the reason.
pub fn unreadable(name: &str, what: &str) -> Error {
    unsupported(format!("tensor `{}` {what}, which is not supported", shown(name)))
}

/// The greatest length of the name of a record.
const LONGEST: usize = 4096;
/// The greatest number of axes of a tensor, as in PyTorch.
const AXES: usize = 64;

impl PyValue {
    /// The storage that a persistent id describes: `('storage', type, key, location, count)`.
    pub fn storage(values: &[PyValue], id: Id) -> Result<PyValue> {
        let wrong = || damaged_pickle("a storage is described in a way that PyTorch does not use");
        let Some(PyValue::Tuple(parts)) = values.get(id) else { return Err(wrong()) };
        let [tag, kind, key, _, count] = parts.as_slice() else { return Err(wrong()) };
        match [tag, kind, key, count].map(|id| values.get(*id)) {
            [Some(PyValue::Text(tag)), Some(PyValue::Global(Global::Storage(kind))), Some(PyValue::Text(key)), Some(PyValue::Int(count))]
                if tag == "storage" && key.len() < LONGEST =>
            {
                let count = u64::try_from(*count).map_err(|_| wrong())?;
                Ok(PyValue::Storage(Box::new(Storage {
                    key: key.clone(),
                    kind: kind.clone(),
                    count,
                })))
            }
            _ => Err(wrong()),
        }
    }
}

impl View {
    /// The type of the values; `name` is the name of the tensor, for messages.
    pub fn element(&self, name: &str) -> Result<Element> {
        let (known, own) = match self.dtype {
            Some(dtype) => (Element::of_torch(dtype), dtype),
            None => (Element::of_storage(&self.storage.kind), self.storage.kind.as_str()),
        };
        known.ok_or_else(|| unreadable(name, &format!("has the type torch.{}", shown(own))))
    }

    /// The number of values of the storage.
    pub fn stored(&self, name: &str) -> Result<u64> {
        let size = match self.dtype {
            Some(_) => self.element(name)?.size() as u64,
            None => 1,
        };
        match self.storage.count.is_multiple_of(size) {
            true => Ok(self.storage.count / size),
            false => Err(damaged_pickle(&format!(
                "tensor `{}` has a storage that ends within a value",
                shown(name)
            ))),
        }
    }
}

/// The result of calling a known name with a tuple of arguments.
pub fn reduce(values: &[PyValue], callee: Id, arguments: Id) -> Result<PyValue> {
    let (Some(PyValue::Global(global)), Some(PyValue::Tuple(arguments))) =
        (values.get(callee), values.get(arguments))
    else {
        return Err(damaged_pickle("it calls something that is no function"));
    };
    match (global, arguments.first().and_then(|id| values.get(*id))) {
        (Global::OrderedDict, None) => Ok(PyValue::Dict(Vec::new())),
        (Global::OrderedDict, Some(PyValue::List(pairs))) => pairs_of(values, pairs),
        (Global::Rebuild(how), _) => rebuild(values, *how, arguments),
        (Global::Typed, _) => typed(values, arguments),
        (Global::Size, None) => Ok(PyValue::Tuple(Vec::new())),
        (Global::Size, Some(PyValue::Tuple(sizes) | PyValue::List(sizes)))
            if sizes.len() <= AXES =>
        {
            Ok(PyValue::Tuple(sizes.clone()))
        }
        (Global::TensorClass, Some(PyValue::Tensor(view))) => Ok(PyValue::Tensor(view.clone())),
        (Global::TensorClass, _) => Ok(PyValue::Unreadable("is made by a call of its class")),
        (Global::Inert, _) => Ok(PyValue::Other),
        _ => Err(arguments_not_taken()),
    }
}

/// The error for a call with wrong arguments.
fn arguments_not_taken() -> Error {
    damaged_pickle("it calls a function with arguments that it does not take")
}

/// A dict from a list of pairs.
fn pairs_of(values: &[PyValue], pairs: &[Id]) -> Result<PyValue> {
    let pair = |id: &Id| match values.get(*id) {
        Some(PyValue::Tuple(pair) | PyValue::List(pair)) if pair.len() == 2 => {
            Some((pair[0], pair[1]))
        }
        _ => None,
    };
    pairs.iter().map(pair).collect::<Option<_>>().map(PyValue::Dict).ok_or_else(arguments_not_taken)
}

/// A tensor with attributes: `_rebuild_from_type_v2(function, class, arguments, state)`.
fn typed(values: &[PyValue], arguments: &[Id]) -> Result<PyValue> {
    let [function, class, inner, _] = arguments else { return Err(arguments_not_taken()) };
    match [function, class, inner].map(|id| values.get(*id)) {
        [Some(PyValue::Global(Global::Rebuild(how))), Some(PyValue::Global(Global::TensorClass)), Some(PyValue::Tuple(inner))] => {
            rebuild(values, *how, inner)
        }
        _ => Err(arguments_not_taken()),
    }
}

/// The tensor that a function of `torch._utils` constructs.
fn rebuild(values: &[PyValue], how: Rebuild, arguments: &[Id]) -> Result<PyValue> {
    match (how, arguments.first().and_then(|id| values.get(*id))) {
        (Rebuild::Plain | Rebuild::V2 | Rebuild::V3, _) => view(values, how, arguments),
        // a parameter is read as the tensor that it wraps
        (Rebuild::Parameter, Some(PyValue::Tensor(view))) => Ok(PyValue::Tensor(view.clone())),
        (Rebuild::Parameter, Some(PyValue::Unreadable(what))) => Ok(PyValue::Unreadable(what)),
        (Rebuild::Unreadable(what), _) => Ok(PyValue::Unreadable(what)),
        _ => Err(arguments_not_taken()),
    }
}

/// The tensor that `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[,
/// metadata])` constructs. `_rebuild_tensor` has no arguments from `requires_grad` on, `_v3` has
/// the dtype before the metadata.
fn view(values: &[PyValue], how: Rebuild, arguments: &[Id]) -> Result<PyValue> {
    let wrong = || damaged_pickle("a tensor is described in a way that PyTorch does not use");
    let (dtype, metadata) = match (how, arguments.get(4..).unwrap_or_default()) {
        (Rebuild::Plain, []) | (Rebuild::V2, [_, _]) => (None, None),
        (Rebuild::V2, [_, _, metadata]) => (None, Some(metadata)),
        (Rebuild::V3, [_, _, dtype]) => (Some(dtype), None),
        (Rebuild::V3, [_, _, dtype, metadata]) => (Some(dtype), Some(metadata)),
        _ => return Err(wrong()),
    };
    let dtype = match dtype.map(|id| values.get(*id)) {
        None => None,
        Some(Some(PyValue::Global(Global::Dtype(dtype)))) => Some(*dtype),
        Some(_) => return Err(wrong()),
    };
    let Some([storage, offset, shape, strides]) = arguments.first_chunk() else {
        return Err(wrong());
    };
    let Some(PyValue::Storage(storage)) = values.get(*storage) else { return Err(wrong()) };
    let dtype = match (dtype, storage.kind == Global::UNTYPED) {
        // an untyped storage without a dtype contains bytes
        (None, true) => Element::torch_name("uint8"),
        (Some(_), false) => return Err(wrong()),
        (dtype, _) => dtype,
    };
    let (Some(offset), Some(shape), Some(strides)) =
        (number(values, *offset), numbers(values, *shape), numbers(values, *strides))
    else {
        return Err(wrong());
    };
    if shape.len() != strides.len() {
        return Err(wrong());
    }
    match metadata.map_or(Ok(None), |id| lazy(values, *id).ok_or_else(wrong))? {
        Some(what) => Ok(PyValue::Unreadable(what)),
        None => Ok(PyValue::Tensor(Box::new(View {
            storage: (**storage).clone(),
            dtype,
            offset,
            shape,
            strides,
        }))),
    }
}

/// A non-negative integer.
fn number(values: &[PyValue], id: Id) -> Option<u64> {
    match values.get(id) {
        Some(PyValue::Int(n)) => u64::try_from(*n).ok(),
        _ => None,
    }
}

/// A tuple or list of non-negative integers, at most one per axis.
fn numbers(values: &[PyValue], id: Id) -> Option<Vec<u64>> {
    match values.get(id) {
        Some(PyValue::Tuple(items) | PyValue::List(items)) if items.len() <= AXES => {
            items.iter().map(|id| number(values, *id)).collect()
        }
        _ => None,
    }
}

/// The reason why the stored values are not those of the tensor, from its metadata: a negation or
/// conjugation that PyTorch has not computed yet. `Some(None)` if there is none; `None` if this is
/// no metadata.
fn lazy(values: &[PyValue], metadata: Id) -> Option<Option<&'static str>> {
    let pairs = match values.get(metadata)? {
        PyValue::None => return Some(None),
        PyValue::Dict(pairs) => pairs,
        _ => return None,
    };
    let set = pairs.iter().filter(|(_, value)| values.get(*value) != Some(&PyValue::Bool(false)));
    let names: Vec<&str> = set.filter_map(|(key, _)| text(values, *key)).collect();
    Some(match names.as_slice() {
        _ if names.contains(&"neg") => Some("is negated lazily (save it with .resolve_neg())"),
        _ if names.contains(&"conj") => Some("is conjugated lazily (save it with .resolve_conj())"),
        [] if pairs.iter().all(|(key, _)| text(values, *key).is_some()) => None,
        _ => Some("has metadata of a backend"),
    })
}

/// The text of a value, if it is one.
pub fn text(values: &[PyValue], id: Id) -> Option<&str> {
    match values.get(id) {
        Some(PyValue::Text(text)) => Some(text),
        _ => None,
    }
}
