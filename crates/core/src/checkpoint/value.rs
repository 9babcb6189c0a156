//! What a pickle of PyTorch can hold, and the few names that it may use.

use super::data::Element;
use super::{damaged, shown};
use crate::{Error, Result};

/// A place in the list of values.
pub type Id = usize;

/// What a state dict needs of a pickle. Everything else that PyTorch may put beside it is `Other`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    None,
    Int(i64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Keys and values, in order.
    Dict(Vec<(Id, Id)>),
    Global(Global),
    Storage(Box<Storage>),
    Tensor(Box<View>),
    /// Numbers, bytes, sets, devices, types: never looked at.
    Other,
}

/// A record of the file with values of one type.
#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// The name of its record.
    pub key: String,
    /// As Python names it, such as `FloatStorage`.
    pub kind: String,
    pub count: u64,
}

/// A tensor: a view of a storage.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    pub storage: Storage,
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// The names that a pickle may use.
#[derive(Clone, Debug, PartialEq)]
pub enum Global {
    OrderedDict,
    Tensor,
    Parameter,
    Size,
    Storage(String),
    /// Something that needs no look.
    Inert,
}

pub fn damaged_pickle(why: &str) -> Error {
    damaged(format!("the description of the tensors in this file (data.pkl) is damaged: {why}"))
}

/// Longest name of a type or record: they are copied for each tensor.
const LONGEST: usize = 64;
/// Most axes of a tensor, as in PyTorch.
const AXES: usize = 64;

const ADVICE: &str =
    "Nothing in the file was executed. Save the state dict alone, in Python: torch.save(model.state_dict(), path)";

impl Global {
    /// Looks a name up, and nothing more.
    pub fn named(module: &str, name: &str) -> Result<Self> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::Tensor,
            ("torch._utils", "_rebuild_parameter") => Global::Parameter,
            ("torch", "Size") => Global::Size,
            ("torch", "device" | "float32" | "float64" | "float16" | "bfloat16" | "int64" | "uint8" | "bool") => {
                Global::Inert
            }
            ("torch", kind) if kind.ends_with("Storage") && kind.len() < LONGEST => Global::Storage(kind.into()),
            _ => {
                let name = shown(&format!("{module}.{name}"));
                return Err(damaged(format!(
                    "the pickle in this file asks for `{name}`, which no state dict needs: it holds more than tensors. {ADVICE}"
                )));
            }
        })
    }
}

impl Value {
    /// What a persistent id stands for: `('storage', type, key, location, count)`.
    pub fn storage(values: &[Value], id: Id) -> Result<Value> {
        let wrong = || damaged_pickle("a storage is described in a way that PyTorch does not use");
        let Some(Value::Tuple(parts)) = values.get(id) else { return Err(wrong()) };
        let [tag, kind, key, _, count] = parts.as_slice() else { return Err(wrong()) };
        match [tag, kind, key, count].map(|id| values.get(*id)) {
            [Some(Value::Text(tag)), Some(Value::Global(Global::Storage(kind))), Some(Value::Text(key)), Some(Value::Int(count))]
                if tag == "storage" && key.len() < LONGEST =>
            {
                let count = u64::try_from(*count).map_err(|_| wrong())?;
                Ok(Value::Storage(Box::new(Storage { key: key.clone(), kind: kind.clone(), count })))
            }
            _ => Err(wrong()),
        }
    }
}

impl Storage {
    /// The type of its values; `name` is that of a tensor in it.
    pub fn element(&self, name: &str) -> Result<Element> {
        Element::of_storage(&self.kind).ok_or_else(|| {
            damaged(format!(
                "tensor `{}` has the type torch.{}, which is not supported",
                shown(name),
                shown(&self.kind)
            ))
        })
    }
}

/// What a call of a known name gives.
pub fn reduce(values: &[Value], callee: Id, arguments: Id) -> Result<Value> {
    let (Some(Value::Global(global)), Some(Value::Tuple(arguments))) = (values.get(callee), values.get(arguments))
    else {
        return Err(damaged_pickle("it calls something that is no function"));
    };
    let first = arguments.first().and_then(|id| values.get(*id));
    match (global, first) {
        (Global::OrderedDict, None) => Ok(Value::Dict(Vec::new())),
        (Global::Tensor, _) => view(values, arguments).map(|view| Value::Tensor(Box::new(view))),
        (Global::Parameter, Some(Value::Tensor(view))) => Ok(Value::Tensor(view.clone())),
        (Global::Size, Some(Value::Tuple(sizes))) if sizes.len() <= AXES => Ok(Value::Tuple(sizes.clone())),
        (Global::Inert, _) => Ok(Value::Other),
        _ => Err(damaged_pickle("it calls a function with arguments that it does not take")),
    }
}

/// The tensor that `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])` gives.
fn view(values: &[Value], arguments: &[Id]) -> Result<View> {
    let wrong = || damaged_pickle("a tensor is described in a way that PyTorch does not use");
    let [storage, offset, shape, strides, _, _, metadata @ ..] = arguments else { return Err(wrong()) };
    let Some(Value::Storage(storage)) = values.get(*storage) else { return Err(wrong()) };
    let number = |id: &Id| match values.get(*id) {
        Some(Value::Int(n)) => u64::try_from(*n).ok(),
        _ => None,
    };
    let numbers = |id: &Id| match values.get(*id) {
        Some(Value::Tuple(items) | Value::List(items)) if items.len() <= AXES => {
            items.iter().map(number).collect::<Option<Vec<u64>>>()
        }
        _ => None,
    };
    let (Some(offset), Some(shape), Some(strides)) = (number(offset), numbers(shape), numbers(strides)) else {
        return Err(wrong());
    };
    // signs and conjugates that PyTorch has not computed yet stand there
    let lazy = metadata.first().and_then(|id| values.get(*id));
    if shape.len() != strides.len() || lazy.is_some_and(|m| *m != Value::None && *m != Value::Dict(Vec::new())) {
        return Err(wrong());
    }
    Ok(View { storage: (**storage).clone(), offset, shape, strides })
}
