//! The element types of tensors.

use crate::error::invalid;
use crate::{DType, Result};

/// The element type of a tensor, with booleans as a type of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScalarType {
    /// 32-bit floating point.
    F32,
    /// 64-bit floating point.
    F64,
    /// 16-bit floating point, IEEE half precision.
    F16,
    /// 16-bit floating point with the exponent range of f32.
    BF16,
    /// Signed 64-bit integer.
    I64,
    /// Unsigned 8-bit integer.
    U8,
    /// Boolean, stored as u8.
    Bool,
}

impl ScalarType {
    /// All types with their names.
    pub const NAMES: [(&'static str, ScalarType); 7] = [
        ("f32", ScalarType::F32),
        ("f64", ScalarType::F64),
        ("f16", ScalarType::F16),
        ("bf16", ScalarType::BF16),
        ("i64", ScalarType::I64),
        ("u8", ScalarType::U8),
        ("bool", ScalarType::Bool),
    ];

    /// The type with this name.
    ///
    /// # Errors
    /// No type has this name.
    pub fn parse(name: &str) -> Result<Self> {
        match Self::NAMES.iter().find(|(n, _)| *n == name) {
            Some((_, kind)) => Ok(*kind),
            None => invalid(format!(
                "`{name}` is no dtype; allowed: {}",
                Self::NAMES.map(|(n, _)| n).join(", ")
            )),
        }
    }

    /// The name, such as `f32`.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, k)| *k == self).map_or("", |(n, _)| n)
    }

    /// The type of the array that stores the values.
    pub fn dtype(self) -> DType {
        match self {
            ScalarType::F32 => DType::F32,
            ScalarType::F64 => DType::F64,
            ScalarType::F16 => DType::F16,
            ScalarType::BF16 => DType::BF16,
            ScalarType::I64 => DType::I64,
            ScalarType::U8 | ScalarType::Bool => DType::U8,
        }
    }

    /// Whether this is a floating-point type.
    pub fn is_float(self) -> bool {
        self.dtype().is_float()
    }
}
