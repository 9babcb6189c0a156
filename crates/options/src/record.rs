//! Options that are the value of another option.

/// Implements [`OptionType`] for options that are the value of another option: an object.
macro_rules! record {
    ($Name:ident as $interface:literal) => {
        impl $crate::OptionType for $Name {
            const KIND: $crate::ValueKind = $crate::ValueKind::Record($interface);
            fn read(value: &serde_json::Value) -> Option<Self> {
                $crate::parse(value).ok()
            }
            fn problem_in(value: &serde_json::Value) -> Option<String> {
                value.as_object()?;
                Some($crate::parse::<Self>(value).err()?.0.first()?.to_string())
            }
            fn write(&self) -> serde_json::Value {
                $crate::Options::to_json(self)
            }
        }
    };
}

pub(crate) use record;
