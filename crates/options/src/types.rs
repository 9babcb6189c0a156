//! The Rust types of options, and how they are read from JSON.

use crate::spec::{Elements, ValueKind};
use serde_json::{json, Value};
use std::num::NonZeroUsize;

/// A type of options.
pub trait OptionType: Sized {
    /// The description of the type.
    const KIND: ValueKind;
    /// Reads a value; `None` if it is not of this type.
    fn read(value: &Value) -> Option<Self>;
    /// What is wrong within a value that `read` refuses; `None` where the type says it all.
    fn problem_in(_value: &Value) -> Option<String> {
        None
    }
    /// The value as JSON.
    fn write(&self) -> Value;
}

impl OptionType for bool {
    const KIND: ValueKind = ValueKind::Bool;
    fn read(value: &Value) -> Option<Self> {
        value.as_bool()
    }
    fn write(&self) -> Value {
        json!(self)
    }
}

/// The default of a size; 0 becomes 1.
pub(crate) const fn size(n: usize) -> NonZeroUsize {
    match NonZeroUsize::new(n) {
        Some(size) => size,
        None => NonZeroUsize::MIN,
    }
}

/// Reads an integer, `4` or `4.0`, which are the same in JavaScript.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let x = value.as_f64()?;
        (x.fract() == 0.0 && x.abs() < 9.0e15).then_some(x as i64)
    })
}

impl OptionType for usize {
    const KIND: ValueKind = ValueKind::Integer { min: 0 };
    fn read(value: &Value) -> Option<Self> {
        let whole = u64::try_from(whole(value)?).ok()?;
        // with 32-bit sizes, as in WebAssembly, a larger number becomes the maximum; using it fails
        // for lack of memory
        Some(usize::try_from(whole).unwrap_or(usize::MAX))
    }
    fn write(&self) -> Value {
        json!(self)
    }
}

impl OptionType for NonZeroUsize {
    const KIND: ValueKind = ValueKind::Integer { min: 1 };
    fn read(value: &Value) -> Option<Self> {
        NonZeroUsize::new(usize::read(value)?)
    }
    fn write(&self) -> Value {
        json!(self.get())
    }
}

impl OptionType for i64 {
    const KIND: ValueKind = ValueKind::Integer { min: i64::MIN };
    fn read(value: &Value) -> Option<Self> {
        whole(value)
    }
    fn write(&self) -> Value {
        json!(self)
    }
}

impl OptionType for f64 {
    const KIND: ValueKind = ValueKind::Number;
    fn read(value: &Value) -> Option<Self> {
        value.as_f64().filter(|x| x.is_finite())
    }
    fn write(&self) -> Value {
        json!(self)
    }
}

/// A finite non-negative number.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct NonNegative(pub f64);

impl OptionType for NonNegative {
    const KIND: ValueKind = ValueKind::NonNegative;
    fn read(value: &Value) -> Option<Self> {
        f64::read(value).filter(|x| *x >= 0.0).map(NonNegative)
    }
    fn write(&self) -> Value {
        json!(self.0)
    }
}

/// A number from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Probability(pub f64);

impl OptionType for Probability {
    const KIND: ValueKind = ValueKind::Probability;
    fn read(value: &Value) -> Option<Self> {
        value.as_f64().filter(|x| (0.0..=1.0).contains(x)).map(Probability)
    }
    fn write(&self) -> Value {
        json!(self.0)
    }
}

/// A random seed: 0 to 2^53 - 1, on every platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed(pub u64);

impl OptionType for Seed {
    const KIND: ValueKind = ValueKind::Integer { min: 0 };
    fn read(value: &Value) -> Option<Self> {
        u64::try_from(whole(value)?).ok().filter(|seed| *seed < 1 << 53).map(Seed)
    }
    fn write(&self) -> Value {
        json!(self.0)
    }
}

impl<T: OptionType> OptionType for Option<T> {
    const KIND: ValueKind = ValueKind::Optional(&T::KIND);
    fn read(value: &Value) -> Option<Self> {
        if value.is_null() {
            return Some(None);
        }
        T::read(value).map(Some)
    }
    fn problem_in(value: &Value) -> Option<String> {
        T::problem_in(value)
    }
    fn write(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::write)
    }
}

