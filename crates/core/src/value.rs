//! Arguments and results of calls by name, represented as JSON plus a list of tensors.

use crate::{Device, Error, Result, Tensor};
use serde_json::{Map, Value as Json};
use xt_options::{OptionType, Options, Problems, TensorRef};

/// The result of a call.
pub enum Value {
    /// No value.
    Null,
    /// A tensor.
    Tensor(Tensor),
    /// A list of values.
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
    /// Converts the value into JSON. Tensors are appended to `tensors`, and `{"$tensor": i}` refers
    /// to `tensors[i]`.
    pub fn into_json(self, tensors: &mut Vec<Tensor>) -> Json {
        match self {
            Value::Null => Json::Null,
            Value::Tensor(tensor) => {
                tensors.push(tensor);
                TensorRef(tensors.len() - 1).write()
            }
            Value::List(list) => list.into_iter().map(|v| v.into_json(tensors)).collect(),
            Value::Fields(fields) => {
                fields.into_iter().map(|(k, v)| (k.to_string(), v.into_json(tensors))).collect()
            }
        }
    }
}

/// The arguments of a call: positional and named ones as JSON, which refers to a separate list of
/// tensors.
pub struct Args<'a> {
    what: String,
    positional: Vec<Json>,
    named: Json,
    tensors: &'a [Tensor],
}

impl<'a> Args<'a> {
    /// Parses the arguments. `json` is an array: the positional arguments, optionally followed by
    /// one object with the named ones. `what` names the call in error messages.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if `json` is not an array.
    pub fn new(what: impl Into<String>, json: Json, tensors: &'a [Tensor]) -> Result<Self> {
        let Json::Array(mut positional) = json else {
            return Err(Error::Internal("arguments are not an array".into()));
        };
        let is_named = |v: &Json| {
            v.as_object().is_some_and(|o| !o.contains_key("$tensor") && !o.contains_key("$value"))
        };
        let named = match positional.pop() {
            Some(last) if is_named(&last) => last,
            last => {
                positional.extend(last);
                Json::Object(Map::new())
            }
        };
        Ok(Self { what: what.into(), positional, named, tensors })
    }

    /// Parses and checks the named arguments.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] with all problems.
    pub fn named<T: Options>(&self) -> Result<T> {
        self.named_and(|_, _| {})
    }

    /// Like [`Args::named`], with an additional check: `also` adds further problems.
    pub fn named_and<T: Options>(&self, also: impl FnOnce(&T, &mut Problems)) -> Result<T> {
        let wrong = |problems| Error::Options { class: self.what.clone(), problems };
        xt_options::parse_and(&self.named, also).map_err(wrong)
    }

    /// The positional argument `index` of type `T`. `name` is its name in error messages.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the argument is missing or has a wrong type.
    pub fn positional<T: OptionType>(&self, index: usize, name: &str) -> Result<T> {
        let got = self.positional.get(index);
        got.and_then(T::read).ok_or_else(|| {
            let mut problems = Problems::default();
            let message = if got.is_some() { "has a wrong type" } else { "is required" };
            problems.add(name, format!("{message}; allowed: {}", T::KIND.describe()));
            Error::Options { class: self.what.clone(), problems }
        })
    }

    /// The positional argument `index` as a tensor. `name` is its name in error messages.
    pub fn tensor(&self, index: usize, name: &str) -> Result<Tensor> {
        self.resolve(self.positional(index, name)?)
    }

    /// The tensors of a named argument (one reference, or an array or object of references), before
    /// the argument is checked. Invalid references are skipped.
    pub fn given(&self, name: &str) -> impl Iterator<Item = Tensor> + '_ {
        self.referred(self.named.get(name).unwrap_or(&Json::Null)).cloned()
    }

    /// The tensors of a value: one reference, or an array or object of references.
    fn referred<'b>(&'b self, value: &'b Json) -> impl Iterator<Item = &'a Tensor> + 'b {
        let references: Vec<&Json> = match value {
            Json::Array(list) => list.iter().collect(),
            Json::Object(all) if !all.contains_key("$tensor") => all.values().collect(),
            one => vec![one],
        };
        references.into_iter().filter_map(|r| self.tensors.get(TensorRef::read(r)?.0))
    }

    /// Checks that all tensors are on `device`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] with the argument that is on another device.
    pub fn require_device(&self, device: &Device) -> Result<()> {
        if cfg!(not(feature = "cuda")) {
            return Ok(()); // there is one device, and no code for more in WebAssembly
        }
        let elsewhere =
            |value| self.referred(value).map(Tensor::device).find(|own| !own.same_device(device));
        let positional = (1..).zip(&self.positional);
        let positional =
            positional.filter_map(|(i, v)| Some((format!("argument {i}"), elsewhere(v)?)));
        let named = self.named.as_object().into_iter().flatten();
        let named = named.filter_map(|(name, v)| Some((name.clone(), elsewhere(v)?)));
        let Some((name, own)) = positional.chain(named).next() else { return Ok(()) };
        let (own, device) = (own.name(), device.name());
        Error::shape(format!(
            "{}: {name} is on {own}, the model is on {device}: move it with `.to('{device}')`",
            self.what
        ))
    }

    /// The tensor that a reference points to.
    ///
    /// # Errors
    ///
    /// [`Error::Internal`] if there is no such tensor.
    pub fn resolve(&self, reference: TensorRef) -> Result<Tensor> {
        let tensor = self.tensors.get(reference.0).cloned();
        tensor.ok_or_else(|| Error::Internal(format!("there is no tensor {}", reference.0)))
    }

    /// Like [`Args::resolve`] for an optional reference; `None` if there is no reference.
    pub fn optional(&self, reference: Option<impl Into<TensorRef>>) -> Result<Option<Tensor>> {
        reference.map(|r| self.resolve(r.into())).transpose()
    }
}
