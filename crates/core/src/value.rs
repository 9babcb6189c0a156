//! Arguments and results of calls by name: what JSON and a list of tensors can carry.

use crate::{Error, Result, Tensor};
use serde_json::{Map, Value as Json};
use xt_options::{OptionType, Options, Problems, TensorRef};

/// The result of a call.
pub enum Value {
    Null,
    Tensor(Tensor),
    List(Vec<Value>),
    /// Named fields, in order.
    Fields(Vec<(&'static str, Value)>),
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Value::Tensor(tensor)
    }
}

impl From<Option<Tensor>> for Value {
    fn from(tensor: Option<Tensor>) -> Self {
        tensor.map_or(Value::Null, Value::Tensor)
    }
}

impl From<Vec<Tensor>> for Value {
    fn from(tensors: Vec<Tensor>) -> Self {
        Value::List(tensors.into_iter().map(Value::Tensor).collect())
    }
}

impl Value {
    /// JSON in which `{"$tensor": i}` stands for `tensors[i]`.
    pub fn into_json(self, tensors: &mut Vec<Tensor>) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Tensor(tensor) => {
                tensors.push(tensor);
                TensorRef(tensors.len() - 1).write()
            }
            Value::List(list) => list.into_iter().map(|v| v.into_json(tensors)).collect(),
            Value::Fields(fields) => fields.into_iter().map(|(k, v)| (k.to_string(), v.into_json(tensors))).collect(),
        }
    }
}

/// The arguments of a call: positional ones, then named ones, with tensors in a list beside.
pub struct Args<'a> {
    what: String,
    positional: Vec<Json>,
    named: Json,
    tensors: &'a [Tensor],
}

impl<'a> Args<'a> {
    /// `json` is an array: the positional arguments, then, where there are any, one object with the named ones.
    /// `what` names the call in errors.
    pub fn new(what: impl Into<String>, json: Json, tensors: &'a [Tensor]) -> Result<Self> {
        let Json::Array(mut positional) = json else {
            return Err(Error::Internal("arguments are not an array".into()));
        };
        let is_named =
            |v: &Json| v.as_object().is_some_and(|o| !o.contains_key("$tensor") && !o.contains_key("$value"));
        let named = match positional.pop() {
            Some(last) if is_named(&last) => last,
            last => {
                positional.extend(last);
                Json::Object(Map::new())
            }
        };
        Ok(Self { what: what.into(), positional, named, tensors })
    }

    /// The named arguments, checked.
    pub fn named<T: Options>(&self) -> Result<T> {
        self.named_and(|_, _| {})
    }

    /// As [`Args::named`]; `also` notes what is wrong besides.
    pub fn named_and<T: Options>(&self, also: impl FnOnce(&T, &mut Problems)) -> Result<T> {
        let wrong = |problems| Error::Options { class: self.what.clone(), problems };
        xt_options::parse_and(&self.named, also).map_err(wrong)
    }

    /// A positional argument of type `T`; `name` names it in errors.
    pub fn positional<T: OptionType>(&self, index: usize, name: &str) -> Result<T> {
        let got = self.positional.get(index);
        got.and_then(T::read).ok_or_else(|| {
            let mut problems = Problems::default();
            let message = if got.is_some() { "has a wrong type" } else { "is required" };
            problems.add(name, format!("{message}; allowed: {}", T::KIND.describe()));
            Error::Options { class: self.what.clone(), problems }
        })
    }

    /// A positional tensor.
    pub fn tensor(&self, index: usize, name: &str) -> Result<Tensor> {
        self.resolve(self.positional(index, name)?)
    }

    /// The tensors that a named argument holds, before it is checked.
    pub fn given(&self, name: &str) -> impl Iterator<Item = Tensor> + '_ {
        let value = self.named.get(name).unwrap_or(&Json::Null);
        let references = match value {
            Json::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        references.iter().filter_map(|r| self.tensors.get(TensorRef::read(r)?.0).cloned())
    }

    /// The tensor that stands for a reference.
    pub fn resolve(&self, reference: TensorRef) -> Result<Tensor> {
        let tensor = self.tensors.get(reference.0).cloned();
        tensor.ok_or_else(|| Error::Internal(format!("there is no tensor {}", reference.0)))
    }

    /// The tensor that stands for a reference, where there is one.
    pub fn optional(&self, reference: Option<impl Into<TensorRef>>) -> Result<Option<Tensor>> {
        reference.map(|r| self.resolve(r.into())).transpose()
    }
}