impl<T: OptionType> OptionType for Vec<T> {
    const KIND: ValueKind = ValueKind::List(&T::KIND);
    fn read(value: &Value) -> Option<Self> {
        value.as_array()?.iter().map(T::read).collect()
    }
    fn write(&self) -> Value {
        self.iter().map(T::write).collect()
    }
}

/// One value for all sub-layers, or a list with one for each.
#[derive(Clone, Debug, PartialEq)]
pub enum OneOrMany<T> {
    /// One value for all.
    One(T),
    /// A value for each.
    Many(Vec<T>),
}

impl<T: Clone> OneOrMany<T> {
    /// The value at `index`; `None` past the end of a list.
    pub fn at(&self, index: usize) -> Option<T> {
        match self {
            OneOrMany::One(x) => Some(x.clone()),
            OneOrMany::Many(list) => list.get(index).cloned(),
        }
    }
}

impl<T: OptionType> OptionType for OneOrMany<T> {
    const KIND: ValueKind = ValueKind::OneOrMany(&T::KIND);
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::Array(_) => Vec::read(value).map(OneOrMany::Many),
            _ => T::read(value).map(OneOrMany::One),
        }
    }
    fn problem_in(value: &Value) -> Option<String> {
        match value {
            Value::Array(list) => list.iter().find_map(T::problem_in),
            _ => T::problem_in(value),
        }
    }
    fn write(&self) -> Value {
        match self {
            OneOrMany::One(x) => x.write(),
            OneOrMany::Many(list) => list.write(),
        }
    }
}

/// Values under names that the caller chooses, in the order of the object.
#[derive(Clone, Debug, PartialEq)]
pub struct ByName<T>(pub Vec<(String, T)>);

impl<T: OptionType> OptionType for ByName<T> {
    const KIND: ValueKind = ValueKind::ByName(&T::KIND);
    fn read(value: &Value) -> Option<Self> {
        // `{"$tensor": 0}` and the like are no objects of the caller
        let entry = |(name, value): (&String, &Value)| {
            (!name.starts_with('$')).then(|| Some((name.clone(), T::read(value)?)))?
        };
        value.as_object()?.iter().map(entry).collect::<Option<_>>().map(Self)
    }
    fn write(&self) -> Value {
        Value::Object(self.0.iter().map(|(name, value)| (name.clone(), value.write())).collect())
    }
}

/// Declares a type for tensors. The types differ in what users may pass instead of a tensor.
macro_rules! tensor_ref {
    ($(#[doc = $doc:literal])+ $Name:ident $elements:ident) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $Name(pub usize);

        impl OptionType for $Name {
            const KIND: ValueKind = ValueKind::Tensor(Elements::$elements);
            fn read(value: &Value) -> Option<Self> {
                usize::read(value.get("$tensor")?).map($Name)
            }
            fn write(&self) -> Value {
                json!({ "$tensor": self.0 })
            }
        }
    };
}

tensor_ref! {
    /// A tensor, `{"$tensor": index}` in JSON: its index in the list of tensors of the call.
    TensorRef Numbers
}

tensor_ref! {
    /// A [`TensorRef`] to token ids or positions.
    IdsRef Ids
}

tensor_ref! {
    /// A [`TensorRef`] to a mask.
    MaskRef Truths
}

impl From<IdsRef> for TensorRef {
    fn from(ids: IdsRef) -> Self {
        TensorRef(ids.0)
    }
}

impl From<MaskRef> for TensorRef {
    fn from(mask: MaskRef) -> Self {
        TensorRef(mask.0)
    }
}

/// A model, `{"$module": index}` in JSON: its index in the list of models of the constructor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleRef<C> {
    /// The index in the list of models.
    pub index: usize,
    classes: std::marker::PhantomData<C>,
}

/// The classes that a [`ModuleRef`] may refer to.
pub trait Classes {
    /// The allowed class names.
    const NAMES: &'static [&'static str];
}

impl<C: Classes> OptionType for ModuleRef<C> {
    const KIND: ValueKind = ValueKind::Module(C::NAMES);
    fn read(value: &Value) -> Option<Self> {
        let index = usize::read(value.get("$module")?)?;
        Some(Self { index, classes: std::marker::PhantomData })
    }
    fn write(&self) -> Value {
        json!({ "$module": self.index })
    }
}
